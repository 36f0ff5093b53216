//! One ELF file, or an ELF image as it lay in memory: headers, sections, notes, symbols, PLT stubs.
//!
//! Not here: DWARF (`crate::dwarf`), call-frame information (`crate::cfi`). ELF cores are the dump crate's.
//! The headers are read by hand and not with the `object` crate, which declines to be used on hostile input.
//!
//! ```no_run
//! use afterimage_symbols::{Blob, ElfObject};
//! let bytes: Blob = std::sync::Arc::new(std::fs::read("/bin/true")?);
//! let elf = ElfObject::parse(bytes)?;
//! println!("{:x?}", elf.build_id());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Trap: a separate debug file has section headers with addresses but no bytes (SHT_NOBITS), and program headers that
//! point at nothing; [`ElfObject::bytes_at`] answers `None` there.

mod consts;
mod dynamic;
mod notes;
mod plt;
mod raw;
mod sections;
mod symbols;

pub(crate) use consts::*;
pub use notes::build_id_of_image;
pub(crate) use plt::PltStubs;
pub(crate) use raw::{View, text};
pub(crate) use sections::{Section, unpack_xz};
pub(crate) use symbols::SymbolTable;

use crate::{Blob, Error};
use std::collections::HashMap;
use std::sync::OnceLock;

/// One PT_LOAD program header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElfSegment {
    /// Where it is mapped (the module's own address).
    pub vaddr: u64,
    /// Bytes in memory.
    pub memsz: u64,
    /// Where its content begins in the file.
    pub offset: u64,
    /// Bytes in the file; what is missing to `memsz` is zero.
    pub filesz: u64,
    /// PF_X = 1, PF_W = 2, PF_R = 4.
    pub flags: u32,
}

/// Any program header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) kind: u32,
    pub(crate) segment: ElfSegment,
}

/// One ELF file (or an ELF image as it lay in memory).
pub struct ElfObject {
    blob: Blob,
    is_64: bool,
    little: bool,
    machine: u16,
    file_type: u16,
    flags: u32,
    entry: u64,
    /// Of a memory image: the module's own address of byte 0, and the run-time address of byte 0.
    image: Option<(u64, u64)>,
    programs: Vec<Program>,
    segments: Vec<ElfSegment>,
    sections: Vec<Section>,
    section_names: (u64, u64),
    /// Indices of the sections with an address, sorted by it.
    by_address: OnceLock<Vec<u32>>,
    by_name: OnceLock<HashMap<Box<[u8]>, u32>>,
    unpacked: HashMap<u32, OnceLock<Option<Vec<u8>>>>,
    /// What may still be unpacked.
    room: sections::Room,
    build_id: OnceLock<Option<Vec<u8>>>,
    symtab: OnceLock<Option<SymbolTable>>,
    dynsym: OnceLock<Option<SymbolTable>>,
    plt: OnceLock<PltStubs>,
}

impl std::fmt::Debug for ElfObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ElfObject")
            .field("machine", &self.machine)
            .field("bytes", &self.data().len())
            .field("segments", &self.segments.len())
            .field("sections", &self.sections.len())
            .finish()
    }
}

/// A file may claim more sections than this; nobody has them (a huge `-ffunction-sections` object has some 100 000).
const MAX_SECTIONS: u64 = 262_144;
/// PN_XNUM allows more program headers than a core of a million mappings needs; a module has a dozen.
const MAX_PROGRAMS: u64 = 65_536;

impl ElfObject {
    /// Reads the headers of an ELF file. Everything else is read when it is asked for.
    ///
    /// # Errors
    /// If the bytes are no ELF file or end inside the ELF header. Broken section headers are no error: the file is then
    /// used by its program headers alone.
    pub fn parse(bytes: Blob) -> Result<Self, Error> {
        Self::parse_any(bytes, None)
    }

    /// Reads an image that lies as it did in memory (vDSO, a module whose file is lost): byte 0 is the first mapped
    /// byte; only program headers and the dynamic section are used.
    ///
    /// # Errors
    /// As [`ElfObject::parse`].
    pub fn parse_image(bytes: Blob) -> Result<Self, Error> {
        Self::parse_any(bytes, Some(0))
    }

    /// The same, with the run-time address of byte 0. It is needed where the dynamic linker has relocated the dynamic
    /// section in place (glibc does that on most CPUs; the vDSO is left alone).
    ///
    /// # Errors
    /// As [`ElfObject::parse`].
    pub fn parse_image_at(bytes: Blob, base: u64) -> Result<Self, Error> {
        Self::parse_any(bytes, Some(base))
    }

