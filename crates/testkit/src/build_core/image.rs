//! A tiny ELF image (x86-64) as it lies in a process: file header, program headers, build-id note, dynamic section,
//! unwind table, code. Put it into a core with [`ElfImage::segment`], or write it to disk with [`ElfImage::file`].
//!
//! ```
//! use afterimage_testkit::build_core::{ElfImage, call_frame};
//! let image = ElfImage::new(0x40_0000)
//!     .build_id(b"\xde\xad\xbe\xef")
//!     .dynamic(&[(5, 0x40_0300)])
//!     .code(vec![0xf4; 16])
//!     .function(0, 16, &call_frame::return_address_on_top());
//! assert_eq!(image.code_address(), 0x40_1000);
//! let segment = image.segment();
//! # let _ = segment;
//! ```
//!
//! *Trap*: the image is linked at the address where it stands (ET_EXEC), so its load bias is 0.

use super::pen::Pen;
use super::segment::Segment;

/// Call-frame programs for [`ElfImage::function`], as raw DWARF instructions (DWARF 5, 6.4.2).
pub mod call_frame {
    const RSP: u8 = 7;
    const DEF_CFA: u8 = 0x0c;
    const OFFSET: u8 = 0x80;
    const RA: u8 = 16;

    /// A function that has pushed nothing: CFA = rsp + 8, return address at CFA − 8.
    #[must_use]
    pub fn return_address_on_top() -> Vec<u8> {
        vec![DEF_CFA, RSP, 8, OFFSET | RA, 1]
    }

    /// A trap: CFA = rsp and the return address at CFA, so that the caller's stack pointer is the callee's.
    #[must_use]
    pub fn same_stack_pointer() -> Vec<u8> {
        vec![DEF_CFA, RSP, 0, OFFSET | RA, 0]
    }
}

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const CODE: u64 = 0x1000;

/// Describes the image.
#[derive(Clone, Debug)]
pub struct ElfImage {
    base: u64,
    build_id: Option<Vec<u8>>,
    dynamic: Vec<(u64, u64)>,
    code: Vec<u8>,
    functions: Vec<(u64, u64, Vec<u8>)>,
}

struct Part {
    kind: u32,
    flags: u32,
    start: u64,
    size: u64,
}

impl ElfImage {
    /// An image at an address, with a program header that loads all of it readable and executable.
    #[must_use]
    pub fn new(base: u64) -> Self {
        Self { base, build_id: None, dynamic: Vec::new(), code: Vec::new(), functions: Vec::new() }
    }

    /// Adds PT_NOTE with NT_GNU_BUILD_ID.
    #[must_use]
    pub fn build_id(mut self, id: &[u8]) -> Self {
        self.build_id = Some(id.to_vec());
        self
    }

    /// Adds PT_DYNAMIC with these entries (for example 21, DT_DEBUG, and the address of `r_debug`); DT_NULL is added.
    #[must_use]
    pub fn dynamic(mut self, entries: &[(u64, u64)]) -> Self {
        self.dynamic.extend_from_slice(entries);
        self
    }

    /// Machine code, from [`ElfImage::code_address`] on.
    #[must_use]
    pub fn code(mut self, code: Vec<u8>) -> Self {
        self.code = code;
        self
    }

    /// Adds an unwind rule for `size` bytes of code from `offset` on. Give functions in the order of their addresses.
    #[must_use]
    pub fn function(mut self, offset: u64, size: u64, program: &[u8]) -> Self {
        self.functions.push((offset, size, program.to_vec()));
        self
    }

    /// Where the code begins.
    #[must_use]
    pub fn code_address(&self) -> u64 {
        self.base.saturating_add(CODE)
    }

    /// Where the program headers are: AT_PHDR.
    #[must_use]
    pub fn program_headers_address(&self) -> u64 {
        self.base.saturating_add(HEADER)
    }

    /// How many program headers there are: AT_PHNUM.
    #[must_use]
    pub fn program_headers_count(&self) -> u64 {
        let unwind = u64::from(!self.functions.is_empty());
        let note = u64::from(self.build_id.is_some());
        let dynamic = u64::from(!self.dynamic.is_empty());
        1_u64.saturating_add(unwind).saturating_add(note).saturating_add(dynamic)
    }

    /// Where the dynamic section is: `l_ld`. It stands first after the program headers.
    #[must_use]
    pub fn dynamic_address(&self) -> u64 {
        self.base.saturating_add(self.parts_start())
    }

    /// The whole image as a readable and executable segment.
    #[must_use]
    pub fn segment(&self) -> Segment {
        Segment::new(self.base, self.bytes()).access("r-x")
    }

