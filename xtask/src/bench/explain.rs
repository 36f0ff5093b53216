//! Time to the first full report, ours and the peers', and the memory that it took.
//!
//! *Example of a line*: `gdb: bt   152 ms   149 – 160 ms   145 ms   14.1×   61.2 MB`: median, least and largest wall
//! time, median processor time, how many times our median, peak memory.

use super::Settings;
use super::cases::{Case, OURS, cases};
use super::measure::{Contestant, Series, megabytes, parts, rounds, run, time};
use std::path::Path;
use std::process::Command;

/// The goal for our peak of memory, in 10⁶ bytes.
const MEMORY: f64 = 100.0;

/// Measures and prints all wanted cases.
pub(super) fn explain(settings: &Settings, afterimage: &Path, folder: &Path) -> anyhow::Result<()> {
    let cases = cases(settings, folder)?;
    if cases.is_empty() {
        return Ok(());
    }
    let least = run(&mut Command::new("true"), &folder.join("output"))?.peak;
    println!(
        "Time to the first full report: {} rounds in turn after a warm-up, files in the page cache.",
        settings.rounds
    );
    println!("Peak memory is the kernel's ru_maxrss, which cannot show less than {:.1} MB here.", megabytes(least));
    for case in &cases {
        measure(settings, case, afterimage, folder)?;
    }
    Ok(())
}

fn measure(settings: &Settings, case: &Case, afterimage: &Path, folder: &Path) -> anyhow::Result<()> {
    let (mut contestants, goals): (Vec<Contestant>, Vec<f64>) = case.contestants(afterimage).into_iter().unzip();
    let all = rounds(&mut contestants, settings.rounds, folder)?;
    let Some(ours) = all.get(OURS) else { return Ok(()) };

    println!("\n{}: {}", case.part, case.about);
    println!("  {:26} {:>9} {:>21} {:>10} {:>8} {:>10}", "", "median", "min – max", "processor", "ratio", "peak");
    for (contestant, series) in contestants.iter().zip(&all) {
        println!("  {:26} {}", contestant.name, line(series, ours));
    }

    let mut verdicts = Vec::new();
    for ((contestant, series), goal) in contestants.iter().zip(&all).zip(&goals).skip(1) {
        let ratio = series.wall().median / ours.wall().median;
        let what = if *goal > 1.0 { format!("{goal:.0}× faster than") } else { "not slower than".to_owned() };
        verdicts.push(format!("{what} {}: {} ({ratio:.1}×)", contestant.name, met(ratio >= *goal)));
    }
    let peak = megabytes(ours.peak());
    verdicts.push(format!("under {MEMORY:.0} MB: {} ({peak:.1} MB)", met(peak < MEMORY)));
    for verdict in verdicts {
        println!("  goal: {verdict}");
    }
    let parts = parts(&mut case.ours(afterimage), &folder.join("output"))?;
    println!(
        "  our memory, by /proc/PID/status 5 000 times a second in a run of its own: {:.1} MB anonymous, {:.1} MB mapped files",
        megabytes(parts.anonymous),
        megabytes(parts.file)
    );
    Ok(())
}

/// The numbers of one contestant beside ours.
pub(super) fn line(series: &Series, ours: &Series) -> String {
    let (wall, processor) = (series.wall(), series.processor());
    let range = format!("{} – {}", time(wall.min), time(wall.max));
    let ratio = format!("{:.2}×", wall.median / ours.wall().median);
    let peak = format!("{:.1} MB", megabytes(series.peak()));
    format!("{:>9} {range:>21} {:>10} {ratio:>8} {peak:>10}", time(wall.median), time(processor.median))
}

/// The verdict on a goal.
pub(super) fn met(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
