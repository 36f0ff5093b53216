//! Real minidumps with thousands of bytes changed, and large files made to cost: no panic, and limits on time and memory.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

mod minidump_support;

use afterimage_dump::{Budget, Memory, open_source};
use afterimage_testkit::build_minidump::{Cpu, MinidumpBuilder, Module, SystemInfo, stream_type};
use afterimage_testkit::hostile;
use minidump_support::{bytes, open_bytes, samples};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

#[test]
fn changed_real_files() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(samples) = samples() else {
        return;
    };
    for file in [
        "minidump-other-os/breakpad/linux_stacksmash.dmp",
        "minidump-other-os/rust-minidump/linux-mini.dmp",
        "minidump-other-os/crashpad/simple-crashpad.dmp",
        "minidump-other-os/lldb-yaml/arm64-macos.dmp",
        "windows-user/breakpad/thread_name_list.dmp",
        "windows-user/breakpad/tiny-exe-with-cet-xsave.dmp",
        "windows-user/lldb-fizzbuzz/fizzbuzz_no_heap.dmp",
        "windows-wine/crash32-normal.dmp",
    ] {
        let path = samples.join(file);
        let whole = bytes(&path);
        let mut random = Random(whole.len() as u64);
        for round in 0..400u64 {
            let mut changed = whole.clone();
            // Mostly near the front, where the tables are; numbers that are 0, huge, or nearly right.
            for _ in 0..1 + random.next() % 16 {
                let reach = if random.next().is_multiple_of(4) { whole.len() as u64 } else { 2048 };
                let at = 4 + (random.next() % reach.min(whole.len() as u64 - 8)) as usize;
                let value = match random.next() % 4 {
                    0 => 0,
                    1 => u32::MAX,
                    2 => random.next() as u32,
                    _ => (random.next() % whole.len() as u64) as u32,
                };
                changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            let dump = open_bytes(&path, changed);
            assert!(dump.issues.len() <= 101, "{file} {round}");
            let extents = dump.memory.extents();
            assert!(extents.windows(2).all(|pair| pair[0].end <= pair[1].start), "{file} {round}");
            assert!(dump.regions.windows(2).all(|pair| pair[0].end <= pair[1].start), "{file} {round}");
            for extent in extents.iter().filter(|extent| extent.absent.is_none()) {
                assert!(dump.memory.read_at(extent.start, &mut [0; 16]).is_ok(), "{file} {round} {extent:?}");
            }
        }
    }
}

fn words(words: &[u64], narrow: &[u32]) -> Vec<u8> {
    let wide = words.iter().flat_map(|word| word.to_le_bytes());
    wide.chain(narrow.iter().flat_map(|word| word.to_le_bytes())).collect()
}

/// The most bytes of this process that were resident since the last [`forget_peak`].
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Sets the peak back to what is resident now (`proc(5)`, `clear_refs`). Where that is forbidden, the old peak stays
/// and the check is only weaker.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The peak is the whole process's: tests that look at it, or that allocate much, run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

/// Files of a few dozen MiB, each built to make one table as dear as it can be.
#[test]
fn dear_tables_stay_within_the_budget() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let base = || MinidumpBuilder::new().system(&SystemInfo::windows(Cpu::Amd64, 10, 0, 1));
    let count = 1_000_000u32;
    let long = "x".repeat(32_000);

    let mut ranges = count.to_le_bytes().to_vec();
    let mut regions = words(&[], &[16, 48]);
    regions.extend(words(&[u64::from(count)], &[]));
    for i in 0..u64::from(count) {
        ranges.extend(words(&[i << 13], &[16, 32]));
        regions.extend(words(&[i << 13, 0, 0, 4096], &[0x1000, 4, 0, 0]));
    }
    // A module that covers everything, with a long path that every region would copy.
    let cover = || base().module(Module::new(0, u32::MAX, &long));
    // All modules have the same long name.
    let modules = base().stream_with(stream_type::MODULE_LIST, |pen| {
        let name = pen.rva() + 4 + 200_000 * 108;
        pen.u32(200_000);
        for i in 0..200_000u64 {
            pen.u64(i << 20).u32(0x1000).u32(0).u32(0).u32(name).zeros(84);
        }
        pen.u32(64_000).bytes(&b"x\0".repeat(32_000));
        4 + 200_000 * 108
    });
    let names = base().stream_with(stream_type::THREAD_NAMES, |pen| {
        pen.u32(1_000_000).zeros(12_000_000);
        12_000_004
    });
    let files = [
        ("ranges", cover().stream(stream_type::MEMORY_LIST, &ranges)),
        ("regions", cover().stream(stream_type::MEMORY_INFO_LIST, &regions)),
        ("modules", modules),
        ("directory", base().edit_header(|header| header.stream_count = u32::MAX).stream(0x77, &vec![3; 12_000_000])),
        (
            "exceptions",
            base().stream(6, &[6; 168]).edit_directory(|rows| {
                let row = rows[1];
                rows.extend(std::iter::repeat_n(row, 300_000));
            }),
        ),
        ("names", names),
    ];
    for (name, builder) in files {
        let bytes: Arc<Vec<u8>> = Arc::new(builder.build());
        let size = bytes.len() as u64;
        forget_peak();
        let before = peak();
        let start = Instant::now();
        let dump = open_source(Path::new(name), Arc::new(bytes.to_vec()), &Budget::default()).unwrap();
        let took = start.elapsed();
        let grew = peak().saturating_sub(before);
        assert!(took < Duration::from_secs(10), "{name}: {took:?}");
        assert!(grew < (200 << 20) + size, "{name}: {} MiB more", grew >> 20);
        println!("{name}: {took:?}, {} MiB, {:?}", grew >> 20, dump.issues.last().map(|issue| &issue.text));
    }
}

/// The test kit's hostile minidumps, the large ones too: an answer or an error, soon, and little memory.
#[test]
fn hostile_minidumps_of_the_kit() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut seen = 0;
    for input in hostile::all().into_iter().filter(|input| input.name().starts_with("minidump/")) {
        let bytes = input.bytes();
        let size = bytes.len() as u64;
        forget_peak();
        let before = peak();
        let start = Instant::now();
        let result = open_source(Path::new("hostile.dmp"), Arc::new(bytes), &Budget::default());
        let (took, grew) = (start.elapsed(), peak().saturating_sub(before));
        assert!(took < Duration::from_secs(10), "{}: {took:?}", input.name());
        assert!(grew < 200 << 20, "{}: {} MiB more for {size} bytes", input.name(), grew >> 20);
        let said = match &result {
            Ok(dump) => dump.issues.iter().map(|issue| issue.text.clone()).collect::<Vec<_>>().join("; "),
            Err(e) => e.to_string(),
        };
        println!("{}: {took:?}, {} MiB: {said:.300}", input.name(), grew >> 20);
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} hostile minidumps");
}
