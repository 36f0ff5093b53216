//! One case of `bench capture`: a process of a size, its load, and everyone who captures it, in turn.

use super::measure::{median, run};
use afterimage_testkit::live::{Live, Program};
use anyhow::{Context, bail};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Our ways, as the command line has them.
pub(super) const OWN: &[&str] = &["stop", "snapshot", "precopy"];

/// What is captured.
pub(super) struct Case {
    /// Bytes.
    pub(super) size: u64,
    /// `4k` or `huge`.
    pub(super) pages: String,
    /// Pages written a second; `0` or `full`.
    pub(super) rate: String,
}

/// Medians of one way to capture it; times in milliseconds but for `total`, which is in seconds.
pub(super) struct Tool {
    pub(super) name: String,
    /// The longest gap that the ticking thread saw.
    pub(super) pause: f64,
    /// The same in a quiet time of about that length before.
    pub(super) quiet: f64,
    /// What the tool says of itself; not a number if it says nothing.
    pub(super) reported: f64,
    /// The longest time that the writing thread took for one store; not a number if there is none.
    pub(super) writer: f64,
    pub(super) total: f64,
    /// The same until the dump would outlive a power cut: ours syncs, after gcore the file is synced here.
    pub(super) durable: f64,
    /// Bytes on disk.
    pub(super) disk: f64,
    /// Largest peak of resident memory, in kibibytes.
    pub(super) peak: u64,
    /// What is to be known of it: that it fell back, for example.
    pub(super) notes: Vec<String>,
}

/// All of one case.
pub(super) struct Measured {
    pub(super) tools: Vec<Tool>,
    /// The program's own `fork()`, in milliseconds.
    pub(super) fork: f64,
}

impl Measured {
    pub(super) fn of(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }
}

/// One capture.
#[derive(Clone)]
struct Sample {
    pause: f64,
    quiet: f64,
    reported: f64,
    writer: f64,
    total: f64,
    durable: f64,
    disk: f64,
    peak: u64,
    note: Option<String>,
}

/// What is known of one that failed.
const NOTHING: Sample = Sample {
    pause: f64::NAN,
    quiet: f64::NAN,
    reported: f64::NAN,
    writer: f64::NAN,
    total: f64::NAN,
    durable: f64::NAN,
    disk: f64::NAN,
    peak: 0,
    note: None,
};

/// Starts the process and lets all capture it, A B C A B C; the first round is not counted.
pub(super) fn measure(case: &Case, afterimage: &Path, folder: &Path, rounds: usize) -> anyhow::Result<Measured> {
    let size = case.size.to_string();
    let options = ["--size", &size, "--pages", &case.pages, "--write", &case.rate, "--deadline", "3600"];
    let mut ticker = Live::start(Program::Ticker, &options)?;
    let mut names = vec!["gcore"];
    names.extend(OWN);
    names.push("precopy, zstd");
    let mut samples = vec![Vec::new(); names.len()];
    let mut forks = Vec::new();
    for round in 0..=rounds {
        for (name, samples) in names.iter().zip(&mut samples) {
            let last = samples.last().map_or(0.2, |sample: &Sample| sample.total.max(0.2));
            // Who cannot do it is said to, and the others go on; the process must live.
            let sample = one(name, &mut ticker, afterimage, folder, last);
            samples.push(sample.unwrap_or_else(|error| Sample { note: Some(format!("{error:#}")), ..NOTHING }));
        }
        forks.push(number(&ticker.ask("fork")?, "fork"));
        if round == 0 {
            samples.iter_mut().for_each(Vec::clear);
            forks.clear();
        }
    }
    ticker.quit()?;
    let tools = names.iter().zip(samples).map(|(name, samples)| tool(name, &samples)).collect();
    Ok(Measured { tools, fork: median(forks) })
}

fn tool(name: &str, samples: &[Sample]) -> Tool {
    let of = |get: fn(&Sample) -> f64| median(samples.iter().map(get).collect());
    let mut notes: Vec<String> = samples.iter().filter_map(|sample| sample.note.clone()).collect();
    notes.sort();
    notes.dedup();
    Tool {
        name: name.to_owned(),
        pause: of(|sample| sample.pause),
        quiet: of(|sample| sample.quiet),
        reported: of(|sample| sample.reported),
        writer: of(|sample| sample.writer),
        total: of(|sample| sample.total),
        durable: of(|sample| sample.durable),
        disk: of(|sample| sample.disk),
        peak: samples.iter().map(|sample| sample.peak).max().unwrap_or(0),
        notes,
    }
}

/// Nanoseconds of an answer as milliseconds.
fn number(answer: &Value, name: &str) -> f64 {
    answer.get(name).and_then(Value::as_f64).map_or(f64::NAN, |nanoseconds| nanoseconds / 1e6)
}

fn one(name: &str, ticker: &mut Live, afterimage: &Path, folder: &Path, last: f64) -> anyhow::Result<Sample> {
    let pid = ticker.pid().to_string();
    let (dump, output) = (folder.join("dump"), folder.join("output"));
    let mut written = dump.clone();
    let mut command = Command::new(if name == "gcore" { Path::new("gcore") } else { afterimage });
    if name == "gcore" {
        command.arg("-o").arg(&dump).arg(&pid);
        written = folder.join(format!("dump.{pid}"));
    } else {
        let (way, packed) = name.split_once(", ").unwrap_or((name, "none"));
        command.args(["capture", &pid, "--json", "--how", way, "--compress", packed, "-o"]).arg(&dump);
    }
    // The dump before may still be on its way to the disk, and its pages are being freed.
    // SAFETY: sync takes nothing and gives nothing.
    unsafe { libc::sync() };
    ticker.ask("reset")?;
    std::thread::sleep(Duration::from_secs_f64(last.clamp(0.05, 2.0)));
    let quiet = number(&ticker.ask("gaps")?, "longest");
    ticker.ask("reset")?;
    let ran = run(&mut command, &output)?;
    let begin = Instant::now();
    if name == "gcore"
        && let Ok(file) = std::fs::File::open(&written)
    {
        file.sync_all().with_context(|| format!("sync {}", written.display()))?;
    }
    let durable = ran.wall + begin.elapsed().as_secs_f64();
    // Pages that are handed back one by one may stall the writer only when all seems over.
    std::thread::sleep(Duration::from_millis(20));
    let gaps = ticker.ask("gaps")?;
    let text = std::fs::read_to_string(&output)?;
    if ran.status != 0 {
        bail!("ended with status {:#x}: {}", ran.status, text.trim());
    }
    let meta = written.metadata().with_context(|| format!("look at {}", written.display()))?;
    std::fs::remove_file(&written).with_context(|| format!("remove {}", written.display()))?;
    let said: Value = text.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let way = name.split(',').next().unwrap_or_default();
    let fell = said.get("how").and_then(Value::as_str).filter(|how| *how != way);
    let passes = said.get("passes").and_then(Value::as_u64);
    let note = match (fell, passes) {
        (Some(how), _) => Some(format!("was taken by {how}: {}", said.get("fallback").cloned().unwrap_or_default())),
        (None, Some(passes)) if way == "precopy" => Some(format!("{passes} passes")),
        _ => None,
    };
    let writes = number(&gaps, "stores") > 0.0;
    Ok(Sample {
        pause: number(&gaps, "longest"),
        quiet,
        reported: said.get("pause_ms").and_then(Value::as_f64).unwrap_or(f64::NAN),
        writer: if writes { number(&gaps, "stalled") } else { f64::NAN },
        total: ran.wall,
        durable,
        disk: (meta.blocks() * 512) as f64,
        peak: ran.peak,
        note,
    })
}
