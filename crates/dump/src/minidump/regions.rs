//! The shape of the address space: `MemoryInfoListStream` of Windows, `/proc/PID/maps` of Linux.
//!
//! *Trap*: `MEM_FREE` entries are in the Windows list too; they are the one kind that is no region. A reserved range is
//! one that nothing can touch, a guard page one that nothing can touch without the thread noticing.

use super::draft::Draft;
use super::input::{Input, Place};
use super::raw;
use crate::{Mapping, Permissions, Region, Virt};

/// Text of the maps that is read: 100 bytes a line, and a process has at most 65 530 mappings unless it is raised.
const MAX_MAPS: usize = 32 << 20;

/// What a region costs: itself, and the segments that say which of its bytes are not in the dump.
const COST: usize = size_of::<Region>() + 4 * size_of::<crate::Segment>();

/// `MINIDUMP_MEMORY_INFO_LIST`: header 16 bytes with a 64-bit count, entries 48 bytes.
pub(super) fn read_memory_info_list(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let Some(list) = input.sized_list("MemoryInfoListStream", place, 8, 48) else {
        return;
    };
    let mut read = 0;
    input.walk("MemoryInfoListStream", list, COST, |fields| {
        read += 1;
        let entry = (fields.u64(0), fields.u64(24), fields.u32(32), fields.u32(36));
        let (Some(start), Some(size), Some(state), Some(protect)) = entry else {
            return;
        };
        if state == raw::MEM_FREE || size == 0 {
            return;
        }
        let committed = state == raw::MEM_COMMIT;
        let guard = committed && protect & raw::PAGE_GUARD != 0;
        // A committed page has some protection; 0 stands where the writer did not know it.
        let known = !committed || protect != 0;
        let permissions = if committed && !guard { permissions(protect) } else { Permissions::default() };
        draft.regions.push(Region {
            start: Virt(start),
            end: Virt(start.saturating_add(size)),
            permissions: known.then_some(permissions),
            path: match (guard, committed) {
                (true, _) => Some("[guard]".to_owned()),
                (_, false) => Some("[reserved]".to_owned()),
                _ => None,
            },
            present_bytes: 0,
        });
    });
    draft.all_regions = read > 0 && read == list.count;
}

/// `PAGE_*` without its modifiers (guard, no cache, write combine).
fn permissions(protect: u32) -> Permissions {
    let (read, write, execute) = match protect & 0xff {
        0x02 => (true, false, false),       // PAGE_READONLY
        0x04 | 0x08 => (true, true, false), // PAGE_READWRITE, PAGE_WRITECOPY
        0x10 => (false, false, true),       // PAGE_EXECUTE
        0x20 => (true, false, true),        // PAGE_EXECUTE_READ
        0x40 | 0x80 => (true, true, true),  // PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_WRITECOPY
        _ => (false, false, false),         // PAGE_NOACCESS
    };
    Permissions { read, write, execute }
}

/// `/proc/PID/maps`.
pub(super) fn read_maps(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, MAX_MAPS);
    let text = String::from_utf8_lossy(&bytes);
    let mut bad = 0usize;
    // Where both streams stand, the first is the shape and this one has the names.
    let described = draft.all_regions;
    let lines = text.trim_end_matches('\0').lines().filter(|line| !line.trim().is_empty());
    for line in lines.take(input.budget.max_items) {
        if !input.book(COST + size_of::<Mapping>() + 2 * line.len()) {
            bad += 1;
            break;
        }
        match maps_line(line) {
            Some((region, mapping)) => {
                if described { &mut draft.region_names } else { &mut draft.regions }.push(region);
                draft.dump.mappings.extend(mapping);
            }
            None => bad += 1,
        }
    }
    if bad > 0 {
        input.loss(format!("MD_LINUX_MAPS: {bad} lines cannot be read"));
    }
    draft.all_regions = described || bad == 0 && !draft.regions.is_empty() && bytes.len() as u64 == place.size;
}

/// `7f51..-7f52.. r-xp 00001000 fd:00 1234   /lib/libc.so`: the path may hold blanks, and may be missing.
fn maps_line(line: &str) -> Option<(Region, Option<Mapping>)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let mut rest = rest.trim_start();
    let mut word = || {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after.trim_start();
        word
    };
    let flags = word().as_bytes();
    let offset = u64::from_str_radix(word(), 16).ok()?;
    let (_device, _inode) = (word(), word());
    let path = (!rest.is_empty()).then(|| rest.to_owned());
    let is = |at: usize, letter: u8| flags.get(at) == Some(&letter);
    let permissions = Permissions { read: is(0, b'r'), write: is(1, b'w'), execute: is(2, b'x') };
    let mapping = path.clone().filter(|path| path.starts_with('/'));
    let mapping = mapping.map(|path| Mapping { start: Virt(start), end: Virt(end), offset, path });
    let region = Region { start: Virt(start), end: Virt(end), permissions: Some(permissions), path, present_bytes: 0 };
    (start < end).then_some((region, mapping))
}

