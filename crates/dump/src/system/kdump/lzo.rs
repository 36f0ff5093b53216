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

const TABLE_BITS: u32 = 13;
/// Farthest that a match reaches here: what the two cheapest long forms can say.
const FAR: usize = 0xbfff;

/// Packs blocks; the table of places is kept from one to the next.
pub(crate) struct Packer {
    places: Vec<u16>,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { places: vec![0; 1 << TABLE_BITS] }
    }

    /// Packs a block of at most 64 KiB into `out`, which is cleared first. Gives up (`false`) when it would not be
    /// smaller than `most`.
    pub(crate) fn pack(&mut self, block: &[u8], out: &mut Vec<u8>, most: usize) -> bool {
        out.clear();
        self.places.fill(0);
        let word = |at: usize| block.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|b| u32::from_le_bytes(*b));
        let (mut at, mut literals) = (4, 0);
        let mut misses = 0;
        while let Some(bytes) = word(at) {
            let slot = (bytes.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS)) as usize;
            let Some(place) = self.places.get_mut(slot) else { break };
            let candidate = usize::from(std::mem::replace(place, at as u16));
            if candidate >= at || at - candidate > FAR || word(candidate) != Some(bytes) {
                misses += 1;
                at += 1 + (misses >> 5);
                continue;
            }
            misses = 0;
            let mut len = 4 + same(block, candidate + 4, at + 4);
            let mut start = at;
            let mut from = candidate;
            // What stood before may match as well.
            while start > literals && from > 0 && block.get(start - 1) == block.get(from - 1) {
                (start, from, len) = (start - 1, from - 1, len + 1);
            }
            run(out, block.get(literals..start).unwrap_or_default(), literals == 0);
            matched(out, start - from, len);
            at = start + len;
            literals = at;
            if out.len() >= most {
                return false;
            }
        }
        run(out, block.get(literals..).unwrap_or_default(), literals == 0);
        out.extend_from_slice(&[17, 0, 0]);
        out.len() < most
    }
}

/// How many bytes are the same from two places on.
fn same(block: &[u8], first: usize, second: usize) -> usize {
    let (a, b) = (block.get(first..).unwrap_or_default(), block.get(second..).unwrap_or_default());
    let mut len = 0;
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let tail = a.get(len..).unwrap_or_default().iter().zip(b.get(len..).unwrap_or_default());
    len + tail.take_while(|(a, b)| a == b).count()
}

/// A literal run: up to three ride on the instruction before, if there is one.
fn run(out: &mut Vec<u8>, literals: &[u8], first: bool) {
    let len = literals.len();
    match len {
        0 => return,
        1..=3 if !first => {
            // The two low bits of the byte that ends the last match's distance, or begins a short one.
            let at = out.len().saturating_sub(2);
            if let Some(byte) = out.get_mut(at) {
                *byte |= len as u8;
            }
        }
        _ if first && len <= 238 => out.push(len as u8 + 17),
        4..=18 => out.push(len as u8 - 3),
        _ => {
            out.push(0);
            long(out, len - 18);
        }
    }
    out.extend_from_slice(literals);
}

fn long(out: &mut Vec<u8>, mut rest: usize) {
    while rest > 255 {
        out.push(0);
        rest -= 255;
    }
    out.push(rest as u8);
}

/// A match of at least three bytes. The byte with room for literals is always the last but one.
fn matched(out: &mut Vec<u8>, distance: usize, len: usize) {
    if len <= 8 && distance <= 2048 {
        let distance = distance - 1;
        let low = ((distance & 7) << 2) as u8;
        let head = if len <= 4 { 64 | ((len - 3) << 5) as u8 } else { 128 | ((len - 5) << 5) as u8 };
        out.extend_from_slice(&[head | low, (distance >> 3) as u8]);
        return;
    }
    let far = distance > 16384;
    let (head, most, field) =
        if far { (16 | (((distance - 16384) >> 11 & 8) as u8), 9, distance - 16384) } else { (32, 33, distance - 1) };
    if len <= most {
        out.push(head | (len - 2) as u8);
    } else {
        out.push(head);
        long(out, len - most);
    }
    out.extend_from_slice(&[((field & 0x3f) << 2) as u8, (field >> 6) as u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(block: &[u8]) -> usize {
        let mut packed = Vec::new();
        let mut packer = Packer::new();
        assert!(packer.pack(block, &mut packed, usize::MAX));
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
                    let mut packed = Vec::new();
                    assert!(Packer::new().pack(&block, &mut packed, usize::MAX));
                    let mut out = vec![0; len];
                    assert_eq!(unpack(&packed, &mut out), Ok(len), "{bits} bits, {len} bytes");
                    assert_eq!(out, block);
                }
            }
        }
        // Matches near and far, with every number of literals between.
        let far: Vec<u8> =
            (0..60_000u32).map(|i| if i % 5000 < 40 + i / 5000 { (i % 5000) as u8 } else { noise(8) }).collect();
        let mut packed = Vec::new();
        Packer::new().pack(&far, &mut packed, usize::MAX);
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
