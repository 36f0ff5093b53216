//! Memory: the list of ranges, their places behind everything else, and what was zero and is not stored.
//!
//! *Trap*: the bytes of `Memory64ListStream` lie one range behind the other from its base on, without any gap between
//! them. Ranges of whole pages keep each other aligned; others do not, and nothing minds.

use super::File;
use crate::minidump::{self, raw};
use crate::write::WriteError;
use crate::write::layout::Placed;
use crate::{Backing, Dump, DumpType};
use std::ops::Range;

/// Below this much memory, a small dump uses 32-bit places: all streams have the rest of 4 GiB.
const SMALL_LIMIT: u64 = 3 << 30;
/// What memory is aligned to.
const PAGE: u64 = 4096;

/// A list of ranges whose places are not filled in yet.
pub(super) enum List {
    /// `MemoryListStream`; its places are in [`File::memory_places`].
    Places32,
    /// `Memory64ListStream`, and where its base stands.
    Base64(usize),
}

/// Writes the list of memory.
pub(super) fn list(file: &mut File<'_>, stored: &[Range<u64>], dump_type: DumpType) -> List {
    let total = stored.iter().fold(0u64, |sum, range| sum.saturating_add(range.end - range.start));
    if dump_type == DumpType::Small && total < SMALL_LIMIT {
        let mut places = Vec::with_capacity(stored.len());
        file.stream(raw::MEMORY_LIST_STREAM, |pen| {
            pen.u32(stored.len() as u32);
            for range in stored {
                let size = (range.end - range.start) as u32;
                pen.u64(range.start);
                pen.u32(size);
                places.push((pen.len() as usize, range.start, size));
                pen.u32(0);
            }
        });
        file.memory_places.extend(places);
        return List::Places32;
    }
    let at = file.stream(raw::MEMORY64_LIST_STREAM, |pen| {
        pen.u64(stored.len() as u64);
        pen.u64(0);
        for range in stored {
            pen.u64(range.start);
            pen.u64(range.end - range.start);
        }
    });
    List::Base64(at + 8)
}

/// Gives each range its place behind `head_len` bytes, and the first byte behind all.
pub(super) fn place(head_len: u64, stored: &[Range<u64>]) -> Result<(Vec<Placed>, u64), WriteError> {
    let too_large = WriteError::TooLarge { what: "memory" };
    let mut at = head_len.next_multiple_of(PAGE);
    let mut placed = Vec::with_capacity(stored.len());
    for range in stored {
        let len = range.end.saturating_sub(range.start);
        placed.push(Placed { start: range.start, len, offset: at });
        let Some(next) = at.checked_add(len) else { return Err(too_large) };
        at = next;
    }
    Ok((placed, at))
}

/// Fills in the places that were left open.
pub(super) fn fill(file: &mut File<'_>, list: &List, placed: &[Placed]) {
    if let List::Base64(at) = list {
        let base = placed.first().map_or(file.pen.len(), |first| first.offset);
        file.pen.fill(*at, base, 8);
    }
    for (at, address, size) in std::mem::take(&mut file.memory_places) {
        let next = placed.partition_point(|placed| placed.start <= address);
        let held = next.checked_sub(1).and_then(|index| placed.get(index));
        let rva = held.and_then(|held| held.offset.checked_add(address - held.start));
        let fits = rva.and_then(|rva| u32::try_from(rva.checked_add(u64::from(size))?).ok()).is_some();
        match rva.filter(|_| fits) {
            Some(rva) => file.pen.fill(at, rva, 4),
            // The size stands before the place: without one, there is no memory here.
            None => file.pen.fill(at - 4, 0, 4),
        }
    }
}

/// What the dump says was zero, without having its bytes.
pub(crate) fn zero(dump: &Dump) -> Vec<Range<u64>> {
    let zero = dump.memory.segments().iter().filter(|segment| segment.backing == Backing::Zero);
    zero.map(|segment| segment.start.0..segment.end.0).collect()
}

/// Writes what was never touched, so that it reads as zero and not as missing.
pub(super) fn untouched(file: &mut File<'_>) {
    let zero = zero(file.dump);
    if !zero.is_empty() {
        file.stream(minidump::UNTOUCHED, |pen| {
            for range in zero {
                pen.u64(range.start);
                pen.u64(range.end);
            }
        });
    }
}
