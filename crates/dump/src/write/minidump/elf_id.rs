//! The build id of a mapped ELF file, read from the memory of a dump.
//!
//! *What it is not*: a reader of ELF files; it looks at program headers and notes that are mapped, and nothing else.
//!
//! *Trap*: addresses in the headers are relative to where the file was linked; the first PT_LOAD says how far it moved.

use crate::bytes::Fields;
use crate::{Dump, MemoryExt, Virt};

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
/// Program headers that are looked at.
const MAX_HEADERS: usize = 64;
/// Bytes of one note segment that are looked at.
const MAX_NOTES: u64 = 4096;

/// Whether an ELF file is mapped at `base`, as far as the dump has its first bytes.
pub(super) fn is_elf(dump: &Dump, base: u64) -> bool {
    let mut magic = [0; 4];
    dump.memory.read_exact(Virt(base), &mut magic).is_ok() && magic == *b"\x7fELF"
}

/// The build id of the ELF file that is mapped at `base`.
pub(super) fn build_id(dump: &Dump, base: u64) -> Option<Vec<u8>> {
    let mut head = [0; 64];
    dump.memory.read_exact(Virt(base), &mut head).ok()?;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let head = Fields::new(&head, dump.endian);
    let wide = head.u8(4)? == 2;
    let (table, entry, count) = if wide {
        (head.u64(32)?, head.u16(54)?, head.u16(56)?)
    } else {
        (u64::from(head.u32(28)?), head.u16(42)?, head.u16(44)?)
    };
    let entry = usize::from(entry);
    if entry < if wide { 56 } else { 32 } || entry > 256 {
        return None;
    }
    let mut bytes = vec![0; entry * usize::from(count).min(MAX_HEADERS)];
    let got = dump.memory.read_upto(Virt(base.checked_add(table)?), &mut bytes);
    bytes.truncate(got);
    let mut bias = None;
    let mut notes = Vec::new();
    for header in bytes.chunks_exact(entry) {
        let header = Fields::new(header, dump.endian);
        let (offset, address, size) = if wide {
            (header.u64(8)?, header.u64(16)?, header.u64(32)?)
        } else {
            (u64::from(header.u32(4)?), u64::from(header.u32(8)?), u64::from(header.u32(16)?))
        };
        match header.u32(0)? {
            PT_LOAD if bias.is_none() => bias = Some(base.wrapping_sub(address.wrapping_sub(offset))),
            PT_NOTE => notes.push((address, size.min(MAX_NOTES))),
            _ => {}
        }
    }
    notes.into_iter().find_map(|(address, size)| {
        let mut bytes = vec![0; size as usize];
        let got = dump.memory.read_upto(Virt(bias?.wrapping_add(address)), &mut bytes);
        bytes.truncate(got);
        in_notes(Fields::new(&bytes, dump.endian))
    })
}

fn in_notes(notes: Fields<'_>) -> Option<Vec<u8>> {
    let mut at = 0usize;
    loop {
        let (name, content, kind) = (notes.u32(at)? as usize, notes.u32(at + 4)? as usize, notes.u32(at + 8)?);
        let content_at = at.checked_add(12)?.checked_add(name.checked_next_multiple_of(4)?)?;
        if kind == NT_GNU_BUILD_ID && notes.slice(at + 12, name)? == b"GNU\0" && (1..=64).contains(&content) {
            return notes.slice(content_at, content).map(<[u8]>::to_vec);
        }
        at = content_at.checked_add(content.checked_next_multiple_of(4)?)?;
    }
}
