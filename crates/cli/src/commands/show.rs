//! `show`: one table.

use crate::args::{Common, Show};
use crate::failure::{Failure, INPUT, USAGE};
use crate::{open, output};
use afterimage_tables::{Params, TableError, find};
use afterimage_target::Target;

/// Tables that name functions.
const SYMBOLIZED: &[&str] = &["exception", "findings", "threads", "thread_groups", "frames"];

pub fn show(arguments: &Show, common: &Common) -> Result<u8, Failure> {
    known(&arguments.table)?;
    let mut params = Params::default();
    for key in &arguments.keys {
        let Some((name, value)) = key.split_once('=') else {
            return Err(Failure::new(USAGE, format!("show {}: {key} is no key", arguments.table))
                .advise("write KEY=VALUE, as tid=1234"));
        };
        if params.0.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::new(USAGE, format!("show {}: {name} is given twice", arguments.table))
                .advise("a key has one value; ask once for each"));
        }
    }
    let target = open::target(&arguments.dump, common)?;
    if SYMBOLIZED.contains(&known(&arguments.table)?.name) {
        open::fetch_debug_info(&target, common);
    }
    print_table(&target, &arguments.table, &params, common)?;
    Ok(0)
}

fn known(name: &str) -> Result<&'static afterimage_tables::Table, Failure> {
    find(name).ok_or_else(|| {
        Failure::new(USAGE, format!("show: there is no table {name}")).advise(super::nearest::advice(name))
    })
}

/// Prints a table to standard output in the shape that the flags ask for.
pub fn print_table(target: &Target, name: &str, params: &Params, common: &Common) -> Result<(), Failure> {
    let table = known(name)?;
    let mut out = output::stdout();
    let mut printer = output::printer(table, common, &mut *out);
    table.run(target, params, &mut *printer).map_err(|error| {
        let status = if matches!(error, TableError::NoSuch(_)) { INPUT } else { USAGE };
        Failure::new(status, format!("show {name}: {error}"))
    })?;
    printer.finish()?;
    Ok(())
}
