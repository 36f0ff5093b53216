//! Benchmarks against the peers, in one run on one machine: `cargo xtask bench explain`, `bench capture`,
//! `bench images`, `bench system`.
//!
//! *What it is not*: a test. It asserts no time; it reports what it got, and whether the goals are met. It writes
//! nothing to the tree: programs lie in the cache of `testkit`, everything else in a temporary folder.
//!
//! *Example*: `cargo xtask bench explain --rounds 9 small`; without names all cases and all parts are measured.
//!
//! *Trap*: other load on the machine lengthens the wall time of all; the column of processor time is the steadier one.

mod capture;
mod capture_case;
mod cases;
mod explain;
mod image_case;
mod images;
mod measure;
mod overhead;
mod settings;
mod system;
mod system_case;

use anyhow::bail;
use settings::Settings;

/// `bench explain …`, `bench capture …` or `bench images …`.
pub fn bench(arguments: &[String]) -> anyhow::Result<()> {
    match arguments.split_first().map(|(what, rest)| (what.as_str(), rest)) {
        Some(("explain", rest)) => {
            let settings = Settings::parse(rest)?;
            let program = crate::tools::program(true)?;
            let folder = tempfile::tempdir()?;
            explain::explain(&settings, &program, folder.path())?;
            overhead::start(&settings, &program, folder.path())?;
            overhead::run_cost(&settings, &program, folder.path())
        }
        Some(("capture", rest)) => capture::capture(rest),
        Some(("images", rest)) => images::images(rest),
        Some(("system", rest)) => system::system(rest),
        _ => bail!(
            "usage: cargo xtask bench {} | {} | {} | {}",
            settings::USAGE,
            capture::USAGE,
            images::USAGE,
            system::USAGE
        ),
    }
}
