//! Builds the large programs that benchmarks use and says where they stand: `-- MEGABYTES` (300 by default).
//!
//! It measures nothing. For example `cargo run -p afterimage-testkit --example big -- 30` takes some ten seconds.
//!
//! Trap: 300 megabytes take about a minute with two cores, and as much disk; the second time it is there already.

use afterimage_testkit::crashers::{big_rust, default_dir, kernel_core, many_threads};
use anyhow::{Context, Result};

fn main() -> Result<()> {
    let megabytes = std::env::args().nth(1).map_or(Ok(300), |word| word.parse()).context("read MEGABYTES")?;
    let work = tempfile::tempdir()?;
    for built in [big_rust(&default_dir(), megabytes)?, many_threads(&default_dir(), 1000)?] {
        let death = kernel_core(&built, work.path())?;
        let size = std::fs::metadata(&death.core)?.len();
        println!("{}: {}; core of {size} bytes", built.program.display(), death.status);
    }
    Ok(())
}
