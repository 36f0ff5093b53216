//! Memory as a sorted list of segments, each backed by a file range, by zeros, or by nothing with a reason.
//!
//! *Trap*: hostile dumps have segments that overlap. The one that starts first keeps the shared range, and
//! [`SegmentMemory::overlaps`] says how many were cut.

use crate::memory::{Absence, Extent, Fault, Memory};
use crate::source::SharedSource;
use crate::{Address, FileOffset, Virt};

/// Where the bytes of a segment lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// In the container, from this offset on.
    File(FileOffset),
    /// The dump says they were all zero.
    Zero,
    /// They cannot be had.
    Absent(Absence),
}

/// A range `start..end` of addresses with one backing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<A: Address = Virt> {
    /// First address.
    pub start: A,
    /// First address behind it.
    pub end: A,
    /// Where its bytes lie.
    pub backing: Backing,
}

/// [`Memory`] made of segments of one [`crate::source::Source`].
pub struct SegmentMemory<A: Address = Virt> {
    source: SharedSource,
    segments: Vec<Segment<A>>,
    overlaps: usize,
    elsewhere: Absence,
}

impl<A: Address> SegmentMemory<A> {
    /// Sorts the segments; where two overlap, the one that starts first (then: stands first in the list) keeps the range.
    #[must_use]
    pub fn new(source: SharedSource, mut segments: Vec<Segment<A>>) -> Self {
        segments.retain(|segment| segment.start < segment.end);
        // A stable sort keeps the container's order among equal starts.
        segments.sort_by_key(|segment| segment.start);
        let mut overlaps = 0;
        let mut covered = None::<A>;
        for segment in &mut segments {
            if let Some(covered) = covered
                && segment.start < covered
            {
                overlaps += 1;
                let cut = covered.raw().min(segment.end.raw());
                if let Backing::File(offset) = &mut segment.backing {
                    offset.0 = offset.0.saturating_add(cut - segment.start.raw());
                }
                segment.start = A::new(cut);
            }
            covered = Some(covered.map_or(segment.end, |covered| covered.max(segment.end)));
        }
        segments.retain(|segment| segment.start < segment.end);
        Self { source, segments, overlaps, elsewhere: Absence::NotMapped }
    }

    /// Says what a read outside all segments means: a container that does not describe the whole address space cannot
    /// know that nothing was mapped there, so it says [`Absence::NotInDump`] instead of [`Absence::NotMapped`].
    #[must_use]
    pub fn with_elsewhere(mut self, why: Absence) -> Self {
        self.elsewhere = why;
        self
    }

    /// What a read outside all segments means; see [`SegmentMemory::with_elsewhere`].
    #[must_use]
    pub fn elsewhere(&self) -> Absence {
        self.elsewhere
    }

    /// The container that the segments lie in.
    pub(crate) fn source(&self) -> &SharedSource {
        &self.source
    }

    /// How many segments had to be cut because another one covers the same addresses.
    #[must_use]
    pub fn overlaps(&self) -> usize {
        self.overlaps
    }

    /// The segments in ascending order, without overlap.
    #[must_use]
    pub fn segments(&self) -> &[Segment<A>] {
        &self.segments
    }

    /// The segment that holds `at`.
    #[must_use]
    pub fn find(&self, at: A) -> Option<&Segment<A>> {
        let next = self.segments.partition_point(|segment| segment.start <= at);
        self.segments.get(next.checked_sub(1)?).filter(|segment| at < segment.end)
    }

    /// The place in the container where the byte at `at` lies.
    #[must_use]
    pub fn file_offset(&self, at: A) -> Option<FileOffset> {
        let segment = self.find(at)?;
        match segment.backing {
            Backing::File(offset) => offset.checked_add(at.raw() - segment.start.raw()),
            Backing::Zero | Backing::Absent(_) => None,
        }
    }
}

impl<A: Address> Memory<A> for SegmentMemory<A> {
    fn read_at(&self, at: A, buf: &mut [u8]) -> Result<usize, Fault<A>> {
        let fault = |why| Fault { at, why };
        let segment = self.find(at).ok_or(fault(self.elsewhere))?;
        let skip = at.raw() - segment.start.raw();
        let len = (buf.len() as u64).min(segment.end.raw() - at.raw()) as usize;
        let Some(buf) = buf.get_mut(..len) else {
            return Ok(0);
        };
        match segment.backing {
            Backing::Absent(why) => Err(fault(why)),
            Backing::Zero => {
                buf.fill(0);
                Ok(len)
            }
            Backing::File(offset) => {
                let offset = offset.0.checked_add(skip).ok_or(fault(Absence::Corrupt))?;
                match self.source.read_at(offset, buf) {
                    Ok(0) if len > 0 => Err(fault(Absence::Truncated)),
                    Ok(n) => Ok(n),
                    Err(e) => {
                        let told = e.get_ref().and_then(|inner| inner.downcast_ref::<Absence>()).copied();
                        Err(fault(told.unwrap_or(Absence::Io(e.kind()))))
                    }
                }
            }
        }
    }

    fn extents(&self) -> Vec<Extent<A>> {
        let extent = |segment: &Segment<A>| Extent {
            start: segment.start,
            end: segment.end,
            absent: match segment.backing {
                Backing::Absent(why) => Some(why),
                Backing::File(_) | Backing::Zero => None,
            },
        };
        self.segments.iter().map(extent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn segment(start: u64, end: u64, backing: Backing) -> Segment {
        Segment { start: Virt(start), end: Virt(end), backing }
    }

    #[test]
    fn earlier_segment_wins_and_offsets_follow() {
        let source: SharedSource = Arc::new((0u8..=255).collect::<Vec<u8>>());
        let memory = SegmentMemory::new(
            source,
            vec![
                segment(0x1000, 0x1010, Backing::File(FileOffset(0))),
                segment(0x1008, 0x1020, Backing::File(FileOffset(100))),
                segment(0x1020, 0x1030, Backing::Absent(Absence::NotInDump)),
                segment(0x1030, 0x1040, Backing::File(FileOffset(250))),
            ],
        );
        assert_eq!(memory.overlaps(), 1);
        let mut buf = [0; 4];
        assert_eq!(memory.read_at(Virt(0x100e), &mut buf), Ok(2));
        assert_eq!(memory.read_at(Virt(0x1010), &mut buf), Ok(4));
        assert_eq!(buf, [108, 109, 110, 111]);
        assert_eq!(memory.read_at(Virt(0x1020), &mut buf).unwrap_err().why, Absence::NotInDump);
        assert_eq!(memory.read_at(Virt(0x1034), &mut buf), Ok(2));
        assert_eq!(memory.read_at(Virt(0x1036), &mut buf).unwrap_err().why, Absence::Truncated);
        assert_eq!(memory.read_at(Virt(0x2000), &mut buf).unwrap_err().why, Absence::NotMapped);
    }
}
