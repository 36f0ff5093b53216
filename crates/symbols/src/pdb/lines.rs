//! The line tables of one object file (C13): blocks of lines, checksums that name the files, and the files and first lines
//! of inlined functions.
//!
//! Trap: a file is named by where its checksum stands, not by a number.

use super::places::Place;
use crate::elf::View;

const LINES: u32 = 0xf2;
const CHECKSUMS: u32 = 0xf4;
const INLINEES: u32 = 0xf6;
const IMPORTS: u32 = 0xf7;
const EXPORTS: u32 = 0xf8;
/// A line number that means "step over this": code that no line stands for.
const NO_LINE: [u32; 2] = [0xf0_0f00, 0xfe_efee];
const MAX_BLOCKS: usize = 1 << 20;

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) file: u32,
    /// 0: no line.
    pub(super) line: u32,
    pub(super) column: Option<u32>,
}

/// Where the tables stand in the object file's stream.
#[derive(Default)]
pub(super) struct Lines {
    /// Place and size of code, and where its block's header begins and ends; sorted.
    blocks: Vec<(Place, u32, u32, u32)>,
    checksums: Option<(u32, u32)>,
    inlinees: Vec<(u32, u32)>,
    imports: Option<(u32, u32)>,
    exports: Option<(u32, u32)>,
}

/// Finds the tables; `base` is where `bytes` begin in the stream.
pub(super) fn read(bytes: &[u8], base: usize) -> Lines {
    let view = View::new(bytes, true);
    let mut lines = Lines::default();
    let mut at = 0u64;
    while let (Some(kind), Some(size)) = (view.u32(at), view.u32(at + 4)) {
        let from = at + 8;
        if view.bytes(from, u64::from(size)).is_none() || lines.blocks.len() > MAX_BLOCKS {
            break;
        }
        let start = u32::try_from(base as u64 + from).unwrap_or(u32::MAX);
        let range = (start, start.saturating_add(size));
        match kind {
            LINES => {
                if let (Some(offset), Some(section), Some(code)) =
                    (view.u32(from), view.u16(from + 4), view.u32(from + 8))
                {
                    lines.blocks.push((Place { section, offset }, code, range.0, range.1));
                }
            }
            CHECKSUMS => lines.checksums = Some(range),
            INLINEES => lines.inlinees.push(range),
            IMPORTS => lines.imports = Some(range),
            EXPORTS => lines.exports = Some(range),
            _ => {}
        }
        at = (from + u64::from(size)).next_multiple_of(4);
    }
    lines.blocks.sort_unstable();
    lines
}

impl Lines {
    pub(super) fn find(&self, stream: &[u8], at: Place) -> Option<Line> {
        let after = self.blocks.partition_point(|(place, ..)| *place <= at);
        // Blocks of folded functions begin at one place; a few are looked at.
        let near = self.blocks.get(..after)?.iter().rev().take(8);
        near.filter(|(place, size, ..)| place.section == at.section && at.offset - place.offset < *size)
            .find_map(|&(place, _, from, to)| in_block(stream, from, to, at.offset - place.offset))
    }

    pub(super) fn file(&self, stream: &[u8], id: u32) -> Option<u32> {
        let (from, to) = self.checksums?;
        let at = from.checked_add(id).filter(|at| *at < to)?;
        View::new(stream, true).u32(u64::from(at))
    }

    /// The file and first line of a function that was inlined somewhere.
    pub(super) fn inlinee(&self, stream: &[u8], function: u32) -> Option<(u32, u32)> {
        let view = View::new(stream, true);
        self.inlinees.iter().find_map(|&(from, to)| {
            let extended = view.u32(u64::from(from))? == 1;
            let mut at = u64::from(from) + 4;
            while at + 12 <= u64::from(to) {
                if view.u32(at)? == function {
                    return Some((view.u32(at + 4)?, view.u32(at + 8)?));
                }
                at += 12;
                if extended {
                    at = at.checked_add(4 + 4 * u64::from(view.u32(at)?))?;
                }
            }
            None
        })
    }
}

/// Names of functions that were inlined across object files (`/LTCG`).
impl Lines {
    /// What an id with the highest bit means: where the name of another object file stands in the table of names, and the
    /// number that the function has there.
    pub(super) fn import(&self, stream: &[u8], id: u32) -> Option<(u32, u32)> {
        let (from, to) = self.imports?;
        let (file, index) = (id >> 20 & 0x7ff, u64::from(id & 0xf_ffff));
        let view = View::new(stream, true);
        let mut at = u64::from(from);
        for _ in 0..file {
            at = at.checked_add(8 + 4 * u64::from(view.u32(at + 4)?)).filter(|at| *at < u64::from(to))?;
        }
        let count = u64::from(view.u32(at + 4)?);
        (index < count).then(|| Some((view.u32(at)?, view.u32(at + 8 + 4 * index)?))).flatten()
    }

    /// The number in the PDB's table of ids of what this file lends to others under a number of its own.
    pub(super) fn export(&self, stream: &[u8], local: u32) -> Option<u32> {
        let (from, to) = self.exports?;
        let view = View::new(stream, true);
        let places = (u64::from(from)..u64::from(to)).step_by(8);
        places.into_iter().find(|&at| view.u32(at) == Some(local)).and_then(|at| view.u32(at + 4))
    }
}

/// The last line that begins at or before a distance from the block's start, of all files in it.
fn in_block(stream: &[u8], from: u32, to: u32, distance: u32) -> Option<Line> {
    let view = View::new(stream, true);
    let has_columns = view.u16(u64::from(from) + 6)? & 1 == 1;
    let mut at = u64::from(from) + 12;
    let mut best: Option<(u32, Line)> = None;
    while at + 12 <= u64::from(to) {
        let (file, count, size) = (view.u32(at)?, view.u32(at + 4)?, view.u32(at + 8)?);
        if size < 12 {
            break;
        }
        let each = if has_columns { 12 } else { 8 };
        let count = count.min((size - 12) / each);
        for index in 0..u64::from(count) {
            let place = at + 12 + 8 * index;
            let (Some(offset), Some(flags)) = (view.u32(place), view.u32(place + 4)) else { break };
            if offset > distance || best.is_some_and(|(known, _)| known > offset) {
                continue;
            }
            let line = flags & 0x00ff_ffff;
            let column = || view.u16(at + 12 + 8 * u64::from(count) + 4 * index).map(u32::from).filter(|&c| c != 0);
            let line = if NO_LINE.contains(&line) { 0 } else { line };
            let column = if has_columns { column() } else { None };
            best = Some((offset, Line { file, line, column }));
        }
        at += u64::from(size);
    }
    best.map(|(_, line)| line)
}
