//! A complete 64-bit crash dump of any physical memory that is a Windows machine's, with the header of another dump of it.
//!
//! *Example*: an active or kernel dump becomes one that debuggers of the old complete kind read.
//!
//! *Trap*: a header has room for 42 runs of pages, and a filtered dump has thousands. Gaps are closed then, the smallest
//! first; what was not there is written as zeros, and the answer says how much that is.

use super::header::{Header, Width};
use crate::machine::PhysMemory;
use crate::{MemoryExt, Phys};
use std::io::{self, Write};

const PAGE: u64 = 4096;
/// Runs that the header has room for.
const MAX_RUNS: usize = (700 - 16) / 16;
/// Gaps that are remembered while the memory is looked through.
const MAX_KEPT: usize = 1 << 16;
/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// A dump that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The header is of a 32-bit machine.
    #[error("write a complete Windows dump: the header is of a 32-bit machine, whose dumps have another form")]
    Narrow,
    /// There is no page to write.
    #[error("write a complete Windows dump: there is no page of physical memory in the source")]
    Empty,
    /// The output failed.
    #[error("write a complete Windows dump: {0}")]
    Output(#[from] io::Error),
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the whole file.
    pub bytes: u64,
    /// Runs of pages.
    pub runs: usize,
    /// Bytes that the source does not have and that were written as zeros, to close gaps or because they could not be read.
    pub zeroed: u64,
}

/// Writes a complete dump (type 1): the header with the runs of `memory`, then every page in order. The same input gives
/// the same bytes. `progress` is told the bytes done and in all.
///
/// # Errors
/// When the header is of a 32-bit machine, there is nothing to write, or the output fails.
pub fn write_complete(
    header: &Header,
    memory: &dyn PhysMemory,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Written, WriteError> {
    if header.width() != Width::Bits64 {
        return Err(WriteError::Narrow);
    }
    let runs = closed(present(memory));
    let pages: u64 = runs.iter().map(|run| run.1 - run.0).sum();
    if pages == 0 {
        return Err(WriteError::Empty);
    }
    let layout = header.layout();
    let total = layout.len as u64 + pages * PAGE;
    out.write_all(&head(header, &runs, pages, total))?;
    let mut written = Written { bytes: total, runs: runs.len(), zeroed: 0 };
    let mut done = layout.len as u64;
    let mut buffer = vec![0; CHUNK];
    for (first, end) in runs {
        let (mut at, end) = (first * PAGE, end * PAGE);
        while at < end {
            let len = (end - at).min(CHUNK as u64) as usize;
            let part = buffer.get_mut(..len).unwrap_or_default();
            written.zeroed += fill(memory, at, part);
            out.write_all(part)?;
            at += len as u64;
            done += len as u64;
            progress(done, total);
        }
    }
    out.flush()?;
    Ok(written)
}

/// Copies what is there, and zeros for the rest; gives the bytes of the rest.
fn fill(memory: &dyn PhysMemory, at: u64, buf: &mut [u8]) -> u64 {
    let mut done = 0;
    let mut zeroed = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let got = memory.read_upto(Phys(at + done as u64), rest);
        done += got;
        let Some(rest) = rest.get_mut(got..).filter(|rest| !rest.is_empty()) else { continue };
        let page = (PAGE - (at + done as u64) % PAGE).min(rest.len() as u64) as usize;
        rest.get_mut(..page).unwrap_or_default().fill(0);
        done += page;
        zeroed += page as u64;
    }
    zeroed
}

/// Pages that are present, as runs `(first, end)`, in order.
fn present(memory: &dyn PhysMemory) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let mut at = Phys(0);
    while let Some(extent) = memory.next(at) {
        if extent.end <= at {
            break;
        }
        if extent.absent.is_none() {
            let (first, end) = (extent.start.0.max(at.0) / PAGE, extent.end.0.div_ceil(PAGE));
            match runs.last_mut() {
                Some(last) if first <= last.1 => last.1 = last.1.max(end),
                _ => runs.push((first, end)),
            }
            if runs.len() > MAX_KEPT {
                runs = close(runs, MAX_KEPT / 2);
            }
        }
        at = extent.end;
    }
    runs
}

fn closed(runs: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    close(runs, MAX_RUNS)
}

/// At most `most` runs: the smallest gaps are closed, and of equal ones the first.
fn close(runs: Vec<(u64, u64)>, most: usize) -> Vec<(u64, u64)> {
    let Some(surplus) = runs.len().checked_sub(most).filter(|&surplus| surplus > 0) else { return runs };
    let mut gaps: Vec<(u64, usize)> = runs
        .windows(2)
        .enumerate()
        .filter_map(|(i, pair)| match pair {
            [a, b] => Some((b.0 - a.1, i + 1)),
            _ => None,
        })
        .collect();
    gaps.sort_unstable();
    let mut drop: Vec<usize> = gaps.into_iter().take(surplus).map(|(_, before)| before).collect();
    drop.sort_unstable();
    let mut kept: Vec<(u64, u64)> = Vec::with_capacity(most);
    for (index, run) in runs.into_iter().enumerate() {
        match kept.last_mut() {
            Some(last) if drop.binary_search(&index).is_ok() => last.1 = run.1,
            _ => kept.push(run),
        }
    }
    kept
}

/// The header with the new kind, runs and length. Everything else stays as it was.
fn head(header: &Header, runs: &[(u64, u64)], pages: u64, total: u64) -> Vec<u8> {
    let layout = header.layout();
    let mut bytes = header.bytes().to_vec();
    let mut put = |at: usize, value: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    };
    put(layout.memory, &[0; 700]);
    put(layout.memory, &(runs.len() as u32).to_le_bytes());
    put(layout.memory + 8, &pages.to_le_bytes());
    for (index, (first, end)) in runs.iter().enumerate() {
        put(layout.memory + 16 + index * 16, &first.to_le_bytes());
        put(layout.memory + 24 + index * 16, &(end - first).to_le_bytes());
    }
    put(layout.kind, &1u32.to_le_bytes());
    put(layout.required_space(), &total.to_le_bytes());
    // The attributes described how the other file was filtered; only whether the machine ran on stays true.
    if let Some((_, at, _)) = layout.tail() {
        let live = header.stop().attributes.unwrap_or(0) & 1 << 4;
        put(at, &live.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_gaps_are_closed() {
        let runs = vec![(0, 1), (3, 4), (5, 6), (106, 107), (108, 109)];
        assert_eq!(close(runs.clone(), 9), runs);
        assert_eq!(close(runs.clone(), 3), [(0, 1), (3, 6), (106, 109)]);
        assert_eq!(close(runs, 1), [(0, 109)]);
    }
}
