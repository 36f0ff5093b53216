//! Register names of symbol files and their DWARF numbers.
//!
//! Not here: which registers a call preserves.
//!
//! Example: `$rbx` on x86_64 is DWARF register 3, and `$ebx` on x86 too; `$esp` is 4, `$rsp` is 7.
//!
//! Trap: dump_syms writes `$` on x86 and none on arm.

/// The CPU of a MODULE record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    X86,
    X86_64,
    Arm,
    Arm64,
    Mips,
    Mips64,
    Ppc,
    Ppc64,
    Riscv,
    Other,
}

const X86: [&str; 9] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip"];
const X86_64: [&str; 17] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
];
const MIPS: [&str; 32] = [
    "zero", "at", "v0", "v1", "a0", "a1", "a2", "a3", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "s0", "s1", "s2",
    "s3", "s4", "s5", "s6", "s7", "t8", "t9", "k0", "k1", "gp", "sp", "fp", "ra",
];
const RISCV: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2",
    "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];

impl Arch {
    pub(super) fn by_name(name: &[u8]) -> Arch {
        match name {
            b"x86" => Arch::X86,
            b"x86_64" | b"x86_64h" | b"amd64" => Arch::X86_64,
            b"arm" => Arch::Arm,
            b"arm64" | b"arm64e" | b"aarch64" => Arch::Arm64,
            b"mips" => Arch::Mips,
            b"mips64" => Arch::Mips64,
            b"ppc" => Arch::Ppc,
            b"ppc64" => Arch::Ppc64,
            b"riscv" | b"riscv64" => Arch::Riscv,
            _ => Arch::Other,
        }
    }

    /// Size of an address.
    pub(super) fn word(self) -> usize {
        match self {
            Arch::X86 | Arch::Arm | Arch::Mips | Arch::Ppc => 4,
            _ => 8,
        }
    }

    /// The column in which the return address is given back.
    pub(super) fn return_register(self) -> u16 {
        match self {
            Arch::X86 => 8,
            Arch::X86_64 => 16,
            Arch::Arm => 14,
            Arch::Arm64 => 30,
            Arch::Mips | Arch::Mips64 => 31,
            Arch::Ppc | Arch::Ppc64 => 65,
            Arch::Riscv => 1,
            Arch::Other => u16::MAX,
        }
    }

    /// The DWARF number of a register, by its name with or without `$`.
    pub(super) fn register(self, name: &str) -> Option<u16> {
        let name = name.strip_prefix('$').unwrap_or(name);
        let listed = |names: &[&str]| names.iter().position(|known| *known == name).map(|number| number as u16);
        let numbered = |letter: &str, limit: u16| {
            name.strip_prefix(letter).and_then(|number| number.parse::<u16>().ok()).filter(|number| *number < limit)
        };
        match self {
            Arch::X86 => listed(&X86),
            Arch::X86_64 => listed(&X86_64),
            Arch::Arm => match name {
                "fp" => Some(11),
                "ip" => Some(12),
                "sp" => Some(13),
                "lr" => Some(14),
                "pc" => Some(15),
                _ => numbered("r", 16),
            },
            Arch::Arm64 => match name {
                "fp" => Some(29),
                "lr" => Some(30),
                "sp" => Some(31),
                "pc" => Some(32),
                _ => numbered("x", 31).or_else(|| numbered("v", 32).or_else(|| numbered("d", 32)).map(|n| n + 64)),
            },
            Arch::Mips | Arch::Mips64 => listed(&MIPS),
            Arch::Ppc | Arch::Ppc64 => match name {
                "lr" => Some(65),
                _ => numbered("r", 32),
            },
            Arch::Riscv => listed(&RISCV).or_else(|| numbered("x", 32)),
            Arch::Other => None,
        }
    }
}
