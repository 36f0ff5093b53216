//! bzip2 files put together from blocks. A block of 900 000 bytes holds 45 MB of zeros, because runs are shortened before
//! they are counted: 32 GiB fit into some 30 KiB.
//!
//! *Trap*: blocks begin at any bit, so they are moved bit by bit; the file's checksum is worked out from the blocks'.

use std::io::Write;

use super::compressed::written;

const HEADER_BITS: usize = 32;
const END_MARK: u64 = 0x1772_4538_5090;
const ZEROS: usize = 45_000_000;

/// An ordinary bzip2 file.
pub(super) fn plain(bytes: &[u8]) -> Vec<u8> {
    written(|file| {
        let mut encoder = bzip2::write::BzEncoder::new(file, bzip2::Compression::best());
        encoder.write_all(bytes)?;
        encoder.finish().map(|_| ())
    })
}

/// One stream: a block of the bytes, then blocks of 45 MB of zeros.
pub(super) fn bomb(front: &[u8], blocks: usize) -> Vec<u8> {
    let mut file = Bits::default();
    file.push(u64::from(u32::from_be_bytes(*b"BZh9")), 32);
    let mut sum = 0_u32;
    let mut add = |block: &Block| {
        block.bits.iter().for_each(|bit| file.bit(*bit));
        sum = sum.rotate_left(1) ^ block.crc;
    };
    if !front.is_empty() {
        add(&one_block(front));
    }
    let zeros = one_block(&vec![0; ZEROS]);
    (0..blocks).for_each(|_| add(&zeros));
    file.push(END_MARK, 48);
    file.push(u64::from(sum), 32);
    file.bytes
}

struct Block {
    bits: Vec<bool>,
    crc: u32,
}

/// The bits of the only block of a file: between the header and the end mark, which stands 80 to 87 bits before the end.
fn one_block(bytes: &[u8]) -> Block {
    let file = plain(bytes);
    let bits: Vec<bool> = file.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let value = |start: usize, count: usize| {
        bits.iter().skip(start).take(count).fold(0_u64, |sum, bit| sum << 1 | u64::from(*bit))
    };
    let end = (80..88).map(|back| bits.len().saturating_sub(back)).find(|&at| value(at, 48) == END_MARK);
    assert!(end.is_some(), "bzip2's file does not end as bzip2 files do");
    Block {
        crc: value(HEADER_BITS + 48, 32) as u32,
        bits: bits.get(HEADER_BITS..end.unwrap_or(HEADER_BITS)).unwrap_or(&[]).to_vec(),
    }
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn bit(&mut self, bit: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.used % 8);
        }
        self.used = (self.used + 1) % 8;
    }

    fn push(&mut self, value: u64, count: u32) {
        (0..count).rev().for_each(|place| self.bit(value >> place & 1 == 1));
    }
}
