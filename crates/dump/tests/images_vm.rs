//! Memory of virtual machines and old kernels' dumps: shared samples against what their makers' tools read back, and
//! built files whose pages say which page they are.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::source::SharedSource;
use afterimage_dump::{Absence, Arch, Budget, Dump, Machine, Memory, MemoryExt, Os, Phys, Virt, open, open_source};
use afterimage_testkit::build_image;
use afterimage_testkit::build_image::numbered::{page, pages};
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
    // By a root page table that is found by what it looks like: the same variables, and the crashed thread's stack.
    let memory = machine(&full).virtual_memory.clone().unwrap();
    let word = |at: u64| memory.read_uint(Virt(at), 8, full.endian);
    assert_eq!(memory.read_uint(Virt(0xffff_ffff_81cd_4c0c), 4, full.endian), Ok(100));
    let (rbp, rsp, rip) = (0xffff_fe00_85cb_2760, 0xffff_fe00_85cb_2748, 0xffff_ffff_80c0_9ade);
    let registers: Vec<_> = (0..8).map(|i| word(dumppcb + 8 * i)).collect();
    assert_eq!(registers[3..], [Ok(0xffff_fe00_45a6_c300), Ok(rbp), Ok(rsp), Ok(0), Ok(rip)]);
    assert_eq!(word(rbp + 8), Ok(frames[0]));
    let kernel = memory.extents();
    assert!(kernel.windows(2).all(|pair| pair[0].end <= pair[1].start) && kernel.len() > 3, "{kernel:x?}");
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
    // A processor in 32-bit mode is listed by other names.
    assert!(text.contains("EAX=") || checked >= 30 * machine(&dump).cpus.len());
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

/// Opens a built file in a folder, so that what lies beside it can be found.
fn from_folder(files: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let first = folder.path().join(files[0].0);
    (folder, first)
}

/// Cuts a file at all of these lengths: it never panics, and what is still read is right.
fn cut_everywhere(bytes: &[u8], lengths: impl Iterator<Item = usize>, page_of: &dyn Fn(u64) -> Option<Vec<u8>>) {
    for length in lengths {
        let Ok(dump) = from_bytes("cut", bytes[..length].to_vec()) else { continue };
        let machine = machine(&dump);
        let mut at = Phys(0);
        let mut ends = Vec::new();
        while let Some(extent) = machine.memory.next(at) {
            assert!(extent.end > at && extent.start < extent.end, "{extent:?} after {at:?} of {length}");
            ends.push((extent.start.0.max(at.0) / 4096, extent.end.0 / 4096));
            at = extent.end;
            assert!(ends.len() < 10_000);
        }
        for number in ends.into_iter().flat_map(|(start, end)| start..end.min(start + 500)) {
            match (read(machine, number * 4096, 4096), page_of(number)) {
                (Ok(got), Some(truth)) => assert_eq!(got, truth, "page {number} of a file cut at {length}"),
                (Ok(_), None) => panic!("page {number} of a file cut at {length} was never there"),
                (Err(_), _) => {}
            }
        }
    }
}

