//! The rules that lead from one frame to its caller, each on its own. Here: what they share, and the saved signal context,
//! call-frame information, and the call that has just happened. Beside: the function's own instructions (`code`), frame
//! links (`links`), the scan.
//!
//! *What it is not*: it does not choose. `walk` asks the rules in order and keeps the reasons of those that failed.
//!
//! *Trap*: a rule that always answers is worse than none. Every rule but the first two shows that the address it found
//! is code with a call before it.

use super::abi::{Abi, CallerSp};
use super::callsite::{self, Call};
use super::signal;
use super::window::Window;
use super::world::{Code, Cpu, Known, World};
use crate::stack::Trust;
use afterimage_dump::arch::ArchInfo;
use afterimage_dump::{Arch, CodeAddr, Os, Registers, Virt};
use afterimage_symbols::CfiSource;

/// A frame while it is being worked on.
#[derive(Clone, Debug)]
pub(super) struct Here {
    pub(super) address: CodeAddr,
    pub(super) registers: Registers,
    pub(super) trust: Trust,
    pub(super) why: String,
    /// Whether the stack pointer is the true one, and not only a lower bound.
    pub(super) exact: bool,
    /// The stack pointer did not move when this frame was found.
    pub(super) still: bool,
    /// Bytes of arguments that the callee takes off the stack itself.
    pub(super) parameters: u32,
}

/// A caller that a rule found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) here: Here,
    /// The callee's canonical frame address.
    pub(super) cfa: Option<u64>,
    /// The callee is a signal trampoline.
    pub(super) trampoline: bool,
}

/// Why a rule gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no caller.
    Outermost,
    /// It leads to zeros, which may be the end.
    Empty,
    /// It leads back to where it came from.
    Loop(String),
    /// It does not apply, for this reason (empty: the reason is of no interest).
    No(String),
}

pub(super) type Answer = Result<Found, Refusal>;

pub(super) fn no(reason: impl Into<String>) -> Refusal {
    Refusal::No(reason.into())
}

/// What all rules work with.
pub(super) struct Rules<'a> {
    pub(super) world: &'a dyn World,
    pub(super) abi: &'static Abi,
    pub(super) info: &'static ArchInfo,
    pub(super) arch: Arch,
    pub(super) memory: Window<'a>,
    /// Bytes of a stack slot.
    pub(super) word: u64,
    /// Bits of an address.
    pub(super) mask: u64,
}

impl<'a> Rules<'a> {
    pub(super) fn new(world: &'a dyn World) -> Self {
        let arch = world.arch();
        let info = arch.info();
        Self {
            world,
            abi: Abi::of(arch, world.os()),
            info,
            arch,
            memory: Window::new(world.memory(), world.endian()),
            word: info.pointer_size as u64,
            mask: if info.pointer_size == 4 { 0xffff_ffff } else { u64::MAX },
        }
    }

    pub(super) fn load(&self, at: u64) -> Result<u64, Refusal> {
        self.memory.uint(at & self.mask, self.word as usize).map_err(|fault| no(fault.to_string()))
    }

    fn is_x86(&self) -> bool {
        matches!(self.arch, Arch::X86 | Arch::X86_64)
    }

    /// Takes authentication and tag bits out of an aarch64 code pointer.
    pub(super) fn strip(&self, value: u64) -> u64 {
        if self.arch != Arch::Aarch64 || value >> 39 == 0 || value >> 55 & 1 == 1 {
            return value;
        }
        // Which bits are free depends on the size of the address space, which a core need not say: the first size that
        // gives code is the right one, and 48 bits are by far the commonest.
        let sizes = [64u32, 56, 52, 48, 47, 42, 39];
        let cut = |bits: u32| if bits == 64 { value } else { value & ((1 << bits) - 1) };
        sizes.into_iter().map(cut).find(|&at| self.world.code(at) == Code::Yes).unwrap_or(cut(48))
    }

    /// From the value of a return register to the address where the call returns.
    pub(super) fn landing(&self, raw: u64) -> u64 {
        self.strip(raw & self.mask & !self.abi.tag_bits).wrapping_add(self.abi.return_skip) & self.mask
    }

