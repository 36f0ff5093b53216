//! Signals sent to the watcher, handed on to the watched program as if they had been sent to it.
//!
//! *What it is not*: it does not touch what the program gets directly, as Ctrl-C at the terminal, which goes to the
//! whole process group.
//!
//! *Example*: `kill -TERM WATCHER` by process 7: the program gets SIGTERM with `si_pid` 7.
//!
//! *Trap*: `kill -TERM -GROUP` reaches both. The tracer tells what the program has been given by whom
//! ([`Relay::seen`]); our own copy of such a signal is then not handed on.

use crate::procfs::Status;
use crate::run::RunError;
use crate::siginfo::{self, SI_KERNEL};
use crate::sys::{self, Handlers, RawSiginfo, SIGINFO_LEN, Tid};
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One user at a time: signal handlers belong to the whole process.
pub(crate) static TAKEN: AtomicBool = AtomicBool::new(false);

/// How long to wait for the program's own copy of a signal that was sent to the whole group.
const GROUP_COPY_WAIT: Duration = Duration::from_millis(15);

/// How long a signal that the program got by itself can excuse ours.
const GROUP_COPY_AGE: Duration = Duration::from_millis(500);

/// Signals that are handed on, besides the real-time ones. SIGKILL and SIGSTOP cannot be; synchronous faults, SIGCHLD,
/// SIGPIPE and limits on CPU time or file size are the watcher's own affair.
pub(crate) const HANDED_ON: [i32; 15] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGSTKFLT,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
];

/// Installed handlers and what is on its way.
pub(crate) struct Relay {
    handlers: Mutex<Option<Handlers>>,
    handled: Vec<i32>,
    read: OwnedFd,
    write: OwnedFd,
    state: Mutex<State>,
    /// A helper process whose signals are not handed on.
    helper: AtomicI32,
}

#[derive(Default)]
struct State {
    /// Signals that the program got directly: signal, sender, when.
    direct: Vec<(i32, u32, Instant)>,
    /// Signals that we have handed on and the program has not got yet.
    on_the_way: VecDeque<(i32, RawSiginfo)>,
}

