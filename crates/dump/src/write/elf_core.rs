//! The layout of an ELF core file, as Linux writes it: header, program headers, notes, then memory by whole pages.
//!
//! *What it is not*: it makes no notes of its own ([`super::notes`] encodes them) and decides nothing about what
//! belongs into a dump.
//!
//! *Example*: a [`Segment`] with `memory_size` 1 MiB and `file_size` 4096 becomes a PT_LOAD that holds one page; a
//! reader then knows that the rest was left out, not that it was zero.
//!
//! *Trap*: notes stand before memory (a cut-off file still has its registers), but what could not be read is known
//! only after the memory. It goes into a second, small PT_NOTE at the very end of the file.

use super::layout::{self, Content, Layout, Placed, Sparse, TailForm, Written};
use super::{WriteError, notes};
use crate::{Endian, Permissions};
use std::io::{Seek, Write};

/// Room that is kept at the end for what could not be read, in bytes, unless [`Core::tail_room`] says otherwise.
pub const TAIL_ROOM: usize = 32 * 1024;

/// The least room: the note itself and one line.
const TAIL_ROOM_MIN: usize = 256;

/// `e_phnum` when the count does not fit: the real one is in `sh_info` of section header 0 (elf(5)).
const PN_XNUM: u16 = 0xffff;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// Word size of the dumped process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// ELFCLASS32.
    Bits32,
    /// ELFCLASS64.
    Bits64,
}

/// Everything about a core file but the bytes of its memory.
#[derive(Clone, Debug)]
pub struct Core {
    /// Word size.
    pub class: Class,
    /// Byte order.
    pub endian: Endian,
    /// `e_machine`: 62 for x86-64, 183 for aarch64, 3 for i386.
    pub machine: u16,
    /// `e_flags`.
    pub flags: u32,
    /// `EI_OSABI`: 0, which Linux writes, or 9 for FreeBSD.
    pub os_abi: u8,
    /// Page size in bytes: a power of two.
    pub page_size: u64,
    /// Encoded notes that stand before [`Core::notes`], padded to 4 bytes each: those of another core, kept as they are.
    pub raw_notes: Vec<u8>,
    /// Notes in file order.
    pub notes: Vec<Note>,
    /// Memory in file order; ascending by address, as readers expect.
    pub segments: Vec<Segment>,
    /// Bytes kept at the end for soft errors that are met while memory is read; 0 for a core that cannot say any.
    pub tail_room: usize,
}

impl Core {
    /// An empty core, little endian.
    #[must_use]
    pub fn new(class: Class, machine: u16, page_size: u64) -> Self {
        Self {
            class,
            endian: Endian::Little,
            machine,
            flags: 0,
            os_abi: 0,
            page_size: page_size.max(1),
            raw_notes: Vec::new(),
            notes: Vec::new(),
            segments: Vec::new(),
            tail_room: TAIL_ROOM,
        }
    }

    /// PT_NOTE segments: the notes, and the note at the end.
    fn note_segments(&self) -> u64 {
        1 + u64::from(self.tail_room > 0)
    }
}

/// One note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its owner, as `CORE`, `LINUX` or `AFTERIMAGE`.
    pub owner: &'static str,
    /// Its type.
    pub kind: u32,
    /// Its content.
    pub content: Vec<u8>,
}

/// One range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub start: u64,
    /// Bytes of the address space.
    pub memory_size: u64,
    /// Bytes from the start on that the file holds; the rest was left out. At most `memory_size`.
    pub file_size: u64,
    /// Protection.
    pub permissions: Permissions,
}

/// Lays a core out: headers, notes, then memory in the order of the segments, by whole pages.
///
/// # Errors
/// When a 32-bit container is asked to hold more than 4 GiB, or a note is too long.
pub fn lay_out(core: &Core) -> Result<Layout, WriteError> {
    let sizes = HeadSizes::of(core)?;
    let align = |at: u64| at.checked_next_multiple_of(core.page_size).ok_or(WriteError::TooLarge { what: "memory" });
    let mut at = align(sizes.end)?;
    let mut offsets = Vec::with_capacity(core.segments.len());
    for segment in &core.segments {
        offsets.push(at);
        at = align(at.checked_add(segment.file_size).ok_or(WriteError::TooLarge { what: "memory" })?)?;
    }
    lay_out_at(core, &offsets, at)
}

