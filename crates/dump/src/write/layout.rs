//! A dump laid out as a file: what stands before the memory, where each range of memory goes, what stands behind it.
//!
//! *What it is*: the one thing that every container's encoder makes and every way of writing takes. Whoever copies with
//! many threads writes [`Layout::head`], puts memory where [`Layout::memory`] says, and ends with [`Layout::tail`];
//! [`write()`] does it from the front to the end for outputs that cannot seek.
//!
//! *What it is not*: it reads no memory and knows no container.
//!
//! *Example*: `write(&elf_core::lay_out(&core)?, &mut content, &mut Sparse::new(file))`.
//!
//! *Trap*: what cannot be read is known only when all the memory has been read, but the front of a file that goes into
//! a pipe is gone by then. So room for it is kept at the very end, of a size that the head already names.

use super::WriteError;
use crate::Endian;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;

/// Bytes that are asked for, compared and written at once.
const BLOCK: usize = 1024 * 1024;

/// Granularity in which zeros become holes, in bytes.
const ZERO_UNIT: usize = 4096;

/// A range of memory and its place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Place in the file, in bytes.
    pub offset: u64,
}

/// How what went wrong while memory was read is written at the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TailForm {
    /// An ELF note of afterimage's, as long as its room.
    ElfNote(Endian),
    /// A JSON list of texts, padded with blanks: Mozilla's minidump stream of soft errors.
    Json,
}

/// A dump laid out in a file.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What the file begins with.
    pub head: Vec<u8>,
    /// Memory in file order, without overlap.
    pub memory: Vec<Placed>,
    /// Where the tail begins; the file ends [`Layout::tail_room`] bytes later.
    pub tail_at: u64,
    /// Bytes kept for the tail.
    pub tail_room: usize,
    /// How the tail is encoded.
    pub tail_form: TailForm,
}

impl Layout {
    /// Length of the file in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.tail_at.saturating_add(self.tail_room as u64)
    }

    /// Whether it is a file of no bytes; never so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it has room for.
    #[must_use]
    pub fn memory_len(&self) -> u64 {
        self.memory.iter().fold(0, |sum, placed| sum.saturating_add(placed.len))
    }

    /// The tail with these soft errors: exactly [`Layout::tail_room`] bytes.
    #[must_use]
    pub fn tail(&self, soft_errors: &[String]) -> Vec<u8> {
        match self.tail_form {
            TailForm::ElfNote(endian) => super::elf_core::tail(endian, soft_errors, self.tail_room),
            TailForm::Json => json(soft_errors, self.tail_room),
        }
    }
}

/// A JSON list of texts that fits `room`, padded with blanks.
fn json(texts: &[String], room: usize) -> Vec<u8> {
    let mut out = String::from("[");
    for text in texts {
        let mut item = String::from(if out.len() > 1 { ",\"" } else { "\"" });
        for c in text.chars() {
            match c {
                '"' | '\\' => item.extend(['\\', c]),
                c if c.is_control() => item.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => item.push(c),
            }
        }
        item.push('"');
        if out.len() + item.len() + 1 > room {
            break;
        }
        out.push_str(&item);
    }
    out.push(']');
    let mut out = out.into_bytes();
    out.resize(room, b' ');
    out
}

/// Gives the memory, in ascending order within each range of a layout.
pub trait Content {
    /// The next range within `at..end` that has bytes to store. What lies before it (or all, for `None`) is zero.
    fn next(&mut self, at: u64, end: u64) -> Option<Range<u64>>;

    /// Fills `buf` with the memory at `at`, leaving zeros where it cannot be read.
    ///
    /// # Errors
    /// Only when it makes no sense to go on: the source is gone.
    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<()>;

    /// What went wrong while memory was read; asked for once, when all of it has been read.
    fn soft_errors(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Where a file goes, from its front to its end.
pub trait Output {
    /// The next bytes.
    ///
    /// # Errors
    /// When the output refuses.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// That many zeros come next.
    ///
    /// # Errors
    /// When the output refuses.
    fn zeros(&mut self, len: u64) -> io::Result<()>;
}

/// An output that cannot seek: zeros are written.
pub struct Pipe<W: Write>(pub W);

impl<W: Write> Output for Pipe<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn zeros(&mut self, mut len: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        while len > 0 {
            let part = ZEROS.get(..len.min(ZEROS.len() as u64) as usize).unwrap_or(&ZEROS);
            self.0.write_all(part)?;
            len -= part.len() as u64;
        }
        Ok(())
    }
}

impl<W: Write> Output for super::seekable::Writer<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn zeros(&mut self, len: u64) -> io::Result<()> {
        Self::zeros(self, len)
    }
}

/// A new file: zeros become holes.
pub struct Sparse<F: Write + Seek> {
    file: F,
    skipped: u64,
}

impl<F: Write + Seek> Sparse<F> {
    /// Writes to `file`, which must be empty, from its position 0 on.
    pub fn new(file: F) -> Self {
        Self { file, skipped: 0 }
    }

