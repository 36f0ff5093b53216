//! Who waits for whom: tasks that sleep and cannot be woken, the locks they sleep for, and who holds those.
//!
//! *What it is*: a mutex, rwsem or semaphore keeps its waiters in a ring; each waiter stands on the stack of the task that
//! waits. So the waiter is looked for in the frame of the function that took it to sleep, the ring leads to the lock, and
//! the lock names its owner. Each step is checked: the ring's neighbours must point back, the waiter must name its task.
//!
//! *Trap*: an rwsem that readers hold remembers only one of them, and not for sure.

use crate::linux::{KernelFrame, KernelStack, Linux, Thread};
use afterimage_dump::Arch;
use std::collections::HashSet;

/// Bytes of a frame that are searched at most.
const FRAME: u64 = 4096;
/// Bytes of a task's stack at most.
const STACK: u64 = 128 << 10;
/// Waiters of a lock at most.
const WAITERS: usize = 1 << 16;
/// Bit of a task's state: a signal that kills it wakes it (include/linux/sched.h, `TASK_WAKEKILL`).
const WAKEKILL: u64 = 0x100;

/// A task that sleeps until something happens: not to be woken by a signal, or for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedTask {
    /// Its process.
    pub pid: u32,
    /// The task.
    pub thread: Thread,
    /// Nanoseconds since it last ran, by the scheduler's clock.
    pub since_ns: Option<u64>,
    /// The lock that it waits for; `None` where it waits for something else, or that cannot be told.
    pub lock: Option<Lock>,
    /// Where it went to sleep: the first function that is no part of sleeping itself.
    pub place: Option<KernelFrame>,
    /// Whether SIGKILL wakes it all the same (`TASK_KILLABLE`).
    pub killable: bool,
}

/// A lock, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Kind: `mutex`, `rwsem`, `semaphore`, `rt_mutex`.
    pub kind: &'static str,
    /// Its address.
    pub at: u64,
    /// The variable that it is or lies in, as `rtnl_mutex`; `None` where it lies on the heap.
    pub name: Option<String>,
    /// Of an rwsem: `read` or `write`.
    pub wants: Option<&'static str>,
    /// Who holds it; why that is not known.
    pub holder: Result<Holder, &'static str>,
}

/// The holder of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// The task.
    pub thread: Thread,
    /// Whether the lock names it for sure: of readers, only the last one is remembered.
    pub sure: bool,
}

/// How one kind of lock keeps its waiters.
struct Kind {
    name: &'static str,
    /// Beginnings of the functions in whose frame the waiter stands.
    functions: &'static [&'static str],
    waiter: &'static str,
    lock: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind { name: "mutex", functions: &["__mutex_lock", "__ww_mutex_lock"], waiter: "mutex_waiter", lock: "mutex" },
    Kind { name: "rwsem", functions: &["rwsem_down_"], waiter: "rwsem_waiter", lock: "rw_semaphore" },
    Kind { name: "semaphore", functions: &["__down", "___down_common"], waiter: "semaphore_waiter", lock: "semaphore" },
];

/// Beginnings of functions that are sleeping itself, not its reason.
const SLEEPING: [&str; 25] = [
    "__switch_to",
    "__schedule",
    "schedule",
    "preempt_schedule",
    "io_schedule",
    "mutex_lock",
    "__mutex_lock",
    "__ww_mutex_lock",
    "ww_mutex_lock",
    "rwsem_down_",
    "down",
    "__down",
    "___down",
    "rt_mutex_",
    "__rt_mutex_",
    "rwbase_",
    "rtlock_",
    "wait_for_completion",
    "__wait_for_co",
    "do_wait_for_common",
    "__wait_on_bit",
    "bit_wait",
    "out_of_line_wait_on_bit",
    "folio_wait_bit",
    "percpu_rwsem_wait",
];

