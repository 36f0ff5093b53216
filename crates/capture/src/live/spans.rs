//! Where in a file which memory lies, while it is not yet known what all of it will be.
//!
//! *What it is*: places are given as pages turn up, and stay. Neighbours that turn up one behind the other share a span,
//! so that memory copied in ascending order lies in the file in a few long stretches.
//!
//! *Example*: `spans.place(0x1000..0x3000, &mut |job| …)` gives the jobs that copy these two pages.
//!
//! *Trap*: a span may be longer than what was copied: what lies between is a hole.

use super::copy::Job;
use crate::plan::LARGE_GAP;
use std::collections::BTreeMap;
use std::ops::Range;

/// A page that turns up alone gets room for its neighbours, too.
const ROUND: u64 = 1 << 20;

/// A stretch of memory and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    end: u64,
    offset: u64,
}

/// All places.
#[derive(Debug)]
pub(super) struct Spans {
    by_start: BTreeMap<u64, Span>,
    first: u64,
    /// The first byte of the file that is free.
    next: u64,
    page: u64,
}

impl Spans {
    /// Places begin at this offset, a multiple of the page.
    pub(super) fn new(first: u64, page: u64) -> Self {
        Self { by_start: BTreeMap::new(), first, next: first, page }
    }

    /// The first byte of all places.
    pub(super) fn start(&self) -> u64 {
        self.first
    }

    /// The first byte behind all places.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// Finds or makes the places of a range, and tells them.
    pub(super) fn place(&mut self, range: Range<u64>, found: &mut dyn FnMut(Job)) {
        let mut at = range.start;
        while at < range.end {
            let before = self.by_start.range(..=at).next_back().map(|(start, span)| (*start, *span));
            if let Some((start, span)) = before.filter(|(_, span)| at < span.end) {
                let end = span.end.min(range.end);
                found(Job { at, len: end - at, offset: span.offset + (at - start) });
                at = end;
                continue;
            }
            let after = self.by_start.range(at..).next().map_or(u64::MAX, |(start, _)| *start);
            let end = range.end.min(after);
            match before {
                // The last span in the file grows up to here.
                Some((start, span)) if at - span.end < LARGE_GAP && span.offset + (span.end - start) == self.next => {
                    self.next += end - span.end;
                    self.by_start.insert(start, Span { end, ..span });
                }
                _ => self.add(at, end, before.map_or(0, |(_, span)| span.end), after),
            }
        }
    }

    /// A new span for `at..end`, with room around it between its neighbours.
    fn add(&mut self, at: u64, end: u64, low: u64, high: u64) {
        let start = (at / ROUND * ROUND).max(low);
        let end = end.checked_next_multiple_of(ROUND).unwrap_or(end).min(high).max(end);
        let offset = self.next.next_multiple_of(self.page);
        self.by_start.insert(start, Span { end, offset });
        self.next = offset + (end - start);
    }

    /// The parts of a range that have places (`Some` offset) and that have none, in ascending order.
    pub(super) fn parts(&self, range: Range<u64>) -> Vec<(Range<u64>, Option<u64>)> {
        let mut parts = Vec::new();
        let mut at = range.start;
        let first = self.by_start.range(..=at).next_back().map_or(at, |(start, _)| *start);
        for (&start, span) in self.by_start.range(first..range.end) {
            let (from, to) = (start.max(at), span.end.min(range.end));
            if from >= to {
                continue;
            }
            if at < from {
                parts.push((at..from, None));
            }
            parts.push((from..to, Some(span.offset + (from - start))));
            at = to;
        }
        if at < range.end {
            parts.push((at..range.end, None));
        }
        parts
    }

    /// The places of all memory outside these ranges, which ascend: offset and length.
    pub(super) fn outside(&self, ranges: &[Range<u64>]) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        for (&start, span) in &self.by_start {
            let mut at = start;
            let first = ranges.partition_point(|range| range.end <= start);
            for range in ranges.get(first..).unwrap_or_default().iter().take_while(|range| range.start < span.end) {
                if at < range.start {
                    out.push((span.offset + (at - start), range.start - at));
                }
                at = range.end.max(at);
            }
            if at < span.end {
                out.push((span.offset + (at - start), span.end - at));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(spans: &mut Spans, range: Range<u64>) -> Vec<(u64, u64, u64)> {
        let mut jobs = Vec::new();
        spans.place(range, &mut |job| jobs.push((job.at, job.len, job.offset)));
        jobs
    }

    #[test]
    fn neighbours_share_a_span_and_places_stay() {
        let mut spans = Spans::new(0x10_0000, 0x1000);
        let first = place(&mut spans, 0x4000_0000..0x4010_0000);
        assert_eq!(first, [(0x4000_0000, 0x10_0000, 0x10_0000)]);
        // A small gap is a hole in the same span.
        assert_eq!(place(&mut spans, 0x4020_0000..0x4030_0000), [(0x4020_0000, 0x10_0000, 0x30_0000)]);
        assert_eq!(spans.end(), 0x40_0000);
        // Far away: another span, with room around it.
        let far = place(&mut spans, 0x9000_5000..0x9000_6000);
        assert_eq!(far, [(0x9000_5000, 0x1000, 0x40_5000)]);
        assert_eq!(place(&mut spans, 0x9000_0000..0x9000_1000), [(0x9000_0000, 0x1000, 0x40_0000)]);
        // Between: what has a place keeps it, across a border there are two jobs.
        assert_eq!(place(&mut spans, 0x4010_0000..0x4020_0000), [(0x4010_0000, 0x10_0000, 0x20_0000)]);
        let across = place(&mut spans, 0x402f_f000..0x4030_1000);
        assert_eq!(across.len(), 2);
        assert_eq!(across[0], (0x402f_f000, 0x1000, 0x3f_f000));
    }

    #[test]
    fn parts_and_what_is_left_over() {
        let mut spans = Spans::new(0, 0x1000);
        place(&mut spans, 0x10_0000..0x20_0000);
        place(&mut spans, 0x4000_0000..0x4010_0000);
        let parts = spans.parts(0x8_0000..0x4008_0000);
        assert_eq!(
            parts,
            [
                (0x8_0000..0x10_0000, None),
                (0x10_0000..0x20_0000, Some(0)),
                (0x20_0000..0x4000_0000, None),
                (0x4000_0000..0x4008_0000, Some(0x10_0000)),
            ]
        );
        let kept = [0x10_0000..0x18_0000, 0x19_0000..0x4000_0000];
        assert_eq!(spans.outside(&kept), [(0x8_0000, 0x1_0000), (0x10_0000, 0x10_0000)]);
    }
}
