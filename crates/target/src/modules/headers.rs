//! ELF headers as they lie in the dumped memory, or at the start of a file: just what places a module.
//!
//! *What it is not*: it reads no sections and no symbols; that is `afterimage-symbols`' work, and comes later if at all.
//!
//! *Trap*: `p_vaddr` and `p_offset` need not be page-aligned, but they agree below the page size. So
//! `p_vaddr - p_offset` gives the same bias whether one starts from the page or from the segment.

use afterimage_dump::bytes::Fields;
use afterimage_dump::{Endian, Memory, MemoryExt, Virt};

pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_DYNAMIC: u32 = 2;
pub(crate) const PT_INTERP: u32 = 3;
pub(crate) const PT_PHDR: u32 = 6;
pub(crate) const ET_EXEC: u16 = 2;
pub(crate) const ET_DYN: u16 = 3;
pub(crate) const PF_X: u32 = 1;
pub(crate) const PF_W: u32 = 2;

/// Most program headers that are looked at; real modules have fewer than 20.
const MAX_HEADERS: usize = 128;
/// The smallest page that any processor here uses; a larger one would swallow a neighbour.
pub(crate) const PAGE: u64 = 0x1000;

/// One program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProgramHeader {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) vaddr: u64,
    pub(crate) file_size: u64,
    pub(crate) mem_size: u64,
}

/// An ELF header and its program headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) is_64: bool,
    pub(crate) endian: Endian,
    pub(crate) file_type: u16,
    pub(crate) machine: u16,
    pub(crate) entry: u64,
    pub(crate) phoff: u64,
    pub(crate) phentsize: u16,
    pub(crate) phnum: u16,
    /// Program headers; empty where the table itself lies outside of what could be read.
    pub(crate) programs: Vec<ProgramHeader>,
}

