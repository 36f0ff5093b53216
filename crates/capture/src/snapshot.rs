//! A process whose threads all stand, written into a core file.
//!
//! *What it is*: collects what a core's notes need, asks [`crate::plan`] for the memory, and calls the writer.
//! *What it is not*: it stops and continues nothing.
//!
//! *Trap*: anything may be missing (the process can be killed under our hands). Registers of the crashed thread are
//! the only thing without which there is no dump; all else becomes a soft error in it.

use crate::memory::{LiveMemory, Reader};
use crate::output::{self, Settings, Unfinished};
use crate::picture::{self, Picture, Thread, Told};
use crate::plan::{self, Request};
use crate::procfs::{self, Stat};
use crate::regs::{self, Machine};
use crate::run::{CaptureError, Captured, NotTaken};
use crate::select::{Choice, select};
use crate::sys::{self, RawSiginfo, Tid};
use crate::{elf, facts};
use afterimage_dump::DumpType;
use afterimage_dump::write::elf_core::{self, Core};
use afterimage_dump::write::notes;
use std::path::PathBuf;
use std::time::Instant;

/// Bytes of soft errors that are kept.
const MAX_SOFT_ERRORS: usize = 64 << 10;

/// Bytes of memory in a small dump: enough for the stacks of all threads, and of one thread's surroundings.
pub(crate) fn small_budget(threads: usize) -> u64 {
    const ONCE: u64 = 64 << 10;
    const EACH: u64 = 12 << 10;
    ONCE + EACH * threads as u64
}

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
    let thread = |tid, registers, stopped| Thread {
        tid,
        told: Told::read(pid, tid),
        registers,
        sets: if stopped { picture::sets_of(tid, machine) } else { Vec::new() },
    };
    let mut threads = vec![thread(crash.tid, registers, true)];
    for other in others {
        let tid = other.tid;
        match picture::registers_of(pid, tid, other.stopped, machine) {
            Ok(registers) => {
                threads.push(thread(tid, registers, other.stopped));
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
    let keep = (settings.dump_type == DumpType::Small).then(|| {
        select(&Choice {
            threads: &threads,
            machine,
            vmas: &vmas,
            reader: &reader,
            auxv: &auxv,
            page: sys::page_size(),
            budget: small_budget(threads.len()),
            rest: None,
        })
    });
    let mut plan = plan::plan(&Request {
        pid: living,
        dump_type: settings.dump_type,
        vmas: &vmas,
        filter: procfs::coredump_filter(living),
        reader: &reader,
        page: sys::page_size(),
        keep: keep.as_deref(),
    });
    plan.name_gaps(living);
    soft_errors.append(&mut plan.soft_errors);

    let mut core = Core::new(machine.class, machine.number, sys::page_size());
    let process = Stat::read(&format!("/proc/{pid}/stat")).unwrap_or_default();
    let thread_count = threads.len();
    core.notes = picture::all_notes(&Picture {
        crash,
        machine,
        threads: &threads,
        vmas: &vmas,
        auxv: &auxv,
        facts: &facts::collect(living, &process),
        build_ids: &elf::build_ids(&reader, &vmas),
    });
    core.notes.push(notes::untouched(&plan.untouched()));
    core.notes.push(notes::soft_errors(&soft_errors, MAX_SOFT_ERRORS));
    core.segments = plan.pieces.iter().map(plan::Piece::segment).collect();

    let mut file = output::temporary(&settings.dir)?;
    let mut memory = LiveMemory::new(&reader, living, &plan.pieces);
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
            soft_errors: soft_errors.into_iter().chain(written.soft_errors).collect(),
        },
    })
}
