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

use crate::oom::Counters;
use crate::output::{Settings, Unfinished};
use crate::procfs::{self, Status};
use crate::relay::Relay;
use crate::run;
use crate::run::{CaptureError, Ended, NotTaken, RunError};
use crate::siginfo::{self, DefaultAction, SI_KERNEL};
use crate::snapshot::{self, Crash, ThreadRef};
use crate::sys::{self, Event, Held, RawSiginfo, Tid};
use afterimage_dump::SignalInfo;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{CString, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// No PTRACE_O_EXITKILL: if the watcher dies, the program must live on.
const OPTIONS: libc::c_int =
    libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACEEXEC;

/// The event of stops that are neither signals nor named events (libc names it on some targets only).
const EVENT_STOP: i32 = 128;

/// How long the threads of a dying process may take to stop. One that waits for a vfork child cannot.
const STOP_PATIENCE: Duration = Duration::from_millis(300);

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
}

/// A death on its way to the caller; its dump is made durable there.
pub(crate) struct Report {
    pub(crate) pid: Tid,
    pub(crate) tid: Tid,
    pub(crate) comm: String,
    pub(crate) signal: i32,
    pub(crate) info: Option<SignalInfo>,
    pub(crate) dump: Result<Unfinished, CaptureError>,
    pub(crate) main: bool,
}

