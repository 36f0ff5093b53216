//! Triggers on what a process uses: processor time, resident memory, threads, file descriptors.
//!
//! *Example*: `memory-above 1G,2G` holds once when 1 GiB is passed and once when 2 GiB is; a process that jumps past
//! both gets one dump, for the larger.
//!
//! *Trap*: resident memory says what is in memory now. A process that is swapped out shrinks.

use super::detector::{Detector, Reading};
use super::sample::Sample;
use super::{percent_words, size_words, time_words};
use std::time::{Duration, Instant};

/// Processor time above or below a limit, all the while.
pub(super) struct Cpu {
    above: bool,
    limit: f64,
    lasting: Duration,
    now: f64,
    since: Option<Instant>,
}

impl Cpu {
    pub(super) fn new(above: bool, limit: f64, lasting: Duration) -> Self {
        Self { above, limit, lasting, now: 0.0, since: None }
    }
}

impl Detector for Cpu {
    fn sampled(&mut self, sample: &Sample, now: Instant) {
        let Some(percent) = sample.cpu_percent else { return };
        self.now = percent;
        let holds = if self.above { percent > self.limit } else { percent < self.limit };
        if !holds {
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(now);
        }
    }

    fn check(&mut self, now: Instant) -> Option<Reading> {
        let lasted = now.duration_since(self.since?);
        if lasted < self.lasting {
            return None;
        }
        let (value, threshold) = (percent_words(self.now), percent_words(self.limit));
        let side = if self.above { "above" } else { "below" };
        let words = format!("CPU {value} of one processor, {side} {threshold} for {}", time_words(self.lasting));
        Some(Reading { value, threshold, words })
    }

    fn fired(&mut self, _now: Instant) {
        self.since = None;
    }
}

/// Resident memory above one limit, or above several in turn.
pub(super) struct MemoryAbove {
    /// Ascending; those that have fired are taken out, unless there is only one.
    limits: Vec<u64>,
    single: bool,
    now: u64,
}

impl MemoryAbove {
    pub(super) fn new(limits: &[u64]) -> Self {
        let mut limits = limits.to_vec();
        limits.sort_unstable();
        Self { single: limits.len() == 1, limits, now: 0 }
    }
}

impl Detector for MemoryAbove {
    fn sampled(&mut self, sample: &Sample, _now: Instant) {
        self.now = sample.resident;
    }

    fn check(&mut self, _now: Instant) -> Option<Reading> {
        let limit = self.limits.iter().rev().find(|limit| self.now > **limit)?;
        Some(size_reading(self.now, "above", *limit))
    }

    fn fired(&mut self, _now: Instant) {
        if self.single {
            // Only a new sample may hold again.
            self.now = 0;
        } else {
            self.limits.retain(|limit| *limit >= self.now);
        }
    }
}

fn size_reading(now: u64, side: &str, limit: u64) -> Reading {
    let (value, threshold) = (size_words(now), size_words(limit));
    let words = format!("resident memory {value}, {side} {threshold}");
    Reading { value, threshold, words }
}

/// Resident memory below a limit.
pub(super) struct MemoryBelow {
    limit: u64,
    now: u64,
}

impl MemoryBelow {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, now: u64::MAX }
    }
}

impl Detector for MemoryBelow {
    fn sampled(&mut self, sample: &Sample, _now: Instant) {
        self.now = sample.resident;
    }

    fn check(&mut self, _now: Instant) -> Option<Reading> {
        (self.now < self.limit).then(|| size_reading(self.now, "below", self.limit))
    }

    fn fired(&mut self, _now: Instant) {
        self.now = u64::MAX;
    }
}

/// Growth of resident memory, step by step.
pub(super) struct MemoryStep {
    step: u64,
    start: Option<u64>,
    next: u64,
    now: u64,
}

impl MemoryStep {
    pub(super) fn new(step: u64) -> Self {
        Self { step, start: None, next: 0, now: 0 }
    }
}

impl Detector for MemoryStep {
    fn sampled(&mut self, sample: &Sample, _now: Instant) {
        self.now = sample.resident;
        if self.start.is_none() {
            self.start = Some(self.now);
            self.next = self.now.saturating_add(self.step);
        }
    }

    fn check(&mut self, _now: Instant) -> Option<Reading> {
        let start = self.start?;
        if self.now < self.next {
            return None;
        }
        let (value, step) = (size_words(self.now), size_words(self.step));
        let grown = size_words(self.now.saturating_sub(start));
        let words = format!("resident memory {value}, grown by {grown} since the start, in steps of {step}");
        Some(Reading { value, threshold: size_words(self.next), words })
    }

    fn fired(&mut self, _now: Instant) {
        // Growth by several steps at once is one reason for one dump.
        let start = self.start.unwrap_or(self.now);
        let steps = self.now.saturating_sub(start) / self.step.max(1) + 1;
        self.next = start.saturating_add(steps.saturating_mul(self.step));
    }
}

/// A number of things above a limit.
pub(super) struct Number {
    what: &'static str,
    of: fn(&Sample) -> Option<u64>,
    limit: u64,
    now: u64,
}

impl Number {
    pub(super) fn threads(limit: u64) -> Self {
        Self { what: "threads", of: |sample| Some(sample.threads), limit, now: 0 }
    }

    pub(super) fn fds(limit: u64) -> Self {
        Self { what: "file descriptors", of: |sample| sample.fds, limit, now: 0 }
    }
}

impl Detector for Number {
    fn sampled(&mut self, sample: &Sample, _now: Instant) {
        if let Some(number) = (self.of)(sample) {
            self.now = number;
        }
    }

    fn check(&mut self, _now: Instant) -> Option<Reading> {
        (self.now > self.limit).then(|| Reading {
            value: self.now.to_string(),
            threshold: self.limit.to_string(),
            words: format!("{} {}, more than {}", self.now, self.what, self.limit),
        })
    }

    fn fired(&mut self, _now: Instant) {
        self.now = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident(bytes: u64) -> Sample {
        Sample { resident: bytes, ..Sample::default() }
    }

    #[test]
    fn sustained_means_without_a_gap() {
        let mut cpu = Cpu::new(true, 80.0, Duration::from_secs(3));
        let start = Instant::now();
        let mut fired = Vec::new();
        for (n, percent) in [90.0, 95.0, 70.0, 99.0, 99.0, 99.0, 99.0, 99.0].into_iter().enumerate() {
            let now = start + Duration::from_secs(n as u64);
            cpu.sampled(&Sample { cpu_percent: Some(percent), ..Sample::default() }, now);
            if cpu.check(now).is_some() {
                fired.push(n);
                cpu.fired(now);
            }
        }
        assert_eq!(fired, [6]);
    }

    #[test]
    fn each_step_fires_once() {
        let now = Instant::now();
        let mut memory = MemoryAbove::new(&[300, 100, 200]);
        let mut fired = Vec::new();
        for bytes in [50, 150, 160, 90, 180, 400, 500] {
            memory.sampled(&resident(bytes), now);
            if memory.check(now).is_some() {
                fired.push(bytes);
                memory.fired(now);
            }
        }
        assert_eq!(fired, [150, 400]);
    }

    #[test]
    fn growth_counts_from_the_start() {
        let now = Instant::now();
        let mut memory = MemoryStep::new(100);
        let mut fired = Vec::new();
        for bytes in [1000, 1099, 1100, 1150, 1350, 1399, 1400] {
            memory.sampled(&resident(bytes), now);
            if memory.check(now).is_some() {
                fired.push(bytes);
                memory.fired(now);
            }
        }
        assert_eq!(fired, [1100, 1350, 1400]);
    }
}
