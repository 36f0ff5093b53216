//! The walk: asks the rules in order for one caller after the other, and decides when to stop.
//!
//! *What it is not*: it knows no processor. Its only laws are that a stack grows in one direction, that a place is not
//! passed twice, and that a walk has an end.
//!
//! *Trap*: a signal handler may run on a stack of its own, and coroutines jump from stack to stack, so the stack pointer
//! may go down where the unwind rules say so, but only into another mapping, and not for ever.

use super::purse::Limits;
use super::rules::{Answer, Found, Here, Refusal, Rules};
use super::world::{Code, Known, World};
use super::{Frame, Omitted, Stack, StackEnd, Trust};
use afterimage_dump::{CodeAddr, Registers, Virt};
use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Frames at the outer end that are kept of a stack that is too long.
const TAIL: usize = 32;
/// Time after which a walk is given up.
const MAX_TIME: Duration = Duration::from_secs(1);
/// Changes of stack within one walk.
const MAX_SWITCHES: usize = 1024;
/// Scans that follow each other without a better rule between them: the result is worth less each time.
const MAX_SCANS: usize = 16;

/// Functions that no one has called.
const ENTRIES: &[&str] =
    &["_start", "__start", "_dl_start_user", "_rt0_amd64_linux", "_rt0_arm64_linux", "runtime.rt0_go"];
/// Functions that begin a thread by calling its first function; they are called themselves too, so only what they called
/// has them as its outermost.
const BEGINNERS: &[&str] = &[
    "clone",
    "__clone",
    "clone3",
    "__clone3",
    "thread_start",
    "__thread_start",
    "runtime.clone",
    "runtime.goexit",
    "runtime.goexit.abi0",
    "RtlUserThreadStart",
];

/// Frames as they are found: the innermost ones, and a ring of the last ones.
struct Collected {
    head: Vec<Frame>,
    tail: VecDeque<Frame>,
    head_limit: usize,
    tail_limit: usize,
    dropped: u64,
}

impl Collected {
    fn push(&mut self, frame: Frame) {
        if self.head.len() < self.head_limit {
            self.head.push(frame);
            return;
        }
        if self.tail.len() >= self.tail_limit {
            self.tail.pop_front();
            self.dropped += 1;
        }
        if self.tail_limit > 0 {
            self.tail.push_back(frame);
        }
    }

    fn into_stack(self, end: StackEnd) -> Stack {
        let Self { mut head, tail, dropped, .. } = self;
        let omitted = (dropped > 0).then_some(Omitted { at: head.len(), frames: dropped });
        head.extend(tail);
        Stack { frames: head, end, omitted }
    }
}

struct Walk<'a> {
    rules: Rules<'a>,
    /// Places where the stack pointer jumped.
    jumps: HashSet<(u64, u64)>,
    scans: usize,
    /// Whether any frame so far was only scanned for.
    guessed: bool,
    strayed: bool,
}

/// Walks from a register set outwards.
pub(super) fn walk(world: &dyn World, registers: Registers, limits: Limits) -> Stack {
    let Some(pc) = registers.pc() else { return Stack::default() };
    let mut walk = Walk { rules: Rules::new(world), jumps: HashSet::new(), scans: 0, guessed: false, strayed: false };
    let max_frames = limits.frames.max(1);
    let tail_limit = TAIL.min(max_frames / 2);
    let mut frames = Collected {
        head: Vec::new(),
        tail: VecDeque::new(),
        head_limit: max_frames - tail_limit,
        tail_limit,
        dropped: 0,
    };
    let mut here = Here {
        address: CodeAddr::Exact(pc),
        registers,
        trust: Trust::Context,
        why: String::new(),
        exact: true,
        still: false,
        parameters: 0,
    };
    let started = Instant::now();
    let mut steps = 0usize;
    loop {
        steps += 1;
        let next = if steps >= limits.steps || (steps.is_multiple_of(1024) && started.elapsed() > MAX_TIME) {
            Err(StackEnd::Limit(steps))
        } else {
            walk.step(&mut here)
        };
        match next {
            Ok(Found { here: caller, cfa, trampoline }) => {
                frames.push(frame(here, cfa, trampoline));
                here = caller;
            }
            Err(end) => {
                frames.push(frame(here, None, false));
                return frames.into_stack(end);
            }
        }
    }
}

