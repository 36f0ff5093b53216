//! HP PA-RISC. Source: Linux `arch/parisc/include/asm/elf.h` (`ELF_CORE_COPY_REGS`): general, space, queue, control registers.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

pub(super) static LAYOUTS: &[Layout] = &[Layout {
    os: Os::Linux,
    arch: Arch::Hppa,
    size: 396,
    at: 72,
    word: 4,
    registers: "flags r1 rp r3..29 sp r31 -:32 pc - - - sar -:140",
    thread_pointer: ThreadPointer::At(72 + 53 * 4, 4),
}];
