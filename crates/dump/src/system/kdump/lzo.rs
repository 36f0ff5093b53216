//! LZO1X as `makedumpfile -l` writes it: unpacking, and packing with the same stream format.
//!
//! *What it is*: the stream format alone, as the kernel describes it (`Documentation/staging/lzo.rst`): instructions with
//! a literal run and a match each. Nothing of the reference implementation is here.
//!
//! *Trap*: the first byte, and the instruction after a literal run, mean something else than the same byte elsewhere; and
//! a short match after four or more literals reaches 2049 to 3072 bytes back.

/// Why a stream cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

/// What stands before an instruction: how many literals have just been copied, as far as that changes its meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// None: a literal run may begin.
    None,
    /// One to three, out of the instruction before.
    Few,
    /// Four or more.
    Run,
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<usize, Damaged> {
        let byte = self.bytes.get(self.at).copied().ok_or(Damaged)?;
        self.at += 1;
        Ok(usize::from(byte))
    }

    fn half(&mut self) -> Result<usize, Damaged> {
        Ok(self.byte()? | self.byte()? << 8)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(len).ok_or(Damaged)?).ok_or(Damaged)?;
        self.at += len;
        Ok(bytes)
    }

    /// A length that did not fit its field: zero bytes count 255 each, the first other one ends it.
    fn long(&mut self, base: usize) -> Result<usize, Damaged> {
        let mut len = base;
        loop {
            match self.byte()? {
                0 => len = len.checked_add(255).ok_or(Damaged)?,
                last => return len.checked_add(last).ok_or(Damaged),
            }
        }
    }
}

struct Out<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Out<'_> {
    fn literals(&mut self, from: &[u8]) -> Result<(), Damaged> {
        let to = self.bytes.get_mut(self.at..self.at + from.len()).ok_or(Damaged)?;
        to.copy_from_slice(from);
        self.at += from.len();
        Ok(())
    }

    fn copy(&mut self, distance: usize, len: usize) -> Result<(), Damaged> {
        let from = self.at.checked_sub(distance).ok_or(Damaged)?;
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len()).ok_or(Damaged)?;
        if distance >= len {
            self.bytes.copy_within(from..from + len, self.at);
        } else {
            // It overlaps itself: the bytes repeat.
            for (to, from) in (self.at..end).zip(from..) {
                let byte = self.bytes.get(from).copied().ok_or(Damaged)?;
                *self.bytes.get_mut(to).ok_or(Damaged)? = byte;
            }
        }
        self.at = end;
        Ok(())
    }
}

/// Unpacks a block; gives the bytes of `out` that it fills.
pub(crate) fn unpack(packed: &[u8], out: &mut [u8]) -> Result<usize, Damaged> {
    let mut input = Input { bytes: packed, at: 0 };
    let mut out = Out { bytes: out, at: 0 };
    let mut before = Before::None;
    if let Some(&first) = packed.first()
        && first > 17
    {
        let len = usize::from(first) - 17;
        input.at = 1;
        out.literals(input.take(len)?)?;
        before = if len < 4 { Before::Few } else { Before::Run };
    }
    loop {
        let op = input.byte()?;
        let (distance, len, rest) = match op {
            0..=15 => match before {
                Before::None => {
                    let len = if op == 0 { input.long(18)? } else { op + 3 };
                    out.literals(input.take(len)?)?;
                    before = Before::Run;
                    continue;
                }
                Before::Few => ((input.byte()? << 2) + (op >> 2) + 1, 2, op & 3),
                Before::Run => ((input.byte()? << 2) + (op >> 2) + 2049, 3, op & 3),
            },
            16..=31 => {
                let len = if op & 7 == 0 { input.long(9)? } else { (op & 7) + 2 };
                let half = input.half()?;
                let distance = ((op & 8) << 11) + (half >> 2) + 16384;
                if distance == 16384 {
                    return if len == 3 { Ok(out.at) } else { Err(Damaged) };
                }
                (distance, len, half & 3)
            }
            32..=63 => {
                let len = if op & 31 == 0 { input.long(33)? } else { (op & 31) + 2 };
                let half = input.half()?;
                ((half >> 2) + 1, len, half & 3)
            }
            64..=127 => ((input.byte()? << 3) + (op >> 2 & 7) + 1, (op >> 5 & 1) + 3, op & 3),
            _ => ((input.byte()? << 3) + (op >> 2 & 7) + 1, (op >> 5 & 3) + 5, op & 3),
        };
        out.copy(distance, len)?;
        out.literals(input.take(rest)?)?;
        before = if rest == 0 { Before::None } else { Before::Few };
    }
}

