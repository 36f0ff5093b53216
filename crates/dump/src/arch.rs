//! Processors as data: names, widths, registers. To add one, add a table in `arch/` and a line in [`Arch::info`].
//!
//! A register is known by its *slot*, its place in [`ArchInfo::registers`]; DWARF numbers and container layouts are
//! translated to slots at the edge.
//!
//! *Trap*: aarch64's DWARF has no number for the program counter in common use; it has a slot all the same.

mod tables;

/// Byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Endian {
    /// Least significant byte first.
    #[default]
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// The unsigned number that up to 8 bytes stand for; further bytes are ignored.
    #[must_use]
    pub fn uint(self, bytes: &[u8]) -> u64 {
        let step = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        let bytes = bytes.get(..8).unwrap_or(bytes);
        match self {
            Self::Little => bytes.iter().rev().fold(0, step),
            Self::Big => bytes.iter().fold(0, step),
        }
    }
}

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Arch {
    /// 32-bit x86 (i386 to i686).
    X86,
    /// 64-bit x86; also x32 programs, whose pointers are 32 bits wide.
    X86_64,
    /// 32-bit Arm.
    Arm,
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit IBM Z.
    S390x,
    /// 64-bit PowerPC of either byte order.
    Ppc64,
    /// 32-bit PowerPC.
    Ppc,
    /// 32-bit MIPS.
    Mips,
    /// 64-bit MIPS.
    Mips64,
    /// 32-bit SPARC.
    Sparc,
    /// 64-bit SPARC.
    Sparc64,
    /// DEC Alpha.
    Alpha,
    /// HP PA-RISC.
    Hppa,
    /// 64-bit LoongArch.
    LoongArch64,
    /// Motorola 68000 family.
    M68k,
    /// A processor without a table here: the ELF machine number, or 0 if it is not known.
    Other(u16),
}

/// One register of a processor.
#[derive(Clone, Copy, Debug)]
pub struct RegisterInfo {
    /// The name as the processor's manual and the debuggers write it, in lower case.
    pub name: &'static str,
    /// Its number in DWARF call-frame information, if it has one.
    pub dwarf: Option<u16>,
    /// Whether it is a general register that may hold an address (flags and segment selectors are not).
    pub general: bool,
}

/// What is constant about a processor.
#[derive(Debug)]
pub struct ArchInfo {
    /// The name as `uname -m` and debuggers write it.
    pub name: &'static str,
    /// All registers; the index is the slot.
    pub registers: &'static [RegisterInfo],
    /// Slot of the program counter.
    pub pc: usize,
    /// Slot of the stack pointer.
    pub sp: usize,
    /// Slot of the customary frame pointer.
    pub fp: Option<usize>,
    /// Slot of the link register, on processors whose calls leave the return address in one.
    pub lr: Option<usize>,
    /// Bytes of a pointer.
    pub pointer_size: usize,
}

impl Arch {
    /// The processor's table; empty register list for [`Arch::Other`].
    #[must_use]
    pub fn info(self) -> &'static ArchInfo {
        match self {
            Self::X86 => &tables::X86,
            Self::X86_64 => &tables::X86_64,
            Self::Arm => &tables::ARM,
            Self::Aarch64 => &tables::AARCH64,
            Self::Riscv64 => &tables::RISCV64,
            Self::S390x => &tables::S390X,
            Self::Ppc64 => &tables::PPC64,
            Self::Ppc => &tables::PPC,
            Self::Mips => &tables::MIPS,
            Self::Mips64 => &tables::MIPS64,
            Self::Sparc => &tables::SPARC,
            Self::Sparc64 => &tables::SPARC64,
            Self::Alpha => &tables::ALPHA,
            Self::Hppa => &tables::HPPA,
            Self::LoongArch64 => &tables::LOONGARCH64,
            Self::M68k => &tables::M68K,
            Self::Other(_) => &tables::OTHER,
        }
    }

    /// The processor of an ELF file, by `e_machine` and word size (`true`: 64 bits).
    #[must_use]
    pub fn from_elf(machine: u16, is_64: bool) -> Self {
        match (machine, is_64) {
            (3, _) => Self::X86,
            (62, _) => Self::X86_64,
            (40, _) => Self::Arm,
            (183, _) => Self::Aarch64,
            (243, true) => Self::Riscv64,
            (22, true) => Self::S390x,
            (21, _) => Self::Ppc64,
            (20, _) => Self::Ppc,
            (8, false) => Self::Mips,
            (8, true) => Self::Mips64,
            (2 | 18, _) => Self::Sparc,
            (43, _) => Self::Sparc64,
            (0x9026, _) => Self::Alpha,
            (15, _) => Self::Hppa,
            (258, true) => Self::LoongArch64,
            (4, _) => Self::M68k,
            _ => Self::Other(machine),
        }
    }
}

