//! Watching: the ptrace event loop over a program and all that it starts.
//!
//! *What it is*: one thread that seizes the program before its exec, follows forks, clones and execs, hands every
//! signal on, and stops only a process that is about to die, for [`crate::snapshot`] to look at.
//!
//! *Example*: a SIGSEGV without a handler arrives as a signal-delivery stop. The process is whole at that moment: its
//! dump is written, then the signal is delivered and it dies of it as it would have.
//!
//! *Trap*: a tracee can be killed at any moment, so ESRCH from any ptrace call means "its end is about to be reported",
//! not an error.

mod attach;
mod changes;
mod deaths;

pub(crate) use self::attach::{Attached, Moment};
use self::changes::{Changes, Killed};
use self::deaths::Dying;
pub(crate) use self::deaths::Report;
use crate::oom::Counters;
use crate::output::Settings;
use crate::relay::Relay;
use crate::run::{Ended, RunError};
use crate::siginfo::{self, DefaultAction};
use crate::sys::{self, Event, Held, Tid};
use std::collections::HashMap;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// No PTRACE_O_EXITKILL: if the watcher dies, the program must live on.
const OPTIONS: libc::c_int =
    libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACEEXEC;

/// For leaders also the exit event, which shows the deaths that give no signal stop. Threads come and go more often
/// than processes, and the event costs each of them as much as its creation.
const LEADER_OPTIONS: libc::c_int = OPTIONS | libc::PTRACE_O_TRACEEXIT;

/// The event of stops that are neither signals nor named events (libc names it on some targets only).
const EVENT_STOP: i32 = 128;

/// How long to wait, after the program's end, for the end of children whose dumps have been taken already.
const LAST_DEATHS_PATIENCE: Duration = Duration::from_secs(2);

/// A command in the form that exec needs.
pub(crate) struct Command {
    program: CString,
    arguments: Vec<CString>,
    path: PathBuf,
}

impl Command {
    pub(crate) fn new(command: &[OsString]) -> Result<Self, RunError> {
        let path = PathBuf::from(command.first().filter(|name| !name.is_empty()).ok_or(RunError::NoCommand)?);
        let arguments: Result<Vec<CString>, _> =
            command.iter().map(|argument| CString::new(argument.as_bytes())).collect();
        let arguments = arguments.map_err(|_| RunError::Nul { program: path.clone() })?;
        let program = arguments.first().cloned().ok_or(RunError::NoCommand)?;
        Ok(Self { program, arguments, path })
    }

    /// Starts it, held before its exec; `handled` are the signals that have our handlers.
    pub(crate) fn spawn(&self, handled: &[i32]) -> io::Result<Held> {
        sys::spawn_held(&self.program, &self.arguments, handled)
    }

    /// Why it could not be executed.
    pub(crate) fn exec_error(&self, source: io::Error) -> RunError {
        let program = self.path.clone();
        if source.raw_os_error() == Some(libc::ENOENT) {
            RunError::NotFound { program }
        } else {
            RunError::NotExecutable { program, source }
        }
    }
}

/// Starts the command and watches until it has ended.
pub(crate) fn supervise(
    command: &Command,
    settings: &Settings,
    relay: &Relay,
    reports: &Sender<Report>,
) -> Result<Ended, RunError> {
    let system = |what| move |source| RunError::System { what, source };
    let oom = Counters::now();
    let mut held = command.spawn(relay.handled()).map_err(system("fork"))?;
    let main = held.pid;
    let pidfd = match sys::seize(main, LEADER_OPTIONS) {
        Ok(()) => open_pidfd(main).map_err(system("open a pidfd"))?,
        Err(source) => {
            // Without its pipe it gives up by itself.
            drop(held);
            reap(main);
            return Err(RunError::NotPermitted { source });
        }
    };
    held.release().map_err(system("start the program"))?;
    std::thread::scope(|scope| {
        let pidfd = &pidfd;
        let server = std::thread::Builder::new().name("signals".into());
        let server = server.spawn_scoped(scope, move || relay.serve(main, pidfd)).map_err(system("start a thread"));
        let mut tracer = Tracer {
            main,
            executed: false,
            main_stopped: None,
            changes: Changes::default(),
            dying: HashMap::new(),
            tracees: HashMap::new(),
            settings,
            relay,
            reports,
            oom,
        };
        let result = server.and_then(|_| tracer.watch(held, command));
        relay.finish(match result {
            Ok(Ended::Signaled(signal)) => Some(signal),
            _ => None,
        });
        result
    })
}

