//! Ending a watch from elsewhere, and waking its only wait point.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// No signal has come, and nobody has asked to stop.
const GOING_ON: i32 = -1;

/// Ends the watch that it was given to, from another thread or from inside of a callback.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The signal, 0 for [`Stop::stop`], or [`GOING_ON`].
    signal: Arc<AtomicI32>,
    wake: Arc<Mutex<Option<Wake>>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Arc::new(AtomicI32::new(GOING_ON)), wake: Arc::default() }
    }
}

impl Stop {
    /// Asks the watch to end. It lets its process go first.
    pub fn stop(&self) {
        self.set(0);
    }

    /// Whether the watch is ending: by a signal, or 0 for [`Stop::stop`]. A long callback should ask from time to time.
    #[must_use]
    pub fn requested(&self) -> Option<i32> {
        let signal = self.signal.load(Ordering::SeqCst);
        (signal != GOING_ON).then_some(signal)
    }

    pub(super) fn set(&self, signal: i32) {
        let _ = self.signal.compare_exchange(GOING_ON, signal, Ordering::SeqCst, Ordering::SeqCst);
        self.wake();
    }

    /// Makes the watch look around.
    pub(super) fn wake(&self) {
        if let Some(wake) = &*self.wake.lock().unwrap_or_else(PoisonError::into_inner) {
            wake.wake();
        }
    }

    pub(super) fn connect(&self, wake: &Wake) {
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake.clone());
    }
}

/// A descriptor that other threads make readable.
#[derive(Clone, Debug)]
pub(super) struct Wake(Arc<OwnedFd>);

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    pub(super) fn wake(&self) {
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    pub(super) fn clear(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
