//! Benchmarks against the peers, in one run on one machine: `cargo xtask bench explain`.
//!
//! *What it is not*: a test. It asserts no time; it reports what it got, and whether the goals are met. It writes
//! nothing to the tree: programs lie in the cache of `testkit`, everything else in a temporary folder.
//!
//! *Example*: `cargo xtask bench explain --rounds 9 small`; without names all cases and all parts are measured.
//!
//! *Trap*: other load on the machine lengthens the wall time of all; the column of processor time is the steadier one.

mod cases;
mod explain;
mod measure;
mod overhead;

use anyhow::{Context, bail};

/// What the arguments ask for.
pub(crate) struct Settings {
    /// Rounds after the warm-up.
    rounds: usize,
    /// Aimed size of the large program's debug sections, in 10⁶ bytes.
    megabytes: usize,
    /// Threads of the core with many threads.
    threads: usize,
    /// Parts to measure; empty for all.
    parts: Vec<String>,
}

impl Settings {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

const PARTS: &[&str] = &["small", "big", "threads", "start", "run"];

/// `bench explain [--rounds N] [--megabytes N] [--threads N] [PART…]`.
pub fn bench(arguments: &[String]) -> anyhow::Result<()> {
    let mut arguments = arguments.iter();
    if arguments.next().map(String::as_str) != Some("explain") {
        bail!("usage: cargo xtask bench explain [--rounds N] [--megabytes N] [--threads N] [{}]…", PARTS.join(" | "));
    }
    let mut settings = Settings { rounds: 5, megabytes: 300, threads: 1000, parts: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut number = || -> anyhow::Result<usize> {
            let value = arguments.next().with_context(|| format!("{argument}: a number is missing"))?;
            value.parse().ok().filter(|&number| number > 0).with_context(|| format!("{argument} {value}: no number"))
        };
        match argument.as_str() {
            "--rounds" => settings.rounds = number()?,
            "--megabytes" => settings.megabytes = number()?,
            "--threads" => settings.threads = number()?,
            part if PARTS.contains(&part) => settings.parts.push(part.to_owned()),
            other => bail!("{other}: no such part; there are {}", PARTS.join(", ")),
        }
    }
    let program = crate::tools::program(true)?;
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    explain::explain(&settings, &program, folder.path())?;
    overhead::start(&settings, &program, folder.path())?;
    overhead::run_cost(&settings, &program, folder.path())
}
