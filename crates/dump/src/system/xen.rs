//! Xen's own cores (`xl dump-core`): ELF files without segments, whose sections hold pages and the list of their numbers.
//!
//! *What it is not*: the core that Xen's crash kernel makes; that is a vmcore with Xen's notes.
//!
//! *Trap*: `.xen_pfn` (machines that know their physical addresses) has one number a page, `.xen_p2m` (others) two: the
//! guest's and the host's. A page without number is marked by all ones. (Xen, `docs/misc/dump-core-format.txt`.)

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

/// The reader of this container; it stands before that of ELF cores.
pub const READER: FormatReader = FormatReader { name: "Xen core", probe, open };

const PAGE: u64 = 4096;
/// Section headers that are looked at.
const MAX_SECTIONS: u64 = 256;

/// A core of 64 bits without program headers.
fn probe(head: &[u8]) -> bool {
    let fields = Fields::new(head, Endian::Little);
    let core = head.starts_with(b"\x7fELF\x02\x01") && fields.u16(16) == Some(4);
    core && fields.u16(56) == Some(0) && fields.u64(40).is_some_and(|at| at != 0)
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let broken = |what: &str| Error::Broken { path: path.to_owned(), format: READER.name, what: what.to_owned() };
    let head = read_vec(&*source, 0, 64).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let fields = Fields::new(&head, Endian::Little);
    let sections = sections(&source, fields).ok_or_else(|| broken("its section headers cannot be read"))?;
    let find = |name: &str| sections.iter().find(|section| section.name == name);
    let pages = find(".xen_pages").ok_or_else(|| broken("it has no section .xen_pages"))?;
    let (list, stride) = match (find(".xen_pfn"), find(".xen_p2m")) {
        (Some(list), _) => (list, 8),
        (None, Some(list)) => (list, 16),
        _ => return Err(broken("it has neither a section .xen_pfn nor .xen_p2m")),
    };
    let mut issues = Vec::new();
    let pieces = pieces(&source, pages, list, stride, budget, &mut issues);
    let machine = Machine::new(Arc::new(SegmentMemory::new(source.clone(), pieces)));
    let arch = Arch::from_elf(fields.u16(18).unwrap_or(0), true);
    let mut dump = machine_dump(Format::ElfCore, &source, (arch, Endian::Little), machine);
    dump.writer = Some("xen".to_owned());
    dump.missing_bytes = pages.at.saturating_add(pages.size).saturating_sub(source.len());
    if dump.missing_bytes > 0 {
        issues.insert(
            0,
            Issue::loss(format!("the file is cut off: {} bytes are missing at its end", dump.missing_bytes)),
        );
    }
    dump.issues = issues;
    super::look_into(&mut dump);
    Ok(dump)
}

struct Section {
    name: String,
    at: u64,
    size: u64,
}

fn sections(source: &SharedSource, head: Fields<'_>) -> Option<Vec<Section>> {
    let (at, size, count, names) = (head.u64(40)?, head.u16(58)?, head.u16(60)?, head.u16(62)?);
    let size = usize::from(size).max(64);
    let count = u64::from(count).min(MAX_SECTIONS);
    let table = read_vec(&**source, at, count as usize * size).ok()?;
    let entry = |index: usize| table.get(index * size..).map(|bytes| Fields::new(bytes, Endian::Little));
    let strings = entry(usize::from(names))?;
    let strings = read_vec(&**source, strings.u64(24)?, strings.u64(32)?.min(64 << 10) as usize).ok()?;
    let strings = Fields::new(&strings, Endian::Little);
    let section = |index: usize| {
        let entry = entry(index)?;
        let name = String::from_utf8_lossy(strings.cstr(entry.u32(0)? as usize, 64)?).into_owned();
        Some(Section { name, at: entry.u64(24)?, size: entry.u64(32)? })
    };
    Some((0..count as usize).filter_map(section).collect())
}

/// Runs of pages that follow one another in memory as in the file.
fn pieces(
    source: &SharedSource,
    pages: &Section,
    list: &Section,
    stride: u64,
    budget: &Budget,
    issues: &mut Vec<Issue>,
) -> Vec<Segment<Phys>> {
    const BLOCK: u64 = 1 << 20;
    let count = (list.size / stride).min(pages.size / PAGE);
    let mut pieces: Vec<Segment<Phys>> = Vec::new();
    let mut index = 0;
    while index < count {
        let want = ((count - index) * stride).min(BLOCK);
        let block = read_vec(&**source, list.at.saturating_add(index * stride), want as usize).unwrap_or_default();
        if block.is_empty() {
            issues.push(Issue::loss("the list of page numbers is cut off"));
            break;
        }
        for entry in block.chunks_exact(stride as usize) {
            let number = Fields::new(entry, Endian::Little).u64(0).unwrap_or(u64::MAX);
            let place = pages.at.saturating_add(index * PAGE);
            index += 1;
            let Some(start) = number.checked_mul(PAGE).filter(|start| start.checked_add(PAGE).is_some()) else {
                continue;
            };
            let cut = place.saturating_add(PAGE) > source.len();
            let backing = if cut { Backing::Absent(Absence::Truncated) } else { Backing::File(FileOffset(place)) };
            if let Some(last) = pieces.last_mut()
                && last.end.0 == start
                && follows(last, &backing)
            {
                last.end = Phys(start + PAGE);
                continue;
            }
            if pieces.len() >= budget.max_items || budget.take(2 * size_of::<Segment<Phys>>() as u64).is_err() {
                issues.push(Issue::loss(format!(
                    "only the first {index} of {count} pages are read: the budget is used up"
                )));
                return pieces;
            }
            pieces.push(Segment { start: Phys(start), end: Phys(start + PAGE), backing });
        }
        if (block.len() as u64) < want {
            issues.push(Issue::loss("the list of page numbers is cut off"));
            break;
        }
    }
    pieces
}

fn follows(last: &Segment<Phys>, next: &Backing) -> bool {
    match (last.backing, next) {
        (Backing::File(from), Backing::File(place)) => from.0 + (last.end.0 - last.start.0) == place.0,
        (Backing::Absent(a), Backing::Absent(b)) => a == *b,
        _ => false,
    }
}
