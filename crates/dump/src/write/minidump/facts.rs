//! Copies of files under `/proc`, wherever a dump has them: in afterimage's own note, in a stream, or in the model.
//!
//! *Trap*: the model joins arguments with blanks; what has its NULs still is taken first.

use crate::bytes::Fields;
use crate::source::read_vec;
use crate::write::notes::{FACTS, OWNER};
use crate::{Dump, Endian, Format};

/// Bytes of one fact that are copied.
const MAX_FACT: u64 = 32 << 20;

/// Notes of facts that are read; afterimage writes one.
const MAX_NOTES: usize = 4;

/// Facts with their bytes, by name.
pub(super) struct Facts(Vec<(String, Vec<u8>)>);

impl Facts {
    /// The facts of afterimage's own notes.
    pub(super) fn of(dump: &Dump) -> Self {
        let mut found = Vec::new();
        let own = dump
            .notes
            .iter()
            .filter(|note| note.owner == OWNER && note.kind & 0xffff == FACTS & 0xffff && note.size <= MAX_FACT);
        for note in own.take(MAX_NOTES) {
            let bytes = read_vec(&**dump.memory.source(), note.offset, note.size as usize).unwrap_or_default();
            let fields = Fields::new(&bytes, Endian::Little);
            let mut at = 0;
            while let Some(key) = fields.cstr(at, 256).filter(|key| !key.is_empty()) {
                let size_at = at + key.len() + 1;
                let size = fields.u64(size_at).and_then(|size| usize::try_from(size).ok());
                let Some(value) = size.and_then(|size| fields.slice(size_at + 8, size)) else { break };
                found.push((String::from_utf8_lossy(key).into_owned(), value.to_vec()));
                at = size_at + 8 + value.len();
            }
        }
        Self(found)
    }

    /// What is known under one of these names, as bytes.
    pub(super) fn bytes(&self, dump: &Dump, names: &[&str]) -> Option<Vec<u8>> {
        let own = names.iter().find_map(|name| self.0.iter().find(|(key, _)| key == name));
        own.map(|(_, bytes)| bytes.clone()).or_else(|| text(dump, names).map(|text| text.as_bytes().to_vec()))
    }
}

/// A fact of the model under one of these names.
pub(super) fn text<'d>(dump: &'d Dump, names: &[&str]) -> Option<&'d str> {
    let facts = &dump.process.facts;
    let found = names.iter().find_map(|name| facts.iter().find(|(key, _)| key == name));
    found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// The bytes of a stream of the minidump that is being written anew.
pub(crate) fn stream(dump: &Dump, kind: u32) -> Option<Vec<u8>> {
    let of_stream = |note: &&crate::NoteRecord| note.owner.is_empty() && note.kind == kind && note.size <= MAX_FACT;
    let found = dump.notes.iter().filter(|_| dump.format == Format::Minidump).find(of_stream)?;
    read_vec(&**dump.memory.source(), found.offset, found.size as usize).ok().filter(|bytes| !bytes.is_empty())
}
