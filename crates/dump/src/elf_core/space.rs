//! From program headers to memory: which bytes the core has, which it left out, which the end of the file took along.
//!
//! What a segment lacks (`p_filesz` < `p_memsz`) is *absent*, not zero. In programs that difference is `.bss`; in cores it
//! is what a filter left out: Linux writes `p_filesz` 0 for filtered mappings and one page for the ELF header of a mapped
//! file (`coredump_filter` bit 4), gdb 0 for read-only file mappings, and neither ever shortens a segment because its
//! tail was zero (zeros are written, as holes). NetBSD alone does shorten: it trims zero words from the end of what it
//! writes, and ends a segment with pages that were never touched (`core_elf32.c` `coredump_writeseghdrs`,
//! `uvm_coredump.c`), so there the tail of a segment that has any bytes is zero. Pages of mapped files that are absent here can be had from the file.
//!
//! *Trap*: `NT_FILE` may name mappings that no segment shows. They are regions too, of unknown protection.

use super::headers::{PT_LOAD, Segment};
use crate::segments::SegmentMemory;
use crate::source::SharedSource;
use crate::{Absence, Backing, FileOffset, Issue, Mapping, ModuleRecord, Os, Permissions, Region, Virt};
use std::sync::Arc;

/// `PT_AARCH64_MEMTAG_MTE`: not memory, but two tags a byte for the memory at `p_vaddr`.
const PT_AARCH64_MEMTAG_MTE: u32 = 0x7000_0002;

/// Memory, and what is missing from it.
pub(super) struct Space {
    pub(super) memory: Arc<SegmentMemory<Virt>>,
    pub(super) regions: Vec<Region>,
    /// Bytes of memory that segments promise past the end of the file.
    pub(super) missing: u64,
}

/// What memory is made of.
pub(super) struct Parts<'a> {
    pub(super) segments: &'a [Segment],
    /// Sorted by address, without overlap.
    pub(super) mappings: &'a [Mapping],
    /// Ranges that are zero where no segment has bytes; sorted by start.
    pub(super) untouched: &'a [(u64, u64)],
}

/// Makes memory and regions of the segments and the sorted mappings.
pub(super) fn build(source: &SharedSource, os: Os, parts: &Parts<'_>, issues: &mut Vec<Issue>) -> Space {
    let Parts { segments, mappings, untouched } = *parts;
    let length = source.len();
    let mut pieces = Vec::with_capacity(segments.len() + 16);
    let mut regions = Vec::with_capacity(segments.len());
    let mut missing = 0u64;
    let mut wrapped = 0usize;
    for segment in segments.iter().filter(|segment| segment.kind == PT_LOAD) {
        let start = segment.vaddr;
        let size = segment.memsz.max(segment.filesz);
        // The last page of the address space ends at 2^64, which no end address can say: its last byte is given up.
        let end = start.checked_add(size).unwrap_or_else(|| {
            wrapped += usize::from(start.wrapping_add(size) != 0);
            u64::MAX
        });
        let promised = start.saturating_add(segment.filesz).min(end);
        let held = segment.filesz.min(length.saturating_sub(segment.offset));
        let present = start.saturating_add(held).min(end);
        missing = missing.saturating_add(promised - present);
        piece(&mut pieces, start, present, Backing::File(FileOffset(segment.offset)));
        piece(&mut pieces, present, promised, Backing::Absent(Absence::Truncated));
        let zero_tail = os == Os::NetBsd && segment.filesz > 0;
        if zero_tail {
            piece(&mut pieces, promised, end, Backing::Zero);
        }
        let untouched = if zero_tail { 0 } else { zero_ranges(promised, end, untouched, &mut pieces) };
        if start < end {
            let flag = |bit| segment.flags & bit != 0;
            regions.push(Region {
                start: Virt(start),
                end: Virt(end),
                permissions: Some(Permissions { read: flag(4), write: flag(2), execute: flag(1) }),
                path: None,
                present_bytes: if zero_tail && present == promised { end - start } else { present - start + untouched },
            });
        }
    }
    if wrapped > 0 {
        issues
            .push(Issue::loss(format!("{wrapped} segments reach past the end of the address space and are cut there")));
    }
    regions.sort_by_key(|region| region.start);
    let regions = name_regions(without_overlap(regions), mappings, &mut pieces);
    let memory = SegmentMemory::new(source.clone(), pieces);
    if memory.overlaps() > 0 {
        issues.push(Issue::remark(format!(
            "{} segments overlap earlier ones; where they do, the one with the lower address counts",
            memory.overlaps()
        )));
    }
    Space { memory: Arc::new(memory), regions, missing }
}

fn piece(pieces: &mut Vec<crate::Segment>, start: u64, end: u64, backing: Backing) {
    if start < end {
        pieces.push(crate::Segment { start: Virt(start), end: Virt(end), backing });
    }
}

