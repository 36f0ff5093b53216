//! Frame pointers, back chains and register windows: frames that say themselves where the next one is.
//!
//! *Example*: on x86-64 the two words at `rbp` are the caller's `rbp` and the return address.
//!
//! *Trap*: a compiler may use the frame pointer's register for anything. A link is believed only if it points up the same
//! stack, and if the return address beside it is code behind a call.

use super::abi::Link;
use super::rules::{Answer, Found, Here, Refusal, Rules, no};
use super::world::Code;
use crate::stack::Trust;
use afterimage_dump::{Arch, Os, Registers};

impl Rules<'_> {
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
    pub(super) fn on_stack(&self, here: &Here, name: &str, at: u64) -> Result<(), Refusal> {
        if !at.is_multiple_of(self.word) {
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
                    // Where every call keeps the chain, its end is the stack's. On x86 many functions keep no chain, but on
                    // Apple's systems they do.
                    let always = self.info.lr.is_some() || matches!(self.world.os(), Os::MacOs | Os::Ios);
                    let ends = always && matches!(here.trust, Trust::FramePointer | Trust::Cfi);
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
        // Folklore: on 64-bit Windows compilers let rbp point into the middle of a frame, so nothing is a chain there.
        let chained = (here.trust == Trust::FramePointer
            && !(self.arch == Arch::X86_64 && self.world.os() == Os::Windows))
            || (here.trust == Trust::Cfi && matches!(self.world.os(), Os::MacOs | Os::Ios));
        if raw & self.mask == 0 {
            // An empty record ends a chain. Where the chain is only guessed at, zeros may be just zeros.
            return Err(if chained { Refusal::Outermost } else { Refusal::Empty });
        }
        let generated = || match link {
            Link::Record { fp, ra, .. } if here.trust != Trust::Scan => {
                self.through_generated_code(raw, registers.fp()?.0, fp, ra)
            }
            _ => None,
        };
        let pc = match self.returns_to(raw) {
            // Code outside of every module is believed if a chain leads there, and on to a module.
            Ok(pc)
                if here.trust != Trust::FramePointer
                    && !self.world.in_module(pc)
                    && self.world.in_module(here.address.lookup().0)
                    && generated().is_none() =>
            {
                return Err(no(format!("the frame pointer leads to {pc:#x} in no module, and from there to none")));
            }
            Ok(pc) => pc,
            Err(refusal) => match generated() {
                Some(pc) => pc,
                // A chain ends in a frame pointer of zero. On macOS the word above it is the argument count, on
                // Linux too where the C library's `_start` keeps a frame.
                None if chained
                    && matches!(link, Link::Record { .. })
                    && registers.fp().is_some_and(|fp| fp.0 == 0) =>
                {
                    return Err(Refusal::Outermost);
                }
                None => return Err(refusal),
            },
        };
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
            if self.world.code(raw) == Code::No
                || next <= base
                || next - base > LARGEST
                || !next.is_multiple_of(self.word)
            {
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