    /// The image's bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.write(false)
    }

    /// The image as a file, with section headers, so that tools that go by sections can check it.
    #[must_use]
    pub fn file(&self) -> Vec<u8> {
        self.write(true)
    }

    fn parts_start(&self) -> u64 {
        HEADER.saturating_add(PROGRAM_HEADER.saturating_mul(self.program_headers_count()))
    }

    fn write(&self, with_sections: bool) -> Vec<u8> {
        let mut body = Pen::little();
        body.up_to(self.parts_start() as usize);
        let mut parts = Vec::new();
        let mut eh_frame = None;
        if !self.dynamic.is_empty() {
            parts.push(part(&mut body, 2, 6, |pen| {
                for (tag, value) in self.dynamic.iter().chain([&(0, 0)]) {
                    pen.u64(*tag).u64(*value);
                }
            }));
        }
        if let Some(id) = &self.build_id {
            parts.push(part(&mut body, 4, 4, |pen| {
                pen.u32(4).u32(id.len() as u32).u32(3).bytes(b"GNU\0").bytes(id).align(4);
            }));
        }
        if !self.functions.is_empty() {
            body.align(8);
            let header_size = self.functions.len().saturating_mul(8).saturating_add(12) as u64;
            let header_start = body.position();
            let frame_start = header_start.saturating_add(header_size).next_multiple_of(8);
            let (frame, entries) = self.eh_frame(frame_start);
            self.eh_frame_header(header_start, frame_start, &entries, &mut body);
            body.up_to(frame_start as usize).bytes(&frame);
            parts.push(Part { kind: 0x6474_e550, flags: 4, start: header_start, size: header_size });
            eh_frame = Some(Part { kind: 0, flags: 4, start: frame_start, size: frame.len() as u64 });
        }
        body.up_to(CODE as usize).bytes(&self.code);
        let loaded = body.position();
        let sections = if with_sections { self.sections(&parts, eh_frame.as_ref(), &mut body) } else { (0, 0) };

        let mut pen = Pen::little();
        pen.bytes(b"\x7fELF\x02\x01\x01").align(16).u16(2).u16(62).u32(1);
        pen.u64(self.code_address()).u64(HEADER).u64(sections.0).u32(0).u16(HEADER as u16);
        pen.u16(PROGRAM_HEADER as u16).u16(self.program_headers_count() as u16);
        pen.u16(64).u16(sections.1).u16(sections.1.saturating_sub(1));
        parts.insert(0, Part { kind: 1, flags: 5, start: 0, size: loaded });
        for part in &parts {
            let address = self.base.saturating_add(part.start);
            let align = if part.kind == 1 { 4096 } else { 4 };
            pen.u32(part.kind).u32(part.flags).u64(part.start).u64(address).u64(address);
            pen.u64(part.size).u64(part.size).u64(align);
        }
        let mut bytes = pen.into_bytes();
        bytes.extend(body.into_bytes().into_iter().skip(bytes.len()));
        bytes
    }

    /// One CIE, then one FDE for each function; gives the FDEs' offsets in the image.
    fn eh_frame(&self, frame_start: u64) -> (Vec<u8>, Vec<u64>) {
        let mut pen = Pen::little();
        let mut entries = Vec::new();
        let cie = pen.blank_u32();
        // CIE id, version 1, "zR", code factor 1, data factor −8, return address in column 16, pointers pcrel|sdata4.
        pen.u32(0).bytes(b"\x01zR\0\x01\x78\x10\x01\x1b").align(4);
        let size = pen.rva().saturating_sub(4);
        pen.fill_u32(cie, size);
        for (offset, length, program) in &self.functions {
            entries.push(frame_start.saturating_add(pen.position()));
            let start = pen.rva();
            let fde = pen.blank_u32();
            let back_to_cie = pen.rva();
            pen.u32(back_to_cie);
            let here = frame_start.saturating_add(pen.position());
            let distance = CODE.saturating_add(*offset).wrapping_sub(here);
            pen.number(distance, 4).number(*length, 4).u8(0).bytes(program).align(4);
            let size = pen.rva().saturating_sub(start).saturating_sub(4);
            pen.fill_u32(fde, size);
        }
        pen.u32(0);
        (pen.into_bytes(), entries)
    }

    /// `.eh_frame_hdr` (LSB core, "DWARF extensions"): version 1, table of pairs relative to the header.
    fn eh_frame_header(&self, header_start: u64, frame_start: u64, entries: &[u64], pen: &mut Pen) {
        pen.bytes(b"\x01\x1b\x03\x3b");
        pen.number(frame_start.wrapping_sub(header_start.wrapping_add(4)), 4).u32(entries.len() as u32);
        for ((offset, ..), entry) in self.functions.iter().zip(entries) {
            pen.number(CODE.saturating_add(*offset).wrapping_sub(header_start), 4);
            pen.number(entry.wrapping_sub(header_start), 4);
        }
    }

    /// Section headers at the end; gives their offset and number. The string table is the last one.
    fn sections(&self, parts: &[Part], eh_frame: Option<&Part>, body: &mut Pen) -> (u64, u16) {
        let mut names = Pen::little();
        names.u8(0);
        let mut rows = Vec::new();
        let mut add = |name: &str, kind: u32, flags: u64, start: u64, size: u64, entry: u64| {
            rows.push((names.rva(), kind, flags, start, size, entry));
            names.bytes(name.as_bytes()).u8(0);
        };
        for part in parts {
            match part.kind {
                2 => add(".dynamic", 6, 3, part.start, part.size, 16),
                4 => add(".note.gnu.build-id", 7, 2, part.start, part.size, 0),
                _ => add(".eh_frame_hdr", 1, 2, part.start, part.size, 0),
            }
        }
        if let Some(frame) = eh_frame {
            add(".eh_frame", 1, 2, frame.start, frame.size, 0);
        }
        add(".text", 1, 6, CODE, self.code.len() as u64, 0);
        let names_start = body.position();
        add(".shstrtab", 3, 0, names_start, 0, 0);
        let names = names.into_bytes();
        if let Some(last) = rows.last_mut() {
            last.4 = names.len() as u64;
        }
        let start = body.bytes(&names).align(8).position();
        body.zeros(64);
        for (name, kind, flags, offset, size, entry) in &rows {
            let address = if *flags == 0 { 0 } else { self.base.saturating_add(*offset) };
            body.u32(*name).u32(*kind).u64(*flags).u64(address).u64(*offset).u64(*size);
            body.u32(0).u32(0).u64(4).u64(*entry);
        }
        (start, rows.len().saturating_add(1) as u16)
    }
}

fn part(body: &mut Pen, kind: u32, flags: u32, write: impl FnOnce(&mut Pen)) -> Part {
    let start = body.align(8).position();
    write(body);
    Part { kind, flags, start, size: body.position().saturating_sub(start) }
}