impl Arch {
    /// The number in an ELF file's `e_machine`; 0 if it is not known.
    #[must_use]
    pub fn elf_machine(self) -> u16 {
        match self {
            Self::X86 => 3,
            Self::X86_64 => 62,
            Self::Arm => 40,
            Self::Aarch64 => 183,
            Self::Riscv64 => 243,
            Self::S390x => 22,
            Self::Ppc64 => 21,
            Self::Ppc => 20,
            Self::Mips | Self::Mips64 => 8,
            Self::Sparc => 2,
            Self::Sparc64 => 43,
            Self::Alpha => 0x9026,
            Self::Hppa => 15,
            Self::LoongArch64 => 258,
            Self::M68k => 4,
            Self::Other(machine) => machine,
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Other(0) => f.write_str("unknown processor"),
            Self::Other(machine) => write!(f, "processor with ELF machine number {machine}"),
            known => f.write_str(known.info().name),
        }
    }
}

impl ArchInfo {
    /// The slot of the register with this name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.registers.iter().position(|register| register.name == name)
    }

    /// The slot of the register with this DWARF number.
    #[must_use]
    pub fn slot_of_dwarf(&self, number: u16) -> Option<usize> {
        // In nearly every table the low numbers are their own slots.
        match self.registers.get(usize::from(number)) {
            Some(register) if register.dwarf == Some(number) => Some(usize::from(number)),
            _ => self.registers.iter().position(|register| register.dwarf == Some(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sound() {
        for arch in [
            Arch::X86,
            Arch::X86_64,
            Arch::Arm,
            Arch::Aarch64,
            Arch::Riscv64,
            Arch::S390x,
            Arch::Ppc64,
            Arch::Ppc,
            Arch::Mips,
            Arch::Mips64,
            Arch::Sparc,
            Arch::Sparc64,
            Arch::Alpha,
            Arch::Hppa,
            Arch::LoongArch64,
            Arch::M68k,
        ] {
            let info = arch.info();
            assert_eq!(Arch::from_elf(arch.elf_machine(), info.pointer_size == 8), arch);
            assert!(info.registers.len() <= crate::registers::SLOTS, "{arch}: too many registers");
            for slot in [Some(info.pc), Some(info.sp), info.fp, info.lr].into_iter().flatten() {
                assert!(slot < info.registers.len(), "{arch}: slot {slot} has no register");
            }
            for (slot, register) in info.registers.iter().enumerate() {
                assert_eq!(info.slot(register.name), Some(slot), "{arch}: {} stands twice", register.name);
                if let Some(number) = register.dwarf {
                    assert_eq!(info.slot_of_dwarf(number), Some(slot), "{arch}: DWARF {number} stands twice");
                }
            }
        }
    }

    #[test]
    fn byte_order() {
        assert_eq!(Endian::Little.uint(&[1, 2]), 0x0201);
        assert_eq!(Endian::Big.uint(&[1, 2]), 0x0102);
    }
}
