//! kdump-compressed files: pages packed by all processors, written by one.
//!
//! *What it is*: version 6 of the format, as makedumpfile writes it: header, sub-header, notes, two bitmaps, descriptors,
//! pages. Pages of zeros share one.
//!
//! *Trap*: a page that turns out unreadable must not be in the second bitmap, which stands before the pages. So the
//! bitmap is written last; a pipe gets it last, too, in the flattened form.

use super::jobs::{self, Job, Jobs};
use super::place::{Place, Stream};
use super::{Codec, Options, Tally, Writing};
use crate::machine::SystemName;
use crate::system::kdump::{flag, lzo};
use crate::system::vmcoreinfo;
use crate::write::WriteError;
use crate::write::layout::is_zero;
use crate::write::pen::Pen;
use crate::{Absence, Arch, Endian, Phys, system};
use std::io;
use std::ops::Range;

/// Pages that a job has at most: a mebibyte of 4 KiB pages.
const JOB: u64 = 1 << 20;
const DESCRIPTOR: u64 = 24;
const SUB_HEADER: usize = 104;

/// Writes the whole file.
pub(super) fn write(
    writing: &Writing<'_>,
    mut place: Place<'_>,
    codec: Codec,
    options: &Options,
) -> Result<Tally, WriteError> {
    let refused = |source| WriteError::Output { what: "the dump", source };
    let page = writing.page;
    let plan = Plan::of(writing);
    let notes = writing.notes.clone();
    // Blocks of the sub-header: itself and the notes behind it.
    let sub_blocks = 1 + (notes.len() as u64).div_ceil(page);
    let bitmap_at = (1 + sub_blocks) * page;
    let half = (plan.end.div_ceil(8)).next_multiple_of(page).max(page);
    let descriptors_at = bitmap_at + 2 * half;
    let data_at = descriptors_at + plan.held * DESCRIPTOR;

    let head = header(writing, &plan, codec, sub_blocks, 2 * half / page, page);
    place.put(0, &head).map_err(refused)?;
    place.put(page, &sub_header(writing, &plan, &notes, 2 * page)).map_err(refused)?;
    place.put(2 * page, &notes).map_err(refused)?;
    let mut exist = Bits::new(bitmap_at, half);
    let mut at = Phys(0);
    while let Some(extent) = writing.memory().next(at).filter(|extent| extent.end > at) {
        let pages = extent.start.max(at).0 / page..extent.end.0.div_ceil(page);
        exist.set(pages, &mut place).map_err(refused)?;
        at = extent.end;
    }
    exist.finish(&mut place).map_err(refused)?;

    let mut out = Output {
        held: Bits::new(bitmap_at + half, half),
        descriptors: Stream::new(descriptors_at, 96 << 10),
        data: Stream::new(data_at, 1 << 20),
        zero: None,
        page,
    };
    let mut tally = Tally::new(writing);
    let result = jobs::run(
        Jobs::new(writing.memory(), JOB.max(page), page),
        options.threads,
        || {
            let mut packer = Packer::new(codec, page);
            move |job: &Job| packer.pack(writing, job)
        },
        |_, packed: Packed| {
            out.take(&packed, &mut place)?;
            tally.add(packed.read, packed.digest, packed.bad);
            tally.parts += packed.parts;
            Ok(())
        },
    );
    result.map_err(refused)?;
    out.held.finish(&mut place).map_err(refused)?;
    out.descriptors.flush(&mut place).map_err(refused)?;
    out.data.flush(&mut place).map_err(refused)?;
    let len = out.data.position();
    place.end(len).map_err(refused)?;
    tally.file_size = len;
    Ok(tally)
}

/// What is known before a page is read.
struct Plan {
    /// First page number behind all.
    end: u64,
    /// Pages that are to be written.
    held: u64,
}

