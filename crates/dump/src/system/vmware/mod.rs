//! VMware's saved states: `.vmss` (suspended), `.vmsn` (snapshot), with the memory inside or in a `.vmem` beside them.
//!
//! *What it is*: physical memory with its holes, and the registers of the processors. Whichever of the two files is opened,
//! the other is looked for beside it under the same name.
//!
//! *What it is not*: a `.vmem` alone says nothing of itself and is a raw image ([`open_vmem`] gives `None` then).
//!
//! ```no_run
//! use afterimage_dump::{Budget, open};
//! let dump = open(std::path::Path::new("machine-Snapshot1.vmsn"), &Budget::default())?;
//! # Ok::<(), afterimage_dump::Error>(())
//! ```
//!
//! *Trap*: a machine with more memory than fits below the hole for devices has its regions in the file one behind the
//! other. Read as one piece, everything above 3 GiB is a gigabyte off.

mod cpus;
mod tags;

use super::machine_dump;
use super::opening::Opening;
use crate::source::{FileSource, SharedSource};
use crate::{
    Absence, Arch, Backing, Budget, Dump, Endian, Error, FileOffset, Format, FormatReader, Issue, Machine, NoteRecord,
    Phys, Segment, SegmentMemory,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tags::{Content, Group, Tag};

/// The reader of the files that describe the machine.
pub(crate) const READER: FormatReader = FormatReader {
    name: NAME,
    probe: |head| tags::word_size(head).is_some(),
    open: |path, source, budget| open(path, source, budget),
};

const NAME: &str = "VMware saved state";
/// Pages of regions are of this size, whatever the guest's are.
const PAGE: u64 = 4096;
/// Regions: a machine has two or three.
const MOST_REGIONS: usize = 4096;

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let opening = Opening { path, format: NAME, source: &source, budget };
    read(&opening, None)
}

/// The dump that a `.vmem` file is a part of: `None` if it has another name, or no `.vmss` or `.vmsn` lies beside it.
pub fn open_vmem(path: &Path, source: &SharedSource, budget: &Budget) -> Option<Result<Dump, Error>> {
    let extension = path.extension()?.to_str()?;
    if !extension.eq_ignore_ascii_case("vmem") {
        return None;
    }
    let (state_path, state) = ["vmss", "vmsn", "VMSS", "VMSN"].iter().find_map(|extension| {
        let path = path.with_extension(extension);
        Some((path.clone(), open_file(&path)?))
    })?;
    let mut head = [0; 16];
    state.read_at(0, &mut head).ok()?;
    tags::word_size(&head)?;
    let opening = Opening { path: &state_path, format: NAME, source: &state, budget };
    Some(read(&opening, Some(source.clone())))
}

fn open_file(path: &Path) -> Option<SharedSource> {
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    Some(Arc::new(FileSource::new(file).ok()?))
}

/// The `.vmem` that belongs to a state.
fn vmem_beside(path: &Path) -> Option<(PathBuf, SharedSource)> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    if extension != "vmss" && extension != "vmsn" {
        return None;
    }
    ["vmem", "VMEM"].iter().find_map(|extension| {
        let path = path.with_extension(extension);
        Some((path.clone(), open_file(&path)?))
    })
}

/// A run of pages: where in the file, where in physical memory, how many.
#[derive(Clone, Copy, Default)]
struct Region {
    file_page: Option<u64>,
    page: Option<u64>,
    size: Option<u64>,
}

/// The `memory` group.
#[derive(Default)]
struct MemoryGroup {
    count: Option<u64>,
    regions: Vec<Region>,
    /// Offset and bytes of the block with the memory, and whether it is packed.
    block: Option<(u64, u64, bool)>,
    problems: Vec<String>,
}

