//! Processors by the names that `uname` gives them.

use crate::{Arch, Endian};

/// A processor as containers without an ELF header name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SystemKind {
    pub(crate) arch: Arch,
    /// `e_machine` of its ELF files.
    pub(crate) elf_machine: u16,
}

impl SystemKind {
    /// By the machine field of `uname`.
    pub(crate) fn of(machine: &str, is_64: bool, endian: Endian) -> Self {
        let elf_machine = match machine {
            "x86_64" | "amd64" => 62,
            "aarch64" | "arm64" => 183,
            "ppc64" | "ppc64le" => 21,
            "ppc" => 20,
            "s390x" | "S390X" | "s390" => 22,
            "riscv64" => 243,
            "loongarch64" => 258,
            "ia64" => 50,
            "mips" | "mips64" => 8,
            "sparc64" => 43,
            "alpha" => 0x9026,
            _ if machine.starts_with("arm") => 40,
            _ if machine.len() == 4 && machine.starts_with('i') && machine.ends_with("86") => 3,
            // No name: the two that nearly all are.
            "" if is_64 && endian == Endian::Little => 62,
            "" if !is_64 && endian == Endian::Little => 3,
            _ => 0,
        };
        Self { arch: Arch::from_elf(elf_machine, is_64), elf_machine }
    }
}
