//! ELF core files of Linux and the BSDs, on every processor that [`crate::arch`] has a table for.
//!
//! *What it is not*: it reads no symbols and no link map; modules are what the core's own list of mapped files says.
//!
//! Opening reads headers and notes only; memory is read when it is asked for. `headers` reads the program headers,
//! `notes` walks the notes, `linux`, `freebsd`, `netbsd`, `openbsd`, `hubris` and `own` understand them, `layout` has the
//! registers as data, `space` makes memory of the segments, `judge` says what kind of core it is.
//!
//! *Trap*: a core that is cut off is the normal case (`ulimit -c`, a full disk). All that is there stays readable.

mod freebsd;
mod headers;
mod hubris;
mod judge;
pub(crate) mod layout;
mod linux;
mod machine;
mod netbsd;
mod note_names;
mod notes;
mod openbsd;
mod own;
pub(crate) mod parts;
mod reading;
mod siginfo;
mod signals;
mod space;
mod start_block;

pub(crate) use machine::{arch_of_notes, machine_notes};

use crate::{Budget, Dump, DumpType, Error, Format, FormatReader, Issue, Os, Virt, source::SharedSource};
use headers::{Header, PT_NOTE, Segment};
use reading::Reading;
use std::collections::HashMap;
use std::path::Path;

/// The reader of this container.
pub const READER: FormatReader = FormatReader { name: "ELF core", probe, open };

const AT_PHDR: u64 = 3;
const AT_RANDOM: u64 = 25;
const AT_EXECFN: u64 = 31;
const AT_SYSINFO_EHDR: u64 = 33;

fn probe(head: &[u8]) -> bool {
    headers::is_core(head)
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    open_core(path, source, budget, false)
}

/// Opens a core of which only what stands before its memory is in the source; memory is the caller's business.
pub(crate) fn open_head(source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    open_core(Path::new("the head of a core"), source, budget, true)
}

/// Adds what only memory tells: command line, environment, executable, the kernel's release.
pub(crate) fn read_start_block(dump: &mut Dump, budget: &Budget) {
    start_block::read(dump, budget);
}

fn open_core(path: &Path, source: SharedSource, budget: &Budget, head_only: bool) -> Result<Dump, Error> {
    let broken = |what| Error::Broken { path: path.to_owned(), format: READER.name, what };
    let head =
        crate::source::read_vec(&*source, 0, 64).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let header = Header::parse(&head).map_err(broken)?;
    let mut reading = Reading::new(&header, budget);
    reading.head_only = head_only;
    let segments = header.segments(&*source, budget, &mut reading.issues).map_err(broken)?;
    read_notes(&mut reading, &source, &segments);
    if !head_only && machine::is_machine(&reading, &segments) {
        return Ok(machine::assemble(reading, &source, &segments));
    }
    Ok(assemble(reading, source, &segments))
}

/// Bytes that a core has by its headers, if `source` already holds all of those.
pub(crate) fn promised_length(source: &dyn crate::source::Source) -> Option<u64> {
    let head = crate::source::read_vec(source, 0, 64).ok()?;
    if !headers::is_core(&head) {
        return None;
    }
    Header::parse(&head).ok()?.promised_length(source)
}

/// Visits every note of every note segment.
fn read_notes(reading: &mut Reading<'_>, source: &SharedSource, segments: &[Segment]) {
    for segment in segments.iter().filter(|segment| segment.kind == PT_NOTE) {
        let mut walk = notes::Walk::new(&**source, segment, reading.header.endian);
        while let Some(note) = walk.next() {
            if !reading.record(&note) || reading.budget.in_time().is_err() {
                reading.issues.push(Issue::loss("the rest of the notes is not read"));
                return;
            }
            take_note(reading, &note);
        }
        let cut = segment.file_end() > source.len();
        if reading.head_only {
            // The note at the very end is not here.
        } else if cut && segment.offset >= source.len() {
            reading.issues.push(Issue::loss(format!(
                "the notes (threads, registers, signal) are lost: they stood at offset {}, behind the end of the file",
                segment.offset
            )));
        } else if cut {
            reading.issues.push(Issue::loss("the notes are cut off: threads or registers may be missing"));
        } else if walk.damaged {
            reading.issues.push(Issue::loss("the notes are damaged: what follows the damage is not read"));
        }
    }
}

