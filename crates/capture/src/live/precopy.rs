//! Copying a process while it runs: all of its memory once, then again and again what it has written to, and the rest
//! while it stands for a moment.
//!
//! *What it is*: two stops. In the first the process is made to open a userfaultfd ([`super::track`]), the second is the
//! instant. Pages go straight to their places in the file; a page that changed is written anew.
//!
//! *What it is not*: for shared memory, which others write to as well: that is read while the process stands.
//!
//! *Trap*: a page that was copied and then given back (`MADV_DONTNEED`, munmap) must be zero, or away, in the dump:
//! its bytes are punched out of the file.

use super::before::Before;
use super::clone::Copy;
use super::copy::{self, CopyError, Job as Block, Over, Sheet};
use super::hold::Held;
use super::inject::Refusal;
use super::kept::{Aside, Kept};
use super::modes::{Failed, Taken};
use super::moment::Moment;
use super::spans::Spans;
use super::store::{self, Stored};
use super::track::{STEP, Tracker};
use super::{Container, Job, LiveError};
use crate::memory::{Bytes, LiveMemory, Reader, Unreadable, read_through};
use crate::plan::{LARGE_GAP, Piece, Plan, Source};
use crate::procfs::{self, Vma};
use crate::sys;
use afterimage_dump::write::elf_core;
use afterimage_dump::write::layout::Content;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Room kept in the file for headers and notes: this much, and for each thread and mapping more. It is a hole where they
/// are shorter, so it costs nothing.
const HEAD_ROOM: u64 = 4 << 20;
const HEAD_ROOM_THREAD: u64 = 64 << 10;
const HEAD_ROOM_MAPPING: u64 = 1 << 10;
/// Passes over what was written to, at the most.
const MAX_PASSES: u32 = 8;
/// What the last stop may have to copy, in time, where nothing else is said.
const LAST_COPY: Duration = Duration::from_millis(4);
/// Bytes of the last pages that are kept in memory and written when the process goes on.
const LAST_BUFFER: usize = 16 << 20;
/// Ranges read with one call.
const BATCH: usize = 512;
/// Page tables of 4 KiB pages are copied at some 20 ms a GiB.
const FORK_BYTES_PER_SECOND: u64 = 50 << 30;

/// What the last stop found.
struct Last {
    moment: Moment,
    plan: Plan,
    pause: Duration,
    /// The last pages: in the file already, or their bytes here one behind the other, or to be read from a copy.
    blocks: Vec<Block>,
    buffer: Option<Vec<u8>>,
    copy: Option<Copy>,
    /// Memory whose earlier copies are void.
    void: Vec<Range<u64>>,
    unreadable: Vec<String>,
}

