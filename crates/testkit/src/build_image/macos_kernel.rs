//! The container of macOS's kernel cores, and a kernel core to put into it.

use crate::build_core::pen::Pen;
use std::io::Write;

/// How a file in the container is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not.
    Plain,
    /// With gzip, as version 1 does.
    Gzip,
    /// With zlib.
    Zlib,
    /// With LZ4 in Apple's frames, as new systems write to disk.
    Lz4,
}

/// A container with these files (name, content); `second` for version 2.
#[must_use]
pub fn container(second: bool, files: &[(&str, Vec<u8>, Packing)], log: &str) -> Vec<u8> {
    let packed: Vec<(&str, Vec<u8>, Packing)> =
        files.iter().map(|(name, content, packing)| (*name, pack(content, *packing), *packing)).collect();
    let mut pen = Pen::little();
    let log_at = 4096u64;
    let mut at = log_at + log.len() as u64;
    if second {
        pen.bytes(b"Boss Mac");
        pen.u32(2);
        pen.bytes(&[0; 4]);
        pen.u64(0);
        pen.u64(0);
        pen.bytes(&[0; 8]);
    } else {
        pen.bytes(b"Rad Mac\0");
    }
    pen.u64(log_at);
    pen.u64(log.len() as u64);
    pen.u64(packed.len() as u64);
    for (name, content, packing) in &packed {
        if second {
            pen.u64(match packing {
                Packing::Plain => 0,
                Packing::Gzip | Packing::Zlib => 0x100,
                Packing::Lz4 => 0x200,
            });
        }
        pen.u64(at);
        pen.u64(content.len() as u64);
        let mut field = name.as_bytes().to_vec();
        field.resize(16, 0);
        pen.bytes(&field);
        at += content.len() as u64;
    }
    let padding = log_at - pen.position();
    pen.bytes(&vec![0; padding as usize]);
    pen.bytes(log.as_bytes());
    for (_, content, _) in &packed {
        pen.bytes(content);
    }
    pen.into_bytes()
}

fn pack(content: &[u8], packing: Packing) -> Vec<u8> {
    let level = flate2::Compression::fast();
    // A vector takes every byte.
    match packing {
        Packing::Plain => content.to_vec(),
        Packing::Lz4 => lz4(content),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(content).and_then(|()| encoder.finish()).unwrap_or_default()
        }
        Packing::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(content).and_then(|()| encoder.finish()).unwrap_or_default()
        }
    }
}

/// A core of an arm64 kernel: segments (address, content), and threads whose registers hold `seed` + their number.
#[must_use]
pub fn kernel_core(segments: &[(u64, Vec<u8>)], threads: &[u64]) -> Vec<u8> {
    let commands = segments.len() + threads.len();
    let size = 72 * segments.len() + (16 + 272) * threads.len();
    let mut pen = Pen::little();
    for value in [0xfeed_facf, 0x0100_000c, 2, 4, commands as u32, size as u32, 0, 0] {
        pen.u32(value);
    }
    let mut at = (32 + size as u64).next_multiple_of(4096);
    let first = at;
    for (address, content) in segments {
        pen.u32(0x19);
        pen.u32(72);
        pen.bytes(&[0; 16]);
        for value in [*address, content.len() as u64, at, content.len() as u64] {
            pen.u64(value);
        }
        for value in [7, 3, 0, 0] {
            pen.u32(value);
        }
        at += content.len() as u64;
    }
    for seed in threads {
        pen.u32(4);
        pen.u32(16 + 272);
        pen.u32(6);
        pen.u32(68);
        for number in 0..33 {
            pen.u64(seed + number);
        }
        pen.u32(0x6000_0000);
        pen.u32(0);
    }
    let padding = first - pen.position();
    pen.bytes(&vec![0; padding as usize]);
    for (_, content) in segments {
        pen.bytes(content);
    }
    pen.into_bytes()
}

/// Blocks of 16 KiB, every third of them not packed.
fn lz4(content: &[u8]) -> Vec<u8> {
    let mut pen = Pen::little();
    for (number, block) in content.chunks(16 << 10).enumerate() {
        if number % 3 == 2 {
            pen.bytes(b"bv4-");
            pen.u32(block.len() as u32);
            pen.bytes(block);
        } else {
            let packed = lz4_flex::block::compress(block);
            pen.bytes(b"bv41");
            pen.u32(block.len() as u32);
            pen.u32(packed.len() as u32);
            pen.bytes(&packed);
        }
    }
    pen.bytes(b"bv4$");
    pen.into_bytes()
}
