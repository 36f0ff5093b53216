//! Signals to the watcher: they end the watch, or go on to the program that was started for it.
//!
//! *What it is not*: a program that was merely found gets nothing from us.
//!
//! *Trap*: a stopped tracer stops its tracee at the tracee's next signal. So Ctrl-Z is not obeyed while a process that
//! was merely found is traced.

use super::WatchError;
use super::target::Opened;
use crate::relay::{HANDED_ON, TAKEN};
use crate::siginfo::{self, SI_KERNEL};
use crate::sys::{self, Handlers, RawSiginfo, SIGINFO_LEN};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

/// Signals that end a watch.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
/// Signals of job control; a launched program and its watcher get them together, as one job.
const JOB_CONTROL: [i32; 4] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCONT];

/// Installed handlers and the pipe that they write to.
pub(super) struct Signals {
    handlers: Option<Handlers>,
    read: OwnedFd,
    _write: OwnedFd,
    launched: bool,
}

impl Signals {
    pub(super) fn install(launched: bool, traced: bool) -> Result<Self, WatchError> {
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(WatchError::Busy);
        }
        let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|errno| {
            TAKEN.store(false, Ordering::SeqCst);
            WatchError::System { what: "make a pipe", source: errno.into() }
        });
        let (read, write) = pipe?;
        let signals: Vec<i32> = if launched {
            let standard = HANDED_ON.into_iter().filter(|signal| !JOB_CONTROL.contains(signal));
            standard.chain(sys::realtime_range()).collect()
        } else {
            let stops = JOB_CONTROL.into_iter().filter(|signal| traced && *signal != libc::SIGCONT);
            ENDING.into_iter().chain(stops).collect()
        };
        Ok(Self { handlers: Some(Handlers::install(&signals, write.as_fd())), read, _write: write, launched })
    }

    /// The signals that have our handlers.
    pub(super) fn handled(&self) -> Vec<i32> {
        self.handlers.as_ref().map(Handlers::signals).unwrap_or_default()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// Deals with what has come; gives the signal that ends the watch.
    pub(super) fn take(&self, target: Option<&Opened>) -> Option<i32> {
        let mut info: RawSiginfo = [0; SIGINFO_LEN];
        while rustix::io::read(&self.read, &mut info) == Ok(SIGINFO_LEN) {
            let signal = siginfo::field(&info, 0);
            if !self.launched {
                if ENDING.contains(&signal) {
                    return Some(signal);
                }
                continue;
            }
            let Some(target) = target else { continue };
            let decoded = siginfo::decode(&info);
            // The terminal sends to the whole group, so the program has its own copy; and a program that signals its
            // parent means the one who started it.
            let terminal = decoded.code == SI_KERNEL && matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGWINCH);
            if !terminal && decoded.pid != Some(target.pid as u32) {
                let queued = (decoded.code == libc::SI_QUEUE).then_some(&info);
                let _ = sys::send_to_pidfd(&target.pidfd, signal, queued);
            }
        }
        None
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Another watch may only come when the dispositions are as they were.
        self.handlers.take();
        TAKEN.store(false, Ordering::SeqCst);
    }
}