#[test]
fn qemu_stream_built() {
    use build_image::qemu::{Stream, processor};
    let mut stream = Stream::new("pc-i440fx-7.2", &[("pc.ram", 400 * 4096), ("vga.vram", 8 * 4096)]);
    let mut truth: Vec<Option<Vec<u8>>> = vec![None; 400];
    for number in 0..200u64 {
        if number % 7 == 3 {
            stream.fill("pc.ram", number, 0);
            truth[number as usize] = Some(vec![0; 4096]);
        } else {
            stream.page("pc.ram", number, &page(number));
            truth[number as usize] = Some(page(number));
        }
        if number % 50 == 20 {
            stream.page("vga.vram", number / 50, &page(99_999));
            stream.pause();
        }
    }
    // Out of order, again, and in every packing.
    for number in (250..300u64).rev() {
        stream.page("pc.ram", number, &page(1000 + number));
        truth[number as usize] = Some(page(1000 + number));
    }
    stream.pause();
    for number in [0u64, 5, 64, 65, 66, 199, 270] {
        stream.page("pc.ram", number, &page(5000 + number));
        truth[number as usize] = Some(page(5000 + number));
    }
    for number in [7u64, 65] {
        stream.difference("pc.ram", number, 1000, &[1, 2, 3]);
        stream.difference("pc.ram", number, 5, &[9]);
        let page = truth[number as usize].as_mut().unwrap();
        page[1000..1003].copy_from_slice(&[1, 2, 3]);
        page[5] = 9;
    }
    // A whole page ends what differences were before it.
    stream.difference("pc.ram", 8, 0, &[1]);
    stream.page("pc.ram", 8, &page(77));
    truth[8] = Some(page(77));
    stream.zlib("pc.ram", 9, &page(78));
    truth[9] = Some(page(78));
    stream.zlib("pc.ram", 399, &page(79));
    truth[399] = Some(page(79));
    stream.fill("pc.ram", 300, 0x5a);
    truth[300] = Some(vec![0x5a; 4096]);
    let bytes = stream.finish(&[processor(0x100, 0x1234_5000), processor(0x200, 0x6000)]);
    let dump = from_bytes("built", bytes.clone()).unwrap();
    assert!(dump.issues.is_empty(), "{:?}", dump.issues);
    for (number, truth) in truth.iter().enumerate() {
        let got = read(machine(&dump), number as u64 * 4096, 4096);
        assert_eq!(got.as_ref().ok(), truth.as_ref(), "page {number}");
        if truth.is_none() {
            assert_eq!(got, Err(Absence::NotInDump));
        }
    }
    let sizes = machine(&dump).sizes();
    assert_eq!(sizes.present, truth.iter().flatten().count() as u64 * 4096);
    assert_eq!(sizes.end, 400 * 4096);
    let cpus = &machine(&dump).cpus;
    assert_eq!(cpus.len(), 2);
    assert_eq!(cpus[1].registers.by_name("rcx"), Some(0x201));
    assert_eq!(cpus[1].registers.by_name("r15"), Some(0x20f));
    assert_eq!(cpus[1].registers.pc(), Some(Virt(0x210)));
    assert_eq!(cpus[0].registers.by_name("gs"), Some(40));
    assert_eq!(cpus[0].registers.by_name("gs_base"), Some(0x5100));
    assert_eq!((cpus[0].control("cr3"), cpus[0].control("idt_base")), (Some(0x1234_5000), Some(0x9100)));
    assert_eq!((cpus[0].control("efer"), cpus[0].control("cr4")), (Some(0xd01), Some(0x6f0)));
    assert_eq!(machine(&dump).page_table, Some(Phys(0x1234_5000)));
    assert_eq!(dump.notes[1].owner, "vga.vram");
    // Until the repeats begin, what a cut stream has is what was there first.
    let lengths = (0..60).map(|i| i * 13_331).chain(0..300).filter(|&length| length < bytes.len());
    let first = |number: u64| match number {
        number @ 0..200 if number % 7 == 3 => Some(vec![0; 4096]),
        number @ 0..200 => Some(page(number)),
        number @ 250..300 => Some(page(1000 + number)),
        _ => None,
    };
    cut_everywhere(&bytes, lengths, &first);
}

#[test]
fn qemu_above_the_hole_and_multifd() {
    use build_image::qemu::Stream;
    let mut stream = Stream::new("pc-q35-9.0", &[("pc.ram", 4 << 30)]);
    stream.page("pc.ram", 0x7_ffff, &page(1));
    stream.page("pc.ram", 0x8_0000, &page(2));
    let dump = from_bytes("built", stream.finish(&[])).unwrap();
    assert_eq!(read(machine(&dump), 0x7fff_f000, 4096).unwrap(), page(1));
    assert_eq!(read(machine(&dump), 1 << 32, 4096).unwrap(), page(2));
    assert_eq!(read(machine(&dump), 0x8000_0000, 1), Err(Absence::NotMapped));
    assert_eq!(read(machine(&dump), 0, 1), Err(Absence::NotInDump));

    let mut stream = Stream::new("pc-q35-9.0", &[("pc.ram", 1 << 20)]);
    stream.flush();
    let dump = from_bytes("built", stream.finish(&[])).unwrap();
    assert!(dump.issues.iter().any(|issue| issue.text.contains("multifd") && issue.loses_data), "{:?}", dump.issues);

    // libvirt's header before it.
    let mut stream = Stream::new("pc-q35-9.0", &[("pc.ram", 1 << 20)]);
    stream.page("pc.ram", 3, &page(3));
    let stream = stream.finish(&[]);
    let mut save = b"LibvirtQemudSave".to_vec();
    for word in [2u32, 20, 1, 0, 0] {
        save.extend(word.to_le_bytes());
    }
    save.resize(92, 0);
    save.extend(b"<domain>xxx</domain>");
    save.extend(&stream);
    let dump = from_bytes("built", save).unwrap();
    assert_eq!(read(machine(&dump), 3 * 4096, 4096).unwrap(), page(3));
}

