//! Pages of a kdump-compressed file by their physical address.
//!
//! *Trap*: descriptors are numbered by the set bits of the second bitmap, and each file of a split set numbers its own
//! window from 0.

use super::header::{DESCRIPTOR, Header, flag};
use super::lzo;
use crate::bytes::Fields;
use crate::machine::{PhysMemory, collect_extents};
use crate::source::{SharedSource, read_vec};
use crate::system::BlockCache;
use crate::system::ranks::Bitmap;
use crate::{Absence, Endian, Extent, Fault, Memory, Phys};
use std::cell::RefCell;

/// Bytes of unpacked pages that are kept for reads of parts of a page.
const CACHE: usize = 8 << 20;
/// Ranges that [`Memory::extents`] gives at most.
const MAX_EXTENTS: usize = 1 << 18;

/// One file: all there is, or one of a split set.
pub(super) struct Part {
    source: SharedSource,
    /// Pages that exist, and pages that are held.
    exist: Bitmap,
    held: Bitmap,
    descriptors: u64,
    /// Page numbers of its window.
    start: u64,
    end: u64,
    /// Held pages before the window.
    first: u64,
}

impl Part {
    pub(super) fn new(source: SharedSource, header: &Header) -> Self {
        let bits = header.max_pfn.min(header.bitmap_len().saturating_mul(8));
        let exist = Bitmap::new(source.clone(), header.bitmap(), bits);
        let held = Bitmap::new(source.clone(), header.bitmap().saturating_add(header.bitmap_len()), bits);
        let (start, end) = header.split.unwrap_or((0, u64::MAX));
        let first = if start == 0 { 0 } else { held.rank(start) };
        Self { exist, held, descriptors: header.descriptors(), start, end, first, source }
    }

    fn descriptor_at(&self, page: u64) -> u64 {
        let index = self.held.rank(page).saturating_sub(self.first);
        self.descriptors.saturating_add(index.saturating_mul(DESCRIPTOR))
    }

    /// Bytes of the file that its last page needs, if that can be told without reading gigabytes of bitmap.
    pub(super) fn promised_length(&self, endian: Endian) -> Option<u64> {
        const MOST: u64 = 64 << 23;
        if self.held.len() > MOST {
            return None;
        }
        let count = self.held.rank(self.end).saturating_sub(self.first);
        let end = self.descriptors.saturating_add(count.saturating_mul(DESCRIPTOR));
        if count == 0 || end > self.source.len() {
            return Some(end);
        }
        let bytes = read_vec(&*self.source, end - DESCRIPTOR, DESCRIPTOR as usize).ok()?;
        let fields = Fields::new(&bytes, endian);
        Some(end.max(fields.u64(0)?.saturating_add(u64::from(fields.u32(8)?))))
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

    /// Reads a whole page.
    fn read_page(&self, page: u64, out: &mut [u8]) -> Result<(), Absence> {
        let io = |error: std::io::Error| Absence::Io(error.kind());
        let Some(part) = self.part(page) else {
            // Of a split set whose other files are not here, the bitmaps are: each has all of them.
            let exists = self.parts.iter().any(|part| part.exist.get(page));
            return Err(if exists { Absence::NotInDump } else { Absence::NotMapped });
        };
        if !part.held.get(page) {
            if self.zeros && part.exist.get(page) {
                out.fill(0);
                return Ok(());
            }
            return Err(if part.exist.get(page) { Absence::NotInDump } else { Absence::NotMapped });
        }
        let mut descriptor = [0; DESCRIPTOR as usize];
        let at = part.descriptor_at(page);
        if part.source.read_at(at, &mut descriptor).map_err(io)? < descriptor.len() {
            return Err(Absence::Truncated);
        }
        let fields = Fields::new(&descriptor, self.endian);
        let (Some(offset), Some(size), Some(flags)) = (fields.u64(0), fields.u32(8), fields.u32(12)) else {
            return Err(Absence::Corrupt);
        };
        let size = size as usize;
        if offset.saturating_add(size as u64) > part.source.len() {
            return Err(Absence::Truncated);
        }
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
            let (held, is_held) = any.held.run(page)?;
            if is_held {
                let next = self.parts.partition_point(|part| part.start <= page);
                let part = next.checked_sub(1).and_then(|i| self.parts.get(i)).filter(|part| page < part.end);
                let limit = match part {
                    Some(part) => part.end,
                    None => self.parts.get(next).map_or(u64::MAX, |part| part.start),
                };
                let end = held.end.min(limit);
                return extent(page..end, part.is_none().then_some(Absence::NotInDump));
            }
            let (exist, exists) = any.exist.run(page)?;
            let end = held.end.min(exist.end);
            if exists {
                return extent(page..end, (!self.zeros).then_some(Absence::NotInDump));
            }
            page = end;
        }
    }
}
