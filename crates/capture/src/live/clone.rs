//! The snapshot: a copy of a held process, made by the kernel as fork makes it, that stands still for us to read.
//!
//! *What it is*: a thread of the process makes a child that shares its memory, the child forks, and ends; the process
//! takes the child's end, so that it keeps no zombie. What remains is the grandchild: an orphan with a copy of all
//! private memory, no open files, no signals, stopped, and killed by the kernel when we end.
//!
//! *What it is not*: it copies no shared memory, and nothing that the process has kept from its children
//! (MADV_DONTFORK, MADV_WIPEONFORK): that must be read while the process is held.
//!
//! *Trap*: only the page tables are copied, some 20 ms a gigabyte of 4 KiB pages. From then on every first write of
//! the process to a page costs it a copy of that page, in its own control group.

use super::hold::{Held, Waited, wait_for_stop};
use super::inject::{Gadgets, Refusal, Remote, Room};
use crate::memory::Reader;
use crate::procfs::Vma;
use crate::sys::{self, AllBlocked, Event, Tid, tracee};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);

const CLONE_VM: u64 = 0x100;
const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
const CLONE_PARENT_SETTID: u64 = 0x0010_0000;
const PR_GET_CHILD_SUBREAPER: u64 = 37;
const CLOSE_RANGE_UNSHARE: u64 = 2;
const PTRACE_O_EXITKILL: i32 = 1 << 20;

/// The copy. Dropping it ends it.
pub(super) struct Copy {
    pub(super) pid: Tid,
    /// What stood where calls borrowed stack: the copy has other bytes there.
    pub(super) borrowed: (u64, Vec<u8>),
}

impl Copy {
    /// Makes a copy of a held process.
    pub(super) fn make(
        held: &Held,
        reader: &Reader,
        vmas: &[Vma],
        gadgets: Gadgets,
        seccomp: bool,
    ) -> Result<Self, Refusal> {
        // Ctrl-C waits until the borrowed thread is home, its child taken, and the copy marked to end with us.
        let _blocked = AllBlocked::new();
        let tids = held.threads.iter().filter(|thread| thread.stopped).map(|thread| thread.tid);
        let room = Room::find(tids, vmas, reader, gadgets).ok_or(Refusal::NoStack)?;
        let mut remote = Remote::begin(&room, reader, gadgets, seccomp, None)?;
        let made = Self::with(&mut remote, reader);
        let ended = remote.end(reader);
        let copy = made?;
        ended?;
        Ok(copy)
    }

    fn with(remote: &mut Remote, reader: &Reader) -> Result<Self, Refusal> {
        // A process that adopts orphans would get the copy as its child.
        let answer = remote.child_id();
        remote.call(libc::SYS_prctl, [PR_GET_CHILD_SUBREAPER, answer, 0, 0, 0, 0], remote.home())?;
        if reader.exact::<4>(answer) != Some([0; 4]) {
            let _ = reader.write(answer, &[0; 4]);
            return Err(Refusal::Because("it adopts orphaned processes, and would adopt the copy".into()));
        }
        let flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_PARENT_SETTID;
        let (stack, id) = (remote.exit_way(), remote.child_id());
        let result = remote.call(libc::SYS_clone, [flags, stack, id, 0, 0, 0], remote.wait_way())?;
        let child = positive("clone", result)?;
        let traced = remote.children.pop();
        let grandchild = if traced.is_some() { Self::fork(remote, traced) } else { Err(Refusal::Lost) };
        // The child has ended, or does so now: it is taken in any case.
        remote.call(libc::SYS_wait4, [child as u64, 0, super::inject::WAIT_ALL, 0, 0, 0], remote.home())?;
        let grandchild = grandchild?;
        let (at, saved) = remote.saved();
        let copy = Self { pid: grandchild, borrowed: (at, saved.to_vec()) };
        if let Some(mut inside) = remote.child(grandchild) {
            // Else a pipe whose writer closes it would not end, and a port could not be opened anew, until we are done.
            let _ = inside.call(
                libc::SYS_close_range,
                [0, u64::from(u32::MAX), CLOSE_RANGE_UNSHARE, 0, 0, 0],
                inside.exit_way(),
            );
        }
        sys::set_options(copy.pid, PTRACE_O_EXITKILL).map_err(|_| Refusal::Lost)?;
        // If memory runs out, the copy is to go, not the process.
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", copy.pid), "1000");
        Ok(copy)
    }

    /// In the child, which shares the memory: forks, and ends it.
    fn fork(remote: &Remote, child: Option<Tid>) -> Result<Tid, Refusal> {
        let child = child.ok_or(Refusal::Lost)?;
        if !matches!(wait_for_stop(child, PATIENCE), Waited::Stopped { .. }) {
            return Err(Refusal::Lost);
        }
        let mut inside = remote.child(child).ok_or(Refusal::Lost)?;
        let way = inside.exit_way();
        let result = inside.call(libc::SYS_clone, [CLONE_FS | CLONE_FILES, way, 0, 0, 0, 0], way);
        let grandchild = inside.children.pop();
        let ended = inside.exit();
        positive("clone", result?)?;
        ended?;
        let grandchild = grandchild.ok_or(Refusal::Lost)?;
        if !matches!(wait_for_stop(grandchild, PATIENCE), Waited::Stopped { .. }) {
            end(grandchild);
            return Err(Refusal::Lost);
        }
        Ok(grandchild)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        end(self.pid);
    }
}

/// Kills a tracee of ours and takes its end.
fn end(pid: Tid) {
    tracee::kill(pid);
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match sys::take_event(pid) {
            Ok(Some(Event::Stopped(..)) | None) => super::hold::pause(start),
            Ok(Some(_)) | Err(_) => return,
        }
    }
}

fn positive(call: &'static str, result: i64) -> Result<Tid, Refusal> {
    if result > 0 {
        return Ok(result as Tid);
    }
    Err(Refusal::Call { call, why: std::io::Error::from_raw_os_error(-result as i32).to_string() })
}