impl Headers {
    /// Reads the headers with `read(offset, buf)`, which fills `buf` whole or says no. `None`: no ELF module starts here.
    pub(crate) fn read(read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<Self> {
        let mut ident = [0u8; 16];
        if !read(0, &mut ident) || !ident.starts_with(b"\x7fELF") {
            return None;
        }
        let is_64 = match ident.get(4) {
            Some(1) => false,
            Some(2) => true,
            _ => return None,
        };
        let endian = match ident.get(5) {
            Some(1) => Endian::Little,
            Some(2) => Endian::Big,
            _ => return None,
        };
        let word = if is_64 { 8 } else { 4 };
        let mut rest = vec![0u8; if is_64 { 64 } else { 52 }];
        if !read(0, &mut rest) {
            return None;
        }
        let fields = Fields::new(&rest, endian);
        let after = 24 + 3 * word;
        let mut headers = Self {
            is_64,
            endian,
            file_type: fields.u16(16)?,
            machine: fields.u16(18)?,
            entry: fields.uint(24, word)?,
            phoff: fields.uint(24 + word, word)?,
            phentsize: fields.u16(after + 6)?,
            phnum: fields.u16(after + 8)?,
            programs: Vec::new(),
        };
        if !matches!(headers.file_type, ET_EXEC | ET_DYN) {
            return None;
        }
        let size = if is_64 { 56 } else { 32 };
        if usize::from(headers.phentsize) == size {
            let mut table = vec![0u8; size * usize::from(headers.phnum).min(MAX_HEADERS)];
            if !read(headers.phoff, &mut table) {
                // Some of it may be there all the same.
                for (index, entry) in table.chunks_exact_mut(size).enumerate() {
                    if !read(headers.phoff.saturating_add((index * size) as u64), entry) {
                        entry.fill(0);
                    }
                }
            }
            let entries = table.chunks_exact(size).filter(|entry| entry.iter().any(|&byte| byte != 0));
            headers.programs =
                entries.filter_map(|entry| ProgramHeader::parse(Fields::new(entry, endian), is_64)).collect();
        }
        Some(headers)
    }

    /// Reads the headers that lie at `base` in a memory.
    pub(crate) fn at(memory: &dyn Memory<Virt>, base: u64) -> Option<Self> {
        Self::read(&mut |offset, buf| {
            base.checked_add(offset).is_some_and(|at| memory.read_exact(Virt(at), buf).is_ok())
        })
    }

    /// Reads the headers at the start of a file's bytes.
    pub(crate) fn of_file(bytes: &[u8]) -> Option<Self> {
        Self::read(&mut |offset, buf| {
            let from = usize::try_from(offset).ok().and_then(|at| bytes.get(at..at.checked_add(buf.len())?));
            from.inspect(|from| buf.copy_from_slice(from)).is_some()
        })
    }

    /// The loaded segments.
    pub(crate) fn loads(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.programs.iter().filter(|program| program.kind == PT_LOAD)
    }

    /// The first program header of a kind.
    pub(crate) fn program(&self, kind: u32) -> Option<&ProgramHeader> {
        self.programs.iter().find(|program| program.kind == kind)
    }

    /// The bias of a module whose byte at file offset `offset` lies at `at`; `None` if no segment shows that byte.
    pub(crate) fn bias(&self, at: u64, offset: u64) -> Option<u64> {
        let load = self.loads().find(|load| {
            // A mapping covers whole pages, so it shows up to a page less one byte in front of the segment.
            let first = load.offset & !(PAGE - 1);
            (first..load.offset.saturating_add(load.file_size.max(1))).contains(&offset)
        })?;
        Some(at.wrapping_sub(load.vaddr).wrapping_sub(offset.wrapping_sub(load.offset)))
    }

    /// The module's own lowest address and the first one behind it, by whole pages.
    pub(crate) fn span(&self) -> Option<(u64, u64)> {
        let low = self.loads().map(|load| load.vaddr & !(PAGE - 1)).min()?;
        let high = self.loads().filter_map(|load| load.vaddr.checked_add(load.mem_size)).max()?;
        Some((low, high.checked_add(PAGE - 1)? & !(PAGE - 1)))
    }

    /// The module's own address of its program headers, where a segment shows them.
    pub(crate) fn phdr_address(&self) -> Option<u64> {
        if let Some(program) = self.program(PT_PHDR) {
            return Some(program.vaddr);
        }
        let load = self
            .loads()
            .find(|load| (load.offset..load.offset.saturating_add(load.file_size)).contains(&self.phoff))?;
        Some(load.vaddr.wrapping_add(self.phoff - load.offset))
    }

    /// The first difference that two headers of one module cannot have.
    pub(crate) fn differs(&self, other: &Self) -> Option<String> {
        let word = |is_64| if is_64 { 64 } else { 32 };
        if (self.is_64, self.endian, self.machine) != (other.is_64, other.endian, other.machine) {
            return Some(format!(
                "it is for processor {} of {} bits, the dumped module for {} of {}",
                other.machine,
                word(other.is_64),
                self.machine,
                word(self.is_64)
            ));
        }
        if self.file_type != other.file_type {
            return Some(format!("its ELF type is {}, the dumped module's is {}", other.file_type, self.file_type));
        }
        if self.entry != other.entry {
            return Some(format!("its entry point is {:#x}, the dumped module's is {:#x}", other.entry, self.entry));
        }
        // The loads say where everything lies; other program headers say no more about which build it is.
        let known: Vec<_> = self.loads().collect();
        let theirs: Vec<_> = other.loads().collect();
        if !self.programs.is_empty() && known != theirs {
            return Some("its segments are not those of the dumped module".to_owned());
        }
        None
    }
}

impl ProgramHeader {
    fn parse(fields: Fields<'_>, is_64: bool) -> Option<Self> {
        Some(if is_64 {
            Self {
                kind: fields.u32(0)?,
                flags: fields.u32(4)?,
                offset: fields.u64(8)?,
                vaddr: fields.u64(16)?,
                file_size: fields.u64(32)?,
                mem_size: fields.u64(40)?,
            }
        } else {
            Self {
                kind: fields.u32(0)?,
                offset: fields.uint(4, 4)?,
                vaddr: fields.uint(8, 4)?,
                file_size: fields.uint(16, 4)?,
                mem_size: fields.uint(20, 4)?,
                flags: fields.u32(24)?,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_binary_has_headers() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let headers = Headers::of_file(&bytes).unwrap();
        assert!(headers.loads().count() >= 2);
        let first = headers.loads().next().unwrap();
        // Where the first byte of the file lies at 0x5000_0000, the first segment's own address is its distance to it.
        assert_eq!(headers.bias(0x5000_0000, 0), Some(0x5000_0000 - first.vaddr + first.offset));
        assert_eq!(headers.differs(&headers), None);
        let mut other = headers.clone();
        other.entry += 1;
        assert!(headers.differs(&other).unwrap().contains("entry point"));
    }

    #[test]
    fn hostile_headers_are_refused_or_bounded() {
        assert_eq!(Headers::of_file(b""), None);
        assert_eq!(Headers::of_file(b"\x7fELF\x02\x01\x01"), None);
        let mut bytes = vec![0xff; 4096];
        bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
        bytes[16..18].copy_from_slice(&3u16.to_le_bytes());
        let headers = Headers::of_file(&bytes).unwrap();
        assert!(headers.programs.is_empty());
        assert_eq!(headers.span(), None);
        // A table right behind the header, full of the largest numbers.
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&1u32.to_le_bytes());
        let headers = Headers::of_file(&bytes).unwrap();
        assert_eq!(headers.span(), None);
        let _ = headers.bias(u64::MAX, u64::MAX);
        let _ = headers.phdr_address();
    }
}
