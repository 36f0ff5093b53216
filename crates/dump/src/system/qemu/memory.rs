//! A guest's memory by physical address, out of a stream or of fixed places.

use super::blocks::Mapped;
use super::layout::Piece;
use super::stream::{Index, Odd, Walker};
use super::xbzrle;
use crate::Phys;
use crate::machine::{PhysMemory, collect_extents};
use crate::memory::{Absence, Extent, Fault, Memory};
use crate::source::{SharedSource, read_vec};
use crate::system::BlockCache;
use crate::system::ranks::Bitmap;
use std::io::Read;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Unpacked pages that are kept.
const CACHE: usize = 4 << 20;
/// Extents that [`Memory::extents`] lists.
const MOST_EXTENTS: usize = 1 << 20;

/// Where the pages are.
pub(super) enum Store {
    /// Records one behind the other; looked through to the end when the first page is asked for.
    Stream(Box<Stream>),
    /// Fixed places, by block.
    Mapped(Vec<Option<(Mapped, Bitmap)>>),
}

/// A stream and its index.
pub(super) struct Stream {
    index: OnceLock<Index>,
    walker: Mutex<Option<Walker>>,
}

impl Stream {
    pub(super) fn new(walker: Walker) -> Self {
        Self { index: OnceLock::new(), walker: Mutex::new(Some(walker)) }
    }

    pub(super) fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let walker = self.walker.lock().unwrap_or_else(PoisonError::into_inner).take();
            walker.map(Walker::finish).unwrap_or_default()
        })
    }
}

/// The memory.
pub(super) struct QemuMemory {
    pub(super) source: SharedSource,
    pub(super) page_size: u64,
    /// In ascending order, without overlap.
    pub(super) pieces: Vec<Piece>,
    pub(super) store: Store,
    pub(super) cache: BlockCache,
}

impl QemuMemory {
    pub(super) fn new(source: SharedSource, page_size: u64, pieces: Vec<Piece>, store: Store) -> Self {
        Self { source, page_size, pieces, store, cache: BlockCache::new(CACHE) }
    }

    fn piece(&self, at: u64) -> Option<&Piece> {
        let next = self.pieces.partition_point(|piece| piece.end <= at);
        self.pieces.get(next)
    }

    /// Copies file content; what the file does not have is cut off.
    fn file(&self, at: u64, buf: &mut [u8]) -> Result<usize, Absence> {
        match self.source.read_at(at, buf) {
            Ok(0) => Err(Absence::Truncated),
            Ok(got) => Ok(got),
            Err(e) => Err(Absence::Io(e.kind())),
        }
    }

    fn stream_read(&self, index: &Index, block: usize, offset: u64, buf: &mut [u8]) -> Result<usize, Absence> {
        let (page, into) = (offset / self.page_size, offset % self.page_size);
        let missing = why_missing(index);
        let pages = index.blocks.get(block).ok_or(missing)?;
        if pages.odd.contains_key(&page) {
            let key = (block as u64) << 48 | page;
            let whole = self.cache.get(key, || self.odd_page(index, block, page))?;
            let from = whole.get(into as usize..).unwrap_or_default();
            let len = from.len().min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..len), from.get(..len)) {
                to.copy_from_slice(from);
            }
            return Ok(len);
        }
        let (place, record) = pages.stretches.find(page).ok_or(missing)?;
        match place.data(record, self.page_size) {
            (at, true) => self.file(at.saturating_add(into), buf),
            (at, false) => {
                let mut fill = [0];
                self.file(at, &mut fill)?;
                buf.fill(fill[0]);
                Ok(buf.len())
            }
        }
    }

    /// A page that must be unpacked or put together.
    fn odd_page(&self, index: &Index, block: usize, page: u64) -> Result<Vec<u8>, Absence> {
        let pages = index.blocks.get(block).ok_or(Absence::Corrupt)?;
        let mut whole = vec![0; self.page_size as usize];
        match pages.odd.get(&page).ok_or(Absence::Corrupt)? {
            Odd::Zlib(at) => {
                let packed = self.sized(*at, 4)?;
                let mut decoder = flate2::read::ZlibDecoder::new(&*packed);
                decoder.read_exact(&mut whole).map_err(|_| Absence::Corrupt)?;
            }
            Odd::Deltas(deltas) => {
                let (place, record) = pages.stretches.find(page).ok_or(Absence::Corrupt)?;
                match place.data(record, self.page_size) {
                    (at, true) => {
                        if self.file(at, &mut whole)? < whole.len() {
                            return Err(Absence::Truncated);
                        }
                    }
                    (at, false) => {
                        let mut fill = [0];
                        self.file(at, &mut fill)?;
                        whole.fill(fill[0]);
                    }
                }
                for delta in deltas {
                    let bytes = self.sized(delta.saturating_add(1), 2)?;
                    xbzrle::apply(&mut whole, &bytes).ok_or(Absence::Corrupt)?;
                }
            }
        }
        Ok(whole)
    }

    /// Bytes with their length in `size` bytes before them.
    fn sized(&self, at: u64, size: usize) -> Result<Vec<u8>, Absence> {
        let io = |e: std::io::Error| Absence::Io(e.kind());
        let head = read_vec(&*self.source, at, size).map_err(io)?;
        let len = crate::Endian::Big.uint(&head);
        // Neither a difference nor a packed page is larger than two pages.
        let len =
            usize::try_from(len).ok().filter(|&len| len <= 2 * self.page_size as usize).ok_or(Absence::Corrupt)?;
        let bytes = read_vec(&*self.source, at.saturating_add(size as u64), len).map_err(io)?;
        if bytes.len() < len { Err(Absence::Truncated) } else { Ok(bytes) }
    }

    fn mapped_read(&self, place: &(Mapped, Bitmap), offset: u64, buf: &mut [u8]) -> Result<usize, Absence> {
        let (mapped, bitmap) = place;
        let page = offset / mapped.page_size;
        // The bitmap is what says that a page was zero; without it nothing is known.
        if mapped.bitmap_at.saturating_add(page / 8) >= self.source.len() {
            return Err(Absence::Truncated);
        }
        if !bitmap.get(page) {
            buf.fill(0);
            return Ok(buf.len());
        }
        self.file(mapped.pages_at.saturating_add(offset), buf)
    }
}

