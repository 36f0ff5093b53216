//! The memory of a machine, read by several threads and handed on in its order.
//!
//! *What it is*: ranges that are present are cut into jobs of about a mebibyte; each is read (and packed) by whichever
//! thread is free; one thread takes the results, in order, and writes.
//!
//! *Trap*: what is done ahead of the writer is bounded, or a slow disk would fill memory.

use crate::machine::PhysMemory;
use crate::{Absence, MemoryExt, Phys};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Condvar, Mutex, PoisonError};

/// Pieces of one job at most.
const MAX_PIECES: usize = 4096;
/// Bytes that each thread may be ahead, and jobs at least.
const AHEAD: u64 = 4 << 20;

/// What one thread does at once: ranges of physical memory, ascending.
#[derive(Debug)]
pub(super) struct Job {
    seq: u64,
    pub(super) pieces: Vec<Range<u64>>,
}

/// Cuts memory into jobs.
pub(super) struct Jobs<'m> {
    memory: &'m dyn PhysMemory,
    at: Phys,
    seq: u64,
    bytes: u64,
    /// Pieces begin and end at multiples of this: 1, or a page.
    unit: u64,
}

impl<'m> Jobs<'m> {
    pub(super) fn new(memory: &'m dyn PhysMemory, bytes: u64, unit: u64) -> Self {
        Self { memory, at: Phys(0), seq: 0, bytes, unit }
    }
}

impl Iterator for Jobs<'_> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        let mut pieces: Vec<Range<u64>> = Vec::new();
        let mut room = self.bytes;
        while room > 0 && pieces.len() < MAX_PIECES {
            let Some(extent) = self.memory.next(self.at) else { break };
            if extent.end <= self.at {
                break;
            }
            let mut start = extent.start.max(self.at).0;
            if extent.absent.is_some() {
                self.at = extent.end;
                continue;
            }
            start -= start % self.unit;
            // A page that two pieces share belongs to the first.
            start = start.max(pieces.last().map_or(0, |last| last.end));
            let whole = extent.end.0.checked_next_multiple_of(self.unit).unwrap_or(extent.end.0);
            if start >= whole {
                self.at = extent.end;
                continue;
            }
            // Jobs end at multiples of their size, so that neighbours in a file stay neighbours.
            let limit = (start / self.bytes + 1).saturating_mul(self.bytes);
            let end = whole.min(limit).min(start.saturating_add(room.next_multiple_of(self.unit)));
            match pieces.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => pieces.push(start..end),
            }
            room = room.saturating_sub(end - start);
            self.at = Phys(end.max(self.at.0 + 1));
            if end == limit {
                break;
            }
        }
        let job = Job { seq: self.seq, pieces };
        self.seq += 1;
        (!job.pieces.is_empty()).then_some(job)
    }
}

struct State<'m, T> {
    jobs: Jobs<'m>,
    over: bool,
    done: BTreeMap<u64, (Job, T)>,
    /// The job that is to be written next.
    next: u64,
    workers: usize,
}

/// Does `work` for all jobs on `threads` threads, and gives the results to `sink` in their order.
pub(super) fn run<T: Send, W, E>(
    jobs: Jobs<'_>,
    threads: usize,
    work: impl Fn() -> W + Sync,
    mut sink: impl FnMut(&Job, T) -> Result<(), E>,
) -> Result<(), E>
where
    W: FnMut(&Job) -> T,
{
    if threads <= 1 {
        let mut work = work();
        for job in jobs {
            let result = work(&job);
            sink(&job, result)?;
        }
        return Ok(());
    }
    let ahead = (AHEAD / jobs.bytes).max(1) * threads as u64;
    let state = Mutex::new(State { jobs, over: false, done: BTreeMap::new(), next: 0, workers: threads });
    let changed = Condvar::new();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut work = work();
                loop {
                    let mut state = lock();
                    while !state.over && state.jobs.seq >= state.next + ahead {
                        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                    let job = if state.over { None } else { state.jobs.next() };
                    let Some(job) = job else {
                        state.over = true;
                        state.workers -= 1;
                        changed.notify_all();
                        return;
                    };
                    drop(state);
                    let result = work(&job);
                    lock().done.insert(job.seq, (job, result));
                    changed.notify_all();
                }
            });
        }
        loop {
            let mut state = lock();
            let next = state.next;
            let ready = loop {
                if let Some(ready) = state.done.remove(&next) {
                    break Some(ready);
                }
                if state.workers == 0 {
                    break None;
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            let Some((job, result)) = ready else { return Ok(()) };
            let written = sink(&job, result);
            let mut state = lock();
            state.next += 1;
            if written.is_err() {
                state.over = true;
            }
            drop(state);
            changed.notify_all();
            written?;
        }
    })
}

