//! Pages of a kdump-compressed file by their physical address.
//!
//! *Trap*: descriptors are numbered by the set bits of the second bitmap, and each file of a split set numbers its own
//! window from 0.

use super::cut::{Cut, Descriptors, is_lost};
use super::header::{DESCRIPTOR, Header, flag};
use super::lzo;
use crate::bytes::Fields;
use crate::machine::{PhysMemory, collect_extents};
use crate::source::SharedSource;
use crate::system::BlockCache;
use crate::system::ranks::Bitmap;
use crate::{Absence, Endian, Extent, Fault, Memory, Phys};
use std::cell::RefCell;

/// Bytes of unpacked pages that are kept for reads of parts of a page.
const CACHE: usize = 8 << 20;
/// Ranges that [`Memory::extents`] gives at most.
const MAX_EXTENTS: usize = 1 << 18;

/// Bits of a bitmap that are counted when a file is opened: of 2 TiB of memory, 64 MiB.
const COUNTED: u64 = 64 << 23;

/// One file: all there is, or one of a split set.
pub(super) struct Part {
    source: SharedSource,
    /// Pages that exist, and pages that are held.
    exist: Bitmap,
    held: Bitmap,
    descriptors: Descriptors,
    /// Page numbers of its window.
    start: u64,
    end: u64,
    /// Held pages before the window.
    first: u64,
    /// What is lost of it, as far as that can be told without reading gigabytes of bitmap.
    cut: Option<Cut>,
    /// Bytes that are missing before the first descriptor.
    no_map: u64,
}

impl Part {
    pub(super) fn new(source: SharedSource, header: &Header) -> Self {
        let bits = header.max_pfn.min(header.bitmap_len().saturating_mul(8));
        let exist = Bitmap::new(source.clone(), header.bitmap(), bits);
        let held = Bitmap::new(source.clone(), header.bitmap().saturating_add(header.bitmap_len()), bits);
        let (start, end) = header.split.unwrap_or((0, u64::MAX));
        let first = if start == 0 { 0 } else { held.rank(start) };
        let countable = held.len() <= COUNTED;
        let count = if countable { held.rank(end).saturating_sub(first) } else { u64::MAX };
        let (endian, at) = (header.endian, header.descriptors());
        let descriptors = Descriptors { source: source.clone(), endian, at, count };
        let cut = if countable { descriptors.cut() } else { None };
        let no_map = at.saturating_sub(source.len());
        Self { exist, held, descriptors, start, end, first, cut, no_map, source }
    }

    /// How many descriptors come before that of a held page.
    fn index(&self, page: u64) -> u64 {
        self.held.rank(page).saturating_sub(self.first)
    }

