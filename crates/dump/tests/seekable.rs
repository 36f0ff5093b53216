//! Seekable packed files: what we write is read by the `zstd` program, by the format's own library and by us; what that
//! library writes is read by us; and little is read for little.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::compressed::{Compression, unpack};
use afterimage_dump::source::{SharedSource, Source, read_vec};
use afterimage_dump::write::seekable::{Options, Totals, Writer};
use afterimage_dump::{Budget, Dump, Memory, MemoryExt, Virt, open_source};
use afterimage_testkit::build_core::{CoreBuilder, Machine, Segment, Thread, sample_core};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zstd_safe::seekable::{Seekable, SeekableCStream};

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    /// Half noise, half runs: no dump is all of one.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 64);
        while bytes.len() < len {
            match self.next(3) {
                0 => bytes.resize(bytes.len() + self.next(5000) as usize, 0),
                1 => bytes.extend(b"the same words again ".repeat(self.next(20) as usize)),
                _ => bytes.extend((0..self.next(300)).map(|_| self.next(256) as u8)),
            }
        }
        bytes.truncate(len);
        bytes
    }
}

fn small(threads: usize) -> Options {
    Options { frame_size: 10_000, level: 1, threads }
}

fn pack(bytes: &[u8], options: Options) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), options).unwrap();
    writer.write_all(bytes).unwrap();
    let (file, totals) = writer.finish().unwrap();
    assert_eq!(totals, Totals { uncompressed: bytes.len() as u64, compressed: file.len() as u64 });
    file
}

/// Counts what is read of a file.
struct Counting {
    bytes: Vec<u8>,
    read: Arc<AtomicU64>,
}

