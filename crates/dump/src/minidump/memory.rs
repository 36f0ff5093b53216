//! Memory: the two memory lists, the threads' stacks, and their merging into segments.
//!
//! *Trap*: `Memory64ListStream` gives sizes only; the bytes lie one range behind the other from one base RVA on, the
//! only 64-bit place in the format. A thread's own stack place is 32 bits wide and wrong in files beyond 4 GiB, so it
//! counts only where no memory list has the stack.

use super::draft::{Draft, Stored};
use super::input::{Input, Place};
use crate::source::SharedSource;
use crate::{Absence, Backing, FileOffset, Memory, Segment, SegmentMemory, Virt};
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of `MINIDUMP_MEMORY_DESCRIPTOR` and of `MINIDUMP_MEMORY_DESCRIPTOR64`.
const DESCRIPTOR: u64 = 16;

pub(super) fn read_memory_list(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let Some(list) = input.list("MemoryListStream", place, DESCRIPTOR) else {
        return;
    };
    input.walk("MemoryListStream", list, COST, |fields| {
        if let (Some(start), Some(size), Some(rva)) = (fields.u64(0), fields.u32(8), fields.u32(12)) {
            draft.stored.push(Stored { start, size: u64::from(size), rva: u64::from(rva) });
        }
    });
}

pub(super) fn read_memory64_list(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let head = input.read(place, 16);
    let fields = input.fields(&head);
    let (Some(count), Some(base)) = (fields.u64(0), fields.u64(8)) else {
        input.loss(format!("Memory64ListStream has {} bytes", head.len()));
        return;
    };
    let list = input.bounded("Memory64ListStream", place, 16, count, DESCRIPTOR);
    let mut rva = base;
    input.walk("Memory64ListStream", list, COST, |fields| {
        if let (Some(start), Some(size)) = (fields.u64(0), fields.u64(8)) {
            draft.stored.push(Stored { start, size, rva });
            rva = rva.saturating_add(size);
        }
    });
}

/// What one range costs at the worst moment: itself, its place in the set of those seen, up to two segments, their
/// sorted copy, an extent, and a region.
const COST: usize = size_of::<Stored>() * 4 + size_of::<Segment>() * 6 + size_of::<crate::Region>();

/// Makes the memory out of everything that was read, and counts what the file should have but does not.
pub(super) fn build(input: &Input<'_>, source: &SharedSource, draft: &mut Draft) {
    let mut ranges = std::mem::take(&mut draft.stored);
    ranges.append(&mut draft.stacks);
    let mut seen = HashSet::new();
    ranges.retain(|range| seen.insert(*range));
    drop(seen);
    let mut segments = Vec::with_capacity(ranges.len());
    for range in &ranges {
        push(input, *range, &mut segments);
    }
    let present = SegmentMemory::new(source.clone(), segments);
    let mut all = present.segments().to_vec();
    // Zero is what was never touched and is not stored.
    fill_gaps(&merged(std::mem::take(&mut draft.untouched)), present.segments(), Backing::Zero, &mut all);
    let present = SegmentMemory::new(source.clone(), all.clone());
    let known = known_ranges(draft);
    fill_gaps(&known, present.segments(), Backing::Absent(Absence::NotInDump), &mut all);
    let elsewhere = if draft.all_regions { Absence::NotMapped } else { Absence::NotInDump };
    let memory = SegmentMemory::new(source.clone(), all).with_elsewhere(elsewhere);
    let missing = memory.extents().into_iter().filter(|extent| extent.absent == Some(Absence::Truncated));
    let missing = missing.fold(0u64, |sum, extent| sum.saturating_add(extent.end.0 - extent.start.0));
    draft.dump.missing_bytes = missing;
    if missing > 0 {
        input.loss(format!("{missing} bytes of memory lie past the end of the file"));
    }
    draft.dump.memory = Arc::new(memory);
}

/// Turns a range into a segment of bytes and, where the file ends before it does, one of lost bytes.
fn push(input: &Input<'_>, range: Stored, segments: &mut Vec<Segment>) {
    let size = if range.start.checked_add(range.size).is_some() {
        range.size
    } else {
        input.loss(format!(
            "a memory range at {:#x} of {:#x} bytes ends past the address space",
            range.start, range.size
        ));
        u64::MAX - range.start
    };
    let have = input.len().saturating_sub(range.rva).min(size);
    let (start, middle, end) = (range.start, range.start + have, range.start + size);
    segments.push(Segment { start: Virt(start), end: Virt(middle), backing: Backing::File(FileOffset(range.rva)) });
    if middle < end {
        segments.push(Segment { start: Virt(middle), end: Virt(end), backing: Backing::Absent(Absence::Truncated) });
    }
}

/// Ranges that were mapped for sure, whether the dump has their bytes or not; ascending and apart.
fn known_ranges(draft: &Draft) -> Vec<(u64, u64)> {
    let regions = draft.regions.iter().map(|region| (region.start.0, region.end.0));
    let modules = draft.dump.modules.iter().map(|module| (module.base, module.end));
    let stacks = draft.dump.threads.iter().filter_map(|thread| thread.stack);
    let stacks = stacks.map(|(start, size)| (start.0, start.0.saturating_add(size)));
    merged(if draft.all_regions { regions.collect() } else { regions.chain(modules).chain(stacks).collect() })
}

/// The ranges in ascending order, those that touch or overlap as one.
fn merged(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.retain(|(start, end)| start < end);
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Adds, for every known range, what of it no segment has.
fn fill_gaps(known: &[(u64, u64)], present: &[Segment], backing: Backing, out: &mut Vec<Segment>) {
    let absent = |start, end| Segment { start: Virt(start), end: Virt(end), backing };
    let mut segments = present.iter().peekable();
    for &(start, end) in known {
        let mut at = start;
        while let Some(segment) = segments.peek() {
            if segment.start.0 >= end {
                break;
            }
            if segment.start.0 > at {
                out.push(absent(at, segment.start.0));
            }
            at = at.max(segment.end.0);
            if segment.end.0 > end {
                break;
            }
            segments.next();
        }
        if at < end {
            out.push(absent(at, end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_no_segment_has() {
        let segment = |start, end| Segment { start: Virt(start), end: Virt(end), backing: Backing::Zero };
        let present = [segment(5, 10), segment(20, 30), segment(30, 55), segment(90, 95)];
        let mut out = Vec::new();
        fill_gaps(&[(0, 25), (40, 50), (52, 60), (70, 80)], &present, Backing::Zero, &mut out);
        let gaps: Vec<_> = out.iter().map(|gap| (gap.start.0, gap.end.0)).collect();
        assert_eq!(gaps, [(0, 5), (10, 20), (55, 60), (70, 80)]);
    }
}
