//! Windows crash dumps of machines: every kind as the test kit builds it, and a real small dump against what rizin says
//! of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::paging::PageTables;
use afterimage_dump::system::windows::{DumpKind, Header, write_complete};
use afterimage_dump::{
    Absence, Arch, Budget, Dump, DumpType, Error, ExceptionKind, Format, Memory, MemoryExt, Os, Phys, Virt, open,
    open_source,
};
use afterimage_testkit::build_windows_dump::{Machine, Triage, facts};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn read(bytes: Vec<u8>) -> Dump {
    open_source(Path::new("MEMORY.DMP"), Arc::new(bytes), &Budget::default()).unwrap()
}

fn issues(dump: &Dump) -> String {
    dump.issues.iter().map(|issue| issue.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// Everything that is the same whichever container the 64-bit machine is in.
fn check_x64(dump: &Dump) {
    assert_eq!((dump.format, dump.os, dump.arch, dump.pointer_size), (Format::Windows, Os::Windows, Arch::X86_64, 8));
    assert_eq!(dump.os_version.as_deref(), Some("10.0.19041"));
    assert_eq!(dump.time, Some(1_795_651_200));
    let machine = dump.machine.as_ref().unwrap();
    assert_eq!(machine.uptime, Some(3600.0));
    assert_eq!(machine.page_table, Some(Phys(facts::ROOT | 2)));
    let stop = machine.stop.as_ref().unwrap();
    assert_eq!((stop.code, stop.parameters), (facts::CODE, facts::PARAMETERS));
    assert_eq!((stop.build, stop.processors, stop.product_type), (Some(19041), Some(1), Some(3)));
    assert_eq!((stop.suite_mask, stop.comment.as_deref()), (Some(0x110), Some("a comment")));
    assert_eq!(stop.build_lab.as_deref(), Some(facts::BUILD_LAB));
    assert_eq!(stop.process, Some((facts::IDS.0, facts::PROCESS.to_owned())));
    assert_eq!(stop.thread_id, Some(facts::IDS.1));
    assert_eq!(stop.processor_name, Some(("GenuineIntel".to_owned(), 3600)));
    assert_eq!(stop.exception.as_ref().map(|record| (record.code, record.address)), Some((0x8000_0003, facts::RIP)));
    assert!(!stop.live && !stop.healthy());

    let paths: Vec<&str> = dump.modules.iter().map(|module| module.path.rsplit('\\').next().unwrap()).collect();
    assert_eq!(paths, ["ntoskrnl.exe", "bad.sys", "hal.dll"]);
    let bad = &dump.modules[1];
    assert_eq!((bad.base, bad.end, bad.timestamp), (facts::BAD, facts::BAD + 0x8000, Some(0x5e6f_7a8b)));
    assert_eq!(bad.version.as_deref(), Some("1.2.3.4"));
    assert_eq!(bad.debug_file.as_deref(), Some("bad.pdb"));
    assert_eq!(bad.debug_id.as_deref(), Some("0403020106050807090A0B0C0D0E0F103"));
    assert_eq!(dump.unloaded_modules.len(), 1);
    assert_eq!(stop.unloaded[0].name, "old.sys");
    assert_eq!(stop.unloaded[0].time, Some(1_795_651_000));

    assert_eq!(dump.threads.len(), 1);
    assert_eq!(dump.threads[0].tid, facts::IDS.1);
    assert_eq!(dump.threads[0].registers.by_name("rip"), Some(facts::RIP));
    assert_eq!(dump.threads[0].registers.by_name("rax"), Some(0x1122_3344_5566_7788));
    let exception = dump.exception.as_ref().unwrap();
    assert_eq!(exception.tid, Some(facts::IDS.1));
    assert!(matches!(exception.kind, ExceptionKind::Windows { code: 0x8000_0003, .. }));

    let memory = machine.virtual_memory.as_ref().unwrap();
    let mut text = [0; 15];
    memory.read_exact(Virt(facts::LARGE + 0x1000), &mut text).unwrap();
    assert_eq!(&text, b"in a large page");
    // A page in transition shows what it holds: the debugger data.
    let mut tag = [0; 4];
    memory.read_exact(Virt(facts::TRANSITION + 0x10), &mut tag).unwrap();
    assert_eq!(&tag, b"KDBG");
    let fault = |at: u64| memory.read_at(Virt(at), &mut [0; 1]).unwrap_err().why;
    assert_eq!(fault(facts::PAGED_OUT), Absence::Swapped);
    assert_eq!(fault(facts::KERNEL + 0x10_3000), Absence::NotMapped);
    assert_eq!(fault(0x0000_9000_0000_0000), Absence::NotMapped);
}

#[test]
fn complete_dumps_are_read() {
    let dump = read(Machine::x64().complete());
    check_x64(&dump);
    assert_eq!(dump.dump_type, DumpType::Complete);
    assert!(dump.complete(), "{}", issues(&dump));
    let machine = dump.machine.as_ref().unwrap();
    assert_eq!(machine.sizes().present, Machine::x64().pages.len() as u64 * 4096);
    let absent = machine.virtual_memory.as_ref().unwrap().read_at(Virt(facts::ABSENT), &mut [0; 1]).unwrap_err();
    assert_eq!(absent.why, Absence::NotMapped);
    assert_eq!(machine.stop.as_ref().unwrap().kind, DumpKind::Full);
}

#[test]
fn bitmaps_are_read_and_named_by_what_they_leave_out() {
    for (kind, signature, attributes, expected) in [
        (5, b"FDMP", 0u64, DumpType::Complete),
        (5, b"SDMP", 0x40, DumpType::Active),
        (6, b"SDMP", 0, DumpType::Kernel),
        (7, b"SDMP", 0, DumpType::Automatic),
        (2, b"SDMP", 0, DumpType::Kernel),
    ] {
        let mut machine = Machine::x64();
        machine.put_uint(0x1050, attributes, 4);
        let dump = read(machine.bitmap(kind, signature, 0x1003));
        check_x64(&dump);
        assert_eq!(dump.dump_type, expected, "kind {kind}");
        assert!(dump.complete(), "{}", issues(&dump));
        let own = dump.machine.as_ref().unwrap();
        assert_eq!(own.sizes().present, machine.pages.len() as u64 * 4096);
        assert_eq!(own.memory.read_at(Phys(0), &mut [0; 1]).unwrap_err().why, Absence::NotInDump);
        let absent = own.virtual_memory.as_ref().unwrap().read_at(Virt(facts::ABSENT), &mut [0; 1]).unwrap_err();
        assert_eq!(absent.why, Absence::NotMapped);
    }
    let dump = read(Machine::x64().old_bitmap(0x1003));
    check_x64(&dump);
    assert_eq!(dump.dump_type, DumpType::Kernel);
}

#[test]
fn ranges_are_read() {
    for (kind, expected) in [(8, DumpType::Kernel), (9, DumpType::Active), (10, DumpType::Complete)] {
        let dump = read(Machine::x64().ranges(kind));
        check_x64(&dump);
        assert_eq!(dump.dump_type, expected, "kind {kind}");
        assert!(dump.complete(), "{}", issues(&dump));
    }
}

#[test]
fn narrow_machines_are_read_with_and_without_pae() {
    for pae in [true, false] {
        let machine = Machine::x86(pae);
        for bytes in [machine.complete(), machine.old_bitmap(0x1000)] {
            let dump = read(bytes);
            assert_eq!((dump.arch, dump.pointer_size), (Arch::X86, 4));
            assert_eq!(dump.os_version.as_deref(), Some("6.1.7601"));
            assert_eq!(dump.time, Some(1_300_000_000));
            let own = dump.machine.as_ref().unwrap();
            let stop = own.stop.as_ref().unwrap();
            assert_eq!((stop.code, stop.parameters), (0xa, [0x20, 0xff, 1, facts::KERNEL_32 + 0x5123]));
            assert_eq!(stop.exception.as_ref().unwrap().parameters, [1, 0x20]);
            assert_eq!(stop.up_time, Some(60.0));
            let paths: Vec<&str> = dump.modules.iter().map(|m| m.path.rsplit('\\').next().unwrap()).collect();
            assert_eq!(paths, ["ntkrnlpa.exe", "bad.sys"], "pae {pae}");
            assert_eq!(dump.threads[0].registers.by_name("eip"), Some(facts::KERNEL_32 + 0x5123));
            let mut text = [0; 22];
            own.virtual_memory.as_ref().unwrap().read_exact(Virt(facts::KERNEL_32 + 0xf000), &mut text).unwrap();
            assert_eq!(&text, b"the kernel's last page");
        }
    }
}

#[test]
fn a_small_dump_of_arm64_is_read() {
    let dump = read(Triage::arm64().build());
    assert!(dump.complete(), "{}", issues(&dump));
    assert_eq!((dump.arch, dump.dump_type), (Arch::Aarch64, DumpType::Small));
    assert_eq!(dump.os_version.as_deref(), Some("10.0.22000"));
    let machine = dump.machine.as_ref().unwrap();
    let stop = machine.stop.as_ref().unwrap();
    assert_eq!((stop.code, stop.processor, stop.processors), (0xa, Some(5), Some(8)));
    assert_eq!(stop.process, Some((facts::IDS.0, facts::PROCESS.to_owned())));
    assert_eq!(stop.thread_id, Some(facts::IDS.1));
    assert_eq!(stop.build_lab.as_deref(), Some(facts::BUILD_LAB));
    assert_eq!(dump.threads[0].tid, facts::IDS.1);
    assert_eq!(dump.threads[0].registers.by_name("pc"), Some(0xffff_f802_0000_1000));
    assert_eq!(dump.modules.len(), 2);
    assert_eq!((dump.modules[1].timestamp, dump.modules[1].path.ends_with("qcusb.sys")), (Some(0x2222_2222), true));
    assert_eq!(stop.unloaded[0].name, "gone.sys");
    let mut byte = [0; 1];
    dump.memory.read_exact(Virt(0xffff_b000_0000_013f), &mut byte).unwrap();
    assert_eq!(byte, [7]);
    assert_eq!(dump.memory.read_at(Virt(0xffff_b000_0000_0140), &mut byte).unwrap_err().why, Absence::NotInDump);
    assert_eq!(dump.memory.read_uint(Virt(0xffff_a000_0000_2038), 8, dump.endian), Ok(0xffff_f802_1000_0444));
}

#[test]
fn a_header_alone_says_that_it_is_alone() {
    let dump = read(Machine::x64().header_only());
    assert_eq!(dump.dump_type, DumpType::Small);
    assert!(!dump.complete() && issues(&dump).contains("holds no memory"));
    assert_eq!(dump.machine.as_ref().unwrap().stop.as_ref().unwrap().code, facts::CODE);
}

#[test]
fn live_dumps_had_no_accident() {
    let mut machine = Machine::x64();
    machine.put_uint(0x38, 0x161, 4);
    machine.put_uint(0x1050, 0x10, 4);
    let dump = read(machine.complete());
    assert!(dump.exception.is_none());
    assert!(dump.machine.as_ref().unwrap().stop.as_ref().unwrap().live);
}

#[test]
fn what_lies_behind_the_end_of_the_file_is_truncated() {
    let machine = Machine::x64();
    for (kind, whole) in [(1, machine.complete()), (6, machine.bitmap(6, b"SDMP", 0x1003)), (10, machine.ranges(10))] {
        let mut cut = whole.clone();
        cut.truncate(whole.len() - 3 * 4096 - 100);
        let dump = read(cut);
        assert_eq!(dump.missing_bytes, 3 * 4096 + 100);
        assert!(!dump.complete() && issues(&dump).contains("cut off"), "{}", issues(&dump));
        // The last pages are those of the large page.
        let own = dump.machine.as_ref().unwrap();
        let last = *machine.pages.keys().last().unwrap() * 4096;
        assert_eq!(own.memory.read_at(Phys(last), &mut [0; 1]).unwrap_err().why, Absence::Truncated);
        let sizes = own.sizes();
        let truncated: u64 = sizes.absent.iter().filter(|(why, _)| *why == Absence::Truncated).map(|(_, n)| n).sum();
        assert_eq!(truncated, 3 * 4096 + 100, "kind {kind}");
    }
}

#[test]
fn every_cut_and_flip_gives_an_answer() {
    let seeds = [
        Machine::x64().complete(),
        Machine::x64().bitmap(6, b"SDMP", 0x1003),
        Machine::x64().ranges(8),
        Machine::x86(true).complete(),
        Triage::arm64().build(),
    ];
    for seed in seeds {
        for len in (0..seed.len().min(0x2200)).step_by(61).chain((0x2200..seed.len()).step_by(4099)) {
            let _ = open_source(Path::new("cut"), Arc::new(seed[..len].to_vec()), &Budget::default());
        }
        for at in (0..seed.len().min(0x2100)).step_by(4) {
            for value in [0u32, 1, 0x7fff_ffff, u32::MAX] {
                let mut bytes = seed.clone();
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
                if let Ok(dump) = open_source(Path::new("flipped"), Arc::new(bytes), &Budget::default()) {
                    let _ = dump.machine.map(|machine| machine.memory.next(Phys(0x1000)));
                }
            }
        }
    }
    let error = open_source(Path::new("short"), Arc::new(b"PAGEDU64".to_vec()), &Budget::default());
    assert!(matches!(error, Err(Error::Broken { .. })));
}

#[test]
fn a_list_of_drivers_that_never_ends_is_left() {
    let mut machine = Machine::x64();
    // The second entry's link leads to itself.
    machine.write_uint(0x10_1200, facts::KERNEL + 0x1200, 8);
    let dump = read(machine.complete());
    assert_eq!(dump.modules.len(), 2);
    assert!(issues(&dump).contains("does not end"), "{}", issues(&dump));
}

#[test]
fn a_terabyte_of_bitmap_is_not_walked_at_open() {
    /// Counts the bytes that are read.
    struct Counting(Vec<u8>, u64, std::sync::atomic::AtomicU64);
    impl afterimage_dump::source::Source for Counting {
        fn len(&self) -> u64 {
            self.1
        }
        fn read_at(&self, at: u64, buf: &mut [u8]) -> std::io::Result<usize> {
            self.2.fetch_add(buf.len() as u64, std::sync::atomic::Ordering::Relaxed);
            let from = self.0.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            let got = from.len().min(buf.len());
            buf[..got].copy_from_slice(&from[..got]);
            // What lies behind is a hole of a sparse file.
            buf[got..].fill(0);
            Ok(buf.len())
        }
    }
    let bits = 1u64 << 28;
    let machine = Machine::x64();
    let mut bytes = machine.bitmap(6, b"SDMP", 0x1003);
    // The pages move behind a bitmap of 32 MiB.
    let first = u64::from_le_bytes(bytes[0x2020..0x2028].try_into().unwrap());
    let moved = (0x2038 + bits / 8).next_multiple_of(4096);
    let pages = bytes.split_off(first as usize);
    bytes[0x2020..0x2028].copy_from_slice(&moved.to_le_bytes());
    bytes[0x2030..0x2038].copy_from_slice(&bits.to_le_bytes());
    bytes.resize(moved as usize, 0);
    bytes.extend(pages);
    let len = bytes.len() as u64;
    let source = Arc::new(Counting(bytes, len, std::sync::atomic::AtomicU64::new(0)));
    let dump = open_source(Path::new("big"), source.clone(), &Budget::default()).unwrap();
    check_x64(&dump);
    let read = source.2.load(std::sync::atomic::Ordering::Relaxed);
    assert!(read < 8 << 20, "{read} bytes were read of a bitmap of 32 MiB");
}

#[test]
fn written_dumps_are_read_again() {
    let machine = Machine::x64();
    for bytes in [machine.bitmap(6, b"SDMP", 0x1003), machine.complete(), machine.ranges(8)] {
        let dump = read(bytes.clone());
        let header = Header::parse(&bytes).unwrap();
        let mut out = Vec::new();
        let mut told = 0;
        let memory = &*dump.machine.as_ref().unwrap().memory;
        let written = write_complete(&header, memory, &mut out, &mut |done, total| told = total - done).unwrap();
        assert_eq!((written.bytes, written.zeroed, told), (out.len() as u64, 0, 0));
        // The test kit's own complete dump, but for the length and attributes that it leaves out.
        let mut expected = machine.complete();
        expected[0x88..0x88 + 700].copy_from_slice(&out[0x88..0x88 + 700]);
        expected[0xfa0..0xfa8].copy_from_slice(&(out.len() as u64).to_le_bytes());
        assert_eq!(machine.complete()[0x90..0xd8], out[0x90..0xd8]);
        assert_eq!(out, expected);
        check_x64(&read(out));
    }
}

#[test]
fn tables_of_the_machine_name_the_level_of_a_miss() {
    let dump = read(Machine::x64().complete());
    let memory = dump.machine.as_ref().unwrap().memory.clone();
    let tables = PageTables::new(memory, afterimage_dump::paging::Layout::x86_64(false), facts::ROOT | 2);
    let miss = tables.translate(Virt(facts::KERNEL + 0x10_3000)).unwrap_err();
    assert_eq!((miss.level, miss.entry), ("PTE", Some(0)));
    assert_eq!(tables.translate(Virt(0xffff_8000_0000_0000)).unwrap_err().level, "PML4E");
    let large = tables.translate(Virt(facts::LARGE + 0x1234)).unwrap();
    assert_eq!((large.page_bytes, large.physical), (2 << 20, Phys(0x40_1234)));
    let extents = tables.extents();
    // The self-map does not swallow the walk.
    assert!(extents.iter().any(|extent| (extent.start..extent.end).contains(&Virt(facts::BAD))), "{extents:x?}");
    assert!(extents.len() < 10);
}

fn samples() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/windows-kernel");
    if !folder.join("triage_x64.dmp").exists() {
        println!("skipped: no samples at {}", folder.display());
        return None;
    }
    Some(folder)
}

/// `name : value` and `name = value` lines.
fn expected(folder: &Path) -> HashMap<String, u64> {
    let text = std::fs::read_to_string(folder.join("triage_x64.expect.txt")).unwrap();
    let mut facts = HashMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once([':', '=']) else { continue };
        let value = value.trim().split(' ').next().unwrap_or_default();
        if let Some(value) = value.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            facts.insert(name.trim().to_owned(), value);
        }
    }
    facts
}

