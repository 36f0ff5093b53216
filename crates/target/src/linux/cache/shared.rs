//! What several processes ask of the page cache: the pages of a library, and the library as a file with its symbols. Each
//! is worked out once for all of them.
//!
//! *Trap*: a file that is partly in memory has holes, and a parser takes a hole for zeros. Sections of debug information
//! that have one are therefore marked as not there; tables of names and of frames stay, since a zero among them names and
//! unwinds nothing.

use super::file::FilePages;
use crate::files::ElfFile;
use crate::linux::Linux;
use afterimage_dump::Endian;
use afterimage_dump::bytes::Fields;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Trees of pages that are kept.
const MOST_TREES: usize = 8192;
/// The largest file that is copied out of the page cache.
const LARGEST: u64 = 64 << 20;
/// Bytes of files that are kept.
const MOST_BYTES: u64 = 128 << 20;

/// Pages of files and files, by their `address_space`.
#[derive(Default)]
pub(in crate::linux) struct Shared {
    trees: Mutex<HashMap<u64, Option<Arc<FilePages>>>>,
    elves: Mutex<Elves>,
}

#[derive(Default)]
struct Elves {
    files: HashMap<u64, Option<CachedElf>>,
    bytes: u64,
}

/// An ELF file out of the page cache.
#[derive(Clone)]
pub(in crate::linux) struct CachedElf {
    pub(in crate::linux) file: Arc<ElfFile>,
    /// Whether all of it was there.
    pub(in crate::linux) whole: bool,
}

impl Linux {
    /// The pages of a file; `None` where they cannot be known.
    pub(in crate::linux) fn shared_pages(&self, mapping: u64) -> Option<Arc<FilePages>> {
        let trees = &self.shared.trees;
        if let Some(known) = trees.lock().unwrap_or_else(PoisonError::into_inner).get(&mapping) {
            return known.clone();
        }
        let inode = self.pointer(mapping, "address_space", "host");
        let size = inode.and_then(|inode| self.value(inode, "inode", "i_size"));
        let pages = self.file_pages(mapping, size.unwrap_or(u64::MAX)).ok().map(Arc::new);
        let mut trees = trees.lock().unwrap_or_else(PoisonError::into_inner);
        if trees.len() >= MOST_TREES {
            trees.clear();
        }
        trees.insert(mapping, pages.clone());
        pages
    }

    /// The ELF file with these pages, under the name that the machine knew it by; `None` if it is none, or its headers are
    /// not there.
    pub(in crate::linux) fn shared_elf(&self, mapping: u64, path: &str) -> Option<CachedElf> {
        let elves = &self.shared.elves;
        if let Some(known) = elves.lock().unwrap_or_else(PoisonError::into_inner).files.get(&mapping) {
            return known.clone();
        }
        let elf = self.read_elf(mapping, path);
        let bytes = elf.as_ref().map_or(0, |elf| elf.file.bytes().len() as u64);
        let mut elves = elves.lock().unwrap_or_else(PoisonError::into_inner);
        if elves.bytes.saturating_add(bytes) > MOST_BYTES || elves.files.len() >= MOST_TREES {
            *elves = Elves::default();
        }
        elves.bytes += bytes;
        elves.files.insert(mapping, elf.clone());
        elf
    }

    fn read_elf(&self, mapping: u64, path: &str) -> Option<CachedElf> {
        let pages = self.shared_pages(mapping)?;
        let size = usize::try_from(pages.size).ok().filter(|_| pages.size <= LARGEST)?;
        let runs = self.file_runs(&pages);
        // The headers first: most of what is mapped is no program.
        let mut magic = [0; 4];
        let got = runs.first().map_or(0, |run| self.read_run(run, 0, &mut magic));
        if got != magic.len() || &magic != b"\x7fELF" {
            return None;
        }
        let mut bytes = vec![0; size];
        let mut holes: Vec<Range<u64>> = Vec::new();
        for run in runs {
            let end = run.offset.saturating_add(run.length).min(pages.size);
            let range = usize::try_from(run.offset).ok()?..usize::try_from(end).ok()?;
            let got = self.read_run(&run, run.offset, bytes.get_mut(range)?) as u64;
            if run.offset + got < end {
                holes.push(run.offset + got..end);
            }
        }
        let whole = holes.is_empty();
        if !whole {
            hide_torn_sections(&mut bytes, &holes);
        }
        let file = ElfFile::new(PathBuf::from(path), Arc::new(bytes)).map(Arc::new)?;
        Some(CachedElf { file, whole })
    }
}

