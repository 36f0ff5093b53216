//! Threads: contexts, stacks, names.
//!
//! *Trap*: the TEB's place stays 0 on systems that have none. It could hold the thread pointer, but readers look for
//! Windows' last error behind it.

use super::{File, contexts};
use crate::minidump::raw;
use crate::{Os, Thread};
use std::ops::Range;

/// Most bytes of a stack that a thread's own entry names.
const STACK: u64 = 8 << 20;
/// Bytes below the stack pointer that belong to the innermost function (x86-64's red zone is 128).
const RED_ZONE: u64 = 256;
/// How far above the stack pointer the stack may begin: after an overflow it points into the guard below.
const GUARD: u64 = 1 << 20;

/// Place and size of a context; size 0 is none.
pub(super) type Context = (u32, u32);

/// Writes `ThreadListStream`, and gives each thread's context.
pub(super) fn thread_list(file: &mut File<'_>, stored: &[Range<u64>]) -> Vec<Context> {
    let dump = file.dump;
    let mut places = Vec::with_capacity(dump.threads.len());
    // Contexts of a hostile file overlap: copies of all of them have no more bytes than the file.
    let mut left = dump.file_size;
    for thread in &dump.threads {
        let context = contexts::of_thread(dump, thread, left).unwrap_or_default();
        left = left.saturating_sub(context.len() as u64);
        file.pen.align(16);
        let rva = if context.is_empty() { 0 } else { file.pen.rva() };
        file.pen.bytes(&context);
        places.push((rva, context.len() as u32));
    }
    let windows = dump.os == Os::Windows;
    let mut stacks = Vec::new();
    file.stream(raw::THREAD_LIST_STREAM, |pen| {
        pen.u32(dump.threads.len() as u32);
        for (thread, &(rva, size)) in dump.threads.iter().zip(&places) {
            pen.u32(thread.tid);
            pen.u32(suspended(thread));
            pen.u32(0);
            pen.u32(0);
            pen.u64(thread.thread_pointer.filter(|_| windows).map_or(0, |at| at.0));
            let stack = stack(file.dump, thread, stored);
            let len = stack.end.saturating_sub(stack.start) as u32;
            pen.u64(stack.start);
            pen.u32(len);
            if len > 0 {
                stacks.push((pen.len() as usize, stack.start, len));
            }
            pen.u32(0);
            pen.u32(size);
            pen.u32(rva);
        }
    });
    file.memory_places.extend(stacks);
    places
}

/// How often a thread was suspended, as the reader of a minidump keeps it.
fn suspended(thread: &Thread) -> u32 {
    let count = thread.state.as_deref().and_then(|state| state.strip_prefix("suspended "));
    count.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// The part of a thread's stack that is stored; an empty range at the stack pointer if none is.
fn stack(dump: &crate::Dump, thread: &Thread, stored: &[Range<u64>]) -> Range<u64> {
    let named = thread.stack.map(|(start, size)| start.0..start.0.saturating_add(size));
    let Some(sp) = thread.registers.sp().map(|sp| sp.0).or(named.as_ref().map(|named| named.start)) else {
        return 0..0;
    };
    let low = sp.saturating_sub(RED_ZONE);
    let next = stored.partition_point(|range| range.end <= sp);
    let near = |range: &&Range<u64>| range.start <= sp.saturating_add(GUARD);
    let Some(held) = stored.get(next).filter(near) else {
        return low..low;
    };
    // A stack ends with its region, however close the next one lies.
    let region = dump.region(crate::Virt(sp.max(held.start))).map_or(held.end, |region| region.end.0);
    let start = named.filter(|named| held.contains(&named.start)).map_or(low, |named| named.start).max(held.start);
    start..held.end.min(region).min(start.saturating_add(STACK)).max(start)
}

/// Writes `ThreadNamesStream`, if any thread has a name.
pub(super) fn thread_names(file: &mut File<'_>) {
    let mut names = Vec::new();
    for thread in &file.dump.threads {
        if let Some(name) = &thread.name {
            names.push((thread.tid, file.pen.utf16(name)));
        }
    }
    if names.is_empty() {
        return;
    }
    file.stream(raw::THREAD_NAMES_STREAM, |pen| {
        pen.u32(names.len() as u32);
        for (tid, rva) in names {
            pen.u32(tid);
            pen.u64(u64::from(rva));
        }
    });
}
