//! Mach-O cores (`MH_CORE`): of macOS processes by the kernel or lldb, and of firmware.
//!
//! *What it is*: segments are memory by virtual address, LC_THREAD are threads, LC_NOTE are what the writer adds, images
//! are found by their headers in memory and by dyld's list.
//!
//! *What it is not*: the container of kernel cores (`.core.gz` from a panicked Mac's network dump) with its own headers.
//!
//! *Example*: three LC_THREAD and 56 LC_SEGMENT_64 make a process of three threads.
//!
//! *Trap*: a core does not say of what signal it died. The exception state of a thread is the last reason for which it
//! entered the kernel, and a page fault that was served long ago looks the same: it counts only if nothing is mapped at
//! the address, or not in that way.

mod headers;
mod images;
mod notes;
mod threads;

use crate::source::{SharedSource, read_vec};
use crate::{
    Absence, Arch, Backing, Budget, Dump, DumpType, Error, Exception, ExceptionKind, FileOffset, Format, FormatReader,
    Issue, ModuleRecord, Os, Permissions, Process, Region, SegmentMemory, Thread, Virt,
};
use headers::{Header, LC_IDENT, LC_NOTE, LC_THREAD, LC_UNIXTHREAD, MH_CORE};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The reader of this container.
pub const READER: FormatReader = FormatReader { name: "Mach-O core", probe, open };

/// Bytes of load commands that are read: 72 for each of a million segments.
const MAX_COMMANDS: u64 = 96 << 20;

fn probe(head: &[u8]) -> bool {
    Header::parse(head).is_some_and(|header| header.file_type == MH_CORE)
}

/// What the load commands give.
#[derive(Default)]
struct Found {
    segments: Vec<headers::Segment>,
    states: Vec<threads::State>,
    notes: notes::Notes,
    ident: Option<String>,
    seen: u32,
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let broken = |what: &str| Error::Broken { path: path.to_owned(), format: READER.name, what: what.to_owned() };
    let head = read_vec(&*source, 0, 32).map_err(io)?;
    let header = Header::parse(&head).ok_or_else(|| broken("its header is cut off"))?;
    let mut issues = Vec::new();
    let size = u64::from(header.commands_size).min(MAX_COMMANDS).min(source.len());
    budget.take(size).map_err(|why| broken(&format!("its load commands are too large: {why}")))?;
    let bytes = read_vec(&*source, header.size() as u64, usize::try_from(size).unwrap_or(0)).map_err(io)?;
    let found = read_commands(&header, &bytes, &source, budget, &mut issues);
    if found.seen < header.commands {
        issues.push(Issue::loss(format!("only {} of {} load commands can be read", found.seen, header.commands)));
    }
    Ok(assemble(&header, found, source, budget, issues))
}

fn read_commands(
    header: &Header,
    bytes: &[u8],
    source: &SharedSource,
    budget: &Budget,
    issues: &mut Vec<Issue>,
) -> Found {
    let mut found = Found::default();
    for command in headers::commands(header, bytes) {
        found.seen = found.seen.saturating_add(1);
        match command.kind {
            LC_THREAD | LC_UNIXTHREAD => {
                if found.states.len() >= budget.max_threads || budget.take(size_of::<threads::State>() as u64).is_err()
                {
                    issues.push(Issue::loss("further threads are not read: the budget is used up"));
                    break;
                }
                found.states.push(threads::read(header, command.fields));
            }
            LC_NOTE => {
                if found.notes.records.len() < budget.max_items {
                    notes::take(&mut found.notes, source, command.fields, header.endian, budget);
                }
            }
            LC_IDENT => {
                let text = command.fields.cstr(8, 1024).map(|text| String::from_utf8_lossy(text).into_owned());
                found.ident = text.filter(|text| !text.is_empty());
            }
            _ => {
                if let Some(segment) = headers::Segment::read(&command) {
                    if found.segments.len() >= budget.max_items || budget.take(192).is_err() {
                        issues.push(Issue::loss("further segments are not read: the budget is used up"));
                        break;
                    }
                    found.segments.push(segment);
                }
            }
        }
    }
    found
}

