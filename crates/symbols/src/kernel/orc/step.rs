//! One step: from a frame to its caller.

use super::KernelBytes;
use super::entry::{OrcEntry, OrcRegister, OrcType};
use crate::kernel::u64_at;

/// The registers that the kernel saves at an interrupt or a system call: `struct pt_regs`, part of its interface to
/// programs since ever (arch/x86/include/uapi/asm/ptrace.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PtRegs(pub [u64; 21]);

impl PtRegs {
    /// Numbers of registers.
    pub const R13: usize = 2;
    /// rbp
    pub const BP: usize = 4;
    /// r10
    pub const R10: usize = 7;
    /// rax
    pub const AX: usize = 10;
    /// rdx
    pub const DX: usize = 12;
    /// rdi
    pub const DI: usize = 14;
    /// rip: here begins what the processor itself saves: rip, cs, flags, rsp, ss.
    pub const IP: usize = 16;
    /// cs
    pub const CS: usize = 17;
    /// rsp
    pub const SP: usize = 19;

    /// A register by its number.
    #[must_use]
    pub fn get(&self, number: usize) -> u64 {
        self.0.get(number).copied().unwrap_or(0)
    }

    /// Sets a register by its number; another number is ignored.
    pub fn set(&mut self, number: usize, value: u64) {
        if let Some(place) = self.0.get_mut(number) {
            *place = value;
        }
    }

    fn read(memory: &dyn KernelBytes, at: u64) -> Option<Self> {
        let mut bytes = [0; 21 * 8];
        if memory.read(at, &mut bytes) != bytes.len() {
            return None;
        }
        let mut values = [0; 21];
        for (index, value) in values.iter_mut().enumerate() {
            *value = u64_at(&bytes, index * 8)?;
        }
        Some(Self(values))
    }
}

/// Why there is no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrcStop {
    /// The kernel's own mark: this is the outermost frame.
    End,
    /// The registers saved here are a program's.
    User {
        /// Where it was.
        ip: u64,
        /// Its stack pointer.
        sp: u64,
    },
    /// The entry says that nobody knows.
    Undefined,
    /// It needs a register that is not known here.
    NoRegister(OrcRegister),
    /// The memory at this address is not there.
    Unreadable(u64),
}

/// A frame, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrcState {
    /// Its address in the code.
    pub ip: u64,
    /// Its stack pointer.
    pub sp: u64,
    /// Its rbp.
    pub bp: u64,
    /// Whether `ip` is an instruction's own address; otherwise it is a return address.
    pub exact: bool,
    /// All registers, in a frame that was interrupted.
    pub registers: Option<PtRegs>,
    /// Those of the frame before, which hold on where the processor saved only some.
    pub previous: Option<PtRegs>,
}

impl OrcState {
    /// The address to look up.
    #[must_use]
    pub fn lookup(&self) -> u64 {
        if self.exact { self.ip } else { self.ip.wrapping_sub(1) }
    }

    fn register(&self, number: usize) -> Option<u64> {
        self.registers.or(self.previous).map(|registers| registers.get(number))
    }

    /// The caller, by the entry for [`Self::lookup`].
    ///
    /// # Errors
    /// Why there is none.
    pub fn step(&self, entry: &OrcEntry, memory: &dyn KernelBytes) -> Result<Self, OrcStop> {
        let word = |at: u64| memory.word(at).ok_or(OrcStop::Unreadable(at));
        match entry.kind {
            OrcType::End => return Err(OrcStop::End),
            OrcType::Undefined => return Err(OrcStop::Undefined),
            OrcType::Call | OrcType::Registers | OrcType::PartialRegisters => {}
        }
        let distance = i64::from(entry.sp_offset) as u64;
        let from = |number| self.register(number).ok_or(OrcStop::NoRegister(entry.sp));
        let sp = match entry.sp {
            OrcRegister::Sp => self.sp.wrapping_add(distance),
            OrcRegister::Bp => self.bp.wrapping_add(distance),
            // The distance of an indirect rsp counts behind the jump since 5.12, when it came into use.
            OrcRegister::SpIndirect => word(self.sp)?.wrapping_add(distance),
            OrcRegister::BpIndirect => word(self.bp.wrapping_add(distance))?,
            OrcRegister::R10 => from(PtRegs::R10)?,
            OrcRegister::R13 => from(PtRegs::R13)?,
            OrcRegister::Di => from(PtRegs::DI)?,
            OrcRegister::Dx => from(PtRegs::DX)?,
            OrcRegister::Ax => from(PtRegs::AX)?,
            OrcRegister::Undefined | OrcRegister::PreviousSp => return Err(OrcStop::Undefined),
        };
        let mut caller = *self;
        caller.exact = entry.signal;
        match entry.kind {
            OrcType::Registers => {
                let registers = PtRegs::read(memory, sp).ok_or(OrcStop::Unreadable(sp))?;
                (caller.ip, caller.sp) = (registers.get(PtRegs::IP), registers.get(PtRegs::SP));
                user(registers.get(PtRegs::CS), &caller)?;
                (caller.registers, caller.previous) = (Some(registers), None);
            }
            OrcType::PartialRegisters => {
                (caller.ip, caller.sp) = (word(sp)?, word(sp.wrapping_add(24))?);
                user(word(sp.wrapping_add(8))?, &caller)?;
                caller.previous = self.registers.or(self.previous);
                caller.registers = None;
            }
            OrcType::Call | OrcType::End | OrcType::Undefined => {
                (caller.ip, caller.sp) = (word(sp.wrapping_sub(8))?, sp);
                (caller.registers, caller.previous) = (None, None);
            }
        }
        let distance = i64::from(entry.bp_offset) as u64;
        caller.bp = match entry.bp {
            OrcRegister::PreviousSp => word(sp.wrapping_add(distance))?,
            OrcRegister::Bp => word(self.bp.wrapping_add(distance))?,
            _ => caller.register(PtRegs::BP).unwrap_or(self.bp),
        };
        Ok(caller)
    }
}

/// The two lowest bits of cs are 0 in the kernel. With FRED the rest of the word holds other things.
fn user(cs: u64, caller: &OrcState) -> Result<(), OrcStop> {
    if cs & 3 == 0 { Ok(()) } else { Err(OrcStop::User { ip: caller.ip, sp: caller.sp }) }
}
