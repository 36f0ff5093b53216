//! Mach-O files: programs, libraries and the DWARF inside a `.dSYM` bundle, for one processor or several (fat files).
//!
//! Not here: finding them, unwind tables (`__unwind_info`), and the debug map of a program that was linked without
//! `dsymutil` (its DWARF is left in the object files).
//!
//! ```no_run
//! use afterimage_symbols::{Blob, MachObject};
//! let bytes: Blob = std::sync::Arc::new(std::fs::read("App.dSYM/Contents/Resources/DWARF/App")?);
//! for slice in MachObject::slices(&bytes)? {
//!     println!("{:x?} {:#x}", slice.uuid(), slice.image_base());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Trap: `0xcafebabe` begins fat files and Java classes; a class's version stands where a fat file has its count, and no
//! file is for so many processors.

use crate::elf::{ElfObject, Section, View};
use crate::{Blob, Error};
use std::sync::Arc;

/// Slices of a fat file.
const MAX_SLICES: u32 = 40;
/// Load commands of one file.
const MAX_COMMANDS: u32 = 65_536;
/// Sections of one file.
const MAX_SECTIONS: usize = 4096;
/// Symbols that are kept.
const MAX_SYMBOLS: usize = 8 << 20;

const LC_SEGMENT: u32 = 1;
const LC_SYMTAB: u32 = 2;
const LC_SEGMENT_64: u32 = 0x19;
const LC_UUID: u32 = 0x1b;
/// S_ATTR_PURE_INSTRUCTIONS and S_ATTR_SOME_INSTRUCTIONS.
const CODE: u32 = 0x8000_0400;

/// A part of a blob.
struct Part {
    blob: Blob,
    start: usize,
    end: usize,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        let all: &[u8] = (*self.blob).as_ref();
        all.get(self.start..self.end).unwrap_or(&[])
    }
}

/// A function by the symbol table.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    start: u64,
    end: u64,
    /// Where its name begins in the file.
    name: u64,
}

/// The code of one Mach-O file for one processor.
pub struct MachObject {
    object: Arc<ElfObject>,
    uuid: Option<[u8; 16]>,
    text: u64,
    cpu: (u32, u32),
    /// By address.
    symbols: Vec<Symbol>,
}

impl std::fmt::Debug for MachObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachObject").field("cpu", &self.cpu).field("symbols", &self.symbols.len()).finish()
    }
}

/// A section as its header describes it.
struct Found {
    segment: Vec<u8>,
    name: Vec<u8>,
    addr: u64,
    size: u64,
    offset: u64,
    flags: u32,
}

impl MachObject {
    /// Every slice of a file: one for each processor that it is for.
    ///
    /// # Errors
    /// If the bytes are no Mach-O file. Slices that are broken are left out.
    pub fn slices(blob: &Blob) -> Result<Vec<Self>, Error> {
        let data: &[u8] = (**blob).as_ref();
        let view = View::new(data, false);
        let wide = match view.u32(0) {
            Some(0xcafe_babe) => false,
            Some(0xcafe_babf) => true,
            _ => return Self::parse(blob.clone()).map(|object| vec![object]),
        };
        let count = view.u32(4).filter(|count| *count <= MAX_SLICES).ok_or(Error::NotElf)?;
        let mut slices = Vec::new();
        for index in 0..u64::from(count) {
            let (offset, size) = if wide {
                let at = 8 + index * 32;
                (view.u64(at + 8), view.u64(at + 16))
            } else {
                let at = 8 + index * 20;
                (view.u32(at + 8).map(u64::from), view.u32(at + 12).map(u64::from))
            };
            let (Some(offset), Some(size)) = (offset, size) else { break };
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
            let end = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(start).min(data.len());
            let part: Blob = Arc::new(Part { blob: blob.clone(), start, end });
            slices.extend(Self::parse(part).ok());
        }
        Ok(slices)
    }

