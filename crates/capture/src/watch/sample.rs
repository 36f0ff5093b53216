//! What a process uses, read from `/proc` at one moment.
//!
//! *What it is not*: it touches nothing of the process; no dump, no trace.
//!
//! *Example*: a program with two busy threads shows about 200 percent of one processor.
//!
//! *Trap*: the kernel counts processor time in ticks of 10 ms here, so a rate over 100 ms is only good to ten percent.
//! Rates are therefore taken over at least a second where there is one.

use crate::procfs::{self, Stat, Status};
use crate::sys::{self, Tid};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::time::{Duration, Instant};

/// A rate of processor time is taken over this time, or over the interval if that is longer.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// A rate over less is noise.
const SHORTEST_RATE: Duration = Duration::from_millis(200);

/// What a process uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Processor time in percent of one processor; 250 is two and a half. `None` for the first moments.
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors, where we may see them.
    pub fds: Option<u64>,
    /// A number that changes when any thread has run; only if somebody needs it.
    pub(super) progress: Option<u64>,
}

/// Takes samples of one process.
pub(super) struct Sampler {
    pid: Tid,
    /// When the process was started: what tells it from a later one with the same id.
    start: u64,
    with_progress: bool,
    times: VecDeque<(Instant, u64)>,
}

impl Sampler {
    pub(super) fn new(pid: Tid, start: u64, with_progress: bool) -> Self {
        Self { pid, start, with_progress, times: VecDeque::new() }
    }

    /// Looks at the process; `None` if it has gone.
    pub(super) fn take(&mut self, now: Instant) -> Option<Sample> {
        let stat = Stat::read(&format!("/proc/{}/stat", self.pid)).ok()?;
        if stat.start != self.start {
            return None;
        }
        let [user, kernel, ..] = stat.times;
        let cpu_percent = self.rate(now, user + kernel);
        Some(Sample {
            cpu_percent,
            resident: resident(self.pid).ok()?,
            threads: u64::from(stat.threads),
            fds: descriptors(self.pid),
            progress: self.with_progress.then(|| progress(self.pid)).flatten(),
        })
    }

    fn rate(&mut self, now: Instant, ticks: u64) -> Option<f64> {
        self.times.push_back((now, ticks));
        // Keep the newest that is old enough at the front.
        while self.times.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_WINDOW) {
            self.times.pop_front();
        }
        let (at, before) = *self.times.front()?;
        let time = now.duration_since(at);
        let used = ticks.saturating_sub(before) as f64 / rustix::param::clock_ticks_per_second().max(1) as f64;
        (time >= SHORTEST_RATE).then(|| used / time.as_secs_f64() * 100.0)
    }
}

/// Resident bytes.
fn resident(pid: Tid) -> io::Result<u64> {
    let pages = |path: String| -> io::Result<u64> {
        let text = std::fs::read_to_string(path)?;
        Ok(text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0))
    };
    let mut found = pages(format!("/proc/{pid}/statm"))?;
    if found == 0 {
        // A leader that has ended before its threads has no memory any more; they have.
        let mut others = procfs::threads(pid)?.into_iter();
        found =
            others.find_map(|tid| pages(format!("/proc/{pid}/task/{tid}/statm")).ok().filter(|n| *n > 0)).unwrap_or(0);
    }
    Ok(found * sys::page_size())
}

/// Open file descriptors.
fn descriptors(pid: Tid) -> Option<u64> {
    let folder = format!("/proc/{pid}/fd");
    // Folklore: since Linux 6.2 the folder's size is their number; before it is 0. The check of permission is in
    // opening it, and must be made all the same.
    let entries = std::fs::read_dir(&folder).ok()?;
    match std::fs::metadata(&folder) {
        Ok(metadata) if metadata.len() > 0 => Some(metadata.len()),
        _ => Some(entries.count() as u64),
    }
}

/// A number made of each thread's processor time and number of context switches.
fn progress(pid: Tid) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for tid in procfs::threads(pid).ok()? {
        let folder = format!("/proc/{pid}/task/{tid}");
        let stat = Stat::read(&format!("{folder}/stat")).ok()?;
        (tid, stat.times, Status::read_switches(pid, tid).ok()?).hash(&mut hasher);
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process() {
        let pid = sys::own_pid();
        let start = Stat::read(&format!("/proc/{pid}/stat")).unwrap().start;
        let mut sampler = Sampler::new(pid, start, true);
        let now = Instant::now();
        let sample = sampler.take(now).unwrap();
        assert!(sample.resident > 100_000 && sample.threads >= 1 && sample.fds.unwrap() >= 3, "{sample:?}");
        assert!(sample.cpu_percent.is_none() && sample.progress.is_some());
        assert!(Sampler::new(pid, start + 1, false).take(now).is_none(), "another process with the same id");
    }

    #[test]
    fn rates_are_taken_over_a_second() {
        let mut sampler = Sampler::new(1, 0, false);
        let start = Instant::now();
        let hz = rustix::param::clock_ticks_per_second();
        let mut last = None;
        for n in 0..30u64 {
            // Half a processor.
            last = sampler.rate(start + Duration::from_millis(n * 100), n * hz / 20);
        }
        assert!((last.unwrap() - 50.0).abs() < 2.0, "{last:?}");
        assert!(sampler.times.len() <= 12);
    }
}
