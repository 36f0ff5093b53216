//! What `bench explain` is asked to measure, and how often.

use anyhow::{Context, bail};

/// The command line of it.
pub(super) const USAGE: &str =
    "explain [--rounds N] [--megabytes N] [--threads N] [small | big | threads | start | run]…";

/// What the arguments ask for.
pub(super) struct Settings {
    /// Rounds after the warm-up.
    pub(super) rounds: usize,
    /// Aimed size of the large program's debug sections, in 10⁶ bytes.
    pub(super) megabytes: usize,
    /// Threads of the core with many threads.
    pub(super) threads: usize,
    /// Parts to measure; empty for all.
    parts: Vec<String>,
}

const PARTS: &[&str] = &["small", "big", "threads", "start", "run"];

impl Settings {
    pub(super) fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    pub(super) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut arguments = arguments.iter();
        let mut settings = Self { rounds: 5, megabytes: 300, threads: 1000, parts: Vec::new() };
        while let Some(argument) = arguments.next() {
            let mut number = || -> anyhow::Result<usize> {
                let value = arguments.next().with_context(|| format!("{argument}: a number is missing"))?;
                value
                    .parse()
                    .ok()
                    .filter(|&number| number > 0)
                    .with_context(|| format!("{argument} {value}: no number"))
            };
            match argument.as_str() {
                "--rounds" => settings.rounds = number()?,
                "--megabytes" => settings.megabytes = number()?,
                "--threads" => settings.threads = number()?,
                part if PARTS.contains(&part) => settings.parts.push(part.to_owned()),
                other => bail!("{other}: no such part; usage: cargo xtask bench {USAGE}"),
            }
        }
        Ok(settings)
    }
}
