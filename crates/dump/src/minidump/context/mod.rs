//! Thread contexts: which bytes hold which register, one table a layout.
//!
//! *What it is not*: it reads integer registers only. Vector registers stay where they are in the file
//! ([`crate::Thread::extra_notes`] points there).
//!
//! *Example*: `read(Arch::X86_64, fields)` gives `rip` from offset 0xf8 if the flags have `CONTEXT_CONTROL`.
//!
//! *Trap*: the flags decide what is known. A context with `CONTEXT_CONTROL` alone has zeros in all other registers.

mod amd64;
mod arm;
mod arm64;
mod other;
mod x86;

use crate::bytes::Fields;
use crate::write::pen::Pen;
use crate::{Arch, Endian, Registers};
use std::sync::OnceLock;

/// `CONTEXT_CONTROL`: program counter, stack pointer, flags.
const CONTROL: u64 = 1;
/// `CONTEXT_INTEGER`: general registers.
const INTEGER: u64 = 2;
/// `CONTEXT_SEGMENTS`.
const SEGMENTS: u64 = 4;
/// All bits that name a group of registers.
const GROUPS: u64 = 0xff;

/// One register of a layout: name in the processor's table, offset, size in bytes, and the flag that makes it known.
type Field = (&'static str, usize, usize, u64);

/// A layout.
pub(crate) struct ContextKind {
    /// Name in its specification.
    pub(crate) name: &'static str,
    /// Processor whose table the names are from.
    pub(crate) arch: Arch,
    /// Where the flags stand, and in how many bytes.
    flags: (usize, usize),
    /// The flags' bits that name the processor, and what they must be.
    cpu: (u64, u64),
    fields: &'static [Field],
    /// Slots of `fields`, resolved once.
    slots: OnceLock<Vec<usize>>,
}

impl ContextKind {
    const fn new(
        name: &'static str,
        arch: Arch,
        flags: (usize, usize),
        cpu: (u64, u64),
        fields: &'static [Field],
    ) -> Self {
        Self { name, arch, flags, cpu, fields, slots: OnceLock::new() }
    }

    fn matches(&self, fields: Fields<'_>) -> bool {
        let (mask, want) = self.cpu;
        self.flags(fields).is_some_and(|flags| flags & mask == want)
    }

    fn flags(&self, fields: Fields<'_>) -> Option<u64> {
        let (at, size) = self.flags;
        fields.uint(at, size)
    }

    fn slots(&self) -> &[usize] {
        let find = |field: &Field| self.arch.info().slot(field.0).unwrap_or(usize::MAX);
        self.slots.get_or_init(|| self.fields.iter().map(find).collect())
    }

    fn read(&self, fields: Fields<'_>) -> Registers {
        let mut registers = Registers::new(self.arch);
        let mut flags = self.flags(fields).unwrap_or(0);
        // Folklore: Mozilla's minidump-writer on macOS writes full contexts with the processor's bit alone
        // (seen in rust-minidump's pipeline-inlines-macos-segv.dmp). No group at all means all groups.
        if flags & GROUPS == 0 {
            flags |= GROUPS;
        }
        for (&(_, at, size, needs), &slot) in self.fields.iter().zip(self.slots()) {
            if flags & needs == needs
                && let Some(value) = fields.uint(at, size)
            {
                registers.set(slot, value);
            }
        }
        registers
    }
}

/// All layouts. Where two have the same processor, their flags tell them apart.
static KINDS: [&ContextKind; 12] = [
    &x86::X86,
    &amd64::AMD64,
    &arm::ARM,
    &arm::ARM_BREAKPAD,
    &arm64::ARM64,
    &arm64::ARM64_OLD,
    &other::PPC,
    &other::PPC64,
    &other::MIPS,
    &other::MIPS64,
    &other::SPARC,
    &other::RISCV64,
];

/// A context that was read.
pub(crate) struct Context {
    pub(crate) kind: &'static ContextKind,
    pub(crate) flags: u64,
    pub(crate) registers: Registers,
}

/// Reads a context by the processor that the dump names, else by whatever its flags fit.
pub(crate) fn read(arch: Arch, fields: Fields<'_>) -> Option<Context> {
    let own = KINDS.iter().filter(|kind| kind.arch == arch).find(|kind| kind.matches(fields));
    let kind = own.or_else(|| KINDS.iter().find(|kind| kind.arch != arch && kind.matches(fields)))?;
    Some(Context { kind, flags: kind.flags(fields).unwrap_or(0), registers: kind.read(fields) })
}

/// Layouts that are written, with the bytes of the whole structure.
static WRITTEN: [(&ContextKind, usize); 4] =
    [(&amd64::AMD64, 1232), (&x86::X86, 716), (&arm64::ARM64, 912), (&arm::ARM_BREAKPAD, 368)];

/// Encodes the registers that are known into a whole context without floating-point registers.
///
/// `None` for processors without a layout that is written, and when nothing is known.
pub(crate) fn encode(registers: &Registers, endian: Endian) -> Option<Vec<u8>> {
    let (kind, size) = WRITTEN.iter().find(|(kind, _)| kind.arch == registers.arch())?;
    let mut pen = Pen::new(endian);
    pen.zeros(*size);
    let mut groups = 0;
    for (&(_, at, width, group), &slot) in kind.fields.iter().zip(kind.slots()) {
        if let Some(value) = registers.get(slot) {
            pen.fill(at, value, width);
            groups |= group;
        }
    }
    pen.fill(kind.flags.0, kind.cpu.1 | groups, kind.flags.1);
    (groups != 0).then(|| pen.done())
}

/// Bytes that hold all integer registers of any layout; longer contexts are vector state.
pub(crate) const MAX_LEN: usize = 1024;

/// The 32-bit registers inside a 64-bit context of a thread that was running 32-bit code (`CS` = 0x23).
pub(super) fn x86_of_amd64(native: &Registers) -> Registers {
    const PAIRS: [(&str, &str); 16] = [
        ("eax", "rax"),
        ("ecx", "rcx"),
        ("edx", "rdx"),
        ("ebx", "rbx"),
        ("esp", "rsp"),
        ("ebp", "rbp"),
        ("esi", "rsi"),
        ("edi", "rdi"),
        ("eip", "rip"),
        ("eflags", "eflags"),
        ("es", "es"),
        ("cs", "cs"),
        ("ss", "ss"),
        ("ds", "ds"),
        ("fs", "fs"),
        ("gs", "gs"),
    ];
    let mut registers = Registers::new(Arch::X86);
    for (narrow, wide) in PAIRS {
        if let (Some(slot), Some(value)) = (Arch::X86.info().slot(narrow), native.by_name(wide)) {
            registers.set(slot, value & 0xffff_ffff);
        }
    }
    registers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_name_registers_that_exist_and_do_not_overlap() {
        for kind in KINDS {
            for (field, &slot) in kind.fields.iter().zip(kind.slots()) {
                assert!(slot < kind.arch.info().registers.len(), "{}: no register {}", kind.name, field.0);
                assert!(field.1 + field.2 <= MAX_LEN, "{}: {} lies too far back", kind.name, field.0);
            }
            let mut spans: Vec<_> = kind.fields.iter().map(|&(name, at, size, _)| (at, at + size, name)).collect();
            spans.push((kind.flags.0, kind.flags.0 + kind.flags.1, "flags"));
            spans.sort_unstable();
            for pair in spans.windows(2) {
                assert!(pair[0].1 <= pair[1].0, "{}: {} and {} overlap", kind.name, pair[0].2, pair[1].2);
            }
            let has = |slot: usize| kind.slots().contains(&slot);
            let info = kind.arch.info();
            assert!(has(info.pc) && has(info.sp), "{}: no pc or sp", kind.name);
        }
    }

    #[test]
    fn flags_decide_what_is_known() {
        let mut bytes = vec![0u8; 1232];
        bytes[0x30..0x34].copy_from_slice(&0x10_0001u32.to_le_bytes());
        bytes[0xf8..0x100].copy_from_slice(&0x1234u64.to_le_bytes());
        let context = read(Arch::X86_64, Fields::new(&bytes, Endian::Little)).unwrap();
        assert_eq!(context.registers.by_name("rip"), Some(0x1234));
        assert_eq!(context.registers.by_name("rsp"), Some(0));
        assert_eq!(context.registers.by_name("rax"), None);
        assert_eq!(context.registers.by_name("fs"), None);
        // A cut-off context gives what it has.
        let context = read(Arch::X86_64, Fields::new(&bytes[..0xf8], Endian::Little)).unwrap();
        assert_eq!(context.registers.by_name("rip"), None);
        assert_eq!(context.registers.by_name("rsp"), Some(0));
        assert!(read(Arch::X86_64, Fields::new(&bytes[..0x32], Endian::Little)).is_none());
    }

    #[test]
    fn another_processors_context_is_known_by_its_flags() {
        let mut bytes = vec![0u8; 716];
        bytes[..4].copy_from_slice(&0x1_0007u32.to_le_bytes());
        bytes[184..188].copy_from_slice(&0x40_429eu32.to_le_bytes());
        let context = read(Arch::X86_64, Fields::new(&bytes, Endian::Little)).unwrap();
        assert_eq!(context.kind.name, "CONTEXT_i386");
        assert_eq!(context.registers.pc(), Some(crate::Virt(0x40_429e)));
    }
}
