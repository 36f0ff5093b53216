//! Files that lie, against the readers of virtual machines' memory and of old kernels' dumps: absurd numbers, and the seeds
//! of the fuzz target with mutations.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::source::SharedSource;
use afterimage_dump::{Budget, Dump, Machine, Memory, Phys, open_source};
use afterimage_testkit::build_image;
use afterimage_testkit::build_image::numbered::{page, pages};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn machine(dump: &Dump) -> &Machine {
    dump.machine.as_deref().unwrap()
}

fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Dump, afterimage_dump::Error> {
    let source: SharedSource = Arc::new(bytes);
    open_source(Path::new(name), source, &Budget::default())
}

/// Every number of the first kilobyte of every file made absurd, one after the other.
#[test]
fn absurd_numbers() {
    use build_image::{lkcd, macos_kernel, qemu, vmware};
    let mut stream = qemu::Stream::new("pc-q35-9.0", &[("pc.ram", 1 << 20)]);
    (0..8).for_each(|number| stream.page("pc.ram", number, &page(number)));
    let mapped = qemu::mapped("pc-q35-9.0", &[("pc.ram", 64 << 10)], &|_, number| Some(page(number)), &[]);
    let state = vmware::State {
        magic: 0xbed2_bed2,
        regions: vec![(0, 0, 4)],
        memory: Some(pages(0..4)),
        cpus: vec![(1, 2)],
        ..vmware::State::default()
    };
    let core = macos_kernel::kernel_core(&[(0x1000, pages(0..2))], &[1]);
    let mut files = vec![
        stream.finish(&[qemu::processor(1, 2)]),
        mapped,
        vmware::build(&state),
        lkcd::dump(8, lkcd::Machine::X86_64, lkcd::Packing::Raw, &[(0, page(0))], 1),
        macos_kernel::container(true, &[("kernel", core, macos_kernel::Packing::Plain)], "log"),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/system_images");
    for seed in ["sadump-single", "freebsd-minidump", "freebsd-full"] {
        files.push(std::fs::read(folder.join(seed)).unwrap());
    }
    for bytes in files {
        for at in (0..1024.min(bytes.len() - 8)).step_by(3).chain((4096..4500).step_by(4)) {
            for value in [u64::MAX, 0, 1 << 63, 0x7fff_ffff_ffff_f000, 0xffff_fff0] {
                let mut bytes = bytes.clone();
                if let Some(field) = bytes.get_mut(at..at + 8) {
                    field.copy_from_slice(&value.to_le_bytes());
                }
                let Ok(dump) = from_bytes("built", bytes) else { continue };
                let mut block = [0; 64];
                let mut here = Phys(0);
                for _ in 0..200 {
                    let Some(extent) = machine(&dump).memory.next(here).filter(|extent| extent.end > here) else {
                        break;
                    };
                    let _ = machine(&dump).memory.read_at(extent.start, &mut block);
                    let _ = machine(&dump).memory.read_at(Phys(extent.end.0 - 1), &mut block);
                    here = extent.end;
                }
            }
        }
    }
}

/// What the fuzz target begins with must say something to the readers.
#[test]
fn every_seed_of_the_fuzz_target_opens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/system_images");
    let mut seeds: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 8);
    for seed in seeds {
        let dump =
            from_bytes("seed", std::fs::read(&seed).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", seed.display()));
        let sizes = machine(&dump).sizes();
        let kernel = dump.memory.extents().len();
        println!("{} {:?} {sizes:?} {} processors, {:?}", seed.display(), dump.format, dump.threads.len(), dump.issues);
        assert!(sizes.present > 0 || kernel > 0, "{}: no memory", seed.display());
        assert!(dump.complete(), "{}: {:?}", seed.display(), dump.issues);
    }
}

/// A small fuzzer of the seeds, for those who have no time for the real one: `IMAGES_VM_MUTATIONS=100000` makes more.
#[test]
fn mutated_seeds() {
    let rounds: u32 = std::env::var("IMAGES_VM_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/system_images");
    let mut seeds: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    for seed in seeds {
        let original = std::fs::read(&seed).unwrap();
        let mut slowest = std::time::Duration::ZERO;
        for round in 0..rounds {
            let mut bytes = original.clone();
            for _ in 0..random(4) + 1 {
                // Most mutations where the headers are.
                let reach = if random(2) == 0 { bytes.len().min(400) } else { bytes.len() };
                let at = random(reach);
                match random(6) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at] ^= 1 << random(8),
                    2 => bytes.truncate(at + 1),
                    3 => {
                        let value = [u64::MAX, 0, 1, 1 << 63, u64::MAX << 12, 0xffff_ffff, 0x8000_0000][random(7)];
                        let len = [2, 4, 8][random(3)];
                        let value = value.to_le_bytes();
                        bytes.iter_mut().skip(at).zip(value.into_iter().take(len)).for_each(|(to, from)| *to = from);
                    }
                    4 => {
                        let from = random(bytes.len());
                        let piece = bytes[from..bytes.len().min(from + random(64) + 1)].to_vec();
                        bytes.iter_mut().skip(at).zip(piece).for_each(|(to, from)| *to = from);
                    }
                    _ => {
                        let from = random(bytes.len());
                        let piece = bytes[from..bytes.len().min(from + random(64) + 1)].to_vec();
                        bytes.splice(at..at, piece);
                    }
                }
            }
            let started = std::time::Instant::now();
            let Ok(dump) = from_bytes("mutated", bytes) else { continue };
            let Some(machine) = dump.machine.as_deref() else { continue };
            let mut block = [0; 64];
            let mut at = Phys(0);
            for _ in 0..1000 {
                let Some(extent) = machine.memory.next(at) else { break };
                assert!(extent.start < extent.end && extent.end > at, "{} {round}: {extent:?} {at:?}", seed.display());
                let _ = machine.memory.read_at(extent.start, &mut block);
                let _ = machine.memory.read_at(Phys(extent.end.0 - 1), &mut block);
                at = extent.end;
            }
            if let Some(memory) = &machine.virtual_memory {
                for extent in memory.extents().iter().take(1000) {
                    let _ = memory.read_at(extent.start, &mut block);
                }
            }
            slowest = slowest.max(started.elapsed());
        }
        println!("{}: slowest {slowest:?}", seed.display());
    }
}
