//! Shapes of output: aligned text, JSON lines, CSV. They compute nothing; they show cells.

mod csv;
pub mod file;
mod json;
pub mod progress;
mod stream;
pub mod style;
mod text;

use crate::args::Common;
use afterimage_tables::{Sink, Table};
use std::io::{self, IsTerminal, Write};

pub use json::{line as json_line, row_object};
pub use stream::{stderr, stdout};
pub use text::{clean, cut, wrap};

/// A sink that writes, and says at its end whether writing worked.
pub trait Printer: Sink {
    /// Writes what is left.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The printer that the flags ask for.
pub fn printer<'a>(table: &'static Table, common: &Common, out: &'a mut dyn Write) -> Box<dyn Printer + 'a> {
    if common.json {
        Box::new(json::Json::new(table, out, common.quiet))
    } else if common.csv {
        Box::new(csv::Csv::new(table, out, common.quiet))
    } else {
        let room = if common.verbose { None } else { table_width() };
        Box::new(text::Text::new(table, out, common.quiet, room))
    }
}

/// Columns of the terminal, if output goes to one.
pub fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// Columns that a table or a list may take: those of the terminal, if standard output is one.
pub fn table_width() -> Option<usize> {
    terminal_width().filter(|_| io::stdout().is_terminal())
}
