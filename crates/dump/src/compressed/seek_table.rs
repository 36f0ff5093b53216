//! The seek table of a packed file: where each frame lies, and which bytes it holds.
//!
//! *What it is*: [`SeekTable::read`] looks for the table at the end of the file and believes it only if all of it fits the
//! file. *What it is not*: it reads no frame.
//!
//! For example a file of two frames ends with `5e 2a 4d 18`, `19 00 00 00` (25 bytes follow), two pairs of 32-bit lengths
//! (compressed, uncompressed), `02 00 00 00`, `00`, `b1 ea 92 8f`.
//!
//! *Trap*: a table can claim what it likes. No zstd block of fewer than 4 bytes holds anything, and none holds more than
//! 128 KiB, so a frame that is said to grow more than 32768-fold is a lie; with that, what a file can claim is bounded by
//! what a file can hold.

use crate::bytes::Fields;
use crate::source::{Source, read_vec};
use crate::{Budget, Endian};

const SKIPPABLE: u32 = 0x184d_2a5e;
const MAGIC: u32 = 0x8f92_eab1;
const HEADER: u64 = 8;
const FOOTER: u64 = 9;
/// In the descriptor: entries have a checksum.
const WITH_SUMS: u8 = 0x80;
/// In the descriptor: must be zero, for changes that a reader must know of. The lowest two bits may be anything.
const RESERVED: u8 = 0x7c;
/// Frames that the format allows.
const MAX_FRAMES: u64 = 1 << 27;
/// Largest frame that is decoded as a whole: half of the cache, so that a copy from one frame to another does not decode
/// both again for each piece.
const MAX_FRAME: u32 = 16 << 20;
/// Largest frame of zeros, which is not decoded.
const MAX_HOLE: u32 = 64 << 20;
/// A frame that shrinks as much as this is taken for zeros until it is looked at.
const HOLE_RATIO: u32 = 4096;
/// See the trap above.
const MAX_RATIO: u64 = 32_768;
/// Entries read at once.
const STEP: u64 = 4096;

/// Where the frames are.
pub(super) struct SeekTable {
    /// First byte of each frame among the unpacked bytes; then the number of all bytes.
    starts: Vec<u64>,
    /// First byte of each frame in the file; then the place of the table.
    places: Vec<u64>,
    /// Low half of the XXH64 of each frame's content; empty if the table has none.
    sums: Vec<u32>,
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FramePlace {
    /// First unpacked byte.
    pub(super) start: u64,
    /// Unpacked bytes.
    pub(super) size: usize,
    /// Place in the file.
    pub(super) at: u64,
    /// Bytes in the file.
    pub(super) packed: usize,
    /// Low half of the content's XXH64.
    pub(super) sum: Option<u32>,
}

struct Entry {
    packed: u32,
    size: u32,
    sum: Option<u32>,
}

/// What the footer says, checked against the file's length.
struct Layout {
    count: u64,
    entries_at: u64,
    with_sums: bool,
}

impl SeekTable {
    /// Reads the table; `None` if the file has none.
    ///
    /// # Errors
    /// Why there is one that is not used.
    pub(super) fn read(source: &dyn Source, budget: &Budget) -> Result<Option<Self>, String> {
        let Some(layout) = Layout::read(source)? else {
            return Ok(None);
        };
        // Looked at as a whole before there is memory for it: a file that is unpacked after all shall not pay for it.
        layout.walk(source, |_, _, _| {})?;
        let count = usize::try_from(layout.count).map_err(|e| e.to_string())?;
        let cost = layout.count * if layout.with_sums { 20 } else { 16 };
        budget.take(cost).map_err(|e| format!("{e} would be needed"))?;
        let mut table = Self {
            starts: Vec::with_capacity(count + 1),
            places: Vec::with_capacity(count + 1),
            sums: Vec::with_capacity(if layout.with_sums { count } else { 0 }),
        };
        let (end, len) = layout.walk(source, |at, start, entry| {
            table.places.push(at);
            table.starts.push(start);
            table.sums.extend(entry.sum);
        })?;
        table.places.push(end);
        table.starts.push(len);
        Ok(Some(table))
    }