#[test]
fn qemu_fixed_places() {
    use build_image::qemu::{mapped, processor};
    let content = |block: &str, number: u64| {
        let shift = if block == "pc.ram" { 0 } else { 1 << 20 };
        (number % 3 != 1).then(|| page(number + shift))
    };
    let blocks = [("vga.vram", 16 * 4096), ("pc.ram", 300 * 4096)];
    let bytes = mapped("pc-q35-9.0", &blocks, &content, &[processor(7, 0x7000)]);
    let dump = from_bytes("built", bytes.clone()).unwrap();
    assert!(dump.issues.is_empty(), "{:?}", dump.issues);
    let truth = |number: u64| (number < 300).then(|| content("pc.ram", number).unwrap_or_else(|| vec![0; 4096]));
    for number in 0..300 {
        assert_eq!(read(machine(&dump), number * 4096, 4096).ok(), truth(number), "page {number}");
    }
    assert_eq!(read(machine(&dump), 300 * 4096, 1), Err(Absence::NotMapped));
    assert_eq!(machine(&dump).cpus[0].registers.by_name("rax"), Some(7));
    assert_eq!(machine(&dump).cpus[0].control("cr3"), Some(0x7000));
    // Cut in the middle of the pages.
    let cut = from_bytes("built", bytes[..bytes.len() - 200 * 4096].to_vec()).unwrap();
    assert!(!cut.complete());
    assert!(machine(&cut).sizes().absent.iter().any(|(why, _)| *why == Absence::Truncated));
    cut_everywhere(&bytes, (0..40).map(|i| i * bytes.len() / 40), &truth);
}

#[test]
fn lkcd_versions_and_packings() {
    use build_image::lkcd::{Machine as Kind, Packing, dump};
    let pages: Vec<(u64, Vec<u8>)> = [0u64, 1, 2, 40, 41, 39, 7]
        .into_iter()
        .map(|number| (number, if number == 41 { vec![0; 4096] } else { page(number) }))
        .chain([(100, [vec![0, 0, 0, 5, 0, 6], vec![7; 4090]].concat())])
        .collect();
    for version in [2, 5, 7, 8] {
        for kind in [Kind::I386, Kind::X86_64] {
            for packing in [Packing::Raw, Packing::Runs] {
                let what = format!("version {version} {kind:?} {packing:?}");
                let bytes = dump(version, kind, packing, &pages, 0x40);
                let dump = from_bytes("built", bytes.clone()).unwrap();
                assert!(dump.issues.is_empty(), "{what}: {:?}", dump.issues);
                let wide = kind == Kind::X86_64;
                assert_eq!(dump.arch, if wide { Arch::X86_64 } else { Arch::X86 }, "{what}");
                assert_eq!(dump.time, Some(1_000_000_000), "{what}");
                assert_eq!(dump.os_version.as_deref(), Some("2.4.20"), "{what}");
                assert_eq!(machine(&dump).cpus.len(), 2, "{what}");
                let (first, tenth) = if wide { ("r15", "r8") } else { ("ebx", "orig_eax") };
                assert_eq!(machine(&dump).cpus[1].registers.by_name(first), Some(0x40 + 100), "{what}");
                assert_eq!(machine(&dump).cpus[0].registers.by_name(tenth), Some(0x49), "{what}");
                for number in 0..=101 {
                    let truth = pages.iter().find(|(own, _)| *own == number).map(|(_, content)| content.clone());
                    assert_eq!(read(machine(&dump), number * 4096, 4096).ok(), truth, "{what}, page {number}");
                }
                let truth = |number| pages.iter().find(|(own, _)| *own == number).map(|(_, content)| content.clone());
                cut_everywhere(&bytes, (0..12).map(|i| 65_536 + i * 3000).filter(|&n| n < bytes.len()), &truth);
            }
        }
    }
}

