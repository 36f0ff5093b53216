//! `watch`: takes a dump of a process when something happens to it.
//!
//! *What it is*: what can be watched for ([`Trigger`]), how ([`Watch`]), and what comes of it ([`WatchEvent`]). Taking
//! the dump of a process that merely runs is the caller's affair ([`Responder::take`]).
//! *What it is not*: it follows no children, and it understands no dump.
//!
//! ```no_run
//! use afterimage_capture::watch::{Firing, Responder, TakeFailure, Target, Trigger, Watch, WatchEvent, watch};
//! struct Printer;
//! impl Responder for Printer {
//!     fn take(&mut self, firing: &Firing) -> Result<std::path::PathBuf, TakeFailure> {
//!         Ok(format!("core.{}", firing.pid).into()) // here a dump would be taken
//!     }
//!     fn event(&mut self, event: &WatchEvent) {
//!         if let WatchEvent::Fired(firing) = event {
//!             println!("{}", firing.words);
//!         }
//!     }
//! }
//! let watched = Watch::new(Target::Pid(4711), vec![Trigger::MemoryAbove(vec![2 << 30])]);
//! let outcome = watch(&watched, &mut Printer)?;
//! println!("{} dumps", outcome.dumps);
//! # Ok::<(), afterimage_capture::watch::WatchError>(())
//! ```
//!
//! *Trap*: [`Trigger::Signal`] and [`Trigger::Exit`] trace the process, so nobody else can; all dumps of such a watch
//! are written by the watcher itself, as `run` writes them, and [`Responder::take`] is not called.
//!
//! # Harm
//! Sampling reads `/proc` and nothing else. A traced process is let go by the kernel when the watcher ends, however it
//! ends. Process ids are used again: a pidfd is opened first, and nothing is believed of `/proc/PID` unless the pidfd
//! says afterwards that the process still lives.

mod cgroup;
mod clock;
mod detector;
mod dumps;
mod error;
mod hang;
mod log;
mod pressure;
mod probe;
mod sample;
mod session;
mod signals;
mod stop;
mod target;
mod trigger;
mod usage;

pub use self::error::{FailureKind, TakeFailure, WatchError};
pub use self::sample::Sample;
pub use self::stop::Stop;
pub use self::target::Target;
pub use self::trigger::{HttpUrl, Pace, Resource, SignalSet, Stall, Trigger};
pub use crate::run::Ended;

use self::dumps::Job;
use afterimage_dump::DumpType;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// The shortest interval between samples.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// What to watch, for what, and how long.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The process.
    pub target: Target,
    /// Any of them fires.
    pub triggers: Vec<Trigger>,
    /// Watching ends after so many dumps.
    pub count: u32,
    /// No dump within this time after the last one began. A death does not wait: the process has no later.
    pub cooldown: Duration,
    /// Between samples; at least [`MIN_INTERVAL`].
    pub interval: Duration,
    /// Watching ends after this time.
    pub timeout: Option<Duration>,
    /// Where the dumps of a traced process go.
    pub output_dir: PathBuf,
    /// How much the dumps of a traced process hold.
    pub dump_type: DumpType,
    /// Whether signals to the calling process end the watch (SIGINT, SIGTERM, SIGHUP, SIGQUIT), or go to a program that
    /// was started for it. Signals belong to the whole process, so only one watch or `run` in it can have this.
    pub handle_signals: bool,
    /// Ends the watch from elsewhere.
    pub stop: Stop,
}

impl Watch {
    /// One dump, samples each second, ten seconds of cooldown, no time-out, no signals handled.
    #[must_use]
    pub fn new(target: Target, triggers: Vec<Trigger>) -> Self {
        Self {
            target,
            triggers,
            count: 1,
            cooldown: Duration::from_secs(10),
            interval: Duration::from_secs(1),
            timeout: None,
            output_dir: ".".into(),
            dump_type: DumpType::Active,
            handle_signals: false,
            stop: Stop::default(),
        }
    }

    /// Whether its process is traced.
    #[must_use]
    pub fn traces(&self) -> bool {
        self.triggers.iter().any(Trigger::traces)
    }
}

/// A trigger that has fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The process.
    pub pid: u32,
    /// The trigger's name, as `memory-above`.
    pub trigger: &'static str,
    /// What was measured, with its unit.
    pub value: String,
    /// What it was compared with.
    pub threshold: String,
    /// Both in one sentence without a full stop.
    pub words: String,
}

/// What happens while watching.
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A process of this name is waited for.
    Waiting {
        /// The name.
        name: String,
    },
    /// Watching has begun.
    Started {
        /// The process.
        pid: u32,
        /// Its short name.
        comm: String,
        /// The triggers in words.
        triggers: Vec<String>,
        /// Whether it is traced.
        traced: bool,
    },
    /// The process was looked at.
    Sampled(Sample),
    /// A trigger fired; a dump is about to be taken, or, at a death, has been.
    Fired(Firing),
    /// A dump is there.
    Dumped {
        /// Why.
        firing: Firing,
        /// The file.
        path: PathBuf,
    },
    /// A dump could not be taken.
    Failed {
        /// Why it should have been.
        firing: Firing,
        /// What went wrong.
        failure: TakeFailure,
    },
    /// Something that the user should know.
    Remark(String),
    /// The process has ended.
    TargetEnded {
        /// The process.
        pid: u32,
        /// How, where that can be known.
        how: Option<Ended>,
    },
}

