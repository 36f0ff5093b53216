//! One object file of a PDB: its procedures, and where its lines and inlined functions stand.
//!
//! Trap: procedures nest only in old Pascal; in today's files what lies inside a procedure is blocks and inlined functions.

use super::inlines::{self, Site};
use super::lines::{self, Line, Lines};
use super::places::Place;
use super::publics::records;
use crate::elf::View;

const S_THUNK32: u16 = 0x1102;
const S_LPROC32: u16 = 0x110f;
const S_GPROC32: u16 = 0x1110;
const S_LPROC32_ID: u16 = 0x1146;
const S_GPROC32_ID: u16 = 0x1147;
const S_LPROC32_DPC: u16 = 0x1155;
const S_LPROC32_DPC_ID: u16 = 0x1156;

/// A procedure.
#[derive(Debug)]
pub(super) struct Procedure {
    pub(super) place: Place,
    pub(super) size: u32,
    pub(super) name: String,
    /// Where the records inside it begin and end, in the stream.
    pub(super) inside: (u32, u32),
}

/// What is known of one object file.
pub(super) struct ObjectFile {
    stream: Vec<u8>,
    procedures: Vec<Procedure>,
    lines: Lines,
}

impl ObjectFile {
    /// From its stream: symbols (with a signature of 4 bytes), old lines, lines.
    pub(super) fn read(stream: Vec<u8>, symbols: u32, old: u32, line_bytes: u32) -> Self {
        let end = stream.len().min(symbols as usize);
        let from = (symbols as usize).saturating_add(old as usize).min(stream.len());
        let to = from.saturating_add(line_bytes as usize).min(stream.len());
        let lines = lines::read(stream.get(from..to).unwrap_or_default(), from);
        let mut procedures: Vec<Procedure> = records(stream.get(..end).unwrap_or_default(), 4)
            .filter_map(|(kind, data, at)| procedure(kind, data, at))
            .collect();
        procedures.sort_by_key(|procedure| procedure.place);
        Self { stream, procedures, lines }
    }

    /// The procedure that covers a place.
    pub(super) fn procedure(&self, at: Place) -> Option<&Procedure> {
        let after = self.procedures.partition_point(|procedure| procedure.place <= at);
        // Of folded procedures the first stands for all.
        let last = self.procedures.get(after.checked_sub(1)?)?;
        let first = self.procedures.partition_point(|procedure| procedure.place < last.place);
        let found = self.procedures.get(first)?;
        (found.place.section == at.section && at.offset - found.place.offset < found.size).then_some(found)
    }

    /// The line at a place.
    pub(super) fn line(&self, at: Place) -> Option<Line> {
        self.lines.find(&self.stream, at)
    }

    /// Where the name of a source file stands in the PDB's table of names.
    pub(super) fn file(&self, id: u32) -> Option<u32> {
        self.lines.file(&self.stream, id)
    }

    /// See [`Lines::import`].
    pub(super) fn import(&self, id: u32) -> Option<(u32, u32)> {
        self.lines.import(&self.stream, id)
    }

    /// See [`Lines::export`].
    pub(super) fn export(&self, local: u32) -> Option<u32> {
        self.lines.export(&self.stream, local)
    }

    /// The functions inlined at a distance from a procedure's start, outermost first.
    pub(super) fn inlined(&self, procedure: &Procedure, distance: u32) -> Vec<Site> {
        inlines::sites(&self.stream, procedure.inside, distance, &|function| self.lines.inlinee(&self.stream, function))
    }
}

fn procedure(kind: u16, data: &[u8], at: usize) -> Option<Procedure> {
    let view = View::new(data, true);
    let (offset, section, size, name) = match kind {
        S_LPROC32 | S_GPROC32 | S_LPROC32_ID | S_GPROC32_ID | S_LPROC32_DPC | S_LPROC32_DPC_ID => {
            (view.u32(28)?, view.u16(32)?, view.u32(12)?, 35)
        }
        S_THUNK32 => (view.u32(12)?, view.u16(16)?, u32::from(view.u16(18)?), 21),
        _ => return None,
    };
    let begin = u32::try_from(at + data.len()).ok()?;
    Some(Procedure {
        place: Place { section, offset },
        size,
        name: String::from_utf8_lossy(view.c_str(name)?).into_owned(),
        inside: (begin, view.u32(4)?),
    })
}