/// Memory and regions of the segments, and how many bytes lie behind the end of the file.
fn space(
    segments: &[headers::Segment],
    source: &SharedSource,
    issues: &mut Vec<Issue>,
) -> (SegmentMemory<Virt>, Vec<Region>, u64) {
    let mut pieces = Vec::new();
    let mut regions = Vec::new();
    let mut missing = 0u64;
    for segment in segments {
        let Some(end) = segment.vmaddr.checked_add(segment.vmsize).filter(|&end| end > segment.vmaddr) else {
            continue;
        };
        let in_file = segment.filesize.min(segment.vmsize);
        let there = in_file.min(source.len().saturating_sub(segment.fileoff));
        missing = missing.saturating_add(in_file - there);
        let mut add = |from: u64, to: u64, backing| {
            if from < to {
                pieces.push(crate::Segment { start: Virt(from), end: Virt(to), backing });
            }
        };
        let (present, promised) = (segment.vmaddr + there, segment.vmaddr + in_file);
        add(segment.vmaddr, present, Backing::File(FileOffset(segment.fileoff)));
        add(present, promised, Backing::Absent(Absence::Truncated));
        add(promised, end, Backing::Absent(Absence::NotInDump));
        regions.push(Region {
            start: Virt(segment.vmaddr),
            end: Virt(end),
            permissions: Some(Permissions {
                read: segment.protection & 1 != 0,
                write: segment.protection & 2 != 0,
                execute: segment.protection & 4 != 0,
            }),
            path: (!segment.name.is_empty()).then(|| segment.name.clone()),
            present_bytes: there,
        });
    }
    regions.sort_by_key(|region| region.start);
    let mut last = 0;
    regions.retain(|region| {
        let ok = region.start.0 >= last;
        last = last.max(region.end.0);
        ok
    });
    if missing > 0 {
        issues.insert(0, Issue::loss(format!("the file is cut off: {missing} bytes of memory are missing")));
    }
    let memory = SegmentMemory::new(source.clone(), pieces);
    if memory.overlaps() > 0 {
        issues.push(Issue::remark(format!("{} segments overlap others: the first one holds", memory.overlaps())));
    }
    (memory, regions, missing)
}

fn threads(found: &Found) -> Vec<Thread> {
    let ids = &found.notes.thread_ids;
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    let usable = ids.len() == found.states.len() && unique.len() == ids.len();
    let id = |index: usize| ids.get(index).filter(|_| usable).and_then(|&id| u32::try_from(id).ok());
    let states = found.states.iter().enumerate();
    let threads = states.map(|(index, state)| Thread {
        tid: id(index).unwrap_or(index as u32),
        name: None,
        state: None,
        registers: state.registers,
        signal: None,
        signal_info: None,
        stack: None,
        thread_pointer: None,
        extra_notes: Vec::new(),
    });
    threads.collect()
}

/// The exception that the states of threads tell, if what is mapped agrees.
fn exception(found: &Found, threads: &[Thread], regions: &[Region]) -> Option<Exception> {
    let region = |at: u64| {
        let next = regions.partition_point(|region| region.start.0 <= at);
        regions.get(next.checked_sub(1)?).filter(|region| at < region.end.0)
    };
    for (state, thread) in found.states.iter().zip(threads) {
        let Some(fault) = state.fault else { continue };
        let held = fault.memory.then(|| region(fault.address)).flatten();
        let writable = held.is_some_and(|region| region.permissions.is_some_and(|perms| perms.read && perms.write));
        if writable || fault.memory && regions.is_empty() {
            continue;
        }
        // A fault in readable memory may have been a first read, long served.
        if held.is_some_and(|region| region.permissions.is_some_and(|perms| perms.read)) {
            continue;
        }
        let code = if held.is_some() { 2 } else { fault.code };
        let address = matches!(fault.exception, 1).then_some(Virt(fault.address));
        return Some(Exception {
            tid: Some(thread.tid),
            kind: ExceptionKind::Mach { exception: fault.exception, code, parameters: vec![fault.address] },
            address,
            registers: Some(state.registers),
        });
    }
    None
}

fn os_of(platform: Option<u32>, arch: Arch, version: Option<&str>) -> Os {
    match platform {
        Some(1 | 6) => Os::MacOs,
        Some(2..=5 | 7..=12) => Os::Ios,
        _ if version.is_some_and(|text| text.contains("iPhone") || text.contains("iBoot")) => Os::Ios,
        _ if version.is_some_and(|text| text.contains("Darwin")) => Os::MacOs,
        // Nobody else writes such cores of these processors.
        _ if matches!(arch, Arch::X86 | Arch::X86_64) => Os::MacOs,
        _ => Os::Unknown,
    }
}