    /// Gives a hole at the very end its length, and the file back.
    ///
    /// # Errors
    /// When the output refuses.
    pub fn finish(mut self) -> io::Result<F> {
        if self.skipped > 0 {
            self.skipped -= 1;
            self.bytes(&[0])?;
        }
        self.file.flush()?;
        Ok(self.file)
    }
}

impl<F: Write + Seek> Output for Sparse<F> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        while self.skipped > 0 {
            let step = self.skipped.min(i64::MAX as u64);
            self.file.seek(SeekFrom::Current(step as i64))?;
            self.skipped -= step;
        }
        self.file.write_all(bytes)
    }

    fn zeros(&mut self, len: u64) -> io::Result<()> {
        self.skipped = self.skipped.saturating_add(len);
        Ok(())
    }
}

/// What has been written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Bytes of memory in it that are not holes.
    pub stored: u64,
    /// What could not be read; also in the file.
    pub soft_errors: Vec<String>,
}

/// Writes a dump from its front to its end.
///
/// # Errors
/// When the output refuses or the content is gone.
pub fn write(layout: &Layout, content: &mut dyn Content, out: &mut dyn Output) -> Result<Written, WriteError> {
    let refused = |what| move |source| WriteError::Output { what, source };
    out.bytes(&layout.head).map_err(refused("the head"))?;
    let mut written = Written { file_size: layout.len(), ..Written::default() };
    let mut at_file = layout.head.len() as u64;
    let mut buf = vec![0; BLOCK];
    for placed in &layout.memory {
        let end = placed.start.saturating_add(placed.len);
        let mut at = placed.start;
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
                let place = placed.offset.saturating_add(at - placed.start);
                out.zeros(place.saturating_sub(at_file)).map_err(refused("memory"))?;
                written.stored += put(out, block).map_err(refused("memory"))?;
                at_file = place + len as u64;
                at += len as u64;
            }
        }
    }
    out.zeros(layout.tail_at.saturating_sub(at_file)).map_err(refused("memory"))?;
    written.soft_errors = content.soft_errors();
    out.bytes(&layout.tail(&written.soft_errors)).map_err(refused("the tail"))?;
    Ok(written)
}

/// Writes a block, its zero pages as zeros; gives the bytes that are none.
pub(crate) fn put(out: &mut dyn Output, block: &[u8]) -> io::Result<u64> {
    let mut stored = 0;
    for (range, zero) in runs(block) {
        if zero {
            out.zeros(range.len() as u64)?;
        } else if let Some(bytes) = block.get(range) {
            out.bytes(bytes)?;
            stored += bytes.len() as u64;
        }
    }
    Ok(stored)
}

/// Splits a block into runs of pages that are all zero (`true`) and that are not.
pub fn runs(block: &[u8]) -> impl Iterator<Item = (Range<usize>, bool)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = block.get(at..)?;
        let mut units = rest.chunks(ZERO_UNIT);
        let first = units.next()?;
        let zero = is_zero(first);
        let more = units.take_while(|unit| is_zero(unit) == zero).map(<[u8]>::len).sum::<usize>();
        let start = at;
        at += first.len() + more;
        Some((start..at, zero))
    })
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(unit: &[u8]) -> bool {
    // Pages that hold something nearly always do so in their first words; the comparison of the rest is a memcmp.
    const ZEROS: [u8; ZERO_UNIT] = [0; ZERO_UNIT];
    ZEROS.get(..unit.len()) == Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_pages() {
        let mut block = vec![0; 5 * ZERO_UNIT + 7];
        block[2 * ZERO_UNIT + 4095] = 1;
        block[3 * ZERO_UNIT] = 1;
        let found: Vec<_> = runs(&block).collect();
        let unit = ZERO_UNIT;
        assert_eq!(found, [(0..2 * unit, true), (2 * unit..4 * unit, false), (4 * unit..5 * unit + 7, true)]);
        assert_eq!(runs(&[]).count(), 0);
    }

    #[test]
    fn json_fits_its_room() {
        let texts: Vec<String> = (0..50).map(|n| format!("\"page\" {n}\n")).collect();
        let out = json(&texts, 200);
        assert_eq!(out.len(), 200);
        let list: Vec<String> = serde_json::from_slice(&out).unwrap();
        assert!(list.len() > 3 && list.len() < 50 && list[1] == texts[1]);
        assert_eq!(json(&[], 4), b"[]  ");
    }

    #[test]
    fn sparse_and_piped_files_are_the_same() {
        let mut pipe = Pipe(Vec::new());
        let mut sparse = Sparse::new(std::io::Cursor::new(Vec::new()));
        for out in [&mut pipe as &mut dyn Output, &mut sparse] {
            out.bytes(b"a").unwrap();
            out.zeros(100_000).unwrap();
            out.bytes(b"b").unwrap();
            out.zeros(3).unwrap();
        }
        assert_eq!(sparse.finish().unwrap().into_inner(), pipe.0);
        assert_eq!(pipe.0.len(), 100_005);
    }
}