pub(crate) fn open_pidfd(pid: Tid) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// Waits for the end of a child of ours and takes its zombie.
pub(crate) fn reap(pid: Tid) -> Option<Ended> {
    while let Ok(event) = sys::take_event(pid) {
        match event {
            Some(Event::Exited(status)) => return Some(Ended::Exited(status)),
            Some(Event::Killed(signal)) => return Some(Ended::Signaled(signal)),
            Some(Event::Stopped(..)) | None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    None
}

struct Tracer<'a> {
    main: Tid,
    executed: bool,
    /// The program is in a job-control stop, by this signal.
    main_stopped: Option<i32>,
    changes: Changes,
    /// By process id.
    dying: HashMap<Tid, Dying>,
    /// All tracees, and whether each is in a job-control stop.
    tracees: HashMap<Tid, bool>,
    settings: &'a Settings,
    relay: &'a Relay,
    reports: &'a Sender<Report>,
    oom: Counters,
}

impl Tracer<'_> {
    fn watch(&mut self, mut held: Held, command: &Command) -> Result<Ended, RunError> {
        loop {
            let stop = self.ready_to_stop();
            self.changes.collect(stop).map_err(|source| RunError::System { what: "wait for the program", source })?;
            if stop && self.changes.queue.is_empty() {
                self.stop_with_program();
                continue;
            }
            while let Some((tid, event, killed)) = self.changes.queue.pop_front() {
                let Some(ended) = self.handle(tid, event, killed) else { continue };
                if !self.executed
                    && let Some(source) = held.exec_error()
                {
                    return Err(command.exec_error(source));
                }
                self.finish_dying();
                return Ok(ended);
            }
        }
    }

    /// Handles one change; gives the program's end.
    fn handle(&mut self, tid: Tid, event: Event, killed: Option<Killed>) -> Option<Ended> {
        if !matches!(event, Event::Stopped(..)) {
            self.tracees.remove(&tid);
        }
        match event {
            Event::Exited(status) => {
                self.dying.remove(&tid);
                (tid == self.main).then_some(Ended::Exited(status))
            }
            Event::Killed(signal) => {
                // A thread's end is its process's affair.
                if tid == self.main || killed.as_ref().is_some_and(|killed| killed.leader) {
                    self.report(tid, signal, killed.map(|killed| killed.comm).unwrap_or_default());
                }
                (tid == self.main).then_some(Ended::Signaled(signal))
            }
            Event::Stopped(signal, event) => {
                if event != libc::PTRACE_EVENT_EXIT {
                    self.let_survivors_go(tid);
                }
                self.stopped(tid, signal, event);
                None
            }
        }
    }

    fn stopped(&mut self, tid: Tid, signal: i32, event: i32) {
        let job_control = event == EVENT_STOP && siginfo::default_action(signal) == DefaultAction::Stop;
        if self.tracees.insert(tid, job_control).is_none() && !sys::is_leader(tid) {
            let _ = sys::set_options(tid, OPTIONS);
        }
        match event {
            0 => self.signal(tid, signal),
            libc::PTRACE_EVENT_EXIT => self.exiting(tid),
            EVENT_STOP if job_control => {
                // It stays stopped; its threads report one by one.
                let _ = sys::listen(tid);
                if tid == self.main {
                    self.main_stopped = Some(signal);
                }
            }
            _ => {
                if tid == self.main {
                    self.main_stopped = None;
                    self.executed |= event == libc::PTRACE_EVENT_EXEC;
                }
                if event == libc::PTRACE_EVENT_EXEC
                    && let Ok(former) = sys::event_message(tid)
                    && former != tid as u64
                {
                    // A thread that executes takes its leader's id and never reports its old one's end.
                    self.tracees.remove(&(former as Tid));
                }
                let _ = sys::cont(tid, 0);
            }
        }
    }

    /// A signal is about to be delivered.
    fn signal(&mut self, tid: Tid, signal: i32) {
        if tid == self.main {
            self.main_stopped = None;
        }
        if !self.deadly(tid, signal) {
            let _ = sys::cont(tid, signal);
        }
    }

    /// Whether a shell should see us stopped. Ctrl-Z means the whole job, but a SIGSTOP may have been meant for the
    /// program alone: then its children must go on, and while we are stopped they could not.
    fn ready_to_stop(&self) -> bool {
        self.main_stopped.is_some_and(|signal| signal != libc::SIGSTOP || self.tracees.values().all(|stopped| *stopped))
    }

    /// Stops ourselves, so that a shell sees its job stopped, until the program has been continued.
    fn stop_with_program(&mut self) {
        let own = sys::own_pid();
        let Ok(waker) = sys::fork_waker(self.main, own) else {
            return;
        };
        self.relay.set_helper(waker);
        sys::stop_self();
        // Here we have been continued.
        if let Some(pid) = rustix::process::Pid::from_raw(waker) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            reap(waker);
        }
        self.main_stopped = None;
    }

    /// Waits a little for processes whose dumps are taken, so that their deaths are told.
    fn finish_dying(&mut self) {
        let deadline = Instant::now() + LAST_DEATHS_PATIENCE;
        while self.changes.collect(true).is_ok() {
            let nothing_new = self.changes.queue.is_empty();
            while let Some((tid, event, killed)) = self.changes.queue.pop_front() {
                let _ = self.handle(tid, event, killed);
            }
            if self.dying.is_empty() || Instant::now() > deadline {
                return;
            }
            if nothing_new {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