impl Plan {
    fn of(writing: &Writing<'_>) -> Self {
        let mut plan = Self { end: 0, held: 0 };
        let mut at = Phys(0);
        let mut last = 0;
        while let Some(extent) = writing.memory().next(at).filter(|extent| extent.end > at) {
            let end = extent.end.0.div_ceil(writing.page);
            if extent.absent.is_none() {
                let start = (extent.start.max(at).0 / writing.page).max(last);
                plan.held += end.saturating_sub(start);
                last = last.max(end);
            }
            plan.end = plan.end.max(end);
            at = extent.end;
        }
        plan
    }
}

/// A bitmap that is written from its front to its end.
struct Bits {
    at: u64,
    left: u64,
    block: Vec<u8>,
    first: u64,
}

impl Bits {
    const BLOCK: u64 = 64 << 10;

    fn new(at: u64, len: u64) -> Self {
        Self { at, left: len, block: vec![0; Self::BLOCK.min(len) as usize], first: 0 }
    }

    /// Sets bits at or behind all that were set before.
    fn set(&mut self, bits: Range<u64>, place: &mut Place<'_>) -> io::Result<()> {
        let mut at = bits.start.max(self.first);
        while at < bits.end {
            while at >= self.first + 8 * self.block.len() as u64 {
                if self.block.is_empty() {
                    return Ok(());
                }
                self.next(place)?;
            }
            let bit = at - self.first;
            let whole = bit.is_multiple_of(8) && at + 8 <= bits.end;
            let Some(byte) = self.block.get_mut((bit / 8) as usize) else { return Ok(()) };
            if whole {
                *byte = 0xff;
                at += 8;
            } else {
                *byte |= 1 << (bit % 8);
                at += 1;
            }
        }
        Ok(())
    }

    fn next(&mut self, place: &mut Place<'_>) -> io::Result<()> {
        place.put(self.at, &self.block)?;
        let len = self.block.len() as u64;
        (self.at, self.left, self.first) = (self.at + len, self.left - len, self.first + 8 * len);
        self.block.truncate(self.left.min(Self::BLOCK) as usize);
        self.block.fill(0);
        Ok(())
    }

    fn finish(mut self, place: &mut Place<'_>) -> io::Result<()> {
        while !self.block.is_empty() {
            self.next(place)?;
        }
        Ok(())
    }
}

/// The three streams of the file behind its headers.
struct Output {
    held: Bits,
    descriptors: Stream,
    data: Stream,
    /// Where the page of zeros lies, once there is one.
    zero: Option<u64>,
    page: u64,
}

impl Output {
    fn take(&mut self, packed: &Packed, place: &mut Place<'_>) -> io::Result<()> {
        let mut from = 0;
        for entry in &packed.pages {
            let (offset, size) = match entry.size {
                0 => {
                    let offset = match self.zero {
                        Some(offset) => offset,
                        None => {
                            let offset = self.data.position();
                            self.data.put(place, &vec![0; self.page as usize])?;
                            self.zero = Some(offset);
                            offset
                        }
                    };
                    (offset, self.page as u32)
                }
                size => {
                    let offset = self.data.position();
                    let end = from + size as usize;
                    self.data.put(place, packed.bytes.get(from..end).unwrap_or_default())?;
                    from = end;
                    (offset, size)
                }
            };
            self.held.set(entry.number..entry.number + 1, place)?;
            let mut pen = [0; DESCRIPTOR as usize];
            for (to, byte) in pen
                .iter_mut()
                .zip(offset.to_le_bytes().into_iter().chain(size.to_le_bytes()).chain(entry.flags.to_le_bytes()))
            {
                *to = byte;
            }
            self.descriptors.put(place, &pen)?;
        }
        Ok(())
    }
}

/// A page as it goes into the file; size 0 is the page of zeros.
struct Entry {
    number: u64,
    size: u32,
    flags: u32,
}

/// A job's pages, packed.
struct Packed {
    pages: Vec<Entry>,
    bytes: Vec<u8>,
    read: u64,
    /// Bytes that are there, in pages that are not.
    parts: u64,
    digest: u128,
    bad: Vec<(Range<u64>, Absence)>,
}