impl Report {
    /// Finishes the dump.
    pub(crate) fn finish(self) -> run::Death {
        run::Death {
            pid: self.pid as u32,
            tid: self.tid as u32,
            comm: self.comm,
            signal: self.signal,
            info: self.info,
            dump: self.dump.and_then(Unfinished::finish),
            main: self.main,
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
    let mut held = sys::spawn_held(&command.program, &command.arguments, relay.handled()).map_err(system("fork"))?;
    let main = held.pid;
    let pidfd = match sys::seize(main, OPTIONS) {
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
            queue: VecDeque::new(),
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

fn open_pidfd(pid: Tid) -> std::io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(std::io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// Waits for the end of a child of ours and takes its zombie.
fn reap(pid: Tid) {
    while let Ok(event) = sys::take_event(pid) {
        if event.is_some_and(|event| !matches!(event, Event::Stopped(..))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process that has been looked at and given its signal.
struct Dying {
    tid: Tid,
    signal: i32,
    info: SignalInfo,
    comm: String,
    dump: Result<Unfinished, CaptureError>,
    /// Other threads of it that stand before a deadly signal of their own: thread and signal.
    held: Vec<(Tid, i32)>,
}

struct Tracer<'a> {
    main: Tid,
    executed: bool,
    /// The program is in a job-control stop, by this signal.
    main_stopped: Option<i32>,
    /// Changes that have been taken but not looked at.
    queue: VecDeque<(Tid, Event, Option<Killed>)>,
    /// By process id.
    dying: HashMap<Tid, Dying>,
    /// All tracees, and whether each is in a job-control stop.
    tracees: HashMap<Tid, bool>,
    settings: &'a Settings,
    relay: &'a Relay,
    reports: &'a Sender<Report>,
    oom: Counters,
}

/// What can be seen of a killed process only until it is reaped.
struct Killed {
    leader: bool,
    comm: String,
}

impl Tracer<'_> {
    fn watch(&mut self, mut held: Held, command: &Command) -> Result<Ended, RunError> {
        loop {
            let stop = self.ready_to_stop();
            self.collect(stop)?;
            if stop && self.queue.is_empty() {
                self.stop_with_program();
                continue;
            }
            while let Some((tid, event, killed)) = self.queue.pop_front() {
                let Some(ended) = self.handle(tid, event, killed) else { continue };
                if !self.executed
                    && let Some(source) = held.exec_error()
                {
                    let program = command.path.clone();
                    return Err(if source.raw_os_error() == Some(libc::ENOENT) {
                        RunError::NotFound { program }
                    } else {
                        RunError::NotExecutable { program, source }
                    });
                }
                self.finish_dying();
                return Ok(ended);
            }
        }
    }

    /// Takes all changes there are; waits for the first unless `now`. Taking many before letting any tracee go on
    /// keeps a busy one from starving the others.
    fn collect(&mut self, now: bool) -> Result<(), RunError> {
        let mut now = now || !self.queue.is_empty();
        loop {
            let peeked = match sys::peek_event(now) {
                Ok(Some(peeked)) => peeked,
                Ok(None) => return Ok(()),
                // No children: cannot be before the main program's end has been handled.
                Err(_) if now => return Ok(()),
                Err(source) => return Err(RunError::System { what: "wait for the program", source }),
            };
            let killed = peeked.killed.then(|| {
                let status = Status::read(peeked.tid).unwrap_or_default();
                Killed { leader: status.tgid == peeked.tid, comm: status.name }
            });
            let taken = if peeked.stopped { sys::take_stop(peeked.tid) } else { sys::take_event(peeked.tid) };
            // Nothing to take: it was killed since, and that is what comes next.
            if let Ok(Some(event)) = taken {
                self.queue.push_back((peeked.tid, event, killed));
            }
            now = true;
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
                self.let_survivors_go(tid);
                self.stopped(tid, signal, event);
                None
            }
        }
    }

    fn stopped(&mut self, tid: Tid, signal: i32, event: i32) {
        let job_control = event == EVENT_STOP && siginfo::default_action(signal) == DefaultAction::Stop;
        self.tracees.insert(tid, job_control);
        match event {
            0 => self.signal(tid, signal),
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

    /// Looks at a process that this signal will kill; `false` if it will not. When `true`, the tracee was dealt with.
    fn deadly(&mut self, tid: Tid, signal: i32) -> bool {
        let concerns_relay = self.relay.concerns(signal);
        let action = siginfo::default_action(signal);
        let may_kill = matches!(action, DefaultAction::Core | DefaultAction::Terminate);
        if !concerns_relay && !may_kill {
            return false;
        }
        let Ok(mut raw) = sys::siginfo(tid) else { return false };
        if concerns_relay
            && let Some(original) = self.relay.seen(signal, &raw)
            && sys::set_siginfo(tid, &original).is_ok()
        {
            raw = original;
        }
        if !may_kill {
            return false;
        }
        // A fault whose signal is blocked or ignored kills all the same: the kernel has then reset the disposition
        // before this stop (force_sig), so the status tells the truth in both cases.
        let Ok(status) = Status::read(tid) else { return false };
        if status.arranged_for(signal) {
            return false;
        }
        let pid = status.tgid;
        if let Some(dying) = self.dying.get_mut(&pid) {
            dying.held.push((tid, signal));
            return true;
        }
        let info = siginfo::decode(&raw);
        let comm = Status::read(pid).map_or_else(|_| status.name.clone(), |status| status.name);
        let dump = match reason_against(pid, signal, &info) {
            Some(reason) => Err(reason.into()),
            None => self.capture(pid, tid, &comm, signal, &raw),
        };
        self.dying.insert(pid, Dying { tid, signal, info, comm, dump, held: Vec::new() });
        let _ = sys::cont(tid, signal);
        true
    }

    fn capture(
        &mut self,
        pid: Tid,
        tid: Tid,
        comm: &str,
        signal: i32,
        info: &RawSiginfo,
    ) -> Result<Unfinished, CaptureError> {
        let start = Instant::now();
        let others = self.stop_threads(pid, tid);
        let crash = Crash { pid, tid, comm, signal, info, start };
        snapshot::write(&crash, &others, self.settings)
    }

    /// Stops all threads of a process but `crashed`, which stands already.
    fn stop_threads(&mut self, pid: Tid, crashed: Tid) -> Vec<ThreadRef> {
        let mut standing: HashSet<Tid> = self
            .queue
            .iter()
            .filter(|(_, event, _)| matches!(event, Event::Stopped(..)))
            .map(|(tid, ..)| *tid)
            .collect();
        standing.insert(crashed);
        let mut asked: HashSet<Tid> = HashSet::new();
        let mut ended: HashSet<Tid> = HashSet::new();
        let deadline = Instant::now() + STOP_PATIENCE;
        let mut pause = Duration::from_micros(20);
        loop {
            // A thread may have been born meanwhile; it stops by itself, but its event may not have come yet.
            let tids = procfs::threads(pid).unwrap_or_default();
            let mut waiting = false;
            for &tid in &tids {
                if standing.contains(&tid) || ended.contains(&tid) {
                    continue;
                }
                if asked.insert(tid) {
                    let _ = sys::interrupt(tid);
                }
                match sys::take_event(tid) {
                    Ok(Some(event)) => {
                        if matches!(event, Event::Stopped(..)) {
                            standing.insert(tid);
                        }
                        let killed = Killed { leader: tid == pid, comm: String::new() };
                        let killed = matches!(event, Event::Killed(_)).then_some(killed);
                        self.queue.push_back((tid, event, killed));
                    }
                    // A leader that has ended before its threads stays as a zombie and cannot stop any more.
                    Ok(None) if Status::read(tid).is_ok_and(|status| matches!(status.state, b'Z' | b'X')) => {
                        ended.insert(tid);
                    }
                    Ok(None) => waiting = true,
                    // Not ours: cloned with CLONE_UNTRACED.
                    Err(_) => {}
                }
            }
            if !waiting || Instant::now() > deadline {
                let others = tids.into_iter().filter(|&tid| tid != crashed && !ended.contains(&tid));
                return others.map(|tid| ThreadRef { tid, stopped: standing.contains(&tid) }).collect();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
    }

    /// If the thread that was to die of its signal stops again, its process has survived: forget the dump.
    fn let_survivors_go(&mut self, tid: Tid) {
        let survivor = self.dying.iter().find(|(_, dying)| dying.tid == tid).map(|(pid, _)| *pid);
        if let Some(dying) = survivor.and_then(|pid| self.dying.remove(&pid)) {
            for (tid, signal) in dying.held {
                let _ = sys::cont(tid, signal);
            }
        }
    }

    /// Tells the caller of a process's death.
    fn report(&mut self, pid: Tid, signal: i32, comm: String) {
        let main = pid == self.main;
        let report = match self.dying.remove(&pid) {
            Some(dying) if dying.signal == signal => {
                Report { pid, tid: dying.tid, comm: dying.comm, signal, info: Some(dying.info), dump: dying.dump, main }
            }
            other => {
                let reason =
                    if signal == libc::SIGKILL { NotTaken::Killed { oom: self.oom.since() } } else { NotTaken::Unseen };
                let comm = other.map_or(comm, |dying| dying.comm);
                Report { pid, tid: pid, comm, signal, info: None, dump: Err(reason.into()), main }
            }
        };
        // The caller has gone only if its callback panicked.
        let _ = self.reports.send(report);
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
        while self.collect(true).is_ok() {
            let nothing_new = self.queue.is_empty();
            while let Some((tid, event, killed)) = self.queue.pop_front() {
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

/// Why a death by this signal deserves no dump.
fn reason_against(pid: Tid, signal: i32, info: &SignalInfo) -> Option<NotTaken> {
    match signal {
        libc::SIGPIPE => Some(NotTaken::BrokenPipe),
        libc::SIGINT if info.code == SI_KERNEL => Some(NotTaken::Terminal("SIGINT")),
        libc::SIGHUP if info.code == SI_KERNEL => Some(NotTaken::Terminal("SIGHUP")),
        // What well-mannered programs do after Ctrl-C, when they have tidied up.
        libc::SIGINT if info.pid == Some(pid as u32) => Some(NotTaken::OwnInterrupt),
        _ => None,
    }
}
