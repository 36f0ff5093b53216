//! A raw image: the byte of address N at place N.

use super::jobs::{self, Job, Jobs, Read};
use super::{Options, Tally, Writing};
use crate::write::WriteError;
use crate::write::layout::{Output, put};

/// Writes it.
pub(super) fn write(writing: &Writing<'_>, out: &mut dyn Output, options: &Options) -> Result<Tally, WriteError> {
    let mut tally = Tally::new(writing);
    let mut at = 0;
    let result = jobs::run(
        Jobs::new(writing.memory(), (1 << 20).max(writing.page), 1),
        options.threads,
        || move |job: &Job| summed(writing, job),
        |job, (read, sum): (Read, u128)| {
            let mut rest = read.bytes.as_slice();
            for piece in &job.pieces {
                let Some((bytes, behind)) = rest.split_at_checked((piece.end - piece.start) as usize) else { break };
                rest = behind;
                if piece.end > i64::MAX as u64 {
                    return Err(std::io::Error::other("memory lies at addresses that no file can have places for"));
                }
                out.zeros(piece.start - at)?;
                put(out, bytes)?;
                at = piece.end;
            }
            tally.add(read.bytes.len() as u64, sum, read.bad);
            Ok(())
        },
    );
    result.map_err(|source: std::io::Error| WriteError::Output { what: "the image", source })?;
    tally.file_size = at;
    Ok(tally)
}

/// Reads a job, and its part of the sum.
pub(super) fn summed(writing: &Writing<'_>, job: &Job) -> (Read, u128) {
    let read = jobs::read(writing.memory(), job, writing.page, Vec::new());
    let mut sum = 0u128;
    let mut rest = read.bytes.as_slice();
    for piece in &job.pieces {
        let Some((bytes, behind)) = rest.split_at_checked((piece.end - piece.start) as usize) else { break };
        rest = behind;
        sum = sum.wrapping_add(writing.digest(piece.start, bytes));
    }
    (read, sum)
}