impl Source for Counting {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.bytes.read_at(at, buf)?;
        self.read.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

/// The unpacked source of a file, and how much of the file was read so far.
fn source(bytes: Vec<u8>) -> (SharedSource, Arc<AtomicU64>) {
    let read = Arc::new(AtomicU64::new(0));
    let counting: SharedSource = Arc::new(Counting { bytes, read: read.clone() });
    let unpacked = unpack(Path::new("packed"), &counting, &Budget::default()).unwrap().unwrap();
    assert_eq!(unpacked.compression, Compression::Zstd);
    assert!(unpacked.issues.is_empty(), "{:?}", unpacked.issues);
    (unpacked.source, read)
}

/// As [`source`], for a file that must not be unpacked as a whole.
fn lazy(bytes: Vec<u8>) -> SharedSource {
    let len = bytes.len() as u64;
    let (source, read) = source(bytes);
    assert!(read.load(Ordering::Relaxed) < len / 2 + 100, "{} of {len} bytes were read", read.load(Ordering::Relaxed));
    source
}

fn all_of(source: &SharedSource) -> Vec<u8> {
    read_vec(&**source, 0, source.len() as usize).unwrap()
}

/// What the program makes of a file, `None` if it is missing outside of CI.
fn zstd(arguments: &[&str], file: &[u8]) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.zst");
    std::fs::write(&path, file).unwrap();
    let output = match Command::new("zstd").args(arguments).arg(&path).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(cause) => {
            assert!(std::env::var_os("CI").is_none(), "zstd is needed: {cause}");
            eprintln!("not checked, zstd is missing: {cause}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

#[test]
fn files_of_every_length_are_read_again() {
    let mut dice = Dice(1);
    let mut lengths = vec![1, 9_999, 10_000, 10_001, 20_000, 100_000, 1_000_000];
    lengths.extend((0..20).map(|_| dice.next(200_000) as usize + 1));
    for (number, len) in lengths.into_iter().enumerate() {
        let bytes = dice.bytes(len);
        // Written in pieces of all lengths.
        let mut writer = Writer::new(Vec::new(), small(number % 4)).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(dice.next(30_000) as usize));
            writer.write_all(now).unwrap();
            if dice.next(5) == 0 {
                writer.flush().unwrap();
            }
            rest = later;
        }
        let (file, totals) = writer.finish().unwrap();
        assert_eq!(totals, Totals { uncompressed: len as u64, compressed: file.len() as u64 });
        assert_eq!(file, pack(&bytes, small(2)), "neither pieces nor threads make a difference");
        if let Some(unpacked) = zstd(&["-dcq"], &file) {
            assert!(unpacked == bytes, "{len}");
        }
        let (source, _) = source(file);
        assert_eq!(source.len(), len as u64);
        assert!(all_of(&source) == bytes, "{len}");
        for _ in 0..50 {
            let (at, want) = (dice.next(len as u64 + 10), dice.next(25_000) as usize);
            let end = len.min(at as usize + want);
            assert!(read_vec(&*source, at, want).unwrap() == bytes[end.min(at as usize)..end], "{len}: {want} at {at}");
        }
        assert_eq!(source.read_at(u64::MAX, &mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn an_empty_file_is_one() {
    let file = pack(&[], Options::default());
    assert_eq!(zstd(&["-dcq"], &file).unwrap_or_default(), Vec::<u8>::new());
    zstd(&["-tq"], &file);
    let error = unpack(Path::new("packed"), &(Arc::new(file) as SharedSource), &Budget::default()).err().unwrap();
    assert!(error.to_string().contains("holds no bytes"), "{error}");
}

#[test]
fn zeros_are_zeros_however_they_are_given() {
    let mut dice = Dice(2);
    for threads in [1, 3] {
        let (mut bytes, mut writer) = (Vec::new(), Writer::new(Vec::new(), small(threads)).unwrap());
        for _ in 0..100 {
            let len = dice.next(35_000);
            if dice.next(2) == 0 {
                writer.zeros(len).unwrap();
                bytes.resize(bytes.len() + len as usize, 0);
            } else {
                let piece = dice.bytes(len as usize);
                writer.write_all(&piece).unwrap();
                bytes.extend(piece);
            }
        }
        let (file, totals) = writer.finish().unwrap();
        assert_eq!(totals.uncompressed, bytes.len() as u64);
        assert_eq!(file, pack(&bytes, small(threads)));
        assert!(all_of(&lazy(file)) == bytes);
    }
}

#[test]
fn a_hole_costs_next_to_nothing() {
    const HOLE: u64 = 256 << 30;
    let start = std::time::Instant::now();
    let mut writer = Writer::new(Vec::new(), Options::default()).unwrap();
    writer.write_all(b"before").unwrap();
    writer.zeros(HOLE).unwrap();
    writer.write_all(b"behind").unwrap();
    let (file, totals) = writer.finish().unwrap();
    assert_eq!(totals, Totals { uncompressed: HOLE + 12, compressed: file.len() as u64 });
    // 4 bytes for 128 KiB is the least that zstd can do: 8 MiB.
    assert!(file.len() < 9 << 20, "{}", file.len());
    let (source, read) = source(file);
    assert_eq!(source.len(), HOLE + 12);
    let mut bytes = [7; 14];
    source.read_at(HOLE - 2, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0\0\0\0\0\0\0\0behind");
    source.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"before\0\0\0\0\0\0\0\0");
    for at in (0..HOLE).step_by(1 << 30) {
        assert_eq!(source.read_at(at + 6, &mut bytes).unwrap(), 14);
        assert_eq!(bytes, [0; 14]);
    }
    println!("{:?}, {} bytes read", start.elapsed(), read.load(Ordering::Relaxed));
    assert!(read.load(Ordering::Relaxed) < 1 << 20);
}

/// Smaller than the one above, for a program that unpacks everything.
#[test]
fn the_program_unpacks_holes() {
    let mut writer = Writer::new(Vec::new(), Options::default()).unwrap();
    writer.zeros((65 << 20) + 5).unwrap();
    writer.write_all(b"behind").unwrap();
    let (file, _) = writer.finish().unwrap();
    zstd(&["-tq"], &file);
    if let Some(unpacked) = zstd(&["-dcq"], &file) {
        assert_eq!(unpacked.len(), (65 << 20) + 11);
        let (zeros, behind) = unpacked.split_at((65 << 20) + 5);
        assert!(zeros.iter().all(|&byte| byte == 0));
        assert_eq!(behind, b"behind");
    }
    // Frames say how long they are, and have checksums: `-l` lists both.
    if let Some(list) = zstd(&["-lv"], &file) {
        let list = String::from_utf8(list).unwrap();
        assert!(list.contains("XXH64") && list.contains(&format!("({} B)", (65 << 20) + 11)), "{list}");
    }
}

/// The library that the format's inventors wrote.
#[test]
fn the_formats_own_library_reads_ours() {
    let mut dice = Dice(3);
    let bytes = dice.bytes(123_456);
    let mut writer = Writer::new(Vec::new(), small(2)).unwrap();
    writer.write_all(&bytes).unwrap();
    writer.zeros(70 << 20).unwrap();
    writer.write_all(&bytes).unwrap();
    let (file, totals) = writer.finish().unwrap();
    let mut theirs = Seekable::create();
    theirs.init_buff(&file).unwrap();
    assert_eq!(theirs.offset_to_frame_index(0), 0);
    let last = theirs.num_frames() - 1;
    let end = theirs.frame_decompressed_offset(last).unwrap() + theirs.frame_decompressed_size(last).unwrap() as u64;
    assert_eq!(end, totals.uncompressed);
    let mut part = vec![0; 50_000];
    for at in [0, 9_999, 70_000] {
        assert_eq!(theirs.decompress(&mut part[..], at as u64).unwrap(), part.len());
        assert!(part == bytes[at..at + part.len()]);
        let behind = bytes.len() + (70 << 20) + at;
        assert_eq!(theirs.decompress(&mut part[..], behind as u64).unwrap(), part.len());
        assert!(part == bytes[at..at + part.len()]);
    }
}

/// A file by that library, with or without checksums in its table.
fn theirs(bytes: &[u8], sums: bool, frame: u32) -> Vec<u8> {
    let mut stream = SeekableCStream::create();
    stream.init(3, sums, frame).unwrap();
    let mut file = Vec::new();
    let mut step = vec![0; 1 << 17];
    let mut input = zstd_safe::InBuffer::around(bytes);
    while input.pos() < bytes.len() {
        let mut output = zstd_safe::OutBuffer::around(&mut step[..]);
        stream.compress_stream(&mut output, &mut input).unwrap();
        file.extend(output.as_slice());
    }
    loop {
        let mut output = zstd_safe::OutBuffer::around(&mut step[..]);
        let left = stream.end_stream(&mut output).unwrap();
        file.extend(output.as_slice());
        if left == 0 {
            return file;
        }
    }
}

#[test]
fn we_read_files_of_the_formats_own_library() {
    let bytes = Dice(4).bytes(3_000_000);
    for sums in [false, true] {
        for frame in [5_000, 300_000] {
            let file = theirs(&bytes, sums, frame);
            assert!(all_of(&lazy(file.clone())) == bytes, "{sums} {frame}");
            // Damage in the middle is an error there, and nowhere else. Without sums, it may be none.
            let mut damaged = file;
            let middle = damaged.len() / 2;
            damaged[middle..middle + 8].fill(0x55);
            let source = lazy(damaged);
            let parts: Vec<_> = (0..600).map(|part| read_vec(&*source, part * 5_000, 5_000).ok()).collect();
            let wrong = parts.iter().zip(bytes.chunks(5_000)).filter(|(part, right)| part.as_deref() != Some(right));
            assert!(wrong.clone().count() <= (frame as usize / 5_000) + 2, "{sums} {frame}");
            if sums {
                assert!(wrong.clone().count() > 0);
                assert!(wrong.clone().all(|(part, _)| part.is_none()), "{frame}: wrong bytes for an error");
            }
        }
    }
    // Frames of 32 MiB are not for reading a part of them: all is unpacked, and that is said.
    let mut noise = vec![0; 40 << 20];
    noise.iter_mut().step_by(8).for_each(|byte| *byte = 1);
    noise[..sample_core().len()].copy_from_slice(&sample_core());
    let mut dice = Dice(5);
    noise[1 << 20..].iter_mut().step_by(100).for_each(|byte| *byte = dice.next(256) as u8);
    let file: SharedSource = Arc::new(theirs(&noise, true, 32 << 20));
    let unpacked = unpack(Path::new("packed"), &file, &Budget::default()).unwrap().unwrap();
    assert!(unpacked.issues[0].text.contains("frame 0 is too large"), "{:?}", unpacked.issues);
    assert!(!unpacked.issues[0].loses_data);
}

fn open(bytes: Vec<u8>) -> (Dump, Arc<AtomicU64>) {
    let read = Arc::new(AtomicU64::new(0));
    let counting = Counting { bytes, read: read.clone() };
    (open_source(Path::new("core"), Arc::new(counting), &Budget::default()).unwrap(), read)
}

#[test]
fn a_packed_core_is_the_same_dump() {
    let memory = Dice(6).bytes(40 << 20);
    let core = CoreBuilder::new(Machine::X86_64)
        .thread(Thread::new(7).signal(11).register("rip", 0x1234).register("rsp", 0x10_0800))
        .thread(Thread::new(8).register("rip", 0x5678))
        .segment(Segment::new(0x10_0000, memory.clone()))
        .segment(Segment::new(0x7000_0000, vec![7; 5000]))
        .build();
    let packed = pack(&core, Options { frame_size: 1 << 18, ..Options::default() });
    let len = packed.len() as u64;
    let (plain, _) = open(core);
    let (dump, read) = open(packed);
    assert!(read.load(Ordering::Relaxed) < len / 20, "{} of {len} bytes were read", read.load(Ordering::Relaxed));
    assert_eq!(dump.compression, Some(Compression::Zstd));
    assert!(dump.complete(), "{:?}", dump.issues);
    assert_eq!(dump.file_size, plain.file_size);
    assert_eq!(dump.memory.extents(), plain.memory.extents());
    assert_eq!(dump.threads.len(), 2);
    assert_eq!(format!("{:?}", dump.threads), format!("{:?}", plain.threads));
    assert_eq!(format!("{:?}", dump.notes), format!("{:?}", plain.notes));
    let mut page = [0; 4096];
    dump.memory.read_exact(Virt(0x10_0000 + (20 << 20)), &mut page).unwrap();
    assert_eq!(page[..], memory[20 << 20..][..4096]);
    assert!(read.load(Ordering::Relaxed) < len / 20, "{} of {len} bytes were read", read.load(Ordering::Relaxed));
    let mut part = vec![0; 1 << 20];
    for at in (0..memory.len()).step_by(part.len()) {
        dump.memory.read_exact(Virt(0x10_0000 + at as u64), &mut part).unwrap();
        assert!(part == memory[at..at + part.len()]);
    }
    // Each frame was unpacked once, but for the first ones: they had to make room.
    assert!(read.load(Ordering::Relaxed) < len + len / 10);
}

#[test]
fn threads_share_what_is_unpacked() {
    let bytes = Dice(7).bytes(8 << 20);
    let file = pack(&bytes, Options { frame_size: 1 << 16, ..Options::default() });
    let len = file.len() as u64;
    let (source, read) = source(file);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (source, bytes) = (&source, &bytes);
            scope.spawn(move || {
                let mut dice = Dice(thread);
                for _ in 0..5000 {
                    let at = dice.next(bytes.len() as u64 - 5000);
                    assert!(read_vec(&**source, at, 5000).unwrap() == bytes[at as usize..][..5000]);
                }
            });
        }
    });
    // Each frame once; the table was looked at twice.
    assert!(read.load(Ordering::Relaxed) < len + 2000);
}

/// Cut off or damaged, it is what every packed file is.
#[test]
fn without_a_table_all_is_unpacked() {
    let memory: Vec<u8> = Dice(8).bytes(4 << 20);
    let core = CoreBuilder::new(Machine::X86_64)
        .thread(Thread::new(7).signal(11).register("rip", 0x1234))
        .segment(Segment::new(0x10_0000, memory.clone()))
        .build();
    let packed = pack(&core, Options { frame_size: 1 << 18, ..Options::default() });
    let (dump, _) = open(packed[..packed.len() / 2].to_vec());
    assert!(dump.issues[0].text.contains("stream is cut off"), "{:?}", dump.issues);
    assert!(dump.missing_bytes > 1 << 20);
    // Only the table is cut.
    for cut in [1, 9, 20] {
        let (dump, _) = open(packed[..packed.len() - cut].to_vec());
        assert_eq!(dump.missing_bytes, 0, "{cut}");
        assert_eq!(dump.file_size, core.len() as u64);
    }
    let mut behind = packed.clone();
    behind.extend(plain_frame(b"one more frame"));
    assert_eq!(open(behind).0.missing_bytes, 0);
    // Damage in the middle costs one frame.
    let mut damaged = packed;
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].fill(0x55);
    let (dump, _) = open(damaged);
    let lost = (0..memory.len()).step_by(1 << 14).filter(|at| {
        let mut page = [0; 4096];
        dump.memory.read_exact(Virt(0x10_0000 + *at as u64), &mut page).is_err()
    });
    let lost = lost.count();
    assert!((1..=17).contains(&lost), "{lost} of 256 places");
}

fn plain_frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    zstd_safe::compress(&mut frame, bytes, 3).unwrap();
    frame
}