impl Relay {
    /// Installs the handlers.
    pub(crate) fn install() -> Result<Self, RunError> {
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(RunError::Busy);
        }
        let pipe = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| {
            TAKEN.store(false, Ordering::SeqCst);
            RunError::System { what: "make a pipe", source: errno.into() }
        });
        let (read, write) = pipe?;
        // A handler must never block; 64 KiB are 512 signals.
        let _ = rustix::io::ioctl_fionbio(&write, true);
        let signals: Vec<i32> = HANDED_ON.into_iter().chain(sys::realtime_range()).collect();
        let handlers = Handlers::install(&signals, write.as_fd());
        Ok(Self {
            handled: handlers.signals(),
            handlers: Mutex::new(Some(handlers)),
            read,
            write,
            state: Mutex::default(),
            helper: AtomicI32::new(0),
        })
    }

    /// The signals that have our handlers.
    pub(crate) fn handled(&self) -> &[i32] {
        &self.handled
    }

    /// Whether a signal that the program gets may have come through here.
    pub(crate) fn concerns(&self, signal: i32) -> bool {
        self.handled.contains(&signal)
    }

    /// Takes note of a signal that the program is about to get. If it is one of ours, gives what was sent originally.
    pub(crate) fn seen(&self, signal: i32, info: &RawSiginfo) -> Option<RawSiginfo> {
        let decoded = siginfo::decode(info);
        let mut state = self.state();
        if decoded.pid == Some(sys::own_pid() as u32) {
            // Standard signals merge: the last one sent stands for all.
            let original = state.on_the_way.iter().rev().find(|(other, _)| *other == signal).map(|(_, info)| *info);
            state.on_the_way.retain(|(other, _)| *other != signal);
            return original;
        }
        let now = Instant::now();
        state.direct.retain(|(_, _, when)| now.duration_since(*when) < GROUP_COPY_AGE);
        if let Some(pid) = decoded.pid {
            state.direct.push((signal, pid, now));
        }
        None
    }

    /// Names a helper process whose signals to us are not meant for the program.
    pub(crate) fn set_helper(&self, pid: Tid) {
        self.helper.store(pid, Ordering::SeqCst);
    }

    /// Hands signals on until [`Relay::finish`]; runs in a thread of its own.
    pub(crate) fn serve(&self, program: Tid, pidfd: &OwnedFd) {
        let leads_session = sys::leads_session();
        loop {
            let mut info: RawSiginfo = [0; SIGINFO_LEN];
            match rustix::io::read(&self.read, &mut info) {
                Ok(SIGINFO_LEN) => {}
                Err(rustix::io::Errno::INTR) => continue,
                // Writes of up to PIPE_BUF bytes are whole, so anything else is the end.
                _ => return,
            }
            let signal = siginfo::field(&info, 0);
            if signal == 0 {
                return;
            }
            let decoded = siginfo::decode(&info);
            let terminal = decoded.code == SI_KERNEL && from_terminal(signal, leads_session);
            let sender = decoded.pid.unwrap_or(0);
            // A program that signals its parent means the one who started it, not itself.
            let own = sender != 0 && (sender == program as u32 || sender == self.helper.load(Ordering::SeqCst) as u32);
            if terminal || own || self.got_own_copy(program, signal, sender) {
                continue;
            }
            self.state().on_the_way.push_back((signal, info));
            // The kernel lets nobody speak for others, except with sigqueue's code, whose value must arrive.
            let queued = (decoded.code == libc::SI_QUEUE).then_some(&info);
            let _ = sys::send_to_pidfd(pidfd, signal, queued);
        }
    }

    /// Whether the program got this signal from the same sender by itself.
    fn got_own_copy(&self, program: Tid, signal: i32, sender: u32) -> bool {
        if sender == 0 {
            return false;
        }
        // A busy machine may take longer: as long as the program's copy is on its way it is waited for.
        let start = Instant::now();
        while {
            std::thread::sleep(GROUP_COPY_WAIT);
            start.elapsed() < GROUP_COPY_AGE / 2 && on_its_way(program, signal)
        } {}
        let mut state = self.state();
        let found = state
            .direct
            .iter()
            .position(|(other, pid, when)| *other == signal && *pid == sender && when.elapsed() < GROUP_COPY_AGE);
        if let Some(at) = found {
            state.direct.remove(at);
        }
        found.is_some()
    }

    /// Restores the dispositions and ends [`Relay::serve`]; `signal` is what the program died of.
    ///
    /// A signal to the whole group may have killed the program while our own copy is still pending: with the default
    /// disposition back it would kill us before the death is told. So wait until none is pending.
    pub(crate) fn finish(&self, signal: Option<i32>) {
        if signal.is_some_and(|signal| self.concerns(signal)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let ours = self.handled.iter().fold(0u64, |mask, signal| mask | 1 << (signal - 1));
        let pending = || Status::read(sys::own_pid()).is_ok_and(|status| status.shared_pending & ours != 0);
        let deadline = Instant::now() + Duration::from_millis(100);
        while pending() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(100));
        }
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = rustix::io::ioctl_fionbio(&self.write, false);
        let _ = rustix::io::write(&self.write, &[0; SIGINFO_LEN]);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).take();
        TAKEN.store(false, Ordering::SeqCst);
    }
}

/// Whether a signal is pending for the program, or it stands before the delivery of one.
fn on_its_way(program: Tid, signal: i32) -> bool {
    Status::read(program)
        .is_ok_and(|status| status.state == b't' || (status.pending | status.shared_pending) & 1 << (signal - 1) != 0)
}

/// Whether the kernel sends this signal to whole process groups. SIGHUP for a lost terminal goes to the session's
/// leader alone, so the leader must hand it on.
fn from_terminal(signal: i32, leads_session: bool) -> bool {
    match signal {
        libc::SIGINT
        | libc::SIGQUIT
        | libc::SIGTSTP
        | libc::SIGTTIN
        | libc::SIGTTOU
        | libc::SIGWINCH
        | libc::SIGCONT => true,
        libc::SIGHUP => !leads_session,
        _ => false,
    }
}
