//! Everything that must pass, in the order in which it fails fastest.

use crate::tools::{has, root, run, run_with, target};
use crate::{fuzz, generate, licences, setup};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

/// Seconds for each fuzz target: enough to run the corpus and some hundred thousand variations of it.
const FUZZ_SECONDS: &str = "10";

/// A step and its name.
type Step = (&'static str, fn() -> anyhow::Result<()>);

const STEPS: &[Step] = &[
    ("tools", || setup::setup(&[])),
    ("format", || run("cargo", ["fmt", "--all", "--check"])),
    ("licences", || licences::licences(&[])),
    ("lints", || run("cargo", ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])),
    ("docs", || {
        let mut doc = Command::new("cargo");
        doc.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
        run_with(doc.env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("generated files", || generate::generate(&["--check".to_owned()])),
    ("tests", tests),
    ("fuzzing", || fuzz::fuzz(&["--seconds".to_owned(), FUZZ_SECONDS.to_owned()])),
];

/// Runs all steps; the first that fails ends it.
pub fn ci(_arguments: &[String]) -> anyhow::Result<()> {
    let begin = Instant::now();
    for (name, step) in STEPS {
        println!("── {name}");
        let start = Instant::now();
        step()?;
        println!("── {name}: {:.0} s", start.elapsed().as_secs_f64());
    }
    println!("── all passed in {:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// All tests of the workspace. A tool that a test needs is there, or `tools` had failed; with CI set, tests that miss one
/// fail rather than skip.
fn tests() -> anyhow::Result<()> {
    let mut test = Command::new("cargo");
    test.args(["test", "--workspace", "--locked", "--no-fail-fast"]).env("CI", "true").current_dir(root());
    // What `tools` put into the target folder goes before all else.
    let own = ["tools/bin", "tools/python/bin"].map(|folder| target().join(folder));
    let path = std::env::var_os("PATH").unwrap_or_default();
    test.env("PATH", std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path)))?);
    if !has("gdb") {
        anyhow::bail!("gdb is missing although it was installed");
    }
    // A shell that starts a command in the background without job control makes it ignore these two; programs of the
    // tests would inherit that, and not die of them.
    let default_signals = || {
        for signal in [libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: between fork and exec only async-signal-safe calls are allowed; `signal` is one.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: the closure calls nothing that is not async-signal-safe, and touches no memory of the parent.
    unsafe { test.pre_exec(default_signals) };
    run_with(&mut test)
}