/// What a page is that the walk did not meet.
fn why_missing(index: &Index) -> Absence {
    match (index.cut_off, index.problems.is_empty()) {
        (false, _) => Absence::NotInDump,
        (true, true) => Absence::Truncated,
        (true, false) => Absence::Corrupt,
    }
}

impl Memory<Phys> for QemuMemory {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        let fault = |why| Fault { at, why };
        let piece = self.piece(at.0).filter(|piece| piece.start <= at.0).ok_or(fault(Absence::NotMapped))?;
        let offset = piece.offset.saturating_add(at.0 - piece.start);
        let page_left = self.page_size - offset % self.page_size;
        let len = (buf.len() as u64).min(page_left).min(piece.end - at.0) as usize;
        let Some(buf) = buf.get_mut(..len).filter(|buf| !buf.is_empty()) else { return Ok(0) };
        match &self.store {
            Store::Stream(stream) => self.stream_read(stream.index(), piece.block, offset, buf),
            Store::Mapped(places) => match places.get(piece.block) {
                Some(Some(place)) => self.mapped_read(place, offset, buf),
                _ => Err(Absence::NotInDump),
            },
        }
        .map_err(fault)
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        collect_extents(self, MOST_EXTENTS)
    }
}

impl PhysMemory for QemuMemory {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        let piece = self.piece(at.0)?;
        let whole = |absent| Some(Extent { start: Phys(piece.start), end: Phys(piece.end), absent });
        match &self.store {
            Store::Stream(stream) => {
                let index = stream.index();
                let missing = why_missing(index);
                let Some(pages) = index.blocks.get(piece.block) else { return whole(Some(missing)) };
                let offset = piece.offset.saturating_add(at.0.saturating_sub(piece.start));
                let address = |page: u64| {
                    let offset = page.saturating_mul(self.page_size).max(piece.offset);
                    piece.start.saturating_add(offset - piece.offset).min(piece.end)
                };
                let page = offset / self.page_size;
                let (start, end, absent) = match pages.stretches.run(page) {
                    Some(run) if run.start <= page => (run.start, run.end, None),
                    Some(run) => (page, run.start, Some(missing)),
                    None => (page, u64::MAX, Some(missing)),
                };
                let extent = Extent { start: Phys(address(start)), end: Phys(address(end)), absent };
                // The last page of a block may be cut by its end.
                if extent.end.0 <= at.0 { whole(Some(missing)) } else { Some(extent) }
            }
            Store::Mapped(places) => {
                let Some(Some((mapped, _))) = places.get(piece.block) else { return whole(Some(Absence::NotInDump)) };
                // Where the file ends.
                let have = self.source.len().saturating_sub(mapped.pages_at.saturating_add(piece.offset));
                let split = piece.start.saturating_add(have).min(piece.end);
                let (start, end, absent) = if at.0 < split {
                    (piece.start, split, None)
                } else {
                    (split, piece.end, Some(Absence::Truncated))
                };
                Some(Extent { start: Phys(start), end: Phys(end), absent })
            }
        }
    }
}