impl Job<'_> {
    /// Copies the process while it runs.
    pub(super) fn by_precopy(&self, mut before: Before) -> Result<Taken, Failed> {
        if self.small() || self.options.max_size.is_some() {
            let why = "a dump of so little memory takes less time than tracking takes to begin".into();
            return Err(Failed::Refused(Refusal::Because(why)));
        }
        let (file, spool) = self.precopy_file()?;
        let gadgets = before.gadgets.clone().map_err(Failed::Refused)?;
        if before.vmas.iter().any(|vma| vma.userfault) {
            let why = "a userfaultfd of its own handles its memory's faults".into();
            return Err(Failed::Refused(Refusal::Because(why)));
        }
        // The first stop: a userfaultfd is made, and which memory counts is seen.
        let held = self.hold()?;
        let vmas = std::fs::read(format!("/proc/{}/maps", self.subject.memory))
            .and_then(|maps| procfs::parse_maps(maps.as_slice()));
        let vmas = vmas.map_err(|_| self.gone())?;
        let seccomp = self.subject.status.seccomp;
        let begun = Tracker::new(&held, &self.subject.pidfd, &self.reader, &vmas, gadgets, seccomp);
        let first = held.release();
        let mut tracker = begun.map_err(Failed::Refused)?;
        let followed =
            |vma: &&Vma| !vma.shared && !vma.file && !vma.io && !vma.dont_dump && !vma.path.starts_with(b"[v");
        for vma in before.vmas.iter().filter(followed) {
            tracker.add(&(vma.start..vma.end));
        }
        if tracker.tracked().is_empty() {
            // Of a process that was killed meanwhile nothing can be tracked any more.
            if self.subject.ended() {
                return Err(Failed::Other(self.gone()));
            }
            let why = "the kernel tracks none of its memory".into();
            return Err(Failed::Refused(Refusal::Because(why)));
        }
        let room =
            HEAD_ROOM + HEAD_ROOM_THREAD * before.told.len() as u64 + HEAD_ROOM_MAPPING * before.vmas.len() as u64;
        let mut spans = Spans::new(room.next_multiple_of(sys::page_size()), sys::page_size());
        let followed = Followed { clean: self.clean_files(&before), tracker };
        let result = self.copy_running(&followed, &mut spans, &file).map_err(Failed::Other);
        let result = result
            .and_then(|(passes, rate)| Ok((passes, self.last_stop(&mut before, &followed, &mut spans, &file, rate)?)));
        let Followed { tracker, .. } = followed;
        // Whatever happened: the process is freed of the tracking first.
        tracker.release();
        let (passes, last) = result?;
        let (pauses, threads) = (vec![first, last.pause], last.moment.threads.len());
        let (stored, soft_errors) = self.complete_precopy(before, last, &mut spans, &file, spool)?;
        Ok(Taken { stored, pauses, threads, passes, soft_errors })
    }

    /// The file that pages are copied into, and whether it is only for the time being.
    fn precopy_file(&self) -> Result<(File, bool), LiveError> {
        let failed = |error| self.failed(CopyError::Output(error));
        match &self.part {
            Some(part) if !self.options.compress && self.options.container == Container::Elf => {
                Ok((part.file.try_clone().map_err(failed)?, false))
            }
            _ => Ok((tempfile::tempfile_in(self.folder()).map_err(failed)?, true)),
        }
    }

    /// For a complete dump: private mappings of files that have no page of their own.
    fn clean_files(&self, before: &Before) -> Vec<Vma> {
        let clean = |vma: &&Vma| vma.file && !vma.shared && !vma.own_pages && !vma.io && !vma.dont_dump;
        let complete = self.options.dump_type == crate::DumpType::Complete;
        before.vmas.iter().filter(|vma| complete && clean(vma)).cloned().collect()
    }

    /// The passes while the process runs; gives their number and the bytes copied in a second.
    fn copy_running(&self, followed: &Followed, spans: &mut Spans, file: &File) -> Result<(u32, u64), LiveError> {
        let Followed { tracker, clean } = followed;
        let vanished = |_| self.gone();
        let total = tracker.tracked().iter().map(|range| range.end - range.start).sum();
        self.meter.phase("copying", total);
        let sheet = Sheet::direct(file);
        let start = Instant::now();
        let mut copied = 0u64;
        // Small mappings together make up a step: copying begins anew with each.
        let (mut blocks, mut bytes) = (Vec::new(), 0u64);
        for range in tracker.tracked() {
            let mut at = range.start;
            while let Some(start) = tracker.next_touched(at..range.end).map_err(vanished)? {
                let end = (start + STEP).min(range.end);
                self.meter.add(start - at);
                at = end;
                let mut found = |block: Block| {
                    bytes += block.len;
                    blocks.push(block);
                };
                tracker.protect(start..end, &mut |range| spans.place(range, &mut found)).map_err(vanished)?;
                if bytes >= STEP / 2 {
                    self.copy_blocks(&sheet, &blocks, &self.reader, Over::Nothing)?;
                    copied += bytes;
                    bytes = 0;
                    blocks.clear();
                }
            }
        }
        self.copy_blocks(&sheet, &blocks, &self.reader, Over::Nothing)?;
        copied += bytes;
        let mut blocks = Vec::new();
        for vma in clean {
            spans.place(vma.start..vma.end, &mut |block| blocks.push(block));
        }
        // What cannot be read of them is asked for again at the end, and told then.
        self.copy_blocks(&sheet, &blocks, &self.reader, Over::Nothing)?;
        let rate = (copied as f64 / start.elapsed().as_secs_f64().max(1e-6)).max(1e8) as u64;
        let enough = self.last_copy_bytes(rate);
        let mut passes = 1;
        let mut before = u64::MAX;
        while passes < MAX_PASSES {
            let mut blocks = Vec::new();
            for range in tracker.tracked() {
                tracker
                    .take_written(range.clone(), &mut |range| spans.place(range, &mut |block| blocks.push(block)))
                    .map_err(vanished)?;
            }
            passes += 1;
            let bytes: u64 = blocks.iter().map(|block| block.len).sum();
            self.meter.phase("copying again what was written to", bytes);
            self.copy_blocks(&sheet, &blocks, &self.reader, Over::OldPages)?;
            // It gets no less any more: the process writes as fast as we copy.
            if bytes <= enough || bytes > before / 10 * 8 {
                break;
            }
            before = bytes;
        }
        Ok((passes, rate))
    }

    /// Bytes that may be left to the last stop.
    fn last_copy_bytes(&self, rate: u64) -> u64 {
        let time = self.options.max_pause.map_or(LAST_COPY, |longest| longest / 3);
        ((rate as f64 * time.as_secs_f64()) as u64).clamp(1 << 20, LAST_BUFFER as u64)
    }

    fn copy_blocks(
        &self,
        sheet: &Sheet<'_>,
        blocks: &[Block],
        from: &Reader,
        over: Over,
    ) -> Result<Vec<String>, LiveError> {
        let copied = copy::copy(sheet, blocks.iter().copied(), from, over, &self.meter);
        copied.map(|copied| copied.unreadable.lines()).map_err(|error| self.failed(error))
    }

    /// The instant: registers, mappings, and the pages that were written to since the last pass.
    fn last_stop(
        &self,
        before: &mut Before,
        Followed { tracker, clean }: &Followed,
        spans: &mut Spans,
        file: &File,
        rate: u64,
    ) -> Result<Last, Failed> {
        let held = self.hold()?;
        let mut moment = Moment::read(&held, before)?;
        let plan = moment.plan(self.options, before, &self.reader, self.subject.memory)?;
        let vanished = |_| self.gone();
        let failed = |error| self.failed(CopyError::Output(error));
        let (mut blocks, mut void, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for (index, piece) in plan.pieces.iter().enumerate().filter(|(_, piece)| piece.stored > 0) {
            let range = piece.start..piece.start + piece.stored;
            // Still the same clean file mapping: it has been copied.
            let same = |now: &Vma| {
                let at = clean.partition_point(|then| then.start < now.start);
                clean.get(at) == Some(now)
            };
            let at = moment.vmas.partition_point(|vma| vma.start < piece.start);
            if moment.vmas.get(at).filter(|vma| vma.start == piece.start).is_some_and(same) {
                continue;
            }
            let mut written = Vec::new();
            if !tracked(piece) || !tracker.written(range.clone(), &mut |range| written.push(range)) {
                // Here all is copied anew, now.
                for (part, offset) in spans.parts(range) {
                    punch(file, offset.unwrap_or(0), if offset.is_some() { part.end - part.start } else { 0 })
                        .map_err(failed)?;
                }
                rest.push(index);
                continue;
            }
            for (copied, _) in spans.parts(range).into_iter().filter(|(_, offset)| offset.is_some()) {
                tracker.emptied(copied, &mut |range| void.push(range)).map_err(vanished)?;
            }
            for range in written {
                void.push(range.clone());
                tracker
                    .touched(range, &mut |range| spans.place(range, &mut |block| blocks.push(block)))
                    .map_err(vanished)?;
            }
        }
        let mut last = Last {
            moment,
            plan,
            pause: Duration::ZERO,
            blocks,
            buffer: None,
            copy: None,
            void,
            unreadable: Vec::new(),
        };
        last.unreadable = self.copy_rest(&last.plan, &rest, spans, file)?;
        self.read_last(before, &held, &mut last, file, rate)?;
        last.pause = held.release();
        Ok(last)
    }

    /// What is not tracked: shared memory, files, new mappings.
    fn copy_rest(&self, plan: &Plan, rest: &[usize], spans: &mut Spans, file: &File) -> Result<Vec<String>, LiveError> {
        let mut memory = LiveMemory::new(&self.reader, self.subject.memory, &plan.pieces);
        let mut blocks = Vec::new();
        for piece in rest.iter().filter_map(|index| plan.pieces.get(*index)) {
            let (mut at, end) = (piece.start, piece.start + piece.stored);
            while let Some(range) = memory.next(at, end) {
                let range = range.start.max(at)..range.end.min(end);
                if range.is_empty() {
                    break;
                }
                at = range.end;
                spans.place(range, &mut |block| blocks.push(block));
            }
        }
        self.copy_blocks(&Sheet::cached(file), &blocks, &self.reader, Over::OldPages)
    }

    /// The last pages: into memory if they are few; from a copy by clone if that holds the process for less time.
    fn read_last(
        &self,
        before: &Before,
        held: &Held,
        last: &mut Last,
        file: &File,
        rate: u64,
    ) -> Result<(), LiveError> {
        let bytes: u64 = last.blocks.iter().map(|block| block.len).sum();
        if bytes <= LAST_BUFFER as u64 {
            let mut buffer = vec![0; bytes as usize];
            last.unreadable.extend(read_batches(self.subject.memory, &self.reader, &last.blocks, &mut buffer));
            last.buffer = Some(buffer);
            return Ok(());
        }
        let copying = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let forking = Duration::from_secs_f64(self.subject.status.resident as f64 / FORK_BYTES_PER_SECOND as f64);
        if forking < copying
            && !self.subject.status.init
            && super::choose::room_for_copy(self.subject).is_ok()
            && let Ok(gadgets) = before.gadgets.clone()
            && let Ok(copy) = Copy::make(held, &self.reader, &last.moment.vmas, gadgets, self.subject.status.seccomp)
        {
            last.copy = Some(copy);
            return Ok(());
        }
        let lines = self.copy_blocks(&Sheet::cached(file), &last.blocks, &self.reader, Over::OldPages)?;
        last.unreadable.extend(lines);
        Ok(())
    }

    /// Brings the file to its end.
    fn complete_precopy(
        &self,
        before: Before,
        last: Last,
        spans: &mut Spans,
        file: &File,
        spool: bool,
    ) -> Result<(Stored, Vec<String>), LiveError> {
        let failed = |error| self.failed(CopyError::Output(error));
        let Last { moment, mut plan, blocks, buffer, copy, void, mut unreadable, .. } = last;
        punch_void(spans, &void, &blocks, file).map_err(failed)?;
        if let Some(copy) = &copy {
            let reader = Reader::sharing(copy.pid);
            let bytes = Kept { under: &reader, aside: &Aside::default(), small: copy.borrowed.clone() };
            self.meter.phase("copying the last pages", blocks.iter().map(|block| block.len).sum());
            let copied = copy::copy(&Sheet::direct(file), blocks.iter().copied(), &bytes, Over::OldPages, &self.meter);
            unreadable.extend(copied.map_err(|error| self.failed(error))?.unreadable.lines());
        }
        drop(copy);
        if let Some(buffer) = buffer {
            let mut rest = buffer.as_slice();
            for block in &blocks {
                let Some((bytes, after)) = rest.split_at_checked(block.len as usize) else { break };
                file.write_all_at(bytes, block.offset).map_err(failed)?;
                rest = after;
            }
        }
        drop(blocks);
        let (mut core, mut soft_errors) = moment.core(&before, &mut plan);
        place_holes(&plan.pieces, spans);
        let (pieces, offsets) = by_spans(plan.pieces, spans);
        plan.pieces = pieces;
        // What lies in the file and belongs to no memory any more must not stay there.
        let held: Vec<Range<u64>> =
            plan.pieces.iter().filter(|piece| piece.stored > 0).map(|p| p.start..p.start + p.stored).collect();
        for (offset, len) in spans.outside(&held) {
            punch(file, offset, len).map_err(failed)?;
        }
        store::complete(&mut core, &plan, false);
        let stored = if spool {
            let pieces = plan.pieces.into_iter().zip(&offsets);
            let of_file = |(piece, &offset): (Piece, &u64)| {
                let source =
                    if piece.stored > 0 { Source::File { file: file.try_clone()?, offset } } else { piece.source };
                Ok(Piece { source, ..piece })
            };
            plan.pieces = pieces.map(of_file).collect::<io::Result<_>>().map_err(failed)?;
            let layout = store::lay_out(&core, self.options, self.subject.pid)?;
            let bytes = Spooled { file, pieces: &plan.pieces };
            self.store(&layout, &plan, (sys::own_pid(), &bytes), false)?
        } else {
            let unsupported = |error: afterimage_dump::write::WriteError| LiveError::Unsupported {
                pid: self.subject.pid,
                what: error.to_string(),
            };
            let end = spans.end().next_multiple_of(sys::page_size());
            let layout = elf_core::lay_out_at(&core, &offsets, end).map_err(unsupported)?;
            file.set_len(layout.len()).and_then(|()| file.write_all_at(&layout.head, 0)).map_err(failed)?;
            store::finish(&layout, file, &unreadable).map_err(failed)?;
            Stored { file_size: layout.len(), stored: data_bytes(file, spans.start(), end), soft_errors: Vec::new() }
        };
        soft_errors.extend(unreadable);
        soft_errors.extend(stored.soft_errors.iter().cloned());
        Ok((stored, soft_errors))
    }
}

