//! Tracing one process that runs already, or is about to: its signals and its end seen before they happen.
//!
//! *What it is not*: it does not follow children, and it does not wait; [`Attached::drain`] takes what there is, and the
//! caller polls [`crate::sys::ChildSignal`].
//!
//! *Example*: a running server gets SIGSEGV. `drain` calls back with [`Moment::Signal`] while the process stands whole;
//! the callback may have it dumped, and then the signal is delivered unchanged.
//!
//! *Trap*: tracees belong to the thread that seized them. When that thread ends, for whatever reason, the kernel lets
//! them all go; that is also how watching ends, so a killed watcher harms nobody.

use super::changes::Changes;
use super::{EVENT_STOP, OPTIONS};
use crate::output::{Settings, Unfinished};
use crate::procfs::{self, Stat, Status};
use crate::regs;
use crate::run::{CaptureError, Ended};
use crate::siginfo::{self, DefaultAction};
use crate::snapshot::{self, Crash, ThreadRef};
use crate::sys::{self, Event, RawSiginfo, SIGINFO_LEN, Tid};
use std::collections::HashSet;
use std::io;
use std::time::Instant;

/// Threads and execs, and the end of each thread, of which one is the end of the process. No forks: children are left
/// alone.
const ATTACH_OPTIONS: libc::c_int =
    (OPTIONS | libc::PTRACE_O_TRACEEXIT) & !(libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK);

/// A moment at which the process stands whole and is about to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// This signal is about to kill it, or (`seen` false) the kernel is ending it as if by this signal.
    Signal { signal: i32 },
    /// It is about to end, by itself or by a signal.
    Exit(Ended),
}

/// Writes the dump of the process in its present moment.
pub(crate) type TakeDump<'a> = dyn FnMut(&Settings) -> Result<Unfinished, CaptureError> + 'a;

/// A traced process.
pub(crate) struct Attached {
    pid: Tid,
    changes: Changes,
    executed: bool,
    /// Whether ends that no signal brings are of interest.
    exits: bool,
    /// The thread whose deadly signal has been dealt with.
    dying: Option<Tid>,
    ended: Option<Ended>,
}

impl Attached {
    /// Takes all threads of a running process under watch, without stopping any.
    pub(crate) fn running(pid: Tid, exits: bool) -> io::Result<Self> {
        let mut seized: HashSet<Tid> = HashSet::new();
        loop {
            let mut news = false;
            for tid in procfs::threads(pid)? {
                if !seized.insert(tid) {
                    continue;
                }
                news = true;
                match sys::seize(tid, ATTACH_OPTIONS) {
                    Ok(()) => {}
                    // It has ended meanwhile, or was born of a traced thread and so is traced already.
                    Err(_) if seized.len() > 1 => {}
                    // A leader that has ended before its threads cannot be traced; they can.
                    Err(_) if Status::read(tid).is_ok_and(|status| status.state == b'Z') => {}
                    Err(error) => return Err(error),
                }
            }
            if !news {
                let mut attached = Self::new(pid, exits, true);
                let own = Status::read(pid).is_ok_and(|status| status.ppid == sys::own_pid());
                attached.changes.left_to_host = own.then_some(pid);
                return Ok(attached);
            }
        }
    }

    /// Takes a child under watch that waits before its exec.
    pub(crate) fn held(pid: Tid, exits: bool) -> io::Result<Self> {
        sys::seize(pid, ATTACH_OPTIONS)?;
        Ok(Self::new(pid, exits, false))
    }

    fn new(pid: Tid, exits: bool, executed: bool) -> Self {
        Self { pid, changes: Changes::default(), executed, exits, dying: None, ended: None }
    }

    /// Whether a child that was held has executed its program.
    pub(crate) fn executed(&self) -> bool {
        self.executed
    }

    /// Handles all changes there are; gives the process's end when it is over. `look` is called at the last moments, and
    /// says whether it has dealt with this death, so that no later moment of the same death counts.
    pub(crate) fn drain(
        &mut self,
        look: &mut dyn FnMut(Moment, &mut TakeDump<'_>) -> bool,
    ) -> io::Result<Option<Ended>> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        self.changes.collect(true)?;
        // Only what is there now: a process with endless signals must not keep us from all else.
        for _ in 0..self.changes.queue.len() {
            if let Some((tid, event, _)) = self.changes.queue.pop_front() {
                self.handle(tid, event, look);
            }
        }
        Ok(self.ended)
    }

    /// Whether changes wait that `drain` has left, so that it should be called again at once.
    pub(crate) fn more(&self) -> bool {
        !self.changes.queue.is_empty()
    }

    /// Dumps the process as it runs; [`Attached::drain`] lets it go on.
    pub(crate) fn dump_now(&mut self, settings: &Settings) -> Result<Unfinished, CaptureError> {
        let start = Instant::now();
        let mut threads = self.changes.stop_threads(self.pid, None);
        let leader = threads.iter().position(|thread| thread.stopped && thread.tid == self.pid);
        let first = leader.or_else(|| threads.iter().position(|thread| thread.stopped));
        let Some(first) = first else { return Err(CaptureError::Vanished { pid: self.pid as u32 }) };
        let tid = threads.remove(first).tid;
        dump(self.pid, (tid, 0, &[0; SIGINFO_LEN], false), start, &threads, settings)
    }

