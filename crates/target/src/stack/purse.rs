//! What all stacks of one dump may cost together. Each walk has an end of its own, but a file of 20 MB can hold 60 000
//! threads on one endless chain of frame pointers.
//!
//! *What it is not*: a clock. Counting gives the same answer for the same dump on every machine.
//!
//! For example 5 000 threads have 4 000 frames each: the first forty or so are kept whole, the others have their
//! innermost frame and say that the rest is left out.
//!
//! *Trap*: who asks first is served first, so the thread that crashed must be asked for before the others.

use super::{Frame, Stack};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of frames that are kept of all stacks.
const BYTES: usize = 80 << 20;
/// Steps of all walks beyond the frames that are kept: enough for one runaway recursion.
const STEPS: usize = 1_000_000;

/// How far one walk may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Frames that are kept.
    pub(super) frames: usize,
    /// Frames that are walked over.
    pub(super) steps: usize,
}

/// What is left for the stacks of a dump.
#[derive(Debug)]
pub(crate) struct Purse {
    bytes: AtomicUsize,
    steps: AtomicUsize,
}

impl Default for Purse {
    fn default() -> Self {
        Self { bytes: AtomicUsize::new(BYTES), steps: AtomicUsize::new(STEPS) }
    }
}

impl Purse {
    /// The limits for the next walk: at least one frame, at most `max_frames`.
    pub(super) fn limits(&self, max_frames: usize) -> Limits {
        let affordable = self.bytes.load(Ordering::Relaxed) / size_of::<Frame>();
        let frames = max_frames.min(affordable).max(1);
        // Where not even the frames can be kept, nobody needs to know how many there are.
        let further = if frames == max_frames { self.steps.load(Ordering::Relaxed) } else { 0 };
        Limits { frames, steps: frames.saturating_add(further) }
    }

    /// Pays for a walk.
    pub(super) fn pay(&self, stack: &Stack) {
        let texts: usize = stack.frames.iter().map(|frame| frame.why.capacity()).sum();
        let bytes = stack.frames.capacity() * size_of::<Frame>() + texts;
        let omitted = stack.omitted.map_or(0, |omitted| usize::try_from(omitted.frames).unwrap_or(usize::MAX));
        take(&self.bytes, bytes);
        take(&self.steps, omitted);
    }

    /// Says that no stack is kept of those that were paid for.
    pub(crate) fn refill(&self) {
        self.bytes.store(BYTES, Ordering::Relaxed);
        self.steps.store(STEPS, Ordering::Relaxed);
    }
}

fn take(from: &AtomicUsize, amount: usize) {
    // It cannot fail: the function always gives a value.
    let _ = from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(amount)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_purse_empties_and_one_frame_is_always_left() {
        let purse = Purse::default();
        assert_eq!(purse.limits(4096), Limits { frames: 4096, steps: 4096 + STEPS });
        take(&purse.bytes, BYTES - 10 * size_of::<Frame>());
        assert_eq!(purse.limits(4096), Limits { frames: 10, steps: 10 });
        take(&purse.bytes, BYTES);
        assert_eq!(purse.limits(4096), Limits { frames: 1, steps: 1 });
        purse.refill();
        take(&purse.steps, STEPS - 1);
        assert_eq!(purse.limits(64), Limits { frames: 64, steps: 65 });
    }
}
