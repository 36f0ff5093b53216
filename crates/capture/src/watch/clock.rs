//! Triggers of the clock: a time of day, and every so often.

use super::detector::{Detector, Reading};
use super::{WatchError, time_words};
use crate::sys;
use std::time::{Duration, Instant, SystemTime};

/// A time of day, by the local clock. The clock may be set meanwhile: so it is read again, not waited for once.
pub(super) struct At {
    time: (u32, u32, u32),
    next: SystemTime,
}

impl At {
    pub(super) fn new(time: (u32, u32, u32)) -> Result<Self, WatchError> {
        let next = sys::next_local(SystemTime::now(), time);
        let what = "the local time cannot be found out".to_owned();
        Ok(Self { time, next: next.ok_or(WatchError::Trigger { trigger: "at", what })? })
    }
}

impl Detector for At {
    fn check(&mut self, _now: Instant) -> Option<Reading> {
        let (hour, minute, second) = self.time;
        let time = format!("{hour:02}:{minute:02}:{second:02}");
        let due = SystemTime::now() >= self.next;
        due.then(|| Reading { words: format!("it is {time}"), value: time.clone(), threshold: time })
    }

    fn fired(&mut self, _now: Instant) {
        if let Some(next) = sys::next_local(SystemTime::now(), self.time) {
            self.next = next;
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let wait = self.next.duration_since(SystemTime::now()).unwrap_or_default();
        Instant::now().checked_add(wait)
    }
}

/// Every so often, from the start on.
pub(super) struct Every {
    time: Duration,
    start: Instant,
    next: Option<Instant>,
}

impl Every {
    pub(super) fn new(time: Duration, now: Instant) -> Self {
        Self { time, start: now, next: now.checked_add(time) }
    }
}

impl Detector for Every {
    fn check(&mut self, now: Instant) -> Option<Reading> {
        let time = time_words(self.time);
        (now >= self.next?).then(|| Reading {
            value: time_words(Duration::from_secs(now.duration_since(self.start).as_secs())),
            words: format!("{time} have passed again"),
            threshold: time,
        })
    }

    fn fired(&mut self, now: Instant) {
        // Without drift; what was missed during a dump is left out.
        let passed = now.duration_since(self.start).as_nanos() / self.time.as_nanos().max(1) + 1;
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.next = self.time.checked_mul(passed).and_then(|time| self.start.checked_add(time));
    }

    fn wake_at(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_does_not_drift() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut every = Every::new(Duration::from_millis(100), start);
        assert!(every.check(at(99)).is_none() && every.check(at(105)).is_some());
        every.fired(at(105));
        assert_eq!(every.wake_at(), Some(at(200)));
        every.fired(at(460));
        assert_eq!(every.wake_at(), Some(at(500)), "what was missed is left out");
    }

    #[test]
    fn the_time_of_day_is_ahead() {
        let mut at = At::new((3, 4, 5)).unwrap();
        assert!(at.check(Instant::now()).is_none());
        assert!(at.wake_at().unwrap() > Instant::now());
    }
}
