//! The streams that afterimage adds to minidumps. Other readers pass over them.
//!
//! | type | content |
//! |---|---|
//! | 0x41460001 | the head of an ELF core: ELF header, program headers, notes; the memory that it promises is not in it |
//! | 0x41460002 | untouched memory: repeated start u64, end u64: mapped, zero, and therefore not stored |
//! | 0x41460003 | version u32, 0 u32, place u64 and length u64 of the soft errors, which a 32-bit place cannot name in a large file |
//!
//! *What it is not*: the numbers of these streams are nobody's but afterimage's (`AF` in their upper half).
//!
//! *Example*: with the first one a minidump of a Linux process becomes again the core that it was, note by note, and a
//! reader has what no minidump stream holds: AVX registers, `fs_base`, signal information of each thread.
//!
//! *Trap*: what the head says comes from another container's reader. Memory is always this file's.

use super::draft::Draft;
use super::input::{Input, Place};
use super::{mozilla, raw, regions};
use crate::source::{SharedSource, Window};
use crate::{Dump, Format, NoteRecord, elf_core};
use std::sync::Arc;

/// The head of an ELF core.
pub(crate) const ELF_HEAD: u32 = 0x4146_0001;
/// Untouched memory.
pub(crate) const UNTOUCHED: u32 = 0x4146_0002;
/// Where the soft errors are; stands in every minidump that afterimage writes.
pub(crate) const INFO: u32 = 0x4146_0003;

/// The head of the ELF core inside a minidump, as a file of its own.
pub(crate) fn elf_head(dump: &Dump) -> Option<Window> {
    let stream = dump.notes.iter().find(|note| note.owner.is_empty() && note.kind == ELF_HEAD);
    let stream = stream.filter(|_| dump.format == Format::Minidump)?;
    Some(Window::new(dump.memory.source().clone(), stream.offset, stream.size))
}

pub(super) fn read_elf_head(_input: &Input<'_>, place: Place, draft: &mut Draft) {
    draft.elf_head = Some(place);
}

pub(super) fn read_untouched(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let cost = 3 * size_of::<crate::Segment>() + 32;
    let list = input.bounded("AfterimageUntouched", place, 0, place.size / 16, 16);
    input.walk("AfterimageUntouched", list, cost, |fields| {
        draft.untouched.extend(fields.u64(0).zip(fields.u64(8)).filter(|(start, end)| start < end));
    });
}

pub(super) fn read_info(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 24);
    let fields = input.fields(&bytes);
    if let (Some(rva), Some(size)) = (fields.u64(8), fields.u64(16))
        && !draft.has_stream(raw::MOZ_SOFT_ERRORS)
    {
        mozilla::read_soft_errors(input, Place { rva, size }, draft);
    }
}

/// Takes over what the ELF core's head says better than the minidump's streams do.
pub(super) fn apply(input: &Input<'_>, source: &SharedSource, draft: &mut Draft) {
    let Some(place) = draft.elf_head else { return };
    let window = Window::new(source.clone(), place.rva, place.size);
    let head = match elf_core::open_head(Arc::new(window), input.budget) {
        Ok(head) => head,
        Err(error) => {
            input.loss(format!("AfterimageElfHead cannot be read: {error}"));
            return;
        }
    };
    for issue in head.issues {
        if issue.loses_data { input.loss(issue.text) } else { input.remark(issue.text) }
    }
    let dump = &mut draft.dump;
    (dump.os, dump.arch, dump.endian, dump.pointer_size) = (head.os, head.arch, head.endian, head.pointer_size);
    dump.os_version = head.os_version.or(dump.os_version.take());
    dump.time = head.time.or(dump.time);
    dump.auxv = head.auxv;
    dump.mappings = head.mappings;
    dump.modules = head.modules;
    dump.handles = if head.handles.is_empty() { std::mem::take(&mut dump.handles) } else { head.handles };
    dump.regions = head.regions;
    regions::count_present(&mut dump.regions, dump.memory.segments());
    dump.exception = match (dump.exception.take(), head.exception) {
        (Some(_), Some(better)) => Some(better),
        (own, _) => own,
    };

    // Threads keep the places of their contexts and get those of their notes.
    let first_note = dump.notes.len();
    let held = |note: &NoteRecord| note.offset.saturating_add(note.size) <= place.size;
    let shifted = head.notes.into_iter().map(|note| NoteRecord {
        size: if held(&note) { note.size } else { 0 },
        offset: note.offset.saturating_add(place.rva),
        ..note
    });
    dump.notes.extend(shifted);
    let contexts = std::mem::take(&mut dump.threads);
    dump.threads = head.threads;
    for thread in &mut dump.threads {
        let context = draft.threads.get(&thread.tid).and_then(|&place| contexts.get(place));
        let notes = thread.extra_notes.iter().map(|note| note + first_note);
        thread.extra_notes = context.into_iter().flat_map(|thread| thread.extra_notes.clone()).chain(notes).collect();
        thread.stack = context.and_then(|thread| thread.stack);
        thread.name = thread.name.take().or_else(|| context.and_then(|thread| thread.name.clone()));
    }

    // What the streams copied of the same facts is not said twice.
    const COPIES: [&str; 3] = ["proc_status", "proc_limits", "uname"];
    let streams = std::mem::replace(&mut dump.process, head.process);
    let more = streams.facts.into_iter().filter(|(name, _)| !COPIES.contains(&name.as_str()));
    dump.process.facts.extend(more);
    dump.process.pid = dump.process.pid.or(streams.pid);
    dump.process.start_time = dump.process.start_time.or(streams.start_time);
    elf_core::read_start_block(dump, input.budget);
}
