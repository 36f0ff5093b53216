//! Memory without the ranges that turned out to be unreadable: absent like all that was left out.
//!
//! *Trap*: a container's own tables promise pages that its end has lost. That shows only when they are read, and by then a
//! head that promises them again may be written. So an image is written a second time, without them.

use crate::machine::{PhysMemory, collect_extents};
use crate::{Absence, Extent, Fault, Memory, Phys};
use std::ops::Range;
use std::sync::Arc;

const MAX_EXTENTS: usize = 1 << 18;

/// Physical memory less some ranges.
pub(super) struct Without {
    inner: Arc<dyn PhysMemory>,
    /// Ascending, apart.
    bad: Vec<(Range<u64>, Absence)>,
}

impl Without {
    /// Leaves out these ranges, by whole units.
    pub(super) fn new(inner: Arc<dyn PhysMemory>, mut bad: Vec<(Range<u64>, Absence)>) -> Self {
        bad.sort_by_key(|(range, _)| range.start);
        let mut joined: Vec<(Range<u64>, Absence)> = Vec::with_capacity(bad.len());
        for (range, why) in bad {
            match joined.last_mut() {
                Some((last, own)) if last.end >= range.start && *own == why => last.end = last.end.max(range.end),
                Some((last, _)) if last.end > range.start => {
                    let rest = last.end..range.end.max(last.end);
                    if rest.start < rest.end {
                        joined.push((rest, why));
                    }
                }
                _ => joined.push((range, why)),
            }
        }
        Self { inner, bad: joined }
    }

    fn at(&self, at: u64) -> Option<&(Range<u64>, Absence)> {
        self.bad.get(self.bad.partition_point(|(range, _)| range.end <= at))
    }
}

impl Memory<Phys> for Without {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        match self.at(at.0) {
            Some((range, why)) if range.start <= at.0 => Err(Fault { at, why: *why }),
            Some((range, _)) => {
                let len = (range.start - at.0).min(buf.len() as u64) as usize;
                self.inner.read_at(at, buf.get_mut(..len).unwrap_or_default())
            }
            None => self.inner.read_at(at, buf),
        }
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        collect_extents(self, MAX_EXTENTS)
    }
}

impl PhysMemory for Without {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        let extent = self.inner.next(at)?;
        let start = extent.start.max(at);
        match self.at(start.0) {
            Some((range, why)) if extent.absent.is_none() && range.start <= start.0 => {
                Some(Extent { start, end: Phys(range.end).min(extent.end), absent: Some(*why) })
            }
            Some((range, _)) if extent.absent.is_none() => {
                Some(Extent { start, end: Phys(range.start).min(extent.end), ..extent })
            }
            _ => Some(Extent { start, ..extent }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backing, FileOffset, Segment, SegmentMemory};

    #[test]
    fn what_is_left_out_is_absent_with_its_reason() {
        let piece = Segment { start: Phys(0), end: Phys(100), backing: Backing::File(FileOffset(0)) };
        let inner = SegmentMemory::new(Arc::new(vec![7; 100]), vec![piece]);
        let bad = vec![(40..50, Absence::Truncated), (10..20, Absence::Corrupt), (20..25, Absence::Corrupt)];
        let memory = Without::new(Arc::new(inner), bad);
        let found: Vec<_> = memory.extents().into_iter().map(|e| (e.start.0, e.end.0, e.absent)).collect();
        let (corrupt, cut) = (Some(Absence::Corrupt), Some(Absence::Truncated));
        assert_eq!(found, [(0, 10, None), (10, 25, corrupt), (25, 40, None), (40, 50, cut), (50, 100, None)]);
        let mut buf = [0; 30];
        assert_eq!(memory.read_at(Phys(0), &mut buf), Ok(10));
        assert_eq!(memory.read_at(Phys(12), &mut buf).unwrap_err().why, Absence::Corrupt);
    }
}
