//! Segments of a core, cut to the memory that is there.
//!
//! *What it is not*: it adds nothing: what no segment had promised is not in the result.
//!
//! *Example*: of a segment of three pages whose second is not there, the first gets `file_size` one page and
//! `memory_size` two, the third is a segment of its own.
//!
//! *Trap*: segments of a hostile core overlap by the thousand. The one that starts first keeps the range, as readers do.

use super::elf_core::Segment;
use std::ops::Range;

/// The segments in ascending order and apart, with those bytes of theirs that lie in `stored` (ascending, apart).
pub(crate) fn segments(wanted: &[Segment], stored: &[Range<u64>]) -> Vec<Segment> {
    let mut order: Vec<&Segment> = wanted.iter().collect();
    order.sort_by_key(|segment| segment.start);
    let mut out = Vec::with_capacity(order.len());
    let mut covered = 0;
    for segment in order {
        let end = segment.start.saturating_add(segment.memory_size);
        let promised = segment.start.saturating_add(segment.file_size).min(end);
        let mut at = segment.start.max(covered);
        if at >= end {
            continue;
        }
        covered = end;
        // Runs of stored bytes inside the promise; neighbours are one run.
        let first = stored.partition_point(|range| range.end <= at);
        let mut ranges = stored.get(first..).unwrap_or_default().iter().peekable();
        let mut push = |start: u64, stop: u64, file_size: u64| {
            out.push(Segment { start, memory_size: stop - start, file_size, permissions: segment.permissions });
        };
        let mut run: Option<Range<u64>> = None;
        while let Some(range) = ranges.next_if(|range| range.start < promised) {
            let (start, stop) = (range.start.max(at), range.end.min(promised));
            match &mut run {
                Some(run) if run.end == start => run.end = stop,
                Some(last) => {
                    push(at, start, last.end - at);
                    at = start;
                    run = Some(start..stop);
                }
                None => {
                    if at < start {
                        push(at, start, 0);
                        at = start;
                    }
                    run = Some(start..stop);
                }
            }
        }
        push(at, end, run.map_or(0, |run| run.end - at));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Permissions;

    fn segment(start: u64, memory_size: u64, file_size: u64) -> Segment {
        Segment { start, memory_size, file_size, permissions: Permissions::default() }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn cut_to_what_is_there() {
        let whole = [segment(10, 30, 20), segment(50, 10, 0), segment(60, 5, 5)];
        assert_eq!(segments(&whole, &[10..30, 60..65]), whole, "what is there stays as it is");
        assert_eq!(segments(&whole[..1], &[10..15, 15..30]), whole[..1], "neighbours are one");
        let holes = segments(&whole[..1], &[5..12, 14..16, 20..100]);
        assert_eq!(holes, [segment(10, 4, 2), segment(14, 6, 2), segment(20, 20, 10)]);
        assert_eq!(segments(&whole[..1], &[20..22]), [segment(10, 10, 0), segment(20, 20, 2)]);
        assert_eq!(segments(&whole[..1], &[]), [segment(10, 30, 0)]);
        assert_eq!(
            segments(&[segment(0, 10, 10), segment(5, 10, 10)], &[0..20]),
            [segment(0, 10, 10), segment(10, 5, 5)]
        );
    }
}
