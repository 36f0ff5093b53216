//! DEC Alpha. Source: Linux `arch/alpha/kernel/process.c` (`dump_elf_thread`): 31 registers, the PC, the unique value.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

pub(super) static LAYOUTS: &[Layout] = &[Layout {
    os: Os::Linux,
    arch: Arch::Alpha,
    size: 384,
    at: 112,
    word: 8,
    registers: "v0 t0..7 s0..5 fp a0..5 t8..11 ra t12 at gp sp pc unique",
    thread_pointer: ThreadPointer::Register("unique"),
}];
