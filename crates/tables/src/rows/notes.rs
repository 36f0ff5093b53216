//! Every note or stream of the container.

use super::said;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;

row! {
    /// Every note (ELF) or stream (minidump) of the container, known or not, in file order.
    NoteRow {
        /// Owner of a note, as `CORE`.
        owner: Field<String>,
        /// Type number.
        kind: Addr,
        /// The type's name in its specification.
        name: Field<&'static str>,
        /// Thread that it belongs to.
        tid: Field<u32>,
        /// Place of its content in the (unpacked) container.
        offset: Addr,
        /// Length of its content in bytes.
        size: u64,
    }
}

pub(crate) fn run(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    for note in &target.dump().notes {
        let row = NoteRow {
            owner: if note.owner.is_empty() {
                Err(Absent::because("streams have no owner"))
            } else {
                Ok(note.owner.clone())
            },
            kind: Addr(note.kind.into()),
            name: note.name.ok_or(Absent::because("not a type that is known here")),
            tid: said(note.tid),
            offset: Addr(note.offset),
            size: note.size,
        };
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}
