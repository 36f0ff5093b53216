//! Sections: found by name or address, and unpacked when they are compressed.
//!
//! Not here: what stands in them.
//!
//! Example: `.debug_info` is found as `.debug_info`, as an SHF_COMPRESSED section or as the old `.zdebug_info`.
//!
//! Trap: unpacking is done on first use, once, and only up to a limit; a section over the limit is as good as absent.

use super::*;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

/// A section header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    pub(crate) name: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) addr: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) entsize: u64,
}

impl Section {
    pub(super) fn read(view: &View<'_>, at: u64, is_64: bool) -> Option<Section> {
        let u32_at = |index: u64| view.u32(at.checked_add(index)?);
        let word = |index: u64| view.word(at.checked_add(index)?, is_64);
        Some(if is_64 {
            Section {
                name: u32_at(0)?,
                kind: u32_at(4)?,
                flags: word(8)?,
                addr: word(16)?,
                offset: word(24)?,
                size: word(32)?,
                link: u32_at(40)?,
                info: u32_at(44)?,
                entsize: word(56)?,
            }
        } else {
            Section {
                name: u32_at(0)?,
                kind: u32_at(4)?,
                flags: word(8)?,
                addr: word(12)?,
                offset: word(16)?,
                size: word(20)?,
                link: u32_at(24)?,
                info: u32_at(28)?,
                entsize: word(36)?,
            }
        })
    }

    pub(crate) fn contains(&self, vaddr: u64) -> bool {
        vaddr >= self.addr && vaddr - self.addr < self.size
    }

    pub(crate) fn is_code(&self) -> bool {
        self.flags & SHF_EXECINSTR != 0
    }
}

/// No section is unpacked to more than this.
const MAX_UNPACKED: u64 = 2 << 30;
/// Real debug sections shrink to a third or a tenth; what grows more than this on unpacking was made to do harm.
const MAX_RATIO: u64 = 128;

/// All sections of a file together grow less than one of them may; several may name the same packed bytes.
const MAX_FILE_RATIO: u64 = 32;
/// What a file may always unpack.
const FILE_LEAST: u64 = 16 << 20;

/// What the sections of one file have still room for when they are unpacked.
pub(super) struct Room(AtomicU64);

impl Room {
    /// By the bytes of the file.
    pub(super) fn new(file: u64) -> Self {
        Self(AtomicU64::new(file.saturating_mul(MAX_FILE_RATIO).saturating_add(FILE_LEAST)))
    }

    fn take(&self, bytes: u64) -> Option<()> {
        let less = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok().map(|_| ())
    }
}

/// Unpacks at most what was declared, and at most what the limits allow.
fn unpack(reader: impl Read, packed: u64, declared: u64, room: &Room) -> Option<Vec<u8>> {
    let limit = packed.saturating_mul(MAX_RATIO).saturating_add(1 << 20).min(MAX_UNPACKED);
    if declared > limit {
        return None;
    }
    room.take(declared)?;
    let mut out = Vec::new();
    // Reserved in one piece only where the input is large enough to have earned it.
    out.try_reserve_exact(usize::try_from(declared.min(packed.saturating_mul(16))).ok()?).ok()?;
    // An error at the end of the stream (a bad checksum) does not take away what was read before.
    let _ = reader.take(declared).read_to_end(&mut out);
    if out.is_empty() && declared != 0 { None } else { Some(out) }
}

/// Unpacks an xz stream whose size is not declared (`.gnu_debugdata`).
pub(crate) fn unpack_xz(packed: &[u8]) -> Option<Vec<u8>> {
    const MEMORY: u64 = 128 << 20;
    let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, 0).ok()?;
    let limit = (packed.len() as u64).saturating_mul(MAX_RATIO).saturating_add(1 << 20).min(256 << 20);
    let mut out = Vec::new();
    let reader = liblzma::read::XzDecoder::new_stream(packed, stream);
    let read = reader.take(limit).read_to_end(&mut out);
    match read {
        Ok(_) => Some(out),
        Err(_) if !out.is_empty() => Some(out),
        Err(_) => None,
    }
}

impl ElfObject {
    pub(crate) fn section_name(&self, section: &Section) -> &[u8] {
        let (offset, size) = self.section_names;
        let Some(table) = self.view().bytes(offset, size) else { return &[] };
        View::new(table, self.little).c_str(u64::from(section.name)).unwrap_or(&[])
    }

    fn index_by_name(&self, name: &[u8]) -> Option<u32> {
        let names = self.by_name.get_or_init(|| {
            let mut names = HashMap::new();
            for (index, section) in self.sections.iter().enumerate() {
                let name = self.section_name(section);
                if !name.is_empty() && name.len() < 256 {
                    names.entry(name.into()).or_insert(index as u32);
                }
            }
            names
        });
        names.get(name).copied()
    }

    pub(crate) fn section_named(&self, name: &str) -> Option<&Section> {
        self.sections.get(self.index_by_name(name.as_bytes())? as usize)
    }

