//! Finding the process to watch, and holding on to it.
//!
//! *Trap*: an id from a list may belong to another process a moment later. The pidfd is opened first and the process
//! looked at afterwards: if the pidfd then says that it lives, what was seen was about it.

use super::WatchError;
use super::stop::Stop;
use crate::procfs::{Stat, Status};
use crate::run::RunError;
use crate::sys::{self, Held, Tid};
use crate::tracer::{self, open_pidfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// The process to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its id.
    Pid(i32),
    /// The only one of this name: its short name, or the file name of its program.
    Name {
        /// The name.
        name: String,
        /// Whether to wait until there is one.
        wait: bool,
    },
    /// A program that is started for it, with its arguments.
    Launch(Vec<OsString>),
}

/// A process that cannot be mistaken for another.
pub(super) struct Opened {
    pub(super) pid: Tid,
    pub(super) pidfd: OwnedFd,
    /// When it was started, in ticks after boot.
    pub(super) start: u64,
    pub(super) comm: String,
    /// Whether it is a child of ours.
    pub(super) launched: bool,
}

impl Opened {
    /// Whether it lives.
    pub(super) fn lives(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(0) | Err(_))
    }

    /// Reads anew what an exec changes.
    pub(super) fn refresh(&mut self) {
        if let Ok(status) = Status::read(self.pid) {
            self.comm = status.name;
        }
    }
}

/// Holds on to a running process.
pub(super) fn open(pid: Tid) -> Result<Opened, WatchError> {
    let gone = || WatchError::NoProcess { what: format!("process {pid}") };
    if pid == sys::own_pid() {
        return Err(WatchError::Wrong { what: "a process cannot watch itself".to_owned() });
    }
    if pid <= 0 {
        return Err(WatchError::Wrong { what: format!("{pid} is no process id") });
    }
    let pidfd = open_pidfd(pid).map_err(|source| match source.raw_os_error() {
        Some(libc::ESRCH) => gone(),
        // Folklore: the id of a thread gives EINVAL on older kernels, ENOENT on newer ones.
        Some(libc::EINVAL | libc::ENOENT) if Path::new(&format!("/proc/{pid}")).exists() => {
            WatchError::Wrong { what: format!("{pid} is a thread, not a process: give the id of its process") }
        }
        _ => WatchError::System { what: "open a pidfd", source },
    })?;
    let opened = hold(pid, pidfd, false).map_err(|_| gone())?;
    if !opened.lives() {
        return Err(gone());
    }
    Ok(opened)
}

fn hold(pid: Tid, pidfd: OwnedFd, launched: bool) -> io::Result<Opened> {
    let status = Status::read(pid)?;
    let stat = Stat::read(&format!("/proc/{pid}/stat"))?;
    Ok(Opened { pid, pidfd, start: stat.start, comm: status.name, launched })
}

/// Says early that a dump of it could not be taken.
pub(super) fn may_be_read(target: &Opened) -> Result<(), WatchError> {
    let Err(error) = std::fs::File::open(format!("/proc/{}/mem", target.pid)) else { return Ok(()) };
    if error.kind() != io::ErrorKind::PermissionDenied {
        return Ok(());
    }
    let what = "its memory may not be read: be its user or root, and see kernel.yama.ptrace_scope".to_owned();
    Err(WatchError::NotPermitted { pid: target.pid as u32, what })
}

/// Why it cannot be traced.
pub(super) fn not_traced(pid: Tid, error: &io::Error) -> WatchError {
    if error.raw_os_error() == Some(libc::ESRCH) || error.kind() == io::ErrorKind::NotFound {
        return WatchError::NoProcess { what: format!("process {pid}") };
    }
    let tracer = Status::read(pid).map(|status| status.tracer).unwrap_or_default();
    let what = match tracer {
        tracer if tracer != 0 => format!("it cannot be traced: process {tracer} traces it already"),
        _ => format!("it cannot be traced: {error}; be its user or root, and see kernel.yama.ptrace_scope"),
    };
    WatchError::NotPermitted { pid: pid as u32, what }
}

/// The only process of this name; waits for one if asked to. `None` when it was told to stop, or the time was over.
pub(super) fn find(
    name: &str,
    wait: bool,
    interval: Duration,
    deadline: Option<Instant>,
    stop: &Stop,
    mut pause: impl FnMut(Duration),
) -> Result<Option<Opened>, WatchError> {
    loop {
        let pids = named(name);
        match (pids.as_slice(), wait) {
            ([pid], _) => match open(*pid) {
                Ok(opened) => return Ok(Some(opened)),
                // It has ended since.
                Err(WatchError::NoProcess { .. }) if wait => {}
                Err(error) => return Err(error),
            },
            ([], true) => {}
            ([], false) => return Err(WatchError::NoProcess { what: format!("`{name}`") }),
            _ => return Err(WatchError::Ambiguous { name: name.to_owned(), pids }),
        }
        if stop.requested().is_some() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        pause(interval.min(Duration::from_millis(250)));
    }
}

/// Living processes of this name, but not our own.
fn named(name: &str) -> Vec<Tid> {
    let lives = |pid: &Tid| Status::read(*pid).is_ok_and(|status| !matches!(status.state, b'Z' | b'X'));
    crate::processes_named(name).into_iter().filter(lives).collect()
}

/// A child of ours that waits before its exec.
pub(super) fn hold_program(command: &tracer::Command, handled: &[i32]) -> Result<(Opened, Held), WatchError> {
    let system = |what| move |source| WatchError::Start(RunError::System { what, source });
    let held = command.spawn(handled).map_err(system("fork"))?;
    let pidfd = open_pidfd(held.pid).map_err(system("open a pidfd"))?;
    let opened = hold(held.pid, pidfd, true).map_err(system("look at the program"))?;
    Ok((opened, held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_targets() {
        assert!(matches!(open(sys::own_pid()), Err(WatchError::Wrong { .. })));
        assert!(open(0).is_err() && open(-7).is_err());
        assert!(matches!(open(i32::MAX), Err(WatchError::NoProcess { .. })));
        let (sender, thread) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = wait.recv();
        });
        let error = open(thread.recv().unwrap()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("is a thread"), "{error}");
        drop(done);
        other.join().unwrap();
    }

    #[test]
    fn names_that_nobody_has() {
        let found = find("no-such-name-anywhere", false, Duration::ZERO, None, &Stop::default(), |_| {});
        assert!(matches!(found, Err(WatchError::NoProcess { .. })));
        let now = Some(Instant::now());
        let found = find("no-such-name-anywhere", true, Duration::ZERO, now, &Stop::default(), |_| {});
        assert!(matches!(found, Ok(None)));
    }
}
