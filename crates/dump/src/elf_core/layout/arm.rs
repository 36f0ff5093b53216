//! 32-bit and 64-bit Arm. Sources: Linux `asm/ptrace.h` of both; FreeBSD, NetBSD, OpenBSD `machine/reg.h`.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

/// NetBSD's and OpenBSD's order on 64 bits: what Linux has, and the thread register.
const BSD_64: &str = "x0..28 fp lr sp pc cpsr tpidr";

pub(super) static LAYOUTS: &[Layout] = &[
    Layout {
        os: Os::Linux,
        arch: Arch::Aarch64,
        size: 392,
        at: 112,
        word: 8,
        registers: "x0..28 fp lr sp pc cpsr",
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::Linux,
        arch: Arch::Arm,
        size: 148,
        at: 72,
        word: 4,
        registers: "r0..12 sp lr pc cpsr orig_r0",
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::FreeBsd,
        arch: Arch::Aarch64,
        size: 320,
        at: 48,
        word: 8,
        registers: "x0..28 fp lr sp pc cpsr:4",
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::NetBsd,
        arch: Arch::Aarch64,
        size: 280,
        at: 0,
        word: 8,
        registers: BSD_64,
        thread_pointer: ThreadPointer::Register("tpidr"),
    },
    Layout {
        os: Os::OpenBsd,
        arch: Arch::Aarch64,
        size: 280,
        at: 0,
        word: 8,
        registers: BSD_64,
        thread_pointer: ThreadPointer::Register("tpidr"),
    },
    Layout {
        os: Os::NetBsd,
        arch: Arch::Arm,
        size: 68,
        at: 0,
        word: 4,
        registers: "r0..12 sp lr pc cpsr",
        thread_pointer: ThreadPointer::Elsewhere,
    },
];
