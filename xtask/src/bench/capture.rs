//! What it costs a process to be captured: gdb's gcore, our three ways, and the process's own `fork()`, in one run.
//!
//! *Pause* is the longest gap that a thread of the process saw which does nothing but read the clock; beside it stand the
//! longest in a quiet time before, and what the tool itself reports.
//!
//! *Example*: `cargo xtask bench capture --sizes 256M,1G --rounds 5 --output /var/tmp`.
//!
//! *Trap*: all dumps go to the same disk, and ours are synced before they count as written, which gcore's are not. So
//! after gcore its file is synced here, and *durable* is the time that compares like with like.

use super::capture_case::{Case, Measured, OWN, measure};
use super::explain::met;
use super::measure::{megabytes, time};
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};

/// The command line of it.
pub(super) const USAGE: &str = "capture [--sizes 256M,1G,4G] [--pages 4k,huge] [--loads idle,writing] \
                                [--rate PAGES_A_SECOND|full] [--rounds N] [--output DIR]";

/// Goals of the issue: milliseconds, times, and 2²⁰ bytes.
const PAUSE: f64 = 15.0;
const GROWTH: f64 = 2.0;
const OF_FORK: f64 = 1.5;
const OF_GCORE: f64 = 3.0;
const MEMORY: f64 = 64.0;
const GIB: f64 = (1u64 << 30) as f64;

/// What is asked for.
struct Settings {
    sizes: Vec<u64>,
    pages: Vec<String>,
    loads: Vec<String>,
    rate: String,
    rounds: usize,
    output: PathBuf,
}

/// `bench capture …`.
pub(super) fn capture(arguments: &[String]) -> anyhow::Result<()> {
    let settings = parse(arguments)?;
    let program = crate::tools::program(true)?;
    let folder = tempfile::Builder::new().prefix("afterimage-bench").tempdir_in(&settings.output)?;
    println!(
        "Dumps go to {}; {} rounds in turn after a warm-up; medians. Pause is the longest gap that a thread saw.",
        settings.output.display(),
        settings.rounds
    );
    let mut all = Vec::new();
    for size in &settings.sizes {
        room(folder.path(), *size)?;
        for pages in &settings.pages {
            for load in &settings.loads {
                let rate = if load == "idle" { "0".to_owned() } else { settings.rate.clone() };
                let case = Case { size: *size, pages: pages.clone(), rate };
                let measured = measure(&case, &program, folder.path(), settings.rounds)
                    .with_context(|| format!("{} MiB, {pages}, {load}", size >> 20))?;
                table(&case, load, &measured);
                all.push((case, load.clone(), measured));
            }
        }
    }
    println!("\ngoals");
    goals(&all);
    Ok(())
}

fn parse(arguments: &[String]) -> anyhow::Result<Settings> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut settings = Settings {
        sizes: vec![256 << 20, 1 << 30, 4 << 30],
        pages: list("4k,huge"),
        loads: list("idle,writing"),
        rate: "10000".to_owned(),
        rounds: 3,
        output: std::env::temp_dir(),
    };
    let mut arguments = arguments.iter();
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag}: a value is missing; usage: {USAGE}"))?;
        match flag.as_str() {
            "--sizes" => settings.sizes = value.split(',').map(size).collect::<anyhow::Result<_>>()?,
            "--pages" => settings.pages = list(value),
            "--loads" => settings.loads = list(value),
            "--rate" => settings.rate = value.clone(),
            "--rounds" => settings.rounds = value.parse().with_context(|| format!("--rounds {value}"))?,
            "--output" => settings.output = PathBuf::from(value),
            other => bail!("{other}: unknown; usage: cargo xtask bench {USAGE}"),
        }
    }
    ensure!(settings.pages.iter().all(|pages| pages == "4k" || pages == "huge"), "pages are 4k or huge");
    ensure!(settings.loads.iter().all(|load| load == "idle" || load == "writing"), "loads are idle or writing");
    ensure!(settings.rounds > 0, "no rounds");
    Ok(settings)
}

fn size(text: &str) -> anyhow::Result<u64> {
    let shift = match text.chars().last() {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        _ => 0,
    };
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let number: u64 = digits.parse().with_context(|| format!("{text}: no size"))?;
    Ok(number << shift)
}