fn assemble(header: &Header, mut found: Found, source: SharedSource, budget: &Budget, mut issues: Vec<Issue>) -> Dump {
    let arch = header.arch();
    let (memory, regions, missing) = space(&found.segments, &source, &mut issues);
    let width = arch.info().pointer_size;
    let images = images::find(&memory, width, header.endian, &found.notes.images, budget);
    let program = images.iter().find(|image| images::is_program(image));
    let platform = found.notes.main.as_ref().map(|main| main.3).filter(|&platform| platform != 0);
    let platform = platform.or_else(|| images.iter().find_map(|image| image.platform));
    // Without its program, a core is one that was thinned out: what it does not list may have been mapped.
    let elsewhere = if program.is_some() { Absence::NotMapped } else { Absence::NotInDump };
    let dump_type = match (found.segments.is_empty(), program.is_some()) {
        (true, _) => DumpType::Small,
        (false, true) => DumpType::Complete,
        (false, false) => DumpType::Active,
    };
    let version = found.notes.kernel_version.take().or(found.ident.take());
    let mut process = Process::default();
    if let Some(bits) = found.notes.address_bits {
        process.facts.push(("address_bits".to_owned(), bits.to_string()));
    }
    if let Some(version) = &version {
        process.facts.push(("kernel".to_owned(), version.clone()));
    }
    let program = program.map(|image| image.record.base).or(found.notes.main.as_ref().map(|main| main.1));
    let modules = modules(images, &found.notes);
    process.executable = program
        .and_then(|base| modules.iter().find(|module| module.base == base))
        .and_then(|module| (!module.path.is_empty()).then(|| module.path.clone()));
    process.name = process.executable.as_ref().map(|path| path.rsplit('/').next().unwrap_or(path).to_owned());
    let threads = threads(&found);
    let exception = exception(&found, &threads, &regions);
    if threads.is_empty() {
        issues.push(Issue::loss("there are no threads"));
    }
    Dump {
        format: Format::MachO,
        compression: None,
        dump_type,
        os: os_of(platform, arch, version.as_deref()),
        os_version: None,
        arch,
        endian: header.endian,
        pointer_size: width,
        time: None,
        writer: None,
        process,
        threads,
        exception,
        modules,
        unloaded_modules: Vec::new(),
        mappings: Vec::new(),
        regions,
        file_size: source.len(),
        memory: Arc::new(memory.with_elsewhere(elsewhere)),
        auxv: Vec::new(),
        handles: Vec::new(),
        notes: found.notes.records,
        soft_errors: Vec::new(),
        issues,
        missing_bytes: missing,
        machine: None,
        report: None,
    }
}

/// Images of both sources: headers in memory know ends, notes know names.
fn modules(images: Vec<images::Image>, notes: &notes::Notes) -> Vec<ModuleRecord> {
    let mut modules: Vec<ModuleRecord> = images.into_iter().map(|image| image.record).collect();
    let places: HashMap<u64, usize> = modules.iter().enumerate().map(|(index, module)| (module.base, index)).collect();
    for noted in &notes.images {
        match places.get(&noted.base).and_then(|&index| modules.get_mut(index)) {
            Some(module) => {
                if !noted.path.is_empty() {
                    module.path.clone_from(&noted.path);
                }
                module.build_id = module.build_id.take().or_else(|| noted.build_id.clone());
            }
            // Its header is not in the core: its end is not known, one page is certain.
            None => modules.push(ModuleRecord { end: noted.base.saturating_add(4096), ..noted.clone() }),
        }
    }
    if let Some((_, base, uuid, _)) = &notes.main
        && *base != u64::MAX
        && !modules.iter().any(|module| module.base == *base)
    {
        let (base, build_id) = (*base, Some(uuid.clone()));
        modules.push(ModuleRecord { base, end: base.saturating_add(4096), build_id, ..ModuleRecord::default() });
    }
    for module in modules.iter_mut().filter(|module| module.path.is_empty()) {
        module.path = module.build_id.as_deref().map_or_else(|| "unknown".to_owned(), crate::apple_report::uuid_text);
    }
    modules.sort_by_key(|module| module.base);
    modules.dedup_by_key(|module| module.base);
    modules
}
