//! 32-bit Arm: Windows' context (416 bytes) and Breakpad's (368 bytes) begin alike, but name their groups differently.

use super::{CONTROL, ContextKind, INTEGER};
use crate::Arch;

/// `winnt.h`, `CONTEXT` under `_ARM_`.
pub(super) static ARM: ContextKind = ContextKind::new(
    "CONTEXT_ARM",
    Arch::Arm,
    (0, 4),
    (0x00ff_0000, 0x0020_0000),
    &[
        ("r0", 0x4, 4, INTEGER),
        ("r1", 0x8, 4, INTEGER),
        ("r2", 0xc, 4, INTEGER),
        ("r3", 0x10, 4, INTEGER),
        ("r4", 0x14, 4, INTEGER),
        ("r5", 0x18, 4, INTEGER),
        ("r6", 0x1c, 4, INTEGER),
        ("r7", 0x20, 4, INTEGER),
        ("r8", 0x24, 4, INTEGER),
        ("r9", 0x28, 4, INTEGER),
        ("r10", 0x2c, 4, INTEGER),
        ("r11", 0x30, 4, INTEGER),
        ("r12", 0x34, 4, INTEGER),
        ("sp", 0x38, 4, CONTROL),
        ("lr", 0x3c, 4, CONTROL),
        ("pc", 0x40, 4, CONTROL),
        ("cpsr", 0x44, 4, CONTROL),
    ],
);

/// Breakpad's `MDRawContextARM`: it has no group for the program counter, the integer group is all registers.
pub(super) static ARM_BREAKPAD: ContextKind = ContextKind::new(
    "MD_CONTEXT_ARM",
    Arch::Arm,
    (0, 4),
    (0xffff_0000, 0x4000_0000),
    &[
        ("r0", 0x4, 4, INTEGER),
        ("r1", 0x8, 4, INTEGER),
        ("r2", 0xc, 4, INTEGER),
        ("r3", 0x10, 4, INTEGER),
        ("r4", 0x14, 4, INTEGER),
        ("r5", 0x18, 4, INTEGER),
        ("r6", 0x1c, 4, INTEGER),
        ("r7", 0x20, 4, INTEGER),
        ("r8", 0x24, 4, INTEGER),
        ("r9", 0x28, 4, INTEGER),
        ("r10", 0x2c, 4, INTEGER),
        ("r11", 0x30, 4, INTEGER),
        ("r12", 0x34, 4, INTEGER),
        ("sp", 0x38, 4, INTEGER),
        ("lr", 0x3c, 4, INTEGER),
        ("pc", 0x40, 4, INTEGER),
        ("cpsr", 0x44, 4, INTEGER),
    ],
);
