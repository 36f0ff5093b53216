//! What calling conventions promise, one table a processor: which registers survive a call, how a frame links to its
//! caller's, and what a return address looks like.
//!
//! *What it is not*: it reads no memory; the rules that use these tables stand beside it.
//!
//! *Example*: on x86-64 `rbp` survives a call and, where code keeps a frame pointer, points at the caller's `rbp` with
//! the return address above it.
//!
//! *Trap*: the canonical frame address is the caller's stack pointer on most machines, but not on s390x (160 bytes
//! above it) and not on sparc64 (2047 bytes above it).

use afterimage_dump::{Arch, Os, Registers};

/// How one frame's memory leads to the caller's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// The frame pointer points near a record of the caller's frame pointer and the return address.
    Record {
        /// From the frame pointer to the caller's frame pointer.
        fp: i64,
        /// From the frame pointer to the return address.
        ra: i64,
        /// From the frame pointer to the caller's stack pointer, where the convention fixes it.
        sp: Option<i64>,
    },
    /// The word at the stack pointer is the caller's stack pointer, and the return address was saved at this distance
    /// from it.
    BackChain {
        /// From the caller's stack pointer to the return address.
        ra: i64,
    },
    /// Register windows: the caller's sixteen window registers lie at its stack pointer.
    Window {
        /// What a stack pointer must be increased by to give an address.
        bias: u64,
    },
}

/// Where the caller's stack pointer is, seen from a row of call-frame information that says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerSp {
    /// It is the canonical frame address.
    Cfa,
    /// It is the canonical frame address less this many bytes.
    Below(u64),
    /// It is the callee's own: a row that moves the stack pointer says so.
    Same,
}

/// One processor's conventions.
#[derive(Debug)]
pub(super) struct Abi {
    /// Slots (first and last of each range) that a callee gives back as it found them.
    saved: &'static [(usize, usize)],
    /// Forms of frame link, the likeliest first.
    pub(super) links: &'static [Link],
    /// Caller's stack pointer under call-frame information.
    pub(super) caller_sp: CallerSp,
    /// Bits of a return address that are no part of it (Thumb mode, privilege level).
    pub(super) tag_bits: u64,
    /// From the value in the return register to where the call returns.
    pub(super) return_skip: u64,
    /// Code addresses are multiples of this.
    pub(super) code_align: u64,
}

/// Plain conventions, to be filled in by each table.
const PLAIN: Abi = Abi { saved: &[], links: &[], caller_sp: CallerSp::Cfa, tag_bits: 0, return_skip: 0, code_align: 1 };

const X86: Abi =
    Abi { saved: &[(3, 3), (5, 7), (10, 15)], links: &[Link::Record { fp: 0, ra: 4, sp: Some(8) }], ..PLAIN };
/// System V; the segment registers and their bases do not change within a thread.
const X86_64: Abi = Abi {
    saved: &[(3, 3), (6, 6), (12, 15), (18, 25)],
    links: &[Link::Record { fp: 0, ra: 8, sp: Some(16) }],
    ..PLAIN
};
/// Windows: `rsi` and `rdi` survive too.
const X86_64_WINDOWS: Abi =
    Abi { saved: &[(3, 6), (12, 15), (18, 25)], links: &[Link::Record { fp: 0, ra: 8, sp: Some(16) }], ..PLAIN };
/// Three ways to keep a frame pointer: clang's, gcc's, and the old procedure call standard's (`-mapcs-frame`).
const ARM: Abi = Abi {
    saved: &[(4, 11)],
    links: &[
        Link::Record { fp: 0, ra: 4, sp: None },
        Link::Record { fp: -4, ra: 0, sp: None },
        Link::Record { fp: -12, ra: -4, sp: None },
    ],
    tag_bits: 1,
    code_align: 2,
    ..PLAIN
};
const AARCH64: Abi =
    Abi { saved: &[(19, 29), (34, 34)], links: &[Link::Record { fp: 0, ra: 8, sp: None }], code_align: 4, ..PLAIN };
const RISCV64: Abi = Abi {
    saved: &[(0, 0), (3, 4), (8, 9), (18, 27)],
    links: &[Link::Record { fp: -16, ra: -8, sp: Some(0) }],
    code_align: 2,
    ..PLAIN
};
/// The back chain is kept only by code built with `-mbackchain`; else the word is 0 and the rule does not apply.
const S390X: Abi =
    Abi { saved: &[(6, 13)], links: &[Link::BackChain { ra: 112 }], caller_sp: CallerSp::Same, code_align: 2, ..PLAIN };