fn read(opening: &Opening<'_>, vmem: Option<SharedSource>) -> Result<Dump, Error> {
    let (groups, problem) = tags::groups(opening)?;
    let mut issues: Vec<Issue> = problem.map(Issue::loss).into_iter().collect();
    let mut memory = MemoryGroup::default();
    let mut cpus = Vec::new();
    for group in &groups {
        match group.name.as_str() {
            "memory" => memory_group(opening, group, &mut memory)?,
            "cpu" => cpus = cpus::read(opening, group)?,
            _ => {}
        }
    }
    issues.extend(memory.problems.iter().map(Issue::loss));
    let (source, base, len) = match (memory.block, vmem) {
        (Some((_, _, true)), _) => {
            issues.push(Issue::loss("the memory is packed in a way that is not read"));
            (opening.source.clone(), 0, 0)
        }
        (Some((at, len, false)), None) => (opening.source.clone(), at, len),
        (_, Some(vmem)) => (vmem.clone(), 0, vmem.len()),
        (None, None) => match vmem_beside(opening.path) {
            Some((_, vmem)) => (vmem.clone(), 0, vmem.len()),
            None => {
                issues.push(Issue::loss(
                    "the memory is in a .vmem file of the same name, which does not lie beside this one",
                ));
                (opening.source.clone(), 0, 0)
            }
        },
    };
    let (segments, missing, problem) = segments(&memory, base, len, source.len());
    issues.extend(problem.map(Issue::remark));
    if missing > 0 {
        issues.push(Issue::loss(format!("the file is cut off: {missing} bytes of memory are missing")));
    }
    let memory = SegmentMemory::new(source.clone(), segments);
    let mut machine = Machine::new(Arc::new(memory));
    machine.page_table = cpus.first().and_then(|cpu| cpu.control("cr3")).map(|cr3| Phys(cr3 & 0x000f_ffff_ffff_f000));
    machine.cpus = cpus;
    let mut dump = machine_dump(Format::Vmware, &source, (Arch::X86_64, Endian::Little), machine);
    dump.writer = Some("vmware".to_owned());
    dump.missing_bytes = missing;
    dump.notes = groups.iter().map(note).collect();
    dump.issues = issues;
    super::look_into(&mut dump);
    Ok(dump)
}

fn note(group: &Group) -> NoteRecord {
    NoteRecord {
        owner: group.name.clone(),
        kind: 0,
        name: Some("group"),
        tid: None,
        offset: group.at,
        size: group.size,
    }
}

fn memory_group(opening: &Opening<'_>, group: &Group, memory: &mut MemoryGroup) -> Result<(), Error> {
    let problem = tags::walk(opening, group, &mut |tag: &Tag, content| {
        let region = |regions: &mut Vec<Region>, set: &dyn Fn(&mut Region)| {
            let number = tag.indices.first().copied().unwrap_or(0) as usize;
            if number < MOST_REGIONS {
                if regions.len() <= number {
                    regions.resize(number + 1, Region::default());
                }
                regions.get_mut(number).into_iter().for_each(set);
            }
        };
        match (tag.name.as_str(), content) {
            ("regionsCount", Content::Value(count)) => memory.count = Some(*count),
            ("regionPageNum", Content::Value(page)) => {
                region(&mut memory.regions, &|region| region.file_page = Some(*page))
            }
            ("regionPPN", Content::Value(page)) => region(&mut memory.regions, &|region| region.page = Some(*page)),
            ("regionSize", Content::Value(size)) => region(&mut memory.regions, &|region| region.size = Some(*size)),
            ("Memory", Content::Block { at, in_memory, packed, .. }) if memory.block.is_none() => {
                memory.block = Some((*at, *in_memory, *packed));
            }
            _ => {}
        }
    })?;
    memory.problems.extend(problem);
    Ok(())
}

/// Where memory lies: `len` bytes of it from `base` on in a file of `file` bytes.
fn segments(memory: &MemoryGroup, base: u64, len: u64, file: u64) -> (Vec<Segment<Phys>>, u64, Option<String>) {
    let count = memory.count.unwrap_or(0).min(MOST_REGIONS as u64) as usize;
    let mut pieces: Vec<(u64, u64, u64)> = Vec::new();
    let mut problem = None;
    for (number, region) in memory.regions.iter().take(count).enumerate() {
        match (region.file_page, region.page, region.size) {
            (Some(from), Some(to), Some(size)) => {
                let bytes = |pages: u64| pages.saturating_mul(PAGE);
                pieces.push((bytes(to), bytes(from), bytes(size)));
            }
            _ => problem = Some(format!("region {number} of the memory is not described")),
        }
    }
    if count == 0 {
        pieces.push((0, 0, len));
    }
    let mut missing = 0u64;
    let mut segments = Vec::new();
    for (start, from, bytes) in pieces {
        let Some(end) = start.checked_add(bytes) else { continue };
        let offset = base.saturating_add(from);
        let here = if len == 0 { 0 } else { file.saturating_sub(offset).min(bytes) };
        let middle = start + here;
        missing = missing.saturating_add(bytes - here);
        segments.push(Segment { start: Phys(start), end: Phys(middle), backing: Backing::File(FileOffset(offset)) });
        // Without any memory file, regions are known and nothing of them is there.
        let why = if len == 0 { Absence::NotInDump } else { Absence::Truncated };
        segments.push(Segment { start: Phys(middle), end: Phys(end), backing: Backing::Absent(why) });
    }
    (segments, if len == 0 { 0 } else { missing }, problem)
}
