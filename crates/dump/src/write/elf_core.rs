//! The layout of an ELF core file, as Linux writes it: header, program headers, notes, then memory by whole pages.
//!
//! *What it is not*: it makes no notes of its own ([`super::notes`] encodes them) and decides nothing about what
//! belongs into a dump.
//!
//! *Example*: a [`Segment`] with `memory_size` 1 MiB and `file_size` 4096 becomes a PT_LOAD that holds one page; a
//! reader then knows that the rest was left out, not that it was zero.
//!
//! *Trap*: notes stand before memory (a cut-off file still has its registers), but what could not be read is known
//! only after the memory. So room is left behind the notes, and [`Content::last_note`] fills it at the very end.

use super::WriteError;
use crate::{Endian, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;

/// Room that is kept behind the notes for [`Content::last_note`], in bytes. It costs nothing: unused, it is a hole.
pub const LAST_NOTE_ROOM: usize = 64 * 1024;

/// Bytes that are asked for, compared and written at once.
const BLOCK: usize = 1024 * 1024;

/// Granularity in which zeros become holes, in bytes.
const ZERO_UNIT: usize = 4096;

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
    /// Page size in bytes: a power of two.
    pub page_size: u64,
    /// Notes in file order.
    pub notes: Vec<Note>,
    /// Memory in file order; ascending by address, as readers expect.
    pub segments: Vec<Segment>,
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
            page_size: page_size.max(1),
            notes: Vec::new(),
            segments: Vec::new(),
        }
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

/// Gives the memory, in ascending order within each segment.
pub trait Content {
    /// The next range within `at..end` that has bytes to store. What lies before it (or all, for `None`) is zero.
    fn next(&mut self, at: u64, end: u64) -> Option<Range<u64>>;

    /// Fills `buf` with the memory at `at`, leaving zeros where it cannot be read.
    ///
    /// # Errors
    /// Only when it makes no sense to go on: the source is gone.
    fn read(&mut self, at: u64, buf: &mut [u8]) -> std::io::Result<()>;

    /// A last note of at most `room` bytes of content, asked for once, when all the memory has been read.
    fn last_note(&mut self, room: usize) -> Option<Note> {
        let _ = room;
        None
    }
}

/// What has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Bytes of memory in it that are not holes.
    pub stored: u64,
}

/// Writes a core file to `out`, from its position 0 on; holes are seeked over, so `out` must be empty.
///
/// # Errors
/// When the output refuses, the content is gone, or a 32-bit container is asked to hold more than 4 GiB.
pub fn write(core: &Core, out: &mut (impl Write + Seek), content: &mut dyn Content) -> Result<Written, WriteError> {
    let layout = Layout::of(core)?;
    let notes = encode_notes(core, &core.notes)?;
    let head_len = layout.notes_at;
    seek(out, head_len, "notes")?;
    put(out, &notes, "notes")?;

    let mut written = Written { file_size: layout.end, stored: 0 };
    let mut buf = vec![0; BLOCK];
    // Where the output really ends: a hole at the very end must be given its length.
    let mut reached = head_len.saturating_add(notes.len() as u64);
    for (segment, &offset) in core.segments.iter().zip(&layout.offsets) {
        let end = segment.start.saturating_add(segment.file_size);
        let mut at = segment.start;
        while let Some(range) = content.next(at, end) {
            let range = range.start.max(at)..range.end.min(end);
            if range.is_empty() {
                break;
            }
            at = range.start;
            while at < range.end {
                let len = (range.end - at).min(BLOCK as u64) as usize;
                let Some(block) = buf.get_mut(..len) else { break };
                block.fill(0);
                content.read(at, block).map_err(|source| WriteError::Content { at, source })?;
                let place = offset.saturating_add(at - segment.start);
                if let Some((last, stored)) = put_sparse(out, place, block)? {
                    reached = last;
                    written.stored = written.stored.saturating_add(stored);
                }
                at += len as u64;
            }
        }
    }

    let mut notes_len = notes.len();
    // 20 bytes of header and a padded owner stand before the content.
    if let Some(note) = content.last_note(LAST_NOTE_ROOM.saturating_sub(64)) {
        let more = encode_notes(core, std::slice::from_ref(&note))?;
        if more.len() <= LAST_NOTE_ROOM {
            let place = head_len.saturating_add(notes_len as u64);
            seek(out, place, "the last note")?;
            put(out, &more, "the last note")?;
            notes_len += more.len();
            reached = reached.max(place.saturating_add(more.len() as u64));
        }
    }
    if reached < layout.end {
        seek(out, layout.end - 1, "the end")?;
        put(out, &[0], "the end")?;
    }
    // The header comes last: until now the file is no ELF file at all.
    let head = encode_head(core, &layout, notes_len as u64)?;
    seek(out, 0, "the header")?;
    put(out, &head, "the header")?;
    out.flush().map_err(|source| WriteError::Output { what: "the end", source })?;
    Ok(written)
}

