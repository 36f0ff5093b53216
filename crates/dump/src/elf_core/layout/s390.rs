//! IBM Z. Source: Linux `asm/ptrace.h` (`s390_regs`): the PSW, general and access registers, the original r2.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

pub(super) static LAYOUTS: &[Layout] = &[Layout {
    os: Os::Linux,
    arch: Arch::S390x,
    size: 336,
    at: 112,
    word: 8,
    registers: "pswm pswa r0..15 -:64 orig_r2",
    thread_pointer: ThreadPointer::At(112 + 16 + 128, 8),
}];