#[test]
fn vmware_states() {
    use build_image::vmware::{State, build};
    let regions = vec![(0, 0, 20), (20, 0x10_0000, 12)];
    let truth = |number: u64| match number {
        0..20 => Some(page(number)),
        0x10_0000..0x10_000c => Some(page(number - 0x10_0000 + 20)),
        _ => None,
    };
    let check = |dump: &Dump, what: &str| {
        assert!(dump.issues.is_empty(), "{what}: {:?}", dump.issues);
        for number in [0, 1, 19, 20, 0xf_ffff, 0x10_0000, 0x10_000b, 0x10_000c] {
            assert_eq!(read(machine(dump), number * 4096, 4096).ok(), truth(number), "{what}, page {number:#x}");
        }
        let cpus = &machine(dump).cpus;
        assert_eq!(cpus.len(), 2, "{what}");
        assert_eq!(cpus[1].registers.by_name("rsp"), Some(0x505), "{what}");
        assert_eq!(cpus[1].registers.by_name("r15"), Some(0x50f), "{what}");
        assert_eq!(cpus[1].registers.pc(), Some(Virt(0x510)), "{what}");
        assert_eq!(cpus[0].control("cr3"), Some(0x1000), "{what}");
        assert_eq!(cpus[0].control("cr2"), Some(0xabc), "{what}");
        assert_eq!(cpus[0].control("idt_base"), Some(0xffff_fe00_0000_0000), "{what}");
        assert_eq!(cpus[0].control("idt_limit"), Some(0xfff), "{what}");
    };
    let memory = pages(0..32);
    for magic in [0xbed0_bed0, 0xbed2_bed0, 0xbed2_bed2, 0xbed3_bed3, 0xbad1_bad1, 0xbad2_bad2] {
        for blocks in [false, true] {
            let cpus = vec![(0x400, 0x1000), (0x500, 0x2000)];
            let mut state =
                State { magic, regions: regions.clone(), memory: Some(memory.clone()), padding: 77, cpus, blocks };
            let inside = build(&state);
            check(&from_bytes("lone.vmsn", inside.clone()).unwrap(), &format!("{magic:x} inside"));
            let truth = |number: u64| truth(number);
            cut_everywhere(&inside, (0..12).map(|i| i * inside.len() / 12), &truth);
            state.memory = None;
            let outside = build(&state);
            let (_folder, path) = from_folder(&[("m.vmss", outside.clone()), ("m.vmem", memory.clone())]);
            check(&dump(&path), "opened by its .vmss");
            check(&dump(&path.with_extension("vmem")), "opened by its .vmem");
            let (_folder, path) = from_folder(&[("m.vmss", outside)]);
            let alone = dump(&path);
            assert!(!alone.complete() && machine(&alone).cpus.len() == 2);
            assert_eq!(read(machine(&alone), 0, 1), Err(Absence::NotInDump));
        }
    }
}

#[test]
fn microvm_memory_files() {
    use build_image::microvm::{cloud_hypervisor, firecracker};
    let memory = pages(0..64);
    // Regions that the state names.
    let state = firecracker(false, Some(&[(0, 40 * 4096), (1 << 32, 24 * 4096)]));
    let (_folder, path) = from_folder(&[("mem", memory.clone()), ("vmstate", state), ("other.txt", vec![b'x'; 99])]);
    let fire = dump(&path);
    assert_eq!((fire.arch, fire.writer.as_deref()), (Arch::X86_64, Some("firecracker")));
    assert_eq!(read(machine(&fire), 39 * 4096, 4096).unwrap(), page(39));
    assert_eq!(read(machine(&fire), 40 * 4096, 1), Err(Absence::NotMapped));
    assert_eq!(read(machine(&fire), (1 << 32) + 23 * 4096, 4096).unwrap(), page(63));
    // A later state, by the rules.
    let (_folder, path) = from_folder(&[("snap.mem", memory.clone()), ("snap.state", firecracker(true, None))]);
    let fire = dump(&path);
    assert_eq!(fire.arch, Arch::Aarch64);
    assert_eq!(read(machine(&fire), 0x8000_0000 + 5 * 4096, 4096).unwrap(), page(5));
    assert_eq!(read(machine(&fire), 0, 1), Err(Absence::NotMapped));
    // cloud-hypervisor.
    let state = cloud_hypervisor(&[(0, 32 * 4096), (1 << 32, 40 * 4096)]).into_bytes();
    let (_folder, path) =
        from_folder(&[("memory-ranges", memory), ("state.json", state), ("config.json", b"{}".to_vec())]);
    let cloud = dump(&path);
    assert_eq!(cloud.writer.as_deref(), Some("cloud-hypervisor"));
    assert_eq!(read(machine(&cloud), (1 << 32) + 31 * 4096, 4096).unwrap(), page(63));
    // The table promises eight pages more than the file has.
    assert_eq!(cloud.missing_bytes, 8 * 4096);
    assert_eq!(read(machine(&cloud), (1 << 32) + 32 * 4096, 1), Err(Absence::Truncated));
}

