//! Running a command and weighing it: wall time, processor time, peak memory; and series of such runs.
//!
//! *Trap*: `ru_maxrss` of a child starts at what its parent had resident when it forked: it survives `exec`
//! (Linux, `setmax_mm_hiwater_rss` in `exec_mmap`). So this process keeps small, and says its own size in the report.

use anyhow::{Context, bail};
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// From fork to exit, in seconds.
    pub(super) wall: f64,
    /// User and system time of the process and its waited-for children, in seconds.
    pub(super) processor: f64,
    /// Peak of resident memory in kibibytes: its largest process's.
    pub(super) peak: u64,
    /// The raw wait status.
    pub(super) status: i32,
}

/// Runs a command with its output in `output`.
pub(super) fn run(command: &mut Command, output: &Path) -> anyhow::Result<Run> {
    run_watched(command, output, None)
}

/// The same; `watch`, if given, is called with the process's number over and over until it ends.
fn run_watched(command: &mut Command, output: &Path, mut watch: Option<&mut dyn FnMut(u32)>) -> anyhow::Result<Run> {
    let shown = format!("{command:?}").replace('"', "");
    let out = File::create(output).with_context(|| format!("create {}", output.display()))?;
    let err = out.try_clone().with_context(|| format!("share {}", output.display()))?;
    command.stdin(Stdio::null()).stdout(out).stderr(err).env_remove("DEBUGINFOD_URLS");
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("start {shown}"))?;
    let pid = i32::try_from(child.id()).context("a process number beyond 2³¹")?;
    let flags = if watch.is_some() { libc::WNOHANG } else { 0 };
    loop {
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: both pointers are valid for writes during the call; the process is our child, and not waited for yet.
        let waited = unsafe { libc::wait4(pid, &raw mut status, flags, usage.as_mut_ptr()) };
        if waited < 0 {
            return Err(std::io::Error::last_os_error()).with_context(|| format!("wait for {shown}"));
        }
        if waited == 0 {
            if let Some(watch) = &mut watch {
                watch(child.id());
            }
            continue;
        }
        let wall = start.elapsed().as_secs_f64();
        // SAFETY: a structure of integers, for which all zeros is a value, and the call has filled it in.
        let usage = unsafe { usage.assume_init() };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        return Ok(Run {
            wall,
            processor: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            peak: u64::try_from(usage.ru_maxrss).unwrap_or(0),
            status,
        });
    }
}

/// How the resident memory of a process divides, in kibibytes: the largest of each that was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    pub(super) anonymous: u64,
    pub(super) file: u64,
}

/// Runs a command and looks at its `/proc/PID/status` all the time.
pub(super) fn parts(command: &mut Command, output: &Path) -> anyhow::Result<Parts> {
    let mut parts = Parts::default();
    let mut look = |pid| {
        if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/status")) {
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
            };
            parts.anonymous = parts.anonymous.max(field("RssAnon"));
            parts.file = parts.file.max(field("RssFile"));
        }
        std::thread::sleep(Duration::from_micros(200));
    };
    run_watched(command, output, Some(&mut look))?;
    Ok(parts)
}

/// Something that is measured: a name and how to run it.
pub(super) struct Contestant {
    pub(super) name: String,
    pub(super) command: Command,
    /// What its output must hold; else it has not done the work.
    pub(super) needle: Option<&'static str>,
    /// Rounds of one that takes long and was tried already: fewer than the others', and no warm-up.
    pub(super) few: Option<usize>,
}

impl Contestant {
    pub(super) fn new(name: &str, command: Command, needle: Option<&'static str>) -> Self {
        Self { name: name.to_owned(), command, needle, few: None }
    }
}

/// What was measured of one contestant.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) runs: Vec<Run>,
}

impl Series {
    pub(super) fn wall(&self) -> Spread {
        Spread::of(self.runs.iter().map(|run| run.wall).collect())
    }

    pub(super) fn processor(&self) -> Spread {
        Spread::of(self.runs.iter().map(|run| run.processor).collect())
    }

    /// Largest peak in kibibytes.
    pub(super) fn peak(&self) -> u64 {
        self.runs.iter().map(|run| run.peak).max().unwrap_or(0)
    }
}

/// Middle, least and largest of a series.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
        let even = values.len().is_multiple_of(2) && middle > 0;
        let median = if even { f64::midpoint(at(middle - 1), at(middle)) } else { at(middle) };
        Self { median, min: at(0), max: at(values.len().saturating_sub(1)) }
    }
}

/// The middle of some values; not a number if there is none.
pub(super) fn median(values: Vec<f64>) -> f64 {
    if values.is_empty() { f64::NAN } else { Spread::of(values).median }
}

/// Runs all in turn, A B C A B C, so that a change of the machine's mood meets all alike; the first round is not counted.
pub(super) fn rounds(contestants: &mut [Contestant], rounds: usize, folder: &Path) -> anyhow::Result<Vec<Series>> {
    let mut all = vec![Series::default(); contestants.len()];
    let output = folder.join("output");
    for round in 0..=rounds {
        for (contestant, series) in contestants.iter_mut().zip(&mut all) {
            if contestant.few.is_some_and(|few| round == 0 || round > few) {
                continue;
            }
            let run = run(&mut contestant.command, &output)?;
            if round > 0 {
                series.runs.push(run);
                continue;
            }
            let text = fs::read(&output).with_context(|| format!("read {}", output.display()))?;
            let text = String::from_utf8_lossy(&text);
            if let Some(needle) = contestant.needle.filter(|needle| !text.contains(needle)) {
                let tail: Vec<&str> = text.lines().rev().take(5).collect();
                bail!("{}: prints no {needle} (status {:#x}): {tail:?}", contestant.name, run.status);
            }
            if contestant.needle.is_none() && run.status != 0 {
                bail!("{}: ended with status {:#x}", contestant.name, run.status);
            }
        }
    }
    Ok(all)
}

/// A time for people.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 100.0 => format!("{s:.0} s"),
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.1 => format!("{:.0} ms", s * 1e3),
        s => format!("{:.1} ms", s * 1e3),
    }
}

/// Kibibytes as megabytes of 10⁶ bytes.
pub(super) fn megabytes(kibibytes: u64) -> f64 {
    kibibytes as f64 * 1024.0 / 1e6
}