/// One thread's packer.
struct Packer {
    codec: Codec,
    page: usize,
    buffer: Vec<u8>,
    packed: Vec<u8>,
    lzo: Option<lzo::Packer>,
    snappy: Option<snap::raw::Encoder>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    zlib: Option<flate2::Compress>,
}

impl Packer {
    fn new(codec: Codec, page: u64) -> Self {
        let page = page as usize;
        Self {
            codec,
            page,
            buffer: Vec::new(),
            packed: vec![0; 2 * page + 1024],
            lzo: (codec == Codec::Lzo).then(lzo::Packer::new),
            snappy: (codec == Codec::Snappy).then(snap::raw::Encoder::new),
            zstd: if codec == Codec::Zstd { zstd::bulk::Compressor::new(1).ok() } else { None },
            zlib: (codec == Codec::Zlib).then(|| flate2::Compress::new(flate2::Compression::fast(), true)),
        }
    }

    fn pack(&mut self, writing: &Writing<'_>, job: &Job) -> Packed {
        let read = jobs::read(writing.memory(), job, writing.page, std::mem::take(&mut self.buffer));
        let bad = read.bad;
        let mut out = Packed { pages: Vec::new(), bytes: Vec::new(), read: 0, parts: 0, digest: 0, bad };
        let (unit, size) = (writing.page, self.page);
        let numbers = job.pieces.iter().flat_map(|piece| piece.start / unit..piece.end.div_ceil(unit));
        for (number, page) in numbers.zip(read.bytes.chunks(size)) {
            let start = number * unit;
            if out.bad.iter().any(|(range, _)| range.start < start + unit && range.end > start) {
                let missing: u64 = out
                    .bad
                    .iter()
                    .map(|(range, _)| range.end.min(start + unit).saturating_sub(range.start.max(start)))
                    .sum();
                out.parts += unit - missing;
                continue;
            }
            out.read += page.len() as u64;
            out.digest = out.digest.wrapping_add(writing.digest(start, page));
            let (size, flags) = if is_zero(page) {
                (0, 0)
            } else {
                match self.pack_page(page) {
                    Some((bytes, flags)) => {
                        out.bytes.extend_from_slice(bytes);
                        (bytes.len() as u32, flags)
                    }
                    None => {
                        out.bytes.extend_from_slice(page);
                        (page.len() as u32, 0)
                    }
                }
            };
            out.pages.push(Entry { number, size, flags });
        }
        self.buffer = read.bytes;
        out
    }

    /// The packed page, if it is smaller.
    fn pack_page(&mut self, page: &[u8]) -> Option<(&[u8], u32)> {
        let most = page.len();
        let (len, flags) = match self.codec {
            Codec::None => return None,
            Codec::Lzo => (self.lzo.as_mut()?.pack(page, &mut self.packed, most)?, flag::LZO),
            Codec::Snappy => {
                let room = snap::raw::max_compress_len(page.len());
                if self.packed.len() < room {
                    self.packed.resize(room, 0);
                }
                (self.snappy.as_mut()?.compress(page, &mut self.packed).ok()?, flag::SNAPPY)
            }
            Codec::Zstd => (self.zstd.as_mut()?.compress_to_buffer(page, &mut self.packed).ok()?, flag::ZSTD),
            Codec::Zlib => {
                let deflate = self.zlib.as_mut()?;
                deflate.reset();
                // Room for less than the page only: what does not fit is not wanted.
                let room = self.packed.get_mut(..most)?;
                let status = deflate.compress(page, room, flate2::FlushCompress::Finish).ok()?;
                if status != flate2::Status::StreamEnd {
                    return None;
                }
                (deflate.total_out() as usize, flag::ZLIB)
            }
        };
        if len >= most {
            return None;
        }
        Some((self.packed.get(..len)?, flags))
    }
}