    fn handle(&mut self, tid: Tid, event: Event, look: &mut dyn FnMut(Moment, &mut TakeDump<'_>) -> bool) {
        let (signal, event) = match event {
            Event::Stopped(signal, event) => (signal, event),
            Event::Exited(status) if tid == self.pid => return self.ended = Some(Ended::Exited(status)),
            Event::Killed(signal) if tid == self.pid => return self.ended = Some(Ended::Signaled(signal)),
            // A thread's end is its process's affair.
            Event::Exited(_) | Event::Killed(_) => return,
        };
        if event != libc::PTRACE_EVENT_EXIT && self.dying == Some(tid) {
            self.dying = None;
        }
        match event {
            0 => self.signal(tid, signal, look),
            libc::PTRACE_EVENT_EXIT => self.exiting(tid, look),
            EVENT_STOP if tid != self.pid && sys::is_leader(tid) => {
                // A process made by a bare clone(), which the kernel counts as a thread for tracing.
                let _ = sys::tracee::detach(tid, 0);
            }
            EVENT_STOP if siginfo::default_action(signal) == DefaultAction::Stop => {
                let _ = sys::listen(tid);
            }
            _ => {
                self.executed |= event == libc::PTRACE_EVENT_EXEC;
                let _ = sys::cont(tid, 0);
            }
        }
    }

    /// A signal is about to be delivered; it will be, unchanged.
    fn signal(&mut self, tid: Tid, signal: i32, look: &mut dyn FnMut(Moment, &mut TakeDump<'_>) -> bool) {
        if self.executed && self.dying.is_none() && deadly(tid, signal) {
            let (pid, changes) = (self.pid, &mut self.changes);
            let info = sys::siginfo(tid).unwrap_or([0; SIGINFO_LEN]);
            let mut take = |settings: &Settings| {
                let start = Instant::now();
                let others = changes.stop_threads(pid, Some(tid));
                dump(pid, (tid, signal, &info, false), start, &others, settings)
            };
            if look(Moment::Signal { signal }, &mut take) {
                self.dying = Some(tid);
            }
        }
        let _ = sys::cont(tid, signal);
    }

    /// A thread is about to end, perhaps with its process.
    fn exiting(&mut self, tid: Tid, look: &mut dyn FnMut(Moment, &mut TakeDump<'_>) -> bool) {
        let code = sys::event_message(tid).unwrap_or(0) as i32;
        let signal = code & 0x7f;
        if self.executed && self.dying.is_none() && (signal != 0 || self.exits) && !self.ends_alone(tid) {
            let (pid, changes) = (self.pid, &mut self.changes);
            let mut take = |settings: &Settings| {
                let start = Instant::now();
                let others = changes.stop_threads(pid, Some(tid));
                let guessed = signal != 0 && signal != libc::SIGKILL;
                let info = if guessed { regs::lost_siginfo(tid, signal) } else { [0; SIGINFO_LEN] };
                let signal = if guessed { signal } else { 0 };
                dump(pid, (tid, signal, &info, guessed), start, &others, settings)
            };
            // Folklore: a seccomp filter that kills gives no signal-delivery stop; its SIGSYS is first seen here.
            let unseen = signal != 0 && signal != libc::SIGKILL && look(Moment::Signal { signal }, &mut take);
            let ended = if signal == 0 { Ended::Exited(code >> 8 & 0xff) } else { Ended::Signaled(signal) };
            if !unseen {
                look(Moment::Exit(ended), &mut take);
            }
            // Nothing can stop it now, and its other threads need not be asked.
            self.dying = Some(tid);
        }
        let _ = sys::cont(tid, 0);
    }

    /// Whether this thread's end leaves the process alive. Asked for every thread that ends, so nothing is stopped for
    /// it, and the leader, who mostly lives longest, is asked first.
    fn ends_alone(&self, tid: Tid) -> bool {
        self.lives_on(tid, self.pid)
            || procfs::threads(self.pid).unwrap_or_default().into_iter().any(|other| self.lives_on(tid, other))
    }

    fn lives_on(&self, tid: Tid, other: Tid) -> bool {
        /// The thread has been killed, though it may not have come to its exit event.
        const PF_SIGNALED: u64 = 0x400;
        if other == tid {
            return false;
        }
        let stat = Stat::read(&format!("/proc/{}/task/{other}/stat", self.pid));
        stat.is_ok_and(|stat| stat.flags & PF_SIGNALED == 0)
            && self.changes.ends_alone(&[ThreadRef { tid: other, stopped: false }])
    }
}

impl Drop for Attached {
    /// The kernel lets all tracees go when this thread ends, but a signal whose stop has been taken and not answered
    /// would be lost (`wait_task_stopped` clears it).
    fn drop(&mut self) {
        while let Some((tid, event, _)) = self.changes.queue.pop_front() {
            self.handle(tid, event, &mut |_, _| false);
        }
    }
}

/// Whether this signal will kill the process. A fault whose signal is blocked or ignored kills all the same: the kernel
/// has then reset the disposition before the stop.
fn deadly(tid: Tid, signal: i32) -> bool {
    let may_kill = matches!(siginfo::default_action(signal), DefaultAction::Core | DefaultAction::Terminate);
    may_kill && Status::read(tid).is_ok_and(|status| !status.arranged_for(signal))
}

fn dump(
    pid: Tid,
    (tid, signal, info, guessed_info): (Tid, i32, &RawSiginfo, bool),
    start: Instant,
    others: &[ThreadRef],
    settings: &Settings,
) -> Result<Unfinished, CaptureError> {
    let comm = Status::read(pid).map(|status| status.name).unwrap_or_default();
    snapshot::write(&Crash { pid, tid, comm: &comm, signal, info, guessed_info, start }, others, settings)
}