/// Bytes of a job's pieces, one behind the other, and which of them could not be read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) bytes: Vec<u8>,
    /// Addresses that could not be read, with the reason; zeros stand for them.
    pub(super) bad: Vec<(Range<u64>, Absence)>,
}

/// Reads a job.
pub(super) fn read(memory: &dyn PhysMemory, job: &Job, page: u64, bytes: Vec<u8>) -> Read {
    let mut read = Read { bytes, bad: Vec::new() };
    let len = job.pieces.iter().map(|piece| piece.end - piece.start).sum::<u64>() as usize;
    read.bytes.resize(len, 0);
    let mut rest = read.bytes.as_mut_slice();
    for piece in &job.pieces {
        let Some((here, behind)) = rest.split_at_mut_checked((piece.end - piece.start) as usize) else { break };
        rest = behind;
        read_piece(memory, piece.start, here, page, &mut read.bad);
    }
    read
}

/// Reads what there is from `at` on; what is missing is zero and noted.
pub(super) fn read_piece(
    memory: &dyn PhysMemory,
    at: u64,
    buf: &mut [u8],
    page: u64,
    bad: &mut Vec<(Range<u64>, Absence)>,
) {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let here = at + done as u64;
        match memory.read_exact(Phys(here), rest) {
            Ok(()) => return,
            Err(fault) => {
                let got = (fault.at.0.saturating_sub(here) as usize).min(rest.len());
                let from = here + got as u64;
                let next = (from / page + 1).saturating_mul(page).min(at + buf.len() as u64);
                // Places between ranges that share a page were no memory: nothing is missing there.
                let end = match memory.next(Phys(from)) {
                    Some(extent) if extent.start.0 > from => next.min(extent.start.0),
                    _ => next,
                };
                if let Some(gap) = buf.get_mut(done + got..(end - at) as usize) {
                    gap.fill(0);
                }
                if fault.why != Absence::NotMapped && memory.next(Phys(from)).is_some_and(|e| e.start.0 <= from) {
                    match bad.last_mut() {
                        Some((last, why)) if last.end == from && *why == fault.why => last.end = end,
                        _ => bad.push((from..end, fault.why)),
                    }
                }
                done = (end - at) as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backing, FileOffset, Segment, SegmentMemory};
    use std::sync::Arc;

    fn memory(ranges: &[(u64, u64)]) -> SegmentMemory<Phys> {
        let bytes: Vec<u8> = (0..1u32 << 16).map(|i| (i % 251) as u8).collect();
        let piece = |&(start, end): &(u64, u64)| Segment {
            start: Phys(start),
            end: Phys(end),
            backing: Backing::File(FileOffset(start)),
        };
        SegmentMemory::new(Arc::new(bytes), ranges.iter().map(piece).collect())
    }

    #[test]
    fn every_byte_once_and_in_order() {
        let ranges = [(0, 100), (150, 4096), (5000, 20_000), (20_000, 20_001), (40_000, 65_536)];
        let memory = memory(&ranges);
        for threads in [1, 3] {
            for bytes in [512, 1000, 1 << 20] {
                let mut seen = Vec::new();
                run(
                    Jobs::new(&memory, bytes, 1),
                    threads,
                    || |job: &Job| read(&memory, job, 4096, Vec::new()),
                    |job, read: Read| {
                        assert!(read.bad.is_empty());
                        let mut bytes = read.bytes.iter();
                        for at in job.pieces.iter().cloned().flatten() {
                            assert_eq!(u64::from(*bytes.next().unwrap()), at % 251);
                            seen.push(at);
                        }
                        Ok::<(), ()>(())
                    },
                )
                .unwrap();
                let all: Vec<u64> = ranges.iter().flat_map(|&(start, end)| start..end).collect();
                assert_eq!(seen, all, "{threads} threads, {bytes} bytes");
            }
        }
        // By whole pages: each page once.
        let pages: Vec<u64> = Jobs::new(&memory, 8192, 4096)
            .flat_map(|job| job.pieces)
            .flat_map(|piece| {
                assert!(piece.start % 4096 == 0 && piece.end % 4096 == 0);
                piece.start / 4096..piece.end / 4096
            })
            .collect();
        assert_eq!(pages, [0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn an_error_of_the_sink_ends_it() {
        let memory = memory(&[(0, 65_536)]);
        let mut count = 0;
        let result = run(
            Jobs::new(&memory, 512, 1),
            2,
            || |_: &Job| (),
            |_, ()| {
                count += 1;
                if count == 5 { Err("full") } else { Ok(()) }
            },
        );
        assert_eq!((result, count), (Err("full"), 5));
    }
}