/// One dump at a time lies on the disk.
fn room(folder: &Path, size: u64) -> anyhow::Result<()> {
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes())?;
    // SAFETY: a structure of integers, for which all zeros is a value.
    let mut data: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero byte, and the structure is valid for writes during the call.
    let failed = unsafe { libc::statvfs(path.as_ptr(), &raw mut data) } != 0;
    ensure!(!failed, "{}: {}", folder.display(), std::io::Error::last_os_error());
    let free = data.f_bavail * data.f_frsize;
    ensure!(free > size + size / 4 + (1 << 30), "{} has {} MiB left, too little", folder.display(), free >> 20);
    Ok(())
}

fn milliseconds(value: f64) -> String {
    if value.is_nan() { "–".to_owned() } else { format!("{value:.1} ms") }
}

fn times(value: f64) -> String {
    if value.is_nan() { "–".to_owned() } else { format!("{value:.2}×") }
}

fn table(case: &Case, load: &str, measured: &Measured) {
    let busy = if load == "idle" { "idle".to_owned() } else { format!("{} pages written a second", case.rate) };
    println!("\n{:.2} GiB in {} pages, {busy}", case.size as f64 / GIB, case.pages);
    println!(
        "  {:16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9} {:>9}",
        "", "pause", "quiet", "reported", "writer", "total", "durable", "on disk", "memory", "× gcore", "× fork()"
    );
    let gcore = measured.of("gcore").map_or(f64::NAN, |tool| tool.durable);
    for tool in &measured.tools {
        println!(
            "  {:16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9} {:>9}",
            tool.name,
            milliseconds(tool.pause),
            milliseconds(tool.quiet),
            milliseconds(tool.reported),
            milliseconds(tool.writer),
            if tool.total.is_nan() { "–".to_owned() } else { time(tool.total) },
            if tool.durable.is_nan() { "–".to_owned() } else { time(tool.durable) },
            if tool.disk.is_nan() { "–".to_owned() } else { format!("{:.0} MB", tool.disk / 1e6) },
            format!("{:.1} MB", megabytes(tool.peak)),
            times(gcore / tool.durable),
            times(tool.pause / measured.fork),
        );
        for note in &tool.notes {
            println!("    {note}");
        }
    }
    println!("  {:16} {:>10} {:>10} (its own time for the call)", "fork()", milliseconds(measured.fork), "");
}

/// Says of each goal whether it is met, and by how much it is missed.
fn goals(all: &[(Case, String, Measured)]) {
    let goal = |what: &str, got: f64, limit: f64, unit: &str, less: bool| {
        if got.is_nan() {
            println!("  {what}: not measured");
            return;
        }
        let fine = if less { got <= limit } else { got >= limit };
        let by = if fine { String::new() } else { format!(", by {:.1}{unit}", (got - limit).abs()) };
        println!("  {what}: {}{by} ({got:.1}{unit}, goal {limit:.1}{unit})", met(fine));
    };
    for pages in ["4k", "huge"] {
        let mut idle: Vec<(f64, f64)> = all
            .iter()
            .filter(|(case, load, _)| case.pages == pages && load == "idle")
            .filter_map(|(case, _, measured)| Some((case.size as f64 / GIB, measured.of("precopy")?.pause)))
            .collect();
        idle.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (Some(first), Some(last)) = (idle.first(), idle.last()) else { continue };
        goal(&format!("pause of precopy, idle, {pages}, {:.2} GiB", last.0), last.1, PAUSE, " ms", true);
        if last.0 > first.0 {
            let growth = (last.1 - first.1) / (last.0 - first.0);
            goal(&format!("growth of that from {:.2} GiB, a GiB", first.0), growth, GROWTH, " ms", true);
        }
    }
    for (case, load, measured) in all {
        let place = format!("{:.2} GiB, {}, {load}", case.size as f64 / GIB, case.pages);
        if let Some(snapshot) = measured.of("snapshot") {
            goal(
                &format!("pause of snapshot over fork(), {place}"),
                snapshot.pause / measured.fork,
                OF_FORK,
                "×",
                true,
            );
        }
        if let Some(gcore) = measured.of("gcore") {
            for way in OWN {
                let Some(tool) = measured.of(way) else { continue };
                let ratio = gcore.durable / tool.durable;
                goal(&format!("durable gcore over {way}, {place}"), ratio, OF_GCORE, "×", false);
                let ratio = gcore.total / tool.total;
                goal(&format!("gcore, not synced, over {way}, {place}"), ratio, OF_GCORE, "×", false);
            }
        }
    }
    let own = all.iter().flat_map(|(_, _, measured)| &measured.tools).filter(|tool| tool.name != "gcore");
    let peak = own.map(|tool| tool.peak).max().unwrap_or(0);
    goal("own memory, all cases", peak as f64 / 1024.0, MEMORY, " MiB", true);
}