#[test]
fn a_real_small_dump_agrees_with_rizin() {
    let Some(folder) = samples() else { return };
    let facts = expected(&folder);
    let path = folder.join("triage_x64.dmp");
    let dump = open(&path, &Budget::default()).unwrap();
    let machine = dump.machine.as_ref().unwrap();
    let stop = machine.stop.as_ref().unwrap();
    let is = |name: &str, ours: Option<u64>| assert_eq!(ours, Some(facts[name]), "{name}");
    is("MajorVersion", stop.major_version.map(u64::from));
    is("MinorVersion", stop.build.map(u64::from));
    is("DirectoryTableBase", machine.page_table.map(|root| root.0));
    is("PsLoadedModuleList", stop.loaded_modules.map(|at| at.0));
    is("PsActiveProcessHead", stop.active_processes.map(|at| at.0));
    is("NumberProcessors", stop.processors.map(u64::from));
    is("BugCheckCode", Some(stop.code.into()));
    for (index, parameter) in stop.parameters.into_iter().enumerate() {
        is(&format!("BugCheckParameter{}", index + 1), Some(parameter));
    }
    is("KdDebuggerDataBlock", stop.debugger_data.map(|at| at.0));
    is("ProductType", stop.product_type.map(u64::from));
    is("SuiteMask", stop.suite_mask.map(u64::from));
    // The sample's value is the filling, which is no value.
    assert_eq!((facts["SecondaryDataState"], stop.secondary_data_state), (0x4547_4150, None));
    assert_eq!(stop.plain_code(), 0x7e);

    let thread = &dump.threads[0];
    let registers = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "rip",
    ];
    for name in registers {
        is(name, thread.registers.by_name(name));
    }
    is("rflags", thread.registers.by_name("eflags"));
    assert_eq!(thread.stack, Some((Virt(facts["TopOfStack"]), facts["SizeOfCallStack"])));
    is("DriverCount", Some(dump.modules.len() as u64));

    // The header's own context is that of the exception: frame 8 of rizin's stack, and parameter 2.
    let own = dump.exception.as_ref().unwrap().registers.unwrap();
    assert_eq!(own.pc(), Some(Virt(facts["BugCheckParameter2"])));
    assert_eq!((own.by_name("rsp"), own.by_name("r8")), (Some(0xffff_8504_2989_2120), Some(0xffff_9b00_0336_0008)));

    let cpu = &machine.cpus[0];
    assert_eq!((cpu.control("cr3"), cpu.control("cr4")), (Some(0x1a_d000), Some(0x35_0ef8)));

    // What rizin does not say: from the file itself, by hand.
    assert_eq!((dump.arch, dump.dump_type, dump.pointer_size), (Arch::X86_64, DumpType::Small, 8));
    assert_eq!(dump.os_version.as_deref(), Some("10.0.19041"));
    assert_eq!(dump.time, Some(1_613_871_502));
    assert_eq!(machine.uptime, Some(3.747_069_7));
    assert_eq!(stop.build_lab.as_deref(), Some("19041.1.amd64fre.vb_release.191206-1406"));
    assert_eq!(stop.process, Some((4, "System".to_owned())));
    assert_eq!((thread.tid, stop.processor), (0x108, Some(0)));
    assert_eq!(stop.processor_name, Some(("AuthenticAMD".to_owned(), 3593)));
    let exception = stop.exception.as_ref().unwrap();
    assert_eq!((exception.code, exception.address), (0x8000_0003, facts["rip"]));
    let kernel = dump.modules.iter().find(|module| module.path.ends_with("ntoskrnl.exe")).unwrap();
    assert_eq!((kernel.base, kernel.timestamp), (0xffff_f804_7ba0_0000, Some(0x0d83_33e6)));
    let amdppm = dump.modules.iter().find(|module| module.path.ends_with("amdppm.sys")).unwrap();
    assert!((amdppm.base..amdppm.end).contains(&0xffff_f804_8b58_334c));
    assert_eq!(amdppm.debug_file.as_deref(), Some("amdppm.pdb"));
    let unloaded: Vec<&str> = stop.unloaded.iter().map(|driver| driver.name.as_str()).collect();
    assert_eq!(unloaded, ["dam.sys", "WdBoot.sys", "hwpolicy.sys", "mcupdate.dll"]);
    assert!(dump.complete(), "{}", issues(&dump));
    // Every return address that rizin found lies on the stack that the dump holds, at the stack pointer it names.
    let text = std::fs::read_to_string(folder.join("triage_x64.expect.txt")).unwrap();
    let mut frames = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [index, pc, "sp:", sp, ..] = words[..]
            && index.parse::<u32>().is_ok()
        {
            let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
            frames.push((hex(pc), hex(sp)));
        }
    }
    assert_eq!(frames.len(), 37);
    let returns: Vec<u64> = frames.iter().skip(1).map(|(pc, _)| *pc).collect();
    // Frame 8 was interrupted by the processor: its address stands in the trap frame.
    let held = returns.iter().zip(&frames).filter(|(pc, (_, _))| {
        let (at, size) = thread.stack.unwrap();
        (0..size / 8).any(|word| dump.memory.read_uint(Virt(at.0 + word * 8), 8, dump.endian) == Ok(**pc))
    });
    assert!(held.count() >= 35);
}

