//! The processors of a machine that panicked, and their stacks where the image does not have their registers, as raw, LiME
//! and AVML have not.
//!
//! *What it is*: `panic()` never returns, nor does what stops the other processors, so the place that called it stays on
//! the stack: a return address behind a call of that very function. From there on ORC or frame records lead as from any
//! other frame.
//!
//! *What it is not*: a way to the stacks of tasks that ran on a healthy machine. Nothing on theirs tells where they were.
//!
//! *Trap*: what such a function called itself has come and gone; of those frames only its own is shown.

use super::code::Bytes;
use super::kernel::Linux;
use super::stack::{KernelStack, KernelTrust};
use afterimage_dump::Arch;
use afterimage_symbols::kernel::OrcState;

/// Functions that stop the other processors and never return: on x86, on arm64, on both if two panic at once.
const STOPPED: [&str; 4] = ["stop_this_cpu", "local_cpu_stop", "panic_smp_self_stop", "nmi_panic_self_stop"];
/// Bytes below its call in which such a function has its own frame.
const FRAME: u64 = 2048;
/// Bytes of a stack that is looked through at most.
const MOST: u64 = 64 << 10;

/// The place that called a function that never returns.
struct Call {
    /// The function's address.
    to: u64,
    /// Where its return address lies on the stack; on arm64 the record that it is part of.
    at: u64,
    /// The return address.
    ip: u64,
}

impl Linux {
    /// The processor that panicked, by the kernel's own mark or by the log; `None` if neither says.
    pub(super) fn panicked(&self) -> Option<u32> {
        let marked = self.symbols.address("panic_cpu").and_then(|at| self.number(at, 4)).map(|cpu| cpu as u32);
        let logged = || {
            let log = self.log().ok()?;
            let panic = log.iter().rposition(|line| line.text.starts_with("Kernel panic"))?;
            let number = |text: &str| text.strip_prefix("CPU: ")?.split(' ').next()?.parse::<u32>().ok();
            // After the message if panic() itself shows the stack, before it if the trouble was shown already.
            let after = log.iter().skip(panic).take(4).find_map(|line| number(&line.text));
            after.or_else(|| log.iter().take(panic).rev().find_map(|line| number(&line.text)))
        };
        marked.filter(|cpu| *cpu < 1 << 16).or_else(logged)
    }

    /// The processor that panicked; 0 if nothing says which.
    #[must_use]
    pub fn panicked_cpu(&self) -> u32 {
        self.panicked().unwrap_or(0)
    }

    /// The stack of a processor of a machine that panicked, without its registers.
    pub(super) fn stopped_stack(&self, cpu: u32) -> Option<KernelStack> {
        // Since 6.17 the work is in vpanic(), which panic() calls.
        let names: &[&str] = if self.panicked()? == cpu { &["vpanic", "panic"] } else { &STOPPED };
        let stacks = self.stacks_of_cpu(cpu);
        let calls = names
            .iter()
            .filter_map(|name| self.symbols.address(name))
            .filter_map(|to| stacks.iter().find_map(|(from, end)| Some((*from, self.last_call(to, *from, *end)?))));
        let mut found: Vec<KernelStack> = calls.filter_map(|(from, call)| self.stack_after(cpu, from, &call)).collect();
        // A caller that needs its frame pointer, which nobody knows here, leads nowhere; its own caller may.
        let best = found.iter().position(|stack| stack.complete).or((!found.is_empty()).then_some(0))?;
        Some(found.swap_remove(best))
    }

    /// The stack from a call on.
    fn stack_after(&self, cpu: u32, from: u64, call: &Call) -> Option<KernelStack> {
        let mut stack = match self.arch {
            Arch::Aarch64 => self.walk_records(call.ip, call.at.wrapping_add(16), self.word(call.at)?, false),
            _ => self.walk_orc(Self::after(call.ip, call.at)),
        };
        stack.cpu = Some(cpu);
        if let Some(first) = stack.frames.first_mut() {
            first.trust = KernelTrust::Call;
        }
        if let Some((ip, sp)) = self.called(from, call) {
            stack.frames.insert(0, self.frame(ip, sp, false, KernelTrust::Call));
            for (index, _) in &mut stack.interrupted {
                *index += 1;
            }
        }
        Some(stack)
    }

