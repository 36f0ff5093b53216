//! A module out of the dump's own memory: the vDSO always, every module of a complete dump, and what has no file.
//!
//! *Trap*: the image is the memory, not the file: what the loader relocated is relocated, and what the dump left out is
//! zero here. It serves for symbols and unwinding, and never as a source of memory.

use super::Finder;
use crate::modules::headers::{Headers, PAGE, PF_X};
use afterimage_dump::bytes::Fields;
use afterimage_dump::{Memory, MemoryExt, Virt};
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
        // Of a module of two pages, as the vDSO often is, only its end is beyond the first page.
        let last = start.wrapping_add(load.mem_size.saturating_sub(1));
        // The first page is in nearly every dump for its headers' sake; it proves nothing.
        let beyond = |at: u64| at.wrapping_sub(base) >= PAGE || load.mem_size <= PAGE;
        [start, middle, last].into_iter().any(|at| beyond(at) && memory.read_at(Virt(at), &mut byte).is_ok())
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

/// The file of a module that is so small that its first mapping shows all of it, sections and symbols too.
///
/// A mapping covers whole pages of the file, also what lies in them behind the segment: of a small static program that
/// is the rest of the file. (Elfutils reads symbols of dumps so.)
pub(crate) fn whole_file(finder: &Finder, base: u64) -> Option<Blob> {
    let memory = &*finder.dump.memory;
    let headers = Headers::at(memory, base)?;
    let first = headers.loads().find(|load| load.offset == 0)?;
    let size = first.file_size.checked_next_multiple_of(PAGE).filter(|size| *size <= MAX_IMAGE)?;
    let mut start = [0u8; 64];
    memory.read_exact(Virt(base), &mut start).ok()?;
    let fields = Fields::new(&start, headers.endian);
    let (table, entry) = if headers.is_64 { (fields.u64(40)?, 58) } else { (u64::from(fields.u32(32)?), 46) };
    let entries = u64::from(fields.u16(entry)?).checked_mul(u64::from(fields.u16(entry + 2)?))?;
    if table == 0 || entries == 0 || table.checked_add(entries)? > size {
        return None;
    }
    finder.budget.take(size).ok()?;
    let mut file = vec![0u8; usize::try_from(size).ok()?];
    memory.read_exact(Virt(base), &mut file).ok()?;
    Some(Arc::new(file))
}
