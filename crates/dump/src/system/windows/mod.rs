//! Windows crash dumps of machines: `PAGE` `DUMP` (32 bits) and `PAGE` `DU64` (64 bits).
//!
//! *What it is*: the header says what stopped the machine and which kind of dump follows: runs of physical pages
//! (complete), a bitmap and the pages it names (kernel, active, automatic), ranges with pages (what a debugger's `.dump`
//! writes), or a small dump that holds virtual memory and no physical page at all.
//!
//! *What it is not*: it does not say what a bug check means; `afterimage-target` does.
//!
//! *Example*: `open(Path::new("MEMORY.DMP"), &budget)?.machine.and_then(|machine| machine.stop)`.
//!
//! *Trap*: fields that nobody wrote are filled with `PAGE`, not with zeros: 0x45474150 in a count is no count.

mod bitmap;
mod drivers;
mod header;
mod kdbg;
mod pe;
mod physical;
mod ranges;
mod stop;
mod triage;
mod virt;
mod write;

pub use header::{Header, Width};
pub use stop::{DumpKind, ExceptionRecord, Stop, UnloadedDriver};
pub use write::{WriteError, Written, write_complete};

use crate::source::SharedSource;
use crate::{Budget, Dump, Error, FormatReader};
use std::path::Path;

/// The reader of this container.
pub const READER: FormatReader = FormatReader { name: "Windows crash dump", probe, open };

fn probe(head: &[u8]) -> bool {
    header::width(head).is_some()
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let header = Header::read(&source).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let broken = |what: &str| Error::Broken { path: path.to_owned(), format: READER.name, what: what.to_owned() };
    let header = header.ok_or_else(|| broken("the file ends within the header"))?;
    let mut draft = Draft { source: &source, budget, header: &header, issues: Vec::new(), missing_bytes: 0 };
    let mut dump = match header.kind() {
        DumpKind::Triage => triage::read(&mut draft),
        _ => physical::read(&mut draft),
    };
    dump.issues.append(&mut draft.issues);
    dump.missing_bytes = draft.missing_bytes;
    Ok(dump)
}

/// A dump while it is read.
pub(super) struct Draft<'a> {
    source: &'a SharedSource,
    budget: &'a Budget,
    header: &'a Header,
    issues: Vec<crate::Issue>,
    missing_bytes: u64,
}

impl Draft<'_> {
    fn loss(&mut self, text: impl Into<String>) {
        self.issues.push(crate::Issue::loss(text));
    }

    fn remark(&mut self, text: impl Into<String>) {
        self.issues.push(crate::Issue::remark(text));
    }

    /// Reads a part of the file for a table; empty, with an issue, if the budget has no room. Shorter at the file's end.
    fn table(&mut self, what: &str, at: u64, len: u64) -> Vec<u8> {
        let len = len.min(self.source.len().saturating_sub(at));
        if let Err(why) = self.budget.take(len) {
            self.loss(format!("{what} were left out: {why}"));
            return Vec::new();
        }
        match crate::source::read_vec(&**self.source, at, len as usize) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.loss(format!("cannot read {what}: {error}"));
                Vec::new()
            }
        }
    }
}
