//! `CONTEXT` of 32-bit x86 (716 bytes): the integer registers stand at its end, behind the 112 bytes of the x87 unit.

use super::{CONTROL, ContextKind, INTEGER, SEGMENTS};
use crate::Arch;

/// `winnt.h`, `CONTEXT` under `_X86_`; Breakpad's `MDRawContextX86` is the same.
pub(super) static X86: ContextKind = ContextKind::new(
    "CONTEXT_i386",
    Arch::X86,
    (0, 4),
    (0x00ff_0000, 0x0001_0000),
    &[
        ("gs", 0x8c, 4, SEGMENTS),
        ("fs", 0x90, 4, SEGMENTS),
        ("es", 0x94, 4, SEGMENTS),
        ("ds", 0x98, 4, SEGMENTS),
        ("edi", 0x9c, 4, INTEGER),
        ("esi", 0xa0, 4, INTEGER),
        ("ebx", 0xa4, 4, INTEGER),
        ("edx", 0xa8, 4, INTEGER),
        ("ecx", 0xac, 4, INTEGER),
        ("eax", 0xb0, 4, INTEGER),
        ("ebp", 0xb4, 4, CONTROL),
        ("eip", 0xb8, 4, CONTROL),
        ("cs", 0xbc, 4, CONTROL),
        ("eflags", 0xc0, 4, CONTROL),
        ("esp", 0xc4, 4, CONTROL),
        ("ss", 0xc8, 4, CONTROL),
    ],
);
