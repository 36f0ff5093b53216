//! How far a capture has come, told to whoever draws it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Told what a capture does. Called from several threads.
pub trait Progress: Sync {
    /// A new phase begins, as `copying` or `waiting for the disk`, with this many bytes to come (0: not known).
    fn phase(&self, what: &'static str, total: u64);
    /// So many bytes of the phase are done.
    fn done(&self, bytes: u64);
}

/// Tells nobody.
impl Progress for () {
    fn phase(&self, _what: &'static str, _total: u64) {}
    fn done(&self, _bytes: u64) {}
}

/// Counts bytes.
pub(super) struct Meter<'a> {
    progress: &'a dyn Progress,
    done: AtomicU64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(progress: &'a dyn Progress) -> Self {
        Self { progress, done: AtomicU64::new(0) }
    }

    /// A new phase begins.
    pub(super) fn phase(&self, what: &'static str, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.progress.phase(what, total);
    }

    /// More bytes are done.
    pub(super) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.done(done);
    }
}