const PPC64: Abi = Abi { saved: &[(2, 2), (13, 31)], links: &[Link::BackChain { ra: 16 }], code_align: 4, ..PLAIN };
const PPC: Abi = Abi { saved: &[(2, 2), (13, 31)], links: &[Link::BackChain { ra: 4 }], code_align: 4, ..PLAIN };
const MIPS: Abi = Abi { saved: &[(0, 0), (16, 23), (28, 28), (30, 30)], tag_bits: 1, code_align: 2, ..PLAIN };
const SPARC: Abi = Abi { links: &[Link::Window { bias: 0 }], return_skip: 8, code_align: 4, ..PLAIN };
const SPARC64: Abi = Abi {
    links: &[Link::Window { bias: 2047 }],
    caller_sp: CallerSp::Below(2047),
    return_skip: 8,
    code_align: 4,
    ..PLAIN
};
const ALPHA: Abi = Abi { saved: &[(9, 15), (29, 29), (31, 31)], code_align: 4, ..PLAIN };
/// The two low bits of a return address are the privilege level (3 in a process).
const HPPA: Abi = Abi { saved: &[(3, 18), (27, 27)], tag_bits: 3, code_align: 4, ..PLAIN };
const LOONGARCH64: Abi = Abi {
    saved: &[(0, 0), (2, 2), (21, 31)],
    links: &[Link::Record { fp: -16, ra: -8, sp: Some(0) }],
    code_align: 4,
    ..PLAIN
};
const M68K: Abi =
    Abi { saved: &[(2, 7), (10, 14)], links: &[Link::Record { fp: 0, ra: 4, sp: Some(8) }], code_align: 2, ..PLAIN };

impl Abi {
    /// The conventions of a processor under a system.
    pub(super) fn of(arch: Arch, os: Os) -> &'static Self {
        match arch {
            Arch::X86 => &X86,
            Arch::X86_64 if os == Os::Windows => &X86_64_WINDOWS,
            Arch::X86_64 => &X86_64,
            Arch::Arm => &ARM,
            Arch::Aarch64 => &AARCH64,
            Arch::Riscv64 => &RISCV64,
            Arch::S390x => &S390X,
            Arch::Ppc64 => &PPC64,
            Arch::Ppc => &PPC,
            Arch::Mips | Arch::Mips64 => &MIPS,
            Arch::Sparc => &SPARC,
            Arch::Sparc64 => &SPARC64,
            Arch::Alpha => &ALPHA,
            Arch::Hppa => &HPPA,
            Arch::LoongArch64 => &LOONGARCH64,
            Arch::M68k => &M68K,
            _ => &PLAIN,
        }
    }

    /// The registers that a caller still has when its callee returns; all others are unknown.
    pub(super) fn survivors(&self, callee: &Registers) -> Registers {
        let mut caller = Registers::new(callee.arch());
        for slot in self.saved.iter().flat_map(|&(first, last)| first..=last) {
            if let Some(value) = callee.get(slot) {
                caller.set(slot, value);
            }
        }
        caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ranges are numbers; this holds them against the names that the calling conventions use.
    #[test]
    fn survivors_are_the_registers_that_the_conventions_name() {
        let cases: &[(Arch, &str)] = &[
            (Arch::X86, "ebx ebp esi edi"),
            (Arch::X86_64, "rbx rbp r12 r13 r14 r15"),
            (Arch::Arm, "r4 r5 r6 r7 r8 r9 r10 r11"),
            (Arch::Aarch64, "x19 x20 x21 x22 x23 x24 x25 x26 x27 x28 fp"),
            (Arch::Riscv64, "zero gp tp fp s1 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11"),
            (Arch::S390x, "r6 r7 r8 r9 r10 r11 r12 r13"),
            (Arch::Mips, "zero s0 s1 s2 s3 s4 s5 s6 s7 gp fp"),
            (Arch::Mips64, "zero s0 s1 s2 s3 s4 s5 s6 s7 gp fp"),
            (Arch::Alpha, "s0 s1 s2 s3 s4 s5 fp gp zero"),
            (Arch::LoongArch64, "zero tp r21 fp s0 s1 s2 s3 s4 s5 s6 s7 s8"),
            (Arch::M68k, "d2 d3 d4 d5 d6 d7 a2 a3 a4 a5 fp"),
        ];
        for &(arch, names) in cases {
            let mut all = Registers::new(arch);
            for slot in 0..arch.info().registers.len() {
                all.set(slot, slot as u64);
            }
            let kept = Abi::of(arch, Os::Linux).survivors(&all);
            let mut kept: Vec<&str> = kept.iter().filter(|(info, _)| info.general).map(|(info, _)| info.name).collect();
            let mut names: Vec<&str> = names.split(' ').collect();
            kept.sort_unstable();
            names.sort_unstable();
            assert_eq!(kept, names, "{arch}");
        }
    }
}