    /// The section that holds an address.
    pub(crate) fn section_at(&self, vaddr: u64) -> Option<&Section> {
        let order = self.by_address.get_or_init(|| {
            let mut order: Vec<u32> = (0..self.sections.len() as u32)
                .filter(|&index| {
                    // .tbss has an address but takes no room there: what follows it lies at the same place.
                    self.sections.get(index as usize).is_some_and(|s| {
                        s.flags & SHF_ALLOC != 0 && s.size != 0 && !(s.kind == SHT_NOBITS && s.flags & SHF_TLS != 0)
                    })
                })
                .collect();
            order.sort_by_key(|&index| self.sections.get(index as usize).map_or(0, |s| s.addr));
            order
        });
        let section = |position: usize| order.get(position).and_then(|&index| self.sections.get(index as usize));
        let after = order.partition_point(|&i| self.sections.get(i as usize).is_some_and(|s| s.addr <= vaddr));
        section(after.checked_sub(1)?).filter(|s| s.contains(vaddr))
    }

    /// Name of the section that holds an address, such as `.plt` or `.text`.
    pub fn section_of(&self, vaddr: u64) -> Option<&str> {
        let section = self.section_at(vaddr)?;
        std::str::from_utf8(self.section_name(section)).ok().filter(|name| !name.is_empty())
    }

    /// The bytes of a section as they stand in the file.
    pub(crate) fn section_raw(&self, section: &Section) -> Option<&[u8]> {
        if section.kind == SHT_NOBITS {
            return None;
        }
        match self.view().bytes(section.offset, section.size) {
            Some(bytes) => Some(bytes),
            // A file that was cut off: what is there is used.
            None => self.data().get(usize::try_from(section.offset).ok()?..),
        }
    }

    /// The content of a section by its name, unpacked if need be. `name` begins with a dot.
    pub(crate) fn section_bytes(&self, name: &str) -> Option<&[u8]> {
        if let Some(index) = self.index_by_name(name.as_bytes()) {
            let section = self.sections.get(index as usize)?;
            if section.flags & SHF_COMPRESSED == 0 {
                return self.section_raw(section);
            }
            let slot = self.unpacked.get(&index)?;
            return slot.get_or_init(|| self.unpack_section(section)).as_deref();
        }
        let rest = name.strip_prefix(".debug_")?;
        let index = self.index_by_name(format!(".zdebug_{rest}").as_bytes())?;
        let slot = self.unpacked.get(&index)?;
        slot.get_or_init(|| {
            let raw = self.section_raw(self.sections.get(index as usize)?)?;
            // "ZLIB" and the size as 8 bytes, big endian on every CPU (binutils before 2.26).
            let size = View::new(raw, false).u64(4).filter(|_| raw.starts_with(b"ZLIB"))?;
            let packed = raw.get(12..)?;
            unpack(flate2::read::ZlibDecoder::new(packed), packed.len() as u64, size, &self.room)
        })
        .as_deref()
    }

    fn unpack_section(&self, section: &Section) -> Option<Vec<u8>> {
        let raw = self.section_raw(section)?;
        let view = View::new(raw, self.little);
        let kind = view.u32(0)?;
        let (size, header) = if self.is_64 { (view.u64(8)?, 24) } else { (u64::from(view.u32(4)?), 12) };
        let packed = raw.get(header..)?;
        match kind {
            ELFCOMPRESS_ZLIB => unpack(flate2::read::ZlibDecoder::new(packed), packed.len() as u64, size, &self.room),
            ELFCOMPRESS_ZSTD => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).ok()?;
                decoder.window_log_max(27).ok()?;
                unpack(decoder, packed.len() as u64, size, &self.room)
            }
            _ => None,
        }
    }

    /// Whether there is a section of this name that is not empty; nothing is unpacked for the answer.
    pub(crate) fn has_section(&self, name: &str) -> bool {
        let held = |name: &[u8]| {
            self.index_by_name(name)
                .and_then(|index| self.sections.get(index as usize))
                .is_some_and(|section| section.kind != SHT_NOBITS && section.size != 0)
        };
        held(name.as_bytes())
            || name.strip_prefix(".debug_").is_some_and(|rest| held(format!(".zdebug_{rest}").as_bytes()))
    }

    /// Whether the file has DWARF units (not only line tables or frames).
    pub fn has_debug_info(&self) -> bool {
        self.has_section(".debug_info") || self.has_section(".debug_info.dwo")
    }

    /// `.gnu_debuglink`: name and CRC-32 of the separate debug file.
    pub fn debuglink(&self) -> Option<(String, u32)> {
        let raw = self.section_bytes(".gnu_debuglink")?;
        let view = View::new(raw, self.little);
        let name = view.c_str(0).filter(|name| !name.is_empty())?;
        // The checksum follows the name's NUL, aligned to 4 bytes.
        let crc = view.u32((name.len() as u64 + 1).next_multiple_of(4))?;
        Some((text(name), crc))
    }

    /// `.gnu_debugaltlink` (dwz): name and build-id of the supplementary file.
    pub fn alt_debuglink(&self) -> Option<(String, Vec<u8>)> {
        let raw = self.section_bytes(".gnu_debugaltlink")?;
        let name = View::new(raw, self.little).c_str(0).filter(|name| !name.is_empty())?;
        Some((text(name), raw.get(name.len() + 1..)?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sections that all name the same packed bytes are unpacked until there is no more room, whatever each may.
    #[test]
    fn sections_of_a_file_share_its_room() {
        const EACH: u64 = 10 << 20;
        let room = Room::new(1 << 20);
        let zeros = || std::io::repeat(0);
        let unpacked = (0..11).filter(|_| unpack(zeros(), 1 << 20, EACH, &room).is_some()).count();
        // 32 MiB for the file's one, and what any may.
        assert_eq!(unpacked as u64, (32 + 16) / 10);
    }
}
