//! A running process held still: every thread of it stopped, and let go as it was.
//!
//! *What it is*: PTRACE_SEIZE and PTRACE_INTERRUPT for all threads, however fast they make new ones; the same for
//! several processes gives one instant for all.
//!
//! *What it is not*: it reads nothing of the process.
//!
//! *Example*: `let held = Held::new(pid)?; …read…; let pause = held.release();`.
//!
//! *Trap*: no option is set that would outlive us badly: if this program is killed the kernel lets every thread go on
//! where it stood. And a signal that arrives before the stop is passed on, so the thread stops on the first instruction
//! of its handler, with nothing lost.

use crate::procfs;
use crate::sys::{self, AllBlocked, Event, Tid, tracee};
use std::io;
use std::time::{Duration, Instant};

/// The event of stops that are neither signals nor named events.
pub(super) const EVENT_STOP: i32 = 128;

/// How long one thread may take to stop on a busy machine.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long one may take that waits uninterruptibly in the kernel, for a disk or a vforked child: that can last, and all
/// others stand meanwhile.
const UNINTERRUPTIBLE: Duration = Duration::from_millis(8);

/// The same of one whose page fault the kernel is serving: that ends as soon as its page is moved or read in, unless the disk
/// is dead. And what is not stopped has no registers to tell.
const FAULT: Duration = Duration::from_millis(100);

/// How long threads are waited for that would not stop in time, when all others run again.
const LATE_PATIENCE: Duration = Duration::from_secs(3);

/// Waiting that only spins, before it sleeps.
const SPIN: Duration = Duration::from_millis(2);

/// A thread of a held process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldThread {
    pub(crate) tid: Tid,
    /// Whether it stands. One that does not is in the kernel, uninterruptibly, and cannot change memory either, except
    /// where the kernel writes for it.
    pub(crate) stopped: bool,
    /// Whether it stood already, by job control (SIGSTOP).
    pub(crate) job_stopped: bool,
}

/// A process whose threads all stand. Dropping it lets them go.
pub(crate) struct Held {
    pub(crate) pid: Tid,
    pub(crate) threads: Vec<HeldThread>,
    since: Instant,
    released: bool,
}

impl Held {
    /// Stops all threads.
    ///
    /// # Errors
    /// When the first thread cannot be seized, or none is left.
    pub(crate) fn new(pid: Tid) -> io::Result<Self> {
        // Ctrl-C waits until no thread is between its stop and the hiding of that.
        let _blocked = AllBlocked::new();
        let mut held = Self { pid, threads: Vec::new(), since: Instant::now(), released: false };
        // Seizing does not stop: done for all before the clock starts.
        let mut refused = None;
        let first = held.seize_new(&mut refused)?;
        if first.is_empty() {
            return Err(refused.unwrap_or_else(|| io::Error::from_raw_os_error(libc::ESRCH)));
        }
        held.since = Instant::now();
        held.stop(&first);
        // Threads that were made meanwhile; when a round finds none, all that could make one stand.
        loop {
            let more = held.seize_new(&mut refused)?;
            if more.is_empty() {
                break;
            }
            held.stop(&more);
        }
        held.stop_late();
        if held.threads.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // The leader first, as in every dump of a process that has not crashed.
        held.threads.sort_by_key(|thread| (thread.tid != pid, thread.tid));
        Ok(held)
    }

    /// Seizes threads that are not yet: gives their ids.
    fn seize_new(&mut self, refused: &mut Option<io::Error>) -> io::Result<Vec<Tid>> {
        let mut new = Vec::new();
        for tid in procfs::threads(self.pid)? {
            if self.threads.iter().any(|thread| thread.tid == tid) {
                continue;
            }
            match sys::seize(tid, 0) {
                Ok(()) => new.push(tid),
                // It is ours already: it would not stop the last time.
                Err(_) if procfs::Status::read(tid).is_ok_and(|status| status.tracer == sys::own_pid()) => {
                    new.push(tid)
                }
                // It has ended meanwhile, or it is a leader that ended before its threads.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) || ended(tid) => {}
                Err(error) => {
                    if self.threads.is_empty() && new.is_empty() {
                        return Err(error);
                    }
                    *refused = Some(error);
                }
            }
        }
        Ok(new)
    }

