//! Pressure stall information: tasks that wait for memory, processors or the disk.
//!
//! *What it is*: a trigger that the kernel itself watches, in the target's control group or else the whole machine, and
//! where the kernel refuses triggers a look at the ten-second average with each sample.
//!
//! *Trap*: the kernel overwrites the last byte of what is written with NUL (`psi_write`), so the text must end with a
//! byte that is not needed. Without CAP_SYS_RESOURCE a window must be a multiple of two seconds (Linux 6.5).

use super::cgroup;
use super::detector::{Detector, Reading};
use super::sample::Sample;
use super::{Resource, Stall, WatchError, percent_words, time_words};
use crate::sys::Tid;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The kernel's bounds of a window.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
/// What unprivileged windows are multiples of.
const UNPRIVILEGED_STEP: u64 = 2;
/// An event that could not be used for so long is old news; if pressure stays, the kernel tells it again.
const FRESH: Duration = Duration::from_secs(2);

pub(super) struct Pressure {
    file: PathBuf,
    resource: Resource,
    stall: Stall,
    percent: f64,
    window: Duration,
    /// The kernel's trigger, and the window that it has got.
    trigger: Option<(File, Duration)>,
    fired_at: Option<Instant>,
    /// Without a trigger: the average, and since when it has been too high.
    average: f64,
    since: Option<Instant>,
    remark: Option<String>,
}

impl Pressure {
    pub(super) fn new(
        pid: Tid,
        resource: Resource,
        stall: Stall,
        percent: f64,
        window: Duration,
    ) -> Result<Self, WatchError> {
        let group = cgroup::version_2_file(pid, &format!("{}.pressure", resource.name()));
        let machine = PathBuf::from("/proc/pressure").join(resource.name());
        let mut why_not = None;
        let file = group.into_iter().chain([machine]).find(|file| match average(file, stall) {
            Ok(_) => true,
            Err(error) => {
                why_not = Some((file.clone(), error));
                false
            }
        });
        let Some(file) = file else {
            let (path, source) = why_not.unwrap_or_else(|| (PathBuf::new(), io::ErrorKind::NotFound.into()));
            return Err(WatchError::File { path, source });
        };
        let (trigger, remark) = match open(&file, stall, percent, window) {
            Ok(trigger) => (Some(trigger), None),
            // Longer windows than the kernel's are meant for the average.
            Err(_) if window > LONGEST => (None, None),
            Err(error) => {
                let file = file.display();
                (
                    None,
                    Some(format!(
                        "the kernel refuses a trigger on {file} ({error}): its ten-second average is read instead"
                    )),
                )
            }
        };
        let since = None;
        Ok(Self { file, resource, stall, percent, window, trigger, fired_at: None, average: 0.0, since, remark })
    }
}

/// The kernel's trigger.
fn open(file: &Path, stall: Stall, percent: f64, window: Duration) -> io::Result<(File, Duration)> {
    if window > LONGEST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let set = |window: Duration| {
        let mut trigger = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(file)?;
        let micros = window.as_micros();
        let threshold = ((micros as f64 * percent / 100.0) as u128).clamp(1, micros);
        trigger.write_all(format!("{} {threshold} {micros}\n", stall.name()).as_bytes())?;
        Ok((trigger, window))
    };
    let window = window.max(SHORTEST);
    set(window).or_else(|error: io::Error| {
        let rounded = window.as_secs_f64() / UNPRIVILEGED_STEP as f64;
        let rounded = Duration::from_secs((rounded.ceil() as u64).max(1) * UNPRIVILEGED_STEP);
        if rounded == window || error.kind() == io::ErrorKind::NotFound {
            Err(error)
        } else {
            set(rounded.min(LONGEST))
        }
    })
}

/// The ten-second average in percent.
fn average(file: &Path, stall: Stall) -> io::Result<f64> {
    parse(&std::fs::read_to_string(file)?, stall)
        .ok_or_else(|| io::Error::other(format!("it has no line `{}`", stall.name())))
}

fn parse(text: &str, stall: Stall) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(stall.name()))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

impl Detector for Pressure {
    fn sampled(&mut self, _sample: &Sample, now: Instant) {
        if self.trigger.is_some() {
            return;
        }
        self.average = average(&self.file, self.stall).unwrap_or(0.0);
        if self.average <= self.percent {
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(now);
        }
    }

    fn check(&mut self, now: Instant) -> Option<Reading> {
        let (resource, stall, file) = (self.resource.name(), self.stall.name(), self.file.display());
        let threshold = percent_words(self.percent);
        match &self.trigger {
            Some((_, window)) => {
                self.fired_at.filter(|at| now.duration_since(*at) <= FRESH)?;
                let window = time_words(*window);
                let value = format!("at least {threshold}");
                let words = format!("{resource} pressure ({stall}) in {file} was {value} over {window}");
                Some(Reading { value, threshold, words })
            }
            None => {
                let lasting = if self.window > LONGEST { self.window } else { Duration::ZERO };
                self.since.filter(|since| now.duration_since(*since) >= lasting)?;
                let value = percent_words(self.average);
                let words = format!("{resource} pressure ({stall}) in {file} is {value} over 10 s, above {threshold}");
                Some(Reading { value, threshold, words })
            }
        }
    }

    fn fired(&mut self, _now: Instant) {
        self.fired_at = None;
        self.since = None;
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.trigger.as_ref().map(|(file, _)| file.as_fd())
    }

    fn ready(&mut self, now: Instant) {
        self.fired_at = Some(now);
    }

    fn failed(&mut self) {
        // The control group has gone.
        self.trigger = None;
    }

    fn remark(&mut self) -> Option<String> {
        self.remark.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages() {
        let text = "some avg10=1.25 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=5\n";
        assert_eq!(parse(text, Stall::Some), Some(1.25));
        assert_eq!(parse(text, Stall::Full), Some(0.5));
        assert_eq!(parse("some avg10=1", Stall::Full), None);
    }

    #[test]
    fn the_average_must_stay_high_for_longer_windows() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cpu");
        std::fs::write(&file, "some avg10=30.00 avg60=0.00 avg300=0.00 total=5\n").unwrap();
        let mut pressure = Pressure {
            file,
            resource: Resource::Cpu,
            stall: Stall::Some,
            percent: 20.0,
            window: Duration::from_secs(60),
            trigger: None,
            fired_at: None,
            average: 0.0,
            since: None,
            remark: None,
        };
        let start = Instant::now();
        pressure.sampled(&Sample::default(), start);
        assert!(pressure.check(start + Duration::from_secs(59)).is_none());
        assert_eq!(pressure.check(start + Duration::from_secs(60)).unwrap().value, "30 %");
    }
}
