//! Telling a zstd frame of nothing but zeros by its blocks, without unpacking it.
//!
//! *What it is*: a walk along the blocks' headers (RFC 8878, 3.1.1). For example 64 MiB of zeros are 512 blocks: after the
//! first, each is a byte 0 that is to be repeated 131072 times.
//!
//! *What it is not*: a check of the frame. `false` only says that it must be unpacked to know more.
//!
//! *Folklore*: the first block is no repeated byte but compressed in earnest, even where it is all zeros: zstd up to 1.4.3
//! could not decode such a first block when streaming, so the encoder avoids it to this day (1.5.7). It alone is unpacked.

use crate::Endian;
use crate::bytes::Fields;
use std::io::Read;

const MAGIC: u32 = 0xfd2f_b528;
const MAX_BLOCK: u64 = 128 << 10;
/// Smaller frames are unpacked as quickly.
const WORTH_IT: u64 = 256 << 10;

/// Whether the frame unpacks to exactly so many zeros, and this can be told cheaply.
pub(super) fn is_zeros(frame: &[u8], size: u64) -> bool {
    // 4 bytes for 128 KiB, and some hundred for headers and the first block.
    let shape = frame.len() as u64 <= size / 16_384 + 512;
    size >= WORTH_IT && shape && blocks_are_zeros(frame, size) == Some(true)
}

fn blocks_are_zeros(frame: &[u8], size: u64) -> Option<bool> {
    const RAW: u32 = 0;
    const REPEATED: u32 = 1;
    let fields = Fields::new(frame, Endian::Little);
    let descriptor = fields.u8(4)?;
    if fields.u32(0)? != MAGIC {
        return None;
    }
    let single_segment = descriptor & 0x20 != 0;
    let has_sum = descriptor & 4 != 0;
    let dictionary = *[0, 1, 2, 4].get(usize::from(descriptor & 3))?;
    // From 256 KiB on, the size has 4 or 8 bytes. Without it, the first block's share could not be told.
    let width = *[None, None, Some(4), Some(8)].get(usize::from(descriptor >> 6))?;
    let width = width?;
    let mut at = 5 + usize::from(!single_segment) + dictionary;
    if fields.uint(at, width)? != size {
        return Some(false);
    }
    at += width;
    let (mut first, mut zeros) = (true, 0);
    loop {
        let header = fields.uint(at, 3)? as u32;
        let (last, kind, length) = (header & 1 != 0, header >> 1 & 3, header >> 3);
        at += 3;
        if kind == REPEATED {
            if fields.u8(at)? != 0 || u64::from(length) > MAX_BLOCK {
                return Some(false);
            }
            zeros += u64::from(length);
            at += 1;
        } else {
            // The few bytes behind the last whole block are often left as they are.
            let content = fields.slice(at, length as usize)?;
            at += content.len();
            if !first {
                if kind != RAW || content.iter().any(|&byte| byte != 0) {
                    return Some(false);
                }
                zeros += u64::from(length);
            }
        }
        first = false;
        if last {
            break;
        }
    }
    // What the repeated blocks do not have is the first one's.
    let begin = size.checked_sub(zeros)?;
    if at + if has_sum { 4 } else { 0 } != frame.len() || begin > MAX_BLOCK {
        return Some(false);
    }
    let mut start = vec![1; begin as usize];
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame).ok()?;
    decoder.window_log_max(super::decode::ZSTD_WINDOW_LOG).ok()?;
    decoder.read_exact(&mut start).ok()?;
    Some(start.iter().all(|&byte| byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn pack(bytes: &[u8], level: i32, sum: bool) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
        encoder.include_checksum(sum).unwrap();
        encoder.set_pledged_src_size(Some(bytes.len() as u64)).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn zeros_are_told_and_nothing_else_is() {
        let mut bytes = vec![0; (1 << 20) + 5];
        for level in [-1, 1, 3, 9, 19] {
            for sum in [false, true] {
                assert!(is_zeros(&pack(&bytes, level, sum), bytes.len() as u64), "{level} {sum}");
                assert!(is_zeros(&zstd::bulk::compress(&bytes, level).unwrap(), bytes.len() as u64), "{level}");
            }
        }
        let frame = pack(&bytes, 3, true);
        for wrong in [-1, 1, 1 << 17, -(1 << 17)] {
            assert!(!is_zeros(&frame, (bytes.len() as u64).wrapping_add_signed(wrong)), "{wrong}");
        }
        for cut in 0..frame.len() {
            assert!(!is_zeros(&frame[..cut], bytes.len() as u64), "{cut}");
        }
        for at in [0, 1, 100_000, 131_071, 131_072, 131_073, 500_000, bytes.len() - 1] {
            bytes[at] = 1;
            assert!(!is_zeros(&pack(&bytes, 3, true), bytes.len() as u64), "{at}");
            bytes[at] = 0;
        }
    }

    /// Whatever is changed in a frame: if it still passes, it unpacks to the zeros.
    #[test]
    fn a_changed_frame_is_not_mistaken() {
        let size = 1 << 20;
        let frame = pack(&vec![0; size], 3, false);
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut changed = frame.clone();
                changed[at] ^= 1 << bit;
                if is_zeros(&changed, size as u64) {
                    // The library also judges the header, which has no part in the content.
                    if let Ok(bytes) = zstd::bulk::decompress(&changed, size) {
                        assert!(bytes == vec![0; size], "byte {at}, bit {bit}");
                    }
                }
            }
        }
    }
}