const TABLE_BITS: u32 = 12;
/// Farthest that a match reaches here: what the two cheapest long forms can say.
const FAR: usize = 0xbfff;
/// Bytes at the end of a block that begin no match, so that whole words can be read before them.
const TAIL: usize = 16;

/// Bytes that a block of `len` bytes may grow to.
#[cfg(test)]
fn most_packed(len: usize) -> usize {
    len + len / 16 + 96
}

/// Packs blocks; the table of places is kept from one to the next. What an earlier block left there is below `base`, so
/// that the table need not be cleared for each page.
pub(crate) struct Packer {
    places: Box<[u32; 1 << TABLE_BITS]>,
    base: u32,
}

fn word(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes))
}

fn long_word(block: &[u8], at: usize) -> Option<u64> {
    block.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { places: Box::new([0; 1 << TABLE_BITS]), base: 1 }
    }

    /// Packs a block of at most 64 KiB into `out`, which should have room for a sixteenth more and
    /// 96 bytes. `None` when it would not be smaller
    /// than `most`.
    pub(crate) fn pack(&mut self, block: &[u8], out: &mut [u8], most: usize) -> Option<usize> {
        let used = block.len() as u32;
        if self.base.checked_add(2 * used + 2).is_none() {
            self.places.fill(0);
            self.base = 1;
        }
        let base = self.base;
        self.base += used + 1;
        let mut out = Sink { out, at: 0 };
        let (mut at, mut literals) = (4, 0);
        let limit = block.len().saturating_sub(TAIL);
        while at < limit {
            // Five bytes are hashed, though four may match: fewer short matches cost a little size and save much time.
            let eight = long_word(block, at)?;
            let bytes = eight as u32;
            let slot = ((eight << 24).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - TABLE_BITS)) as usize;
            let place = self.places.get_mut(slot)?;
            let candidate = std::mem::replace(place, base + at as u32).wrapping_sub(base) as usize;
            if candidate >= at || at - candidate > FAR || word(block, candidate) != Some(bytes) {
                at += 1 + ((at - literals) >> 4);
                continue;
            }
            let mut len = 4 + same(block, candidate + 4, at + 4);
            let (mut start, mut from) = (at, candidate);
            // What stood before may match as well.
            while start > literals && from > 0 && block.get(start - 1) == block.get(from - 1) {
                (start, from, len) = (start - 1, from - 1, len + 1);
            }
            out.run(block, literals, start)?;
            out.matched(start - from, len)?;
            at = start + len;
            literals = at;
            if out.at >= most {
                return None;
            }
        }
        out.run(block, literals, block.len())?;
        out.put([17, 0, 0])?;
        (out.at < most).then_some(out.at)
    }
}

