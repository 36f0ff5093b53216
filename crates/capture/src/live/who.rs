//! Whose dump is taken: a process by any of its threads' ids, and why it cannot be taken, in words that help.
//!
//! *Trap*: ids are used again. The pidfd is opened first and what /proc says is read after it; if the process has
//! ended by then, nothing that was read counts.

use super::LiveError;
use crate::procfs::{self, Stat, Status};
use crate::sys::{self, Tid};
use std::io;
use std::os::fd::OwnedFd;

/// A process that can be captured, as far as is known before it is tried.
pub(super) struct Subject {
    pub(super) pid: Tid,
    /// A thread through which /proc shows its memory: its first, or another one where that has ended before its process.
    pub(super) memory: Tid,
    pub(super) pidfd: OwnedFd,
    pub(super) status: Status,
}

/// A kernel thread.
const PF_KTHREAD: u64 = 0x0020_0000;
/// A thread on its way out (include/linux/sched.h).
const PF_EXITING: u64 = 4;

impl Subject {
    /// Looks at a process or thread id.
    pub(super) fn find(id: Tid) -> Result<Self, LiveError> {
        let none = |_| LiveError::NoProcess { pid: id };
        let status = Status::read(id).map_err(none)?;
        let pid = if status.tgid > 0 { status.tgid } else { id };
        let raw = rustix::process::Pid::from_raw(pid).ok_or(LiveError::NoProcess { pid: id })?;
        if pid == sys::own_pid() {
            return Err(LiveError::Own);
        }
        let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty());
        let pidfd = pidfd.map_err(|error| none(error.into()))?;
        let mut status = Status::read(pid).map_err(none)?;
        let mut memory = pid;
        let stat = Stat::read(&format!("/proc/{pid}/stat")).map_err(none)?;
        if stat.flags & PF_KTHREAD != 0 {
            return Err(LiveError::KernelThread { pid, name: status.name });
        }
        // A leader may have ended before its threads: then the process lives.
        if status.ended() {
            let mut others = procfs::threads(pid).unwrap_or_default().into_iter().filter(|tid| *tid != pid);
            let living = others.find_map(|tid| Some((tid, Status::read(tid).ok().filter(|status| !status.ended())?)));
            let Some((tid, of)) = living else { return Err(LiveError::Zombie { pid, parent: stat.ppid }) };
            memory = tid;
            status = Status { name: status.name, ..of };
        }
        if status.tracer != 0 {
            let tracer = status.tracer;
            let name = Status::read(tracer).map(|status| status.name).unwrap_or_default();
            return Err(LiveError::Traced { pid, tracer: tracer as u32, name });
        }
        Ok(Self { pid, memory, pidfd, status })
    }

    /// Whether it has ended, or is about to: threads of a process that ends go one after the other, and giving back much
    /// memory takes a while.
    ///
    /// *Trap*: a pidfd does not tell the end of a process some of whose threads we trace, as long as we have not taken
    /// the end of each.
    pub(super) fn ended(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        (0..10).any(|_| {
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            let over = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).is_ok_and(|ready| ready > 0);
            over || self.ending()
        })
    }

    /// Whether every thread of it has ended, ends, or has been killed.
    fn ending(&self) -> bool {
        const KILLED: u64 = 1 << (libc::SIGKILL - 1);
        let ends = |tid: Tid| {
            let exiting = Stat::read(&format!("/proc/{tid}/stat")).map_or(true, |stat| stat.flags & PF_EXITING != 0);
            exiting || Status::read(tid).map_or(true, |status| status.ended() || status.pending & KILLED != 0)
        };
        procfs::threads(self.pid).map_or(true, |tids| tids.into_iter().all(ends))
    }

    /// What an error means if the process has ended meanwhile: one that is being killed has no memory any more, so it
    /// seems to lack whatever is looked for first.
    pub(super) fn at_its_end(&self, error: LiveError) -> LiveError {
        use LiveError::{Changed, System, Unavailable, Unsupported};
        let of_it = matches!(error, Changed { .. } | System { .. } | Unavailable { .. } | Unsupported { .. });
        if of_it && self.ended() { LiveError::Vanished { pid: self.pid } } else { error }
    }

    /// What a failure to seize it means.
    pub(super) fn refusal(&self, error: &io::Error) -> LiveError {
        let pid = self.pid;
        match error.raw_os_error() {
            Some(libc::ESRCH | libc::ENOENT) => return LiveError::Vanished { pid },
            Some(libc::EPERM | libc::EACCES) => {}
            None if error.kind() == io::ErrorKind::NotFound => return LiveError::Vanished { pid },
            _ => return LiveError::System { what: "stop the process", source: io::Error::from(error.kind()) },
        }
        if let Ok(now) = Status::read(pid)
            && now.tracer != 0
        {
            let name = Status::read(now.tracer).map(|status| status.name).unwrap_or_default();
            return LiveError::Traced { pid, tracer: now.tracer as u32, name };
        }
        LiveError::NotPermitted { pid, why: self.why_not_permitted() }
    }

    fn why_not_permitted(&self) -> String {
        let own = rustix::process::getuid().as_raw();
        let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
        let capability = "CAP_SYS_PTRACE is needed: run as root, or with sudo";
        if scope.trim() == "3" {
            return "kernel.yama.ptrace_scope is 3: nobody may look into a process until the next boot".into();
        }
        if own == 0 {
            return "this root has no CAP_SYS_PTRACE (a container's, perhaps), or a security module forbids it".into();
        }
        if self.status.uid != own {
            return format!("it belongs to user {}, this is user {own}; {capability}", self.status.uid);
        }
        match scope.trim() {
            "2" => format!("kernel.yama.ptrace_scope is 2; {capability}"),
            "1" => format!(
                "kernel.yama.ptrace_scope is 1, and it is no child of ours; {capability}, or it calls prctl(PR_SET_PTRACER)"
            ),
            _ => format!("it is marked as not dumpable, or has privileges that we lack; {capability}"),
        }
    }
}

/// All processes with this short name, or whose program's file is called so.
pub(super) fn by_name(name: &str) -> Vec<Tid> {
    let own = sys::own_pid();
    processes().filter(|&pid| pid != own && has_name(pid, name)).collect()
}

fn has_name(pid: Tid, name: &str) -> bool {
    let status = Status::read(pid).unwrap_or_default();
    if status.state == 0 || (status.ended() && procfs::threads(pid).map_or(0, |tids| tids.len()) <= 1) {
        return false;
    }
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let file = exe.as_ref().and_then(|path| path.file_name()).and_then(|file| file.to_str());
    // A program that was replaced on disk is "name (deleted)".
    file.is_some_and(|file| file.trim_end_matches(" (deleted)") == name) || status.name == name
}

fn processes() -> impl Iterator<Item = Tid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<Tid> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.into_iter()
}

/// A process and all that descend from it, itself first.
pub(super) fn tree(root: Tid) -> Vec<Tid> {
    let parent = |pid: Tid| Stat::read(&format!("/proc/{pid}/stat")).ok().map(|stat| stat.ppid as Tid);
    let all: Vec<(Tid, Tid)> = processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&of) = tree.get(at) {
        tree.extend(all.iter().filter(|(pid, parent)| *parent == of && *pid != of).map(|(pid, _)| *pid));
        at += 1;
    }
    // This program itself may be a child of what it captures (a shell); it cannot stop itself.
    let own = sys::own_pid();
    tree.retain(|&pid| pid != own);
    tree
}
