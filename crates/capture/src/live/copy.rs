//! Copying memory into a plain file with all processors: each block read, its zero pages left out, written in place.
//!
//! *What it is not*: it decides neither what is copied nor where it goes: [`Job`]s say so.
//!
//! While the process runs, large blocks go to the disk past the page cache (O_DIRECT): a dump of many gigabytes would push
//! out of memory what production has cached there, and syncing it afterwards takes several times as long.
//!
//! *Trap*: in a new file zeros become holes for free. Where a page had been copied before and is zero now, the zeros
//! must be written.

use super::Meter;
use crate::memory::{Bytes, Unreadable, read_through};
use crate::sys;
use afterimage_dump::write::layout::runs;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are read and written at once: what fits a processor's own cache, so that it is still there to be written.
pub(super) const BLOCK: u64 = 256 << 10;
/// The same past the page cache, where each write costs the way to the disk.
const DIRECT_BLOCK: u64 = 2 << 20;
/// Shorter runs are left to the page cache, which puts them together.
const DIRECT_LEAST: usize = 128 << 10;
/// What positions, lengths and buffers are multiples of past the page cache.
const ALIGNMENT: usize = 4096;

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

/// How nice copiers are, at first and when that gets them nowhere on a busy machine: the process writes on meanwhile,
/// and a copy that takes for ever is no copy.
const NICE: [i32; 3] = [19, 10, 0];
const HURRY: usize = NICE.len() - 1;
/// How long copiers work before it is seen how far they came, and what they should have done by then.
const ROUND: Duration = Duration::from_millis(500);
const EXPECTED: u64 = 64 << 20;

/// Where blocks are written.
pub(super) struct Sheet<'f> {
    file: &'f File,
    /// The same file past the page cache, where the file system has that.
    direct: Option<File>,
    refused: AtomicBool,
    /// How much the copiers give way: a place in [`NICE`].
    calm: AtomicUsize,
}

impl<'f> Sheet<'f> {
    /// Through the page cache: as fast as memory, for while the process stands.
    pub(super) fn cached(file: &'f File) -> Self {
        Self { file, direct: None, refused: AtomicBool::new(false), calm: AtomicUsize::new(HURRY) }
    }

    /// Large blocks past the page cache.
    pub(super) fn direct(file: &'f File) -> Self {
        use rustix::fs::{Mode, OFlags, open};
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        let direct = open(own, OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty());
        let direct = direct.ok().map(File::from);
        Self { file, direct, refused: AtomicBool::new(false), calm: AtomicUsize::new(0) }
    }

    fn block(&self) -> u64 {
        if self.direct.is_some() { DIRECT_BLOCK } else { BLOCK }
    }

    fn write(&self, bytes: &[u8], place: u64) -> io::Result<()> {
        let aligned = bytes.len().is_multiple_of(ALIGNMENT) && place.is_multiple_of(ALIGNMENT as u64);
        if let Some(direct) = &self.direct
            && bytes.len() >= DIRECT_LEAST
            && aligned
            && !self.refused.load(Ordering::Relaxed)
        {
            match direct.write_all_at(bytes, place) {
                // Some disks want larger multiples; then all goes through the cache.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.refused.store(true, Ordering::Relaxed),
                result => return result,
            }
        }
        self.file.write_all_at(bytes, place)
    }
}

/// Copies all jobs.
pub(super) fn copy(
    sheet: &Sheet<'_>,
    jobs: impl Iterator<Item = Job> + Send,
    bytes: &dyn Bytes,
    over: Over,
    meter: &Meter<'_>,
) -> Result<Copied, CopyError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 8);
    let blocks = Mutex::new(Blocks { jobs, rest: None, most: sheet.block() });
    let (failure, stop, stored) = (Mutex::new(None), AtomicBool::new(false), AtomicU64::new(0));
    let unreadable = Mutex::new(Unreadable::default());
    let (over_all, copied) = (AtomicBool::new(false), AtomicU64::new(0));
    let work = |until: Option<Instant>| {
        let mut memory = vec![0; sheet.block() as usize + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let Some(buffer) = memory.get_mut(start..) else { return };
        let page = sys::page_size();
        while !stop.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
            let Some(job) = lock(&blocks).next() else {
                over_all.store(true, Ordering::Relaxed);
                return;
            };
            let Some(block) = buffer.get_mut(..job.len as usize) else { return };
            let done = read_through(bytes, job.at, block, page, |range| lock(&unreadable).add(range))
                .map_err(|_| CopyError::Gone)
                .and_then(|()| put(sheet, job.offset, block, over).map_err(CopyError::Output));
            match done {
                Ok(bytes) => {
                    stored.fetch_add(bytes, Ordering::Relaxed);
                    copied.fetch_add(job.len, Ordering::Relaxed);
                    meter.add(job.len);
                }
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    lock(&failure).get_or_insert(error);
                }
            }
        }
    };
    while !over_all.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
        let before = copied.load(Ordering::Relaxed);
        let calm = sheet.calm.load(Ordering::Relaxed);
        let until = (calm < HURRY).then(|| Instant::now() + ROUND);
        let calmly = || {
            sys::be_nice(NICE.get(calm).copied().unwrap_or(0));
            work(until);
        };
        std::thread::scope(|scope| {
            let spawn = || std::thread::Builder::new().name("copier".into()).spawn_scoped(scope, calmly).is_ok();
            // A thread fewer is slower, not wrong. This thread must not be made slow for good, so it only waits.
            if (0..workers).filter(|_| spawn()).count() == 0 {
                work(None);
            }
        });
        let slow = until.is_some_and(|until| Instant::now() >= until);
        if slow && copied.load(Ordering::Relaxed) - before < EXPECTED {
            sheet.calm.store(calm + 1, Ordering::Relaxed);
        }
    }
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(Copied {
            stored: stored.into_inner(),
            unreadable: unreadable.into_inner().unwrap_or_else(PoisonError::into_inner),
        }),
    }
}

/// Writes a block in place; gives the bytes that are not zero pages.
fn put(sheet: &Sheet<'_>, offset: u64, block: &[u8], over: Over) -> io::Result<u64> {
    let mut stored = 0;
    for (range, zero) in runs(block) {
        let place = offset + range.start as u64;
        let Some(bytes) = block.get(range) else { continue };
        if !zero {
            stored += bytes.len() as u64;
        }
        if !zero || over == Over::OldPages {
            sheet.write(bytes, place)?;
        }
    }
    Ok(stored)
}

/// Jobs cut into blocks.
struct Blocks<I> {
    jobs: I,
    rest: Option<Job>,
    /// Bytes of a block.
    most: u64,
}

impl<I: Iterator<Item = Job>> Blocks<I> {
    fn next(&mut self) -> Option<Job> {
        let job = match self.rest.take() {
            Some(job) => job,
            None => self.jobs.find(|job| job.len > 0)?,
        };
        let len = job.len.min(self.most);
        if len < job.len {
            self.rest = Some(Job { at: job.at + len, len: job.len - len, offset: job.offset + len });
        }
        Some(Job { len, ..job })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
