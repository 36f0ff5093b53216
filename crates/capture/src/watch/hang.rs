//! A process that hangs: none of its threads has run for a while.
//!
//! *What it is not*: it cannot tell a deadlock from a server without visitors: both wait. Where that matters, probe the
//! service instead.
//!
//! *Trap*: a program that waits with a time-out wakes up and so makes progress, however stuck it is.

use super::detector::{Detector, Reading};
use super::sample::Sample;
use super::time_words;
use std::time::{Duration, Instant};

pub(super) struct Hang {
    limit: Duration,
    /// What the threads had done, and since when they have done no more.
    last: Option<(u64, Instant)>,
}

impl Hang {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, last: None }
    }
}

impl Detector for Hang {
    fn sampled(&mut self, sample: &Sample, now: Instant) {
        // A thread that ended while it was being read is progress, too.
        match (sample.progress, self.last) {
            (Some(progress), Some((before, _))) if progress == before => {}
            (progress, _) => self.last = progress.map(|progress| (progress, now)),
        }
    }

    fn check(&mut self, now: Instant) -> Option<Reading> {
        let (_, since) = self.last?;
        let stuck = now.duration_since(since);
        (stuck >= self.limit).then(|| Reading {
            value: time_words(stuck),
            threshold: time_words(self.limit),
            words: format!("no thread has run for {}; the limit is {}", time_words(stuck), time_words(self.limit)),
        })
    }

    fn fired(&mut self, _now: Instant) {
        self.last = None;
    }
}
