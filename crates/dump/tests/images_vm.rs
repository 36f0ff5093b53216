//! Memory of virtual machines and old kernels' dumps: shared samples against what their makers' tools read back, and
//! built files whose pages say which page they are.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::source::SharedSource;
use afterimage_dump::{Absence, Arch, Budget, Dump, Machine, Memory, MemoryExt, Os, Phys, Virt, open, open_source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn samples(folder: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples").join(folder);
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(folder)
}

fn dump(path: &Path) -> Dump {
    open(path, &Budget::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn machine(dump: &Dump) -> &Machine {
    dump.machine.as_deref().unwrap()
}

fn read(machine: &Machine, at: u64, len: usize) -> Result<Vec<u8>, Absence> {
    let mut bytes = vec![0; len];
    machine.memory.read_exact(Phys(at), &mut bytes).map(|()| bytes).map_err(|fault| fault.why)
}

/// The bytes that libkdumpfile reads back from address 0 on, as it prints them.
fn printed(path: &Path) -> Vec<u8> {
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace().map(|word| u8::from_str_radix(word, 16).unwrap()).collect()
}

#[test]
fn lkcd_samples_as_libkdumpfile_reads_them() {
    let Some(folder) = samples("kdump") else { return };
    for name in ["lkcd-basic-gzip", "lkcd-basic-raw"] {
        let dump = dump(&folder.join(format!("{name}.dump.zst")));
        let truth = printed(&folder.join(format!("{name}.result.txt")));
        assert_eq!(truth.len(), 4096);
        assert_eq!(read(machine(&dump), 0, 4096).unwrap(), truth, "{name}");
        // They have no mark of their end, so what comes behind may have been lost.
        assert_eq!(read(machine(&dump), 4096, 1).unwrap_err(), Absence::Truncated);
    }
    for (name, pages) in [("lkcd-gap", vec![0, 1, 3]), ("lkcd-unordered", vec![0, 1, 2, 3])] {
        let dump = dump(&folder.join(format!("{name}.dump.zst")));
        for page in 0..5u64 {
            let got = read(machine(&dump), page * 4096, 4096);
            assert_eq!(got.is_ok(), pages.contains(&page), "{name} page {page}: {:?}", got.map(|_| ()));
        }
        let sizes = machine(&dump).sizes();
        assert_eq!(sizes.present, pages.len() as u64 * 4096, "{name}");
    }
    let dump = dump(&folder.join("lkcd-empty-x86_64.dump"));
    let name = machine(&dump).name.as_ref().unwrap();
    assert_eq!((dump.arch, dump.os), (Arch::X86_64, Os::Linux));
    assert_eq!(name.node, "test-node");
    assert_eq!(name.release, "3.4.5-test");
    assert_eq!(name.version, "#1 SMP Fri Jan 22 14:02:42 UTC 2016 (1234567)");
    assert_eq!(dump.process.facts, [("panic".to_owned(), "Test panic string".to_owned())]);
    assert!(!dump.complete());
}

#[test]
fn sadump_samples_as_libkdumpfile_reads_them() {
    let Some(folder) = samples("kdump") else { return };
    for (name, arch) in [
        ("sadump-basic-single", Arch::X86_64),
        ("sadump-basic-media", Arch::X86_64),
        ("sadump-basic-single-ia32", Arch::X86),
    ] {
        let dump = dump(&folder.join(format!("{name}.dump")));
        assert_eq!(dump.arch, arch, "{name}");
        let truth = printed(&folder.join(format!("{name}.result.txt")));
        assert_eq!(read(machine(&dump), 0, 4096).unwrap(), truth, "{name}");
        assert_eq!(read(machine(&dump), 4096, 1).unwrap_err(), Absence::NotMapped);
        let year = dump.time.unwrap() / 31_556_952 + 1970;
        assert_eq!(year, 2026, "{name}");
    }
}

/// Registers of stopped threads lie in the kernel's memory, at addresses out of the expected values of lldb's own tests.
#[test]
fn freebsd_samples_as_lldb_reads_them() {
    let Some(folder) = samples("bsd/freebsd-kernel") else { return };
    // dumppcb of amd64: r15 r14 r13 r12 rbp rsp rbx rip, of the thread that crashed.
    let amd64 = dump(&folder.join("vmcore-amd64-minidump.bz2"));
    assert_eq!((amd64.os, amd64.arch), (Os::FreeBsd, Arch::X86_64));
    let memory = machine(&amd64).virtual_memory.clone().unwrap();
    let word = |at: u64| memory.read_uint(Virt(at), 8, amd64.endian);
    let dumppcb = 0xffff_ffff_81ca_6868;
    let truth: [u64; 8] = [
        0xffff_f800_0336_9380,
        0,
        0xffff_f800_0336_93a8,
        0xffff_fe00_45b1_1c00,
        0xffff_fe00_798c_4760,
        0xffff_fe00_798c_4748,
        0,
        0xffff_ffff_80c0_9ade,
    ];
    for (i, value) in truth.into_iter().enumerate() {
        assert_eq!(word(dumppcb + 8 * i as u64), Ok(value), "word {i}");
    }
    // Its frames: the frame pointers lead through the stack to the return addresses that lldb lists.
    let frames = [0xffff_ffff_80c0_9916u64, 0xffff_ffff_80c0_9d90, 0xffff_ffff_80c0_9b93];
    let mut frame = truth[4];
    for (i, value) in frames.into_iter().enumerate() {
        assert_eq!(word(frame + 8), Ok(value), "return address {i}");
        frame = word(frame).unwrap();
    }
    // hz, in the kernel's data.
    assert_eq!(memory.read_uint(Virt(0xffff_ffff_81cd_4c0c), 4, amd64.endian), Ok(100));

    let arm64 = dump(&folder.join("vmcore-arm64-minidump.bz2"));
    assert_eq!((arm64.os, arm64.arch), (Os::FreeBsd, Arch::Aarch64));
    let memory = machine(&arm64).virtual_memory.clone().unwrap();
    assert_eq!(memory.read_uint(Virt(0xffff_0000_00e2_651c), 4, arm64.endian), Ok(1000));
    // dumppcb of arm64: x0 to x28 (or, of newer kernels, x19 …), fp, lr, sp, pc.
    let words: Vec<u64> =
        (0..40).map(|i| memory.read_uint(Virt(0xffff_0000_00df_3790 + 8 * i), 8, arm64.endian).unwrap()).collect();
    assert_eq!(words[8..11], [0xffff_a000_0154_8700, 0, 0xffff_a000_00e0_4580], "{words:x?}");
    assert!(words.contains(&0xffff_0000_004b_6e78) && words.contains(&0xffff_0000_d58f_23b0), "{words:x?}");

    // A full dump by physical address: the same kernel maps its data from 2 MiB on, so hz and dumppcb can be found there.
    let full = dump(&folder.join("vmcore-amd64-full.bz2"));
    assert_eq!((full.os, full.arch), (Os::FreeBsd, Arch::X86_64));
    let sizes = machine(&full).sizes();
    // lldb's sample is cut where nothing but zeros follows; its headers say what there was.
    assert_eq!(sizes.absent, [(Absence::Truncated, full.missing_bytes)], "{sizes:?}");
    assert_eq!(sizes.present + full.missing_bytes, 0x9_f000 + 0x7ed_b000, "{sizes:?}");
    assert!(!full.complete());
    let crash = 0xffff_ffff_80c0_9adeu64.to_le_bytes();
    let found = (0x20_0000u64..0x7fd_0000).step_by(4096).filter_map(|at| {
        let page = read(machine(&full), at, 4096).ok()?;
        page.windows(8).position(|window| window == crash).map(|place| at + place as u64)
    });
    assert!(found.count() > 0, "the crashed thread's rip lies nowhere");
}

/// A stream, an image and registers of the same stop, where the lab has made them: `IMAGES_VM_LAB=folder`.
#[test]
fn qemu_stream_equals_the_image_of_the_same_stop() {
    let Some(folder) = std::env::var_os("IMAGES_VM_LAB").map(PathBuf::from) else {
        println!("skipped: IMAGES_VM_LAB names no folder of the lab");
        return;
    };
    let dump = dump(&folder.join("dump.qevm"));
    println!("{:?} {:?} {:?} {:?}", dump.writer, dump.arch, dump.os, dump.os_version);
    println!("{:?}", dump.issues);
    for note in &dump.notes {
        println!("{} {:#x}", note.owner, note.size);
    }
    let raw = std::fs::read(folder.join("dump.raw")).unwrap();
    println!("{:?} of {:#x}", machine(&dump).sizes(), raw.len());
    let mut different = Vec::new();
    for (number, page) in raw.chunks(4096).enumerate() {
        match read(machine(&dump), number as u64 * 4096, 4096) {
            Ok(got) if got == page => {}
            Ok(_) => different.push((number, None)),
            Err(why) => different.push((number, Some(why))),
        }
    }
    println!("{} pages, different: {different:x?}", raw.len() / 4096);
    // The window of the VGA, where pmemsave asks the device.
    different.retain(|(number, why)| !(0xa0..0xc0).contains(number) || why.is_some());
    assert!(different.is_empty(), "{different:x?}");
    let text = std::fs::read_to_string(folder.join("TRUTH/registers.txt")).unwrap();
    let mut cpu = 0;
    let mut checked = 0;
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("CPU#") {
            cpu = number.trim().parse::<usize>().unwrap();
        }
        let own = &machine(&dump).cpus[cpu];
        for (name, value) in pairs(line) {
            let value_own = match name.as_str() {
                "cr0" | "cr2" | "cr3" | "cr4" | "efer" => own.control(&name),
                "rfl" => own.registers.by_name("eflags"),
                "gdt" | "idt" => own.control(&format!("{name}_base")),
                _ => own.registers.by_name(&name),
            };
            if let Some(value_own) = value_own {
                assert_eq!(value_own, value, "processor {cpu}, {name}");
                checked += 1;
            }
        }
    }
    println!("{checked} registers of {} processors are equal", machine(&dump).cpus.len());
    assert!(checked >= 30 * machine(&dump).cpus.len());
}

/// `RAX=000 R8 =000 GDT=     fffe 0000007f`
fn pairs(line: &str) -> Vec<(String, u64)> {
    let spread = line.replace('=', " = ");
    let words: Vec<&str> = spread.split_whitespace().collect();
    words
        .windows(3)
        .filter(|words| words[1] == "=")
        .filter_map(|words| Some((words[0].to_lowercase(), u64::from_str_radix(words[2], 16).ok()?)))
        .collect()
}

fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Dump, afterimage_dump::Error> {
    let source: SharedSource = Arc::new(bytes);
    open_source(Path::new(name), source, &Budget::default())
}
