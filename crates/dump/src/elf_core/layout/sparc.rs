//! SPARC of both sizes. Sources: Linux `arch/sparc/kernel/ptrace_{32,64}.c` (register sets); OpenBSD `machine/reg.h`.
//!
//! *Trap*: the stack and frame pointers of 64-bit code are biased by 2047; the values here are as the registers hold them.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

pub(super) static LAYOUTS: &[Layout] = &[
    Layout {
        os: Os::Linux,
        arch: Arch::Sparc64,
        size: 408,
        at: 112,
        word: 8,
        registers: "g0..7 o0..5 sp o7 l0..7 i0..5 fp i7 psr pc npc y",
        thread_pointer: ThreadPointer::Register("g7"),
    },
    // The last two words are the window invalid mask and the trap base.
    Layout {
        os: Os::Linux,
        arch: Arch::Sparc,
        size: 228,
        at: 72,
        word: 4,
        registers: "g0..7 o0..5 sp o7 l0..7 i0..5 fp i7 psr pc npc y - -",
        thread_pointer: ThreadPointer::Register("g7"),
    },
    Layout {
        os: Os::OpenBsd,
        arch: Arch::Sparc64,
        size: 288,
        at: 0,
        word: 8,
        registers: "psr pc npc y:4 -:4 g0..7 o0..5 sp o7 l0..7 i0..5 fp i7",
        thread_pointer: ThreadPointer::Register("g7"),
    },
];
