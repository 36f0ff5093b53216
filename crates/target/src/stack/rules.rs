//! The rules that lead from one frame to its caller, each on its own: saved signal context, call-frame information, the
//! call that has just happened, the function's own instructions, frame links.
//!
//! *What it is not*: it does not choose. `walk` asks the rules in order and keeps the reasons of those that failed.
//!
//! *Trap*: a rule that always answers is worse than none. Every rule but the first two shows that the address it found
//! is code with a call before it.

use super::abi::{Abi, CallerSp, Link};
use super::arm64;
use super::callsite::{self, Call};
use super::signal;
use super::window::Window;
use super::world::{Code, Cpu, Known, World};
use super::x86;
use crate::stack::Trust;
use afterimage_dump::arch::ArchInfo;
use afterimage_dump::{Arch, CodeAddr, Registers, Virt};

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
        // The first byte of a mapping has no call before it.
        if self.world.code(at) == Code::No || self.world.code(at.wrapping_sub(1)) == Code::No {
            return Err(no(format!("{at:#x} is not code")));
        }
        if self.world.code(at) == Code::Unknown && !self.world.in_module(at) {
            return Err(no(format!("{at:#x} lies in no module")));
        }
        if !self.call_before(raw).possible() {
            return Err(no(format!("no call stands before {at:#x}")));
        }
        Ok(at)
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

    fn caller(&self, mut registers: Registers, pc: u64, sp: Option<u64>, trust: Trust) -> Here {
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
        let mut cpu = Cpu { registers: &here.registers, memory: &self.memory, bias: 0, strip: &strip, parameters };
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
        let mut caller = self.caller(registers, pc, None, Trust::Cfi);
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

    /// What the function's own instructions say, where no table describes them.
    pub(super) fn by_code(&self, here: &Here, function: Option<&Known>) -> Answer {
        let pc = here.address.address().0;
        let is_exact = matches!(here.address, CodeAddr::Exact(_));
        match self.arch {
            Arch::X86 | Arch::X86_64 => self.by_x86_code(here, pc, is_exact, function),
            Arch::Aarch64 => self.by_arm64_code(here, pc, is_exact, function),
            _ if is_exact && self.info.lr.is_some() => {
                // A function that has called another has its own address in the link register.
                let raw = here.registers.lr().ok_or_else(|| no("the link register is not known"))?.0;
                if matches!(self.arch, Arch::Sparc | Arch::Sparc64) && !self.keeps_window(pc, function) {
                    return Err(no(""));
                }
                self.leaf(here, raw, function)
            }
            _ => Err(no("")),
        }
    }

    /// Whether a function is known to have made no register window of its own up to `pc`.
    fn keeps_window(&self, pc: u64, function: Option<&Known>) -> bool {
        const LONGEST: u64 = 1024;
        let Some(start) = function.map(|function| function.start).filter(|start| *start <= pc && pc - start < LONGEST)
        else {
            return false;
        };
        let is_save = |word: u64| word >> 30 == 2 && word >> 19 & 0x3f == 0x3c;
        (start..pc).step_by(4).all(|at| self.memory.uint(at, 4).is_ok_and(|word| !is_save(word)))
    }

    fn leaf(&self, here: &Here, raw: u64, function: Option<&Known>) -> Answer {
        let at = self.returns_to(raw)?;
        let lookup = at.wrapping_sub(1);
        let own = match (function, self.function(lookup)) {
            (Some(function), Some(other)) => function.start == other.start,
            _ => self.same_function(at, here.address.address().0),
        };
        if own {
            return Err(no("the link register points into the function itself"));
        }
        let mut found = self.call_site(here)?;
        if matches!(self.arch, Arch::Riscv64 | Arch::LoongArch64) {
            self.leave_leaf(here, &mut found);
        }
        Ok(found)
    }

    /// Guesses whether a return address and the code at `pc` behind it belong to one function.
    fn same_function(&self, at: u64, pc: u64) -> bool {
        let Some(past) = pc.checked_sub(at).filter(|past| *past < 4096) else { return false };
        let aarch64 = self.arch == Arch::Aarch64;
        let is_return = |at: u64| aarch64 && self.memory.uint(at, 4).is_ok_and(|word| arm64::is_return(word as u32));
        // A return between them ends the one and begins the other.
        !(0..past / 4).any(|index| is_return(at + index * 4))
    }

    /// On RISC-V and LoongArch a leaf that keeps a frame pointer saves its caller's where others save the return address,
    /// one word below its frame's upper end (folklore: Linux's `walk_stackframe` for riscv knows it too).
    fn leave_leaf(&self, here: &Here, found: &mut Found) {
        let (Some(fp), Some(slot)) = (here.registers.fp(), self.info.fp) else { return };
        let Some(at) = fp.0.checked_sub(self.word).filter(|at| self.on_stack(here, "fp", *at).is_ok()) else { return };
        if let Ok(saved) = self.load(at)
            && saved > fp.0
            && self.on_stack(here, "fp", saved).is_ok()
        {
            found.here.registers.set(slot, saved);
            found.here.registers.set(self.info.sp, fp.0);
            found.cfa = Some(fp.0);
        }
    }

    fn by_x86_code(&self, here: &Here, pc: u64, is_exact: bool, function: Option<&Known>) -> Answer {
        if function.is_some_and(|function| function.plt) && is_exact {
            // A stub has pushed nothing, its slot's number, or that and the link map.
            let sp = here.registers.sp().ok_or_else(|| no("the stack pointer is not known"))?.0;
            for depth in 0..3 {
                let at = sp.wrapping_add(depth * self.word);
                if let Ok(raw) = self.load(at)
                    && let Ok(pc) = self.returns_to(raw)
                {
                    let sp = at.wrapping_add(self.word);
                    let mut caller = self.caller(here.registers, pc, Some(sp), Trust::CallSite);
                    caller.exact = here.exact;
                    return Ok(Found { here: caller, cfa: Some(sp), trampoline: false });
                }
            }
        }
        let start = function.map(|function| function.start);
        let first = if is_exact { x86::prologue(&self.memory, &here.registers, pc, start) } else { None };
        let back = match first.filter(|back| self.returns_to(back.ra).is_ok()) {
            Some(back) => back,
            None => x86::follow(&self.memory, &here.registers, pc, is_exact)
                .ok_or_else(|| no("the function's instructions do not show the way to its return"))?,
        };
        let at = self.returns_to(back.ra)?;
        let registers = self.abi.survivors(&back.registers);
        let mut caller = self.caller(registers, at, Some(back.sp), Trust::CallSite);
        caller.exact = here.exact;
        Ok(Found { here: caller, cfa: Some(back.sp), trampoline: false })
    }

    fn by_arm64_code(&self, here: &Here, pc: u64, is_exact: bool, function: Option<&Known>) -> Answer {
        let prologue = arm64::analyse(&self.memory, pc, function.map(|function| function.start));
        let (sp, fp) = (here.registers.sp().map(|sp| sp.0), here.registers.fp().map(|fp| fp.0));
        if let Some(prologue) = prologue
            && let Some(record) = prologue.record
        {
            let cfa = match (prologue.from_fp, fp, sp.filter(|_| here.exact)) {
                (Some(distance), Some(fp), _) => fp.wrapping_add(distance),
                (None, _, Some(sp)) => sp.wrapping_add(prologue.depth),
                _ => return Err(no("the frame pointer is not known")),
            };
            let at = cfa.wrapping_sub(record);
            if sp.is_none_or(|sp| at >= sp) {
                let pc = self.returns_to(self.load(at.wrapping_add(8))?)?;
                let mut registers = self.abi.survivors(&here.registers);
                registers.set(29, self.load(at)?);
                let caller = self.caller(registers, pc, Some(cfa), Trust::FramePointer);
                return Ok(Found { here: caller, cfa: Some(cfa), trampoline: false });
            }
        }
        let framed = prologue.is_some_and(|prologue| prologue.record.is_some());
        match here.registers.lr() {
            Some(lr) if is_exact && !framed => {
                let mut found = self.leaf(here, lr.0, function)?;
                if let (Some(prologue), Some(sp)) = (prologue, sp) {
                    let cfa = sp.wrapping_add(prologue.depth);
                    found.here.registers.set(self.info.sp, cfa);
                    found.cfa = Some(cfa);
                    found.here.registers = {
                        let mut kept = self.abi.survivors(&found.here.registers);
                        kept.set(self.info.pc, found.here.address.address().0);
                        kept.set(self.info.sp, cfa);
                        kept
                    };
                    found.here.exact = here.exact && prologue.sure;
                }
                Ok(found)
            }
            _ => Err(no("")),
        }
    }

    /// Frame pointers, back chains and register windows.
    pub(super) fn link(&self, here: &Here) -> Answer {
        let mut reason = no("this processor's frames are not linked");
        for link in self.abi.links {
            match self.by_link(here, *link) {
                Ok(found) => return Ok(found),
                Err(refusal) => reason = refusal,
            }
        }
        Err(reason)
    }

    /// Whether `at` may be a frame's record: aligned, not below the stack pointer, in the same mapping.
    fn on_stack(&self, here: &Here, name: &str, at: u64) -> Result<(), Refusal> {
        if at % self.word != 0 {
            return Err(no(format!("{name} {at:#x} is not aligned")));
        }
        let Some(sp) = here.registers.sp() else { return Ok(()) };
        if at < sp.0 {
            return Err(no(format!("{name} {at:#x} lies below the stack pointer {sp:#x}")));
        }
        match self.world.region(sp.0) {
            Some((_, end)) if at >= end => Err(no(format!("{name} {at:#x} does not point into the stack"))),
            _ => Ok(()),
        }
    }

    fn by_link(&self, here: &Here, link: Link) -> Answer {
        let mut registers = self.abi.survivors(&here.registers);
        let place = |base: u64, offset: i64| base.wrapping_add_signed(offset) & self.mask;
        let (raw, new_sp, exact) = match link {
            Link::Record { fp, ra, sp } => {
                let slot = self.info.fp.ok_or_else(|| no(""))?;
                let name = self.info.registers.get(slot).map_or("fp", |register| register.name);
                let base = here.registers.get(slot).ok_or_else(|| no(format!("{name} is not known here")))?;
                if base == 0 {
                    // Where every call keeps the chain, its end is the stack's. On x86 many functions keep no chain.
                    let ends = here.trust == Trust::FramePointer && self.info.lr.is_some();
                    return Err(if ends { Refusal::Outermost } else { no(format!("{name} is 0")) });
                }
                let lowest = place(base, fp.min(ra));
                self.on_stack(here, name, lowest)?;
                let saved = self.load(place(base, fp))?;
                let raw = self.load(place(base, ra))?;
                registers.set(slot, saved);
                let highest = place(base, fp.max(ra) + self.word as i64);
                (raw, sp.map_or(highest, |sp| place(base, sp)), sp.is_some())
            }
            Link::BackChain { ra } => {
                let sp = here.registers.sp().ok_or_else(|| no("the stack pointer is not known"))?.0;
                let caller = self.load(sp)?;
                if caller == 0 {
                    return Err(no("the back chain is empty"));
                }
                if caller <= sp {
                    return Err(Refusal::Loop(format!("the back chain at {sp:#x} leads back to {caller:#x}")));
                }
                self.on_stack(here, "the back chain's", caller)?;
                (self.load(place(caller, ra))?, caller, true)
            }
            Link::Window { bias } => return self.by_window(here, bias),
        };
        if raw & self.mask == 0 {
            // An empty record ends a chain. Where the chain is only guessed at, zeros may be just zeros.
            return Err(if here.trust == Trust::FramePointer { Refusal::Outermost } else { Refusal::Empty });
        }
        let trampoline = || {
            let at = self.landing(raw);
            signal::recognise(self.arch, &self.memory, at, new_sp).map(|_| at)
        };
        let generated = || match link {
            Link::Record { fp, ra, .. } if here.trust != Trust::Scan => {
                self.through_generated_code(raw, registers.fp()?.0, fp, ra)
            }
            _ => None,
        };
        let pc = (self.returns_to(raw)).or_else(|refusal| trampoline().or_else(generated).ok_or(refusal))?;
        let mut caller = self.caller(registers, pc, Some(new_sp), Trust::FramePointer);
        caller.exact = exact;
        Ok(Found { here: caller, cfa: exact.then_some(new_sp), trampoline: false })
    }

    /// Code that a program made at run time lies in no module, and a minidump need not say that it is code. Its frames
    /// are believed if their chain comes back to a module soon.
    fn through_generated_code(&self, raw: u64, mut base: u64, fp: i64, ra: i64) -> Option<u64> {
        const LONGEST: usize = 16;
        const LARGEST: u64 = 1 << 16;
        let at = self.landing(raw);
        if at < 1 << 16 || at >> 47 != 0 || self.world.code(at) != Code::Unknown || !self.world.lacks_code() {
            return None;
        }
        for _ in 0..LONGEST {
            let raw = self.load(base.checked_add_signed(ra)?).ok()?;
            let next = self.load(base.checked_add_signed(fp)?).ok()?;
            if self.returns_to(raw).is_ok() {
                return Some(at);
            }
            if self.world.code(raw) == Code::No || next <= base || next - base > LARGEST || next % self.word != 0 {
                return None;
            }
            base = next;
        }
        None
    }

    /// A function that has made itself a window returns by `%i7`, and its caller's window lies at `%fp`. One that has
    /// not returns by `%o7`; only the innermost can be such.
    fn by_window(&self, here: &Here, bias: u64) -> Answer {
        const O0: usize = 8;
        const FP: usize = 30;
        const I7: usize = 31;
        let fp = here.registers.get(FP).ok_or_else(|| no("fp is not known here"))?;
        let raw = here.registers.get(I7).ok_or_else(|| no("i7 is not known here"))?;
        if fp == 0 || raw & self.mask == 0 {
            return Err(Refusal::Outermost);
        }
        self.on_stack(here, "fp", fp.wrapping_add(bias) & self.mask & !1)?;
        let pc = self.returns_to(raw)?;
        let mut registers = Registers::new(self.arch);
        // Its own ins are the caller's outs, less those that the call itself changes.
        for out in 0..8 {
            if let Some(value) = here.registers.get(out + O0 + 16) {
                registers.set(O0 + out, value);
            }
        }
        for index in 0..16 {
            let at = fp.wrapping_add(bias).wrapping_add(index as u64 * self.word) & self.mask;
            if let Ok(value) = self.load(at) {
                registers.set(16 + index, value);
            }
        }
        let caller = self.caller(registers, pc, Some(fp), Trust::FramePointer);
        Ok(Found { here: caller, cfa: Some(fp), trampoline: false })
    }
}
