//! One packed part of a container that is not packed itself: gzip, zlib, and LZ4 as Apple frames it.
//!
//! *What it is not*: it does not judge what comes out; the container's reader does.
//!
//! *Trap*: the stream is unpacked as a whole, into memory or a temporary file. Deflate grows at most 1032-fold and LZ4
//! 255-fold, so nothing here needs the watch for bombs that [`super::unpack`] keeps.

use super::Compression;
use super::decode::{self, Counter};
use super::spool::Spool;
use crate::bytes::Fields;
use crate::source::{SharedSource, Source, read_vec};
use crate::{Budget, Endian, Error, Issue};
use std::io::{self, Read};
use std::path::Path;

/// Bytes decoded at once.
const STEP: usize = 64 << 10;
/// Largest block of Apple's LZ4 that is taken; its encoder writes far smaller ones.
const BLOCK: usize = 16 << 20;
/// What a block may refer back to.
const WINDOW: usize = 64 << 10;

/// Unpacks a part, as far as the budget allows; `None` if it is packed in no known way.
pub(crate) fn unpack_part(
    path: &Path,
    source: &SharedSource,
    budget: &Budget,
) -> Result<Option<(Compression, SharedSource, Vec<Issue>)>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let head = read_vec(&**source, 0, 4).map_err(io)?;
    let input = Counter::new(source.clone());
    let (compression, mut decoder): (_, Box<dyn Read>) = match *head.as_slice() {
        [0x1f, 0x8b, ..] => (Compression::Gzip, Box::new(flate2::read::GzDecoder::new(input))),
        [0x78, ..] => (Compression::Gzip, Box::new(flate2::read::ZlibDecoder::new(input))),
        [b'b', b'v', b'4', b'1' | b'-'] => (Compression::Lz4, Box::new(AppleLz4 { input, block: Vec::new(), done: 0 })),
        _ => return Ok(None),
    };
    let mut spool = Spool::new(path);
    let mut issues = Vec::new();
    let mut step = vec![0; STEP];
    loop {
        match decoder.read(&mut step) {
            Ok(0) => break,
            Ok(got) => {
                spool.write(step.get(..got).unwrap_or_default()).map_err(io)?;
                if spool.len() > budget.max_expanded || budget.in_time().is_err() {
                    issues.push(Issue::loss(format!(
                        "unpacking stopped after {} bytes: the limit is reached",
                        spool.len()
                    )));
                    break;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                let words = decode::words(&e);
                issues.push(Issue::loss(format!(
                    "the stream is damaged or cut off after {} bytes: {words}",
                    spool.len()
                )));
                break;
            }
        }
    }
    Ok(Some((compression, spool.finish().map_err(io)?, issues)))
}

/// LZ4 in Apple's frames.
///
/// Folklore (`COMPRESSION_LZ4` of Apple's libcompression, which xnu's lz4_stage.c calls): blocks of "bv41", bytes unpacked
/// (4), bytes packed (4), an LZ4 block; or of "bv4-", bytes (4), the bytes themselves; "bv4$" ends them. A block may refer
/// to what the ones before it unpacked to.
struct AppleLz4 {
    input: Counter,
    /// What is unpacked: history, and the block that is being read.
    block: Vec<u8>,
    done: usize,
}

impl AppleLz4 {
    /// The next block; `false` at the end.
    fn next(&mut self) -> io::Result<bool> {
        let damaged = |words: &str| io::Error::new(io::ErrorKind::InvalidData, words.to_owned());
        let mut magic = [0; 4];
        self.input.read_exact(&mut magic)?;
        let packed = match &magic {
            b"bv41" => true,
            b"bv4-" => false,
            b"bv4$" => return Ok(false),
            _ => return Err(damaged("no block of LZ4 where one should begin")),
        };
        let mut number = || {
            let mut bytes = [0; 4];
            self.input.read_exact(&mut bytes)?;
            let number = Fields::new(&bytes, Endian::Little).u32(0).unwrap_or(0) as usize;
            if number > BLOCK { Err(damaged("a block of LZ4 of absurd size")) } else { Ok(number) }
        };
        let size = number()?;
        let stored = if packed { number()? } else { size };
        let mut content = vec![0; stored];
        self.input.read_exact(&mut content)?;
        let whole = if packed {
            let mut whole = vec![0; size];
            let from = self.block.len().saturating_sub(WINDOW);
            let history = self.block.get(from..).unwrap_or_default();
            let got = lz4_flex::block::decompress_into_with_dict(&content, &mut whole, history)
                .map_err(|e| damaged(&e.to_string()))?;
            whole.truncate(got);
            whole
        } else {
            content
        };
        let keep = self.block.len().saturating_sub(WINDOW);
        self.block.drain(..keep);
        self.done = self.block.len();
        self.block.extend_from_slice(&whole);
        Ok(true)
    }
}

impl Read for AppleLz4 {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.done >= self.block.len() {
            if !self.next()? {
                return Ok(0);
            }
        }
        let rest = self.block.get(self.done..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        self.done += len;
        Ok(len)
    }
}
