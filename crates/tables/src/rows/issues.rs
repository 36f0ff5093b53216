//! What is missing or wrong: with the dump, with its capture, with the files that belong to it.

use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;

row! {
    /// What is missing or wrong: with the dump, with its capture, with the files that belong to it.
    IssueRow {
        /// `dump` (found while reading), `capture` (the writer's own soft errors), `symbols` (files and their matching).
        source: &'static str,
        /// Whether content is lost by it.
        loses_data: bool,
        /// What it is.
        text: String,
    }
}

/// All issues that are known by now; those on symbols appear as symbols are used.
#[must_use]
pub fn rows(target: &Target) -> Vec<IssueRow> {
    let dump = target.dump();
    let read = dump.issues.iter().map(|issue| ("dump", issue.loses_data, issue.text.clone()));
    let soft = dump.soft_errors.iter().map(|text| ("capture", true, text.clone()));
    let symbols = target.issues();
    let symbols = symbols.iter().map(|issue| ("symbols", issue.loses_data, issue.text.clone()));
    read.chain(soft).chain(symbols).map(|(source, loses_data, text)| IssueRow { source, loses_data, text }).collect()
}

pub(crate) fn run(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    // Files are matched lazily; asking here brings up what does not match.
    for module in target.modules() {
        let _ = module.file();
    }
    for row in rows(target) {
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}
