//! Mapped ELF files, read from the process's own memory: build ids and the dynamic linker's list.
//!
//! *What it is not*: a general ELF reader; it looks only at what is mapped, and trusts none of it.
//!
//! *Trap*: the list in memory can be broken (the process crashed, after all): every walk has a bound.

use crate::memory::Reader;
use crate::procfs::Vma;
use afterimage_dump::Endian;
use afterimage_dump::bytes::Fields;
use afterimage_dump::write::notes::BuildId;
use std::ops::Range;

/// Program headers that are looked at.
const MAX_HEADERS: usize = 256;
/// Bytes of one PT_NOTE segment that are looked at.
const MAX_NOTES: usize = 16 * 1024;
/// Modules in the dynamic linker's list.
const MAX_MODULES: usize = 16 * 1024;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_NOTE: u64 = 4;
const PT_PHDR: u64 = 6;
const NT_GNU_BUILD_ID: u32 = 3;
const DT_DEBUG: u64 = 21;
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;

struct ProgramHeader {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

/// `count` program headers of `entry` bytes at `at`.
fn program_headers(reader: &Reader, at: u64, entry: usize, count: usize) -> Vec<ProgramHeader> {
    let wide = entry == 56;
    if !wide && entry != 32 {
        return Vec::new();
    }
    let bytes = reader.some(at, count.min(MAX_HEADERS) * entry);
    let word = if wide { 8 } else { 4 };
    let parse = |bytes| {
        let fields = Fields::new(bytes, Endian::Little);
        let at = |wide_at, narrow_at| fields.uint(if wide { wide_at } else { narrow_at }, word);
        Some(ProgramHeader { kind: fields.uint(0, 4)?, offset: at(8, 4)?, address: at(16, 8)?, size: at(40, 20)? })
    };
    bytes.chunks_exact(entry).filter_map(parse).collect()
}

/// Headers of the ELF file that is mapped at `base`, and what to add to their addresses.
fn mapped_headers(reader: &Reader, base: u64) -> Option<(Vec<ProgramHeader>, u64)> {
    let header = reader.some(base, 64);
    let fields = Fields::new(&header, Endian::Little);
    if fields.slice(0, 4)? != b"\x7fELF" {
        return None;
    }
    let wide = fields.u8(4)? == 2;
    let offset = if wide { fields.u64(32)? } else { fields.uint(28, 4)? };
    let (entry, count) = if wide { (fields.u16(54)?, fields.u16(56)?) } else { (fields.u16(42)?, fields.u16(44)?) };
    let headers = program_headers(reader, base.checked_add(offset)?, entry.into(), count.into());
    let first = headers.iter().find(|header| header.kind == PT_LOAD)?;
    let bias = base.wrapping_sub(first.address.wrapping_sub(first.offset));
    Some((headers, bias))
}

/// The build ids of all ELF files among the mappings, and of the vDSO.
pub(crate) fn build_ids(reader: &Reader, vmas: &[Vma]) -> Vec<BuildId> {
    let mut ids = Vec::new();
    for vma in vmas {
        let candidate = (vma.file && vma.offset == 0 && vma.permissions.read) || vma.vdso();
        if !candidate {
            continue;
        }
        let id = build_id(reader, vma.start).or_else(|| build_id_of_file(reader.pid(), vma));
        ids.extend(id.map(|id| BuildId { base: vma.start, id, path: vma.path.clone() }));
    }
    ids
}

/// The build id out of the mapped file itself, where memory does not show it.
///
/// Folklore: patchelf moves the note into a part of the file that is mapped late or not at all (scylladb issue 22265). The
/// file is opened through the mapping, so that it is the right one in a container, and even if it has been deleted.
fn build_id_of_file(pid: i32, vma: &Vma) -> Option<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::open(format!("/proc/{pid}/map_files/{:x}-{:x}", vma.start, vma.end)).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let read = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        let got = file.read_at(&mut bytes, at).ok()?;
        bytes.truncate(got);
        Some(bytes)
    };
    let header = read(0, 64)?;
    let fields = Fields::new(&header, Endian::Little);
    if fields.slice(0, 4)? != b"\x7fELF" || fields.u8(4)? != 2 {
        return None;
    }
    let (at, entry, count) = (fields.u64(32)?, usize::from(fields.u16(54)?), usize::from(fields.u16(56)?));
    if entry != 56 {
        return None;
    }
    let headers = read(at, count.min(MAX_HEADERS) * entry)?;
    headers.chunks_exact(entry).find_map(|bytes| {
        let fields = Fields::new(bytes, Endian::Little);
        let note = u64::from(fields.u32(0)?) == PT_NOTE;
        let notes = note.then(|| read(fields.u64(8)?, fields.u64(32)?.min(MAX_NOTES as u64) as usize))??;
        find_build_id(&notes)
    })
}

