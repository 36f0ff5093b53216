//! What is explained: programs, their cores, and how each peer is asked for the same answer.
//!
//! *Trap*: plain `eu-stack` reads symbol tables only. Our report has lines and inlined calls, as has gdb's; the
//! like-for-like peer is `eu-stack -i -s`, and both are measured.

use super::Settings;
use super::measure::Contestant;
use crate::tools;
use afterimage_testkit::crashers::{BuiltCrasher, big_rust, build, default_dir, find, kernel_core, many_threads};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A dump to explain.
pub(super) struct Case {
    /// Name of the part, as the command line has it.
    pub(super) part: &'static str,
    /// One line on it.
    pub(super) about: String,
    program: PathBuf,
    pub(super) core: PathBuf,
    /// All threads are asked for.
    all_threads: bool,
    /// A function's name that must be in each answer.
    needle: &'static str,
}

/// Builds the wanted programs and lets them die.
pub(super) fn cases(settings: &Settings, folder: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    if settings.wants("small") {
        let crasher = find("null_read").context("testkit has no null_read")?;
        let about = "a small C program, one thread";
        cases.push(case("small", about, "handle_request", &build(crasher, &default_dir())?, folder)?);
    }
    if settings.wants("big") {
        eprintln!("building the large Rust program, which takes minutes the first time …");
        let built = big_rust(&default_dir(), settings.megabytes)?;
        cases.push(case("big", "a Rust program, one thread", "handle_request", &built, folder)?);
    }
    if settings.wants("threads") {
        let about = format!("a C program with {} threads and the main one", settings.threads);
        let built = many_threads(&default_dir(), settings.threads)?;
        let case = case("threads", &about, "handle_job", &built, folder)?;
        cases.push(Case { all_threads: true, ..case });
    }
    Ok(cases)
}

fn case(
    part: &'static str,
    about: &str,
    needle: &'static str,
    built: &BuiltCrasher,
    folder: &Path,
) -> anyhow::Result<Case> {
    let core = kernel_core(built, folder)?.core;
    let length = |path: &Path| path.metadata().map_or(0.0, |data| data.len() as f64 / 1e6);
    let about = format!(
        "{about}; program {:.1} MB, of it debug sections {:.1} MB; core {:.1} MB",
        length(&built.program),
        debug_sections(&built.program)?,
        length(&core)
    );
    Ok(Case { part, about, program: built.program.clone(), core, all_threads: false, needle })
}

/// The sum of the debug sections' sizes in 10⁶ bytes, as `size` counts them.
fn debug_sections(program: &Path) -> anyhow::Result<f64> {
    let text = tools::stdout_of(Command::new("size").arg("-A").arg(program))?;
    let text = String::from_utf8_lossy(&text);
    let debug = text.lines().filter(|line| line.starts_with(".debug_") || line.starts_with(".zdebug_"));
    let sizes = debug.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(sizes.sum::<f64>() / 1e6)
}

/// Where our contestant and the plain and full eu-stack stand in [`Case::contestants`].
pub(super) const OURS: usize = 0;

impl Case {
    /// Our command alone.
    pub(super) fn ours(&self, afterimage: &Path) -> Command {
        let mut command = Command::new(afterimage);
        command.arg("explain").arg(&self.core);
        command
    }

    /// Us and the peers that are installed, each with the goal: how many times as long as we it has to take.
    pub(super) fn contestants(&self, afterimage: &Path) -> Vec<(Contestant, f64)> {
        let needle = Some(self.needle);
        let mut all = vec![(Contestant::new("afterimage explain", self.ours(afterimage), needle), 1.0)];
        let mut add = |name: &str, program: &str, goal: f64, arrange: &dyn Fn(&mut Command)| {
            if tools::has(program) {
                let mut command = Command::new(program);
                arrange(&mut command);
                all.push((Contestant::new(name, command, needle), goal));
            } else {
                eprintln!("{program} is not installed, and not measured");
            }
        };
        let bt = if self.all_threads { "thread apply all bt" } else { "bt" };
        add(&format!("gdb: {bt}"), "gdb", 10.0, &|command| {
            command.args(["-batch", "-nx", "-ex", bt]).arg(&self.program).arg(&self.core);
        });
        let bt = if self.all_threads { "bt all" } else { "bt" };
        add(&format!("lldb: {bt}"), "lldb", 10.0, &|command| {
            command.args(["--batch", "--no-lldbinit", "-o", bt, "--core"]).arg(&self.core).arg(&self.program);
        });
        add("eu-stack -i -s", "eu-stack", 1.0, &|command| {
            command.args(["-i", "-s", "-n", "0", "--core"]).arg(&self.core).arg("-e").arg(&self.program);
        });
        add("eu-stack (names only)", "eu-stack", 1.0, &|command| {
            command.arg("--core").arg(&self.core).arg("-e").arg(&self.program);
        });
        all
    }
}
