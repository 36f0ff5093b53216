//! Register blocks (`CONTEXT` of winnt.h) by register name.
//!
//! ```
//! use afterimage_testkit::build_minidump::Context;
//! let context = Context::amd64().set("rip", 0x1_4000_1000).set("rsp", 0x1000);
//! assert_eq!(context.bytes().len(), 1232);
//! assert_eq!(Context::x86().bytes().len(), 716);
//! assert_eq!(Context::arm64().bytes().len(), 912);
//! ```
//!
//! *Trap*: Breakpad had an arm64 context of its own before Windows on Arm existed: other size, other flags, and
//! processor number 0x8003 ([`Context::arm64_breakpad`]).

use crate::build_core::pen::Pen;

/// A processor's register block.
#[derive(Clone, Debug)]
pub struct Context {
    bytes: Vec<u8>,
    registers: &'static [(&'static str, usize, usize)],
}

/// Name, offset, bytes.
const AMD64: &[(&str, usize, usize)] = &[
    ("flags", 0x30, 4),
    ("mxcsr", 0x34, 4),
    ("cs", 0x38, 2),
    ("ds", 0x3a, 2),
    ("es", 0x3c, 2),
    ("fs", 0x3e, 2),
    ("gs", 0x40, 2),
    ("ss", 0x42, 2),
    ("eflags", 0x44, 4),
    ("dr0", 0x48, 8),
    ("dr7", 0x70, 8),
    ("rax", 0x78, 8),
    ("rcx", 0x80, 8),
    ("rdx", 0x88, 8),
    ("rbx", 0x90, 8),
    ("rsp", 0x98, 8),
    ("rbp", 0xa0, 8),
    ("rsi", 0xa8, 8),
    ("rdi", 0xb0, 8),
    ("r8", 0xb8, 8),
    ("r9", 0xc0, 8),
    ("r10", 0xc8, 8),
    ("r11", 0xd0, 8),
    ("r12", 0xd8, 8),
    ("r13", 0xe0, 8),
    ("r14", 0xe8, 8),
    ("r15", 0xf0, 8),
    ("rip", 0xf8, 8),
    ("xmm0", 0x1a0, 16),
    ("xmm1", 0x1b0, 16),
    ("xmm15", 0x290, 16),
];

const X86: &[(&str, usize, usize)] = &[
    ("flags", 0, 4),
    ("dr0", 4, 4),
    ("dr7", 0x18, 4),
    ("gs", 0x8c, 4),
    ("fs", 0x90, 4),
    ("es", 0x94, 4),
    ("ds", 0x98, 4),
    ("edi", 0x9c, 4),
    ("esi", 0xa0, 4),
    ("ebx", 0xa4, 4),
    ("edx", 0xa8, 4),
    ("ecx", 0xac, 4),
    ("eax", 0xb0, 4),
    ("ebp", 0xb4, 4),
    ("eip", 0xb8, 4),
    ("cs", 0xbc, 4),
    ("eflags", 0xc0, 4),
    ("esp", 0xc4, 4),
    ("ss", 0xc8, 4),
];

/// Registers of arm64 that have no number; X*n* are worked out.
const ARM64: &[(&str, usize, usize)] =
    &[("flags", 0, 4), ("cpsr", 4, 4), ("sp", 0x100, 8), ("pc", 0x108, 8), ("fpcr", 0x310, 4), ("fpsr", 0x314, 4)];

const ARM64_BREAKPAD: &[(&str, usize, usize)] =
    &[("flags", 0, 8), ("sp", 0x100, 8), ("pc", 0x108, 8), ("cpsr", 0x110, 4), ("fpsr", 0x114, 4), ("fpcr", 0x118, 4)];

impl Context {
    /// `CONTEXT` of x64: 1232 bytes, CONTEXT_CONTROL, _INTEGER, _SEGMENTS and _FLOATING_POINT valid.
    #[must_use]
    pub fn amd64() -> Self {
        Self { bytes: vec![0; 0x4d0], registers: AMD64 }.set("flags", 0x10_000f).set("mxcsr", 0x1f80)
    }

    /// `CONTEXT` of x86: 716 bytes, control, integer, segments, floating point and extended registers valid.
    #[must_use]
    pub fn x86() -> Self {
        Self { bytes: vec![0; 716], registers: X86 }.set("flags", 0x1_002f)
    }

    /// `CONTEXT` of Windows on arm64, which Crashpad writes too: 912 bytes. `x29` is the frame pointer, `x30` the link register.
    #[must_use]
    pub fn arm64() -> Self {
        Self { bytes: vec![0; 912], registers: ARM64 }.set("flags", 0x40_0007)
    }

    /// Breakpad's own arm64 context: 796 bytes, 64-bit flags.
    #[must_use]
    pub fn arm64_breakpad() -> Self {
        Self { bytes: vec![0; 796], registers: ARM64_BREAKPAD }.set("flags", 0x8000_0007)
    }

    /// Sets a register by its usual lower-case name; `flags` is `ContextFlags`.
    ///
    /// # Panics
    /// If the block has no such register.
    #[must_use]
    pub fn set(mut self, name: &str, value: u64) -> Self {
        let place = self.place(name);
        assert!(place.is_some(), "this context has no register called {name}");
        if let Some((offset, width)) = place {
            let number = Pen::little().number(value, width).clone().into_bytes();
            if let Some(field) = self.bytes.get_mut(offset..offset.saturating_add(width)) {
                field.copy_from_slice(&number);
            }
        }
        self
    }

    fn place(&self, name: &str) -> Option<(usize, usize)> {
        let named = self.registers.iter().find(|row| row.0 == name).map(|row| (row.1, row.2));
        let arm = std::ptr::eq(self.registers, ARM64) || std::ptr::eq(self.registers, ARM64_BREAKPAD);
        let numbered = || {
            let number: usize = name.strip_prefix('x')?.parse().ok()?;
            (arm && number <= 30).then_some((number.saturating_mul(8).saturating_add(8), 8))
        };
        named.or_else(numbered)
    }

    /// The block.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}
