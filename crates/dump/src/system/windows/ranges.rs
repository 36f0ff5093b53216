//! Physical memory as runs of pages that follow one another in the file: a complete dump, and what debuggers write.
//!
//! *Trap*: pages have no offsets of their own. A run that lies about its length moves everything behind it, so what the
//! file cannot hold is [`Absence::Truncated`], never read from somewhere else.

use super::Draft;
use super::header::{UNSET, Width};
use super::stop::DumpKind;
use crate::bytes::Fields;
use crate::source::SharedSource;
use crate::{Absence, Backing, Endian, FileOffset, Phys, Segment, SegmentMemory};

const PAGE: u64 = 4096;

/// Where the list of ranges begins: behind a header of 0x20 bytes and 16 more.
const RDMP: u64 = 0x2000;
const RDMP_RANGES: u64 = 0x2030;

/// Runs of pages, in file order.
struct Runs<'a> {
    source: &'a SharedSource,
    segments: Vec<Segment<Phys>>,
    at: u64,
    missing: u64,
}

impl<'a> Runs<'a> {
    fn new(source: &'a SharedSource, at: u64) -> Self {
        Self { source, segments: Vec::new(), at, missing: 0 }
    }

    /// `false` for a run that no machine has.
    fn push(&mut self, first: u64, pages: u64) -> bool {
        let bytes = pages.checked_mul(PAGE).filter(|&bytes| bytes < 1 << 52);
        let start = first.checked_mul(PAGE).filter(|&start| start < 1 << 52);
        let (Some(bytes), Some(start)) = (bytes, start) else { return false };
        let held = self.source.len().saturating_sub(self.at).min(bytes);
        let segment = |from: u64, to: u64, backing| Segment { start: Phys(from), end: Phys(to), backing };
        if held > 0 {
            self.segments.push(segment(start, start + held, Backing::File(FileOffset(self.at))));
        }
        if held < bytes {
            self.segments.push(segment(start + held, start + bytes, Backing::Absent(Absence::Truncated)));
            self.missing = self.missing.saturating_add(bytes - held);
        }
        self.at = self.at.saturating_add(bytes);
        true
    }

    fn done(self, draft: &mut Draft<'_>) -> SegmentMemory<Phys> {
        if self.missing > 0 {
            draft.missing_bytes = self.missing;
            draft.loss(format!(
                "the file is cut off: {} bytes long, its pages would end at {}",
                self.source.len(),
                self.at
            ));
        }
        let memory = SegmentMemory::new(self.source.clone(), self.segments).with_elsewhere(Absence::NotMapped);
        if memory.overlaps() > 0 {
            draft.remark(format!("{} runs of pages overlap; the first of each was kept", memory.overlaps()));
        }
        memory
    }
}

/// Kind 1: runs in the header, pages right behind it.
pub(super) fn full(draft: &mut Draft<'_>) -> SegmentMemory<Phys> {
    let header = draft.header;
    let layout = header.layout();
    let (width, first) = match header.width() {
        Width::Bits32 => (4, 8),
        Width::Bits64 => (8, 16),
    };
    let fields = header.fields();
    let count = fields.u32(layout.memory).unwrap_or(0);
    let mut runs = Runs::new(draft.source, layout.len as u64);
    // 700 bytes are kept for them.
    let room = (700 - first) / (2 * width);
    let listed = if count == UNSET { 0 } else { count as usize };
    if listed == 0 {
        draft.loss("the header lists no physical memory: its pages cannot be found");
    } else if listed > room {
        draft.loss(format!("the header lists {listed} runs of memory, and has room for {room}"));
    }
    for index in 0..listed.min(room) {
        let at = layout.memory + first + index * 2 * width;
        let (Some(base), Some(pages)) = (fields.uint(at, width), fields.uint(at + width, width)) else { break };
        if !runs.push(base, pages) {
            draft.loss(format!("run {index} of the memory in the header ({base:#x}, {pages:#x} pages) is impossible"));
            break;
        }
    }
    runs.done(draft)
}

/// Kinds 8, 9 and 10: `RDMP`, a list of ranges, and their pages.
pub(super) fn listed(draft: &mut Draft<'_>) -> SegmentMemory<Phys> {
    let empty = |draft: &Draft<'_>| SegmentMemory::new(draft.source.clone(), Vec::new());
    let head = draft.table("the head of the list of ranges", RDMP, 0x30);
    let fields = Fields::new(&head, Endian::Little);
    let known = fields.u32(0) == Some(0x40) && fields.slice(4, 8) == Some(b"RDMPDUMP");
    let (Some(true), Some(metadata), Some(first_page)) = (Some(known), fields.u64(0x10), fields.u64(0x18)) else {
        draft.loss("the list of ranges (RDMP) is missing or cut off");
        return empty(draft);
    };
    if first_page < RDMP_RANGES || metadata.checked_add(0x2020) != Some(first_page) {
        draft.remark(format!("the list of ranges is {metadata:#x} bytes long, and its pages begin at {first_page:#x}"));
    }
    if first_page < RDMP_RANGES {
        draft.loss("the pages would begin within the list of ranges");
        return empty(draft);
    }
    let whole = draft.header.kind() == DumpKind::RangesFull;
    let mut most = (first_page - RDMP_RANGES) / 16;
    let mut total = u64::MAX;
    if whole {
        // Folklore: what ends the list of a complete dump is the number of its pages (kdmp-parser-rs 0.8, parse.rs).
        let count = fields.u32(0x20).unwrap_or(0);
        total = fields.u64(0x28).unwrap_or(0);
        if u64::from(count) > most {
            draft.remark(format!("the list claims {count} ranges, and has room for {most}"));
        } else if count > 0 {
            most = u64::from(count);
        }
    }
    if most > draft.budget.max_items as u64 {
        draft.loss(format!("only the first {} of {most} ranges were read", draft.budget.max_items));
        most = draft.budget.max_items as u64;
    }
    let list = draft.table("the ranges", RDMP_RANGES, most * 16);
    if draft.budget.take(list.len() as u64 * 4).is_err() {
        draft.loss("the ranges were left out: there is no room for them");
        return empty(draft);
    }
    let mut runs = Runs::new(draft.source, first_page);
    let mut pages_so_far = 0u64;
    for range in list.chunks_exact(16) {
        let fields = Fields::new(range, Endian::Little);
        let (Some(first), Some(pages)) = (fields.u64(0), fields.u64(8)) else { break };
        // The list is filled up with zeros; a complete dump may begin at page 0.
        if pages == 0 || (first == 0 && !whole) || pages_so_far >= total {
            break;
        }
        pages_so_far = pages_so_far.saturating_add(pages);
        if !runs.push(first, pages) {
            draft.loss(format!("the range of {pages:#x} pages from {first:#x} on is impossible"));
            break;
        }
    }
    if runs.segments.is_empty() {
        draft.loss("the list of ranges is empty");
    }
    runs.done(draft)
}