fn text(pen: &mut Pen, text: &str, size: usize) {
    let mut bytes = vec![0; size];
    for (to, from) in bytes.iter_mut().zip(text.bytes().take(size - 1)) {
        *to = from;
    }
    pen.bytes(&bytes);
}

/// Block 0 (`disk_dump_header` of a 64-bit machine).
fn header(writing: &Writing<'_>, plan: &Plan, codec: Codec, sub_blocks: u64, bitmap_blocks: u64, page: u64) -> Vec<u8> {
    let dump = writing.dump;
    let name = system_name(writing);
    let status = match codec {
        Codec::Zlib => flag::ZLIB,
        Codec::Lzo => flag::LZO,
        Codec::Snappy => flag::SNAPPY,
        Codec::Zstd => flag::ZSTD,
        Codec::None => 0,
    };
    let incomplete = if dump.missing_bytes > 0 { flag::INCOMPLETE } else { 0 };
    let machine = dump.machine.as_deref();
    let mut pen = Pen::new(Endian::Little);
    pen.bytes(b"KDUMP   ");
    pen.u32(6);
    for field in [&name.system, &name.node, &name.release, &name.version, &name.machine] {
        text(&mut pen, field, 65);
    }
    text(&mut pen, "(none)", 65);
    pen.align(8);
    pen.u64(dump.time.unwrap_or(0).max(0) as u64);
    pen.u64(0);
    pen.u32(status | incomplete);
    pen.u32(page as u32);
    pen.u32(sub_blocks as u32);
    pen.u32(bitmap_blocks as u32);
    pen.u32(plan.end.min(u64::from(u32::MAX)) as u32);
    pen.u32(0); // total_ram_blocks
    pen.u32(0); // device_blocks
    pen.u32(0); // written_blocks
    pen.u32(0); // current_cpu
    pen.u32(machine.map_or(0, |machine| machine.cpus.len() as u32));
    pen.done()
}

/// `kdump_sub_header` of a 64-bit machine.
fn sub_header(writing: &Writing<'_>, plan: &Plan, notes: &[u8], notes_at: u64) -> Vec<u8> {
    let machine = writing.dump.machine.as_deref();
    let info = writing.vmcoreinfo.as_deref();
    let phys_base = info.and_then(|text| vmcoreinfo::value(text, "NUMBER(phys_base)")?.parse::<i64>().ok());
    // The text of VMCOREINFO lies in its note.
    let (at, len) = match info.and_then(|text| Some((find(notes, text.as_bytes())?, text.len()))) {
        Some((at, len)) => (notes_at + at as u64, len as u64),
        None => (0, 0),
    };
    let mut pen = Pen::new(Endian::Little);
    pen.u64(phys_base.unwrap_or(0) as u64);
    pen.u32(machine.and_then(|machine| machine.dump_level).unwrap_or(0));
    pen.u32(0); // split
    pen.u64(0);
    pen.u64(0);
    pen.u64(at);
    pen.u64(len);
    pen.u64(if notes.is_empty() { 0 } else { notes_at });
    pen.u64(notes.len() as u64);
    pen.u64(0);
    pen.u64(0);
    pen.u64(0);
    pen.u64(0);
    pen.u64(plan.end);
    let bytes = pen.done();
    debug_assert_eq!(bytes.len(), SUB_HEADER);
    bytes
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

/// What `uname` said, or as much of it as is known.
fn system_name(writing: &Writing<'_>) -> SystemName {
    let dump = writing.dump;
    let own = dump.machine.as_ref().and_then(|machine| machine.name.clone());
    let found = || system::system_name(writing.memory(), writing.arch, writing.vmcoreinfo.as_deref()?);
    own.or_else(found).unwrap_or_else(|| SystemName {
        system: "Linux".to_owned(),
        release: dump.os_version.clone().unwrap_or_default(),
        machine: match writing.arch {
            Arch::Other(_) => String::new(),
            arch => arch.to_string(),
        },
        ..SystemName::default()
    })
}
