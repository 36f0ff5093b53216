//! An ELF core of a machine, as /proc/vmcore has it: one segment for each run of memory, and the notes.
//!
//! *Trap*: memory that is left out is the end of a segment (`p_memsz` beyond `p_filesz`), as makedumpfile -E writes it:
//! so a reader knows that there was memory.

use super::jobs::{self, Jobs, Read};
use super::{Options, Tally, Writing, raw};
use crate::machine::PhysMemory;
use crate::write::WriteError;
use crate::write::layout::{Output, put};
use crate::write::pen::Pen;
use crate::{Absence, Phys};

/// Segments that fit a table in memory.
const MAX_LOADS: usize = 4 << 20;
const HEADER: u64 = 64;
const ENTRY: u64 = 56;
const SECTION: u64 = 64;
const PN_XNUM: usize = 0xffff;
/// Memory begins at a multiple of this in the file.
const ALIGN: u64 = 4096;

struct Load {
    start: u64,
    held: u64,
    all: u64,
}

/// One segment for each run of present memory and the absent memory behind it.
fn loads(memory: &dyn PhysMemory) -> Result<Vec<Load>, WriteError> {
    let mut loads: Vec<Load> = Vec::new();
    let mut at = Phys(0);
    while let Some(extent) = memory.next(at).filter(|extent| extent.end > at) {
        let (start, end) = (extent.start.max(at).0, extent.end.0);
        at = extent.end;
        if extent.absent == Some(Absence::NotMapped) {
            continue;
        }
        let len = end - start;
        let present = extent.absent.is_none();
        let held = if present { len } else { 0 };
        if let Some(last) = loads.last_mut()
            && last.start + last.all == start
            && (!present || last.held == last.all)
        {
            last.all += len;
            last.held += held;
        } else if loads.len() < MAX_LOADS {
            loads.push(Load { start, held, all: len });
        } else {
            return Err(WriteError::TooLarge { what: "the list of segments" });
        }
    }
    Ok(loads)
}

/// Writes it.
pub(super) fn write(writing: &Writing<'_>, out: &mut dyn Output, options: &Options) -> Result<Tally, WriteError> {
    let refused = |source| WriteError::Output { what: "the core", source };
    let loads = loads(writing.memory())?;
    let head = head(writing, &loads);
    out.bytes(&head).map_err(refused)?;
    let mut tally = Tally::new(writing);
    let result = jobs::run(
        Jobs::new(writing.memory(), (1 << 20).max(writing.page), 1),
        options.threads,
        || move |job: &jobs::Job| raw::summed(writing, job),
        |_, (read, sum): (Read, u128)| {
            // Segments follow one another in the file as in memory, without gaps.
            put(out, &read.bytes)?;
            tally.add(read.bytes.len() as u64, sum, read.bad);
            Ok(())
        },
    );
    result.map_err(refused)?;
    tally.file_size = head.len() as u64 + tally.read;
    Ok(tally)
}

fn head(writing: &Writing<'_>, loads: &[Load]) -> Vec<u8> {
    const PT_LOAD: u32 = 1;
    const PT_NOTE: u32 = 4;
    let dump = writing.dump;
    let count = loads.len() + 1;
    let many = count >= PN_XNUM;
    let sections_at = HEADER + count as u64 * ENTRY;
    let notes_at = sections_at + if many { SECTION } else { 0 };
    let notes = &writing.notes;
    let data_at = (notes_at + notes.len() as u64).next_multiple_of(ALIGN);
    let mut pen = Pen::new(dump.endian);
    pen.bytes(b"\x7fELF\x02");
    pen.u8(if dump.endian == crate::Endian::Little { 1 } else { 2 });
    pen.bytes(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    pen.u16(4); // ET_CORE
    pen.u16(writing.arch.elf_machine());
    pen.u32(1);
    pen.u64(0); // e_entry
    pen.u64(HEADER);
    pen.u64(if many { sections_at } else { 0 });
    // makedumpfile's mark of an incomplete dump.
    pen.u32(u32::from(dump.missing_bytes > 0));
    pen.u16(HEADER as u16);
    pen.u16(ENTRY as u16);
    pen.u16(if many { PN_XNUM } else { count } as u16);
    pen.u16(if many { SECTION as u16 } else { 0 });
    pen.u16(u16::from(many));
    pen.u16(0);
    let mut entry = |kind: u32, flags: u32, [offset, vaddr, paddr, held, all]: [u64; 5]| {
        pen.u32(kind);
        pen.u32(flags);
        for value in [offset, vaddr, paddr, held, all, 0] {
            pen.u64(value);
        }
    };
    entry(PT_NOTE, 0, [notes_at, 0, 0, notes.len() as u64, notes.len() as u64]);
    let mut offset = data_at;
    for load in loads {
        entry(PT_LOAD, 7, [offset, 0, load.start, load.held, load.all]);
        offset += load.held;
    }
    if many {
        // Section 0 says how many there are (elf(5), PN_XNUM).
        pen.zeros(44);
        pen.u32(count as u32);
        pen.zeros(16);
    }
    pen.bytes(notes);
    pen.zeros((data_at - pen.len()) as usize);
    pen.done()
}
