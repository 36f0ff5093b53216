//! Comma-separated values as RFC 4180 has them: a line of column names, quotes where they are needed.
//!
//! *Trap*: CSV has no escapes, and text out of a dump may steer the terminal that shows it, so control characters are
//! written as in aligned text. Who needs each byte takes JSON.

use super::Printer;
use afterimage_tables::{Cell, Sink, Table};
use std::io::{self, Write};
use std::ops::ControlFlow;

/// Writes CSV.
pub struct Csv<'a> {
    table: &'static Table,
    out: &'a mut dyn Write,
    quiet: bool,
    result: io::Result<()>,
}

impl<'a> Csv<'a> {
    pub fn new(table: &'static Table, out: &'a mut dyn Write, quiet: bool) -> Self {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let result = writeln!(out, "{}", names.join(","));
        Self { table, out, quiet, result }
    }
}

fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

impl Sink for Csv<'_> {
    fn row(&mut self, cells: Vec<Cell>) -> ControlFlow<()> {
        if self.result.is_ok() {
            let fields: Vec<String> = cells
                .into_iter()
                .map(|cell| cell.map_or(String::new(), |value| quoted(&super::clean(&value.to_string()))))
                .collect();
            self.result = writeln!(self.out, "{}", fields.join(","));
        }
        if self.result.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn note(&mut self, note: &str) {
        if !self.quiet {
            anstream::eprintln!("{}: {}", self.table.name, super::clean(note));
        }
    }
}

impl Printer for Csv<'_> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.result?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_where_needed() {
        assert_eq!(super::quoted("plain"), "plain");
        assert_eq!(super::quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