/// How many bytes are the same from two places on, of which the second is the later.
fn same(block: &[u8], first: usize, second: usize) -> usize {
    let mut len = 0;
    while let (Some(a), Some(b)) = (long_word(block, first + len), long_word(block, second + len)) {
        if a != b {
            return len + ((a ^ b).trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    while second + len < block.len() && block.get(first + len) == block.get(second + len) {
        len += 1;
    }
    len
}

struct Sink<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Sink<'_> {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Option<()> {
        *self.out.get_mut(self.at..)?.first_chunk_mut::<N>()? = bytes;
        self.at += N;
        Some(())
    }

    /// A literal run: up to three ride on the instruction before, if there is one.
    fn run(&mut self, block: &[u8], start: usize, end: usize) -> Option<()> {
        const SHORT: usize = 16;
        let len = end - start;
        let first = start == 0;
        match len {
            0 => return Some(()),
            1..=3 if !first => {
                // The two low bits of the byte that stands before the last one of each match.
                *self.out.get_mut(self.at.checked_sub(2)?)? |= len as u8;
            }
            _ if first && len <= 238 => self.put([len as u8 + 17])?,
            4..=18 => self.put([len as u8 - 3])?,
            _ => {
                self.put([0])?;
                self.long(len - 18)?;
            }
        }
        // Few bytes are copied as sixteen where there are as many: what is too much is written over.
        if len <= SHORT
            && let Some(from) = block.get(start..).and_then(|rest| rest.first_chunk::<SHORT>())
            && let Some(to) = self.out.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut::<SHORT>())
        {
            *to = *from;
        } else {
            self.out.get_mut(self.at..self.at + len)?.copy_from_slice(block.get(start..end)?);
        }
        self.at += len;
        Some(())
    }

    fn long(&mut self, mut rest: usize) -> Option<()> {
        while rest > 255 {
            self.put([0])?;
            rest -= 255;
        }
        self.put([rest as u8])
    }

    /// A match of at least three bytes. The byte with room for literals is always the last but one.
    fn matched(&mut self, distance: usize, len: usize) -> Option<()> {
        if len <= 8 && distance <= 2048 {
            let distance = distance - 1;
            let low = ((distance & 7) << 2) as u8;
            let head = if len <= 4 { 64 | ((len - 3) << 5) as u8 } else { 128 | ((len - 5) << 5) as u8 };
            return self.put([head | low, (distance >> 3) as u8]);
        }
        let far = distance > 16384;
        let (head, most, field) = if far {
            (16 | (((distance - 16384) >> 11 & 8) as u8), 9, distance - 16384)
        } else {
            (32, 33, distance - 1)
        };
        if len <= most {
            return self.put([head | (len - 2) as u8, ((field & 0x3f) << 2) as u8, (field >> 6) as u8]);
        }
        self.put([head])?;
        self.long(len - most)?;
        self.put([((field & 0x3f) << 2) as u8, (field >> 6) as u8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(block: &[u8]) -> Vec<u8> {
        let mut out = vec![0; most_packed(block.len())];
        let mut packer = Packer::new();
        // What an earlier block left in the table does not count.
        let _ = packer.pack(&block.iter().rev().copied().collect::<Vec<u8>>(), &mut out, usize::MAX);
        let len = packer.pack(block, &mut out, usize::MAX).unwrap();
        out.truncate(len);
        out
    }

    fn there_and_back(block: &[u8]) -> usize {
        let packed = packed(block);
        let mut out = vec![0; block.len()];
        assert_eq!(unpack(&packed, &mut out), Ok(block.len()));
        assert_eq!(out, block);
        for cut in 0..packed.len() {
            assert!(unpack(&packed[..cut], &mut out).is_err(), "cut at {cut} of {}", packed.len());
        }
        packed.len()
    }

    #[test]
    fn blocks_of_every_kind() {
        assert!(there_and_back(&[0; 4096]) < 40);
        assert!(there_and_back(&b"one two three, one two three, one two four ".repeat(90)) < 200);
        let mut state = 1u32;
        let mut noise = |bits: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & ((1u16 << bits) - 1) as u8
        };
        for bits in 0..=8 {
            for len in [0, 1, 2, 3, 4, 5, 20, 21, 22, 240, 300, 4096, 65_535] {
                let block: Vec<u8> = (0..len).map(|_| noise(bits)).collect();
                if len < 5000 || bits % 4 == 1 {
                    let packed = packed(&block);
                    let mut out = vec![0; len];
                    assert_eq!(unpack(&packed, &mut out), Ok(len), "{bits} bits, {len} bytes");
                    assert_eq!(out, block);
                }
            }
        }
        // Matches near and far, with every number of literals between.
        let far: Vec<u8> =
            (0..60_000u32).map(|i| if i % 5000 < 40 + i / 5000 { (i % 5000) as u8 } else { noise(8) }).collect();
        let packed = packed(&far);
        let mut out = vec![0; far.len()];
        assert_eq!(unpack(&packed, &mut out), Ok(far.len()));
        assert_eq!(out, far);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut out = [0; 64];
        for bytes in [&[][..], &[255], &[20, 1], &[0, 0, 0], &[64, 0], &[18, 65, 32, 0, 0], &[21, 1, 2, 3, 4, 255, 9]] {
            assert_eq!(unpack(bytes, &mut out), Err(Damaged), "{bytes:?}");
        }
    }
}
