//! The long form of what the tests do shortly: N captures of a busy program in each way, and the death of afterimage at
//! as many moments (at most 200, which take longer each).
//!
//! For example `cargo xtask soak 500`, which is the default. It runs the tests of the same names with other counts, in
//! the release profile, one after the other; it is no benchmark.
//!
//! *Trap*: a test prints what it did only when it fails, unless `--nocapture` is given, as it is here.

use crate::tools::run_with;
use anyhow::Context;
use std::process::Command;

/// Captures in each way, unless told otherwise.
const USUAL: u32 = 500;
/// Deaths of afterimage in each way at most.
const DEATHS: u32 = 200;

/// `soak [N]`.
pub fn soak(arguments: &[String]) -> anyhow::Result<()> {
    let times = match arguments.first() {
        Some(text) => text.parse().with_context(|| format!("{text}: no number"))?,
        None => USUAL,
    };
    for (modules, times) in [("never_harm::", times), ("one_instant::", times.min(50)), ("killed::", times.min(DEATHS))]
    {
        let mut test = Command::new("cargo");
        test.args(["test", "--release", "--locked", "--package", "afterimage", "--test", "live", "--", "--nocapture"]);
        test.args(["--test-threads=1", modules]).env("AFTERIMAGE_SOAK", times.to_string());
        run_with(&mut test)?;
    }
    Ok(())
}
