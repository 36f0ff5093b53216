//! The report as JSON lines: each line is a row of a table, with the table's name under `table`.

use crate::output::{json_line, row_object};
use afterimage_tables::{Cell, Column, Params, Sink, find};
use afterimage_target::Target;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::ops::ControlFlow;

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
        let mut lines = Lines { name, columns: table.columns, out, result: Ok(()) };
        // A table that cannot be asked has nothing for a report.
        let _ = table.run(target, &params, &mut lines);
        lines.result?;
    }
    Ok(())
}

/// Writes each row at once: the frames of 65 536 threads would fill the memory otherwise.
struct Lines<'a> {
    name: &'static str,
    columns: &'static [Column],
    out: &'a mut dyn Write,
    result: io::Result<()>,
}

impl Sink for Lines<'_> {
    fn row(&mut self, cells: Vec<Cell>) -> ControlFlow<()> {
        let mut object = Map::from_iter([("table".to_owned(), json!(self.name))]);
        object.extend(row_object(self.columns, cells));
        self.result = writeln!(self.out, "{}", json_line(&Value::from(object)));
        if self.result.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn note(&mut self, _note: &str) {}
}
