//! Packed containers, opened as they are: zstd, lz4, xz, gzip, bzip2, known by content.
//!
//! *What it is*: [`unpack`] decodes the stream once, from the front, into a place that can be read at random: memory when
//! it is small, else an unlinked temporary file with holes where the dump has zeros. A zstd file with a seek table at its
//! end, as [`crate::write::seekable`] makes them, is not unpacked: single frames of it are, when they are read.
//!
//! *What it is not*: it looks into one layer of packing only, and into no archive (`.zip`, `.tar`).
//!
//! ```no_run
//! use afterimage_dump::{Budget, compressed::unpack, source::SharedSource};
//! # let source: SharedSource = std::sync::Arc::new(Vec::new());
//! let unpacked = unpack(std::path::Path::new("core.zst"), &source, &Budget::default())?;
//! # Ok::<(), afterimage_dump::Error>(())
//! ```
//!
//! *Trap*: a few kilobytes can grow to terabytes. Decoding ends where the dump's own header says that the dump ends, and
//! whatever grows a thousandfold without such a header is stopped early (`limits`).

mod decode;
mod limits;
mod part;
mod seek_table;
mod seekable;
mod spool;
mod zero_frame;

use crate::Error;
use crate::budget::Budget;
use crate::model::Issue;
use crate::source::{SharedSource, Source, read_vec};
use decode::{Counter, Decoder};
use limits::{Limits, Verdict};
pub(crate) use part::unpack_part;
use seekable::Seekable;
use spool::Spool;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a container is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Zstandard.
    Zstd,
    /// LZ4 frames.
    Lz4,
    /// xz.
    Xz,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
}

impl Compression {
    /// The name as the command line writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Tells by the first bytes.
    #[must_use]
    pub fn detect(head: &[u8]) -> Option<Self> {
        const MAGIC: [(&[u8], Compression); 5] = [
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
            (&[0x04, 0x22, 0x4d, 0x18], Compression::Lz4),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
            (&[0x1f, 0x8b, 8], Compression::Gzip),
            (b"BZh", Compression::Bzip2),
        ];
        if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Some(*kind);
        }
        // Folklore: pzstd begins with a skippable frame (RFC 8878, 3.1.2), which is no data.
        match head.get(..4)? {
            [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// A packed source, unpacked: what it was packed with, the bytes, and what went wrong on the way.
pub struct Unpacked {
    /// What it was packed with.
    pub compression: Compression,
    /// The unpacked bytes.
    pub source: SharedSource,
    /// Whether nothing is unpacked yet: each read unpacks the frames that it needs, and may find them damaged.
    pub in_place: bool,
    /// A cut-off or damaged tail, a limit that was reached.
    pub issues: Vec<Issue>,
}

/// Bytes decoded at once. What a damaged stream loses besides the damage is at most this much.
const STEP: usize = 64 << 10;

/// Unpacks a source if its content is packed; `None` if it is not. With a sound seek table, it is read in place instead.
///
/// # Errors
/// When reading fails before a single byte could be unpacked.
pub fn unpack(path: &Path, source: &SharedSource, budget: &Budget) -> Result<Option<Unpacked>, Error> {
    let Some(compression) = detect(path, source)? else {
        return Ok(None);
    };
    let why = match compression {
        Compression::Zstd => match Seekable::open(source, budget) {
            Ok(Some(seekable)) => {
                let source: SharedSource = Arc::new(seekable);
                return Ok(Some(Unpacked { compression, source, in_place: true, issues: Vec::new() }));
            }
            Ok(None) => None,
            Err(why) => Some(why),
        },
        _ => None,
    };
    let mut unpacked = unpack_whole(path, source, budget)?;
    if let (Some(unpacked), Some(why)) = (&mut unpacked, why) {
        unpacked.issues.insert(0, table_not_used(&why));
    }
    Ok(unpacked)
}

/// What to say when a file with a table is unpacked as a whole, which may take long.
pub(crate) fn table_not_used(why: &dyn std::fmt::Display) -> Issue {
    Issue::remark(format!("the seek table is not used, and all is unpacked: {why}"))
}

fn detect(path: &Path, source: &SharedSource) -> Result<Option<Compression>, Error> {
    let head = read_vec(&**source, 0, 16).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(Compression::detect(&head))
}

/// Unpacks a source from its front, without a look at a seek table; `None` if its content is not packed.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_whole(path: &Path, source: &SharedSource, budget: &Budget) -> Result<Option<Unpacked>, Error> {
    let Some(compression) = detect(path, source)? else {
        return Ok(None);
    };
    let broken = |e: &io::Error| Error::Broken {
        path: path.to_owned(),
        format: compression.name(),
        what: format!("nothing can be unpacked: {}", decode::words(e)),
    };
    let counter = Counter::new(source.clone());
    let read = counter.clone();
    let mut decoder = Decoder::new(compression, counter).map_err(|e| broken(&e))?;
    let mut spool = Spool::new(path);
    let mut limits = Limits::new(budget, source.len(), crate::system::raw::named_like_memory(path));
    let mut issues = Vec::new();
    let mut step = vec![0; STEP];
    // All that the header promises is there: one more step lets the decoder check the sums at the stream's end.
    let mut enough = false;
    loop {
        let got = match decoder.read(&mut step) {
            Ok(0) => break,
            Ok(_) if enough => break,
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if spool.len() == 0 => return Err(broken(&e)),
            Err(e) => {
                issues.push(Issue::loss(format!(
                    "the {} stream is {} after {} unpacked bytes: {}",
                    compression.name(),
                    if e.kind() == io::ErrorKind::UnexpectedEof { "cut off" } else { "damaged" },
                    spool.len(),
                    decode::words(&e)
                )));
                break;
            }
        };
        if let Err(e) = spool.write(step.get(..got).unwrap_or_default()) {
            let len = spool.len();
            issues.push(Issue::loss(format!("unpacking stopped after {len} bytes: writing the temporary file: {e}")));
            break;
        }
        match limits.check(&spool, read.position()) {
            Verdict::GoOn => {}
            Verdict::Known => enough = true,
            Verdict::Unknown => break,
            Verdict::Stop(why) => {
                issues.push(Issue::loss(format!("unpacking stopped after {} bytes: {why}", spool.len())));
                break;
            }
        }
    }
    if let Some(issue) = issues.first()
        && !limits::is_known(&spool)
    {
        // The few bytes before the damage would only be mistaken for something else.
        return Err(broken(&io::Error::other(issue.text.clone())));
    }
    if spool.len() == 0 {
        return Err(broken(&io::Error::new(io::ErrorKind::UnexpectedEof, "the stream holds no bytes")));
    }
    if let Some(hook) = &budget.progress {
        hook.call(source.len(), source.len());
    }
    let source = spool.finish().map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(Some(Unpacked { compression, source, in_place: false, issues }))
}