/// Puts the regions in order, gives them their modules' names and the number of bytes that the dump has of each. A dump
/// that describes no regions gets those that follow from its memory and modules, without permissions.
pub(super) fn finish(input: &Input<'_>, draft: &mut Draft) {
    let memory = draft.dump.memory.clone();
    let mut regions = std::mem::take(&mut draft.regions);
    let described = !regions.is_empty();
    if !described {
        let of = |segment: &crate::Segment| {
            let (start, end) = (segment.start, segment.end);
            Region { start, end, permissions: None, path: None, present_bytes: 0 }
        };
        regions = memory.segments().iter().map(of).collect();
    }
    regions.sort_by_key(|region| region.start);
    // Hostile lists overlap; the first keeps the range, as in memory.
    let mut covered = Virt(0);
    for region in &mut regions {
        region.start = region.start.max(covered);
        covered = covered.max(region.end);
    }
    regions.retain(|region| region.start < region.end);
    let mut names = std::mem::take(&mut draft.region_names);
    names.sort_by_key(|region| region.start);
    for region in regions.iter_mut().filter(|region| region.path.is_none()) {
        let next = names.partition_point(|named| named.start <= region.start);
        let named = next.checked_sub(1).and_then(|index| names.get(index)).filter(|named| region.start < named.end);
        // The cost of the text was booked when it was read; a name that goes over many regions is booked again.
        region.path = named.and_then(|named| named.path.clone()).filter(|path| input.book(path.len()));
        if region.path.is_some() {
            continue;
        }
        let modules = &draft.dump.modules;
        let next = modules.partition_point(|module| module.base <= region.start.0);
        let module = next.checked_sub(1).and_then(|index| modules.get(index));
        let module = module.filter(|module| region.start.0 < module.end);
        // A path of 64 KiB over a hundred thousand regions is more than memory holds.
        region.path = module.filter(|module| input.book(module.path.len())).map(|module| module.path.clone());
    }
    if !described {
        regions.dedup_by(|next, last| {
            let joined = last.end == next.start && last.path == next.path;
            if joined {
                last.end = next.end;
            }
            joined
        });
    }
    count_present(&mut regions, memory.segments());
    draft.dump.regions = regions;
}

pub(super) fn count_present(regions: &mut [Region], segments: &[crate::Segment]) {
    let mut first = 0;
    for region in regions {
        while segments.get(first).is_some_and(|segment| segment.end <= region.start) {
            first += 1;
        }
        let inside = segments.iter().skip(first).take_while(|segment| segment.start < region.end);
        let present = inside.filter(|segment| !matches!(segment.backing, crate::Backing::Absent(_)));
        region.present_bytes =
            present.map(|segment| segment.end.min(region.end).0 - segment.start.max(region.start).0).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_lines() {
        let (region, mapping) =
            maps_line("7f01a000-7f01c000 r-xp 00003000 fd:00 99   /a b/lib c.so (deleted)").unwrap();
        assert_eq!((region.start, region.end), (Virt(0x7f01_a000), Virt(0x7f01_c000)));
        assert_eq!(region.permissions.unwrap().to_string(), "r-x");
        let mapping = mapping.unwrap();
        assert_eq!((mapping.offset, mapping.path.as_str()), (0x3000, "/a b/lib c.so (deleted)"));
        let (region, mapping) = maps_line("7ffc0000-7ffd0000 rw-p 00000000 00:00 0     [stack]").unwrap();
        assert_eq!((region.path.as_deref(), mapping), (Some("[stack]"), None));
        let (region, _) = maps_line("1000-2000 ---p 00000000 00:00 0").unwrap();
        assert_eq!((region.path, region.permissions), (None, Some(Permissions::default())));
        assert!(maps_line("2000-1000 rw-p 0 00:00 0").is_none());
        assert!(maps_line("no maps line").is_none());
    }

    #[test]
    fn windows_protection() {
        let text = |protect| permissions(protect).to_string();
        assert_eq!([text(1), text(2), text(4), text(8), text(0x10)], ["---", "r--", "rw-", "rw-", "--x"]);
        assert_eq!([text(0x20), text(0x40), text(0x80), text(0x204)], ["r-x", "rwx", "rwx", "rw-"]);
    }
}
