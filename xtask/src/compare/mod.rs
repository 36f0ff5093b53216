//! `cargo xtask compare-stacks`: the stacks that we show beside those of gdb, eu-stack and minidump-stackwalk.
//!
//! It compares all threads of the crashing programs' cores (the kernel's and those of `run`) and of all samples, and
//! fails if any stack is worse without a reason in the list of known differences. For example
//! `cargo xtask compare-stacks null_call elf-core/drgn` compares only dumps of these names.
//!
//! Trap: the peers err too. What counts as better and worse stands in `judge`, and nowhere else.

mod cases;
mod frame;
mod judge;
mod known;
mod names;
mod ours;
mod peers;
mod report;
mod stackwalk;

use crate::tools;
use anyhow::{Context, bail};
use cases::{Case, Kind, Ready};
use frame::{Code, Stack};
use judge::{Verdict, judge};
use names::Names;
use report::Row;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many dumps are worked on at once.
const JOBS: usize = 2;

/// Compares, prints the table, and fails if anything is worse without a known reason.
pub fn compare(arguments: &[String]) -> anyhow::Result<()> {
    let json = arguments.iter().any(|argument| argument == "--json");
    let wanted: Vec<String> = arguments.iter().filter(|argument| *argument != "--json").cloned().collect();
    for tool in ["gdb", "eu-stack", "nm", "readelf", "timeout", "zstd", "bzip2", "gzip"] {
        if !tools::has(tool) {
            bail!("{tool} is not installed; `cargo xtask setup` installs it");
        }
    }
    // Another build may be compared: a debug build, or the last release.
    let program = match std::env::var_os("AFTERIMAGE") {
        Some(path) => PathBuf::from(path).canonicalize().context("find $AFTERIMAGE")?,
        None => tools::program(true)?,
    };
    let cases = cases::all(&wanted)?;
    if cases.is_empty() {
        bail!("no dump is called {}", wanted.join(" or "));
    }
    let names = Names::default();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(std::collections::BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { break };
                    let rows = one(case, &program, &names)
                        .unwrap_or_else(|error| vec![Row::failed(&case.name, format!("{error:#}"))]);
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, rows);
                }
            });
        }
    });
    let rows: Vec<Row> = done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().flatten().collect();
    report::print(&rows, json, wanted.is_empty());
    let bad = rows.iter().filter(|row| row.fails()).count();
    if bad > 0 {
        bail!("{bad} of {} comparisons are worse without a known reason, or failed", rows.len());
    }
    Ok(())
}

/// All peers' rows of one dump.
fn one(case: &Case, program: &Path, names: &Names) -> anyhow::Result<Vec<Row>> {
    let scratch = tempfile::tempdir()?;
    let mut ready = case.prepare(program, scratch.path())?;
    let peers = peers(case, &mut ready, scratch.path())?;
    let ours = ready.call.stacks(program).context("show frames")?;
    let code = ready.call.code(program).context("show modules and regions")?;
    let mut rows: Vec<Row> = peers
        .iter()
        .filter(|(_, theirs)| !theirs.is_empty())
        .map(|(peer, theirs)| row(case, peer, &ours, theirs, &code, names))
        .collect();
    if rows.is_empty() {
        rows.push(Row::alone(&case.name, &ours));
    }
    Ok(rows)
}

/// What the peers show.
fn peers(case: &Case, ready: &mut Ready, scratch: &Path) -> anyhow::Result<Vec<(&'static str, Vec<Stack>)>> {
    if case.kind == Kind::Minidump {
        let Some(stored) = &ready.stored else { return Ok(Vec::new()) };
        let report: Value = serde_json::from_str(&cases::stored(stored)?).context("read the stored stacks")?;
        if stackwalk::had_symbols(&report) {
            ready.call.debug = cases::unpack_symbols(&ready.call.dump, scratch)?;
        }
        return Ok(vec![("stackwalk", stackwalk::stacks(&report))]);
    }
    if ready.live {
        return Ok(vec![("gdb", peers::gdb(&ready.files, scratch)?), ("eu-stack", peers::eu_stack(&ready.files)?)]);
    }
    let Some(stored) = &ready.stored else { return Ok(Vec::new()) };
    let text = cases::stored(stored)?;
    Ok(vec![("gdb", peers::stored_gdb(&text)), ("eu-stack", peers::stored_eu_stack(&text))])
}

fn row(case: &Case, peer: &'static str, ours: &[Stack], theirs: &[Stack], code: &Code, names: &Names) -> Row {
    let mut row = Row::new(&case.name, peer, ours);
    for their in theirs {
        // Some peers call the only thread 1, where the core does not say otherwise in a way that they know.
        let only = |_: &&Stack| ours.len() == 1 && theirs.len() == 1;
        let verdict = match ours.iter().find(|our| our.tid == their.tid).or_else(|| ours.first().filter(only)) {
            Some(our) => judge(our, their, code, names),
            None if their.frames.is_empty() => continue,
            None => Verdict::Worse("we show no frames of this thread".to_owned()),
        };
        row.add(their.tid, verdict);
    }
    let missing = |our: &&Stack| theirs.iter().all(|their| their.tid != our.tid) && ours.len() > 1;
    for our in ours.iter().filter(missing) {
        row.add(our.tid, Verdict::Better("it does not show this thread"));
    }
    row
}
