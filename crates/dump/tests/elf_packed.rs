//! Packed cores: every packing, several streams in a row, cut and damaged streams, and streams that are traps.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::compressed::Compression;
use afterimage_dump::{Budget, Dump, Error, MemoryExt, ProgressHook, Virt, open_source};
use afterimage_testkit::build_core::{CoreBuilder, Machine, SampleAddresses, Segment, Thread, sample_core};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ALL: [Compression; 5] =
    [Compression::Zstd, Compression::Lz4, Compression::Xz, Compression::Gzip, Compression::Bzip2];

fn pack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            // As the `zstd` program does.
            encoder.include_checksum(true).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lz4 => {
            // A block is all or nothing, so that small ones lose less.
            let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

fn open(bytes: Vec<u8>) -> Result<Dump, Error> {
    open_source(Path::new("packed"), Arc::new(bytes), &Budget::default())
}

#[test]
fn every_packing_opens_and_says_what_it_was() {
    let plain = open(sample_core()).unwrap();
    assert_eq!(plain.compression, None);
    for compression in ALL {
        let dump = open(pack(compression, &sample_core())).unwrap();
        assert_eq!(dump.compression, Some(compression));
        assert!(dump.complete(), "{compression:?}: {:?}", dump.issues);
        assert_eq!(dump.file_size, plain.file_size);
        assert_eq!(dump.threads.len(), 2);
        assert_eq!(dump.threads[0].registers.pc(), Some(Virt(SampleAddresses::PC)));
    }
}

#[test]
fn streams_in_a_row_are_one() {
    let core = sample_core();
    for compression in ALL {
        let mut bytes = Vec::new();
        for part in core.chunks(core.len() / 3) {
            bytes.extend(pack(compression, part));
        }
        let dump = open(bytes).unwrap();
        assert!(dump.complete(), "{compression:?}: {:?}", dump.issues);
        assert_eq!(dump.file_size, core.len() as u64, "{compression:?}");
    }
    // What pzstd writes first: a skippable frame.
    let mut bytes = vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    bytes.extend(pack(Compression::Zstd, &core));
    assert_eq!(open(bytes).unwrap().compression, Some(Compression::Zstd));
}

#[test]
fn cut_and_damaged_streams_give_what_came_before() {
    // Noise does not shrink, so that a cut in the packed bytes is a cut in the core.
    let mut noise = vec![0u8; 4 << 20];
    let mut state = 1u64;
    for byte in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 33) as u8;
    }
    let core = CoreBuilder::new(Machine::X86_64)
        .thread(Thread::new(7).signal(11).register("rip", 0x1234))
        .segment(Segment::new(0x10_0000, noise.clone()))
        .build();
    for compression in ALL {
        let packed = pack(compression, &core);
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 64].fill(0x55);
        for (what, bytes) in [("cut", packed[..packed.len() / 2].to_vec()), ("damaged", damaged)] {
            let dump = open(bytes).unwrap_or_else(|e| panic!("{compression:?} {what}: {e}"));
            // lz4 has no checksum on blocks by default, so noise in its place is noise.
            if what == "damaged" && compression == Compression::Lz4 {
                continue;
            }
            assert!(!dump.complete(), "{compression:?} {what}");
            assert!(dump.issues[0].text.contains("stream is"), "{compression:?} {what}: {:?}", dump.issues);
            assert_eq!(dump.threads.len(), 1, "{compression:?} {what}");
            // Damage may be noticed by the checksum at the end only, when all bytes are there.
            assert!(what == "damaged" || dump.missing_bytes > 1 << 20, "{compression:?}: {}", dump.missing_bytes);
            let mut page = [0; 4096];
            dump.memory.read_exact(Virt(0x10_0000), &mut page).unwrap();
            assert_eq!(page[..], noise[..4096], "{compression:?} {what}");
        }
    }
}

#[test]
fn nothing_to_unpack_is_an_error() {
    for compression in ALL {
        let packed = pack(compression, &sample_core());
        let error = match open(packed[..12].to_vec()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{compression:?} opened"),
        };
        assert!(error.contains(compression.name()), "{error}");
        assert!(error.contains("nothing can be unpacked"), "{error}");
        // One layer only.
        assert!(matches!(open(pack(compression, &packed)), Err(Error::Unknown { .. })));
    }
    assert!(matches!(open(pack(Compression::Zstd, b"hello")), Err(Error::Unknown { .. })));
}

/// A large core becomes a file with holes, and progress is told.
#[test]
fn large_cores_spill_to_a_sparse_file() {
    let mut bytes = vec![0u8; 100 << 20];
    bytes[70 << 20] = 7;
    let core = CoreBuilder::new(Machine::X86_64)
        .thread(Thread::new(7).signal(6))
        .segment(Segment::new(0x10_0000, bytes))
        .build();
    let told = Arc::new(AtomicU64::new(0));
    let count = told.clone();
    let mut budget = Budget::default();
    budget.progress = Some(ProgressHook::new(move |done, total| {
        assert!(done <= total);
        count.fetch_add(1, Ordering::Relaxed);
    }));
    let mut packed = pack(Compression::Zstd, &core);
    // What follows the end that the header names is not decoded.
    packed.extend(pack(Compression::Zstd, &vec![1; 1 << 20]));
    let dump = open_source(Path::new("packed"), Arc::new(packed), &budget).unwrap();
    assert!(dump.complete(), "{:?}", dump.issues);
    assert!(dump.file_size < core.len() as u64 + (1 << 17), "{}", dump.file_size);
    let mut window = [0; 3];
    dump.memory.read_exact(Virt(0x10_0000 + (70 << 20) - 1), &mut window).unwrap();
    assert_eq!(window, [0, 7, 0]);
    dump.memory.read_exact(Virt(0x10_0000 + (100 << 20) - 3), &mut window).unwrap();
    assert!(told.load(Ordering::Relaxed) > 2);
}

#[test]
fn traps_end_early() {
    // A header that promises 2^50 bytes and zeros without end: 4 GiB in half a megabyte.
    let mut head = sample_core();
    head.resize(1 << 20, 0);
    let at = 64 + 4 * 56 + 32; // p_filesz of the last segment
    head[at..at + 8].copy_from_slice(&(1u64 << 50).to_le_bytes());
    let mut packed = pack(Compression::Zstd, &head);
    let zeros = pack(Compression::Zstd, &vec![0; 256 << 20]);
    for _ in 0..64 {
        packed.extend(&zeros);
    }
    let start = std::time::Instant::now();
    let mut budget = Budget::default();
    budget.max_expanded = 2 << 30;
    let dump = open_source(Path::new("trap"), Arc::new(packed), &budget).unwrap();
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    assert!(dump.file_size <= (2 << 30) + (1 << 20));
    assert!(dump.issues.iter().any(|issue| issue.text.starts_with("unpacking stopped")), "{:?}", dump.issues);
    assert!(!dump.complete());
    assert_eq!(dump.threads.len(), 2);
}
