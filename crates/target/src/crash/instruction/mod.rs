//! One machine instruction in words that the crash analysis needs: which memory it touches, what it moves where.
//!
//! *What it is not*: an emulator. Addresses are worked out from the registers at hand, nothing is executed.
//!
//! *Trap*: the registers of a fault are those *before* the faulting instruction, so its operands can be worked out.

mod aarch64;
mod x86;

use afterimage_dump::{Arch, Registers};

/// What an instruction does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessKind {
    Read,
    Write,
    ReadWrite,
}

/// A memory operand: `base + index * scale + displacement`, in slots of the processor's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub base: Option<usize>,
    pub index: Option<usize>,
    pub scale: u64,
    pub displacement: i64,
    /// Address of the segment that it lies in (thread-local storage on x86), or a fixed program-relative address.
    pub fixed: u64,
    /// Whether some part of the address is not known at all.
    pub unknown: bool,
}

impl Place {
    /// The address, if all its registers are known.
    pub fn address(&self, registers: &Registers) -> Option<u64> {
        if self.unknown {
            return None;
        }
        let part = |slot: Option<usize>| slot.map_or(Some(0), |slot| registers.get(slot));
        let index = part(self.index)?.wrapping_mul(self.scale);
        let sum = part(self.base)?.wrapping_add(index).wrapping_add_signed(self.displacement).wrapping_add(self.fixed);
        Some(if registers.arch().info().pointer_size == 4 { sum & 0xffff_ffff } else { sum })
    }

    /// The registers that it is made of.
    pub fn slots(&self) -> impl Iterator<Item = usize> {
        self.base.into_iter().chain(self.index)
    }
}

/// One access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub kind: AccessKind,
    /// Bytes; 0 if not known.
    pub size: u32,
    pub place: Place,
}

/// Where a moved value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Register(usize),
    Memory(Place),
    Constant(u64),
    /// The result of a call: its target, if it is a direct one.
    Call(Option<u64>),
}

/// What kind of instruction it is, as far as crashes care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Integer division; the divisor's value, if it could be had.
    Divide { divisor: Option<u64> },
    /// An instruction made to fail: `ud2`, `udf`.
    Trap,
    /// A breakpoint: `int3`, `brk`.
    Breakpoint,
    /// A call or jump; `through` is the register or memory it takes its target from, `target` the address.
    Branch { call: bool, target: Option<u64> },
    /// A return.
    Return,
    /// Only the kernel may run it.
    Privileged,
    /// Anything else.
    Other,
}

/// An instruction.
#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub address: u64,
    pub length: u64,
    /// As a disassembler writes it.
    pub text: String,
    pub effect: Effect,
    /// All accesses to memory, explicit and implicit (push, call, string moves).
    pub accesses: Vec<Access>,
    /// Slots that it changes.
    pub writes: Vec<usize>,
    /// A plain move into a register: slot and where the value comes from.
    pub moves: Option<(usize, Origin)>,
    /// A plain store of a register: where to, and the slot.
    pub stores: Option<(Place, usize)>,
}

/// Bytes that the longest instruction of any processor here has.
pub(crate) const LONGEST: usize = 15;

/// Decodes the instruction at the start of `bytes`, which lie at `address`.
pub(crate) fn decode(bytes: &[u8], address: u64, registers: &Registers) -> Option<Instruction> {
    match registers.arch() {
        Arch::X86 | Arch::X86_64 => x86::decode(bytes, address, registers),
        Arch::Aarch64 => aarch64::decode(bytes, address, registers),
        _ => None,
    }
}

/// Registers that carry the first arguments, in order, by the customary calling convention of Linux.
pub(crate) fn argument_slots(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 => &["rdi", "rsi", "rdx", "rcx", "r8", "r9"],
        Arch::Aarch64 => &["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"],
        _ => &[],
    }
}

/// Registers that a call may change.
pub(crate) fn lost_by_a_call(arch: Arch, slot: usize) -> bool {
    let name = arch.info().registers.get(slot).map_or("", |register| register.name);
    match arch {
        Arch::X86_64 => ["rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"].contains(&name),
        Arch::X86 => ["eax", "ecx", "edx"].contains(&name),
        Arch::Aarch64 => slot <= 18 || name == "lr",
        _ => true,
    }
}

/// The register in which a call leaves its result.
pub(crate) fn result_slot(arch: Arch) -> Option<usize> {
    let name = match arch {
        Arch::X86_64 => "rax",
        Arch::X86 => "eax",
        Arch::Aarch64 => "x0",
        _ => return None,
    };
    arch.info().slot(name)
}
