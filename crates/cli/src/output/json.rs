//! JSON lines: one object a row. Addresses are strings, so that no reader rounds them; a missing value is `null`, with
//! its reason under `absent`.
//!
//! *Trap*: JSON's own rules let U+009B and the like through, which steers a terminal as ESC does; [`line()`] escapes them.

use super::Printer;
use afterimage_tables::{Cell, Column, Sink, Table, Value};
use serde_json::{Map, json};
use std::io::{self, Write};
use std::ops::ControlFlow;

/// Writes JSON lines.
pub struct Json<'a> {
    table: &'static Table,
    out: &'a mut dyn Write,
    quiet: bool,
    result: io::Result<()>,
}

impl<'a> Json<'a> {
    pub fn new(table: &'static Table, out: &'a mut dyn Write, quiet: bool) -> Self {
        Self { table, out, quiet, result: Ok(()) }
    }
}

/// A row as a JSON object.
pub fn row_object(columns: &[Column], cells: Vec<Cell>) -> Map<String, serde_json::Value> {
    let mut object = Map::new();
    let mut absent = Map::new();
    for (column, cell) in columns.iter().zip(cells) {
        let value = match cell {
            Ok(Value::Unsigned(n)) => json!(n),
            Ok(Value::Signed(n)) => json!(n),
            Ok(Value::Bool(yes)) => json!(yes),
            Ok(Value::Text(text)) => json!(text),
            Ok(value @ (Value::Address(_) | Value::Time(_) | Value::Bytes(_))) => json!(value.to_string()),
            Err(reason) => {
                absent.insert(column.name.to_owned(), json!(reason.0));
                serde_json::Value::Null
            }
        };
        object.insert(column.name.to_owned(), value);
    }
    if !absent.is_empty() {
        object.insert("absent".to_owned(), absent.into());
    }
    object
}

/// One line that is the same value to every JSON reader and harmless on a terminal.
pub fn line(object: &serde_json::Value) -> String {
    let text = object.to_string();
    if text.is_ascii() && !text.contains('\u{7f}') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // They can stand only inside of strings; all are below U+10000.
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out += &format!("\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

impl Sink for Json<'_> {
    fn row(&mut self, cells: Vec<Cell>) -> ControlFlow<()> {
        let object = serde_json::Value::from(row_object(self.table.columns, cells));
        self.result = writeln!(self.out, "{}", line(&object));
        if self.result.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn note(&mut self, note: &str) {
        if !self.quiet {
            anstream::eprintln!("{}: {}", self.table.name, super::clean(note));
        }
    }
}

impl Printer for Json<'_> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.result?;
        self.out.flush()
    }
}
