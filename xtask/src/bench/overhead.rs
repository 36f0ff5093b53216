//! What the program costs before it works (its start-up), and what `run` costs a healthy program.
//!
//! Four healthy programs, each a way in which a tracer can be felt: many short processes, pure computing, a signal every
//! millisecond, and a real compiler.

use super::Settings;
use super::explain::met;
use super::measure::{Contestant, rounds, time};
use crate::tools;
use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Goal for the start-up time in seconds.
const START: f64 = 0.010;
/// Processes that the shell's loop starts.
const FORKS: u32 = 1000;
const COMPUTE: &str = include_str!("programs/compute.c");
const TIMER: &str = include_str!("programs/timer.c");
const COMPILE: &str = include_str!("programs/compile.c");

/// The start-up time: `afterimage --version`.
pub(super) fn start(settings: &Settings, afterimage: &Path, folder: &Path) -> anyhow::Result<()> {
    if !settings.wants("start") {
        return Ok(());
    }
    let mut ours = Command::new(afterimage);
    ours.arg("--version");
    let mut pair = [
        Contestant::new("afterimage --version", ours, Some("afterimage")),
        Contestant::new("true", Command::new("true"), None),
    ];
    // Cheap, so more rounds than asked for.
    let all = rounds(&mut pair, settings.rounds.max(5) * 10, folder)?;
    println!("\nstart: the time to start up");
    for (contestant, series) in pair.iter().zip(&all) {
        let wall = series.wall();
        println!("  {:26} {:>9} {:>21}", contestant.name, time(wall.median), range(wall.min, wall.max));
    }
    let median = all.first().map_or(0.0, |series| series.wall().median);
    println!("  goal: under {}: {} ({})", time(START), met(median < START), time(median));
    Ok(())
}

/// Healthy programs with and without `run`.
pub(super) fn run_cost(settings: &Settings, afterimage: &Path, folder: &Path) -> anyhow::Result<()> {
    if !settings.wants("run") {
        return Ok(());
    }
    let compute = compile("compute", COMPUTE, folder)?;
    let timer = compile("timer", TIMER, folder)?;
    let source = folder.join("compile.c");
    fs::write(&source, COMPILE).with_context(|| format!("write {}", source.display()))?;
    let loops = format!("i=0; while [ $i -lt {FORKS} ]; do /bin/true; i=$((i+1)); done");
    let object = folder.join("compile.o");
    let text = |path: &Path| path.display().to_string();
    let healthy: [(&str, Vec<String>); 4] = [
        ("1 000 processes", vec!["sh".into(), "-c".into(), loops]),
        ("computing", vec![text(&compute)]),
        ("a signal every ms", vec![text(&timer)]),
        ("a compile (cc -O2)", ["cc", "-O2", "-c", "-o", &text(&object), &text(&source)].map(str::to_owned).into()),
    ];

    println!("\nrun: a healthy program alone, and under `afterimage run --`");
    println!(
        "  {:20} {:>9} {:>21} {:>9} {:>21} {:>9} {:>10}",
        "", "alone", "min – max", "watched", "min – max", "cost", "processor"
    );
    for (name, words) in healthy {
        let [first, rest @ ..] = words.as_slice() else { continue };
        let mut alone = Command::new(first);
        alone.args(rest);
        let mut watched = Command::new(afterimage);
        watched.arg("run").arg("-o").arg(folder).arg("--").args(&words);
        let mut pair = [Contestant::new("alone", alone, None), Contestant::new("watched", watched, None)];
        let all = rounds(&mut pair, settings.rounds, folder)?;
        let [alone, watched] = all.as_slice() else { continue };
        let cost = |alone: f64, watched: f64| format!("{:+.1} %", (watched / alone - 1.0) * 100.0);
        let (a, w) = (alone.wall(), watched.wall());
        println!(
            "  {name:20} {:>9} {:>21} {:>9} {:>21} {:>9} {:>10}",
            time(a.median),
            range(a.min, a.max),
            time(w.median),
            range(w.min, w.max),
            cost(a.median, w.median),
            cost(alone.processor().median, watched.processor().median)
        );
    }
    Ok(())
}

fn range(min: f64, max: f64) -> String {
    format!("{} – {}", time(min), time(max))
}

fn compile(name: &str, source: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let (file, program) = (folder.join(format!("{name}.c")), folder.join(name));
    fs::write(&file, source).with_context(|| format!("write {}", file.display()))?;
    tools::run_with(Command::new("cc").arg("-O1").arg("-o").arg(&program).arg(&file))?;
    Ok(program)
}
