//! A process whose threads all stand, written into a core file.
//!
//! *What it is*: collects what a core's notes need, asks [`crate::plan`] for the memory, and calls the writer.
//! *What it is not*: it stops and continues nothing.
//!
//! *Trap*: anything may be missing (the process can be killed under our hands). Registers of the crashed thread are
//! the only thing without which there is no dump; all else becomes a soft error in it.

use crate::memory::{LiveMemory, Reader};
use crate::output::{self, Settings, Unfinished};
use crate::plan::{self, Request};
use crate::procfs::{self, Stat, Status, Vma};
use crate::regs::{self, Machine};
use crate::run::{CaptureError, Captured, NotTaken};
use crate::sys::{self, RawSiginfo, Tid};
use crate::{elf, facts, siginfo};
use afterimage_dump::DumpType;
use afterimage_dump::write::elf_core::{self, Class, Core, Note};
use afterimage_dump::write::notes::{self, FileMapping, Prpsinfo, Prstatus, Time};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

/// Bytes of each stack in a small dump.
const SMALL_STACK: u64 = 1 << 20;
/// Bytes below the stack pointer that belong to the innermost function (x86-64's red zone is 128).
const RED_ZONE: u64 = 256;
/// Bytes kept around what a register points at, in a small dump.
const POINTEE: u64 = 512;

/// The death that a dump is made for.
pub(crate) struct Crash<'a> {
    pub(crate) pid: Tid,
    pub(crate) tid: Tid,
    pub(crate) comm: &'a str,
    /// 0 for a process that is only looked at.
    pub(crate) signal: i32,
    pub(crate) info: &'a RawSiginfo,
    /// Whether the kernel ended the process without telling: then `info` comes from the registers.
    pub(crate) guessed_info: bool,
    /// When the process was stopped.
    pub(crate) start: Instant,
}

/// Another thread of the process.
pub(crate) struct ThreadRef {
    pub(crate) tid: Tid,
    /// Whether it stands, so that its registers can be read.
    pub(crate) stopped: bool,
}

struct Thread {
    tid: Tid,
    name: String,
    status: Status,
    stat: Stat,
    registers: Vec<u8>,
    sets: Vec<Note>,
}

/// Writes a dump of the process into a temporary file.
pub(crate) fn write(crash: &Crash<'_>, others: &[ThreadRef], settings: &Settings) -> Result<Unfinished, CaptureError> {
    let pid = crash.pid;
    let gone = pid as u32;
    let vanished = |_| CaptureError::Vanished { pid: gone };
    let mut soft_errors = Vec::new();
    if crash.guessed_info {
        soft_errors
            .push("the kernel ended the process itself: the signal's information here was made from registers".into());
    }
    let registers = regs::integer(crash.tid).map_err(vanished)?;
    let machine = Machine::of(&registers).ok_or_else(|| CaptureError::Unsupported {
        pid: gone,
        what: format!("its registers have an unknown size of {} bytes", registers.len()),
    })?;
    let mut threads = vec![thread(pid, crash.tid, registers, machine, true)];
    for other in others {
        let tid = other.tid;
        match other_registers(pid, other, machine) {
            Ok(registers) => {
                threads.push(thread(pid, tid, registers, machine, other.stopped));
                if !other.stopped {
                    let text = "did not stop: it is known only from what /proc says of its system call";
                    soft_errors.push(format!("thread {tid} {text}"));
                }
            }
            Err(error) => soft_errors.push(format!("thread {tid}: its registers cannot be read: {error}")),
        }
    }

    // The leader may have ended, and a zombie has no memory: the crashed thread still has it.
    let living = crash.tid;
    let (vmas, with_flags) = procfs::mappings(living).map_err(|source| match source.kind() {
        std::io::ErrorKind::PermissionDenied => NotTaken::NotDumpable.into(),
        std::io::ErrorKind::NotFound => CaptureError::Vanished { pid: gone },
        _ => CaptureError::Read { pid: gone, what: "its memory map", source },
    })?;
    if vmas.is_empty() {
        return Err(CaptureError::Vanished { pid: gone });
    }
    if !with_flags {
        soft_errors.push("the kernel does not show the flags of mappings: MADV_DONTDUMP could not be honoured".into());
    }
    let reader = Reader::new(living);
    let auxv = std::fs::read(format!("/proc/{living}/auxv")).unwrap_or_default();
    let keep = if settings.dump_type == DumpType::Small {
        small(&threads, machine, &vmas, &reader, &auxv)
    } else {
        Vec::new()
    };
    let plan = plan::plan(&Request {
        pid: living,
        dump_type: settings.dump_type,
        vmas: &vmas,
        filter: procfs::coredump_filter(living),
        reader: &reader,
        page: sys::page_size(),
        keep: &keep,
    });
    soft_errors.extend(plan.soft_errors);

    let mut core = Core::new(machine.class, machine.number, sys::page_size());
    core.notes = all_notes(crash, &threads, machine, &vmas, auxv, &reader);
    core.segments = plan.pieces.iter().map(plan::Piece::segment).collect();
    let thread_count = threads.len();
    drop(threads);

    let mut file = output::temporary(&settings.dir)?;
    let mut memory = LiveMemory::new(&reader, &plan.pieces, soft_errors);
    let written = elf_core::write(&core, file.as_file_mut(), &mut memory)
        .map_err(|error| output::write_error(&settings.dir, gone, error))?;
    Ok(Unfinished {
        file,
        dir: settings.dir.clone(),
        comm: crash.comm.to_owned(),
        pid: gone,
        captured: Captured {
            path: PathBuf::new(),
            file_size: written.file_size,
            stored: written.stored,
            threads: thread_count,
            took: crash.start.elapsed(),
            soft_errors: memory.all_errors,
        },
    })
}