/// Where everything lies in the file.
struct Layout {
    /// Offset of section header 0, if the segments are too many for `e_phnum`.
    section_header_at: Option<u64>,
    notes_at: u64,
    offsets: Vec<u64>,
    end: u64,
}

impl Layout {
    fn of(core: &Core) -> Result<Self, WriteError> {
        let too_large = |what| WriteError::TooLarge { what };
        let sizes = Sizes::of(core.class);
        let count = core.segments.len() as u64 + 1;
        let after_headers = sizes.header + count * sizes.program_header;
        let extended = count >= u64::from(PN_XNUM);
        let section_header_at = extended.then_some(after_headers);
        let notes_at = after_headers + if extended { sizes.section_header } else { 0 };
        let mut notes_len = LAST_NOTE_ROOM as u64;
        for note in &core.notes {
            notes_len += note_len(note);
        }
        let align = |at: u64| at.checked_next_multiple_of(core.page_size).ok_or(too_large("memory"));
        let mut end = align(notes_at + notes_len)?;
        let mut offsets = Vec::with_capacity(core.segments.len());
        for segment in &core.segments {
            offsets.push(end);
            end = align(end.checked_add(segment.file_size).ok_or(too_large("memory"))?)?;
        }
        if core.class == Class::Bits32 && end > u64::from(u32::MAX) {
            return Err(too_large("memory of a 32-bit process"));
        }
        Ok(Self { section_header_at, notes_at, offsets, end })
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

fn encode_notes(core: &Core, notes: &[Note]) -> Result<Vec<u8>, WriteError> {
    let mut out = Encoder::new(core);
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
    Ok(out.done())
}

fn encode_head(core: &Core, layout: &Layout, notes_len: u64) -> Result<Vec<u8>, WriteError> {
    let sizes = Sizes::of(core.class);
    let count = core.segments.len() as u64 + 1;
    let mut out = Encoder::new(core);
    let class = if core.class == Class::Bits64 { 2 } else { 1 };
    let data = if core.endian == Endian::Little { 1 } else { 2 };
    out.bytes(&[0x7f, b'E', b'L', b'F', class, data, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
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
        file_size: notes_len,
        align: 4,
        ..Default::default()
    });
    for (segment, &offset) in core.segments.iter().zip(&layout.offsets) {
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

fn seek(out: &mut impl Seek, to: u64, what: &'static str) -> Result<(), WriteError> {
    out.seek(SeekFrom::Start(to)).map(drop).map_err(|source| WriteError::Output { what, source })
}

fn put(out: &mut impl Write, bytes: &[u8], what: &'static str) -> Result<(), WriteError> {
    out.write_all(bytes).map_err(|source| WriteError::Output { what, source })
}

/// Writes the runs of `block` that are not zero; gives the end of the last one and the bytes written.
fn put_sparse(out: &mut (impl Write + Seek), place: u64, block: &[u8]) -> Result<Option<(u64, u64)>, WriteError> {
    let mut last = None;
    let mut stored = 0;
    let mut at = 0;
    while at < block.len() {
        let rest = block.get(at..).unwrap_or_default();
        let run = run_len(rest, true);
        at += run;
        let rest = rest.get(run..).unwrap_or_default();
        let run = run_len(rest, false);
        if let Some(bytes) = rest.get(..run).filter(|bytes| !bytes.is_empty()) {
            seek(out, place.saturating_add(at as u64), "memory")?;
            put(out, bytes, "memory")?;
            stored += run as u64;
            last = Some(place.saturating_add((at + run) as u64));
        }
        at += run;
    }
    Ok(last.map(|end| (end, stored)))
}

/// Bytes at the start of `block` made of whole units that are (`zero`) or are not all zero.
fn run_len(block: &[u8], zero: bool) -> usize {
    block.chunks(ZERO_UNIT).take_while(|unit| unit.iter().all(|&byte| byte == 0) == zero).map(<[u8]>::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

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

        fn last_note(&mut self, _room: usize) -> Option<Note> {
            Some(Note { owner: "AFTERIMAGE", kind: 1, content: b"one page was away\n".to_vec() })
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
        assert_eq!(u(&bytes, 56, 2), 3, "e_phnum");
        let header = |n: usize| &bytes[64 + n * 56..64 + (n + 1) * 56];
        assert_eq!(u(header(0), 0, 4), 4, "PT_NOTE first");
        let (notes_at, notes_len) = (u(header(0), 8, 8) as usize, u(header(0), 32, 8) as usize);
        let notes = &bytes[notes_at..notes_at + notes_len];
        assert_eq!(u(notes, 0, 4), 5);
        assert_eq!(&notes[12..20], b"CORE\0\0\0\0");
        assert_eq!(&notes[20..28], [7, 7, 7, 7, 7, 0, 0, 0]);
        assert_eq!(&notes[28 + 12..28 + 22], b"AFTERIMAGE");
        assert!(notes.ends_with(b"one page was away\n\0\0"));
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
        assert_eq!(u(&bytes, section + 44, 4), 70_001);
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