/// Adds what a segment does not hold, `start..end`: zero where it was never touched, else absent. Gives the zero bytes.
fn zero_ranges(start: u64, end: u64, untouched: &[(u64, u64)], pieces: &mut Vec<crate::Segment>) -> u64 {
    let (mut at, mut zero) = (start, 0);
    let first = untouched.partition_point(|range| range.0 < start).saturating_sub(1);
    for &(from, to) in untouched.get(first..).unwrap_or_default().iter().take_while(|range| range.0 < end) {
        let (from, to) = (from.max(at), to.min(end));
        if from < to {
            piece(pieces, at, from, Backing::Absent(Absence::NotInDump));
            piece(pieces, from, to, Backing::Zero);
            zero += to - from;
            at = to;
        }
    }
    piece(pieces, at, end, Backing::Absent(Absence::NotInDump));
    zero
}

/// Cuts sorted regions where an earlier one reaches into them, as [`SegmentMemory`] does.
fn without_overlap(regions: Vec<Region>) -> Vec<Region> {
    let mut covered = 0;
    let mut kept = Vec::with_capacity(regions.len());
    for mut region in regions {
        let start = region.start.0.max(covered).min(region.end.0);
        region.present_bytes = region.present_bytes.saturating_sub(start - region.start.0);
        region.start = Virt(start);
        covered = covered.max(region.end.0);
        if region.start < region.end {
            kept.push(region);
        }
    }
    kept
}

/// Gives regions the paths of the files mapped there, cuts them where a file begins or ends, and adds the mappings that
/// no region shows. Both lists are sorted and free of overlaps.
fn name_regions(regions: Vec<Region>, mappings: &[Mapping], pieces: &mut Vec<crate::Segment<Virt>>) -> Vec<Region> {
    let mut named = Vec::with_capacity(regions.len() + mappings.len());
    let mut files = mappings.iter().peekable();
    let mut at = 0; // mappings below this address are done
    let mut unseen = |named: &mut Vec<Region>, mapping: &Mapping, from: u64, to: u64| {
        let from = from.max(mapping.start.0);
        let to = to.min(mapping.end.0);
        if from < to {
            let (start, end) = (Virt(from), Virt(to));
            pieces.push(crate::Segment { start, end, backing: Backing::Absent(Absence::NotInDump) });
            named.push(Region { start, end, permissions: None, path: Some(mapping.path.clone()), present_bytes: 0 });
        }
    };
    for region in regions {
        // Mappings, or parts of one, between the last region and this.
        while let Some(mapping) = files.peek().filter(|mapping| mapping.start < region.start) {
            unseen(&mut named, mapping, at, region.start.0);
            if mapping.end > region.start {
                break;
            }
            files.next();
        }
        let present_end = region.start.0 + region.present_bytes;
        let mut cut = |from: u64, to: u64, path: Option<&String>| {
            if from < to {
                named.push(Region {
                    start: Virt(from),
                    end: Virt(to),
                    permissions: region.permissions,
                    path: path.cloned(),
                    present_bytes: present_end.clamp(from, to) - from,
                });
            }
        };
        at = region.start.0;
        while let Some(mapping) = files.peek().filter(|mapping| mapping.start < region.end) {
            cut(at, mapping.start.0.max(at), None);
            let end = mapping.end.min(region.end).0;
            cut(at.max(mapping.start.0), end, Some(&mapping.path));
            at = at.max(end);
            if mapping.end > region.end {
                break;
            }
            files.next();
        }
        cut(at, region.end.0, None);
        at = region.end.0;
    }
    for mapping in files {
        unseen(&mut named, mapping, at, u64::MAX);
    }
    named
}

/// Sorts mappings and drops what overlaps an earlier one.
pub(super) fn sort_mappings(mappings: &mut Vec<Mapping>, issues: &mut Vec<Issue>) {
    mappings.sort_by_key(|mapping| mapping.start);
    let before = mappings.len();
    let mut covered = 0;
    mappings.retain(|mapping| {
        let keep = mapping.start.0 >= covered;
        if keep {
            covered = mapping.end.0;
        }
        keep
    });
    if mappings.len() < before {
        issues.push(Issue::loss(format!("{} file mappings overlap others and are left out", before - mappings.len())));
    }
}

/// Groups sorted mappings by file: consecutive mappings of one path are one module.
///
/// A mapping of offset 0 behind one of a later offset begins another copy of the same file.
pub(super) fn modules(mappings: &[Mapping]) -> Vec<ModuleRecord> {
    let mut modules: Vec<ModuleRecord> = Vec::new();
    let mut last_offset = 0;
    for mapping in mappings {
        match modules.last_mut() {
            Some(module) if module.path == mapping.path && (mapping.offset > 0 || last_offset == 0) => {
                module.end = mapping.end.0;
            }
            _ => modules.push(ModuleRecord {
                base: mapping.start.0,
                end: mapping.end.0,
                path: mapping.path.clone(),
                ..ModuleRecord::default()
            }),
        }
        last_offset = mapping.offset;
    }
    modules
}

/// Bytes of the whole file as its headers promise it.
pub(super) fn promised_length(segments: &[Segment]) -> u64 {
    segments.iter().filter(|segment| segment.filesz > 0).map(Segment::file_end).max().unwrap_or(0)
}

/// How many segments hold memory tags.
pub(super) fn tag_segments(segments: &[Segment]) -> usize {
    segments.iter().filter(|segment| segment.kind == PT_AARCH64_MEMTAG_MTE).count()
}
