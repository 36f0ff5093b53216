//! Memory that was put aside while a process stood, laid over what is read later.
//!
//! *What it is*: shared memory, and what a copy of the process does not have, kept in an unnamed temporary file; and
//! a few bytes kept in memory.
//!
//! *Trap*: the file holds the process's memory: it has no name, and goes when it is closed.

use super::Meter;
use super::copy::{self, CopyError, Job, Over, Sheet};
use crate::memory::{Bytes, LiveMemory, Reader, Unreadable};
use crate::plan::{Piece, Source};
use afterimage_dump::write::layout::Content;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Memory that was put aside.
#[derive(Default)]
pub(super) struct Aside {
    /// By first address: the first behind, and the place in the file.
    spans: BTreeMap<u64, (u64, u64)>,
    file: Option<File>,
    pub(super) unreadable: Unreadable,
}

impl Aside {
    /// Puts aside what these pieces of the standing process `pid` hold, in a file in this folder.
    pub(super) fn put(pid: i32, pieces: &[Piece], folder: &Path, meter: &Meter<'_>) -> Result<Self, CopyError> {
        let mut aside = Self::default();
        if pieces.is_empty() {
            return Ok(aside);
        }
        let file = tempfile::tempfile_in(folder).map_err(CopyError::Output)?;
        let reader = Reader::new(pid);
        let mut memory = LiveMemory::new(&reader, pid, pieces);
        let mut jobs = Vec::new();
        let mut offset = 0;
        for piece in pieces {
            aside.spans.insert(piece.start, (piece.end, offset));
            let mut at = piece.start;
            let end = piece.start + piece.stored;
            while let Some(range) = memory.next(at, end) {
                let start = range.start.max(at);
                at = range.end;
                jobs.push(Job { at: start, len: at - start, offset: offset + (start - piece.start) });
            }
            offset += piece.end - piece.start;
        }
        file.set_len(offset).map_err(CopyError::Output)?;
        let copied = copy::copy(&Sheet::cached(&file), jobs.into_iter(), &reader, Over::Nothing, meter)?;
        aside.unreadable = copied.unreadable;
        aside.file = Some(file);
        Ok(aside)
    }

    /// The pieces with their bytes in the file, whose holes tell what is zero.
    pub(super) fn pieces(&self, pieces: Vec<Piece>) -> io::Result<Vec<Piece>> {
        let of_file = |piece: Piece| {
            let source = match (self.spans.get(&piece.start), &self.file) {
                (Some(&(_, offset)), Some(file)) => Source::File { file: file.try_clone()?, offset },
                _ => Source::All,
            };
            Ok(Piece { source, ..piece })
        };
        pieces.into_iter().map(of_file).collect()
    }
}

/// Bytes of a process: those that were put aside, else those of `under`.
pub(super) struct Kept<'a> {
    pub(super) under: &'a Reader,
    pub(super) aside: &'a Aside,
    /// A few bytes to be shown at an address.
    pub(super) small: (u64, Vec<u8>),
}

impl Bytes for Kept<'_> {
    fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let span = self.aside.spans.range(..=at).next_back();
        if let (Some((start, (end, offset))), Some(file)) = (span, &self.aside.file)
            && at < *end
        {
            let len = (buf.len() as u64).min(end - at) as usize;
            let Some(part) = buf.get_mut(..len) else { return Ok(0) };
            file.read_exact_at(part, offset + (at - start))?;
            return Ok(len);
        }
        let next = self.aside.spans.range(at..).next().map_or(u64::MAX, |(start, _)| *start);
        let len = (buf.len() as u64).min(next - at) as usize;
        let Some(part) = buf.get_mut(..len) else { return Ok(0) };
        let got = self.under.read(at, part)?;
        if let Some(part) = part.get_mut(..got) {
            patch(part, at, &self.small.1, self.small.0);
        }
        Ok(got)
    }
}

/// Lays `bytes`, which stand at address `from`, over the part of memory at `at`.
fn patch(part: &mut [u8], at: u64, bytes: &[u8], from: u64) {
    let start = at.max(from);
    let end = (at + part.len() as u64).min(from + bytes.len() as u64);
    if start < end
        && let Some(to) = part.get_mut((start - at) as usize..(end - at) as usize)
        && let Some(bytes) = bytes.get((start - from) as usize..(end - from) as usize)
    {
        to.copy_from_slice(bytes);
    }
}
