//! ELF core files.

use crate::{Budget, Dump, Error, FormatReader, source::SharedSource};
use std::path::Path;

/// The reader of this container.
pub const READER: FormatReader = FormatReader { name: "ELF core", probe, open };

fn probe(_head: &[u8]) -> bool {
    false
}

fn open(path: &Path, _source: SharedSource, _budget: &Budget) -> Result<Dump, Error> {
    Err(Error::Broken { path: path.to_owned(), format: READER.name, what: "not read yet".into() })
}
