//! The report as JSON lines: each line is a row of a table, with the table's name under `table`.

use crate::output::{json_line, row_object};
use afterimage_tables::{Cell, Column, Params, Sink, find};
use afterimage_target::Target;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::ops::ControlFlow;

/// The tables that make a report, in its order.
const TABLES: &[&str] = &["dump", "exception", "findings", "threads", "frames", "registers", "modules", "issues"];

/// The tables that a report on a whole Linux machine has besides.
const MACHINE: &[&str] = &[
    "kernel",
    "cpus",
    "kernel_fault",
    "kernel_frames",
    "blocked_tasks",
    "processes",
    "sockets",
    "kernel_modules",
    "kernel_log",
];

/// `locals`: with the variables of the thread that crashed, or of what ran on the processor that panicked.
pub fn write(target: &Target, locals: bool, out: &mut dyn Write) -> io::Result<()> {
    target.prepare_stacks();
    let machine = if target.dump().machine.is_some() && target.linux().is_ok() { MACHINE } else { &[] };
    let variables: &[&str] = if locals { &["variables"] } else { &[] };
    for name in TABLES.iter().chain(machine).chain(variables) {
        let Some(table) = find(name) else { continue };
        let mut params = Params::default();
        if *name == "registers" {
            // The crashed thread's registers only: those of a thousand waiting threads help nobody.
            let crashed = target.crashed_thread().and_then(|index| target.dump().threads.get(index));
            // Of a machine those of the processor that panicked, if the dump has them.
            let panicked = || panicked(target).and_then(|cpu| target.dump().threads.iter().find(|own| own.tid == cpu));
            let Some(thread) = crashed.or_else(panicked) else { continue };
            params.0.insert("tid".to_owned(), thread.tid.to_string());
        }
        if *name == "kernel_frames" {
            // The processor that panicked; of a healthy machine all stacks are another question.
            let Some(cpu) = panicked(target) else { continue };
            params.0.insert("cpu".to_owned(), cpu.to_string());
        }
        if *name == "variables" {
            let Some(tid) = stopped(target) else { continue };
            params.0.insert("tid".to_owned(), tid.to_string());
        }
        let mut lines = Lines { name, columns: table.columns, out, result: Ok(()) };
        // A table that cannot be asked has nothing for a report.
        let _ = table.run(target, &params, &mut lines);
        lines.result?;
    }
    Ok(())
}

/// The processor of a Linux machine that panicked.
fn panicked(target: &Target) -> Option<u32> {
    target.dump().machine.as_ref()?;
    let linux = target.linux().ok().filter(|_| target.diagnosis().message.is_some())?;
    Some(linux.panicked_cpu())
}

/// The thread that crashed, or the processor that panicked.
fn stopped(target: &Target) -> Option<u32> {
    if target.dump().machine.is_some() && target.linux().is_ok() {
        return panicked(target);
    }
    let thread = target.crashed_thread().unwrap_or(0);
    target.dump().threads.get(thread).map(|thread| thread.tid)
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
