//! An ELF core made up from a minidump that never was one: what debuggers of Linux can use of it.
//!
//! *What it is not*: the notes are [`super::notes`]'.
//!
//! *Example*: each region becomes a PT_LOAD; where only some pages of it are in the dump, several.
//!
//! *Trap*: memory of a minidump begins and ends anywhere. As soon as one range does not begin with a page, the whole core
//! is packed without alignment (`p_align` 1, as gdb writes it), or readers would look for bytes in the wrong place.

use super::notes;
use crate::write::cut;
use crate::write::elf_core::{Class, Core, Segment};
use crate::{Dump, Permissions};
use std::ops::Range;

const PAGE: u64 = 4096;

/// Makes the core; what it cannot hold is added to `lost`.
pub(super) fn core(dump: &Dump, stored: &[Range<u64>], lost: &mut Vec<String>) -> Core {
    let class = if dump.pointer_size == 8 { Class::Bits64 } else { Class::Bits32 };
    let segments = segments(dump, stored);
    let aligned = segments.iter().filter(|segment| segment.file_size > 0).all(|s| s.start.is_multiple_of(PAGE));
    let mut core = Core::new(class, dump.arch.elf_machine(), if aligned { PAGE } else { 1 });
    core.endian = dump.endian;
    core.notes = notes::all(dump, class, lost);
    core.segments = segments;
    if dump.regions.iter().any(|region| region.permissions.is_none()) {
        lost.push(
            "the protection of some memory is not known: it is written as that of code in modules, of data elsewhere"
                .into(),
        );
    }
    core
}

/// The regions and the memory outside of them, cut to what is stored.
fn segments(dump: &Dump, stored: &[Range<u64>]) -> Vec<Segment> {
    let in_module = |at: u64| {
        let next = dump.modules.partition_point(|module| module.base <= at);
        next.checked_sub(1).and_then(|index| dump.modules.get(index)).is_some_and(|module| at < module.end)
    };
    let guess = |at| {
        let code = in_module(at);
        Permissions { read: true, write: !code, execute: code }
    };
    let segment = |start: u64, end: u64, permissions: Option<Permissions>| Segment {
        start,
        memory_size: end - start,
        file_size: end - start,
        permissions: permissions.unwrap_or_else(|| guess(start)),
    };
    let mut wanted: Vec<Segment> =
        dump.regions.iter().map(|region| segment(region.start.0, region.end.0, region.permissions)).collect();
    for range in stored {
        let mut at = range.start;
        let first = dump.regions.partition_point(|region| region.end.0 <= at);
        for region in dump.regions.iter().skip(first).take_while(|region| region.start.0 < range.end) {
            if at < region.start.0 {
                wanted.push(segment(at, region.start.0, None));
            }
            at = at.max(region.end.0);
        }
        if at < range.end {
            wanted.push(segment(at, range.end, None));
        }
    }
    cut::segments(&wanted, stored)
}