fn frame(here: Here, cfa: Option<u64>, trampoline: bool) -> Frame {
    // What lies at a trampoline's address has not run yet: it is no return address.
    let address = if trampoline { CodeAddr::Exact(here.address.address()) } else { here.address };
    Frame {
        address,
        registers: here.registers,
        trust: here.trust,
        why: here.why,
        signal_trampoline: trampoline,
        cfa: cfa.map(Virt),
    }
}

impl Walk<'_> {
    /// The caller of `here`, by the first rule that gives one.
    fn step(&mut self, here: &mut Here) -> Result<Found, StackEnd> {
        let mut why = String::new();
        let wild = self.rules.is_wild(here);
        let is_exact = matches!(here.address, CodeAddr::Exact(_));
        let mut looped = false;

        if let Some(found) = self.weigh(here, self.rules.signal(here), &mut why, &mut looped)? {
            return Ok(found);
        }
        let pc = here.address.address();
        if wild {
            note(&mut why, &format!("{pc:#x} is not code"));
        } else {
            match self.rules.cfi(here) {
                // Where the stack pointer itself is a guess, so is what the tables make of it.
                Ok(found) if (!here.exact || self.guessed) && !self.returns(&found) => {
                    note(&mut why, "the unwind rule counts from a stack pointer that is only guessed");
                }
                Ok(found) => {
                    let stray = self.rules.world.code(found.here.address.address().0) == Code::No;
                    if stray && !found.trampoline && self.is_entry(here) {
                        return Err(StackEnd::Outermost);
                    }
                    let exact = here.exact;
                    if let Some(mut found) = self.weigh(here, Ok(found), &mut why, &mut looped)? {
                        if stray && !found.trampoline {
                            let at = found.here.address.address();
                            found.here.why = format!(
                                "the return address {at:#x} is not code: it was overwritten, or the unwind rule is wrong"
                            );
                        }
                        return Ok(found);
                    }
                    if looped && exact {
                        return Err(StackEnd::Loop);
                    }
                }
                answer => {
                    if let Some(found) = self.weigh(here, answer, &mut why, &mut looped)? {
                        return Ok(found);
                    }
                }
            }
        }
        if wild && is_exact {
            let answer = self.rules.call_site(here);
            if let Some(found) = self.weigh(here, answer, &mut why, &mut looped)? {
                return Ok(found);
            }
        }
        if wild && !is_exact {
            // One overwritten return address may be passed over; a second one means that nothing can be trusted.
            if self.strayed {
                return Err(StackEnd::Lost(why));
            }
            self.strayed = true;
        }
        let function = if wild { None } else { self.rules.function(here.address.lookup().0) };
        if !wild && self.was_planted(here) {
            return Err(StackEnd::Outermost);
        }
        if !wild {
            if self.ends_at(here, function.as_ref()) {
                return Err(StackEnd::Outermost);
            }
            let answer = self.rules.by_code(here, function.as_ref());
            if let Some(found) = self.weigh(here, answer, &mut why, &mut looped)? {
                return Ok(found);
            }
        }
        let answer = self.rules.link(here);
        // At the innermost frame the frame pointer may be any number, and what it points at any zeros.
        let empty = matches!(answer, Err(Refusal::Empty)) && !is_exact;
        if let Some(found) = self.weigh(here, answer, &mut why, &mut looped)? {
            return Ok(found);
        }
        if self.scans < MAX_SCANS {
            let answer = self.rules.scan(here, function.as_ref());
            if let Some(found) = self.weigh(here, answer, &mut why, &mut looped)? {
                return Ok(found);
            }
        } else {
            note(&mut why, &format!("{MAX_SCANS} frames in a row were only scanned for"));
        }
        Err(match (looped, empty) {
            (true, _) => StackEnd::Loop,
            (_, true) => StackEnd::Outermost,
            _ => StackEnd::Lost(why),
        })
    }

    fn returns(&self, found: &Found) -> bool {
        let at = found.here.address.address().0;
        found.trampoline || self.rules.returns_to(at).is_ok()
    }

    /// Whether the frame is a program's or thread's beginning, by the entry point or by name.
    fn ends_at(&self, here: &Here, function: Option<&Known>) -> bool {
        if self.rules.world.is_entry(here.address.lookup().0) {
            return true;
        }
        let called = matches!(here.address, CodeAddr::Return(_));
        function.is_some_and(|function| {
            let name = function.name.as_str();
            self.rules.world.is_entry(function.start)
                || ENTRIES.contains(&name)
                || (called && BEGINNERS.contains(&name))
        })
    }

    /// Whether the return address is a function's first instruction. No call is before it: somebody put it there to
    /// mark where a stack begins (Go's `mstart`, `makecontext`).
    fn was_planted(&self, here: &Here) -> bool {
        let at = here.address.address().0;
        matches!(here.address, CodeAddr::Return(_))
            && !self.rules.call_before(at).possible()
            && self.rules.function(at).is_some_and(|function| function.start == at)
    }

    fn is_entry(&self, here: &Here) -> bool {
        let function = self.rules.function(here.address.lookup().0);
        self.ends_at(here, function.as_ref())
    }

    /// Takes a rule's answer if it leads on; else notes why not.
    fn weigh(
        &mut self,
        here: &Here,
        answer: Answer,
        why: &mut String,
        looped: &mut bool,
    ) -> Result<Option<Found>, StackEnd> {
        let mut found = match answer {
            Ok(found) => found,
            Err(Refusal::Outermost) => return Err(StackEnd::Outermost),
            Err(Refusal::Loop(reason)) => {
                *looped = true;
                note(why, &reason);
                return Ok(None);
            }
            Err(Refusal::Empty) => {
                note(why, "the frame pointer leads to zeros");
                return Ok(None);
            }
            Err(Refusal::No(reason)) => {
                note(why, &reason);
                return Ok(None);
            }
        };
        if let Err(reason) = self.moves_on(here, &mut found) {
            *looped = true;
            note(why, &reason);
            return Ok(None);
        }
        if found.here.trust == Trust::Scan {
            self.scans += 1;
            self.guessed = true;
        } else {
            self.scans = 0;
        }
        found.here.why = std::mem::take(why);
        Ok(Some(found))
    }

    /// Whether a caller lies further out on the stack than its callee.
    fn moves_on(&mut self, here: &Here, found: &mut Found) -> Result<(), String> {
        let (Some(old), Some(new)) = (here.registers.sp(), found.here.registers.sp()) else { return Ok(()) };
        let at = found.here.address.address();
        if new > old && !found.trampoline {
            return Ok(());
        }
        if new == old && !found.trampoline {
            // A function that needs no stack, on a machine whose calls push nothing; two in a row cannot be.
            if at == here.address.address() || here.still {
                return Err(format!("the rule gives the same place again: stack pointer {new:#x}, address {at:#x}"));
            }
            found.here.still = true;
            return Ok(());
        }
        let region = |at: Virt| self.rules.world.region(at.0);
        let other_stack = || region(new).is_some() && region(old) != region(new) && self.returns(found);
        let may_jump =
            found.trampoline || (matches!(found.here.trust, Trust::Cfi | Trust::UnwindData) && other_stack());
        if !may_jump {
            return Err(format!("the caller's stack pointer {new:#x} would lie below this frame's {old:#x}"));
        }
        if self.jumps.len() >= MAX_SWITCHES || !self.jumps.insert((at.0, new.0)) {
            return Err(format!("the stack comes back to stack pointer {new:#x}, address {at:#x}"));
        }
        Ok(())
    }
}

/// Adds a reason to those that are there.
fn note(why: &mut String, reason: &str) {
    if reason.is_empty() {
        return;
    }
    if !why.is_empty() {
        why.push_str("; ");
    }
    why.push_str(reason);
}
