//! What a hostile file may cost: one [`Budget`] is handed to every reader and every walk.
//!
//! *Trap*: reaching a budget is no failure. The walk stops, keeps what it has, and leaves one note saying so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Which part of a [`Budget`] was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exhausted {
    /// More bytes would have to be held in memory than allowed.
    #[error("more than {0} bytes of tables")]
    Bytes(u64),
    /// It took longer than allowed.
    #[error("more than {0:?}")]
    Time(Duration),
}

/// Told how many of how many bytes are done, now and then, by work that may take seconds.
#[derive(Clone)]
pub struct ProgressHook(std::sync::Arc<dyn Fn(u64, u64) + Send + Sync>);

impl ProgressHook {
    /// Wraps a function of (bytes done, bytes in all).
    pub fn new(hook: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        Self(std::sync::Arc::new(hook))
    }

    /// Tells it.
    pub fn call(&self, done: u64, total: u64) {
        (self.0)(done, total);
    }
}

impl std::fmt::Debug for ProgressHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProgressHook")
    }
}

/// Limits for one dump, shared by all threads that work on it.
#[derive(Debug)]
pub struct Budget {
    /// Bytes of tables (not of file content read through a cache) that may be held, in all.
    pub max_bytes: u64,
    /// Threads that are read out of a dump.
    pub max_threads: usize,
    /// Entries of any one list in a dump: segments, notes, modules, handles.
    pub max_items: usize,
    /// Frames of one stack.
    pub max_frames: usize,
    /// Bytes that a compressed file may grow to when it is unpacked. One that is read in place, by its seek table, does
    /// not grow.
    pub max_expanded: u64,
    /// Wall-clock time for opening, `None` for no limit.
    pub max_time: Option<Duration>,
    /// Told how far unpacking has come; a command line draws a bar of it.
    pub progress: Option<ProgressHook>,
    started: Instant,
    used: AtomicU64,
}

impl Default for Budget {
    /// Generous for every real dump, and safe against a hostile one: 96 MiB of tables, 65 536 threads,
    /// 1 048 576 entries a list, 4 096 frames a stack, 1 TiB expanded.
    fn default() -> Self {
        Self {
            max_bytes: 96 << 20,
            max_threads: 65_536,
            max_items: 1 << 20,
            max_frames: 4_096,
            max_expanded: 1 << 40,
            max_time: None,
            progress: None,
            started: Instant::now(),
            used: AtomicU64::new(0),
        }
    }
}

impl Budget {
    /// Books `bytes` of table memory.
    ///
    /// # Errors
    /// [`Exhausted::Bytes`] when that would pass the limit; nothing is booked then.
    pub fn take(&self, bytes: u64) -> Result<(), Exhausted> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= self.max_bytes)
            })
            .map(drop)
            .map_err(|_| Exhausted::Bytes(self.max_bytes))
    }

    /// Checks the clock.
    ///
    /// # Errors
    /// [`Exhausted::Time`] when the time is over.
    pub fn in_time(&self) -> Result<(), Exhausted> {
        match self.max_time {
            Some(limit) if self.started.elapsed() > limit => Err(Exhausted::Time(limit)),
            _ => Ok(()),
        }
    }
}