impl Linux {
    /// Tasks that sleep and no signal wakes (state `D`), and tasks that wait for a lock; the longest sleep first. And what
    /// was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn blocked_tasks(&self) -> Result<(Vec<BlockedTask>, Vec<String>), String> {
        let (processes, mut remarks) = self.processes()?;
        let now = self.scheduler_clock();
        let mut blocked = Vec::new();
        for process in &processes {
            let (threads, remark) = self.threads(process);
            remarks.extend(remark);
            for thread in threads {
                if !matches!(thread.state, Some('D' | 'S')) {
                    continue;
                }
                let stack = self.stack(thread.task);
                let lock = self.waits_for(thread.task, &stack);
                if thread.state == Some('S') && lock.is_none() {
                    continue;
                }
                let ran = self.pointer(thread.task, "task_struct", "sched_info.last_arrival");
                let since_ns = now.zip(ran).filter(|(_, ran)| *ran != 0).map(|(now, ran)| now.saturating_sub(ran));
                let place = stack.frames.into_iter().find(|frame| {
                    let name = frame.function.as_deref().unwrap_or("");
                    !SLEEPING.iter().any(|part| name.starts_with(part))
                });
                let killable = self.state_bits(thread.task).is_some_and(|bits| bits & WAKEKILL != 0);
                blocked.push(BlockedTask { pid: process.pid, thread, since_ns, lock, place, killable });
            }
        }
        blocked.sort_by_key(|task| std::cmp::Reverse(task.since_ns));
        Ok((blocked, remarks))
    }

    /// The latest of all processors' run queue clocks, in nanoseconds since the start.
    pub(in crate::linux) fn scheduler_clock(&self) -> Option<u64> {
        let queues = self.symbols.address("runqueues")?;
        let clock = |cpu| self.pointer(self.per_cpu(cpu, queues)?, "rq", "clock");
        self.online_cpus().into_iter().filter_map(clock).max()
    }

    /// The lock that a sleeping task waits for.
    fn waits_for(&self, task: u64, stack: &KernelStack) -> Option<Lock> {
        // With priority inheritance the task itself names it.
        if let Some(waiter) = self.pointer(task, "task_struct", "pi_blocked_on").filter(|waiter| *waiter != 0) {
            let at = self.pointer(waiter, "rt_mutex_waiter", "lock")?;
            let owner = self.pointer(at, "rt_mutex_base", "owner").or_else(|| self.pointer(at, "rt_mutex", "owner"));
            const WAITERS: u64 = 1;
            return Some(self.lock("rt_mutex", at, None, self.holder(owner.map(|owner| owner & !WAITERS), true)));
        }
        // On arm64 the record of a function may lie below its variables, and then those reach to its caller's.
        let above = if self.arch == Arch::Aarch64 { 2 } else { 1 };
        let frames = stack.frames.iter().zip(stack.frames.iter().skip(above)).take(12);
        for (frame, caller) in frames {
            let Some(function) = frame.function.as_deref() else { continue };
            let Some(kind) = KINDS.iter().find(|kind| kind.functions.iter().any(|part| function.starts_with(part)))
            else {
                continue;
            };
            let end = caller.sp.min(frame.sp.wrapping_add(FRAME));
            // The task itself names a mutex since 6.17; before, the waiter in the frame leads to it.
            let named = (kind.name == "mutex").then(|| self.pointer(task, "task_struct", "blocked_on")).flatten();
            let found = named.filter(|at| *at >> 63 == 1).map(|at| (at, 0));
            let (at, waiter) = found.or_else(|| self.lock_of_waiter(kind, task, frame.sp, end))?;
            return Some(self.lock_of_kind(kind, at, waiter));
        }
        None
    }

    /// The lock in whose ring a waiter in this part of the stack hangs, and the waiter.
    fn lock_of_waiter(&self, kind: &Kind, task: u64, from: u64, end: u64) -> Option<(u64, u64)> {
        let own = self.offset(kind.waiter, "task").ok()?;
        let list = self.offset(kind.waiter, "list").ok()?;
        let head = self.offset(kind.lock, "wait_list").ok()?;
        let words = self.words(from, end.checked_sub(from)?.min(FRAME) / 8);
        words.iter().enumerate().filter(|(_, word)| **word == Some(task)).find_map(|(index, _)| {
            let waiter = (from + 8 * index as u64).checked_sub(own)?;
            let link = waiter.wrapping_add(list);
            let next = self.word(link)?;
            let previous = self.word(link.wrapping_add(8))?;
            if self.word(next.wrapping_add(8)) != Some(link) || self.word(previous) != Some(link) {
                return None;
            }
            // Others that wait stand on stacks of their own; the one that does not is the lock's head.
            let mut seen = HashSet::from([link]);
            let mut at = next;
            while self.is_waiter(at, list, own) {
                if !seen.insert(at) || seen.len() > WAITERS {
                    return None;
                }
                at = self.word(at)?;
            }
            Some((at.wrapping_sub(head), waiter))
        })
    }

    /// Whether a link is one of a waiter: it names a task on whose stack it stands.
    fn is_waiter(&self, link: u64, list: u64, own: u64) -> bool {
        let stack = self
            .word(link.wrapping_sub(list).wrapping_add(own))
            .filter(|task| task >> 63 == 1)
            .and_then(|task| self.pointer(task, "task_struct", "stack"));
        stack.is_some_and(|base| (base..base.saturating_add(STACK)).contains(&link))
    }

    fn lock_of_kind(&self, kind: &Kind, at: u64, waiter: u64) -> Lock {
        // Flags in the owner's lowest bits (kernel/locking/mutex.c, rwsem.c); a task is aligned to more.
        const FLAGS: u64 = 7;
        const READERS: u64 = 1;
        let owner = self.pointer(at, kind.lock, "owner.counter").or_else(|| self.pointer(at, kind.lock, "owner"));
        let (wants, holder) = match kind.name {
            "mutex" => (None, self.holder(owner.map(|owner| owner & !FLAGS), true)),
            "rwsem" => {
                let reads = self.enumerator("RWSEM_WAITING_FOR_READ");
                let wants = (waiter != 0).then(|| self.value(waiter, kind.waiter, "type")).flatten();
                let wants = wants.zip(reads).map(|(own, reads)| if own as i64 == reads { "read" } else { "write" });
                let by_readers = owner.is_some_and(|owner| owner & READERS != 0);
                (wants, self.holder(owner.map(|owner| owner & !FLAGS), !by_readers))
            }
            _ => {
                // Remembered since 6.16 only, where hung tasks are watched for.
                let last = self.pointer(at, kind.lock, "last_holder").filter(|last| *last != 0);
                let holder = match last {
                    Some(last) => self.holder(Some(last), false),
                    None => Err("a semaphore does not remember who holds it"),
                };
                (None, holder)
            }
        };
        self.lock(kind.name, at, wants, holder)
    }

    fn lock(
        &self,
        kind: &'static str,
        at: u64,
        wants: Option<&'static str>,
        holder: Result<Holder, &'static str>,
    ) -> Lock {
        Lock { kind, at, name: self.variable_at(at), wants, holder }
    }

    fn holder(&self, task: Option<u64>, sure: bool) -> Result<Holder, &'static str> {
        match task {
            None => Err("the lock is not in the dump"),
            Some(0) => Err("nobody holds it at this moment: it was just given back, or readers hold it"),
            Some(task) => {
                let (pid, thread) = self.thread_of(task).ok_or("its holder is not in the dump, or has ended")?;
                Ok(Holder { pid, thread, sure })
            }
        }
    }
}

impl BlockedTask {
    /// The tasks of a circle that begins here: each holds what the one before waits for, and the last waits for the first.
    #[must_use]
    pub fn deadlock<'b>(&'b self, all: &'b [Self]) -> Option<Vec<&'b Self>> {
        let mut circle = vec![self];
        let mut at = self;
        while circle.len() <= all.len() {
            let holder = at.lock.as_ref()?.holder.as_ref().ok().filter(|holder| holder.sure)?;
            if holder.thread.task == self.thread.task {
                return Some(circle);
            }
            at = all.iter().find(|task| task.thread.task == holder.thread.task)?;
            circle.push(at);
        }
        None
    }
}
