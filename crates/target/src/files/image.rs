//! A module out of the dump's own memory: the vDSO always, every module of a complete dump, and what has no file.
//!
//! *Trap*: the image is the memory, not the file: what the loader relocated is relocated, and what the dump left out is
//! zero here. It serves for symbols and unwinding, and never as a source of memory.

use super::Finder;
use crate::modules::headers::{Headers, PAGE, PF_X};
use afterimage_dump::{Memory, Virt};
use afterimage_symbols::Blob;
use std::sync::Arc;

/// The largest image that is copied out of a dump.
const MAX_IMAGE: u64 = 64 << 20;

/// Whether the dump holds code of the module at `base`.
pub(crate) fn holds_code(finder: &Finder, base: u64, bias: u64) -> bool {
    let memory = &*finder.dump.memory;
    let Some(headers) = Headers::at(memory, base) else { return false };
    let mut byte = [0u8];
    headers.loads().filter(|load| load.flags & PF_X != 0).any(|load| {
        let start = bias.wrapping_add(load.vaddr);
        let middle = start.wrapping_add(load.mem_size / 2);
        // The first page is in nearly every dump for its headers' sake; it proves nothing.
        let beyond = |at: u64| at.wrapping_sub(base) >= PAGE || load.mem_size <= PAGE;
        [start, middle].into_iter().any(|at| beyond(at) && memory.read_at(Virt(at), &mut byte).is_ok())
    })
}

/// Copies the module at `base` out of the dump, if the dump holds any of its code.
pub(crate) fn of_memory(finder: &Finder, base: u64, bias: u64, end: u64) -> Option<Blob> {
    if !holds_code(finder, base, bias) {
        return None;
    }
    let memory = &*finder.dump.memory;
    let size = end.checked_sub(base)?.min(MAX_IMAGE);
    finder.budget.take(size).ok()?;
    let mut image = vec![0u8; usize::try_from(size).ok()?];
    let mut done = 0usize;
    while let Some(rest) = image.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = base.checked_add(done as u64)?;
        done += match memory.read_at(Virt(at), rest) {
            Ok(read) => read.max(1),
            Err(_) => (PAGE - at % PAGE) as usize,
        };
    }
    Some(Arc::new(image))
}
