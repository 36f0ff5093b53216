//! Aligned text for people: numbers to the right, text to the left, and under the table why cells are empty.
//!
//! *What it is not*: everything, on a terminal that is too narrow. The first columns are the ones that people ask for, so the
//! last ones are left out there, and a line says which; a file or a pipe gets all.
//!
//! *Trap*: text out of a dump is an attacker's text. Control characters never reach the terminal.

use super::Printer;
use super::style::{DIM, HEADING, paint};
use afterimage_tables::{Cell, Column, ColumnType, Sink, Table};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rows that are measured before the first is written: longer tables go on with these widths.
const MEASURED_ROWS: usize = 4096;
/// Widest column that is padded to.
const MAX_PAD: usize = 80;

/// Narrowest part of a column of text that is worth showing.
const MIN_CUT: usize = 16;
/// What stands between columns.
const GAP: &str = "  ";

/// Which columns of a table are shown, and how wide.
#[derive(Clone)]
struct Layout {
    /// Widths of the first columns; the others are left out.
    widths: Vec<usize>,
    /// Whether the last one that is shown is cut to its width.
    cut: bool,
}

impl Layout {
    /// As many of the first columns as there is room for. The last column of all is free text, and may run over.
    fn new(mut widths: Vec<usize>, columns: &[Column], room: Option<usize>) -> Self {
        let Some(room) = room else { return Self { widths, cut: false } };
        let mut used = 0;
        for (index, width) in widths.iter().enumerate() {
            let before = if index == 0 { 0 } else { used + GAP.len() };
            let left = room.saturating_sub(before);
            let last = index + 1 == widths.len();
            let text = columns.get(index).is_some_and(|column| !right_aligned(column));
            // The first column is shown wherever it ends.
            if *width <= left || index == 0 || (last && text && left >= MIN_CUT) {
                used = before + width;
                continue;
            }
            let cut = text && left >= MIN_CUT;
            widths.truncate(index + usize::from(cut));
            if let Some(width) = widths.last_mut().filter(|_| cut) {
                *width = left;
            }
            return Self { widths, cut };
        }
        Self { widths, cut: false }
    }
}

/// Wraps text to a width, with a hanging indent.
pub fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let full =
            lines.last().is_some_and(|line| !line.is_empty() && line.width() + word.width() + 1 + indent > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// A line under a table; on a terminal it breaks between words.
fn footer(text: &str) -> String {
    match super::terminal_width().filter(|_| io::stderr().is_terminal()) {
        Some(width) => wrap(text, 2, width.max(MIN_CUT)),
        None => text.to_owned(),
    }
}

/// Text of at most this width, with a mark where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let own = c.width().unwrap_or(0);
        let fits = own <= left;
        left = left.saturating_sub(own);
        fits
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    short
}

