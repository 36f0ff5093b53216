//! `info`: what file this is.

use super::show::print_table;
use crate::args::Common;
use crate::failure::Failure;
use crate::open;
use crate::output::clean;
use afterimage_tables::Params;
use std::path::Path;

pub fn info(path: &Path, common: &Common) -> Result<u8, Failure> {
    let target = open::target(path, common)?;
    print_table(&target, "dump", &Params::default(), common)?;
    if !common.json && !common.csv && !common.quiet {
        for issue in &target.dump().issues {
            anstream::eprintln!("! {}", clean(&issue.text));
        }
        for error in &target.dump().soft_errors {
            anstream::eprintln!("! while it was taken: {}", clean(error));
        }
    }
    Ok(0)
}
