//! The dynamic section: tags, needed libraries, and the symbol table where there are no section headers.
//!
//! Not here: relocations (only PLT naming needs them, `plt`).
//!
//! Trap: in memory glibc has turned the addresses of the dynamic section into run-time ones, except in the vDSO;
//! both are understood.

use super::*;

impl ElfObject {
    /// The dynamic section: tag and value, without the closing DT_NULL.
    pub fn dynamic(&self) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        let Some(segment) = self.program(PT_DYNAMIC) else { return out };
        let bytes = match self.image {
            Some(_) => self.rest_at(segment.vaddr),
            None => self.view().bytes(segment.offset, segment.filesz),
        };
        let Some(bytes) = bytes else { return out };
        let view = View::new(bytes, self.little);
        let word = u64::from(self.address_size());
        for index in 0..4096u64 {
            let at = index * 2 * word;
            match (view.word(at, self.is_64), view.word(at + word, self.is_64)) {
                (Some(tag), Some(value)) if tag != DT_NULL => out.push((tag, value)),
                _ => break,
            }
        }
        out
    }

    /// An address out of the dynamic section, as the module's own.
    fn own_address(&self, value: u64) -> u64 {
        match self.image {
            Some((first, base)) if self.place_of(value).is_none() => value.wrapping_sub(base).wrapping_add(first),
            _ => value,
        }
    }

    fn dynamic_strings(&self, entries: &[(u64, u64)]) -> Option<&[u8]> {
        let value = |tag: u64| entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value);
        let bytes = self.rest_at(self.own_address(value(DT_STRTAB)?))?;
        let size = value(DT_STRSZ).and_then(|size| usize::try_from(size).ok()).unwrap_or(bytes.len());
        bytes.get(..size.min(bytes.len()))
    }

    fn dynamic_names(&self, tag: u64) -> Vec<String> {
        let entries = self.dynamic();
        let Some(strings) = self.dynamic_strings(&entries) else { return Vec::new() };
        let view = View::new(strings, self.little);
        entries.iter().filter(|(t, _)| *t == tag).filter_map(|(_, at)| view.c_str(*at)).map(text).collect()
    }

    /// DT_SONAME.
    pub fn soname(&self) -> Option<String> {
        self.dynamic_names(DT_SONAME).into_iter().next()
    }

    /// Every DT_NEEDED, in order.
    pub fn needed(&self) -> Vec<String> {
        self.dynamic_names(DT_NEEDED)
    }

    /// PT_INTERP: the path of the dynamic linker.
    pub fn interpreter(&self) -> Option<String> {
        let segment = self.program(PT_INTERP)?;
        let bytes = match self.image {
            Some(_) => self.rest_at(segment.vaddr)?.get(..usize::try_from(segment.filesz).ok()?)?,
            None => self.view().bytes(segment.offset, segment.filesz)?,
        };
        View::new(bytes, self.little).c_str(0).filter(|path| !path.is_empty()).map(text)
    }

    /// Where the dynamic symbols and their strings lie in the bytes, found without section headers.
    pub(super) fn dynamic_symbols(&self) -> Option<((u64, u64), (u64, u64))> {
        let entries = self.dynamic();
        let value = |tag: u64| entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| self.own_address(*value));
        let (symbols, room) = self.place_of(value(DT_SYMTAB)?)?;
        let (strings, string_room) = self.place_of(value(DT_STRTAB)?)?;
        let entry = if self.is_64 { 24 } else { 16 };
        // Nothing says how many symbols there are, except the hash tables.
        let count = match value(DT_HASH).and_then(|at| self.rest_at(at)) {
            Some(table) => u64::from(View::new(table, self.little).u32(4)?),
            None => self.gnu_hash_count(self.rest_at(value(DT_GNU_HASH)?)?)?,
        };
        let size = count.checked_mul(entry)?.min(room);
        let strings_size = entries.iter().find(|(t, _)| *t == DT_STRSZ).map_or(string_room, |(_, size)| *size);
        Some(((symbols, size), (strings, strings_size.min(string_room))))
    }

    /// The number of symbols that a DT_GNU_HASH table knows: the end of the chain that begins last.
    fn gnu_hash_count(&self, table: &[u8]) -> Option<u64> {
        let view = View::new(table, self.little);
        let (buckets, first, bloom) = (u64::from(view.u32(0)?), u64::from(view.u32(4)?), u64::from(view.u32(8)?));
        let bucket_at = 16 + bloom * u64::from(self.address_size());
        let last = (0..buckets).map_while(|i| view.u32(bucket_at + i * 4)).max().map(u64::from)?;
        let mut index = last;
        if index < first {
            return Some(first);
        }
        let chain_at = bucket_at + buckets * 4;
        // Ends with the table at the latest.
        while view.u32(chain_at + (index - first) * 4)? & 1 == 0 {
            index += 1;
        }
        Some(index + 1)
    }
}