/// Lays a core out whose memory has its places already: an offset for each segment, and the first byte behind all.
///
/// For whoever copies memory before all of it is known.
///
/// # Errors
/// As [`lay_out`], and when headers and notes do not fit below the memory.
pub fn lay_out_at(core: &Core, offsets: &[u64], memory_end: u64) -> Result<Layout, WriteError> {
    let sizes = HeadSizes::of(core)?;
    let stored = core.segments.iter().zip(offsets).filter(|(segment, _)| segment.file_size > 0);
    let mut memory: Vec<Placed> =
        stored.map(|(segment, &offset)| Placed { start: segment.start, len: segment.file_size, offset }).collect();
    memory.sort_by_key(|placed| placed.offset);
    let tail_at = memory_end;
    let tail_room = if core.tail_room == 0 { 0 } else { core.tail_room.max(TAIL_ROOM_MIN).next_multiple_of(4) };
    let end = tail_at.checked_add(tail_room as u64).ok_or(WriteError::TooLarge { what: "memory" })?;
    if core.class == Class::Bits32 && end > u64::from(u32::MAX) {
        return Err(WriteError::TooLarge { what: "memory of a 32-bit process" });
    }
    if memory.first().is_some_and(|first| first.offset < sizes.end) {
        return Err(WriteError::TooLarge { what: "the notes" });
    }
    let head = encode_head(core, &sizes, offsets, tail_at, tail_room)?;
    Ok(Layout { head, memory, tail_at, tail_room, tail_form: TailForm::ElfNote(core.endian) })
}

/// The note at the end of a core: soft errors, as long as its room.
pub(super) fn tail(endian: Endian, soft_errors: &[String], room: usize) -> Vec<u8> {
    let mut core = Core::new(Class::Bits64, 0, 1);
    core.endian = endian;
    if room == 0 {
        return Vec::new();
    }
    let content = room.saturating_sub(note_len(&notes::soft_errors(&[], 0)) as usize);
    let mut note = notes::soft_errors(soft_errors, content);
    note.content.resize(content, 0);
    let mut out = Encoder::new(&core);
    // One note of this room's size is never too long.
    let _ = encode_notes(&mut out, std::slice::from_ref(&note));
    out.done()
}

/// Writes a core to an empty file, holes for zeros.
///
/// # Errors
/// When the output refuses, the content is gone, or a 32-bit container is asked to hold more than 4 GiB.
pub fn write(core: &Core, out: &mut (impl Write + Seek), content: &mut dyn Content) -> Result<Written, WriteError> {
    let mut sparse = Sparse::new(out);
    let written = layout::write(&lay_out(core)?, content, &mut sparse)?;
    sparse.finish().map_err(|source| WriteError::Output { what: "the end", source })?;
    Ok(written)
}

/// Where the parts of the head lie.
struct HeadSizes {
    /// Offset of section header 0, if the segments are too many for `e_phnum`.
    section_header_at: Option<u64>,
    notes_at: u64,
    notes_len: u64,
    end: u64,
}

impl HeadSizes {
    fn of(core: &Core) -> Result<Self, WriteError> {
        let sizes = Sizes::of(core.class);
        let count = core.segments.len() as u64 + core.note_segments();
        let after_headers = sizes.header + count * sizes.program_header;
        let extended = count >= u64::from(PN_XNUM);
        let section_header_at = extended.then_some(after_headers);
        let notes_at = after_headers + if extended { sizes.section_header } else { 0 };
        let raw = core.raw_notes.len() as u64;
        let notes_len = core.notes.iter().fold(raw, |sum: u64, note| sum.saturating_add(note_len(note)));
        let end = notes_at.checked_add(notes_len).ok_or(WriteError::TooLarge { what: "the notes" })?;
        Ok(Self { section_header_at, notes_at, notes_len, end })
    }
}

/// Bytes of the fixed structures.
struct Sizes {
    header: u64,
    program_header: u64,
    section_header: u64,
}

impl Sizes {
    fn of(class: Class) -> Self {
        match class {
            Class::Bits32 => Self { header: 52, program_header: 32, section_header: 40 },
            Class::Bits64 => Self { header: 64, program_header: 56, section_header: 64 },
        }
    }
}

fn note_len(note: &Note) -> u64 {
    let owner = (note.owner.len() as u64 + 1).next_multiple_of(4);
    let content = (note.content.len() as u64).next_multiple_of(4);
    12 + owner + content
}

fn encode_notes(out: &mut Encoder, notes: &[Note]) -> Result<(), WriteError> {
    for note in notes {
        let size = u32::try_from(note.content.len()).map_err(|_| WriteError::TooLarge { what: "a note" })?;
        out.u32(note.owner.len() as u32 + 1);
        out.u32(size);
        out.u32(note.kind);
        out.bytes(note.owner.as_bytes());
        out.u8(0);
        out.align(4);
        out.bytes(&note.content);
        out.align(4);
    }
    Ok(())
}

