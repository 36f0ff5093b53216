//! The deaths among the tracees: recognised before they happen, looked at, and told.
//!
//! *Trap*: a few deaths give no signal-delivery stop, because the kernel itself ends the process (a seccomp filter that
//! kills). They are caught in the leader's exit event, when the signal's information has gone but memory is still whole.

use super::Tracer;
use crate::output::Unfinished;
use crate::procfs::Status;
use crate::regs;
use crate::run::{self, CaptureError, NotTaken};
use crate::siginfo::{self, DefaultAction, SI_KERNEL};
use crate::snapshot::{self, Crash};
use crate::sys::{self, Tid};
use afterimage_dump::SignalInfo;
use std::time::Instant;

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

/// A process that has been looked at and given its signal.
pub(super) struct Dying {
    pub(super) tid: Tid,
    signal: i32,
    info: SignalInfo,
    comm: String,
    dump: Result<Unfinished, CaptureError>,
    /// Other threads of it that stand before a deadly signal of their own: thread and signal.
    pub(super) held: Vec<(Tid, i32)>,
}

impl Tracer<'_> {
    /// Looks at a process that this signal will kill; `false` if it will not. When `true`, the tracee was dealt with.
    pub(super) fn deadly(&mut self, tid: Tid, signal: i32) -> bool {
        let concerns_relay = self.relay.concerns(signal);
        let action = siginfo::default_action(signal);
        let may_kill = matches!(action, DefaultAction::Core | DefaultAction::Terminate);
        if !concerns_relay && !may_kill {
            return false;
        }
        // A fault whose signal is blocked or ignored kills all the same: the kernel has then reset the disposition
        // before this stop (force_sig), so the status tells the truth in both cases.
        let Ok(status) = Status::read(tid) else { return false };
        let concerns_relay = concerns_relay && status.tgid == self.main;
        let deadly = may_kill && !status.arranged_for(signal);
        if !concerns_relay && !deadly {
            return false;
        }
        let Ok(mut raw) = sys::siginfo(tid) else { return false };
        if concerns_relay
            && let Some(original) = self.relay.seen(signal, &raw)
            && sys::set_siginfo(tid, &original).is_ok()
        {
            raw = original;
        }
        if !deadly {
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
            None => {
                let start = Instant::now();
                let others = self.changes.stop_threads(pid, Some(tid));
                let crash = Crash { pid, tid, comm: &comm, signal, info: &raw, guessed_info: false, start };
                snapshot::write(&crash, &others, self.settings)
            }
        };
        self.dying.insert(pid, Dying { tid, signal, info, comm, dump, held: Vec::new() });
        let _ = sys::cont(tid, signal);
        true
    }

    /// A thread is about to end. If the kernel ends its whole process by a signal that we have not seen, this is the
    /// last moment to look at it.
    pub(super) fn exiting(&mut self, tid: Tid) {
        let signal = sys::event_message(tid).map_or(0, |code| (code & 0x7f) as i32);
        let status = if signal == 0 || signal == libc::SIGKILL { None } else { Status::read(tid).ok() };
        if let Some(status) = status
            && !self.dying.contains_key(&status.tgid)
        {
            let start = Instant::now();
            let pid = status.tgid;
            let others = self.changes.stop_threads(pid, Some(tid));
            if !self.changes.ends_alone(&others) {
                let comm = Status::read(pid).map_or(status.name, |status| status.name);
                let info = regs::lost_siginfo(tid, signal);
                let crash = Crash { pid, tid, comm: &comm, signal, info: &info, guessed_info: true, start };
                let dump = snapshot::write(&crash, &others, self.settings);
                let info = siginfo::decode(&info);
                self.dying.insert(pid, Dying { tid, signal, info, comm, dump, held: Vec::new() });
            }
        }
        let _ = sys::cont(tid, 0);
    }

    /// If the thread that was to die of its signal stops again, its process has survived: forget the dump.
    pub(super) fn let_survivors_go(&mut self, tid: Tid) {
        let survivor = self.dying.iter().find(|(_, dying)| dying.tid == tid).map(|(pid, _)| *pid);
        if let Some(dying) = survivor.and_then(|pid| self.dying.remove(&pid)) {
            for (tid, signal) in dying.held {
                let _ = sys::cont(tid, signal);
            }
        }
    }

    /// Tells the caller of a process's death.
    pub(super) fn report(&mut self, pid: Tid, signal: i32, comm: String) {
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