/// What is copied while the process runs.
struct Followed {
    tracker: Tracker,
    /// Mappings of files, which nothing but the file can change.
    clean: Vec<Vma>,
}

/// Whether a piece's pages are followed.
fn tracked(piece: &Piece) -> bool {
    matches!(piece.source, Source::Touched)
}

/// Punches out copies of memory that has been given back since. Pages that are written anew stay.
fn punch_void(spans: &Spans, void: &[Range<u64>], again: &[Block], file: &File) -> io::Result<()> {
    let mut again: Vec<(u64, u64)> = again.iter().map(|block| (block.offset, block.offset + block.len)).collect();
    again.sort_unstable();
    for range in void {
        for (range, offset) in spans.parts(range.clone()) {
            let Some(offset) = offset else { continue };
            let end = offset + (range.end - range.start);
            let mut at = offset;
            let first = again.partition_point(|block| block.1 <= offset);
            for block in again.get(first..).unwrap_or_default().iter().take_while(|block| block.0 < end) {
                punch(file, at, block.0.saturating_sub(at))?;
                at = at.max(block.1);
            }
            punch(file, at, end.saturating_sub(at))?;
        }
    }
    Ok(())
}

/// Makes a hole, or zeros where the file system has none.
fn punch(file: &File, offset: u64, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    if len == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len) {
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let zeros = vec![0; copy::BLOCK as usize];
            let mut at = offset;
            while let Some(part) = zeros.get(..(offset + len - at).min(copy::BLOCK) as usize).filter(|p| !p.is_empty())
            {
                file.write_all_at(part, at)?;
                at += part.len() as u64;
            }
            Ok(())
        }
        other => Ok(other?),
    }
}