fn take_note(reading: &mut Reading<'_>, note: &notes::Note<'_>) {
    match note.owner {
        b"CORE" | b"LINUX" => linux::take(reading, note),
        b"FreeBSD" => freebsd::take(reading, note),
        b"AFTERIMAGE" => own::take(reading, note),
        b"Oxide Computer Company" => hubris::take(reading, note),
        // The target description is of the process; gdb writes it behind the last thread.
        b"GDB" if note.kind != 0xff00_0000 => reading.note_of_thread(),
        b"VMCOREINFO" | b"QEMU" | b"VBCORE" | b"VBCPU" | b"ERASEINFO" | b"Xen" => machine::take(reading, note),
        owner if owner.starts_with(b"NetBSD-CORE") => netbsd::take(reading, note),
        owner if owner.starts_with(b"OpenBSD") => openbsd::take(reading, note),
        _ => {}
    }
}

/// Makes the dump of what the notes and the segments gave.
fn assemble(mut reading: Reading<'_>, source: SharedSource, segments: &[Segment]) -> Dump {
    if reading.threads_seen > reading.threads.len() && !reading.threads.is_empty() {
        reading.issues.push(Issue::loss(format!(
            "only the first {} of {} threads are read: the budget is used up",
            reading.threads.len(),
            reading.threads_seen
        )));
    }
    // EI_OSABI counts only when no note told the system: Linux's kernel leaves it 0.
    reading.os = match (reading.os, reading.header.os_abi) {
        (Os::Unknown, 3) => Os::Linux,
        (Os::Unknown, 9) => Os::FreeBsd,
        (os, _) => os,
    };
    reading.os = reading.own_os.unwrap_or(reading.os);
    let mut issues = std::mem::take(&mut reading.issues);
    space::sort_mappings(&mut reading.mappings, &mut issues);
    reading.untouched.sort_unstable();
    let parts = space::Parts { segments, mappings: &reading.mappings, untouched: &reading.untouched };
    let space = space::build(&source, reading.os, &parts, &mut issues);
    let promised = space::promised_length(segments);
    if promised > source.len() && !reading.head_only {
        issues.insert(
            0,
            Issue::loss(format!(
                "the file is cut off: {} of {promised} bytes are missing ({} bytes of memory)",
                promised - source.len(),
                space.missing
            )),
        );
    }
    let tags = space::tag_segments(segments);
    if tags > 0 {
        issues.push(Issue::remark(format!("{tags} segments of memory tags (MTE) are not read")));
    }
    let writer = judge::writer(&reading, segments);
    let has = |kind| reading.notes.iter().any(|note| note.owner == "CORE" && note.kind == kind);
    if writer == Some("kernel") && has(linux::NT_SIGINFO) && !has(linux::NT_FILE) && promised <= source.len() {
        // Folklore: both came with Linux 3.7 and 3.10, so one without the other means that the list grew over its limit.
        issues.push(Issue::remark(
            "the list of mapped files is missing: the kernel leaves it out when it grows over a limit \
             (kernel.core_file_note_size_limit, 4 MiB)",
        ));
    }
    let exception = judge::exception(&reading, writer);
    finish_threads(&mut reading, writer);
    let modules = modules(&mut reading);
    let mut dump = Dump {
        format: Format::ElfCore,
        compression: None,
        dump_type: DumpType::Active,
        os: reading.os,
        os_version: reading.os_version,
        arch: reading.header.arch,
        endian: reading.header.endian,
        pointer_size: reading.header.word(),
        time: reading.time,
        writer: writer.map(str::to_owned),
        process: reading.process,
        threads: reading.threads,
        exception,
        modules,
        unloaded_modules: Vec::new(),
        mappings: reading.mappings,
        regions: space.regions,
        memory: space.memory,
        auxv: reading.auxv,
        handles: reading.handles,
        notes: reading.notes,
        soft_errors: reading.soft_errors,
        issues,
        missing_bytes: space.missing,
        file_size: source.len(),
        machine: None,
        report: None,
    };
    name_special_regions(&mut dump);
    start_block::read(&mut dump, reading.budget);
    dump.dump_type = judge::dump_type(&dump);
    dump
}

