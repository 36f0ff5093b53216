//! Functions that no table describes: what their own instructions say about the way back.
//!
//! *What it is not*: it reads no instructions itself; `x86` and `arm64` do.
//!
//! *Example*: a leaf on aarch64 has pushed nothing, so the link register holds its caller.
//!
//! *Trap*: a function that has already called another one has an address of its own in the link register.

use super::arm64;
use super::callsite::Call;
use super::rules::{Answer, Found, Here, Rules, no};
use super::world::Known;
use super::x86;
use crate::stack::Trust;
use afterimage_dump::{Arch, CodeAddr, Os};

impl Rules<'_> {
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
        let (back, at) = match self.returns_to(back.ra) {
            Ok(at) => (back, at),
            Err(refusal) => self.past_arguments(here, pc, function).ok_or(refusal)?,
        };
        let registers = self.abi.survivors(&back.registers);
        let mut caller = self.caller(registers, at, Some(back.sp), Trust::CallSite);
        caller.exact = here.exact;
        Ok(Found { here: caller, cfa: Some(back.sp), trampoline: false })
    }

    /// On 32-bit Windows most functions of the system take their arguments off the stack themselves (stdcall), so behind a
    /// call of one the stack pointer is some words higher than its frame says. Only a return address behind a direct call
    /// of this very function shows how many.
    fn past_arguments(&self, here: &Here, pc: u64, function: Option<&Known>) -> Option<(x86::Back, u64)> {
        /// Words of arguments; few functions have more.
        const MOST: u64 = 12;
        if self.arch != Arch::X86 || self.world.os() != Os::Windows || matches!(here.address, CodeAddr::Exact(_)) {
            return None;
        }
        let (start, sp) = (function?.start, here.registers.sp()?.0);
        (1..=MOST).find_map(|words| {
            let mut registers = here.registers;
            registers.set(self.info.sp, sp.wrapping_add(words * self.word) & self.mask);
            let back = x86::follow(&self.memory, &registers, pc, false)?;
            let at = self.returns_to(back.ra).ok()?;
            (self.call_before(back.ra) == Call::Direct(start)).then_some((back, at))
        })
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
}