/// Marks sections that are for debuggers alone and have a hole as empty, and takes the table of sections away if it has
/// one itself.
fn hide_torn_sections(bytes: &mut [u8], holes: &[Range<u64>]) {
    const SYMTAB: u32 = 2;
    const STRTAB: u32 = 3;
    const NOBITS: u32 = 8;
    const ALLOC: u64 = 2;
    let torn = |start: u64, len: u64| {
        let end = start.saturating_add(len);
        holes.iter().any(|hole| hole.start < end && start < hole.end)
    };
    let is_64 = bytes.get(4) == Some(&2);
    let endian = if bytes.get(5) == Some(&2) { Endian::Big } else { Endian::Little };
    // Where things stand in an ELF header and in a section's, by the class.
    let (table_at, sizes_at, word) = if is_64 { (40, 58, 8) } else { (32, 46, 4) };
    let (flags_at, offset_at, size_at) = if is_64 { (8, 24, 32) } else { (8, 16, 20) };
    let fields = Fields::new(bytes, endian);
    let read = || {
        let table = fields.uint(table_at, word)?;
        Some((table, u64::from(fields.u16(sizes_at)?), u64::from(fields.u16(sizes_at + 2)?)))
    };
    let Some((table, entry, count)) = read() else { return };
    if table == 0 || torn(table, entry * count) {
        for range in [table_at..table_at + word, sizes_at + 2..sizes_at + 6] {
            if let Some(field) = bytes.get_mut(range) {
                field.fill(0);
            }
        }
        return;
    }
    let hidden = (0..count).filter_map(|index| {
        let at = usize::try_from(table.checked_add(index * entry)?).ok()?;
        let kind = fields.u32(at.checked_add(4)?)?;
        let word_at = |place: usize| fields.uint(at.checked_add(place)?, word);
        let (flags, offset, size) = (word_at(flags_at)?, word_at(offset_at)?, word_at(size_at)?);
        let keep = flags & ALLOC != 0 || matches!(kind, SYMTAB | STRTAB | NOBITS);
        (!keep && torn(offset, size)).then_some(at)
    });
    let hidden: Vec<usize> = hidden.collect();
    for at in hidden {
        let kind = if endian == Endian::Big { NOBITS.to_be_bytes() } else { NOBITS.to_le_bytes() };
        if let Some(field) = bytes.get_mut(at + 4..at + 8) {
            field.copy_from_slice(&kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage_symbols::ElfObject;

    fn tear(bytes: &mut [u8], hole: Range<u64>) {
        hide_torn_sections(bytes, std::slice::from_ref(&hole));
    }

    /// The tests' own program.
    fn program() -> (Vec<u8>, u64, u64) {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let table = u64::from_le_bytes(bytes[40..48].try_into().unwrap());
        let count = u64::from(u16::from_le_bytes(bytes[60..62].try_into().unwrap()));
        (bytes, table, count)
    }

    /// Offset and size of a section by its number.
    fn section(bytes: &[u8], at: usize) -> (u32, u64, Range<u64>) {
        let word = |place: usize| u64::from_le_bytes(bytes[at + place..at + place + 8].try_into().unwrap());
        let kind = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        (kind, word(8), word(24)..word(24) + word(32))
    }

    #[test]
    fn torn_debug_sections_are_hidden_and_others_stay() {
        let (whole, table, count) = program();
        let parse = |bytes: &[u8]| ElfObject::parse(Arc::new(bytes.to_vec())).unwrap();
        assert!(parse(&whole).has_debug_info() && parse(&whole).has_symtab());
        let mut hidden = 0;
        for index in 0..count {
            let at = (table + 64 * index) as usize;
            let (kind, flags, range) = section(&whole, at);
            if range.is_empty() || kind == 8 {
                continue;
            }
            let mut bytes = whole.clone();
            tear(&mut bytes, range.end - 1..range.end);
            let changed = section(&bytes, at).0 != kind;
            // Loaded sections and tables of names stay, all others go.
            assert_eq!(changed, flags & 2 == 0 && kind != 2 && kind != 3, "section {index} of kind {kind}");
            hidden += usize::from(changed);
        }
        assert!(hidden > 3, "{hidden}");
    }

    #[test]
    fn without_its_table_a_file_has_no_sections() {
        let (mut bytes, table, _) = program();
        tear(&mut bytes, table + 100..table + 101);
        let object = ElfObject::parse(Arc::new(bytes)).unwrap();
        assert!(!object.has_symtab() && !object.has_debug_info() && !object.segments().is_empty());
    }

    #[test]
    fn headers_that_lie_do_not_panic() {
        let mut bytes = vec![0xff; 4096];
        for class in [1, 2] {
            bytes[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, class, 1, 0]);
            tear(&mut bytes, 0..u64::MAX);
            tear(&mut bytes.clone(), 10..20);
            let mut short = bytes[..50].to_vec();
            tear(&mut short, 10..20);
        }
    }
}