/// Takes so many bytes, then says that the disk is full.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = bytes.len().min(self.0);
        self.0 -= now;
        if now == 0 { Err(io::Error::from_raw_os_error(28)) } else { Ok(now) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_and_stays_told() {
    let bytes = Dice(9).bytes(1 << 20);
    let whole = pack(&bytes, small(2)).len();
    for threads in [1, 2, 4] {
        for room in [0, 1, 5_000, whole / 2, whole - 30, whole - 1] {
            let mut writer = Writer::new(Full(room), small(threads)).unwrap();
            if let Err(error) = writer.write_all(&bytes) {
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                // Not a byte more, whatever is called.
                assert_eq!(writer.write(&[1]).unwrap_err().kind(), io::ErrorKind::StorageFull);
                assert_eq!(writer.zeros(1).unwrap_err().kind(), io::ErrorKind::StorageFull);
                assert_eq!(writer.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
            }
            let error = writer.finish().map(|_| ()).unwrap_err();
            assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::StorageFull, Some(28)), "{room}");
        }
        let mut writer = Writer::new(Full(whole), small(threads)).unwrap();
        writer.write_all(&bytes).unwrap();
        writer.finish().unwrap();
    }
}

#[test]
fn a_writer_may_be_dropped() {
    let bytes = Dice(10).bytes(5 << 20);
    for threads in [1, 2, 4] {
        let mut writer = Writer::new(Vec::new(), small(threads)).unwrap();
        writer.write_all(&bytes).unwrap();
        drop(writer);
    }
    fn send<T: Send>(_: &T) {}
    send(&Writer::new(Vec::new(), Options::default()).unwrap());
}