    fn stop(&mut self, tids: &[Tid]) {
        for &tid in tids {
            let _ = sys::interrupt(tid);
        }
        for &tid in tids {
            match wait_for_stop(tid, PATIENCE) {
                Waited::Stopped { job_stopped, signalled } => {
                    if !signalled {
                        super::restart::restart_quietly(tid);
                    }
                    self.threads.push(HeldThread { tid, stopped: true, job_stopped });
                }
                Waited::Running => self.threads.push(HeldThread { tid, stopped: false, job_stopped: false }),
                Waited::Gone => {}
            }
        }
    }

    /// Those that would not stop have been asked to, and may have done so while the others were waited for.
    fn stop_late(&mut self) {
        self.threads.retain_mut(|thread| {
            if thread.stopped {
                return true;
            }
            match wait_for_stop(thread.tid, Duration::ZERO) {
                Waited::Stopped { job_stopped, signalled } => {
                    if !signalled {
                        super::restart::restart_quietly(thread.tid);
                    }
                    (thread.stopped, thread.job_stopped) = (true, job_stopped);
                    true
                }
                Waited::Running => true,
                Waited::Gone => false,
            }
        });
    }

    /// Whether the process stood already, by job control.
    pub(crate) fn was_stopped(&self) -> bool {
        self.threads.iter().all(|thread| thread.job_stopped)
    }

    /// Lets all threads go; gives how long they were held.
    pub(crate) fn release(mut self) -> Duration {
        self.let_go()
    }

    /// Those that stand first. One that would not stop will do so as soon as it can, and would then stand until we end:
    /// it is waited for a while longer, when the others run already.
    fn let_go(&mut self) -> Duration {
        if !std::mem::replace(&mut self.released, true) {
            for thread in self.threads.iter().filter(|thread| thread.stopped) {
                let _ = tracee::detach(thread.tid, 0);
            }
        }
        let pause = self.since.elapsed();
        let late: Vec<Tid> = self.threads.iter().filter(|thread| !thread.stopped).map(|thread| thread.tid).collect();
        self.threads.clear();
        let _blocked = (!late.is_empty()).then(AllBlocked::new);
        let deadline = Instant::now() + LATE_PATIENCE;
        for tid in late {
            let rest = deadline.saturating_duration_since(Instant::now());
            if let Waited::Stopped { signalled, .. } = wait_for_stop(tid, rest) {
                if !signalled {
                    super::restart::restart_quietly(tid);
                }
                let _ = tracee::detach(tid, 0);
            }
        }
        pause
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Whether a thread has ended but is still listed.
fn ended(tid: Tid) -> bool {
    procfs::Status::read(tid).map_or(true, |status| status.ended())
}

/// What became of a thread that was asked to stop.
pub(super) enum Waited {
    Stopped {
        job_stopped: bool,
        /// A signal was passed on before it stopped.
        signalled: bool,
    },
    Running,
    Gone,
}

/// Waits for the stop that PTRACE_INTERRUPT makes, passing signals on.
pub(super) fn wait_for_stop(tid: Tid, patience: Duration) -> Waited {
    let start = Instant::now();
    let mut signalled = false;
    loop {
        match sys::take_event(tid) {
            Ok(Some(Event::Stopped(signal, EVENT_STOP))) => {
                return Waited::Stopped { job_stopped: signal != libc::SIGTRAP, signalled };
            }
            // A signal came first. It goes on into its handler, and stops before the first instruction there.
            Ok(Some(Event::Stopped(signal, 0))) => {
                signalled = true;
                let _ = sys::cont(tid, signal);
            }
            Ok(Some(Event::Stopped(..))) => {
                let _ = sys::cont(tid, 0);
            }
            Ok(Some(Event::Exited(_) | Event::Killed(_))) | Err(_) => return Waited::Gone,
            Ok(None) => pause(start),
        }
        let waited = start.elapsed();
        if waited > patience || (waited > UNINTERRUPTIBLE && patience == PATIENCE && waits_on(tid, waited)) {
            return Waited::Running;
        }
    }
}

/// Whether a thread waits in the kernel such that nothing but its event wakes it, and has done so for long enough.
fn waits_on(tid: Tid, waited: Duration) -> bool {
    let uninterruptible = procfs::Status::read(tid).is_ok_and(|status| status.state == b'D');
    // In no system call: a fault of its own.
    let faults = || std::fs::read(format!("/proc/{tid}/syscall")).is_ok_and(|text| text.starts_with(b"-1 "));
    uninterruptible && (waited > FAULT || !faults())
}

/// Waits a moment: first only for other threads to run, later by sleeping.
pub(super) fn pause(start: Instant) {
    if start.elapsed() < SPIN {
        tracee::yield_now();
    } else {
        std::thread::sleep(Duration::from_micros(200));
    }
}