/// rizin-testbins has a small dump of 64-bit Arm too; what is expected was read out of its bytes by hand.
#[test]
fn a_real_small_dump_of_arm64_is_read() {
    let Some(folder) = samples() else { return };
    let path = folder.join("triage_arm64.dmp");
    if !path.exists() {
        println!("skipped: no sample at {}", path.display());
        return;
    }
    let dump = open(&path, &Budget::default()).unwrap();
    let machine = dump.machine.as_ref().unwrap();
    let stop = machine.stop.as_ref().unwrap();
    assert_eq!((dump.arch, dump.os_version.as_deref()), (Arch::Aarch64, Some("10.0.22000")));
    assert_eq!((stop.code, stop.parameters), (0x1c8, [0x1b58, 0xffff_f803_f3a2_0860, 0, 0]));
    assert_eq!(stop.build_lab.as_deref(), Some("22000.1.arm64fre.co_release.210604-1628"));
    assert_eq!((stop.processors, stop.processor), (Some(8), Some(0)));
    assert_eq!(stop.process, Some((4, "System".to_owned())));
    assert_eq!(stop.thread, Some(Virt(0xffff_bb8e_b171_9180)));
    // Two pairs of numbers in the thread's block could be its ids, so none is believed.
    assert_eq!(stop.thread_id, None);
    assert_eq!((dump.modules.len(), stop.unloaded.len()), (245, 11));
    let thread = &dump.threads[0];
    assert_eq!(thread.stack, Some((Virt(0xffff_e00e_0e4b_c4a0), 0xb60)));
    let exception = dump.exception.as_ref().unwrap().registers.unwrap();
    assert_eq!(exception.by_name("pc"), Some(0xffff_f803_f32d_e014));
    assert_eq!(exception.by_name("sp"), Some(0xffff_e00e_0e4b_c4a0));
    assert!(dump.complete(), "{}", issues(&dump));
}