    fn parse(blob: Blob) -> Result<Self, Error> {
        let data: &[u8] = (*blob).as_ref();
        let (is_64, little) = match data.get(..4) {
            Some([0xce, 0xfa, 0xed, 0xfe]) => (false, true),
            Some([0xcf, 0xfa, 0xed, 0xfe]) => (true, true),
            Some([0xfe, 0xed, 0xfa, 0xce]) => (false, false),
            Some([0xfe, 0xed, 0xfa, 0xcf]) => (true, false),
            _ => return Err(Error::NotElf),
        };
        let view = View::new(data, little);
        let length = data.len() as u64;
        let need = |at: u64| view.u32(at).ok_or(Error::Truncated { what: "mach-o header", length, needed: at });
        let cpu = (need(4)?, need(8)?);
        let count = need(16)?.min(MAX_COMMANDS);
        let mut at: u64 = if is_64 { 32 } else { 28 };
        let (mut uuid, mut table) = (None, None);
        let mut text = None;
        let mut sections: Vec<Found> = Vec::new();
        for _ in 0..count {
            let (Some(kind), Some(size)) = (view.u32(at), view.u32(at + 4)) else { break };
            if size < 8 {
                break;
            }
            match kind {
                LC_UUID => uuid = view.bytes(at + 8, 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()),
                LC_SYMTAB => table = Some((view.u32(at + 8), view.u32(at + 12), view.u32(at + 16), view.u32(at + 20))),
                LC_SEGMENT | LC_SEGMENT_64 => {
                    let name = name(&view, at + 8);
                    let wide = kind == LC_SEGMENT_64;
                    if name == b"__TEXT" {
                        text = view.word(at + 24, wide);
                    }
                    read_sections(&view, at, u64::from(size), wide, &mut sections);
                }
                _ => {}
            }
            let Some(next) = at.checked_add(u64::from(size)).filter(|next| *next < length) else { break };
            at = next;
        }
        let symbols = match table {
            Some((Some(at), Some(count), Some(names), Some(names_size))) => {
                read_symbols(&view, is_64, &sections, (at, count), (names, names_size))
            }
            _ => Vec::new(),
        };
        let named = sections.iter().map(|section| {
            let flags = if section.flags & CODE != 0 { crate::elf::SHF_EXECINSTR } else { 0 };
            // What is not in the file (a dSYM has the sections of its program, without their bytes) has offset 0.
            let kind = if section.offset == 0 { crate::elf::SHT_NOBITS } else { 1 };
            Section {
                name: 0,
                kind,
                flags,
                addr: section.addr,
                offset: section.offset,
                size: section.size,
                link: 0,
                info: 0,
                entsize: 0,
            }
        });
        let named: Vec<Section> = named.collect();
        let names = sections.iter().map(|section| elf_name(&section.segment, &section.name)).collect();
        let object = Arc::new(ElfObject::of_sections(blob.clone(), is_64, little, named, names));
        Ok(Self { object, uuid, text: text.unwrap_or(0), cpu, symbols })
    }

    /// LC_UUID.
    pub fn uuid(&self) -> Option<&[u8; 16]> {
        self.uuid.as_ref()
    }

    /// Where `__TEXT` begins in the file's own addresses: what the load address of the image stands for.
    pub fn image_base(&self) -> u64 {
        self.text
    }

    /// Type and subtype of the processor, as `mach/machine.h` numbers them.
    pub fn cpu(&self) -> (u32, u32) {
        self.cpu
    }

    /// Whether there is DWARF in it.
    pub fn has_debug_info(&self) -> bool {
        self.object.has_debug_info()
    }

    /// Whether it has symbols of functions.
    pub fn has_symbols(&self) -> bool {
        !self.symbols.is_empty()
    }

    pub(crate) fn object(&self) -> &Arc<ElfObject> {
        &self.object
    }

    fn name_of(&self, symbol: &Symbol) -> Option<&[u8]> {
        let name = self.object.view().c_str(symbol.name)?;
        // The linker puts an underscore before every name of C.
        Some(name.strip_prefix(b"_").unwrap_or(name)).filter(|name| !name.is_empty())
    }

    /// Start, end and name of the function that covers an address.
    pub(crate) fn function(&self, at: u64) -> Option<(u64, u64, &[u8])> {
        let after = self.symbols.partition_point(|symbol| symbol.start <= at);
        let symbol = self.symbols.get(after.checked_sub(1)?).filter(|symbol| at < symbol.end)?;
        Some((symbol.start, symbol.end, self.name_of(symbol)?))
    }

