//! Aligned text for people: numbers to the right, text to the left, and under the table why cells are empty.
//!
//! *Trap*: text out of a dump is an attacker's text. Control characters never reach the terminal.

use super::Printer;
use super::style::{DIM, HEADING, paint};
use afterimage_tables::{Cell, Column, ColumnType, Sink, Table};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use unicode_width::UnicodeWidthStr;

/// Rows that are measured before the first is written: longer tables go on with these widths.
const MEASURED_ROWS: usize = 4096;
/// Widest column that is padded to.
const MAX_PAD: usize = 80;

/// Writes an aligned table.
pub struct Text<'a> {
    table: &'static Table,
    out: &'a mut dyn Write,
    quiet: bool,
    rows: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
    absences: BTreeMap<String, Vec<&'static str>>,
    notes: Vec<String>,
    result: io::Result<()>,
}

/// Text without anything that could steer a terminal: control characters become visible escapes.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Bidirectional overrides can make a path look like another one.
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

fn right_aligned(column: &Column) -> bool {
    matches!(column.kind, ColumnType::Unsigned | ColumnType::Signed | ColumnType::Address)
}

impl<'a> Text<'a> {
    pub fn new(table: &'static Table, out: &'a mut dyn Write, quiet: bool) -> Self {
        Self {
            table,
            out,
            quiet,
            rows: Vec::new(),
            widths: None,
            absences: BTreeMap::new(),
            notes: Vec::new(),
            result: Ok(()),
        }
    }

    fn line(&mut self, cells: &[String], widths: &[usize], heading: bool) -> io::Result<()> {
        let mut line = String::new();
        let last = cells.len().saturating_sub(1);
        for (i, ((cell, &width), column)) in cells.iter().zip(widths).zip(self.table.columns).enumerate() {
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            let shown = match (heading, cell.as_str()) {
                (true, _) => paint(HEADING, cell),
                (false, "–") => paint(DIM, cell),
                (false, _) => cell.clone(),
            };
            match (right_aligned(column), i == last) {
                (true, _) => line += &format!("{pad}{shown}"),
                (false, true) => line += &shown,
                (false, false) => line += &format!("{shown}{pad}"),
            }
            if i != last {
                line += "  ";
            }
        }
        writeln!(self.out, "{line}")
    }

    /// Fixes the widths and writes the rows so far.
    fn begin(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let names: Vec<String> = self.table.columns.iter().map(|column| column.name.to_owned()).collect();
        let mut widths: Vec<usize> = names.iter().map(|name| name.width()).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width().min(MAX_PAD));
            }
        }
        self.line(&names, &widths, true)?;
        for row in &rows {
            self.line(row, &widths, false)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    /// A single row reads better as a list: one line a column.
    fn list(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let width = self.table.columns.iter().map(|column| column.name.len()).max().unwrap_or(0);
        for (column, cell) in self.table.columns.iter().zip(rows.first().into_iter().flatten()) {
            let cell = if cell == "–" { paint(DIM, cell) } else { cell.clone() };
            writeln!(self.out, "{}  {cell}", paint(HEADING, &format!("{:width$}", column.name)))?;
        }
        Ok(())
    }
}

impl Sink for Text<'_> {
    fn row(&mut self, cells: Vec<Cell>) -> ControlFlow<()> {
        let mut shown = Vec::with_capacity(cells.len());
        for (column, cell) in self.table.columns.iter().zip(cells) {
            shown.push(match cell {
                Ok(value) => clean(&value.to_string()),
                Err(reason) => {
                    let columns = self.absences.entry(reason.0.into_owned()).or_default();
                    if !columns.contains(&column.name) {
                        columns.push(column.name);
                    }
                    "–".to_owned()
                }
            });
        }
        let written = match self.widths.clone() {
            Some(widths) => self.line(&shown, &widths, false),
            None => {
                self.rows.push(shown);
                if self.rows.len() >= MEASURED_ROWS { self.begin() } else { Ok(()) }
            }
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.result = Err(error);
                ControlFlow::Break(())
            }
        }
    }

    fn note(&mut self, note: &str) {
        self.notes.push(clean(note));
    }
}

impl Printer for Text<'_> {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        std::mem::replace(&mut self.result, Ok(()))?;
        let total = self.rows.len();
        if self.widths.is_none() && self.rows.len() == 1 && self.table.columns.len() > 5 {
            self.list()?;
        } else if self.widths.is_none() && !self.rows.is_empty() {
            self.begin()?;
        }
        self.out.flush()?;
        if self.quiet {
            return Ok(());
        }
        for (reason, columns) in &self.absences {
            let line = format!("– {}: {}", columns.join(", "), clean(reason));
            anstream::eprintln!("{}", paint(DIM, &line));
        }
        if self.widths.is_none() && total == 0 && self.notes.is_empty() {
            anstream::eprintln!("{}", paint(DIM, &format!("the dump has no {}", self.table.name.replace('_', " "))));
        }
        for note in &self.notes {
            anstream::eprintln!("{note}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(super::clean("a\x1b[31mb\n\u{202e}"), "a\\u{1b}[31mb\\n\\u{202e}");
        assert_eq!(super::clean("plain ü"), "plain ü");
    }
}
