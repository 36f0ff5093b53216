//! RISC-V. Source: Linux `asm/ptrace.h` (`user_regs_struct`): the program counter stands where x0 would.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

pub(super) static LAYOUTS: &[Layout] = &[Layout {
    os: Os::Linux,
    arch: Arch::Riscv64,
    size: 376,
    at: 112,
    word: 8,
    registers: "pc ra sp gp tp t0..2 fp s1 a0..7 s2..11 t3..6",
    thread_pointer: ThreadPointer::Register("tp"),
}];
