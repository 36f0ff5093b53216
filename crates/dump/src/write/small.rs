//! What a small dump keeps of a bigger one: stacks, what registers point at, and the way to the modules' names.
//!
//! *What it is not*: it follows no pointers in memory but the dynamic linker's list.
//!
//! *Example*: of a core with 8 MiB of stack, of which 20 KiB are in use, those 20 KiB and a page.
//!
//! *Trap*: after an overflow the stack pointer lies in the guard below the stack.

use crate::{Dump, Virt};
use std::ops::Range;

/// Bytes of each stack.
const STACK: u64 = 1 << 20;
/// Bytes below the stack pointer that belong to the innermost function (x86-64's red zone is 128).
const RED_ZONE: u64 = 256;
/// Bytes around what a register points at.
const POINTEE: u64 = 512;

const AT_PAGESZ: u64 = 6;
const AT_RANDOM: u64 = 25;
const AT_SYSINFO_EHDR: u64 = 33;

/// The ranges of `stored` (ascending, apart) that a small dump keeps, by whole pages.
pub(crate) fn select(dump: &Dump, stored: &[Range<u64>]) -> Vec<Range<u64>> {
    let page = dump.auxv_value(AT_PAGESZ).filter(|page| page.is_power_of_two() && *page <= 1 << 16).unwrap_or(4096);
    let mut keep = Vec::new();
    for thread in &dump.threads {
        keep.extend(thread.stack.map(|(start, size)| start.0..start.0.saturating_add(size.min(STACK))));
        keep.extend(thread.registers.sp().and_then(|sp| stack(dump, sp.0)));
        // Behind the thread pointer stand the C library's and the program's thread-local variables.
        let pointers = thread.registers.iter().filter(|(register, _)| register.general).map(|(_, value)| value);
        for value in pointers.chain(thread.thread_pointer.map(|at| at.0)) {
            let start = value.saturating_sub(POINTEE / 4);
            keep.push(start..start.saturating_add(POINTEE));
        }
    }
    // The first page of each module leads to its identity; the kernel's own page has the rules for signal frames.
    keep.extend(dump.modules.iter().map(|module| module.base..module.base.saturating_add(1)));
    for at in [AT_SYSINFO_EHDR, AT_RANDOM].into_iter().filter_map(|kind| dump.auxv_value(kind)) {
        keep.extend(dump.region(Virt(at)).map(|region| at..region.end.0.min(at.saturating_add(4 * page))));
    }
    keep.append(&mut super::link_map::walk(dump).ranges);
    within(pages(keep, page), stored)
}

/// The used part of the stack that `sp` points into.
fn stack(dump: &Dump, sp: u64) -> Option<Range<u64>> {
    let next = dump.regions.partition_point(|region| region.end.0 <= sp);
    let usable = |region: &&crate::Region| {
        region.start.0 <= sp.saturating_add(STACK) && region.permissions.is_none_or(|may| may.read)
    };
    let region = dump.regions.iter().skip(next).take(2).find(usable)?;
    let start = sp.saturating_sub(RED_ZONE).max(region.start.0);
    Some(start..region.end.0.min(start.saturating_add(STACK)))
}

/// The ranges by whole pages, ascending and apart.
fn pages(ranges: Vec<Range<u64>>, page: u64) -> Vec<Range<u64>> {
    let up = |at: u64| at.checked_next_multiple_of(page).unwrap_or(u64::MAX);
    let mut ranges: Vec<Range<u64>> =
        ranges.into_iter().map(|range| range.start / page * page..up(range.end)).collect();
    ranges.retain(|range| range.start < range.end);
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let joined = next.start <= last.end;
        if joined {
            last.end = last.end.max(next.end);
        }
        joined
    });
    ranges
}

/// What two ascending lists of ranges have in common.
fn within(wanted: Vec<Range<u64>>, stored: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    for range in wanted {
        let first = stored.partition_point(|held| held.end <= range.start);
        let held = stored.get(first..).unwrap_or_default().iter().take_while(|held| held.start < range.end);
        out.extend(held.map(|held| held.start.max(range.start)..held.end.min(range.end)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn pages_within_what_is_stored() {
        let wanted = pages(vec![0x1010..0x1020, 0x1ff0..0x2010, 0x9000..0x9001, u64::MAX - 5..u64::MAX], 0x1000);
        assert_eq!(wanted[..2], [0x1000..0x3000, 0x9000..0xa000]);
        assert_eq!(within(wanted, &[0x800..0x1800, 0x2800..0x9800]), [0x1000..0x1800, 0x2800..0x3000, 0x9000..0x9800]);
    }
}
