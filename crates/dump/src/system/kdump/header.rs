//! The two headers of a kdump-compressed file, of every version, word size and byte order.
//!
//! *Trap*: nothing says which word size and byte order it is. The layouts are tried, and the one that makes sense is it.

use super::super::machine_name::SystemKind;
use crate::bytes::Fields;
use crate::machine::SystemName;
use crate::source::{SharedSource, Source, read_vec};
use crate::{Arch, Endian};

/// `DUMP_DH_COMPRESSED_*` and others of the header's `status` and of a page's `flags` (makedumpfile, `diskdump_mod.h`).
pub(crate) mod flag {
    pub(crate) const ZLIB: u32 = 1;
    pub(crate) const LZO: u32 = 2;
    pub(crate) const SNAPPY: u32 = 4;
    pub(crate) const INCOMPLETE: u32 = 8;
    pub(crate) const EXCLUDED_VMEMMAP: u32 = 0x10;
    pub(crate) const ZSTD: u32 = 0x20;
    pub(crate) const PACKED: u32 = ZLIB | LZO | SNAPPY | ZSTD;
}

/// Bytes of a page descriptor.
pub(crate) const DESCRIPTOR: u64 = 24;
/// Largest page of any processor that Linux runs on.
const MAX_PAGE: u32 = 64 << 10;

/// What the headers say.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) endian: Endian,
    pub(crate) is_64: bool,
    pub(crate) version: i32,
    pub(crate) name: SystemName,
    pub(crate) arch: Arch,
    /// ELF machine number, for the notes.
    pub(crate) machine: u16,
    /// Seconds since 1970.
    pub(crate) time: u64,
    pub(crate) status: u32,
    /// Bytes of a block, which is a page.
    pub(crate) block: u64,
    /// Blocks of the sub-header.
    pub(crate) sub_blocks: u64,
    /// Blocks of both bitmaps.
    pub(crate) bitmap_blocks: u64,
    /// First page number that does not exist.
    pub(crate) max_pfn: u64,
    pub(crate) dump_level: Option<u32>,
    /// Pages that this part of a split set holds.
    pub(crate) split: Option<(u64, u64)>,
    /// Offset and size of the VMCOREINFO text, the ELF notes, and the list of what was erased.
    pub(crate) vmcoreinfo: (u64, u64),
    pub(crate) notes: (u64, u64),
    pub(crate) erased: (u64, u64),
}

/// Whether these first bytes are of this container.
pub(crate) fn is_kdump(head: &[u8]) -> bool {
    head.starts_with(b"KDUMP   ") || head.starts_with(b"DISKDUMP")
}

impl Header {
    /// Reads both headers.
    pub(crate) fn read(source: &dyn Source) -> Result<Self, String> {
        let head = read_vec(source, 0, 1024).map_err(|error| format!("its header cannot be read: {error}"))?;
        let ways = [(Endian::Little, true), (Endian::Little, false), (Endian::Big, true), (Endian::Big, false)];
        let mut header = ways
            .into_iter()
            .find_map(|(endian, is_64)| Self::main(&head, endian, is_64))
            .ok_or("its header makes no sense in any byte order and word size")?;
        let sub = read_vec(source, header.block, 128).unwrap_or_default();
        header.sub(Fields::new(&sub, header.endian));
        Ok(header)
    }

    fn main(head: &[u8], endian: Endian, is_64: bool) -> Option<Self> {
        const NAME: usize = 12;
        const NAME_FIELD: usize = 65;
        let fields = Fields::new(head, endian);
        // timeval is two longs, aligned as one; `unsigned int`s follow without gaps.
        let (time, word, rest) = if is_64 { (408, 8, 424) } else { (404, 4, 412) };
        let at = |index: usize| fields.u32(rest + 4 * index);
        let version = fields.i32(8)?;
        let (block, sub_blocks, bitmap_blocks) = (at(1)?, at(2)?, at(3)?);
        let sane = (0..=64).contains(&version)
            && block.is_power_of_two()
            && (512..=MAX_PAGE).contains(&block)
            && (0..=1024).contains(&sub_blocks);
        if !sane {
            return None;
        }
        let text = |index: usize| {
            let bytes = fields.cstr(NAME + index * NAME_FIELD, NAME_FIELD).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let name = SystemName { system: text(0), node: text(1), release: text(2), version: text(3), machine: text(4) };
        let kind = SystemKind::of(&name.machine, is_64, endian);
        Some(Self {
            endian,
            is_64,
            version,
            name,
            arch: kind.arch,
            machine: kind.elf_machine,
            time: fields.uint(time, word)?,
            status: at(0)?,
            block: u64::from(block),
            sub_blocks: u64::from(sub_blocks),
            bitmap_blocks: u64::from(bitmap_blocks),
            max_pfn: u64::from(at(4)?),
            dump_level: None,
            split: None,
            vmcoreinfo: (0, 0),
            notes: (0, 0),
            erased: (0, 0),
        })
    }

    /// `kdump_sub_header`; its fields came one version after another.
    fn sub(&mut self, fields: Fields<'_>) {
        let word = if self.is_64 { 8 } else { 4 };
        // Folklore: `off_t` is 64 bits wide everywhere, and i386 alone aligns it to 4.
        let long_align = if self.machine == 3 { 4 } else { 8 };
        let mut at = 0;
        let mut next = |size: usize, align: usize| {
            at = usize::next_multiple_of(at, align);
            let value = fields.uint(at, size);
            at += size;
            value.unwrap_or(0)
        };
        let _phys_base = next(word, word);
        let level = next(4, 4) as u32;
        let split = next(4, 4);
        let (mut start, mut end) = (next(word, word), next(word, word));
        let mut region = || (next(8, long_align), next(word, word));
        let (vmcoreinfo, notes, erased) = (region(), region(), region());
        let long = [next(8, long_align), next(8, long_align), next(8, long_align)];
        if self.version >= 1 {
            // Level and more than five bits: the field was something else.
            self.dump_level = Some(level).filter(|level| *level < 32);
        }
        if self.version >= 3 {
            self.vmcoreinfo = vmcoreinfo;
        }
        if self.version >= 4 {
            self.notes = notes;
        }
        if self.version >= 5 {
            self.erased = erased;
        }
        if self.version >= 6 {
            let [start_long, end_long, max_long] = long;
            (start, end) = (start_long, end_long);
            if max_long != 0 {
                self.max_pfn = max_long;
            }
        }
        if self.version >= 2 && split != 0 {
            self.split = Some((start, end));
        }
    }

    /// Takes the processor from the processors' notes: QEMU names it `Unknown` but on x86 and s390.
    pub(crate) fn by_notes(&mut self, source: &SharedSource) {
        let found = crate::elf_core::arch_of_notes(source, self.notes, self.is_64, self.endian);
        if let Some(arch) = found {
            self.arch = arch;
            self.machine = arch.elf_machine();
        }
    }

    /// What its notes need to be read: ELF machine number, word size, byte order.
    pub(crate) fn elf(&self) -> (u16, bool, Endian) {
        (self.machine, self.is_64, self.endian)
    }

    /// Where the two bitmaps begin.
    pub(crate) fn bitmap(&self) -> u64 {
        (1 + self.sub_blocks).saturating_mul(self.block)
    }

    /// Bytes of each of the two.
    pub(crate) fn bitmap_len(&self) -> u64 {
        self.bitmap_blocks.saturating_mul(self.block) / 2
    }

    /// Where the page descriptors begin.
    pub(crate) fn descriptors(&self) -> u64 {
        self.bitmap().saturating_add(self.bitmap_blocks.saturating_mul(self.block))
    }
}
