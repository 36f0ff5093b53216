//! Where the parts of an image go that is not written front to end: a file, or a pipe as records.
//!
//! *Trap*: a pipe gets makedumpfile's flattened form, which says where each record belongs; only makedumpfile -R, crash,
//! libkdumpfile and this program read it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// A file by places.
pub(super) enum Place<'a> {
    /// A file that can seek.
    File(&'a File),
    /// Records into a pipe.
    Flat(&'a mut dyn Write),
}

impl<'a> Place<'a> {
    /// Begins the flattened form.
    pub(super) fn flat(out: &'a mut dyn Write) -> io::Result<Self> {
        let mut head = vec![0; 4096];
        let fields = b"makedumpfile\0\0\0\0".iter().copied().chain(1u64.to_be_bytes()).chain(1u64.to_be_bytes());
        for (to, from) in head.iter_mut().zip(fields) {
            *to = from;
        }
        out.write_all(&head)?;
        Ok(Self::Flat(out))
    }

    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self {
            Self::File(file) => file.write_all_at(bytes, at),
            Self::Flat(out) => {
                out.write_all(&at.to_be_bytes())?;
                out.write_all(&(bytes.len() as u64).to_be_bytes())?;
                out.write_all(bytes)
            }
        }
    }

    /// Ends it, with the length of the whole.
    pub(super) fn end(self, len: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.set_len(len),
            Self::Flat(out) => {
                out.write_all(&[0xff; 16])?;
                out.flush()
            }
        }
    }
}

/// Bytes that follow one another, gathered before they are put.
pub(super) struct Stream {
    at: u64,
    bytes: Vec<u8>,
    most: usize,
}

impl Stream {
    pub(super) fn new(at: u64, most: usize) -> Self {
        Self { at, bytes: Vec::with_capacity(most), most }
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    pub(super) fn put(&mut self, place: &mut Place<'_>, bytes: &[u8]) -> io::Result<()> {
        if self.bytes.len() + bytes.len() > self.most {
            self.flush(place)?;
        }
        if bytes.len() >= self.most {
            place.put(self.at, bytes)?;
            self.at += bytes.len() as u64;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, place: &mut Place<'_>) -> io::Result<()> {
        place.put(self.at, &self.bytes)?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}
