//! The last resort: looking through the stack for a word that is the return address.
//!
//! *What it is not*: it is no proof. It prefers words behind a call of the very function that is running, then words
//! whose frame the unwind tables can go on from.
//!
//! *Trap*: a stack is full of return addresses of calls that are long over, so the nearest one is not always right.

use super::callsite::Call;
use super::rules::{Answer, Found, Here, Refusal, Rules, no};
use super::world::{Code, Known, NOT_KNOWN};
use crate::stack::Trust;
use afterimage_dump::{Arch, CodeAddr, Os, Virt};

/// Words that are looked at from the innermost frame on; its function may have large local variables.
const FIRST: u64 = 1024;
/// Words that are looked at from any other frame on.
const LATER: u64 = 160;
/// Candidates that are tried out with the unwind tables.
const TRIES: usize = 32;

/// How much speaks for a word; a lower one is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    /// The call before it calls the running function.
    CallsUs,
    /// The frame it gives goes on by unwind tables.
    GoesOn,
    /// A call through a pointer or a stub stands before it.
    MayCallUs,
    /// A call of another function stands before it: the running function must have been jumped to.
    CallsOther,
    /// What stands before it is not in the dump.
    Unseen,
}

impl Rules<'_> {
    /// Scans upwards from the stack pointer.
    pub(super) fn scan(&self, here: &Here, function: Option<&Known>) -> Answer {
        let Some(sp) = here.registers.sp() else { return Err(no("the stack pointer is not known")) };
        let words = if matches!(here.address, CodeAddr::Exact(_)) { FIRST } else { LATER };
        let first = sp.0 & !(self.word - 1);
        let mut best: Option<(Grade, Found)> = None;
        let mut tries = 0;
        let mut read = 0;
        for index in 0..words {
            let Some(at) = first.checked_add(index * self.word).filter(|at| *at <= self.mask) else { break };
            let Ok(raw) = self.memory.uint(at, self.word as usize) else { break };
            read = index + 1;
            if raw < 4096 {
                continue;
            }
            let Some(grade) = self.grade(raw, function) else { continue };
            // Only a function that calls itself can have its own place as its return address.
            if grade != Grade::CallsUs && self.landing(raw) == here.address.address().0 {
                continue;
            }
            if best.as_ref().is_some_and(|(known, _)| *known <= grade && grade != Grade::MayCallUs) {
                continue;
            }
            let Some(found) = self.candidate(here, at, raw) else { continue };
            // The address that handlers return to stands in many a `struct sigaction` on a stack; no signal came there.
            if self.signal(&found.here).is_ok_and(|from| self.world.code(from.here.address.address().0) == Code::No) {
                continue;
            }
            if grade == Grade::CallsUs {
                best = Some((grade, found));
                break;
            }
            let mut grade = grade;
            if tries < TRIES {
                tries += 1;
                match self.cfi(&found.here) {
                    Ok(next) if self.leads_on(&next) => grade = Grade::GoesOn,
                    Err(Refusal::Outermost) => grade = Grade::GoesOn,
                    // The tables know the place and contradict it.
                    Ok(_) | Err(Refusal::Loop(_)) => continue,
                    // Its function is described, but needs its frame pointer, which is lost behind a library without
                    // a file: nothing speaks for a word further up.
                    Err(Refusal::No(why)) if self.world.os() == Os::Windows && why.ends_with(NOT_KNOWN) => {
                        grade = Grade::GoesOn;
                    }
                    Err(Refusal::No(_) | Refusal::Empty) => {}
                }
            }
            if best.as_ref().is_none_or(|(known, _)| grade < *known) {
                best = Some((grade, found));
            }
        }
        match best {
            Some((_, found)) => Ok(found),
            None if read == 0 => match self.load(first) {
                Err(Refusal::No(reason)) => Err(no(format!("the stack cannot be read: {reason}"))),
                _ => Err(no("the stack cannot be read")),
            },
            None => Err(no(format!("none of {read} words from {first:#x} on is a return address"))),
        }
    }

    /// Whether the frame behind a candidate's is where a call returns to.
    fn leads_on(&self, next: &Found) -> bool {
        let at = next.here.address.address().0;
        next.trampoline || self.returns_to(at).is_ok()
    }

    fn grade(&self, raw: u64, function: Option<&Known>) -> Option<Grade> {
        let at = self.returns_to(raw).ok()?;
        // Words that happen to be small or odd numbers are met often where nothing is known of the memory.
        if !at.is_multiple_of(self.abi.code_align)
            || (self.world.code(at) == Code::Unknown && self.world.function(at).is_none())
            // Nobody calls what lies before a program's entry; its address is on many a stack all the same.
            || (self.world.is_entry(at) && !self.world.is_entry(at.wrapping_sub(1)))
        {
            return None;
        }
        Some(match (self.call_before(raw), function) {
            (Call::Direct(target), Some(function)) if target == function.start => Grade::CallsUs,
            (Call::Direct(target), Some(_)) => match self.function(target) {
                Some(other) if !other.plt => Grade::CallsOther,
                _ if self.world.code(target) == Code::No => return None,
                _ => Grade::MayCallUs,
            },
            (Call::Direct(target), None) if self.world.code(target) == Code::No => return None,
            (Call::Direct(_) | Call::Indirect, _) => Grade::MayCallUs,
            // On the word of its module alone, where dumps never hold code; a processor whose calls are not known here
            // would make anything a caller.
            (Call::Unknown, _) if self.world.lacks_code() && self.world.in_module(at) && self.knows_calls() => {
                Grade::Unseen
            }
            (Call::Unknown, _) => return None,
            // What is left is the code that signal handlers return to.
            (Call::No, _) => Grade::MayCallUs,
        })
    }

    fn knows_calls(&self) -> bool {
        !matches!(self.arch, Arch::Hppa | Arch::M68k | Arch::Other(_))
    }

    fn candidate(&self, here: &Here, at: u64, raw: u64) -> Option<Found> {
        let pc = self.returns_to(raw).ok()?;
        let mut registers = self.abi.survivors(&here.registers);
        let sp = at.checked_add(self.word)?;
        if let Some(slot) = self.info.fp {
            // The frame pointer is the caller's own if nothing below has used it, or lies beside the return address.
            // What was overwritten with text leads out of the stack.
            let end = self.world.region(at).map(|(_, end)| end);
            let fp = registers.get(slot).filter(|fp| *fp >= sp && end.is_none_or(|end| *fp < end));
            let beside = || {
                let saved = self.load(at.checked_sub(self.word)?).ok()?;
                (saved > at && saved < end? && saved.is_multiple_of(self.word)).then_some(saved)
            };
            match fp.or_else(|| if matches!(self.arch, Arch::X86 | Arch::X86_64) { beside() } else { None }) {
                Some(fp) => registers.set(slot, fp),
                None => registers.clear(slot),
            }
        }
        registers.set(self.info.pc, pc);
        registers.set(self.info.sp, sp);
        let here = Here {
            address: CodeAddr::Return(Virt(pc)),
            registers,
            trust: Trust::Scan,
            why: String::new(),
            // Only where a call pushes does the word's place give the caller's stack pointer.
            exact: self.info.lr.is_none(),
            still: false,
            parameters: 0,
        };
        Some(Found { here, cfa: self.info.lr.is_none().then_some(sp), trampoline: false })
    }
}