fn other_registers(pid: Tid, other: &ThreadRef, machine: &Machine) -> std::io::Result<Vec<u8>> {
    if other.stopped {
        return regs::integer(other.tid);
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{}/syscall", other.tid))?;
    machine.registers_of_waiter(&text).ok_or_else(|| std::io::Error::other("it is running"))
}

fn thread(pid: Tid, tid: Tid, registers: Vec<u8>, machine: &Machine, stopped: bool) -> Thread {
    let mut sets = Vec::new();
    if stopped {
        for &(owner, kind) in machine.sets {
            // A processor without the feature has no such set.
            if let Ok(content) = sys::registers(tid, kind)
                && !content.is_empty()
            {
                sets.push(Note { owner, kind, content });
            }
        }
    }
    // The leader's note carries the times of the whole process, as the kernel writes it.
    let stat = if tid == pid { format!("/proc/{pid}/stat") } else { format!("/proc/{pid}/task/{tid}/stat") };
    let status = Status::read(tid).unwrap_or_default();
    Thread { tid, name: status.name.clone(), status, stat: Stat::read(&stat).unwrap_or_default(), registers, sets }
}

/// All notes in the kernel's order, then afterimage's own.
fn all_notes(
    crash: &Crash<'_>,
    threads: &[Thread],
    machine: &Machine,
    vmas: &[Vma],
    auxv: Vec<u8>,
    reader: &Reader,
) -> Vec<Note> {
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
            // A process that was only looked at has no signal, and zeros would claim one.
            if crash.signal != 0 {
                out.push(Note { owner: "CORE", kind: notes::NT_SIGINFO, content: info });
            }
            out.push(Note { owner: "CORE", kind: notes::NT_AUXV, content: auxv.clone() });
            out.push(notes::file_note(&file_mappings(vmas), sys::page_size(), class));
        }
        out.extend(thread.sets.iter().cloned());
    }
    let names: Vec<(u32, String)> = threads.iter().map(|thread| (thread.tid as u32, thread.name.clone())).collect();
    out.push(notes::thread_names(&names));
    out.push(notes::facts(&facts::collect(crash.tid, &process)));
    out.push(notes::build_ids(&elf::build_ids(reader, vmas)));
    out
}

fn prstatus(crash: &Crash<'_>, thread: &Thread) -> Prstatus {
    Prstatus {
        tid: thread.tid as u32,
        ppid: thread.stat.ppid,
        pgrp: thread.stat.pgrp,
        sid: thread.stat.session,
        signal: crash.signal,
        pending: thread.status.pending,
        blocked: thread.status.blocked,
        times: thread.stat.times.map(time),
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
        uid: thread.status.uid,
        gid: thread.status.gid,
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

/// What a small dump keeps: stacks, what registers point at, and the way to the modules' names.
fn small(threads: &[Thread], machine: &Machine, vmas: &[Vma], reader: &Reader, auxv: &[u8]) -> Vec<Range<u64>> {
    let mut keep = elf::link_map_ranges(reader, auxv, machine.class == Class::Bits64);
    for thread in threads {
        if let Some(sp) = machine.sp(&thread.registers) {
            keep.extend(stack(sp, vmas));
        }
        for value in machine.values(&thread.registers) {
            let start = value.saturating_sub(POINTEE / 4);
            keep.push(start..start.saturating_add(POINTEE));
        }
    }
    keep
}

/// The used part of the stack that `sp` points into. After an overflow it points into the guard below.
fn stack(sp: u64, vmas: &[Vma]) -> Option<Range<u64>> {
    let next = vmas.partition_point(|vma| vma.end <= sp);
    let usable = |vma: &&Vma| vma.permissions.read && vma.start <= sp.saturating_add(SMALL_STACK);
    let vma = vmas.iter().skip(next).take(2).find(usable)?;
    let start = sp.saturating_sub(RED_ZONE).max(vma.start);
    Some(start..vma.end.min(start.saturating_add(SMALL_STACK)))
}
