//! AVML, version 2: LiME's head with other magic, a snappy stream, its length. Chunks alternate between packed and plain.

use super::Layout;

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

/// One literal after another: no copies, which is valid snappy.
fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    for literal in bytes.chunks(65_536) {
        out.push(61 << 2);
        out.extend_from_slice(&((literal.len() - 1) as u16).to_le_bytes());
        out.extend_from_slice(literal);
    }
    out
}

/// Builds a file, with ranges of at most 16 MiB.
#[must_use]
pub fn build(layout: &Layout) -> Vec<u8> {
    let mut file = Vec::new();
    for (range, bytes) in layout.pieces() {
        for (index, block) in bytes.chunks(16 << 20).enumerate() {
            let start = range.start + (index as u64) * (16 << 20);
            file.extend_from_slice(b"AVML");
            file.extend_from_slice(&[2, 0, 0, 0]);
            file.extend_from_slice(&start.to_le_bytes());
            file.extend_from_slice(&(start + block.len() as u64 - 1).to_le_bytes());
            file.extend_from_slice(&[0; 8]);
            let begin = file.len();
            file.extend_from_slice(b"\xff\x06\x00\x00sNaPpY");
            for (number, chunk) in block.chunks(65_536).enumerate() {
                let crc = crc32c(chunk);
                let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
                let (kind, data) = if number % 2 == 0 { (0u8, pack(chunk)) } else { (1, chunk.to_vec()) };
                let size = (data.len() + 4) as u32;
                file.push(kind);
                file.extend_from_slice(&size.to_le_bytes()[..3]);
                file.extend_from_slice(&masked.to_le_bytes());
                file.extend_from_slice(&data);
            }
            let length = (file.len() - begin) as u64;
            file.extend_from_slice(&length.to_le_bytes());
        }
    }
    file
}