    fn parse_any(blob: Blob, image_base: Option<u64>) -> Result<Self, Error> {
        let data: &[u8] = (*blob).as_ref();
        if data.get(..4) != Some(b"\x7fELF") {
            return Err(Error::NotElf);
        }
        let (is_64, little) = match (data.get(4), data.get(5)) {
            (Some(1), Some(1)) => (false, true),
            (Some(1), Some(2)) => (false, false),
            (Some(2), Some(1)) => (true, true),
            (Some(2), Some(2)) => (true, false),
            _ => return Err(Error::NotElf),
        };
        let view = View::new(data, little);
        let length = data.len() as u64;
        let cut = |needed: u64| Error::Truncated { what: "elf header", length, needed };
        let need16 = |at: u64| view.u16(at).ok_or_else(|| cut(at));
        let need_word = |at: u64| view.word(at, is_64).ok_or_else(|| cut(at));
        let file_type = need16(16)?;
        let machine = need16(18)?;
        let entry = need_word(24)?;
        let (phoff, shoff, tail) =
            if is_64 { (need_word(32)?, need_word(40)?, 48) } else { (need_word(28)?, need_word(32)?, 36) };
        let flags = view.u32(tail).ok_or_else(|| cut(tail))?;
        let phentsize = u64::from(need16(tail + 6)?);
        let phnum = need16(tail + 8)?;
        let shentsize = u64::from(need16(tail + 10)?);
        let shnum = u64::from(need16(tail + 12)?);
        let shstrndx = need16(tail + 14)?;

        // "Extended numbering": counts that do not fit 16 bits stand in section header 0.
        let header = |index: u64| {
            let at = shoff.checked_add(index.checked_mul(shentsize)?)?;
            Section::read(&view, at, is_64)
        };
        let wide_enough = shentsize >= if is_64 { 64 } else { 40 } && shoff != 0 && image_base.is_none();
        let zero = if wide_enough { header(0) } else { None };
        let shnum = if shnum == 0 { zero.map_or(0, |section| section.size) } else { shnum };
        let names = if shstrndx == SHN_XINDEX { zero.map_or(0, |s| s.link) } else { u32::from(shstrndx) };
        let phnum = match (phnum, zero) {
            (PN_XNUM, Some(section)) => u64::from(section.info),
            (count, _) => u64::from(count),
        };

        let mut sections = Vec::new();
        if wide_enough {
            for index in 0..shnum.min(MAX_SECTIONS) {
                let Some(section) = header(index) else { break };
                sections.push(section);
            }
        }
        let mut programs = Vec::new();
        if phentsize >= if is_64 { 56 } else { 32 } {
            for index in 0..phnum.min(MAX_PROGRAMS) {
                let at = phoff.checked_add(index * phentsize);
                let Some(program) = at.and_then(|at| Program::read(&view, at, is_64)) else { break };
                programs.push(program);
            }
        }
        let segments: Vec<ElfSegment> = programs.iter().filter(|p| p.kind == PT_LOAD).map(|p| p.segment).collect();
        let image = image_base.map(|base| {
            // Byte 0 of an image is the first page of its lowest segment.
            let lowest = segments.iter().map(|s| s.vaddr.wrapping_sub(s.offset & 0xfff) & !0xfff).min();
            (lowest.unwrap_or(0), base)
        });
        let unpacked = sections
            .iter()
            .enumerate()
            .filter(|(_, section)| section.kind != SHT_NOBITS && section.flags & SHF_ALLOC == 0)
            .map(|(index, _)| (index as u32, OnceLock::new()))
            .take(4096)
            .collect();
        let section_names = sections.get(names as usize).map_or((0, 0), |s| (s.offset, s.size));
        Ok(ElfObject {
            is_64,
            little,
            machine,
            file_type,
            flags,
            entry,
            image,
            programs,
            segments,
            sections,
            section_names,
            by_address: OnceLock::new(),
            by_name: OnceLock::new(),
            unpacked,
            room: sections::Room::new((*blob).as_ref().len() as u64),
            build_id: OnceLock::new(),
            symtab: OnceLock::new(),
            dynsym: OnceLock::new(),
            plt: OnceLock::new(),
            blob,
        })
    }