#[test]
fn macos_kernel_containers() {
    use build_image::macos_kernel::{Packing, container, kernel_core};
    let base = 0xffff_fe00_0700_4000u64;
    let core = kernel_core(&[(base, pages(0..4)), (base + 0x10_0000, pages(4..20))], &[0x100, 0x200]);
    for second in [false, true] {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zlib, Packing::Lz4] {
            let what = format!("{second} {packing:?}");
            let files = [("other", vec![1, 2, 3], Packing::Plain), ("kernel", core.clone(), packing)];
            let bytes = container(second, &files, "panic(cpu 0): it broke\nmore");
            let dump = from_bytes("built", bytes.clone()).unwrap();
            assert!(dump.issues.is_empty(), "{what}: {:?}", dump.issues);
            assert_eq!((dump.arch, dump.os, dump.notes.len()), (Arch::Aarch64, Os::MacOs, 2), "{what}");
            let mut got = vec![0; 4096];
            dump.memory.read_exact(Virt(base + 3 * 4096), &mut got).unwrap();
            assert_eq!(got, page(3), "{what}");
            dump.memory.read_exact(Virt(base + 0x10_1000), &mut got).unwrap();
            assert_eq!(got, page(5), "{what}");
            assert_eq!(dump.memory.read_at(Virt(base + 4 * 4096), &mut got).unwrap_err().why, Absence::NotInDump);
            assert_eq!(dump.threads.len(), 2, "{what}");
            assert_eq!(dump.threads[1].registers.by_name("x28"), Some(0x200 + 28));
            assert_eq!(dump.threads[1].registers.pc(), Some(Virt(0x200 + 32)));
            assert_eq!(dump.process.facts[0].1, "panic(cpu 0): it broke");
            // Cut off: as far as it goes.
            let cut = from_bytes("built", bytes[..bytes.len() - 5000].to_vec()).unwrap();
            assert!(!cut.complete(), "{what}");
            for length in (0..bytes.len()).step_by(1777) {
                let _ = from_bytes("built", bytes[..length].to_vec());
            }
        }
    }
}

#[test]
fn freebsd_in_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/system_images");
    let bytes = std::fs::read(folder.join("freebsd-minidump")).unwrap();
    let alone = from_bytes("vmcore", bytes.clone()).unwrap();
    // Out of the message buffer.
    assert_eq!(alone.os_version.as_deref(), Some("13.0-RELEASE"));
    assert_eq!(alone.process.facts, [("panic".to_owned(), "it broke".to_owned())]);
    // Bits count the pages of the ranges 1-2, 8-9; bit 2 (page 8) is not set.
    assert_eq!(machine(&alone).sizes().absent, [(Absence::NotInDump, 4096)]);
    assert_eq!(read(machine(&alone), 0x3000, 1), Err(Absence::NotMapped));
    assert_eq!(read(machine(&alone), 0x8000, 1), Err(Absence::NotInDump));
    assert_eq!(read(machine(&alone), 0x9000, 2), Ok(vec![0xff, 0xfe]));
    // Kernel memory: 4 KiB pages by a page table in the dump, large ones by the directory, and the direct map.
    let memory = machine(&alone).virtual_memory.clone().unwrap();
    assert_eq!(memory.read_uint(Virt(0xffff_fe00_0000_0003), 1, alone.endian), Ok(3));
    let mut byte = [0];
    let why = |at: u64, byte: &mut [u8]| memory.read_at(Virt(at), byte).map_err(|fault| fault.why);
    assert_eq!(why(0xffff_fe00_0000_1000, &mut byte), Err(Absence::NotMapped));
    assert_eq!(why(0xffff_fe00_0020_0000, &mut byte), Err(Absence::NotInDump));
    assert_eq!(why(0xffff_fe00_0040_0000, &mut byte), Err(Absence::NotMapped));
    assert_eq!(why(0xffff_f800_0000_9000, &mut byte), Ok(1));
    let kernel = memory.extents();
    assert!(kernel.windows(2).all(|pair| pair[0].end <= pair[1].start), "{kernel:?}");
    assert!(kernel.iter().any(|extent| extent.start == Virt(0xffff_fe00_0000_0000) && extent.absent.is_none()));

    let info = "Dump header from device: /dev/ada0p3\n  Architecture: amd64\n  Dumptime: 2021-02-05 14:23:12 +0100\n  \
                Hostname: box\n  Version String: FreeBSD 13.0-STABLE #1 abc\n  Panic String: page fault\n";
    let (_folder, path) = from_folder(&[("vmcore.3", bytes), ("info.3", info.as_bytes().to_vec())]);
    let with_info = dump(&path);
    assert_eq!(with_info.time, Some(1_612_531_392));
    assert_eq!(with_info.os_version.as_deref(), Some("13.0-STABLE"));
    assert_eq!(machine(&with_info).name.as_ref().unwrap().node, "box");
    assert_eq!(with_info.process.facts, [("panic".to_owned(), "page fault".to_owned())]);
}
