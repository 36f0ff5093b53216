//! PE images: Windows' programs, libraries and drivers, as files or as they lay in memory.
//!
//! What it is: headers, sections, exports, the identity of the debug file, COFF symbols (MinGW), and the unwind data of
//! x64 and arm64. Everything is read through [`ImageBytes`] by relative address (RVA), when it is asked for.
//!
//! What it is not: a loader. Nothing is relocated or resolved; the PDB is `crate::pdb`'s.
//!
//! ```no_run
//! use afterimage_symbols::PeImage;
//! let bytes: afterimage_symbols::Blob = std::sync::Arc::new(std::fs::read("app.exe")?);
//! let image = PeImage::of_file(bytes)?;
//! println!("{:?}", image.codeview().map(|id| id.debug_id()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Trap: a file and a memory image differ: sections lie at other places, and COFF symbols are in the file only. A small
//! dump holds some pages of an image, so any read may fail, in the middle of a table too.

mod arm64;
mod arm64_codes;
mod codeview;
mod coff;
mod epilogue;
mod exports;
mod relocations;
mod symbols;
#[cfg(test)]
mod tests;
mod x64;

pub use codeview::CodeView;
pub(crate) use codeview::debug_id as codeview_id;
pub(crate) use symbols::PeSymbols;

use crate::elf::View;
use crate::{Blob, Error};
use std::sync::{Arc, OnceLock};

/// Bytes of an image by relative virtual address.
pub trait ImageBytes: Send + Sync {
    /// Copies bytes from `rva` on and gives how many: as many as lie there without a gap, at most `buf.len()`.
    fn read(&self, rva: u32, buf: &mut [u8]) -> usize;
}

/// `IMAGE_FILE_MACHINE_I386`.
const MACHINE_I386: u16 = 0x14c;
/// `IMAGE_FILE_MACHINE_AMD64`.
const MACHINE_AMD64: u16 = 0x8664;
/// `IMAGE_FILE_MACHINE_ARM64`.
const MACHINE_ARM64: u16 = 0xaa64;

const DIRECTORY_EXPORT: usize = 0;
const DIRECTORY_EXCEPTION: usize = 3;
const DIRECTORY_RELOCATION: usize = 5;
const DIRECTORY_DEBUG: usize = 6;

/// Windows loads no image with more sections than this; object files may have more.
const MAX_SECTIONS: u16 = 96;
/// `IMAGE_SCN_MEM_EXECUTE`.
const SECTION_EXECUTE: u32 = 0x2000_0000;
/// `IMAGE_SCN_MEM_WRITE`.
const SECTION_WRITE: u32 = 0x8000_0000;

/// One section header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeSection {
    pub(crate) rva: u32,
    /// Bytes in memory.
    pub(crate) size: u32,
    /// Place and bytes in the file.
    pub(crate) raw: u32,
    pub(crate) raw_size: u32,
    pub(crate) flags: u32,
}

/// The headers of an image.
#[derive(Clone, Debug)]
struct Headers {
    machine: u16,
    is_64: bool,
    timestamp: u32,
    base: u64,
    entry: u32,
    size_of_image: u32,
    size_of_headers: u32,
    symbols: (u32, u32),
    directories: Vec<(u32, u32)>,
    sections: Vec<PeSection>,
}

/// A PE image whose headers were read.
pub struct PeImage {
    bytes: Arc<dyn ImageBytes>,
    file: Option<Blob>,
    headers: Headers,
    codeview: OnceLock<Option<CodeView>>,
    relocations: OnceLock<relocations::Relocations>,
}

impl std::fmt::Debug for PeImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeImage").field("machine", &self.headers.machine).field("file", &self.file.is_some()).finish()
    }
}

/// A file as the loader would lay it out.
struct FileBytes {
    blob: Blob,
    headers: u32,
    sections: Vec<PeSection>,
}

