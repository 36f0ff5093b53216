//! The kernel's core inside the container: a 64-bit Mach-O core.
//!
//! *What it is not*: the reader of cores of processes; it knows no images and no `LC_NOTE`.

use crate::bytes::Fields;
use crate::machine::Machine;
use crate::system::opening::Opening;
use crate::system::{machine_dump, named_registers};
use crate::{
    Absence, Arch, Backing, Cpu, Dump, Endian, Error, FileOffset, Format, Issue, Os, Permissions, Phys, Region,
    Segment, SegmentMemory, Virt,
};
use std::sync::Arc;

const MAGIC_64: u32 = 0xfeed_facf;
const MH_CORE: u32 = 4;
const LC_THREAD: u32 = 4;
const LC_SEGMENT_64: u32 = 0x19;
const HEADER: u64 = 32;
/// Bytes of load commands that are read.
const MOST_COMMANDS: u64 = 64 << 20;

pub(super) fn is_core(head: &[u8]) -> bool {
    let fields = Fields::new(head, Endian::Little);
    fields.u32(0) == Some(MAGIC_64) && fields.u32(12) == Some(MH_CORE)
}

pub(super) fn open(opening: &Opening<'_>) -> Result<Dump, Error> {
    let head = opening.exactly("the Mach-O header", 0, HEADER as usize)?;
    if !is_core(&head) {
        return Err(opening.broken("it is no 64-bit Mach-O core"));
    }
    let fields = Fields::new(&head, Endian::Little);
    let arch = match fields.u32(4) {
        Some(0x0100_0007) => Arch::X86_64,
        Some(0x0100_000c) => Arch::Aarch64,
        other => return Err(opening.broken(format!("the unknown processor {other:#x?}"))),
    };
    let count = fields.u32(16).unwrap_or(0) as usize;
    let size = u64::from(fields.u32(20).unwrap_or(0)).min(MOST_COMMANDS).min(opening.source.len());
    opening.book("load commands", size.saturating_mul(4))?;
    let commands = opening.upto(HEADER, size as usize)?;
    let mut issues = Vec::new();
    let mut segments = Vec::new();
    let mut regions = Vec::new();
    let mut cpus = Vec::new();
    let mut missing = 0u64;
    let mut at = 0usize;
    for _ in 0..count.min(opening.budget.max_items) {
        let rest = commands.get(at..).unwrap_or_default();
        let fields = Fields::new(rest, Endian::Little);
        let (Some(kind), Some(len)) = (fields.u32(0), fields.u32(4).map(|len| len as usize)) else {
            issues.push(Issue::loss("the load commands are cut off"));
            break;
        };
        let Some(command) = rest.get(..len).filter(|_| len >= 8) else {
            issues.push(Issue::loss(format!("a load command of {len} bytes at {at:#x}")));
            break;
        };
        let fields = Fields::new(command, Endian::Little);
        match kind {
            LC_SEGMENT_64 => missing += segment(opening, fields, &mut segments, &mut regions),
            LC_THREAD if cpus.len() < opening.budget.max_threads => cpus.push(thread(arch, cpus.len() as u32, command)),
            _ => {}
        }
        at += len;
    }
    if missing > 0 {
        issues.push(Issue::loss(format!("the core is cut off: {missing} bytes of memory are missing")));
    }
    let memory = SegmentMemory::new(opening.source.clone(), segments).with_elsewhere(Absence::NotInDump);
    let nothing = SegmentMemory::<Phys>::new(opening.source.clone(), Vec::new()).with_elsewhere(Absence::NotInDump);
    let mut machine = Machine::new(Arc::new(nothing));
    machine.page_size = if arch == Arch::Aarch64 { 16_384 } else { 4096 };
    machine.cpus = cpus;
    let memory = Arc::new(memory);
    machine.virtual_memory = Some(memory.clone());
    let mut dump = machine_dump(Format::MacOsKernel, opening.source, (arch, Endian::Little), machine);
    for thread in &mut dump.threads {
        thread.name = None;
    }
    dump.memory = memory;
    dump.regions = regions;
    dump.os = Os::MacOs;
    dump.missing_bytes = missing;
    dump.issues = issues;
    Ok(dump)
}

/// Command (8), name (16), address, bytes, place, bytes in the file, protection (most, first); gives what is missing.
fn segment(
    opening: &Opening<'_>,
    fields: Fields<'_>,
    segments: &mut Vec<Segment<Virt>>,
    regions: &mut Vec<Region>,
) -> u64 {
    let (Some(start), Some(bytes), Some(offset), Some(stored)) =
        (fields.u64(24), fields.u64(32), fields.u64(40), fields.u64(48))
    else {
        return 0;
    };
    let Some(end) = start.checked_add(bytes) else { return 0 };
    let stored = stored.min(bytes);
    let here = opening.source.len().saturating_sub(offset).min(stored);
    let mut put = |from: u64, to: u64, backing| {
        segments.push(Segment { start: Virt(start + from), end: Virt(start + to), backing });
    };
    put(0, here, Backing::File(FileOffset(offset)));
    put(here, stored, Backing::Absent(Absence::Truncated));
    put(stored, bytes, Backing::Absent(Absence::NotInDump));
    let permissions =
        fields.u32(60).map(|bits| Permissions { read: bits & 1 != 0, write: bits & 2 != 0, execute: bits & 4 != 0 });
    regions.push(Region { start: Virt(start), end: Virt(end), permissions, path: None, present_bytes: here });
    stored - here
}

/// States one behind the other: which (4), words (4), content.
///
/// Folklore (mach/i386/thread_status.h, mach/arm/thread_status.h): 4 is x86-64's state, 7 wraps it in a header of its own,
/// 6 is arm64's.
fn thread(arch: Arch, index: u32, command: &[u8]) -> Cpu {
    const X86_64: [&str; 21] = [
        "rax", "rbx", "rcx", "rdx", "rdi", "rsi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "rip", "eflags", "cs", "fs", "gs",
    ];
    let fields = Fields::new(command, Endian::Little);
    let mut values: Vec<(String, u64)> = Vec::new();
    let mut at = 8;
    while let (Some(flavour), Some(words)) = (fields.u32(at), fields.u32(at + 4)) {
        let state = at + 8;
        let inner = if flavour == 7 && arch == Arch::X86_64 { state + 8 } else { state };
        let known = match (arch, flavour) {
            (Arch::X86_64, 7) => fields.u32(state) == Some(4),
            (Arch::X86_64, flavour) => flavour == 4,
            (_, flavour) => flavour == 6,
        };
        if known && arch == Arch::X86_64 {
            let value = |(i, name): (usize, &&str)| Some(((*name).to_owned(), fields.u64(inner + 8 * i)?));
            values.extend(X86_64.iter().enumerate().filter_map(value));
        } else if known {
            let names = (0..29).map(|i| format!("x{i}")).chain(["fp", "lr", "sp", "pc"].map(str::to_owned));
            values.extend(names.enumerate().filter_map(|(i, name)| Some((name, fields.u64(inner + 8 * i)?))));
            values.extend(fields.u32(inner + 264).map(|cpsr| ("cpsr".to_owned(), u64::from(cpsr))));
        }
        let Some(next) = (words as usize).checked_mul(4).and_then(|bytes| state.checked_add(bytes)) else { break };
        at = next;
    }
    let values: Vec<(&str, u64)> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    Cpu { index, pid: None, registers: named_registers(arch, &values), control: Vec::new() }
}
