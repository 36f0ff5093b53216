//! A core taken apart without being understood: what another container needs to make the same core again.
//!
//! *What it is not*: it decodes no note and reads no memory.
//!
//! *Example*: `read(&source, &Budget::default())?.segments` are the PT_LOAD headers, word for word.
//!
//! *Trap*: soft errors that afterimage met while it wrote a core stand in a PT_NOTE of their own at the end of the file.
//! They are no part of the notes: [`Parts::tail_room`] says how much room they had, [`crate::Dump::soft_errors`] has them.

use super::headers::{Header, PT_LOAD, PT_NOTE, Segment};
use super::notes::Walk;
use crate::Budget;
use crate::source::{Source, read_vec};
use crate::write::elf_core::{self, Class, Core};
use crate::write::pen::Pen;
use crate::{Endian, Permissions};

/// Bytes of notes that are taken along; a hostile core has many note segments over the same bytes.
const MAX_NOTES: u64 = 1 << 30;

/// Room for soft errors that is kept.
const MAX_TAIL: usize = 1 << 20;

/// A core without its memory.
pub(crate) struct Parts {
    /// Encoded notes, each padded to 4 bytes.
    pub(crate) raw_notes: Vec<u8>,
    /// PT_LOAD segments in their order.
    pub(crate) segments: Vec<elf_core::Segment>,
    /// Bytes of the note at the very end; 0 if there is none.
    pub(crate) tail_room: usize,
    class: Class,
    endian: Endian,
    machine: u16,
    flags: u32,
    os_abi: u8,
    page_size: u64,
}

/// How many segments are neither notes nor memory; 0 for what is no core.
pub(crate) fn other_segments(source: &dyn Source, budget: &Budget) -> usize {
    let count = || {
        let head = read_vec(source, 0, 64).ok()?;
        let all = Header::parse(&head).ok()?.segments(source, budget, &mut Vec::new()).ok()?;
        Some(all.iter().filter(|segment| ![PT_LOAD, PT_NOTE].contains(&segment.kind)).count())
    };
    count().unwrap_or(0)
}

/// Takes a core apart.
///
/// The error says which field of the header is wrong.
pub(crate) fn read(source: &dyn Source, budget: &Budget) -> Result<Parts, String> {
    let head = read_vec(source, 0, 64).map_err(|error| error.to_string())?;
    let header = Header::parse(&head)?;
    let mut issues = Vec::new();
    let all = header.segments(source, budget, &mut issues)?;
    let loads: Vec<&Segment> = all.iter().filter(|segment| segment.kind == PT_LOAD).collect();
    let mut parts = Parts {
        raw_notes: Vec::new(),
        segments: loads.iter().map(|segment| load(segment)).collect(),
        tail_room: 0,
        class: if header.is_64 { Class::Bits64 } else { Class::Bits32 },
        endian: header.endian,
        machine: header.machine,
        flags: header.flags,
        os_abi: header.os_abi,
        page_size: page_size(&loads),
    };
    let notes: Vec<&Segment> = all.iter().filter(|segment| segment.kind == PT_NOTE).collect();
    let mut left = source.len().min(MAX_NOTES);
    for (place, segment) in notes.iter().enumerate() {
        let last = place > 0 && place + 1 == notes.len();
        if last && is_tail(source, segment, header.endian) {
            parts.tail_room = usize::try_from(segment.filesz).unwrap_or(0).min(MAX_TAIL);
            continue;
        }
        let bytes = encoded(source, segment, header.endian, left);
        left -= bytes.len() as u64;
        if parts.raw_notes.is_empty() {
            // Notes of many threads have hundreds of megabytes: no copy is made of them.
            parts.raw_notes = bytes;
        } else {
            parts.raw_notes.extend_from_slice(&bytes);
        }
        parts.raw_notes.resize(parts.raw_notes.len().next_multiple_of(4), 0);
    }
    Ok(parts)
}

impl Parts {
    /// The same core with other memory segments.
    pub(crate) fn core(self, segments: Vec<elf_core::Segment>) -> Core {
        let mut core = Core::new(self.class, self.machine, self.page_size);
        core.endian = self.endian;
        core.flags = self.flags;
        core.os_abi = self.os_abi;
        core.raw_notes = self.raw_notes;
        core.segments = segments;
        core.tail_room = self.tail_room;
        core
    }
}

fn load(segment: &Segment) -> elf_core::Segment {
    let flag = |bit| segment.flags & bit != 0;
    elf_core::Segment {
        start: segment.vaddr,
        memory_size: segment.memsz.max(segment.filesz),
        file_size: segment.filesz,
        permissions: Permissions { read: flag(4), write: flag(2), execute: flag(1) },
    }
}

/// The alignment that the segments keep: gdb writes 1, the kernel the size of a page.
fn page_size(loads: &[&Segment]) -> u64 {
    let page = loads.iter().map(|segment| segment.align).max().unwrap_or(0);
    let kept = |page: u64| loads.iter().all(|segment| segment.vaddr.is_multiple_of(page));
    if page.is_power_of_two() && page <= 1 << 16 && kept(page) { page } else { 1 }
}

/// Whether a note segment holds nothing but soft errors of afterimage's, or would, had the file not been cut before it.
fn is_tail(source: &dyn Source, segment: &Segment, endian: Endian) -> bool {
    if segment.offset >= source.len() {
        return true;
    }
    let mut walk = Walk::new(source, segment, endian);
    let own = walk.next().is_some_and(|note| note.owner == b"AFTERIMAGE" && super::own::small(note.kind) == 1);
    own && walk.next().is_none()
}

/// The whole notes of a segment, as they stand there, or anew if they are padded in another way.
fn encoded(source: &dyn Source, segment: &Segment, endian: Endian, limit: u64) -> Vec<u8> {
    let mut walk = Walk::new(source, segment, endian);
    let aligned_to_4 = segment.align != 8;
    let mut end = segment.offset;
    let mut anew = Pen::new(endian);
    while let Some(note) = walk.next() {
        if note.offset.saturating_add(note.size) > source.len() {
            break;
        }
        if !aligned_to_4 {
            anew.u32(note.owner.len() as u32 + 1);
            anew.u32(note.size as u32);
            anew.u32(note.kind);
            anew.bytes(note.owner);
            anew.u8(0);
            anew.align(4);
            anew.bytes(note.content.bytes());
            anew.align(4);
        }
        end = walk.position();
        if end - segment.offset > limit {
            return anew.done();
        }
    }
    if !aligned_to_4 {
        return anew.done();
    }
    let len = end.min(source.len()).saturating_sub(segment.offset).min(limit);
    read_vec(source, segment.offset, len as usize).unwrap_or_default()
}