    /// Start and size of the function with a name.
    pub(crate) fn by_name(&self, wanted: &[u8]) -> Option<(u64, u64)> {
        let found = self.symbols.iter().find(|symbol| self.name_of(symbol) == Some(wanted))?;
        Some((found.start, found.end - found.start))
    }
}

fn name(view: &View<'_>, at: u64) -> Vec<u8> {
    let bytes = view.bytes(at, 16).unwrap_or(&[]);
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}

fn read_sections(view: &View<'_>, at: u64, size: u64, wide: bool, out: &mut Vec<Found>) {
    let (head, each, count_at) = if wide { (72, 80, 64) } else { (56, 68, 48) };
    let count = view.u32(at + count_at).unwrap_or(0);
    for index in 0..u64::from(count) {
        let within = head + index * each;
        if within + each > size || out.len() >= MAX_SECTIONS {
            break;
        }
        let start = at + within;
        let tail = start + 32 + if wide { 16 } else { 8 };
        let fields = (
            view.word(start + 32, wide),
            view.word(start + if wide { 40 } else { 36 }, wide),
            view.u32(tail),
            view.u32(tail + 16),
        );
        let (Some(addr), Some(size), Some(offset), Some(flags)) = fields else { break };
        let (segment, name) = (name(view, start + 16), name(view, start));
        out.push(Found { segment, name, addr, size, offset: u64::from(offset), flags });
    }
}

/// `__DWARF,__debug_info` as `.debug_info`; anything else keeps both its names.
///
/// Folklore: names of sections have room for 16 bytes, so `__debug_str_offsets` is cut to `__debug_str_offs` (LLVM's
/// `MCObjectFileInfo` writes it so).
fn elf_name(segment: &[u8], name: &[u8]) -> Vec<u8> {
    match name.strip_prefix(b"__debug_") {
        Some(b"str_offs") => b".debug_str_offsets".to_vec(),
        Some(rest) if segment == b"__DWARF" => [b".debug_", rest].concat(),
        _ => [segment, b",", name].concat(),
    }
}

/// Symbols of code, each up to the next one or to the end of its section.
fn read_symbols(
    view: &View<'_>,
    is_64: bool,
    sections: &[Found],
    (at, count): (u32, u32),
    (names, names_size): (u32, u32),
) -> Vec<Symbol> {
    let each: u64 = if is_64 { 16 } else { 12 };
    let mut symbols = Vec::new();
    for index in 0..u64::from(count) {
        let start = u64::from(at) + index * each;
        let (Some(name), Some(kind), Some(section)) = (view.u32(start), view.u8(start + 4), view.u8(start + 5)) else {
            break;
        };
        // N_STAB are the debug map; N_SECT (0xe) are defined in a section.
        if kind & 0xe0 != 0 || kind & 0x0e != 0x0e || name >= names_size || symbols.len() >= MAX_SYMBOLS {
            continue;
        }
        let Some(value) = view.word(start + 8, is_64) else { break };
        let Some(held) = usize::from(section).checked_sub(1).and_then(|index| sections.get(index)) else { continue };
        let within = value.checked_sub(held.addr).is_some_and(|past| past < held.size);
        if held.flags & CODE == 0 || !within {
            continue;
        }
        let end = held.addr.saturating_add(held.size);
        symbols.push((value, kind & 1 == 0, Symbol { start: value, end, name: u64::from(names) + u64::from(name) }));
    }
    // Of several names for one address, an external one is what people know.
    symbols.sort_by_key(|(start, local, symbol)| (*start, *local, symbol.name));
    symbols.dedup_by_key(|(start, ..)| *start);
    let mut symbols: Vec<Symbol> = symbols.into_iter().map(|(.., symbol)| symbol).collect();
    let mut next = u64::MAX;
    for symbol in symbols.iter_mut().rev() {
        symbol.end = symbol.end.min(next);
        next = symbol.start;
    }
    symbols
}