/// Gives untouched memory between touched a place, too, unless it is much: there the file has a hole.
fn place_holes(pieces: &[Piece], spans: &mut Spans) {
    for piece in pieces.iter().filter(|piece| piece.stored > 0) {
        for (range, offset) in spans.parts(piece.start..piece.start + piece.stored) {
            if offset.is_none() && range.end - range.start < LARGE_GAP {
                spans.place(range, &mut |_| {});
            }
        }
    }
}

/// Pieces as their memory lies in the file: those parts that have a place are stored, the others were never touched.
/// With each, its offset.
fn by_spans(pieces: Vec<Piece>, spans: &Spans) -> (Vec<Piece>, Vec<u64>) {
    let (mut out, mut offsets) = (Vec::new(), Vec::new());
    // Folklore: elfutils takes a segment without bytes for the end of its module if its offset is not where the one before
    // ended (the kernel counts offsets on).
    let mut next = spans.start();
    for piece in pieces {
        let stored_end = piece.start + piece.stored;
        if piece.stored == 0 {
            out.push(piece);
            offsets.push(next);
            continue;
        }
        for (range, offset) in spans.parts(piece.start..stored_end) {
            let source = if offset.is_some() { Source::All } else { Source::Untouched };
            let place = offset.unwrap_or(next);
            if offset.is_some() {
                next = place + (range.end - range.start);
            }
            out.push(Piece::new(range, piece.permissions, source));
            offsets.push(place);
        }
        // The rest of a mapping of which only the first page is kept.
        if let Some(last) = out.last_mut().filter(|_| stored_end < piece.end) {
            last.end = piece.end;
        }
    }
    (out, offsets)
}

