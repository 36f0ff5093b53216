//! xz files put together from blocks (the .xz file format, 1.2): stream header, blocks, index, footer.
//!
//! *Trap*: every part but the compressed data has a CRC32 of its own; a change to the block header must mend it.

use std::io::Write;

use super::compressed::written;
use super::set_bytes;
use crate::build_core::pen::Pen;

const STREAM_HEADER: usize = 12;
const FOOTER: usize = 12;
const NO_CHECK: [u8; 2] = [0, 0];

/// An ordinary xz file without a check of the contents.
pub(super) fn plain(bytes: &[u8]) -> Vec<u8> {
    written(|file| {
        let stream = liblzma::stream::Stream::new_easy_encoder(1, liblzma::stream::Check::None)?;
        let mut encoder = liblzma::write::XzEncoder::new_stream(file, stream);
        encoder.write_all(bytes)?;
        encoder.finish().map(|_| ())
    })
}

/// One stream: a block of the bytes, then blocks of 1 MiB of zeros.
pub(super) fn bomb(front: &[u8], mebibytes: usize) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut blocks = Vec::new();
    if !front.is_empty() {
        blocks.push((front.len(), one_block(front)));
    }
    let block = one_block(&zeros);
    blocks.extend(std::iter::repeat_n((zeros.len(), block), mebibytes));
    assemble(&blocks)
}

/// A file whose block asks for a dictionary of a size that is given as the format's code: 40 stands for 4 GiB − 1 (5.3.1).
pub(super) fn with_dictionary(bytes: &[u8], dictionary: u8) -> Vec<u8> {
    let mut block = one_block(bytes);
    // Block header: its size (in words, less one), flags, [sizes], filter id 0x21, size of properties 1, dictionary.
    let header = block.first().map_or(4, |words| (usize::from(*words) + 1) * 4);
    let filter = block.windows(2).take(header).position(|pair| pair == [0x21, 1]);
    assert!(filter.is_some(), "the block has no LZMA2 filter");
    set_bytes(&mut block, filter.unwrap_or(0) + 2, &[dictionary]);
    let crc = crc32(block.get(..header - 4).unwrap_or(&[]));
    set_bytes(&mut block, header - 4, &crc);
    assemble(&[(bytes.len(), block)])
}

/// The bytes of the only block of a file, with its padding.
fn one_block(bytes: &[u8]) -> Vec<u8> {
    let file = plain(bytes);
    let footer = file.len().saturating_sub(FOOTER);
    // The footer says how long the index before it is, in words, less one.
    let words = file.get(footer + 4..footer + 8).unwrap_or(&[]);
    let words = words.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let index = footer.saturating_sub((words + 1) * 4);
    file.get(STREAM_HEADER..index).unwrap_or(&[]).to_vec()
}

/// A file of blocks, each with the number of bytes it unpacks to.
fn assemble(blocks: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut pen = Pen::little();
    pen.bytes(b"\xfd7zXZ\0").bytes(&NO_CHECK).bytes(&crc32(&NO_CHECK));
    let mut index = vec![0];
    number(&mut index, blocks.len());
    for (size, block) in blocks {
        pen.bytes(block);
        number(&mut index, unpadded(block));
        number(&mut index, *size);
    }
    index.resize(index.len().next_multiple_of(4), 0);
    index.extend(crc32(&index));
    pen.bytes(&index);
    let backward = ((index.len() / 4).saturating_sub(1) as u32).to_le_bytes();
    let tail = [&backward[..], &NO_CHECK[..]].concat();
    pen.bytes(&crc32(&tail)).bytes(&tail).bytes(b"YZ");
    pen.into_bytes()
}

/// The size of a block without its padding: block header, then LZMA2 chunks up to and with the end mark.
fn unpadded(block: &[u8]) -> usize {
    let byte = |at: usize| block.get(at).copied().map_or(0, usize::from);
    let mut at = (byte(0) + 1) * 4;
    loop {
        let control = byte(at);
        at += match control {
            0 => return at + 1,
            // A chunk that is not compressed: control, size less one.
            1 | 2 => 3 + (byte(at + 1) << 8 | byte(at + 2)) + 1,
            // Control, two sizes less one each; a byte of properties follows if they are set anew.
            _ => 5 + (byte(at + 3) << 8 | byte(at + 4)) + 1 + usize::from(control >= 0xc0),
        };
    }
}

/// xz's number of variable length: 7 bits a byte, low ones first.
fn number(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}