impl ImageBytes for FileBytes {
    fn read(&self, rva: u32, buf: &mut [u8]) -> usize {
        let data: &[u8] = (*self.blob).as_ref();
        let section = self.sections.iter().find(|s| rva >= s.rva && rva - s.rva < s.size.max(s.raw_size));
        let (from, mut left, zeros) = match section {
            Some(section) => {
                let skip = rva - section.rva;
                let size = if section.size == 0 { section.raw_size } else { section.size };
                let raw = section.raw_size.min(size);
                (u64::from(section.raw) + u64::from(skip), raw.saturating_sub(skip), size.saturating_sub(skip.max(raw)))
            }
            None if rva < self.headers => (u64::from(rva), self.headers - rva, 0),
            None => return 0,
        };
        left = left.min(u32::try_from((data.len() as u64).saturating_sub(from)).unwrap_or(u32::MAX));
        let have = buf.len().min(left as usize);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let Some(source) = from.checked_add(have).and_then(|end| data.get(from..end)) else { return 0 };
        let Some(head) = buf.get_mut(..have) else { return 0 };
        head.copy_from_slice(source);
        // Behind its raw bytes a section is zero.
        let whole = section.is_none_or(|s| u64::from(s.raw) + u64::from(s.raw_size) <= data.len() as u64);
        let more = if whole && have == left as usize { (zeros as usize).min(buf.len() - have) } else { 0 };
        if let Some(rest) = buf.get_mut(have..have + more) {
            rest.fill(0);
        }
        have + more
    }
}

/// Bytes that begin a file.
struct Raw<'a>(&'a [u8]);

impl Raw<'_> {
    fn read(&self, at: u32, buf: &mut [u8]) -> usize {
        let rest = self.0.get(at as usize..).unwrap_or_default();
        let have = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..have), rest.get(..have)) {
            to.copy_from_slice(from);
        }
        have
    }
}

impl PeImage {
    /// Reads the headers of a file.
    ///
    /// # Errors
    /// If the bytes are no PE file, or end inside its headers.
    pub fn of_file(blob: Blob) -> Result<Self, Error> {
        let headers = {
            let raw = Raw((*blob).as_ref());
            Headers::read(&mut |at, buf| raw.read(at, buf))?
        };
        let bytes =
            FileBytes { blob: blob.clone(), headers: headers.size_of_headers, sections: headers.sections.clone() };
        Ok(Self::new(Arc::new(bytes), Some(blob), headers))
    }

    /// Reads the headers of an image in memory, byte 0 of which is its base.
    ///
    /// # Errors
    /// If no PE image lies there, or its headers cannot be read.
    pub fn of_memory(bytes: Arc<dyn ImageBytes>) -> Result<Self, Error> {
        let headers = Headers::read(&mut |at, buf| bytes.read(at, buf))?;
        Ok(Self::new(bytes, None, headers))
    }

    fn new(bytes: Arc<dyn ImageBytes>, file: Option<Blob>, headers: Headers) -> Self {
        Self { bytes, file, headers, codeview: OnceLock::new(), relocations: OnceLock::new() }
    }

    /// `IMAGE_FILE_HEADER.Machine`.
    pub fn machine(&self) -> u16 {
        self.headers.machine
    }

    /// Whether it is PE32+.
    pub fn is_64(&self) -> bool {
        self.headers.is_64
    }

    /// `TimeDateStamp`: seconds since 1970, or a hash of the content (`/Brepro`).
    pub fn timestamp(&self) -> u32 {
        self.headers.timestamp
    }

    /// `SizeOfImage`, in bytes.
    pub fn size_of_image(&self) -> u32 {
        self.headers.size_of_image
    }

    /// The address that it was linked for.
    pub fn preferred_base(&self) -> u64 {
        self.headers.base
    }

    /// Relative address of its entry point; 0 if it has none.
    pub fn entry(&self) -> u32 {
        self.headers.entry
    }

    /// The name of its folder on a symbol server: timestamp and size.
    pub fn code_id(&self) -> String {
        format!("{:08X}{:x}", self.timestamp(), self.size_of_image())
    }

    /// Which debug file belongs to it.
    pub fn codeview(&self) -> Option<&CodeView> {
        self.codeview.get_or_init(|| codeview::find(self)).as_ref()
    }

    /// Copies bytes from `rva` on, as many as there are.
    pub fn read(&self, rva: u32, buf: &mut [u8]) -> usize {
        self.bytes.read(rva, buf)
    }

    /// Whether the section at `rva` may be executed and not written to: what a file may stand for in a dump's memory.
    pub fn is_fixed_code(&self, rva: u32) -> bool {
        let section = self.section(rva);
        section.is_some_and(|s| s.flags & SECTION_EXECUTE != 0 && s.flags & SECTION_WRITE == 0)
    }