/// Writes an aligned table.
pub struct Text<'a> {
    table: &'static Table,
    out: &'a mut dyn Write,
    quiet: bool,
    /// Columns of the terminal.
    room: Option<usize>,
    rows: Vec<Vec<String>>,
    layout: Option<Layout>,
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
    pub fn new(table: &'static Table, out: &'a mut dyn Write, quiet: bool, room: Option<usize>) -> Self {
        Self {
            table,
            out,
            quiet,
            room,
            rows: Vec::new(),
            layout: None,
            absences: BTreeMap::new(),
            notes: Vec::new(),
            result: Ok(()),
        }
    }

    fn line(&mut self, cells: &[String], layout: &Layout, heading: bool) -> io::Result<()> {
        let mut line = String::new();
        let last = layout.widths.len().saturating_sub(1);
        for (i, ((cell, &width), column)) in cells.iter().zip(&layout.widths).zip(self.table.columns).enumerate() {
            let cell = if layout.cut && i == last { &cut(cell, width) } else { cell };
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
                line += GAP;
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
        let layout = Layout::new(widths, self.table.columns, self.room);
        self.line(&names, &layout, true)?;
        for row in &rows {
            self.line(row, &layout, false)?;
        }
        self.layout = Some(layout);
        Ok(())
    }

    /// What a narrow terminal has no room for.
    fn left_out(&self) -> Option<String> {
        let layout = self.layout.as_ref()?;
        let names: Vec<&str> = self.table.columns.iter().skip(layout.widths.len()).map(|column| column.name).collect();
        match (names.len(), layout.cut) {
            (0, false) => None,
            (0, true) => Some("the last column is cut here (--verbose shows all of it)".to_owned()),
            (1, _) => Some(format!("no room here for {} (--verbose shows it)", names.concat())),
            (count, _) => {
                Some(format!("no room here for {count} columns: {} (--verbose shows them)", names.join(", ")))
            }
        }
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
        let written = match self.layout.clone() {
            Some(layout) => self.line(&shown, &layout, false),
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
        if self.layout.is_none() && self.rows.len() == 1 && self.table.columns.len() > 5 {
            self.list()?;
        } else if self.layout.is_none() && !self.rows.is_empty() {
            self.begin()?;
        }
        self.out.flush()?;
        if self.quiet {
            return Ok(());
        }
        if let Some(line) = self.left_out() {
            anstream::eprintln!("{}", paint(DIM, &footer(&line)));
        }
        let shown = self.layout.as_ref().map_or(usize::MAX, |layout| layout.widths.len());
        let hidden: Vec<&str> = self.table.columns.iter().skip(shown).map(|column| column.name).collect();
        for (reason, columns) in &self.absences {
            // Of columns that nobody sees, nothing is missing.
            let columns: Vec<&str> = columns.iter().copied().filter(|name| !hidden.contains(name)).collect();
            if columns.is_empty() {
                continue;
            }
            let line = format!("– {}: {}", columns.join(", "), clean(reason));
            anstream::eprintln!("{}", paint(DIM, &footer(&line)));
        }
        if self.layout.is_none() && total == 0 && self.notes.is_empty() {
            anstream::eprintln!("{}", paint(DIM, &format!("the dump has no {}", self.table.name.replace('_', " "))));
        }
        for note in &self.notes {
            anstream::eprintln!("{}", footer(note));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_go_from_the_end_where_there_is_no_room() {
        let text = |name| Column { name, doc: "", kind: ColumnType::Text, optional: true };
        let number = |name| Column { name, doc: "", kind: ColumnType::Unsigned, optional: true };
        let columns = [number("pid"), text("comm"), text("cmdline"), number("threads"), text("note")];
        let layout = |room| {
            let layout = Layout::new(vec![5, 15, 40, 7, 30], &columns, room);
            (layout.widths, layout.cut)
        };
        assert_eq!(layout(None), (vec![5, 15, 40, 7, 30], false));
        assert_eq!(layout(Some(200)), (vec![5, 15, 40, 7, 30], false));
        // The last column of all may run over, but not begin behind the edge.
        assert_eq!(layout(Some(100)), (vec![5, 15, 40, 7, 30], false));
        assert_eq!(layout(Some(80)), (vec![5, 15, 40, 7], false));
        // Text is cut, numbers are not.
        assert_eq!(layout(Some(60)), (vec![5, 15, 36], true));
        assert_eq!(layout(Some(70)), (vec![5, 15, 40], false));
        assert_eq!(layout(Some(30)), (vec![5, 15], false));
        assert_eq!(layout(Some(3)), (vec![5], false));
        assert_eq!((cut("abcdef", 4), cut("abcd", 4), cut("日本語", 4)), ("abc…".into(), "abcd".into(), "日…".into()));
    }

    #[test]
    fn text_breaks_between_words() {
        assert_eq!(wrap("– local, remote: not known here", 2, 16), "– local,\n  remote: not\n  known here");
        assert_eq!(wrap("averylongword that", 0, 5), "averylongword\nthat");
        assert_eq!(wrap("日本語 日本語", 0, 12), "日本語\n日本語");
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(super::clean("a\x1b[31mb\n\u{202e}"), "a\\u{1b}[31mb\\n\\u{202e}");
        assert_eq!(super::clean("plain ü"), "plain ü");
    }
}
