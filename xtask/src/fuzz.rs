//! Runs the fuzz targets for a short, fixed time, on the stable compiler and without cargo-fuzz.
//!
//! libFuzzer needs counters and comparisons from the compiler; LLVM's pass for them is in stable rustc too, it has only
//! no flag of its own. What is not here: AddressSanitizer, which needs nightly: `cargo +nightly fuzz run TARGET`.
//!
//! For example `cargo xtask fuzz --seconds 60 explain` runs one target for a minute.
//!
//! *Trap*: flags for instrumented code must not reach build scripts and procedural macros, so `--target` is always given.

use crate::tools::{root, run_with};
use anyhow::{Context, bail, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// As cargo-fuzz has them for its nightly compiler, without a sanitizer.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Limits on one input, and the size of inputs: larger ones only make each run slower.
const LIMITS: &[&str] = &["-rss_limit_mb=1024", "-timeout=10", "-max_len=98304", "-print_final_stats=1"];

/// Runs the targets named, or all of them.
pub fn fuzz(arguments: &[String]) -> anyhow::Result<()> {
    let (seconds, wanted) = parse(arguments)?;
    let known = targets()?;
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        bail!("no fuzz target {unknown} (there are: {})", known.join(", "));
    }
    let names = if wanted.is_empty() { known } else { wanted };
    let programs = build(&names)?;
    let mut failed = Vec::new();
    for (name, program) in names.iter().zip(programs) {
        if let Err(error) = run_target(name, &program, seconds) {
            eprintln!("{error:#}");
            failed.push(name.as_str());
        }
    }
    ensure!(failed.is_empty(), "{} failed", failed.join(", "));
    Ok(())
}

fn parse(arguments: &[String]) -> anyhow::Result<(u64, Vec<String>)> {
    let mut seconds = 10;
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seconds" {
            let value = rest.next().context("--seconds needs a number")?;
            seconds = value.parse().with_context(|| format!("--seconds {value}"))?;
        } else {
            names.push(argument.clone());
        }
    }
    // libFuzzer takes 0 for "without end".
    ensure!(seconds > 0, "--seconds must be at least 1");
    Ok((seconds, names))
}

fn folder() -> PathBuf {
    root().join("fuzz")
}

/// One target for each file of this folder, as cargo-fuzz has it.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = folder().join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds the targets and gives their programs.
fn build(names: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let host = host()?;
    let target = folder().join("target");
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--release", "--locked", "--manifest-path"]).arg(folder().join("Cargo.toml"));
    command.arg("--target").arg(&host).arg("--target-dir").arg(&target);
    for name in names {
        command.args(["--bin", name]);
    }
    // Both would replace or add to the flags below.
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    run_with(&mut command).context("build the fuzz targets")?;
    Ok(names.iter().map(|name| target.join(&host).join("release").join(name)).collect())
}

/// The compiler's own machine, as `x86_64-unknown-linux-gnu`.
fn host() -> anyhow::Result<String> {
    let text = String::from_utf8(crate::tools::stdout_of(Command::new("rustc").arg("-vV"))?)?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc does not name its host")?.to_owned())
}

/// Runs one target from a copy of its corpus, and prints its line.
fn run_target(name: &str, program: &Path, seconds: u64) -> anyhow::Result<()> {
    let work = folder().join("target/runs").join(name);
    let corpus = work.join("corpus");
    let artifacts = folder().join("artifacts").join(name);
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    }
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let seeds = folder().join("corpus").join(name);
    for entry in fs::read_dir(&seeds).with_context(|| format!("list {}", seeds.display()))? {
        let path = entry?.path();
        fs::copy(&path, corpus.join(path.file_name().unwrap_or_default()))
            .with_context(|| format!("copy {}", path.display()))?;
    }
    let mut prefix = OsString::from("-artifact_prefix=");
    prefix.push(artifacts.join(""));
    let mut command = Command::new(program);
    command.args(LIMITS).arg(format!("-max_total_time={seconds}")).arg(prefix).arg(&corpus);
    command.current_dir(&work).env("RAYON_NUM_THREADS", "1").env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    let output = command.output().with_context(|| format!("start {}", program.display()))?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = Run::read(&log);
    if !output.status.success() {
        return Err(failure(name, &output, &log));
    }
    // Instrumentation that a compiler or linker has dropped would make a run that proves nothing.
    ensure!(found.coverage > 100, "{name}: only {} places are counted: the instrumentation is lost", found.coverage);
    println!(
        "{name:12} {:9} runs {:7} runs/s {:6} places covered {:5} MB",
        found.runs, found.per_second, found.coverage, found.peak
    );
    Ok(())
}

/// What to tell of a target that found something: the artifact, and the end of the log.
fn failure(name: &str, output: &Output, log: &str) -> anyhow::Error {
    let artifact = log.lines().find_map(|line| line.split("Test unit written to ").nth(1)).unwrap_or("(no artifact)");
    let said: Vec<&str> = log.lines().filter(|line| !line.starts_with('#') && !line.starts_with("INFO:")).collect();
    let shown = said.get(..said.len().min(60)).unwrap_or(&said);
    anyhow::anyhow!("{name}: {}: {artifact}\n{}", output.status, shown.join("\n"))
}

/// What libFuzzer says at the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Run {
    runs: u64,
    per_second: u64,
    coverage: u64,
    peak: u64,
}

impl Run {
    fn read(log: &str) -> Self {
        let stat = |name: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            line.and_then(|rest| rest.trim_start_matches(':').trim().parse().ok()).unwrap_or(0)
        };
        let word = |line: &str| line.split("cov: ").nth(1)?.split(' ').next()?.parse().ok();
        Self {
            runs: stat("number_of_executed_units"),
            per_second: stat("average_exec_per_sec"),
            coverage: log.lines().rev().find_map(word).unwrap_or(0),
            peak: stat("peak_rss_mb"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_words_are_understood() {
        let log = "#2\tINITED cov: 10 ft: 12 corp: 1/1b\n#999\tDONE   cov: 1234 ft: 5 corp: 6/7b\nDone 999 runs\n\
            stat::number_of_executed_units: 999\nstat::average_exec_per_sec:     333\nstat::peak_rss_mb:  41\n";
        assert_eq!(Run::read(log), Run { runs: 999, per_second: 333, coverage: 1234, peak: 41 });
        assert_eq!(Run::read("nothing"), Run::default());
    }

    #[test]
    fn arguments_are_understood() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parse(&words("--seconds 3 explain")).ok(), Some((3, vec!["explain".to_owned()])));
        assert_eq!(parse(&[]).ok(), Some((10, Vec::new())));
        assert!(parse(&words("--seconds 0")).is_err());
        assert!(parse(&words("--seconds")).is_err());
    }

    /// A body without a target would never run, a target without seeds would begin from nothing.
    #[test]
    fn each_target_has_a_program_a_body_and_seeds() {
        let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap_or_default();
        let bodies = fs::read_to_string(folder().join("src/lib.rs")).unwrap_or_default();
        let names = targets().unwrap_or_default();
        assert!(names.len() >= 7, "{names:?}");
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is in no manifest");
            assert!(bodies.contains(&format!("(\"{name}\", {name})")), "{name} has no body");
            let seeds = fs::read_dir(folder().join("corpus").join(&name)).map_or(0, Iterator::count);
            assert!(seeds >= 3, "{name} has {seeds} seeds");
        }
    }
}
