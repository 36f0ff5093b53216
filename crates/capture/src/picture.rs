//! What a dump of a standing process is made of besides its memory: registers, what /proc says, and the notes of both.
//!
//! *What it is*: the part that a crash ([`crate::snapshot`]) and the capture of a running process ([`crate::live`])
//! have in common. *What it is not*: it stops nothing and writes no file.
//!
//! *Example*: `Told::read` may be called before a process is held, `registers_of` only while it is.
//!
//! *Trap*: anything may be missing; the process can be killed at any moment.

use crate::procfs::{Stat, Status, Vma};
use crate::regs::{self, Machine};
use crate::siginfo;
use crate::snapshot::Crash;
use crate::sys::{self, Tid};
use afterimage_dump::write::elf_core::{Class, Note};
use afterimage_dump::write::notes::{self, FileMapping, Prpsinfo, Prstatus, Time};

/// A thread of the dump.
pub(crate) struct Thread {
    pub(crate) tid: Tid,
    pub(crate) told: Told,
    pub(crate) registers: Vec<u8>,
    pub(crate) sets: Vec<Note>,
}

/// Integer registers of a thread; those of one that would not stop as far as /proc tells them.
pub(crate) fn registers_of(pid: Tid, tid: Tid, stopped: bool, machine: &Machine) -> std::io::Result<Vec<u8>> {
    if stopped {
        return regs::integer(tid);
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"))?;
    machine.registers_of_waiter(&text).ok_or_else(|| std::io::Error::other("it is running"))
}

/// The other register sets of a stopped thread.
pub(crate) fn sets_of(tid: Tid, machine: &Machine) -> Vec<Note> {
    let read = |&(owner, kind): &(&'static str, u32)| {
        // A processor without the feature has no such set.
        let content = sys::registers(tid, kind).ok().filter(|content| !content.is_empty())?;
        Some(Note { owner, kind, content })
    };
    machine.sets.iter().filter_map(read).collect()
}

/// What /proc tells of a thread.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) status: Status,
    pub(crate) stat: Stat,
}

impl Told {
    pub(crate) fn read(pid: Tid, tid: Tid) -> Self {
        // The leader's note carries the times of the whole process, as the kernel writes it.
        let stat = if tid == pid { format!("/proc/{pid}/stat") } else { format!("/proc/{pid}/task/{tid}/stat") };
        Self { status: Status::read(tid).unwrap_or_default(), stat: Stat::read(&stat).unwrap_or_default() }
    }
}

/// What a core's notes are made of.
pub(crate) struct Picture<'a> {
    pub(crate) crash: &'a Crash<'a>,
    pub(crate) machine: &'a Machine,
    /// The one that crashed first.
    pub(crate) threads: &'a [Thread],
    pub(crate) vmas: &'a [Vma],
    pub(crate) auxv: &'a [u8],
    pub(crate) facts: &'a [(&'static str, Vec<u8>)],
    pub(crate) build_ids: &'a [notes::BuildId],
}

/// All notes in the kernel's order, then afterimage's own.
pub(crate) fn all_notes(picture: &Picture<'_>) -> Vec<Note> {
    let Picture { crash, machine, threads, vmas, auxv, facts, build_ids } = *picture;
    let class = machine.class;
    let mut out = Vec::new();
    let process = Stat::read(&format!("/proc/{}/stat", crash.pid)).unwrap_or_default();
    for (n, thread) in threads.iter().enumerate() {
        out.push(prstatus(crash, thread).note(class));
        if n == 0 {
            out.push(prpsinfo(crash, thread, &process).note(class));
            let info = match class {
                Class::Bits64 => crash.info.to_vec(),
                Class::Bits32 => siginfo::to_32_bit(crash.info),
            };
            out.push(Note { owner: "CORE", kind: notes::NT_SIGINFO, content: info });
            out.push(Note { owner: "CORE", kind: notes::NT_AUXV, content: auxv.to_vec() });
            out.push(notes::file_note(&file_mappings(vmas), sys::page_size(), class));
        }
        out.extend(thread.sets.iter().cloned());
    }
    let names: Vec<(u32, String)> =
        threads.iter().map(|thread| (thread.tid as u32, thread.told.status.name.clone())).collect();
    out.push(notes::thread_names(&names));
    out.push(notes::facts(facts));
    out.push(notes::build_ids(build_ids));
    out
}

fn prstatus(crash: &Crash<'_>, thread: &Thread) -> Prstatus {
    Prstatus {
        tid: thread.tid as u32,
        ppid: thread.told.stat.ppid,
        pgrp: thread.told.stat.pgrp,
        sid: thread.told.stat.session,
        signal: crash.signal,
        pending: thread.told.status.pending,
        blocked: thread.told.status.blocked,
        times: thread.told.stat.times.map(time),
        registers: thread.registers.clone(),
        has_fp: thread.sets.iter().any(|set| set.kind == notes::NT_FPREGSET),
    }
}

fn prpsinfo(crash: &Crash<'_>, thread: &Thread, process: &Stat) -> Prpsinfo {
    Prpsinfo {
        // It runs, but for us.
        state: b'R',
        nice: process.nice,
        flags: process.flags,
        uid: thread.told.status.uid,
        gid: thread.told.status.gid,
        pid: crash.pid as u32,
        ppid: process.ppid,
        pgrp: process.pgrp,
        sid: process.session,
        comm: crash.comm.as_bytes().to_vec(),
        command_line: std::fs::read(format!("/proc/{}/cmdline", crash.tid)).unwrap_or_default(),
    }
}

/// Clock ticks as seconds and microseconds.
fn time(ticks: u64) -> Time {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    (ticks / per_second, ticks % per_second * 1_000_000 / per_second)
}

fn file_mappings(vmas: &[Vma]) -> Vec<FileMapping> {
    let files = vmas.iter().filter(|vma| vma.file && !vma.special());
    files
        .map(|vma| FileMapping { start: vma.start, end: vma.end, offset: vma.offset, path: vma.path.clone() })
        .collect()
}
