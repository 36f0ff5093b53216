//! Inlined functions at an address: the sites inside a procedure, whose ranges and lines are written as a little program
//! of "binary annotations".
//!
//! Trap: a site's ranges count from the procedure's start, also those of a site within a site. And code 4 moves the place
//! behind the range that it ends, code 12 does not: its distance counts from the range's start (crash.pdb of Sentry's
//! fixtures has ranges of callers and callees that fit only so).

use super::publics::records;
use crate::elf::View;

const S_INLINESITE: u16 = 0x114d;
const S_INLINESITE2: u16 = 0x115d;
/// Deeper nests are not real.
const MAX_DEPTH: usize = 128;
const MAX_RECORDS: usize = 1 << 20;

/// One inlined call that covers the address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// The function's number in the table of ids.
    pub(super) function: u32,
    pub(super) file: Option<u32>,
    pub(super) line: Option<u32>,
}

/// The sites between two places of a stream that cover a distance from the procedure's start, outermost first.
pub(super) fn sites(
    stream: &[u8],
    (from, to): (u32, u32),
    distance: u32,
    inlinee: &dyn Fn(u32) -> Option<(u32, u32)>,
) -> Vec<Site> {
    let mut found = Vec::new();
    let end = stream.len().min(to as usize);
    for (kind, data, _) in records(stream.get(..end).unwrap_or_default(), from as usize).take(MAX_RECORDS) {
        match kind {
            S_INLINESITE | S_INLINESITE2 => {
                let view = View::new(data, true);
                let skip = if kind == S_INLINESITE { 12 } else { 16 };
                let (Some(function), Some(program)) = (view.u32(8), data.get(skip..)) else { continue };
                let (file, line) = inlinee(function).map_or((None, 0), |(file, line)| (Some(file), line));
                if found.len() < MAX_DEPTH
                    && let Some((file, line)) = run(program, distance, file, line)
                {
                    found.push(Site { function, file, line: (line != 0).then_some(line) });
                }
            }
            _ => {}
        }
    }
    found
}

/// Numbers of 1, 2 or 4 bytes, as the first bits say.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u32> {
        let (value, rest) = match *self.0 {
            [a, ref rest @ ..] if a & 0x80 == 0 => (u32::from(a), rest),
            [a, b, ref rest @ ..] if a & 0xc0 == 0x80 => (u32::from(a & 0x3f) << 8 | u32::from(b), rest),
            [a, b, c, d, ref rest @ ..] if a & 0xe0 == 0xc0 => {
                (u32::from(a & 0x1f) << 24 | u32::from(b) << 16 | u32::from(c) << 8 | u32::from(d), rest)
            }
            _ => return None,
        };
        self.0 = rest;
        Some(value)
    }
}

/// The lowest bit is the sign.
fn signed(value: u32) -> i32 {
    let half = (value >> 1) as i32;
    if value & 1 == 1 { half.wrapping_neg() } else { half }
}

/// Runs a site's program; gives the file and line at the distance, if a range covers it.
fn run(program: &[u8], distance: u32, mut file: Option<u32>, line: u32) -> Option<(Option<u32>, u32)> {
    let mut numbers = Numbers(program);
    let (mut at, mut now) = (0u32, line as i32);
    // A row that waits for its end: where it begins, file, line.
    let mut open: Option<(u32, Option<u32>, i32)> = None;
    let covers = |row: (u32, Option<u32>, i32), end: u32| {
        (row.0..end).contains(&distance).then_some((row.1, row.2.max(0) as u32))
    };
    while let Some(code) = numbers.next() {
        let mut row = None;
        match code {
            0 => break,
            // A code offset or its base: not written by today's compilers.
            1 => at = numbers.next()?,
            2 => at = at.wrapping_add(numbers.next()?),
            3 => {
                at = at.wrapping_add(numbers.next()?);
                row = Some(None);
            }
            4 => {
                let length = numbers.next()?;
                if let Some(waiting) = open.take()
                    && let Some(found) = covers(waiting, waiting.0.saturating_add(length))
                {
                    return Some(found);
                }
                at = at.wrapping_add(length);
            }
            5 => file = Some(numbers.next()?),
            6 => now = now.wrapping_add(signed(numbers.next()?)),
            11 => {
                let both = numbers.next()?;
                at = at.wrapping_add(both & 15);
                now = now.wrapping_add(signed(both >> 4));
                row = Some(None);
            }
            12 => {
                let length = numbers.next()?;
                at = at.wrapping_add(numbers.next()?);
                row = Some(Some(length));
            }
            // Ends of lines, kinds of ranges, columns.
            7..=10 | 13 => {
                numbers.next()?;
            }
            _ => break,
        }
        let Some(length) = row else { continue };
        if let Some(waiting) = open.take()
            && let Some(found) = covers(waiting, at)
        {
            return Some(found);
        }
        match length {
            Some(length) => {
                if let Some(found) = covers((at, file, now), at.saturating_add(length)) {
                    return Some(found);
                }
            }
            None => open = Some((at, file, now)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_annotations() {
        // Line +2 at 16, 4 bytes later line +1, which is 8 bytes long.
        let program = [6, 4, 3, 16, 11, 0x24, 4, 8];
        let at = |distance| run(&program, distance, Some(7), 100);
        assert_eq!(at(15), None);
        assert_eq!(at(16), Some((Some(7), 102)));
        assert_eq!(at(20), Some((Some(7), 103)));
        assert_eq!(at(27), Some((Some(7), 103)));
        assert_eq!(at(28), None);
        for broken in [&[3][..], &[0xff, 1], &[12, 1], &[]] {
            assert_eq!(run(broken, 0, None, 1), None);
        }
        assert_eq!((signed(3), signed(4)), (-1, 2));
    }
}