    /// The call before a return address, as it stood in memory or a register.
    pub(super) fn call_before(&self, raw: u64) -> Call {
        // Thumb mode is known by the lowest bit only.
        let at = if self.arch == Arch::Arm { raw & self.mask } else { self.landing(raw) };
        callsite::before(self.arch, &self.memory, at)
    }

    /// Where a raw return address leads, if it is code behind a call.
    pub(super) fn returns_to(&self, raw: u64) -> Result<u64, Refusal> {
        let at = self.landing(raw);
        if self.world.code(at) == Code::No {
            return Err(no(format!("{at:#x} is not code")));
        }
        // A signal handler returns to where nobody has called.
        if self.is_trampoline(at) {
            return Ok(at);
        }
        // The first byte of a mapping has no call before it.
        if self.world.code(at.wrapping_sub(1)) == Code::No {
            return Err(no(format!("{at:#x} begins a mapping, so no call stands before it")));
        }
        // A module's headers are no code, but their addresses lie on many a stack: of the module, of its program headers.
        // Those of a PE file have its first page for themselves.
        let headers = if self.world.os() == Os::Windows { 0x1000 } else { 0x41 };
        if self.world.in_module(at) && !self.world.in_module(at.wrapping_sub(headers)) {
            return Err(no(format!("{at:#x} lies in a module's headers")));
        }
        if self.world.code(at) == Code::Unknown && !self.world.in_module(at) {
            return Err(no(format!("{at:#x} lies in no module")));
        }
        if !self.call_before(raw).possible() {
            return Err(no(format!("no call stands before {at:#x}")));
        }
        Ok(at)
    }

    /// Whether `at` is where signal handlers return to.
    pub(super) fn is_trampoline(&self, at: u64) -> bool {
        signal::known(self.arch, self.memory.endian()) && signal::recognise(self.arch, &self.memory, at, 0).is_some()
    }

    pub(super) fn function(&self, at: u64) -> Option<Known> {
        self.world.function(at)
    }

    pub(super) fn is_wild(&self, here: &Here) -> bool {
        let at = here.address.address().0;
        match self.world.code(at) {
            Code::Yes => false,
            Code::No => true,
            // A return address that only cannot be read is no worse for it: generated code in a small dump.
            Code::Unknown => matches!(here.address, CodeAddr::Exact(_)) && self.memory.uint(at, 1).is_err(),
        }
    }

    /// A caller's frame, with the address and stack pointer set.
    pub(super) fn caller(&self, mut registers: Registers, pc: u64, sp: Option<u64>, trust: Trust) -> Here {
        registers.set(self.info.pc, pc);
        if let Some(sp) = sp {
            registers.set(self.info.sp, sp & self.mask);
        }
        let address = CodeAddr::Return(Virt(pc));
        Here { address, registers, trust, why: String::new(), exact: true, still: false, parameters: 0 }
    }

    /// The registers that the kernel saved, if this frame is a signal trampoline.
    pub(super) fn signal(&self, here: &Here) -> Answer {
        if !signal::known(self.arch, self.memory.endian()) {
            return Err(no(""));
        }
        let (pc, Some(sp)) = (here.address.address().0, here.registers.sp()) else { return Err(no("")) };
        let Some(context) = signal::recognise(self.arch, &self.memory, pc, sp.0) else { return Err(no("")) };
        let Some(mut registers) = context.registers(self.arch, &self.memory) else {
            return Err(no(format!("the registers saved for {} at {sp:#x} are not in the dump", context.call)));
        };
        let Some(pc) = registers.pc() else { return Err(no("")) };
        // What does not change within a thread is not saved by the kernel either.
        let kept = self.abi.survivors(&here.registers);
        for slot in 0..self.info.registers.len() {
            if registers.get(slot).is_none()
                && let Some(value) = kept.get(slot)
            {
                registers.set(slot, value);
            }
        }
        if registers.sp().is_none_or(|sp| sp.0 == 0) {
            return Err(no(format!("the registers saved for {} hold no stack pointer", context.call)));
        }
        let here = Here {
            address: CodeAddr::Exact(pc),
            registers,
            trust: Trust::SignalFrame,
            why: String::new(),
            exact: true,
            still: false,
            parameters: 0,
        };
        Ok(Found { here, cfa: None, trampoline: true })
    }