    /// The page of a descriptor.
    fn page_of(&self, index: u64) -> u64 {
        let (mut low, mut high) = (self.start, self.end.min(self.held.len()).max(self.start));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.index(middle + 1) > index {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// What is lost because the file is cut off: bytes of memory, and what to say.
    pub(super) fn lost(&self, page: u64) -> Option<(u64, String)> {
        let cut = self.cut.filter(|cut| cut.lost > 0);
        let missing = cut.map_or(0, |cut| cut.lost.saturating_mul(page)).max(self.no_map);
        if missing == 0 {
            return None;
        }
        let least = if self.no_map > 0 || cut.is_some_and(|cut| !cut.counted) { "at least " } else { "" };
        let pages = cut.map(|cut| {
            let at = self.page_of(cut.first).saturating_mul(page);
            let what = if cut.lost == 1 { "page is" } else { "pages are" };
            format!("{least}{} {what} lost, {missing} bytes of memory, the first at physical address {at:#x}", cut.lost)
        });
        let map = (self.no_map > 0).then(|| "what pages it had is not known in full".to_owned());
        let what: Vec<String> = pages.into_iter().chain(map).collect();
        Some((missing, format!("the file is cut off: {}", what.join("; "))))
    }

    /// How long a run of held pages can be read, or cannot, from its first page on.
    fn readable(&self, page: u64, pages: u64) -> (u64, bool) {
        let Some(cut) = self.cut else { return (pages, true) };
        let index = self.index(page);
        if index < cut.first {
            return (pages.min(cut.first - index), true);
        }
        let (length, lost) = self.descriptors.run(index, pages);
        (length.clamp(1, pages.max(1)), !lost)
    }
}

/// Physical memory out of one or more files.
pub(super) struct KdumpMemory {
    parts: Vec<Part>,
    page: u64,
    endian: Endian,
    /// Pages that exist and are not held were all zeros: nothing else was left out.
    zeros: bool,
    cache: BlockCache,
}

thread_local! {
    static ZLIB: RefCell<flate2::Decompress> = RefCell::new(flate2::Decompress::new(true));
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = RefCell::new(zstd::bulk::Decompressor::new().ok());
}

/// Unpacks a page; `None` if it is damaged or does not fill the page.
fn unpack(packed: &[u8], flags: u32, page: &mut [u8]) -> Option<()> {
    let len = match flags & flag::PACKED {
        flag::ZLIB => ZLIB.with_borrow_mut(|inflate| {
            inflate.reset(true);
            let status = inflate.decompress(packed, page, flate2::FlushDecompress::Finish).ok()?;
            // Without its end the sum over the page has not been checked.
            (status == flate2::Status::StreamEnd).then(|| usize::try_from(inflate.total_out()).ok())?
        })?,
        flag::LZO => lzo::unpack(packed, page).ok()?,
        flag::SNAPPY => snap::raw::Decoder::new().decompress(packed, page).ok()?,
        flag::ZSTD => ZSTD.with_borrow_mut(|zstd| zstd.as_mut()?.decompress_to_buffer(packed, page).ok())?,
        _ => return None,
    };
    (len == page.len()).then_some(())
}

impl KdumpMemory {
    pub(super) fn new(mut parts: Vec<Part>, header: &Header) -> Self {
        parts.sort_by_key(|part| part.start);
        let zeros = header.dump_level == Some(1) && header.split.is_none();
        Self { parts, page: header.block, endian: header.endian, zeros, cache: BlockCache::new(CACHE) }
    }

    fn part(&self, page: u64) -> Option<&Part> {
        let next = self.parts.partition_point(|part| part.start <= page);
        self.parts.get(next.checked_sub(1)?).filter(|part| page < part.end)
    }

    /// Why a page that exists has no descriptor; `None` if it was all zeros.
    fn left_out(&self, part: &Part, page: u64) -> Option<Absence> {
        if part.no_map > 0 && page >= part.held.len() {
            // The bitmap that would say more is not there.
            return Some(Absence::Truncated);
        }
        (!self.zeros).then_some(Absence::NotInDump)
    }

    /// Reads a whole page.
    fn read_page(&self, page: u64, out: &mut [u8]) -> Result<(), Absence> {
        let io = |error: std::io::Error| Absence::Io(error.kind());
        let Some(part) = self.part(page) else {
            // Of a split set whose other files are not here, the bitmaps are: each has all of them.
            let exists = self.parts.iter().any(|part| part.exist.get(page));
            return Err(if exists { Absence::NotInDump } else { Absence::NotMapped });
        };
        if !part.held.get(page) {
            return match self.left_out(part, page) {
                _ if !part.exist.get(page) => Err(Absence::NotMapped),
                None => {
                    out.fill(0);
                    Ok(())
                }
                Some(why) => Err(why),
            };
        }
        let mut descriptor = [0; DESCRIPTOR as usize];
        let at = part.descriptors.at.saturating_add(part.index(page).saturating_mul(DESCRIPTOR));
        if part.source.read_at(at, &mut descriptor).map_err(io)? < descriptor.len() {
            return Err(Absence::Truncated);
        }
        let fields = Fields::new(&descriptor, self.endian);
        let (Some(offset), Some(size), Some(flags)) = (fields.u64(0), fields.u32(8), fields.u32(12)) else {
            return Err(Absence::Corrupt);
        };
        if is_lost(offset, u64::from(size), part.source.len()) {
            return Err(Absence::Truncated);
        }
        let size = size as usize;
        if size > out.len() || size == 0 {
            return Err(Absence::Corrupt);
        }
        if flags & flag::PACKED == 0 {
            if size != out.len() {
                return Err(Absence::Corrupt);
            }
            let got = part.source.read_at(offset, out).map_err(io)?;
            return if got == out.len() { Ok(()) } else { Err(Absence::Truncated) };
        }
        let mut packed = [0; 4096];
        let mut long = Vec::new();
        let packed = match packed.get_mut(..size) {
            Some(packed) => packed,
            None => {
                long.resize(size, 0);
                long.as_mut_slice()
            }
        };
        if part.source.read_at(offset, packed).map_err(io)? < size {
            return Err(Absence::Truncated);
        }
        unpack(packed, flags, out).ok_or(Absence::Corrupt)
    }
}

impl Memory<Phys> for KdumpMemory {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        if buf.is_empty() {
            return Ok(0);
        }
        let (page, skip) = (at.0 / self.page, (at.0 % self.page) as usize);
        let fault = |why| Fault { at, why };
        if skip == 0
            && let Some(whole) = buf.get_mut(..self.page as usize)
        {
            return self.read_page(page, whole).map(|()| whole.len()).map_err(fault);
        }
        let bytes = self.cache.get(page, || {
            let mut bytes = vec![0; self.page as usize];
            self.read_page(page, &mut bytes).map(|()| bytes)
        });
        let bytes = bytes.map_err(fault)?;
        let from = bytes.get(skip..).unwrap_or_default();
        let len = from.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), from.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        collect_extents(self, MAX_EXTENTS)
    }
}

impl PhysMemory for KdumpMemory {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        let mut page = at.0 / self.page;
        // Bitmaps are the same in all parts.
        let any = self.parts.first()?;
        loop {
            let extent = |range: std::ops::Range<u64>, absent| {
                let place = |page: u64| Phys(page.saturating_mul(self.page));
                Some(Extent { start: place(range.start), end: place(range.end), absent })
            };
            // Of a file that is cut off in the middle of its bitmaps, the first one is longer.
            let (held, is_held) = any.held.run(page).unwrap_or((page..u64::MAX, false));
            if is_held {
                let next = self.parts.partition_point(|part| part.start <= page);
                let part = next.checked_sub(1).and_then(|i| self.parts.get(i)).filter(|part| page < part.end);
                let limit = match part {
                    Some(part) => part.end,
                    None => self.parts.get(next).map_or(u64::MAX, |part| part.start),
                };
                let end = held.end.min(limit);
                let Some(part) = part else { return extent(page..end, Some(Absence::NotInDump)) };
                let (pages, there) = part.readable(page, end.saturating_sub(page));
                return extent(page..page.saturating_add(pages), (!there).then_some(Absence::Truncated));
            }
            let (exist, exists) = any.exist.run(page)?;
            let end = held.end.min(exist.end);
            if exists {
                return extent(page..end, self.left_out(any, page));
            }
            page = end;
        }
    }
}
