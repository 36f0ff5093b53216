//! LiME and AVML: ranges with a head each, of at most 16 MiB, as AVML makes them in both forms.

use super::jobs::{self, Job, Jobs, Read};
use super::{Options, Tally, Writing, good_parts};
use crate::write::WriteError;
use crate::write::layout::{Output, put};
use std::io::{self, Write};
use std::ops::Range;

/// Bytes of memory in one range at most.
pub(super) const RANGE: u64 = 16 << 20;

const LIME: u32 = 0x4c69_4d45;
const AVML: u32 = 0x4c4d_5641;
const HEAD: usize = 32;

fn head(magic: u32, version: u32, range: &Range<u64>) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let fields = magic.to_le_bytes().into_iter().chain(version.to_le_bytes());
    let fields = fields.chain(range.start.to_le_bytes()).chain((range.end - 1).to_le_bytes());
    for (to, from) in head.iter_mut().zip(fields) {
        *to = from;
    }
    head
}

/// Parts of a job that could be read, each with its bytes.
fn parts<'r>(job: &'r Job, read: &'r Read) -> impl Iterator<Item = (Range<u64>, &'r [u8])> {
    let mut from = 0;
    job.pieces.iter().flat_map(move |piece| {
        let base = from;
        from += (piece.end - piece.start) as usize;
        good_parts(piece, &read.bad, 1).into_iter().map(move |part| {
            let at = base + (part.start - piece.start) as usize;
            let len = (part.end - part.start) as usize;
            (part, read.bytes.get(at..at + len).unwrap_or_default())
        })
    })
}

/// Writes LiME.
pub(super) fn lime(writing: &Writing<'_>, out: &mut dyn Output, options: &Options) -> Result<Tally, WriteError> {
    let mut tally = Tally::new(writing);
    let mut len = 0;
    let result = jobs::run(
        Jobs::new(writing.memory(), RANGE, 1),
        options.threads,
        || {
            move |job: &Job| {
                let read = jobs::read(writing.memory(), job, writing.page, Vec::new());
                let sum = parts(job, &read)
                    .fold(0u128, |sum, (part, bytes)| sum.wrapping_add(writing.digest(part.start, bytes)));
                (read, sum)
            }
        },
        |job, (read, sum): (Read, u128)| {
            let mut good = 0;
            for (part, bytes) in parts(job, &read) {
                out.bytes(&head(LIME, 1, &part))?;
                put(out, bytes)?;
                len += HEAD as u64 + bytes.len() as u64;
                good += bytes.len() as u64;
            }
            tally.add(good, sum, read.bad);
            Ok(())
        },
    );
    result.map_err(|source: io::Error| WriteError::Output { what: "the image", source })?;
    tally.file_size = len;
    Ok(tally)
}

/// A job's ranges, packed.
struct Packed {
    bytes: Vec<u8>,
    good: u64,
    sum: u128,
    bad: Vec<(Range<u64>, crate::Absence)>,
    failed: Option<io::Error>,
}

/// Writes AVML, version 2.
pub(super) fn avml(writing: &Writing<'_>, out: &mut dyn Output, options: &Options) -> Result<Tally, WriteError> {
    let mut tally = Tally::new(writing);
    let mut len = 0;
    let result = jobs::run(
        Jobs::new(writing.memory(), RANGE, 1),
        options.threads,
        || {
            let mut buffer = Vec::new();
            move |job: &Job| {
                let read = jobs::read(writing.memory(), job, writing.page, std::mem::take(&mut buffer));
                let mut packed = Packed { bytes: Vec::new(), good: 0, sum: 0, bad: Vec::new(), failed: None };
                for (part, bytes) in parts(job, &read) {
                    packed.bytes.extend_from_slice(&head(AVML, 2, &part));
                    let before = packed.bytes.len();
                    let mut frames = snap::write::FrameEncoder::new(&mut packed.bytes);
                    packed.failed = frames.write_all(bytes).and_then(|()| frames.flush()).err();
                    drop(frames);
                    let size = (packed.bytes.len() - before) as u64;
                    packed.bytes.extend_from_slice(&size.to_le_bytes());
                    packed.good += bytes.len() as u64;
                    packed.sum = packed.sum.wrapping_add(writing.digest(part.start, bytes));
                }
                packed.bad = read.bad;
                buffer = read.bytes;
                packed
            }
        },
        |_, packed: Packed| {
            if let Some(error) = packed.failed {
                return Err(error);
            }
            out.bytes(&packed.bytes)?;
            len += packed.bytes.len() as u64;
            tally.add(packed.good, packed.sum, packed.bad);
            Ok(())
        },
    );
    result.map_err(|source: io::Error| WriteError::Output { what: "the image", source })?;
    tally.file_size = len;
    Ok(tally)
}