    /// A file of another container whose sections go by these names: DWARF is read out of it, nothing else.
    pub(crate) fn of_sections(
        blob: Blob,
        is_64: bool,
        little: bool,
        sections: Vec<Section>,
        names: Vec<Vec<u8>>,
    ) -> Self {
        let mut by_name: HashMap<Box<[u8]>, u32> = HashMap::new();
        for (index, name) in names.into_iter().enumerate() {
            by_name.entry(name.into()).or_insert(index as u32);
        }
        ElfObject {
            is_64,
            little,
            machine: 0,
            // ET_DYN: linked.
            file_type: 3,
            flags: 0,
            entry: 0,
            image: None,
            programs: Vec::new(),
            segments: Vec::new(),
            sections,
            section_names: (0, 0),
            by_address: OnceLock::new(),
            by_name: OnceLock::from(by_name),
            unpacked: HashMap::new(),
            room: sections::Room::new(0),
            build_id: OnceLock::from(None),
            symtab: OnceLock::from(None),
            dynsym: OnceLock::from(None),
            plt: OnceLock::new(),
            blob,
        }
    }

    /// The whole file.
    pub(crate) fn data(&self) -> &[u8] {
        (*self.blob).as_ref()
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::new(self.data(), self.little)
    }

    /// The GNU build-id, from the program headers' notes or from a note section.
    pub fn build_id(&self) -> Option<&[u8]> {
        self.build_id.get_or_init(|| self.find_build_id()).as_deref()
    }

    /// e_machine.
    pub fn machine(&self) -> u16 {
        self.machine
    }

    /// ELFCLASS64. Trap: x32 programs are 32-bit files for a 64-bit CPU.
    pub fn is_64(&self) -> bool {
        self.is_64
    }

    /// ELFDATA2LSB.
    pub fn is_little_endian(&self) -> bool {
        self.little
    }

    /// e_type: ET_REL = 1, ET_EXEC = 2, ET_DYN = 3.
    pub fn file_type(&self) -> u16 {
        self.file_type
    }

    /// e_flags.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// e_entry (the module's own address).
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Every PT_LOAD, in the file's order.
    pub fn segments(&self) -> &[ElfSegment] {
        &self.segments
    }

    pub(crate) fn program(&self, kind: u32) -> Option<&ElfSegment> {
        self.programs.iter().find(|program| program.kind == kind).map(|program| &program.segment)
    }

    /// Size of an address in the tables of this file.
    pub(crate) fn address_size(&self) -> u8 {
        if self.is_64 { 8 } else { 4 }
    }

    /// Where the content of an address lies in the bytes, and how much of it is there.
    fn place_of(&self, vaddr: u64) -> Option<(u64, u64)> {
        if let Some((first, _)) = self.image {
            let offset = vaddr.checked_sub(first)?;
            let left = (self.data().len() as u64).checked_sub(offset)?;
            return Some((offset, left));
        }
        let segment = self.segments.iter().find(|s| vaddr >= s.vaddr && vaddr - s.vaddr < s.filesz)?;
        let within = vaddr - segment.vaddr;
        Some((segment.offset.checked_add(within)?, segment.filesz - within))
    }

    /// The file's content that is mapped at an address (the module's own); `None` if some of it is not in the file.
    pub fn bytes_at(&self, vaddr: u64, len: usize) -> Option<&[u8]> {
        let (offset, left) = self.place_of(vaddr)?;
        if len as u64 > left {
            return None;
        }
        // A debug file keeps the program headers of its program; the sections say that the bytes are not here.
        if self.image.is_none() && self.section_at(vaddr).is_some_and(|section| section.kind == SHT_NOBITS) {
            return None;
        }
        self.view().bytes(offset, len as u64)
    }

    /// All of the content from an address to the end of its segment.
    pub(crate) fn rest_at(&self, vaddr: u64) -> Option<&[u8]> {
        let (offset, left) = self.place_of(vaddr)?;
        let available = (self.data().len() as u64).checked_sub(offset)?;
        self.view().bytes(offset, left.min(available))
    }
}

impl Program {
    fn read(view: &View<'_>, at: u64, is_64: bool) -> Option<Program> {
        let kind = view.u32(at)?;
        let word = |index: u64| view.word(at.checked_add(index)?, is_64);
        let segment = if is_64 {
            ElfSegment {
                flags: view.u32(at.checked_add(4)?)?,
                offset: word(8)?,
                vaddr: word(16)?,
                filesz: word(32)?,
                memsz: word(40)?,
            }
        } else {
            ElfSegment {
                offset: word(4)?,
                vaddr: word(8)?,
                filesz: word(16)?,
                memsz: word(20)?,
                flags: view.u32(at.checked_add(24)?)?,
            }
        };
        Some(Program { kind, segment })
    }

    pub(crate) fn is_note(&self) -> bool {
        self.kind == PT_NOTE
    }
}
