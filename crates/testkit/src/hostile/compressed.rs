//! Compressed files that grow without measure, that ask for a huge window, or that are damaged.
//!
//! A bomb is a sound core at the front, then tens of GiB of zeros: a reader that stops at the first page would not see
//! what is wrong. Each is put together from one compressed block, repeated; nothing is compressed twice.

use std::io::Write;

use super::{Hostile, bzip2_blocks, cut, set_bytes, xz_blocks};
use crate::build_core::pen::Pen;
use crate::build_core::{Segment, sample_core, sample_core_builder};

const MIB: usize = 1 << 20;

/// A core that says it has 64 GiB more.
pub(super) fn front() -> Vec<u8> {
    let rest = Segment::new(0x10_0000_0000, Vec::new()).claim_file_size(64 << 30);
    sample_core_builder().segment(rest).build()
}

pub(super) fn inputs() -> Vec<Hostile> {
    let mut inputs = bombs();
    inputs.extend(headers());
    inputs.extend(damaged());
    inputs
}

fn bombs() -> Vec<Hostile> {
    vec![
        Hostile::new("compressed/gzip-bomb", || gzip(&front(), 1024)),
        Hostile::new("compressed/gzip-bomb-of-zeros", || gzip(&[], 1024)),
        Hostile::new("compressed/gzip-bomb-in-many-members", || gzip(&front(), 64).repeat(16)),
        Hostile::new("compressed/gzip-in-gzip", || gzip_plain(&gzip_plain(&gzip(&front(), 512)))),
        Hostile::new("compressed/zstd-bomb", || zstd(&front(), 32 << 10)),
        Hostile::new("compressed/zstd-bomb-of-zeros", || zstd(&[], 32 << 10)),
        Hostile::new("compressed/zstd-bomb-in-many-frames", || zstd(&front(), 1 << 10).repeat(32)),
        Hostile::new("compressed/xz-bomb", || xz_blocks::bomb(&front(), 32 << 10)),
        Hostile::new("compressed/xz-bomb-of-zeros", || xz_blocks::bomb(&[], 32 << 10)),
        Hostile::new("compressed/bzip2-bomb", || bzip2_blocks::bomb(&front(), 760)), // 32 GiB
        Hostile::new("compressed/bzip2-bomb-of-zeros", || bzip2_blocks::bomb(&[], 760)),
        Hostile::new("compressed/lz4-bomb", || lz4(&front(), 1024)), // 4 GiB: lz4 cannot do better than 1 : 255
        Hostile::large("compressed/lz4-bomb-16-gib", || lz4(&front(), 4096)),
    ]
}

/// Headers that ask for too much, or that never come to the point.
fn headers() -> Vec<Hostile> {
    vec![
        Hostile::new("compressed/gzip-header-without-end", || {
            let mut file = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
            file.resize(4 * MIB, b'n'); // a file name that never ends
            file
        }),
        Hostile::new("compressed/zstd-window-max", || {
            let mut file = zstd(&front(), 16);
            set_bytes(&mut file, 5, &[0xff]); // 3.75 TiB
            file
        }),
        Hostile::new("compressed/zstd-content-size-max", || {
            // Single segment: the window is as large as the content, whose size has 8 bytes.
            let mut file = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
            file.extend([0xff; 8]);
            file.extend([1, 0, 0]);
            file
        }),
        Hostile::new("compressed/zstd-skippable-frames-only", || {
            Pen::little().u32(0x184d_2a50).u32(0).clone().into_bytes().repeat(100_000)
        }),
        Hostile::new("compressed/zstd-skippable-frame-max", || {
            Pen::little().u32(0x184d_2a50).u32(u32::MAX).zeros(100).clone().into_bytes()
        }),
        Hostile::new("compressed/xz-dictionary-max", || xz_blocks::with_dictionary(&front(), 40)), // 4 GiB − 1
        Hostile::new("compressed/lz4-skippable-frames-only", || {
            Pen::little().u32(0x184d_2a51).u32(0).clone().into_bytes().repeat(1000)
        }),
    ]
}

