//! Motorola 68000. Source: Linux `arch/m68k/include/asm/elf.h`; its ABI aligns a `long` to 2 bytes, hence the odd offsets.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

pub(super) static LAYOUTS: &[Layout] = &[Layout {
    os: Os::Linux,
    arch: Arch::M68k,
    size: 154,
    at: 70,
    word: 4,
    registers: "d1..7 a0..5 fp d0 sp - sr pc -",
    thread_pointer: ThreadPointer::Elsewhere,
}];