/// What is known of threads only when all notes have been read: names, the leader's state and times.
fn finish_threads(reading: &mut Reading<'_>, writer: Option<&str>) {
    let mut names: HashMap<u32, String> = std::mem::take(&mut reading.thread_names).into_iter().collect();
    if !names.is_empty() {
        for thread in &mut reading.threads {
            thread.name = names.remove(&thread.tid).or_else(|| thread.name.take());
        }
    }
    let only = if let [thread] = reading.threads.as_slice() { Some(thread.tid) } else { None };
    let leader = reading.process.pid.or(only);
    if let Some(leader) = leader {
        if let Some(thread) = reading.threads.iter_mut().find(|thread| thread.tid == leader) {
            thread.state = reading.leader_state.map(String::from);
        }
        // The kernel gives the group leader the times of the whole group; gdb leaves them zero.
        let times = reading.times.iter().find(|(tid, ..)| *tid == leader);
        if let Some(&(_, user, system)) = times
            && writer != Some("gcore")
        {
            reading.process.user_time_us.get_or_insert(user);
            reading.process.system_time_us.get_or_insert(system);
        }
    }
    if reading.process.pid.is_none() && reading.os != Os::Unknown {
        reading.process.pid = only;
    }
}

/// Modules by the mappings, with the build-ids that afterimage's own note gives.
fn modules(reading: &mut Reading<'_>) -> Vec<crate::ModuleRecord> {
    let bytes = reading.mappings.iter().map(|m| m.path.len() + size_of::<crate::ModuleRecord>()).sum::<usize>();
    if reading.budget.take(bytes as u64).is_err() {
        return Vec::new();
    }
    let mut modules = space::modules(&reading.mappings);
    for id in std::mem::take(&mut reading.build_ids) {
        let next = modules.partition_point(|module| module.base <= id.base);
        let held = next.checked_sub(1).and_then(|i| modules.get_mut(i));
        if let Some(module) =
            held.filter(|module| id.base < module.end && (id.path.is_empty() || module.path == id.path))
        {
            module.build_id = Some(id.bytes);
        }
    }
    modules
}

/// Names the regions that no file stands behind: the main thread's stack and the vDSO.
fn name_special_regions(dump: &mut Dump) {
    let main = dump.process.pid.and_then(|pid| dump.threads.iter().find(|thread| thread.tid == pid));
    let linux = dump.os == Os::Linux;
    let on_linux = |kind| dump.auxv_value(kind).filter(|_| linux).map(Virt);
    // What the kernel put on the stack at the start says it for certain; a stack pointer may be on another stack.
    let stack = on_linux(AT_EXECFN).or(on_linux(AT_RANDOM)).or_else(|| main.and_then(|thread| thread.registers.sp()));
    let vdso = on_linux(AT_SYSINFO_EHDR);
    let names = [(stack, "[stack]"), (vdso, "[vdso]")];
    for (at, name) in names {
        let Some(at) = at.filter(|at| at.0 != 0) else {
            continue;
        };
        let next = dump.regions.partition_point(|region| region.start <= at);
        if let Some(region) = next.checked_sub(1).and_then(|i| dump.regions.get_mut(i))
            && at < region.end
            && region.path.is_none()
        {
            region.path = Some(name.to_owned());
        }
    }
    if dump.os == Os::Linux && dump.arch == crate::Arch::X86_64 {
        const VSYSCALL: Virt = Virt(0xffff_ffff_ff60_0000);
        if let Some(region) = dump.regions.iter_mut().rev().find(|region| region.start == VSYSCALL) {
            region.path = Some("[vsyscall]".to_owned());
        }
    }
    let in_program = dump.auxv_value(AT_PHDR).map(Virt);
    let executable = in_program.and_then(|at| {
        let next = dump.mappings.partition_point(|mapping| mapping.start <= at);
        dump.mappings.get(next.checked_sub(1)?).filter(|mapping| at < mapping.end)
    });
    if let Some(mapping) = executable {
        dump.process.executable.get_or_insert_with(|| mapping.path.clone());
    }
}