    /// As [`PeImage::read`], with the addresses in it as the loader left them for an image at `base`.
    pub fn read_relocated(&self, rva: u32, buf: &mut [u8], base: u64) -> usize {
        let have = self.read(rva, buf);
        let delta = base.wrapping_sub(self.headers.base);
        if delta != 0 {
            let known = self.relocations.get_or_init(|| relocations::Relocations::read(self));
            known.apply(self, rva, buf.get_mut(..have).unwrap_or_default(), delta);
        }
        have
    }

    fn section(&self, rva: u32) -> Option<&PeSection> {
        self.headers.sections.iter().find(|s| rva >= s.rva && rva - s.rva < s.size.max(s.raw_size))
    }

    fn directory(&self, index: usize) -> Option<(u32, u32)> {
        self.headers.directories.get(index).copied().filter(|&(rva, size)| rva != 0 && size != 0)
    }

    /// Exactly so many bytes.
    fn array<const N: usize>(&self, rva: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.read(rva, &mut bytes) == N).then_some(bytes)
    }

    fn u32(&self, rva: u32) -> Option<u32> {
        self.array(rva).map(u32::from_le_bytes)
    }

    /// A text that ends in NUL, at most `limit` bytes.
    fn text(&self, rva: u32, limit: usize) -> Option<String> {
        let mut bytes = vec![0; limit];
        let have = self.read(rva, &mut bytes);
        let bytes = bytes.get(..have)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
    }
}

impl Headers {
    /// `read(offset, buf)` copies what there is. The offsets of headers are the same in files and in memory.
    fn read(read: &mut dyn FnMut(u32, &mut [u8]) -> usize) -> Result<Self, Error> {
        let mut dos = [0u8; 64];
        if read(0, &mut dos) < 64 || !dos.starts_with(b"MZ") {
            return Err(Error::NotPe);
        }
        let start = View::new(&dos, true).u32(0x3c).unwrap_or(0);
        let mut head = [0u8; 24];
        if start > 1 << 28 || read(start, &mut head) < 24 || !head.starts_with(b"PE\0\0") {
            return Err(Error::NotPe);
        }
        let view = View::new(&head, true);
        let cut = |needed: u64| Error::Truncated { what: "pe headers", length: u64::from(start), needed };
        let need = |value: Option<u32>| value.ok_or_else(|| cut(u64::from(start) + 24));
        let machine = view.u16(4).unwrap_or(0);
        let count = view.u16(6).unwrap_or(0).min(MAX_SECTIONS);
        let optional_size = view.u16(20).unwrap_or(0);
        let mut optional = vec![0u8; usize::from(optional_size).min(112 + 16 * 8)];
        let have = read(start + 24, &mut optional);
        optional.truncate(have);
        let fields = View::new(&optional, true);
        let is_64 = match fields.u16(0) {
            Some(0x10b) => false,
            Some(0x20b) => true,
            _ => return Err(Error::NotPe),
        };
        let base = if is_64 { fields.u64(24) } else { fields.u32(28).map(u64::from) };
        let first = if is_64 { 112 } else { 96 };
        let directories = need(fields.u32(first - 4))?.min(16);
        let directories = (0..u64::from(directories))
            .map_while(|i| Some((fields.u32(first + 8 * i)?, fields.u32(first + 8 * i + 4)?)))
            .collect();
        let table = start + 24 + u32::from(optional_size);
        let mut sections = Vec::new();
        for index in 0..u32::from(count) {
            let mut bytes = [0u8; 40];
            if read(table + 40 * index, &mut bytes) < 40 {
                break;
            }
            let view = View::new(&bytes, true);
            let field = |at: u64| view.u32(at).unwrap_or(0);
            sections.push(PeSection {
                rva: field(12),
                size: field(8),
                raw: field(20),
                raw_size: field(16),
                flags: field(36),
            });
        }
        Ok(Self {
            machine,
            is_64,
            timestamp: view.u32(8).unwrap_or(0),
            base: base.ok_or_else(|| cut(u64::from(start) + 24))?,
            entry: need(fields.u32(16))?,
            size_of_image: need(fields.u32(56))?,
            size_of_headers: need(fields.u32(60))?,
            symbols: (view.u32(12).unwrap_or(0), view.u32(16).unwrap_or(0)),
            directories,
            sections,
        })
    }
}