fn encode_head(
    core: &Core,
    layout: &HeadSizes,
    offsets: &[u64],
    tail_at: u64,
    tail_room: usize,
) -> Result<Vec<u8>, WriteError> {
    let sizes = Sizes::of(core.class);
    let count = core.segments.len() as u64 + core.note_segments();
    let mut out = Encoder::new(core);
    out.out.reserve_exact(usize::try_from(layout.end).unwrap_or(0));
    let class = if core.class == Class::Bits64 { 2 } else { 1 };
    let data = if core.endian == Endian::Little { 1 } else { 2 };
    out.bytes(&[0x7f, b'E', b'L', b'F', class, data, 1, core.os_abi, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.u16(4); // ET_CORE
    out.u16(core.machine);
    out.u32(1);
    out.word(0); // e_entry
    out.word(sizes.header);
    out.word(layout.section_header_at.unwrap_or(0));
    out.u32(core.flags);
    out.u16(sizes.header as u16);
    out.u16(sizes.program_header as u16);
    let extended = layout.section_header_at.is_some();
    out.u16(if extended { PN_XNUM } else { count as u16 });
    out.u16(if extended { sizes.section_header as u16 } else { 0 });
    out.u16(u16::from(extended));
    out.u16(0); // e_shstrndx

    // Folklore: Linux gives PT_NOTE no protection, alignment 4 (0 before 5.x) and no memory size.
    out.program_header(&ProgramHeader {
        kind: PT_NOTE,
        offset: layout.notes_at,
        file_size: layout.notes_len,
        align: 4,
        ..Default::default()
    });
    for (segment, &offset) in core.segments.iter().zip(offsets) {
        let permissions = segment.permissions;
        out.program_header(&ProgramHeader {
            kind: PT_LOAD,
            flags: u32::from(permissions.execute)
                | u32::from(permissions.write) << 1
                | u32::from(permissions.read) << 2,
            offset,
            address: segment.start,
            file_size: segment.file_size,
            memory_size: segment.memory_size,
            align: core.page_size,
        });
    }
    if tail_room > 0 {
        out.program_header(&ProgramHeader {
            kind: PT_NOTE,
            offset: tail_at,
            file_size: tail_room as u64,
            align: 4,
            ..Default::default()
        });
    }
    if extended {
        let count = u32::try_from(count).map_err(|_| WriteError::TooLarge { what: "the program headers" })?;
        out.u32(0); // sh_name
        out.u32(0); // SHT_NULL
        out.word(0);
        out.word(0);
        out.word(0);
        out.word(1); // sh_size: the number of section headers
        out.u32(0); // sh_link
        out.u32(count); // sh_info: the real e_phnum
        out.word(0);
        out.word(0);
    }
    out.bytes(&core.raw_notes);
    encode_notes(&mut out, &core.notes)?;
    Ok(out.done())
}

#[derive(Default)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// Fields in the core's word size and byte order.
struct Encoder {
    out: Vec<u8>,
    class: Class,
    endian: Endian,
}

impl Encoder {
    fn new(core: &Core) -> Self {
        Self { out: Vec::new(), class: core.class, endian: core.endian }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    fn u16(&mut self, value: u16) {
        match self.endian {
            Endian::Little => self.bytes(&value.to_le_bytes()),
            Endian::Big => self.bytes(&value.to_be_bytes()),
        }
    }

    fn u32(&mut self, value: u32) {
        match self.endian {
            Endian::Little => self.bytes(&value.to_le_bytes()),
            Endian::Big => self.bytes(&value.to_be_bytes()),
        }
    }

    /// An address, offset or size: 4 bytes in ELFCLASS32 (the layout has been checked to fit), 8 else.
    fn word(&mut self, value: u64) {
        match (self.class, self.endian) {
            (Class::Bits32, _) => self.u32(value as u32),
            (Class::Bits64, Endian::Little) => self.bytes(&value.to_le_bytes()),
            (Class::Bits64, Endian::Big) => self.bytes(&value.to_be_bytes()),
        }
    }

    fn program_header(&mut self, header: &ProgramHeader) {
        self.u32(header.kind);
        if self.class == Class::Bits64 {
            self.u32(header.flags);
        }
        self.word(header.offset);
        self.word(header.address);
        self.word(0); // p_paddr
        self.word(header.file_size);
        self.word(header.memory_size);
        if self.class == Class::Bits32 {
            self.u32(header.flags);
        }
        self.word(header.align);
    }

    fn align(&mut self, to: usize) {
        let len = self.out.len().next_multiple_of(to);
        self.out.resize(len, 0);
    }

    fn done(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use std::ops::Range;

    /// Memory whose bytes tell their address; the page at 0x5000 is untouched.
    struct Pattern;

    impl Content for Pattern {
        fn next(&mut self, at: u64, end: u64) -> Option<Range<u64>> {
            if at >= end {
                return None;
            }
            if (0x5000..0x6000).contains(&at) {
                return (end > 0x6000).then_some(0x6000..end);
            }
            if at < 0x5000 { Some(at..end.min(0x5000)) } else { Some(at..end) }
        }

        fn read(&mut self, at: u64, buf: &mut [u8]) -> std::io::Result<()> {
            for (i, byte) in buf.iter_mut().enumerate() {
                *byte = ((at + i as u64) / 0x1000) as u8;
            }
            Ok(())
        }

        fn soft_errors(&mut self) -> Vec<String> {
            vec!["one page was away".into()]
        }
    }

    fn u(bytes: &[u8], at: usize, len: usize) -> u64 {
        bytes[at..at + len].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    fn small() -> Core {
        let mut core = Core::new(Class::Bits64, 62, 4096);
        core.notes.push(Note { owner: "CORE", kind: 1, content: vec![7; 5] });
        let permissions = Permissions { read: true, write: true, execute: false };
        core.segments.push(Segment { start: 0x4000, memory_size: 0x3000, file_size: 0x3000, permissions });
        core.segments.push(Segment { start: 0x10000, memory_size: 0x8000, file_size: 0x1000, permissions });
        core
    }

    #[test]
    fn memory_lies_where_the_program_headers_say() {
        let mut file = Cursor::new(Vec::new());
        let written = write(&small(), &mut file, &mut Pattern).unwrap();
        let bytes = file.into_inner();
        assert_eq!(written.file_size, bytes.len() as u64);
        assert_eq!(written.stored, 0x3000);
        assert_eq!(u(&bytes, 16, 2), 4, "ET_CORE");
        assert_eq!(u(&bytes, 56, 2), 4, "e_phnum");
        let header = |n: usize| &bytes[64 + n * 56..64 + (n + 1) * 56];
        assert_eq!(u(header(0), 0, 4), 4, "PT_NOTE first");
        let (notes_at, notes_len) = (u(header(0), 8, 8) as usize, u(header(0), 32, 8) as usize);
        let notes = &bytes[notes_at..notes_at + notes_len];
        assert_eq!(u(notes, 0, 4), 5);
        assert_eq!(&notes[12..20], b"CORE\0\0\0\0");
        assert_eq!(&notes[20..28], [7, 7, 7, 7, 7, 0, 0, 0]);
        assert_eq!(u(header(3), 0, 4), 4, "a PT_NOTE at the end");
        let (tail_at, tail_len) = (u(header(3), 8, 8) as usize, u(header(3), 32, 8) as usize);
        assert_eq!(tail_at + tail_len, bytes.len());
        assert_eq!(&bytes[tail_at + 12..tail_at + 22], b"AFTERIMAGE");
        assert_eq!(u(&bytes, tail_at + 4, 4) as usize, tail_len - 24);
        assert_eq!(&bytes[tail_at + 24..tail_at + 43], b"one page was away\n\0");
        assert_eq!(u(header(1), 0, 4), 1);
        assert_eq!(u(header(1), 4, 4), 6, "rw-");
        let at = u(header(1), 8, 8) as usize;
        assert_eq!(at % 4096, 0);
        assert_eq!((bytes[at], bytes[at + 0x1000], bytes[at + 0x2000]), (4, 0, 6));
        let at = u(header(2), 8, 8) as usize;
        assert_eq!((u(header(2), 32, 8), u(header(2), 40, 8)), (0x1000, 0x8000));
        assert_eq!(bytes[at + 0xfff], 0x10);
    }

    #[test]
    fn many_segments_use_section_header_zero() {
        let mut core = Core::new(Class::Bits64, 62, 4096);
        let permissions = Permissions::default();
        for n in 0..70_000u64 {
            core.segments.push(Segment { start: n * 0x2000, memory_size: 0x1000, file_size: 0, permissions });
        }
        let mut file = Cursor::new(Vec::new());
        write(&core, &mut file, &mut Pattern).unwrap();
        let bytes = file.into_inner();
        assert_eq!(u(&bytes, 56, 2), 0xffff);
        assert_eq!((u(&bytes, 58, 2), u(&bytes, 60, 2)), (64, 1));
        let section = u(&bytes, 40, 8) as usize;
        assert_eq!(u(&bytes, section + 44, 4), 70_002);
    }

    #[test]
    fn a_32_bit_core_holds_no_more_than_4_gib() {
        let mut core = Core::new(Class::Bits32, 3, 4096);
        let permissions = Permissions::default();
        core.segments.push(Segment { start: 0, memory_size: 1 << 32, file_size: 1 << 32, permissions });
        let error = write(&core, &mut Cursor::new(Vec::new()), &mut Pattern).unwrap_err();
        assert!(matches!(error, WriteError::TooLarge { .. }));
    }
}
