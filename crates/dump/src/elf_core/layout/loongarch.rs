//! LoongArch. Source: Linux `asm/ptrace.h` (`user_pt_regs`): registers, the original a0, ERA, BADV and ten spare words.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

pub(super) static LAYOUTS: &[Layout] = &[Layout {
    os: Os::Linux,
    arch: Arch::LoongArch64,
    size: 480,
    at: 112,
    word: 8,
    registers: "zero ra tp sp a0..7 t0..8 r21 fp s0..8 orig_a0 pc badv -:80",
    thread_pointer: ThreadPointer::Register("tp"),
}];
