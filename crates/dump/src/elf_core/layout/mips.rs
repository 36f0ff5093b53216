//! MIPS: o32, n32 and n64. Source: Linux `asm/reg.h` (45 words): o32 leaves six words for the argument save area first.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

const N64: &str = "zero at v0..1 a0..7 t0..3 s0..7 t8..9 k0..1 gp sp fp ra lo hi pc badvaddr sr cause - - - - - - -";

pub(super) static LAYOUTS: &[Layout] = &[
    Layout {
        os: Os::Linux,
        arch: Arch::Mips,
        size: 256,
        at: 72,
        word: 4,
        registers: "- - - - - - zero at v0..1 a0..3 t0..7 s0..7 t8..9 k0..1 gp sp fp ra lo hi pc badvaddr sr cause -",
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::Linux,
        arch: Arch::Mips64,
        size: 480,
        at: 112,
        word: 8,
        registers: N64,
        thread_pointer: ThreadPointer::Elsewhere,
    },
    // n32: the header of a 32-bit program before the registers of a 64-bit one.
    Layout {
        os: Os::Linux,
        arch: Arch::Mips64,
        size: 440,
        at: 72,
        word: 8,
        registers: N64,
        thread_pointer: ThreadPointer::Elsewhere,
    },
];