#[test]
fn frames_that_cannot_be_are_refused() {
    for frame_size in [0, (1 << 30) + 1, usize::MAX] {
        let error = Writer::new(Vec::new(), Options { frame_size, ..Options::default() }).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{frame_size}");
    }
    // Not begun, as it cannot be ended.
    let mut writer = Writer::new(Vec::new(), Options::default()).unwrap();
    assert_eq!(writer.zeros(u64::MAX).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
}

/// Tables that lie: they are not used where that can be told, and never lose what unpacking from the front would give.
#[test]
fn lies_are_seen_through() {
    let used =
        ["sound", "descriptor-with-unused-bits", "skippable-frame-with-content", "64-gib-of-zeros", "64-gib-of-ones"];
    let used = [&used[..], &["frames-of-16-mib", "many-small-frames"]].concat();
    let no_dump = ["table-only", "table-of-frames-that-are-not-there", "in-seekable", "footer-on-a-text"];
    let no_dump = [&no_dump[..], &["first-frame-damaged"]].concat();
    let (mut counts, sample) = ([0; 3], open(sample_core()).0);
    let inputs = afterimage_testkit::hostile::all();
    for input in &inputs {
        let Some(name) = input.name().strip_prefix("compressed/seekable-") else { continue };
        let opened = open_source(Path::new("core"), Arc::new(input.bytes()), &Budget::default());
        if no_dump.contains(&name) {
            assert!(opened.is_err(), "{name}");
            counts[0] += 1;
            continue;
        }
        let dump = opened.unwrap_or_else(|e| panic!("{name}: {e}"));
        let said = dump.issues.iter().any(|issue| issue.text.contains("the seek table is not used"));
        assert_eq!(said, !used.contains(&name) && name != "wrong-magic", "{name}: {:?}", dump.issues);
        counts[1 + usize::from(said)] += 1;
        if name == "other-frames-damaged" {
            assert!(dump.issues.iter().any(|issue| issue.text.contains("damaged after")), "{:?}", dump.issues);
            continue;
        }
        assert_eq!(dump.threads.len(), 2, "{name}");
        for extent in sample.memory.extents().iter().filter(|extent| extent.absent.is_none()) {
            let (mut ours, mut right) = (vec![0; (extent.end.0 - extent.start.0) as usize], vec![]);
            right.resize(ours.len(), 0);
            sample.memory.read_exact(extent.start, &mut right).unwrap();
            dump.memory.read_exact(extent.start, &mut ours).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert!(ours == right, "{name}");
        }
    }
    assert_eq!(counts, [5, 8, 23]);
}
