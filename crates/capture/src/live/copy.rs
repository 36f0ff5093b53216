//! Copying memory into a plain file with all processors: each block read, its zero pages left out, written in place.
//!
//! *What it is not*: it decides neither what is copied nor where it goes: [`Job`]s say so.
//!
//! *Trap*: in a new file zeros become holes for free. Where a page had been copied before and is zero now, the zeros
//! must be written.

use super::Meter;
use crate::memory::{Bytes, Unreadable, read_through};
use crate::sys;
use afterimage_dump::write::layout::runs;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes that are read and written at once: what fits a processor's own cache, so that it is still there to be written.
pub(super) const BLOCK: u64 = 256 << 10;

/// A range of memory and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) at: u64,
    pub(super) len: u64,
    pub(super) offset: u64,
}

/// What copying gave.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// Bytes written that are not zero pages.
    pub(super) stored: u64,
    pub(super) unreadable: Unreadable,
}

/// Why copying ended early.
#[derive(Debug)]
pub(super) enum CopyError {
    /// The file refused.
    Output(io::Error),
    /// The memory is gone.
    Gone,
}

/// Whether the file is new there, or zeros must be written too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Nothing,
    OldPages,
}

/// Copies all jobs.
pub(super) fn copy(
    file: &File,
    jobs: impl Iterator<Item = Job> + Send,
    bytes: &dyn Bytes,
    over: Over,
    meter: &Meter<'_>,
) -> Result<Copied, CopyError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 8);
    let blocks = Mutex::new(Blocks { jobs, rest: None });
    let (failure, stop, stored) = (Mutex::new(None), AtomicBool::new(false), AtomicU64::new(0));
    let unreadable = Mutex::new(Unreadable::default());
    let work = || {
        let mut buffer = vec![0; BLOCK as usize];
        let page = sys::page_size();
        while !stop.load(Ordering::Relaxed) {
            let Some(job) = lock(&blocks).next() else { return };
            let Some(block) = buffer.get_mut(..job.len as usize) else { return };
            let done = read_through(bytes, job.at, block, page, |range| lock(&unreadable).add(range))
                .map_err(|_| CopyError::Gone)
                .and_then(|()| put(file, job.offset, block, over).map_err(CopyError::Output));
            match done {
                Ok(bytes) => {
                    stored.fetch_add(bytes, Ordering::Relaxed);
                    meter.add(job.len);
                }
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    lock(&failure).get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            // A thread fewer is slower, not wrong.
            let _ = std::thread::Builder::new().name("copier".into()).spawn_scoped(scope, work);
        }
        work();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(Copied {
            stored: stored.into_inner(),
            unreadable: unreadable.into_inner().unwrap_or_else(PoisonError::into_inner),
        }),
    }
}

/// Writes a block in place; gives the bytes that are not zero pages.
pub(super) fn put(file: &File, offset: u64, block: &[u8], over: Over) -> io::Result<u64> {
    let mut stored = 0;
    for (range, zero) in runs(block) {
        let place = offset + range.start as u64;
        let Some(bytes) = block.get(range) else { continue };
        if !zero {
            stored += bytes.len() as u64;
        }
        if !zero || over == Over::OldPages {
            file.write_all_at(bytes, place)?;
        }
    }
    Ok(stored)
}

/// Jobs cut into blocks.
struct Blocks<I> {
    jobs: I,
    rest: Option<Job>,
}

impl<I: Iterator<Item = Job>> Blocks<I> {
    fn next(&mut self) -> Option<Job> {
        let job = match self.rest.take() {
            Some(job) => job,
            None => self.jobs.find(|job| job.len > 0)?,
        };
        let len = job.len.min(BLOCK);
        if len < job.len {
            self.rest = Some(Job { at: job.at + len, len: job.len - len, offset: job.offset + len });
        }
        Some(Job { len, ..job })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
