//! Where rows go: they are pushed, so that a table of a million rows needs no memory for all of them.

use crate::cell::Cell;
use std::ops::ControlFlow;

/// Takes the rows of one table.
pub trait Sink {
    /// Takes one row, its cells in the order of the table's columns; `Break` ends the table early.
    fn row(&mut self, cells: Vec<Cell>) -> ControlFlow<()>;

    /// Takes a remark on the whole table: what is missing, which limit was reached.
    fn note(&mut self, note: &str);
}

/// A sink that keeps everything.
#[derive(Debug, Default)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// The remarks.
    pub notes: Vec<String>,
}

impl Sink for Rows {
    fn row(&mut self, cells: Vec<Cell>) -> ControlFlow<()> {
        self.rows.push(cells);
        ControlFlow::Continue(())
    }

    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }
}
