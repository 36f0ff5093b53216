//! The report as JSON lines: each line is a row of a table, with the table's name under `table`.

use crate::output::row_object;
use afterimage_tables::{Params, Rows, find};
use afterimage_target::Target;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// The tables that make a report, in its order.
const TABLES: &[&str] = &["dump", "exception", "findings", "threads", "frames", "registers", "modules", "issues"];

pub fn write(target: &Target, out: &mut dyn Write) -> io::Result<()> {
    target.prepare_stacks();
    for name in TABLES {
        let Some(table) = find(name) else { continue };
        let mut params = Params::default();
        if *name == "registers" {
            // The crashed thread's registers only: those of a thousand waiting threads help nobody.
            let crashed = target.crashed_thread().and_then(|index| target.dump().threads.get(index));
            let Some(thread) = crashed else { continue };
            params.0.insert("tid".to_owned(), thread.tid.to_string());
        }
        let mut rows = Rows::default();
        if table.run(target, &params, &mut rows).is_err() {
            continue;
        }
        for row in rows.rows {
            let mut object = Map::from_iter([("table".to_owned(), json!(name))]);
            object.extend(row_object(table.columns, row));
            writeln!(out, "{}", Value::from(object))?;
        }
    }
    Ok(())
}
