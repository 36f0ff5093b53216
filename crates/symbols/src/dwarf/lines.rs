//! The line table of one unit.
//!
//! Not here: where inlined functions were called (their entries say that, `functions`).
//!
//! Example: rows at 0x10 (line 3) and 0x18 (line 4) put 0x14 on line 3; the end of a sequence puts nothing on any line.
//!
//! Trap: one address may have several rows, for statements that left no code behind. The last one counts: so do
//! addr2line, eu-addr2line and llvm-symbolizer, and only it fits the inlined calls at the address. gdb 13 takes the last
//! that begins a statement, which may lie in another function.

use super::{Dwarf, Unit, Value};

/// One row, measured from the start of its sequence. 16 bytes, since large units have a million.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    offset: u32,
    pub(super) file: u32,
    pub(super) line: u32,
    pub(super) column: u16,
}

#[derive(Debug)]
struct Sequence {
    start: u64,
    end: u64,
    rows: std::ops::Range<u32>,
}

/// All rows of a unit.
#[derive(Debug, Default)]
pub(super) struct LineTable {
    sequences: Vec<Sequence>,
    rows: Vec<Row>,
}

/// Rows that are kept of one unit (64 MiB).
const MAX_ROWS: usize = 4_000_000;

impl LineTable {
    /// Runs the unit's line program. A broken program gives the rows before the break.
    pub(super) fn read(unit: &Unit<'_>) -> LineTable {
        let mut table = LineTable::default();
        let Some(program) = unit.line_program.clone() else { return table };
        let mut run = program.rows();
        let mut start = None;
        let mut first = 0usize;
        while let Ok(Some((_, row))) = run.next_row() {
            let address = row.address();
            if row.end_sequence() {
                if let Some(start) = start
                    && address > start
                    && !unit.header.is_tombstone_address(start)
                {
                    table.sequences.push(Sequence { start, end: address, rows: first as u32..table.rows.len() as u32 });
                } else {
                    table.rows.truncate(first);
                }
                start = None;
                first = table.rows.len();
                continue;
            }
            if table.rows.len() >= MAX_ROWS {
                break;
            }
            let from = *start.get_or_insert(address);
            // A sequence of more than 4 GiB, or one that runs backwards, is broken.
            let Some(offset) = address.checked_sub(from).and_then(|offset| u32::try_from(offset).ok()) else {
                continue;
            };
            let new = Row {
                offset,
                file: u32::try_from(row.file_index()).unwrap_or(0),
                line: row.line().and_then(|line| u32::try_from(line.get()).ok()).unwrap_or(0),
                column: match row.column() {
                    gimli::ColumnType::LeftEdge => 0,
                    gimli::ColumnType::Column(column) => u16::try_from(column.get()).unwrap_or(0),
                },
            };
            match table.rows.get(first..).and_then(<[Row]>::last) {
                Some(last) if last.offset == offset => {
                    if let Some(last) = table.rows.last_mut() {
                        *last = new;
                    }
                }
                Some(last) if last.offset > offset => {}
                _ => table.rows.push(new),
            }
        }
        table.rows.shrink_to_fit();
        table.sequences.sort_unstable_by_key(|sequence| sequence.start);
        table
    }

    /// The row that an address belongs to.
    pub(super) fn find(&self, at: u64) -> Option<Row> {
        let after = self.sequences.partition_point(|sequence| sequence.start <= at);
        let candidates = self.sequences.get(..after)?.iter().rev().take(8);
        let sequence = candidates.into_iter().find(|sequence| at < sequence.end)?;
        let rows = self.rows.get(sequence.rows.start as usize..sequence.rows.end as usize)?;
        let offset = u32::try_from(at - sequence.start).ok()?;
        let after = rows.partition_point(|row| row.offset <= offset);
        rows.get(after.checked_sub(1)?).copied()
    }
}

fn is_absolute(path: &str) -> bool {
    let bytes = path.as_bytes();
    path.starts_with(['/', '\\']) || bytes.get(1) == Some(&b':') && bytes.first().is_some_and(u8::is_ascii_alphabetic)
}

/// `base` and `path` joined, unless `path` stands for itself.
fn join(base: &str, path: &str) -> String {
    if base.is_empty() || is_absolute(path) {
        return path.to_owned();
    }
    let windows = base.contains('\\') && !base.contains('/');
    let separator = if base.ends_with(['/', '\\']) {
        ""
    } else if windows {
        "\\"
    } else {
        "/"
    };
    format!("{base}{separator}{path}")
}

/// The path of a file of the unit's line table: as the compiler wrote it, made absolute with the folder that it ran in.
pub(super) fn path(dwarf: &Dwarf<'_>, unit: &Unit<'_>, file: u64) -> Option<String> {
    let header = unit.line_program.as_ref()?.header();
    let entry = header.file(file)?;
    let string = |value: Value<'_>| dwarf.attr_string(unit, value).ok().map(|s| s.to_string_lossy().into_owned());
    let name = string(entry.path_name())?;
    let home = unit.comp_dir.map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default();
    if is_absolute(&name) {
        return Some(name);
    }
    // Folder 0 is the one that the compiler ran in: written out from version 5, understood before.
    let folder = match entry.directory_index() {
        0 if header.version() < 5 => None,
        _ => entry.directory(header).and_then(string),
    };
    Some(match folder {
        Some(folder) if folder != home => join(&join(&home, &folder), &name),
        _ => join(&home, &name),
    })
}