/// Why watching ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchEnd {
    /// All dumps that were asked for are there.
    Count,
    /// The time is over.
    Timeout,
    /// The process ended.
    TargetEnded,
    /// This signal came; 0 stands for [`Stop::stop`].
    Stopped(i32),
    /// Several dumps in a row could not be taken.
    GaveUp,
}

/// How a watch ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why.
    pub end: WatchEnd,
    /// Dumps taken.
    pub dumps: u32,
    /// The last thing that went wrong with a dump.
    pub failure: Option<TakeFailure>,
}

/// What the caller does; all calls come from the thread that called [`watch()`].
pub trait Responder {
    /// Takes a dump of the process, which runs.
    ///
    /// # Errors
    /// When there is none; watching goes on.
    fn take(&mut self, firing: &Firing) -> Result<PathBuf, TakeFailure>;

    /// Hears what happens. No other dump is taken until it returns.
    fn event(&mut self, event: &WatchEvent);
}

/// Watches until something ends it.
///
/// A program that was started for it is waited for even when all dumps are taken, with its signals passed on, so that
/// nobody is left with a program in the background that they did not put there.
///
/// # Errors
/// When the process cannot be found, started or watched, or a trigger cannot work here.
pub fn watch(watch: &Watch, responder: &mut dyn Responder) -> Result<Outcome, WatchError> {
    watch.check()?;
    let (jobs, incoming) = mpsc::channel();
    let (reply, replies) = mpsc::channel();
    std::thread::scope(|scope| {
        // A thread of its own: tracees are bound to it, and they must not wait for an fsync or a slow callback.
        let watcher = std::thread::Builder::new()
            .name("watch".into())
            .spawn_scoped(scope, move || session::watch(watch, jobs, replies))
            .map_err(|source| WatchError::System { what: "start a thread", source })?;
        for job in incoming {
            let (firing, result) = match job {
                Job::Event(event) => {
                    responder.event(&event);
                    continue;
                }
                Job::Take(firing) => {
                    let result = responder.take(&firing);
                    (firing, result)
                }
                Job::Finish(firing, unfinished) => {
                    let finished = unfinished.and_then(|unfinished| unfinished.finish());
                    (firing, finished.map(|captured| captured.path).map_err(TakeFailure::from))
                }
            };
            let answer = result.as_ref().map(|_| ()).map_err(Clone::clone);
            responder.event(&match result {
                Ok(path) => WatchEvent::Dumped { firing, path },
                Err(failure) => WatchEvent::Failed { firing, failure },
            });
            // The watcher has gone only if it panicked.
            let _ = reply.send(answer);
            watch.stop.wake();
        }
        watcher.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    })
}

impl Watch {
    /// Finds contradictions before anything is touched.
    fn check(&self) -> Result<(), WatchError> {
        let wrong = |what: &str| Err(WatchError::Wrong { what: what.to_owned() });
        if self.triggers.is_empty() {
            return wrong("no trigger given");
        }
        if self.count == 0 {
            return wrong("a count of 0 dumps asks for nothing");
        }
        if self.interval < MIN_INTERVAL {
            return wrong("the interval must be at least 100ms");
        }
        for trigger in &self.triggers {
            trigger.check().map_err(|what| WatchError::Wrong { what })?;
        }
        Ok(())
    }
}

/// A number of bytes as people read it.
fn size_words(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in UNITS {
        if bytes >> shift > 0 {
            let amount = bytes as f64 / (1u64 << shift) as f64;
            let text = format!("{amount:.1}");
            return format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text));
        }
    }
    format!("{bytes} bytes")
}

/// A time as people read it.
fn time_words(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    match (seconds, millis) {
        (0, millis) => format!("{millis} ms"),
        (seconds, 0) if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        (seconds, 0) => format!("{seconds} s"),
        (seconds, millis) => format!("{}.{} s", seconds, millis / 100),
    }
}

/// A number of percent as people read it.
fn percent_words(percent: f64) -> String {
    let text = format!("{percent:.1}");
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(size_words(2 << 30), "2 GiB");
        assert_eq!(size_words((2 << 30) + (300 << 20)), "2.3 GiB");
        assert_eq!(size_words(100), "100 bytes");
        assert_eq!(time_words(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(time_words(Duration::from_secs(120)), "2 min");
        assert_eq!(time_words(Duration::from_millis(20)), "20 ms");
        assert_eq!(percent_words(80.0), "80 %");
        assert_eq!(percent_words(93.25), "93.2 %");
    }

    #[test]
    fn contradictions_are_found_first() {
        assert!(Watch::new(Target::Pid(1), vec![]).check().is_err());
        let mut watch = Watch::new(Target::Pid(1), vec![Trigger::ThreadsAbove(1)]);
        assert!(watch.check().is_ok());
        watch.interval = Duration::from_millis(10);
        assert!(watch.check().is_err());
    }
}