/// Reads blocks into a buffer, many with one call; gives what could not be read.
fn read_batches(pid: i32, reader: &Reader, blocks: &[Block], buffer: &mut [u8]) -> Vec<String> {
    let mut unreadable = Unreadable::default();
    let mut rest = buffer;
    for batch in blocks.chunks(BATCH) {
        let len: u64 = batch.iter().map(|block| block.len).sum();
        let Some((part, after)) = std::mem::take(&mut rest).split_at_mut_checked(len as usize) else { break };
        rest = after;
        let ranges: Vec<(u64, usize)> = batch.iter().map(|block| (block.at, block.len as usize)).collect();
        if sys::tracee::read_batch(pid, &ranges, part).ok() == Some(len as usize) {
            continue;
        }
        // A page among them cannot be read: one block after the other.
        let mut part = part;
        for block in batch {
            let Some((one, after)) = std::mem::take(&mut part).split_at_mut_checked(block.len as usize) else { break };
            part = after;
            let read = read_through(reader, block.at, one, sys::page_size(), |range| unreadable.add(range));
            if read.is_err() {
                unreadable.add(block.at..block.at + block.len);
            }
        }
    }
    unreadable.lines()
}

/// Bytes between two places of a file that are no holes.
fn data_bytes(file: &File, from: u64, end: u64) -> u64 {
    use rustix::fs::{SeekFrom, seek};
    let (mut at, mut bytes) = (from, 0);
    while at < end {
        let Ok(data) = seek(file, SeekFrom::Data(at)) else { break };
        let hole = seek(file, SeekFrom::Hole(data)).unwrap_or(end).min(end);
        bytes += hole.saturating_sub(data);
        at = hole.max(data + 1);
    }
    bytes
}

/// Memory that lies in a file for the time being.
struct Spooled<'a> {
    file: &'a File,
    /// In ascending order, with their places.
    pieces: &'a [Piece],
}

impl Bytes for Spooled<'_> {
    fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let next = self.pieces.partition_point(|piece| piece.start <= at);
        let piece = next.checked_sub(1).and_then(|index| self.pieces.get(index));
        let Some(Piece { start, stored, source: Source::File { offset, .. }, .. }) = piece else { return Ok(0) };
        let len = (buf.len() as u64).min((start + stored).saturating_sub(at)) as usize;
        let Some(part) = buf.get_mut(..len) else { return Ok(0) };
        self.file.read_exact_at(part, offset + (at - start))?;
        Ok(len)
    }
}
