//! Walking the notes of a core: owner, type and content, one after another, read in large blocks.
//!
//! *Example*: `Walk::new(&source, segment, endian)` and `while let Some(note) = walk.next()` visits every note.
//!
//! *Trap*: a note of a hostile file may claim any length. Content longer than [`MAX_CONTENT`] is passed over unread, and
//! what the file cuts off is given as far as it reaches.

use super::headers::Segment;
use crate::Endian;
use crate::bytes::Fields;
use crate::source::Source;

/// Bytes read at once.
const BLOCK: usize = 256 << 10;
/// Longest content that is read: an NT_FILE note of a process with hundreds of thousands of mappings.
const MAX_CONTENT: u64 = 64 << 20;
/// Bytes that are read in all: 65 536 threads with 16 KiB of registers each. A hostile file scatters notes over more.
const MAX_READ: u64 = 1 << 30;
/// Longest owner's name that is a name; real ones have at most some thirty bytes.
const MAX_OWNER: u32 = 256;

/// One note.
#[derive(Debug)]
pub(super) struct Note<'a> {
    /// The owner's name without its NUL.
    pub(super) owner: &'a [u8],
    /// `n_type`.
    pub(super) kind: u32,
    /// Where the content begins in the file.
    pub(super) offset: u64,
    /// Bytes of content, as the note says.
    pub(super) size: u64,
    /// The content, as far as the file has it.
    pub(super) content: Fields<'a>,
}

impl Note<'_> {
    /// Whether all of the content is there.
    pub(super) fn whole(&self) -> bool {
        self.content.bytes().len() as u64 == self.size
    }
}

/// The walk through one note segment.
pub(super) struct Walk<'s> {
    source: &'s dyn Source,
    endian: Endian,
    align: u64,
    next: u64,
    end: u64,
    block: Vec<u8>,
    block_at: u64,
    read: u64,
    /// The notes ended in the middle of one.
    pub(super) damaged: bool,
}

impl<'s> Walk<'s> {
    /// Starts at the first note of a segment.
    pub(super) fn new(source: &'s dyn Source, segment: &Segment, endian: Endian) -> Self {
        Self {
            source,
            endian,
            // Folklore: notes of 64-bit files should be aligned to 8 by the gABI, but every core's are aligned to 4,
            // whatever `p_align` says; only 8 is meant (binutils `elf_parse_notes` reads it the same way).
            align: if segment.align == 8 { 8 } else { 4 },
            next: segment.offset,
            end: segment.file_end().min(source.len()),
            block: Vec::new(),
            block_at: 0,
            read: 0,
            damaged: false,
        }
    }

    /// Where the next note begins, or would begin.
    pub(super) fn position(&self) -> u64 {
        self.next
    }

    /// Has `len` bytes from `at` on in the block, as far as the segment reaches.
    fn fill(&mut self, at: u64, len: u64) -> Option<()> {
        let have = self.block_at + self.block.len() as u64;
        let want_end = at.saturating_add(len).min(self.end);
        if at >= self.block_at && want_end <= have && at <= have {
            return Some(());
        }
        let size = (self.end.checked_sub(at)?).min(len.max(BLOCK as u64)) as usize;
        self.read += size as u64;
        if self.read > MAX_READ {
            self.damaged = true;
            return None;
        }
        self.block.clear();
        self.block.resize(size, 0);
        self.block_at = at;
        let got = self.source.read_at(at, &mut self.block).unwrap_or(0);
        self.block.truncate(got);
        Some(())
    }

    fn slice(&self, at: u64, len: u64) -> &[u8] {
        let from = at.saturating_sub(self.block_at).min(self.block.len() as u64) as usize;
        let rest = self.block.get(from..).unwrap_or_default();
        rest.get(..len.min(rest.len() as u64) as usize).unwrap_or_default()
    }

    /// The next note, or `None` at the end or where no note can be recognised any more.
    pub(super) fn next(&mut self) -> Option<Note<'_>> {
        const HEADER: u64 = 12;
        let start = self.next;
        if start >= self.end {
            return None;
        }
        self.fill(start, HEADER + u64::from(MAX_OWNER))?;
        let header = Fields::new(self.slice(start, HEADER), self.endian);
        let sizes = || Some((header.u32(0)?, header.u32(4)?, header.u32(8)?));
        let Some((name_size, content_size, kind)) = sizes() else {
            // Fewer bytes than a header: padding, or a cut.
            self.damaged = self.end >= self.source.len();
            return None;
        };
        if name_size == 0 && content_size == 0 && kind == 0 {
            // Zeros between the last note and the end of the segment.
            return None;
        }
        if name_size > MAX_OWNER {
            self.damaged = true;
            return None;
        }
        let up = |size: u64| size.next_multiple_of(self.align);
        let name_at = start + HEADER;
        // With 8-byte alignment the sum of header and name is aligned, not the name.
        let offset = start + up(HEADER + u64::from(name_size));
        let size = u64::from(content_size);
        self.next = offset + up(size);
        if size <= MAX_CONTENT {
            self.fill(start, (offset - start) + size)?;
        }
        let owner = self.slice(name_at, u64::from(name_size));
        let owner_len = owner.iter().position(|&b| b == 0).unwrap_or(owner.len());
        let content = if size <= MAX_CONTENT { self.slice(offset, size) } else { &[] };
        Some(Note {
            owner: owner.get(..owner_len).unwrap_or_default(),
            kind,
            offset,
            size,
            content: Fields::new(content, self.endian),
        })
    }
}