fn build_id(reader: &Reader, base: u64) -> Option<Vec<u8>> {
    let (headers, bias) = mapped_headers(reader, base)?;
    headers.iter().filter(|header| header.kind == PT_NOTE).find_map(|header| {
        let notes = reader.some(bias.wrapping_add(header.address), header.size.min(MAX_NOTES as u64) as usize);
        find_build_id(&notes)
    })
}

fn find_build_id(notes: &[u8]) -> Option<Vec<u8>> {
    let fields = Fields::new(notes, Endian::Little);
    let mut at = 0usize;
    loop {
        let (name, content, kind) = (fields.u32(at)? as usize, fields.u32(at + 4)? as usize, fields.u32(at + 8)?);
        let content_at = at.checked_add(12)?.checked_add(name.checked_next_multiple_of(4)?)?;
        if kind == NT_GNU_BUILD_ID && fields.slice(at + 12, name)? == b"GNU\0" && (1..=64).contains(&content) {
            return fields.slice(content_at, content).map(<[u8]>::to_vec);
        }
        at = content_at.checked_add(content.checked_next_multiple_of(4)?)?;
    }
}

/// The ranges that lead a reader from the auxiliary vector to the names of all modules.
pub(crate) fn link_map_ranges(reader: &Reader, auxv: &[u8], wide: bool) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    walk_link_map(reader, auxv, wide, &mut ranges);
    ranges
}

fn walk_link_map(reader: &Reader, auxv: &[u8], wide: bool, ranges: &mut Vec<Range<u64>>) -> Option<()> {
    let word: usize = if wide { 8 } else { 4 };
    let value = |kind: u64| {
        auxv.chunks_exact(2 * word).find_map(|pair| {
            let fields = Fields::new(pair, Endian::Little);
            (fields.uint(0, word)? == kind).then(|| fields.uint(word, word))?
        })
    };
    let (at, entry, count) = (value(AT_PHDR)?, value(AT_PHENT)? as usize, value(AT_PHNUM)? as usize);
    let headers = program_headers(reader, at, entry, count);
    ranges.push(at..at.checked_add((entry * headers.len()) as u64)?);
    let phdr = headers.iter().find(|header| header.kind == PT_PHDR);
    let bias = phdr.map_or(0, |phdr| at.wrapping_sub(phdr.address));
    let dynamic = headers.iter().find(|header| header.kind == PT_DYNAMIC)?;
    let dynamic_at = bias.wrapping_add(dynamic.address);
    let bytes = reader.some(dynamic_at, dynamic.size.min(64 * 1024) as usize);
    ranges.push(dynamic_at..dynamic_at.checked_add(bytes.len() as u64)?);
    let debug = bytes.chunks_exact(2 * word).find_map(|pair| {
        let fields = Fields::new(pair, Endian::Little);
        (fields.uint(0, word)? == DT_DEBUG).then(|| fields.uint(word, word))?
    })?;
    // struct r_debug: version, first link_map, breakpoint, state, linker's base.
    ranges.push(debug..debug.checked_add(5 * word as u64)?);
    let pointer = |at: u64| {
        let bytes = reader.some(at, word);
        Fields::new(&bytes, Endian::Little).uint(0, word)
    };
    let mut entry = pointer(debug.checked_add(word as u64)?)?;
    for _ in 0..MAX_MODULES {
        if entry == 0 {
            break;
        }
        // struct link_map: bias, name, dynamic section, next, previous.
        ranges.push(entry..entry.checked_add(5 * word as u64)?);
        if let Some(name) = pointer(entry.checked_add(word as u64)?).filter(|name| *name != 0) {
            ranges.push(name..name.checked_add(256)?);
        }
        entry = pointer(entry.checked_add(3 * word as u64)?)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_id_behind_another_note() {
        let mut notes = Vec::new();
        notes.extend_from_slice(&[4, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
        notes.extend_from_slice(b"GNU\0xx\0\0");
        notes.extend_from_slice(&[4, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0]);
        notes.extend_from_slice(b"GNU\0\x01\x02\x03\0");
        assert_eq!(find_build_id(&notes), Some(vec![1, 2, 3]));
        assert_eq!(find_build_id(&notes[..30]), None);
        assert_eq!(find_build_id(&[0xff; 64]), None);
    }

    #[test]
    fn own_modules() {
        let own = crate::sys::own_pid();
        let reader = Reader::new(own);
        let (vmas, _) = crate::procfs::mappings(own).unwrap();
        let ids = build_ids(&reader, &vmas);
        assert!(ids.iter().any(|id| id.path == b"[vdso]"), "{ids:?}");
        assert!(ids.iter().any(|id| id.path.windows(4).any(|part| part == b"libc")), "{ids:?}");
        let auxv = std::fs::read("/proc/self/auxv").unwrap();
        assert!(link_map_ranges(&reader, &auxv, true).len() > 6);
    }
}
