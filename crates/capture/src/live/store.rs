//! From a plan and its memory to the bytes of a dump: laid out, copied with all processors, or streamed.

use super::copy::{self, CopyError, Job, Over, Sheet};
use super::destination::Part;
use super::{CaptureOptions, Container, LiveError, Meter};
use crate::memory::{Bytes, LiveMemory};
use crate::plan::Plan;
use afterimage_dump::write::elf_core::{self, Core};
use afterimage_dump::write::layout::{self, Content, Layout, Output, Pipe};
use afterimage_dump::write::{WriteError, minidump, notes, seekable};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// What has been written.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) file_size: u64,
    /// Bytes of memory that are not holes.
    pub(super) stored: u64,
    pub(super) soft_errors: Vec<String>,
}

/// Length of the core file that a plan gives, with so many bytes of notes.
pub(super) fn size(notes: u64, plan: &Plan) -> u64 {
    const PROGRAM_HEADER: u64 = 56;
    let headers = PROGRAM_HEADER * (plan.pieces.len() as u64 + 4);
    let memory: u64 = plan.pieces.iter().map(|piece| piece.stored.next_multiple_of(plan.unit)).sum();
    (headers + notes).next_multiple_of(plan.unit) + memory + tail_room(plan) as u64
}

/// Bytes at the end of a dump that is to be short.
fn tail_room(plan: &Plan) -> usize {
    if plan.unit < 4096 { 1024 } else { 4096 }
}

/// Finishes a core: its segments, and the note of memory that was never touched.
pub(super) fn complete(core: &mut Core, plan: &Plan, small: bool) {
    core.segments = plan.pieces.iter().map(crate::plan::Piece::segment).collect();
    let untouched = plan.untouched();
    if !untouched.is_empty() {
        core.notes.push(notes::untouched(&untouched));
    }
    if small {
        core.tail_room = tail_room(plan);
    }
}

/// The file of a core.
pub(super) fn lay_out(core: &Core, options: &CaptureOptions, pid: i32) -> Result<Layout, LiveError> {
    let layout = match options.container {
        Container::Elf => elf_core::lay_out(core),
        Container::Minidump => minidump::lay_out_core(core),
    };
    layout.map_err(|error| LiveError::Unsupported { pid, what: error.to_string() })
}

/// Writes a dump: the memory of `plan`'s pieces, page tables of process `pid`, bytes by `bytes`. Whether the process
/// stands meanwhile decides whether there is time to wait for the disk.
pub(super) fn store(
    layout: &Layout,
    plan: &Plan,
    (pid, bytes): (i32, &dyn Bytes),
    standing: bool,
    part: Option<&Part>,
    compress: bool,
    meter: &Meter<'_>,
) -> Result<Stored, CopyError> {
    meter.phase("copying", layout.memory_len());
    match part {
        Some(part) if !compress => {
            let sheet = if standing { Sheet::cached(&part.file) } else { Sheet::direct(&part.file) };
            place(layout, LiveMemory::new(bytes, pid, &plan.pieces), bytes, &part.file, &sheet, meter)
        }
        Some(part) => stream(layout, LiveMemory::new(bytes, pid, &plan.pieces), &part.file, compress, meter),
        None => stream(layout, LiveMemory::new(bytes, pid, &plan.pieces), io::stdout(), compress, meter),
    }
}

/// Into a plain file: all processors copy, each block to its place.
fn place(
    layout: &Layout,
    mut memory: LiveMemory<'_>,
    bytes: &dyn Bytes,
    file: &File,
    sheet: &Sheet<'_>,
    meter: &Meter<'_>,
) -> Result<Stored, CopyError> {
    file.set_len(layout.len()).and_then(|()| file.write_all_at(&layout.head, 0)).map_err(CopyError::Output)?;
    let mut placed = layout.memory.iter();
    let mut now = placed.next().copied();
    let mut at = now.map_or(0, |placed| placed.start);
    let jobs = std::iter::from_fn(move || {
        loop {
            let here = now?;
            let end = here.start + here.len;
            if let Some(range) = memory.next(at, end).map(|range| range.start.max(at)..range.end.min(end))
                && !range.is_empty()
            {
                meter.add(range.start - at);
                at = range.end;
                return Some(Job {
                    at: range.start,
                    len: at - range.start,
                    offset: here.offset + (range.start - here.start),
                });
            }
            meter.add(end - at);
            now = placed.next().copied();
            at = now.map_or(0, |placed| placed.start);
        }
    });
    let copied = copy::copy(sheet, jobs, bytes, Over::Nothing, meter)?;
    let soft_errors = copied.unreadable.lines();
    finish(layout, file, &soft_errors).map_err(CopyError::Output)?;
    Ok(Stored { file_size: layout.len(), stored: copied.stored, soft_errors })
}

/// The end of a plain file.
pub(super) fn finish(layout: &Layout, file: &File, soft_errors: &[String]) -> io::Result<()> {
    file.write_all_at(&layout.tail(soft_errors), layout.tail_at)
}

/// From the front to the end.
fn stream(
    layout: &Layout,
    memory: LiveMemory<'_>,
    out: impl Write + Send,
    compress: bool,
    meter: &Meter<'_>,
) -> Result<Stored, CopyError> {
    let mut memory = Metered { memory, meter };
    if compress {
        let mut packer = seekable::Writer::new(out, seekable::Options::default()).map_err(CopyError::Output)?;
        let written = write(layout, &mut memory, &mut packer)?;
        let (mut out, _) = packer.finish().map_err(CopyError::Output)?;
        out.flush().map_err(CopyError::Output)?;
        return Ok(written);
    }
    let mut pipe = Pipe(out);
    let written = write(layout, &mut memory, &mut pipe)?;
    pipe.0.flush().map_err(CopyError::Output)?;
    Ok(written)
}

fn write(layout: &Layout, memory: &mut dyn Content, out: &mut dyn Output) -> Result<Stored, CopyError> {
    let written = layout::write(layout, memory, out).map_err(|error| match error {
        WriteError::Output { source, .. } => CopyError::Output(source),
        WriteError::Content { .. } => CopyError::Gone,
        other => CopyError::Output(io::Error::other(other.to_string())),
    })?;
    Ok(Stored { file_size: written.file_size, stored: written.stored, soft_errors: written.soft_errors })
}

/// Memory that says how far it has come.
struct Metered<'a, 'm> {
    memory: LiveMemory<'a>,
    meter: &'m Meter<'m>,
}

impl Content for Metered<'_, '_> {
    fn next(&mut self, at: u64, end: u64) -> Option<Range<u64>> {
        let next = self.memory.next(at, end);
        self.meter.add(next.as_ref().map_or(end, |range| range.start).saturating_sub(at));
        next
    }

    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        self.meter.add(buf.len() as u64);
        self.memory.read(at, buf)
    }

    fn soft_errors(&mut self) -> Vec<String> {
        self.memory.soft_errors()
    }
}