    /// Call-frame information.
    pub(super) fn cfi(&self, here: &Here) -> Answer {
        let strip = |value| self.strip(value);
        let parameters = here.parameters;
        let innermost = matches!(here.address, CodeAddr::Exact(_));
        let (registers, memory) = (&here.registers, &self.memory);
        let mut cpu = Cpu { registers, memory, bias: 0, strip: &strip, parameters, innermost };
        let step = self.world.cfi(here.address.lookup().0, &mut cpu).map_err(Refusal::No)?;
        if step.outermost {
            return Err(Refusal::Outermost);
        }
        let cfa = step.cfa & self.mask;
        let raw = match step.registers.iter().find(|(number, _)| *number == step.return_register) {
            Some((_, Some(value))) => *value,
            Some((_, None)) => return Err(no(format!("the return address below {cfa:#x} is lost or not in the dump"))),
            // No rule: it is still where the call put it, which only the innermost function can say.
            None if matches!(here.address, CodeAddr::Exact(_)) => (here.registers.by_dwarf(step.return_register))
                .ok_or_else(|| no("the unwind rule leaves the return address in a register that is not known"))?,
            None => return Err(no("the unwind rule says nothing of the return address")),
        };
        if raw & self.mask == 0 {
            return Err(Refusal::Outermost);
        }
        let mut registers = self.abi.survivors(&here.registers);
        for &(number, value) in &step.registers {
            let Some(slot) = self.info.slot_of_dwarf(number) else { continue };
            match value {
                Some(value) => registers.set(slot, value & self.mask),
                None => registers.clear(slot),
            }
        }
        let listed = |slot: usize| {
            let number = self.info.registers.get(slot).and_then(|register| register.dwarf);
            step.registers.iter().any(|(known, value)| Some(*known) == number && value.is_some())
        };
        if !listed(self.info.sp) {
            let sp = match self.abi.caller_sp {
                CallerSp::Cfa => Some(cfa),
                CallerSp::Below(bias) => Some(cfa.wrapping_sub(bias)),
                CallerSp::Same => here.registers.sp().map(|sp| sp.0),
            };
            if let Some(sp) = sp {
                registers.set(self.info.sp, sp & self.mask);
            }
        }
        let pc = if step.signal_frame { raw & self.mask } else { self.landing(raw) };
        let trust = if step.source == CfiSource::Pdata { Trust::UnwindData } else { Trust::Cfi };
        let mut caller = self.caller(registers, pc, None, trust);
        if step.signal_frame {
            caller.address = CodeAddr::Exact(Virt(pc));
            caller.trust = Trust::SignalFrame;
        }
        caller.exact = here.exact;
        caller.parameters = step.parameter_size;
        Ok(Found { here: caller, cfa: Some(cfa), trampoline: step.signal_frame })
    }

    /// The call that has just happened: into nowhere, or into a stub.
    pub(super) fn call_site(&self, here: &Here) -> Answer {
        let pc = here.address.address().0;
        let sp = here.registers.sp();
        let mut registers = here.registers;
        let (raw, new_sp) = match self.info.lr {
            Some(lr) => {
                let raw = here.registers.get(lr).ok_or_else(|| no("the link register is not known"))?;
                registers.clear(lr);
                (raw, sp.map(|sp| sp.0))
            }
            None => {
                let sp = sp.ok_or_else(|| no("the stack pointer is not known"))?.0;
                let below = sp.checked_sub(self.word).and_then(|at| self.load(at).ok());
                if self.is_x86() && below == Some(pc) && self.returns_to(self.load(sp)?).is_err() {
                    // A `ret` leaves the address it took just below the stack pointer.
                    return Err(no(format!(
                        "{pc:#x} was returned to, not called: it lies just below the stack pointer"
                    )));
                }
                (self.load(sp)?, Some(sp.wrapping_add(self.word)))
            }
        };
        let at = self.returns_to(raw)?;
        if at == pc {
            return Err(no("the return address is the address itself"));
        }
        let mut caller = self.caller(registers, at, new_sp, Trust::CallSite);
        caller.exact = here.exact;
        Ok(Found { here: caller, cfa: new_sp, trampoline: false })
    }
}
