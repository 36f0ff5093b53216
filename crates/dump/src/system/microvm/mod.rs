//! Memory files of Firecracker and cloud-hypervisor.
//!
//! *What it is*: guest memory without any header, placed by what lies beside it: Firecracker's state file, or
//! cloud-hypervisor's `state.json`.
//!
//! *What it is not*: it reads no registers; both programs write them in forms that change with every version.
//!
//! *Trap*: the file has no hole where the guest has one. On x86-64 what stands behind the low memory belongs to 4 GiB, on
//! arm64 the first byte belongs to 1 or 2 GiB.

mod cloud;
mod firecracker;

use super::machine_dump;
use super::opening::Opening;
use crate::source::{FileSource, SharedSource};
use crate::{
    Absence, Arch, Backing, Budget, Dump, Endian, Error, FileOffset, Format, Issue, Machine, Phys, Segment,
    SegmentMemory,
};
use std::path::Path;
use std::sync::Arc;

/// A run of guest memory, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    length: u64,
}

/// What the files beside a memory file say of it.
struct Described {
    program: &'static str,
    arch: Arch,
    ranges: Vec<Range>,
    remarks: Vec<String>,
}

/// Opens a memory file that files beside it describe; `None` if there are none.
pub fn open_sibling(path: &Path, source: &SharedSource, budget: &Budget) -> Option<Result<Dump, Error>> {
    if source.len() < 4096 || !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return None;
    }
    let described = cloud::describe(path, source.len()).or_else(|| firecracker::describe(path, source.len()))?;
    let opening = Opening { path, format: "microVM memory", source, budget };
    Some(open(&opening, described))
}

fn open(opening: &Opening<'_>, described: Described) -> Result<Dump, Error> {
    opening.book("ranges of memory", described.ranges.len() as u64 * 96)?;
    let len = opening.source.len();
    let mut segments = Vec::new();
    let mut offset = 0u64;
    let mut missing = 0u64;
    for range in &described.ranges {
        let Some(end) = range.start.checked_add(range.length) else {
            return Err(
                opening.broken(format!("a range of memory past the end of all addresses, at {:#x}", range.start))
            );
        };
        let here = len.saturating_sub(offset).min(range.length);
        let middle = Phys(range.start + here);
        segments.push(Segment { start: Phys(range.start), end: middle, backing: Backing::File(FileOffset(offset)) });
        segments.push(Segment { start: middle, end: Phys(end), backing: Backing::Absent(Absence::Truncated) });
        missing = missing.saturating_add(range.length - here);
        offset = offset.saturating_add(range.length);
    }
    let machine = Machine::new(Arc::new(SegmentMemory::new(opening.source.clone(), segments)));
    let mut dump = machine_dump(Format::MicroVm, opening.source, (described.arch, Endian::Little), machine);
    dump.writer = Some(described.program.to_owned());
    dump.missing_bytes = missing;
    dump.issues.extend(described.remarks.into_iter().map(Issue::remark));
    if missing > 0 {
        dump.issues.push(Issue::loss(format!("the file is cut off: {missing} bytes of memory are missing")));
    } else if offset < len {
        dump.issues.push(Issue::remark(format!("{} bytes behind the described memory are left over", len - offset)));
    }
    super::look_into(&mut dump);
    Ok(dump)
}

/// The first bytes of a file beside another one, at most so many.
fn read_file(path: &Path, most: usize) -> Option<Vec<u8>> {
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    crate::source::read_vec(&FileSource::new(file).ok()?, 0, most).ok()
}