    /// Unpacked bytes of all frames.
    pub(super) fn len(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Number of the frame that holds an unpacked byte.
    pub(super) fn find(&self, at: u64) -> Option<usize> {
        // Of frames without content, which start where the next one starts, the last is passed over too.
        let number = self.starts.partition_point(|&start| start <= at).checked_sub(1)?;
        (at < self.len()).then_some(number)
    }

    /// Where a frame lies.
    pub(super) fn frame(&self, number: usize) -> Option<FramePlace> {
        let pair = |list: &[u64]| Some((*list.get(number)?, *list.get(number + 1)?));
        let (start, end) = pair(&self.starts)?;
        let (at, behind) = pair(&self.places)?;
        let size = usize::try_from(end.checked_sub(start)?).ok()?;
        let packed = usize::try_from(behind.checked_sub(at)?).ok()?;
        Some(FramePlace { start, size, at, packed, sum: self.sums.get(number).copied() })
    }
}

impl Layout {
    fn read(source: &dyn Source) -> Result<Option<Self>, String> {
        let Some(footer_at) = source.len().checked_sub(FOOTER) else {
            return Ok(None);
        };
        let read = |at, len| read_vec(source, at, len).map_err(|e| format!("it cannot be read: {e}"));
        let footer = read(footer_at, FOOTER as usize)?;
        let footer = Fields::new(&footer, Endian::Little);
        let (Some(count), Some(descriptor), Some(MAGIC)) = (footer.u32(0), footer.u8(4), footer.u32(5)) else {
            return Ok(None);
        };
        if descriptor & RESERVED != 0 {
            return Err(format!("its descriptor {descriptor:#04x} is of a later version of the format"));
        }
        let count = u64::from(count);
        if count == 0 || count > MAX_FRAMES {
            return Err(format!("{count} frames are not possible"));
        }
        let with_sums = descriptor & WITH_SUMS != 0;
        let length = count * if with_sums { 12 } else { 8 };
        let Some(entries_at) = footer_at.checked_sub(length).filter(|&at| at >= HEADER) else {
            return Err(format!("{count} frames have no room in it"));
        };
        let header = read(entries_at - HEADER, HEADER as usize)?;
        let header = Fields::new(&header, Endian::Little);
        if header.u32(0) != Some(SKIPPABLE) || header.u32(4).map(u64::from) != Some(length + FOOTER) {
            return Err(format!("it does not begin where a table of {count} frames would"));
        }
        Ok(Some(Self { count, entries_at, with_sums }))
    }

    /// Checks all entries and tells each, with the place of its frame in the file and among the unpacked bytes. The two
    /// ends come back.
    fn walk(&self, source: &dyn Source, mut tell: impl FnMut(u64, u64, &Entry)) -> Result<(u64, u64), String> {
        let stride = if self.with_sums { 12 } else { 8 };
        let frames_end = self.entries_at - HEADER;
        let (mut at, mut start) = (0u64, 0u64);
        let mut number = 0;
        while number < self.count {
            let step = STEP.min(self.count - number);
            let bytes = read_vec(source, self.entries_at + number * stride, (step * stride) as usize)
                .map_err(|e| format!("it cannot be read: {e}"))?;
            if bytes.len() as u64 != step * stride {
                return Err("it is cut off".into());
            }
            for entry in bytes.chunks_exact(stride as usize) {
                let fields = Fields::new(entry, Endian::Little);
                let (Some(packed), Some(size)) = (fields.u32(0), fields.u32(4)) else {
                    return Err("it is cut off".into());
                };
                let entry = Entry { packed, size, sum: fields.u32(8) };
                entry.check().map_err(|what| format!("frame {number} {what}"))?;
                tell(at, start, &entry);
                let next = at.checked_add(u64::from(packed)).filter(|&next| next <= frames_end);
                at = next.ok_or_else(|| format!("frame {number} lies outside of the file"))?;
                start = start.checked_add(u64::from(size)).ok_or("the frames are too long")?;
                number += 1;
            }
        }
        if at != frames_end {
            return Err(format!("its frames end at {at}, and it begins at {frames_end}"));
        }
        if start == 0 {
            return Err("its frames hold no bytes".into());
        }
        Ok((at, start))
    }
}

impl Entry {
    fn check(&self) -> Result<(), String> {
        let Self { packed, size, .. } = *self;
        if u64::from(size) > u64::from(packed) * MAX_RATIO {
            return Err(format!("of {packed} bytes cannot hold {size}"));
        }
        if size > MAX_HOLE || size > MAX_FRAME && packed > size / HOLE_RATIO {
            return Err(format!("is too large to be read for a part of it: {size} bytes"));
        }
        // A frame without content is never read, and may be long: a skippable one. Others are read as a whole.
        if size > 0 && u64::from(packed) > 2 * u64::from(size) + (64 << 10) {
            return Err(format!("of {size} bytes has {packed} in the file"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_without_content_are_passed_over() {
        let table = SeekTable { starts: vec![0, 0, 10, 10, 10, 15], places: vec![0, 4, 9, 20, 30, 40], sums: vec![] };
        assert_eq!(
            [0, 9, 10, 14, 15, u64::MAX].map(|at| table.find(at)),
            [Some(1), Some(1), Some(4), Some(4), None, None]
        );
        assert_eq!(table.frame(4), Some(FramePlace { start: 10, size: 5, at: 30, packed: 10, sum: None }));
        assert_eq!(table.frame(5), None);
    }
}
