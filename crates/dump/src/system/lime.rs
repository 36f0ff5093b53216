//! LiME, version 1: ranges of physical memory, each behind a head of 32 bytes.
//!
//! *Trap*: the end address is inclusive. And AVML, which writes the same format, leaves out blocks of zeros, so a gap is
//! not always a place without memory.

use super::machine_dump;
use crate::bytes::Fields;
use crate::machine::Machine;
use crate::source::{SharedSource, read_vec};
use crate::{
    Absence, Arch, Backing, Budget, Dump, Endian, Error, FileOffset, Format, FormatReader, Issue, Phys, Segment,
    SegmentMemory,
};
use std::path::Path;
use std::sync::Arc;

/// The reader of this container.
pub const READER: FormatReader = FormatReader { name: "LiME", probe, open };

/// Bytes of a range's head.
pub(crate) const HEAD: u64 = 32;
pub(crate) const LIME: u32 = 0x4c69_4d45;
pub(crate) const AVML: u32 = 0x4c4d_5641;

/// A range's head: first address and first address behind it.
pub(crate) fn head(bytes: &[u8], magic: u32, version: u32) -> Option<(u64, u64)> {
    let fields = Fields::new(bytes, Endian::Little);
    let (start, last) = (fields.u64(8)?, fields.u64(16)?);
    let known = fields.u32(0)? == magic && fields.u32(4)? == version;
    (known && last >= start && last < u64::MAX).then(|| (start, last + 1))
}

fn probe(bytes: &[u8]) -> bool {
    head(bytes, LIME, 1).is_some()
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut issues = Vec::new();
    let mut pieces = Vec::new();
    let (mut at, mut missing) = (0, 0u64);
    while at < source.len() {
        let bytes = read_vec(&*source, at, HEAD as usize).map_err(io)?;
        let Some((start, end)) = head(&bytes, LIME, 1) else {
            if bytes.iter().any(|&byte| byte != 0) {
                issues.push(Issue::loss(format!(
                    "no range begins at offset {at}, where one should; the rest is not read"
                )));
            }
            break;
        };
        if pieces.len() >= budget.max_items || budget.take(2 * size_of::<Segment<Phys>>() as u64).is_err() {
            issues.push(Issue::loss(format!("only the first {} ranges are read: the budget is used up", pieces.len())));
            break;
        }
        let (from, len) = (at + HEAD, end - start);
        let held = len.min(source.len().saturating_sub(from));
        let middle = Phys(start + held);
        pieces.push(Segment { start: Phys(start), end: middle, backing: Backing::File(FileOffset(from)) });
        pieces.push(Segment { start: middle, end: Phys(end), backing: Backing::Absent(Absence::Truncated) });
        missing = missing.saturating_add(len - held);
        at = from.saturating_add(len);
    }
    if missing > 0 {
        issues.insert(0, Issue::loss(format!("the file is cut off: {missing} bytes of memory are missing at its end")));
    }
    // AVML leaves out blocks of zeros: a gap need not be a place without memory.
    let memory = SegmentMemory::new(source.clone(), pieces).with_elsewhere(Absence::NotInDump);
    if memory.overlaps() > 0 {
        issues.push(Issue::remark(format!("{} ranges overlap earlier ones", memory.overlaps())));
    }
    let machine = Machine::new(Arc::new(memory));
    let mut dump = machine_dump(Format::Lime, &source, (Arch::Other(0), Endian::Little), machine);
    dump.missing_bytes = missing;
    dump.issues = issues;
    super::look_into(&mut dump);
    Ok(dump)
}
