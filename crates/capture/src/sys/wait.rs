//! Waiting for tracees: first look at what happened (a zombie still has its /proc entry), then take it.

use super::{RawSiginfo, SIGINFO_LEN, Tid};
use std::io;

/// A change that waits to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peeked {
    /// Whose.
    pub(crate) tid: Tid,
    /// Whether a signal killed it.
    pub(crate) killed: bool,
    /// Whether it stands and lives.
    pub(crate) stopped: bool,
    /// What a parent learns: the exit status, or the signal.
    pub(crate) status: i32,
}

/// A change that has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A thread or process ended by itself.
    Exited(i32),
    /// A signal killed it.
    Killed(i32),
    /// It stopped: the signal, and the ptrace event or 0.
    Stopped(i32, i32),
}

/// What happened to any tracee or child of this thread; waits for it unless `now`.
///
/// Children of other threads are left alone (`__WNOTHREAD`): they are the host program's.
pub(crate) fn peek_event(now: bool) -> io::Result<Option<Peeked>> {
    let mut options = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
    if now {
        options |= libc::WNOHANG;
    }
    loop {
        match waitid(libc::P_ALL, 0, options) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(info) => {
                // si_pid is the first field of the union for SIGCHLD; 0 says that nothing has happened (WNOHANG).
                let tid = crate::siginfo::field(&info, 16);
                let code = crate::siginfo::field(&info, 8);
                let stopped = code == libc::CLD_TRAPPED || code == libc::CLD_STOPPED;
                let killed = code == libc::CLD_KILLED || code == libc::CLD_DUMPED;
                let status = crate::siginfo::field(&info, 24);
                return Ok((tid != 0).then_some(Peeked { tid, killed, stopped, status }));
            }
        }
    }
}

/// Takes the stop of this tracee, if it stands; its end is left to be peeked at first.
pub(crate) fn take_stop(tid: Tid) -> io::Result<Option<Event>> {
    let info = waitid(libc::P_PID, tid, libc::WSTOPPED | libc::WNOHANG | libc::__WALL)?;
    if crate::siginfo::field(&info, 16) == 0 {
        return Ok(None);
    }
    // Folklore: waitid's si_status is the bare exit code of the stop: the signal in the low byte, the event above.
    let status = crate::siginfo::field(&info, 24);
    Ok(Some(Event::Stopped(status & 0x7f, status >> 8)))
}

fn waitid(kind: libc::idtype_t, id: Tid, options: libc::c_int) -> io::Result<RawSiginfo> {
    let mut info = [0u64; SIGINFO_LEN / 8];
    // SAFETY: waitid writes one siginfo_t, 128 bytes, to `info`, which is that long and aligned.
    let result = unsafe { libc::waitid(kind, id as libc::id_t, info.as_mut_ptr().cast(), options) };
    super::check(result.into())?;
    let mut bytes: RawSiginfo = [0; SIGINFO_LEN];
    for (to, from) in bytes.chunks_exact_mut(8).zip(info) {
        to.copy_from_slice(&from.to_ne_bytes());
    }
    Ok(bytes)
}

/// Takes the change of this tracee, if there is one now.
pub(crate) fn take_event(tid: Tid) -> io::Result<Option<Event>> {
    loop {
        let mut status = 0;
        // SAFETY: waitpid writes one int to `status`.
        match unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::WNOHANG) } {
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            0 => return Ok(None),
            _ if libc::WIFEXITED(status) => return Ok(Some(Event::Exited(libc::WEXITSTATUS(status)))),
            _ if libc::WIFSIGNALED(status) => return Ok(Some(Event::Killed(libc::WTERMSIG(status)))),
            _ => return Ok(Some(Event::Stopped(libc::WSTOPSIG(status), status >> 16))),
        }
    }
}