    /// The stacks that a processor may have stopped on, as addresses: its task's, and that of its interrupts.
    fn stacks_of_cpu(&self, cpu: u32) -> Vec<(u64, u64)> {
        let current = self.current(cpu);
        let task = current.and_then(|task| self.pointer(task, "task_struct", "stack"));
        let size = current.and_then(|task| self.stack_size(task).ok()).unwrap_or(16 << 10).min(MOST);
        // A pointer to its end on x86, of its own until 6.2 and since 6.15; to its start on arm64.
        let hot = || {
            let hot = self.symbols.address("pcpu_hot")?;
            Some(hot.wrapping_add(self.offset("pcpu_hot", "hardirq_stack_ptr").ok()?))
        };
        let pointer = hot().or_else(|| self.symbols.address("hardirq_stack_ptr"));
        let irq = pointer.or_else(|| self.symbols.address("irq_stack_ptr"));
        let irq = irq.and_then(|place| self.word(self.per_cpu(cpu, place)?)).filter(|at| *at != 0);
        let irq = irq.map(|at| match self.arch {
            Arch::Aarch64 => (at, at.wrapping_add(size)),
            _ => (at.wrapping_sub(size), at.wrapping_add(8)),
        });
        task.filter(|base| *base != 0).map(|base| (base, base.wrapping_add(size))).into_iter().chain(irq).collect()
    }

    /// The innermost call of a function on a stack.
    fn last_call(&self, to: u64, from: u64, end: u64) -> Option<Call> {
        let words = self.words(from, end.wrapping_sub(from) / 8);
        let pac = self.pac_mask();
        words.into_iter().enumerate().find_map(|(index, word)| {
            let at = from.wrapping_add(8 * index as u64);
            match self.arch {
                Arch::Aarch64 => {
                    let ip = word? | pac;
                    let called = self.is_code(ip.wrapping_sub(4)) && self.branched_to(ip) == Some(to);
                    called.then(|| Call { to, at: at.wrapping_sub(8), ip })
                }
                _ => {
                    let ip = word?;
                    let called = self.is_code(ip.wrapping_sub(1)) && self.called_to(ip) == Some(to);
                    called.then_some(Call { to, at, ip })
                }
            }
        })
    }

    /// What the call in front of a return address calls, on x86 (`call rel32`).
    pub(super) fn called_to(&self, ip: u64) -> Option<u64> {
        const CALL: u64 = 0xe8;
        if self.number(ip.wrapping_sub(5), 1)? != CALL {
            return None;
        }
        let distance = self.number(ip.wrapping_sub(4), 4)? as u32 as i32;
        Some(ip.wrapping_add(i64::from(distance) as u64))
    }

    /// What the call in front of a return address calls, on arm64 (`bl imm26`).
    fn branched_to(&self, ip: u64) -> Option<u64> {
        const BL: u32 = 0b10_0101;
        let place = ip.wrapping_sub(4);
        let word = self.number(place, 4)? as u32;
        let distance = ((word << 6) as i32 >> 6).wrapping_mul(4);
        (word >> 26 == BL).then(|| place.wrapping_add(i64::from(distance) as u64))
    }

    fn after(ip: u64, at: u64) -> OrcState {
        OrcState { ip, sp: at.wrapping_add(8), bp: 0, exact: false, registers: None, previous: None }
    }

    /// Where the function had called something last, with its stack pointer: by ORC that leads to its own call, else the
    /// place nearest to it.
    fn called(&self, from: u64, call: &Call) -> Option<(u64, u64)> {
        let low = call.at.saturating_sub(FRAME).max(from);
        let words = self.words(low, call.at.wrapping_sub(low) / 8);
        let pac = self.pac_mask();
        let places = words.into_iter().enumerate().filter_map(|(index, word)| {
            let (at, step) = (low.wrapping_add(8 * index as u64), if self.arch == Arch::Aarch64 { 4 } else { 1 });
            let ip = if self.arch == Arch::Aarch64 { word? | pac } else { word? };
            let inside = self.symbols.find(ip.wrapping_sub(step))?.0.address == call.to;
            inside.then_some((ip, at))
        });
        let places: Vec<(u64, u64)> = places.collect();
        let leads = |(ip, at): &&(u64, u64)| match self.arch {
            // The record whose return address it is leads to the record of the call.
            Arch::Aarch64 => self.word(at.wrapping_sub(8)) == Some(call.at),
            _ => self.orc(ip.wrapping_sub(1)).is_some_and(|entry| {
                let caller = Self::after(*ip, *at).step(&entry, &Bytes(self));
                caller.is_ok_and(|caller| caller.sp == call.at.wrapping_add(8))
            }),
        };
        let found = places.iter().rfind(leads).or(places.last())?;
        Some((found.0, found.1.wrapping_add(8)))
    }
}