fn damaged() -> Vec<Hostile> {
    type Make = fn() -> Vec<u8>;
    let codecs: [(&str, Make); 5] = [
        ("gzip", || gzip_plain(&sample_core())),
        ("zstd", || zstd(&sample_core(), 0)),
        ("xz", || xz_blocks::plain(&sample_core())),
        ("bzip2", || bzip2_blocks::plain(&sample_core())),
        ("lz4", || lz4(&sample_core(), 0)),
    ];
    let mut inputs = Vec::new();
    for (name, make) in codecs {
        inputs.extend([
            Hostile::new(format!("compressed/{name}-magic-only"), move || cut(&make(), 6)),
            Hostile::new(format!("compressed/{name}-cut-in-half"), move || {
                let file = make();
                cut(&file, file.len() / 2)
            }),
            Hostile::new(format!("compressed/{name}-last-byte-lost"), move || {
                let file = make();
                cut(&file, file.len().saturating_sub(1))
            }),
            Hostile::new(format!("compressed/{name}-damaged-in-the-middle"), move || {
                let mut file = make();
                let middle = file.len() / 2;
                set_bytes(&mut file, middle, &[0x55, 0xaa, 0x55, 0xaa]);
                file
            }),
            Hostile::new(format!("compressed/{name}-garbage-after-end"), move || {
                let mut file = make();
                file.extend(b"garbage".repeat(1000));
                file
            }),
        ]);
    }
    inputs
}

/// What a writer into memory holds; memory does not fail.
pub(super) fn written(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let result = write(&mut bytes);
    assert!(result.is_ok(), "compression into memory failed: {result:?}");
    bytes
}

/// An ordinary gzip file.
pub(super) fn gzip_plain(bytes: &[u8]) -> Vec<u8> {
    written(|file| {
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(bytes)?;
        encoder.finish().map(|_| ())
    })
}

/// A deflate stream that was flushed and not ended: it stops on a whole byte and looks back at nothing before its own
/// start, so that several can be strung together.
fn flushed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let result = encoder.write_all(bytes).and_then(|()| encoder.flush());
    assert!(result.is_ok(), "compression into memory failed: {result:?}");
    encoder.get_ref().clone()
}

/// One gzip member: the bytes, then 16 MiB of zeros as often as asked. Its checksum and length are right.
pub(super) fn gzip(front: &[u8], chunks: u32) -> Vec<u8> {
    let zeros = vec![0; 16 * MIB];
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let mut crc = flate2::Crc::new();
    crc.update(front);
    file.extend(flushed(front));
    let chunk = flushed(&zeros);
    let mut chunk_crc = flate2::Crc::new();
    chunk_crc.update(&zeros);
    for _ in 0..chunks {
        file.extend_from_slice(&chunk);
        crc.combine(&chunk_crc);
    }
    file.extend([3, 0]); // an empty last block
    file.extend(crc.sum().to_le_bytes());
    file.extend(crc.amount().to_le_bytes());
    file
}

/// One zstd frame (RFC 8878) of raw blocks, then 1 MiB of zeros as often as asked, as run-length blocks of 128 KiB.
pub(super) fn zstd(front: &[u8], mebibytes: u32) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    const WINDOW_OF_128_KIB: u8 = 7 << 3;
    let mut pen = Pen::little();
    pen.u32(0xfd2f_b528).u8(0).u8(WINDOW_OF_128_KIB);
    for chunk in front.chunks(BLOCK) {
        pen.number((chunk.len() as u64) << 3, 3).bytes(chunk);
    }
    for _ in 0..u64::from(mebibytes) * 8 {
        pen.number((BLOCK as u64) << 3 | 1 << 1, 3).u8(0);
    }
    pen.number(1, 3); // an empty last block
    pen.into_bytes()
}

/// One lz4 frame: the bytes, then 4 MiB of zeros as often as asked.
pub(super) fn lz4(front: &[u8], chunks: usize) -> Vec<u8> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    const HEADER: usize = 7;
    const END_MARK: usize = 4;
    let encode = |bytes: &[u8]| {
        written(|file| {
            let info = FrameInfo::new().block_size(BlockSize::Max4MB).block_mode(BlockMode::Independent);
            let mut encoder = FrameEncoder::with_frame_info(info, file);
            encoder.write_all(bytes)?;
            encoder.finish().map(|_| ()).map_err(std::io::Error::other)
        })
    };
    let zeros = encode(&vec![0; 4 * MIB]);
    let block = zeros.get(HEADER..zeros.len().saturating_sub(END_MARK)).unwrap_or(&[]);
    let mut file = encode(front);
    file.truncate(file.len().saturating_sub(END_MARK));
    for _ in 0..chunks {
        file.extend_from_slice(block);
    }
    file.extend([0; END_MARK]);
    file
}
