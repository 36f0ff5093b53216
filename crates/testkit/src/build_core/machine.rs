//! Machines of the cores we build: ELF numbers, and the order of the registers in NT_PRSTATUS.
//!
//! Written from the kernel's `user_regs_struct` / `user_pt_regs` as `<sys/user.h>` publishes them, not from our readers.
//!
//! ```
//! use afterimage_testkit::build_core::Machine;
//! assert_eq!(Machine::X86_64.registers()[16], "rip");
//! ```
//!
//! *Trap*: an x32 program is [`Machine::X86_64`] in ELF class 32: its registers stay 8 bytes wide.

use super::pen::ByteOrder;

/// Width of the ELF structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// ELFCLASS32.
    Elf32,
    /// ELFCLASS64.
    Elf64,
}

impl Class {
    /// Bytes of a `long` and of a pointer.
    #[must_use]
    pub fn word(self) -> usize {
        match self {
            Self::Elf32 => 4,
            Self::Elf64 => 8,
        }
    }
}

/// What the core says it was taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    I386,
    /// 64-bit Arm.
    Aarch64,
    /// Any other: class, byte order and ELF number as given. Registers only as raw bytes.
    Other {
        /// ELF class.
        class: Class,
        /// Byte order.
        order: ByteOrder,
        /// `e_machine`.
        number: u16,
    },
}

const X86_64: [&str; 27] = [
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax",
    "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
];

const I386: [&str; 17] = [
    "ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "orig_eax", "eip", "cs", "eflags", "esp",
    "ss",
];

const AARCH64: [&str; 34] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
    "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp", "pc", "pstate",
];

impl Machine {
    /// The customary ELF class.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::X86_64 | Self::Aarch64 => Class::Elf64,
            Self::I386 => Class::Elf32,
            Self::Other { class, .. } => class,
        }
    }

    /// The customary byte order.
    #[must_use]
    pub fn order(self) -> ByteOrder {
        match self {
            Self::Other { order, .. } => order,
            _ => ByteOrder::Little,
        }
    }

    /// `e_machine`.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::X86_64 => 62,
            Self::I386 => 3,
            Self::Aarch64 => 183,
            Self::Other { number, .. } => number,
        }
    }

    /// Names of the registers in NT_PRSTATUS, in file order; empty if not known.
    #[must_use]
    pub fn registers(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &X86_64,
            Self::I386 => &I386,
            Self::Aarch64 => &AARCH64,
            Self::Other { .. } => &[],
        }
    }

    /// Bytes of one register in NT_PRSTATUS.
    #[must_use]
    pub fn register_width(self) -> usize {
        match self {
            Self::X86_64 | Self::Aarch64 => 8,
            Self::I386 => 4,
            Self::Other { class, .. } => class.word(),
        }
    }
}
