//! `CONTEXT` of x86-64 (1232 bytes, more with XSAVE state behind it): flags at 0x30, behind six home slots.

use super::{CONTROL, ContextKind, INTEGER, SEGMENTS};
use crate::Arch;

/// `winnt.h`, `CONTEXT` under `_AMD64_`; Breakpad's `MDRawContextAMD64` is the same.
pub(super) static AMD64: ContextKind = ContextKind::new(
    "CONTEXT_AMD64",
    Arch::X86_64,
    (0x30, 4),
    (0x00ff_0000, 0x0010_0000),
    &[
        ("cs", 0x38, 2, CONTROL),
        ("ds", 0x3a, 2, SEGMENTS),
        ("es", 0x3c, 2, SEGMENTS),
        ("fs", 0x3e, 2, SEGMENTS),
        ("gs", 0x40, 2, SEGMENTS),
        ("ss", 0x42, 2, CONTROL),
        ("eflags", 0x44, 4, CONTROL),
        ("rax", 0x78, 8, INTEGER),
        ("rcx", 0x80, 8, INTEGER),
        ("rdx", 0x88, 8, INTEGER),
        ("rbx", 0x90, 8, INTEGER),
        ("rsp", 0x98, 8, CONTROL),
        ("rbp", 0xa0, 8, INTEGER),
        ("rsi", 0xa8, 8, INTEGER),
        ("rdi", 0xb0, 8, INTEGER),
        ("r8", 0xb8, 8, INTEGER),
        ("r9", 0xc0, 8, INTEGER),
        ("r10", 0xc8, 8, INTEGER),
        ("r11", 0xd0, 8, INTEGER),
        ("r12", 0xd8, 8, INTEGER),
        ("r13", 0xe0, 8, INTEGER),
        ("r14", 0xe8, 8, INTEGER),
        ("r15", 0xf0, 8, INTEGER),
        ("rip", 0xf8, 8, CONTROL),
    ],
);
