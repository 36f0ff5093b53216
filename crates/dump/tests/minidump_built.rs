//! Minidumps from the test kit's own builder, which shares no layout code with the reader: streams that no sample has,
//! and files that lie.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::{
    Absence, Arch, Backing, Budget, Dump, DumpType, Error, ExceptionKind, Memory, MemoryExt, Os, Virt, open_source,
};
use afterimage_testkit::build_minidump::{
    Context, Cpu, Exception, Handle, LinuxFile, MemoryRegion, MinidumpBuilder, MiscInfo, Module, SystemInfo, Thread,
    ThreadInfo, UnloadedModule, VmCounters, stream_type,
};
use std::path::Path;
use std::sync::Arc;

fn open_bytes(bytes: Vec<u8>) -> Dump {
    open_source(Path::new("built.dmp"), Arc::new(bytes), &Budget::default()).unwrap()
}

fn open(builder: &MinidumpBuilder) -> Dump {
    open_bytes(builder.build())
}

fn fact<'a>(dump: &'a Dump, name: &str) -> Option<&'a str> {
    dump.process.facts.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn windows() -> MinidumpBuilder {
    let at_fault = Context::amd64().set("rip", 0x1_4000_1000).set("rsp", 0x9000).set("rax", 7);
    let module = Module::new(0x1_4000_0000, 0x5000, r"C:\app\victim.exe").image(0, 0x5000_0001);
    MinidumpBuilder::new()
        .system(&SystemInfo::windows(Cpu::Amd64, 10, 0, 19045))
        .thread(Thread::new(0x1234).context(&at_fault).stack(0x9000, vec![0x5a; 256]).name("main").teb(0x7000))
        .module(module.rsds("00112233445566778899aabbccddeeff", 0x1a, r"C:\build\victim.pdb").version([1, 2, 3, 4]))
        .exception(&Exception::new(0x1234, 0xc000_0005, 0x1_4000_1000, &at_fault).parameters(&[1, 0x10]))
}

fn linux(cpu: Cpu) -> MinidumpBuilder {
    MinidumpBuilder::new().system(&SystemInfo::linux(cpu, "Linux 6.1.0-13-amd64 #1 SMP Debian x86_64"))
}

#[test]
fn a_windows_crash() {
    let dump = open(&windows());
    assert!(dump.complete() && dump.issues.is_empty(), "{:?}", dump.issues);
    assert_eq!((dump.os, dump.arch, dump.dump_type), (Os::Windows, Arch::X86_64, DumpType::Small));
    assert_eq!(dump.os_version.as_deref(), Some("10.0.19045"));
    let thread = dump.crashed_thread().unwrap();
    assert_eq!((thread.tid, thread.name.as_deref()), (0x1234, Some("main")));
    assert_eq!((thread.stack, thread.thread_pointer), (Some((Virt(0x9000), 256)), Some(Virt(0x7000))));
    assert_eq!(thread.registers.by_name("rax"), Some(7));
    let note = &dump.notes[thread.extra_notes[0]];
    assert_eq!((note.name, note.size, note.tid), (Some("CONTEXT_AMD64"), 1232, Some(0x1234)));
    let exception = dump.exception.as_ref().unwrap();
    assert_eq!(exception.kind, ExceptionKind::Windows { code: 0xc000_0005, flags: 0, parameters: vec![1, 0x10] });
    assert_eq!(exception.address, Some(Virt(0x10)));
    assert_eq!(exception.registers.unwrap().pc(), Some(Virt(0x1_4000_1000)));
    let module = &dump.modules[0];
    assert_eq!(module.debug_id.as_deref(), Some("00112233445566778899AABBCCDDEEFF1a"));
    assert_eq!(module.build_id.as_ref().unwrap()[..6], [0x33, 0x22, 0x11, 0x00, 0x55, 0x44]);
    assert_eq!(module.debug_file.as_deref(), Some(r"C:\build\victim.pdb"));
    assert_eq!((module.version.as_deref(), module.timestamp), (Some("1.2.3.4"), Some(0x5000_0001)));
    assert_eq!(dump.process.executable.as_deref(), Some(r"C:\app\victim.exe"));
    let mut byte = [0; 1];
    assert_eq!(dump.memory.read_at(Virt(0x90ff), &mut byte), Ok(1));
    assert_eq!(byte, [0x5a]);
    assert_eq!(dump.memory.read_at(Virt(0x1_4000_1000), &mut byte).unwrap_err().why, Absence::NotInDump);
}

#[test]
fn padded_lists_read_alike() {
    let (plain, padded) = (open(&windows()), open(&windows().padded_lists()));
    assert!(padded.complete(), "{:?}", padded.issues);
    assert_eq!(plain.threads[0].registers, padded.threads[0].registers);
    assert_eq!(plain.modules[0].debug_id, padded.modules[0].debug_id);
    assert_eq!(plain.memory.extents(), padded.memory.extents());
}

#[test]
fn regions_guard_pages_and_what_is_not_mapped() {
    let region = |base, size, state, protect| MemoryRegion { state, ..MemoryRegion::private(base, size, protect) };
    let builder = windows()
        .region(region(0, 0x8000, 0x1_0000, 1))
        .region(region(0x8000, 0x1000, 0x1000, 0x104))
        .region(region(0x9000, 0x1000, 0x1000, 4))
        .region(region(0xa000, 0x1000, 0x2000, 0))
        .region(region(0x1_4000_0000, 0x1000, 0x1000, 0x20));
    let dump = open(&builder);
    let shown: Vec<_> = dump
        .regions
        .iter()
        .map(|r| (r.start.0, r.permissions.unwrap().to_string(), r.path.as_deref(), r.present_bytes))
        .collect();
    assert_eq!(
        shown,
        [
            (0x8000, "---".to_owned(), Some("[guard]"), 0),
            (0x9000, "rw-".to_owned(), None, 256),
            (0xa000, "---".to_owned(), Some("[reserved]"), 0),
            (0x1_4000_0000, "r-x".to_owned(), Some(r"C:\app\victim.exe"), 0),
        ]
    );
    let why = |at| dump.memory.read_at(Virt(at), &mut [0]).unwrap_err().why;
    assert_eq!((why(0x100), why(0x8000), why(0x9100)), (Absence::NotMapped, Absence::NotInDump, Absence::NotInDump));
}

#[test]
fn full_memory_and_its_truncation() {
    let builder = || {
        MinidumpBuilder::new()
            .header(1, 2)
            .system(&SystemInfo::windows(Cpu::X86, 6, 1, 7601))
            .thread(Thread::new(1).context(&Context::x86().set("eip", 0x1000)).stack_elsewhere(0x2000, 0x100))
            .memory64(0x2000, vec![1; 0x1000])
            .memory64(0x8000, vec![2; 0x1000])
    };
    let whole = builder().build();
    let dump = open_bytes(whole.clone());
    assert_eq!((dump.dump_type, dump.pointer_size, dump.arch), (DumpType::Complete, 4, Arch::X86));
    assert!(dump.complete());
    assert_eq!(dump.memory.read_uint(Virt(0x8ff8), 8, dump.endian), Ok(0x0202_0202_0202_0202));

    let dump = open_bytes(whole[..whole.len() - 0x800].to_vec());
    assert_eq!((dump.missing_bytes, dump.complete()), (0x800, false));
    assert_eq!(dump.memory.read_uint(Virt(0x87f8), 8, dump.endian), Ok(0x0202_0202_0202_0202));
    assert_eq!(dump.memory.read_at(Virt(0x8800), &mut [0; 4]).unwrap_err().why, Absence::Truncated);

    // The flags promise all memory, but the list is missing.
    let dump = open(&windows().header(1, 2));
    assert_eq!((dump.dump_type, dump.complete()), (DumpType::Small, false));
}

#[test]
fn a_range_that_claims_more_than_everything() {
    let dump = open(
        &windows().memory64_claiming(0xffff_ffff_ffff_f000, u64::MAX, vec![3; 0x10]).memory64(0x1000, vec![4; 16]),
    );
    assert!(!dump.complete());
    assert!(dump.issues.iter().any(|issue| issue.text.contains("address space")), "{:?}", dump.issues);
    let mut bytes = [0; 4];
    assert!(dump.memory.read_at(Virt(0xffff_ffff_ffff_f000), &mut bytes).is_ok());
    assert_eq!(bytes, [3; 4]);
}

#[test]
fn linux_streams() {
    let maps = "00400000-00401000 r-xp 00000000 08:01 42 /bin/a b\n7ffc0000-7ffd0000 rw-p 00000000 00:00 0  [stack]\n";
    let at_fault = Context::amd64().set("rip", 0x40_0123).set("rsp", 0x7ffc_8000);
    let builder = linux(Cpu::Amd64)
        .thread(Thread::new(77).context(&at_fault).stack(0x7ffc_8000, vec![9; 64]))
        .module(Module::new(0x40_0000, 0x1000, "/bin/a b").elf_build_id(&(1..=20).collect::<Vec<u8>>()))
        .linux_file(LinuxFile::Maps, maps)
        .linux_file(LinuxFile::Status, "Name:\ta b\nTgid:\t70\nPid:\t77\nPPid:\t1\nUid:\t1000\t0\t0\t0\nGid:\t100\t0\n")
        .linux_file(LinuxFile::CmdLine, "/bin/a b\0--flag\0")
        .linux_file(LinuxFile::Environ, "HOME=/home/u\0X=a=b\0EMPTY=\0")
        .linux_file(LinuxFile::LsbRelease, "DISTRIB_ID=Debian\n")
        .linux_file(LinuxFile::CpuInfo, "processor\t: 0\n")
        .linux_auxv(&[(6, 4096), (9, 0x40_0123)])
        .linux_dso_debug(
            0x7000_0001,
            0x7000_0000,
            0x40_0e00,
            &[(0, 0x40_0e00, ""), (0x7000_0000, 0x7000_0e00, "/lib/ld.so")],
        )
        .linux_limits("Max cpu time unlimited\n")
        .soft_errors(r#"[{"A": [1, 2]}, "B"]"#)
        .unused_slot()
        .exception(&Exception::new(77, 11, 0xdead_0000, &at_fault).flags(1));
    let dump = open(&builder);
    assert!(dump.complete() && dump.issues.is_empty(), "{:?}", dump.issues);
    assert_eq!(dump.os_version.as_deref(), Some("6.1.0-13-amd64"));
    let process = &dump.process;
    assert_eq!((process.pid, process.ppid, process.uid, process.gid), (Some(70), Some(1), Some(1000), Some(100)));
    assert_eq!((process.name.as_deref(), process.command_line.as_deref()), (Some("a b"), Some("/bin/a b --flag")));
    assert_eq!(process.executable.as_deref(), Some("/bin/a b"));
    let environment: Vec<_> = process.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(environment, [("HOME", "/home/u"), ("X", "a=b"), ("EMPTY", "")]);
    assert_eq!(dump.auxv, [(6, 4096), (9, 0x40_0123)]);
    assert_eq!(dump.mappings.len(), 1);
    assert_eq!(dump.regions[1].path.as_deref(), Some("[stack]"));
    assert_eq!(dump.regions[1].present_bytes, 64);
    assert_eq!(fact(&dump, "r_debug.brk"), Some("0x70000001"));
    assert!(process.facts.iter().any(|(k, v)| k == "link_map" && v == "bias 0x70000000 dynamic 0x70000e00 /lib/ld.so"));
    assert_eq!(fact(&dump, "lsb_release"), Some("DISTRIB_ID=Debian\n"));
    assert_eq!(dump.soft_errors, [r#"{"A": [1, 2]}"#, "B"]);
    let ExceptionKind::Signal { signo: 11, code: Some(1), info: Some(info) } = &dump.exception.as_ref().unwrap().kind
    else {
        panic!("{:?}", dump.exception);
    };
    assert_eq!((info.address, info.pid), (Some(0xdead_0000), None));
    assert_eq!(dump.exception.as_ref().unwrap().address, Some(Virt(0xdead_0000)));
    assert_eq!(dump.threads[0].signal, Some(11));
    assert_eq!(dump.modules[0].debug_id.as_deref(), Some("0403020106050807090A0B0C0D0E0F100"));
    assert!(!dump.notes.iter().any(|note| note.kind == 0), "an unused slot is no stream");
}

#[test]
fn signals_that_somebody_sent() {
    let at = Context::amd64().set("rip", 1);
    let open_with = |signo, flags: i32, address| {
        let exception = Exception::new(5, signo, address, &at).flags(flags as u32);
        open(&linux(Cpu::Amd64).thread(Thread::new(5).context(&at)).exception(&exception)).exception.unwrap()
    };
    // tgkill: pid 1234, uid 1000.
    let exception = open_with(6, -6, 1000 << 32 | 1234);
    assert_eq!(exception.address, None);
    let ExceptionKind::Signal { info: Some(info), .. } = exception.kind else { panic!() };
    assert_eq!((info.pid, info.uid, info.code, info.address), (Some(1234), Some(1000), -6, None));
    // SIGSEGV by kill(2) touches no memory.
    let exception = open_with(11, -6, 1000 << 32 | 1234);
    assert_eq!(exception.address, None);
    // A general protection fault: SI_KERNEL has no address.
    assert_eq!(open_with(11, 0x80, 0).address, None);
    // si_code 0 is "not said" from a writer that never says.
    let exception = open_with(11, 0, 0x45);
    assert_eq!(exception.address, Some(Virt(0x45)));
    assert!(matches!(exception.kind, ExceptionKind::Signal { code: None, .. }));
}

#[test]
fn dumps_without_a_crash() {
    let asked = Context::amd64().set("rip", 0x40_0123);
    let own = Context::amd64().set("rip", 0x50_0000);
    for (system, code) in [
        (SystemInfo::linux(Cpu::Amd64, "Linux 6.1 x"), 0xffff_ffff),
        (SystemInfo::windows(Cpu::Amd64, 10, 0, 1), 0x0517_a7ed),
        (SystemInfo::mac(Cpu::Amd64, 12, 0, 0, "X"), 0x4350_7378),
    ] {
        let builder = MinidumpBuilder::new().system(&system).thread(Thread::new(5).context(&own));
        let dump = open(&builder.exception(&Exception::new(5, code, 0, &asked)));
        assert!(dump.exception.is_none(), "{code:#x}");
        assert!(
            dump.issues.iter().any(|issue| issue.text.contains("no crash") && !issue.loses_data),
            "{:?}",
            dump.issues
        );
        assert_eq!(dump.threads[0].registers.pc(), Some(Virt(0x40_0123)), "registers are those of the request");
    }
    let dump = open(&linux(Cpu::Amd64).thread(Thread::new(5).context(&own)).breakpad_info(Some(5), Some(5)));
    assert!(dump.exception.is_none() && dump.writer.as_deref() == Some("breakpad"));
    assert_eq!(dump.threads[0].state.as_deref(), Some("wrote the dump"));
    assert_eq!(fact(&dump, "breakpad.requesting_thread"), Some("5"));
}

#[test]
fn mac_streams_and_crashpads_unpacked_exc_crash() {
    let at = Context::arm64().set("pc", 0x1000).set("x29", 0x2000).set("x30", 0x3000).set("sp", 0x4000);
    let builder = MinidumpBuilder::new()
        .system(&SystemInfo::mac(Cpu::Arm64, 14, 2, 1, "23C71"))
        .thread(Thread::new(9).context(&at))
        .module(Module::new(0x1_0000_0000, 0x1000, "/Applications/A.app/A").rsds(
            "00112233445566778899aabbccddeeff",
            0,
            "A",
        ))
        .crashpad(&[("ptype", "browser")], &[(0, &[("note", 1, b"hello"), ("raw", 0x8001, &[1, 2])])])
        .mac_boot_arguments("-v debug=0x144")
        .mac_crash_info(&[("/usr/lib/libc.dylib", "abort() called")])
        .exception(&Exception::new(9, 1, 0x10, &at).flags(1).parameters(&[10, 0x0b10_0001, 0x10]));
    let dump = open(&builder);
    assert!(dump.complete(), "{:?}", dump.issues);
    assert_eq!((dump.os, dump.arch, dump.writer.as_deref()), (Os::MacOs, Arch::Aarch64, Some("crashpad")));
    assert_eq!(dump.os_version.as_deref(), Some("14.2.1 23C71"));
    let registers = dump.threads[0].registers;
    assert_eq!((registers.pc(), registers.fp(), registers.lr(), registers.sp()).0, Some(Virt(0x1000)));
    assert_eq!(
        (registers.fp(), registers.lr(), registers.sp()),
        (Some(Virt(0x2000)), Some(Virt(0x3000)), Some(Virt(0x4000)))
    );
    let exception = dump.exception.as_ref().unwrap();
    let parameters = vec![10, 0x0b10_0001, 0x10];
    assert_eq!(exception.kind, ExceptionKind::Mach { exception: 1, code: 1, parameters });
    assert_eq!((exception.address, dump.threads[0].signal), (Some(Virt(0x10)), Some(11)));
    assert_eq!(fact(&dump, "crashpad.annotation.ptype"), Some("browser"));
    assert_eq!(fact(&dump, "crashpad.module.A.note"), Some("hello"));
    assert_eq!(fact(&dump, "crashpad.module.A.raw"), Some("type 0x8001, 2 bytes: 0102"));
    assert_eq!(fact(&dump, "crashpad.report_id"), Some("11111111-1111-1111-1111-111111111111"));
    assert_eq!(fact(&dump, "mac_boot_args"), Some("-v debug=0x144"));
    assert_eq!(fact(&dump, "mac_crash_info.0.message"), Some("abort() called"));
    // The UUID as LC_UUID has it, not as the GUID lies in the file.
    assert_eq!(dump.modules[0].build_id.as_ref().unwrap()[..4], [0x00, 0x11, 0x22, 0x33]);
}

#[test]
fn breakpads_old_arm64_context() {
    let at = Context::arm64_breakpad().set("pc", 0x1000).set("x0", 5).set("x30", 0x3000).set("sp", 0x4000);
    let dump = open(&linux(Cpu::Arm64Breakpad).thread(Thread::new(9).context(&at)));
    let registers = dump.threads[0].registers;
    assert_eq!(
        (registers.pc(), registers.sp(), registers.lr()),
        (Some(Virt(0x1000)), Some(Virt(0x4000)), Some(Virt(0x3000)))
    );
    assert_eq!(registers.by_name("x0"), Some(5));
}

#[test]
fn the_rest_of_windows() {
    let misc = MiscInfo {
        process_id: Some(4711),
        times: Some((1_600_000_000, 3, 2)),
        time_zone: Some((-60, "CET".into())),
        build_string: Some("19041.1.amd64fre".into()),
        process_cookie: Some(0xabc),
        ..MiscInfo::default()
    };
    let handle = Handle {
        handle: 4,
        type_name: Some("File".into()),
        object_name: Some(r"\x".into()),
        granted_access: 7,
        ..Handle::default()
    };
    let info = ThreadInfo { dump_flags: 4, start_address: 0x1234, user_time: 50, ..ThreadInfo::default() };
    let counters =
        VmCounters { revision_1: false, page_faults: 3, working_set: 4096, private: 8192, ..VmCounters::default() };
    let builder = windows()
        .misc(&misc)
        .handle(handle)
        .vm_counters(&counters)
        .unloaded_module(UnloadedModule { base: 0x1000, size: 0x10, checksum: 0, timestamp: 9, name: "old.dll".into() })
        .thread(Thread::new(8).scheduling(2, 0, 0).info(info))
        .comment_a("plain")
        .comment_w("wide ü")
        .assertion("x > 0", "f", "a.c", 12, 2)
        .stream(stream_type::IPT_TRACE, b"trace")
        .stream(0xbeef_0001, b"mine");
    for builder in [builder.clone(), builder.handles_version_1()] {
        let dump = open(&builder);
        assert_eq!(dump.issues.iter().filter(|issue| issue.loses_data).count(), 0, "{:?}", dump.issues);
        let process = &dump.process;
        assert_eq!((process.pid, process.start_time), (Some(4711), Some(1_600_000_000)));
        assert_eq!((process.user_time_us, process.system_time_us), (Some(3_000_000), Some(2_000_000)));
        assert_eq!((fact(&dump, "os_build"), fact(&dump, "process_cookie")), (Some("19041.1.amd64fre"), Some("0xabc")));
        assert_eq!((fact(&dump, "time_zone"), fact(&dump, "utc_offset_minutes")), (Some("CET"), Some("60")));
        let handle = &dump.handles[0];
        assert_eq!((handle.handle, handle.kind.as_deref(), handle.name.as_deref()), (4, Some("File"), Some(r"\x")));
        assert_eq!(handle.access, Some(7));
        assert_eq!((fact(&dump, "working_set_bytes"), fact(&dump, "private_bytes")), (Some("4096"), Some("8192")));
        assert_eq!((dump.unloaded_modules[0].path.as_str(), dump.unloaded_modules[0].end), ("old.dll", 0x1010));
        assert_eq!(dump.threads[1].state.as_deref(), Some("suspended 2, exited"));
        assert_eq!(fact(&dump, "thread.8.start_address"), Some("0x1234"));
        let comments: Vec<_> =
            process.facts.iter().filter(|(key, _)| key == "comment").map(|(_, v)| v.as_str()).collect();
        assert_eq!(comments, ["plain", "wide ü"]);
        assert_eq!(
            (fact(&dump, "assertion.line"), fact(&dump, "assertion.kind")),
            (Some("12"), Some("pure virtual call"))
        );
        let note = |kind| dump.notes.iter().find(|note| note.kind == kind).unwrap();
        assert_eq!((note(23).name, note(23).size), (Some("IptTraceStream"), 5));
        assert_eq!((note(0xbeef_0001).name, note(0xbeef_0001).size), (None, 4));
    }
}

#[test]
fn the_first_of_two_streams_wins() {
    let second = SystemInfo::linux(Cpu::X86, "Linux 1 x");
    let dump = open(&windows().system(&second));
    assert_eq!(dump.os, Os::Windows);
    assert!(
        dump.issues.iter().any(|issue| issue.text.contains("SystemInfoStream stands 2 times") && !issue.loses_data),
        "{:?}",
        dump.issues
    );
}

#[test]
fn nb10_and_strange_debug_records() {
    let mut nb10 = b"NB10\0\0\0\0".to_vec();
    nb10.extend_from_slice(&0x4501_ab2f_u32.to_le_bytes());
    nb10.extend_from_slice(&0x1c_u32.to_le_bytes());
    nb10.extend_from_slice(b"old.pdb\0");
    let module = |base, record: &[u8]| Module::new(base, 0x10, "m").raw_debug_record(record);
    let builder = MinidumpBuilder::new()
        .system(&SystemInfo::windows(Cpu::X86, 5, 1, 2600))
        .module(module(0x1000, &nb10))
        .module(module(0x2000, b"RSDS\x01"))
        .module(module(0x3000, b"WHAT"))
        .module(module(0x4000, b"x"));
    let dump = open(&builder);
    assert_eq!(dump.modules[0].debug_id.as_deref(), Some("4501AB2F1c"));
    assert_eq!(dump.modules[0].debug_file.as_deref(), Some("old.pdb"));
    assert!(dump.modules[1..].iter().all(|module| module.debug_id.is_none()));
    assert_eq!(dump.issues.iter().filter(|issue| issue.text.contains("CodeView")).count(), 3, "{:?}", dump.issues);
}

#[test]
fn lying_counts_and_places() {
    // Four billion threads in 52 bytes.
    let builder =
        windows().stream(stream_type::UNLOADED_MODULE_LIST, &[12, 0, 0, 0, 24, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let dump = open(&builder);
    assert!(dump.unloaded_modules.is_empty() && !dump.complete());
    for edit in [
        (|entry, _| entry.rva = u32::MAX) as fn(&mut afterimage_testkit::build_minidump::DirectoryEntry, u32),
        |entry, _| entry.size = u32::MAX,
        |entry, _| entry.size = 0,
        |entry, _| entry.size = 3,
        |entry, kind| entry.stream_type = kind,
        |entry, _| (entry.rva, entry.size) = (0, u32::MAX),
    ] {
        for row in 0..5 {
            for kind in [3, 4, 5, 9, 12, 14, 16, 17, 24, 0x4767_0009, 0x4767_000a, 0x4350_0001, 0x4d7a_0001] {
                let builder = windows().edit_directory(move |rows| {
                    if let Some(entry) = rows.get_mut(row) {
                        edit(entry, kind);
                    }
                });
                let dump = open(&builder);
                assert!(dump.issues.len() <= 101);
            }
        }
    }
    let dump = open(&windows().edit_header(|header| header.stream_count = u32::MAX));
    assert_eq!(dump.threads.len(), 1);
    assert!(!dump.complete());
    let dump = open(&windows().edit_header(|header| header.directory_rva = u32::MAX));
    assert!(dump.notes.is_empty() && !dump.complete());
    let dump = open(&windows().edit_header(|header| header.version = 1));
    assert_eq!(dump.threads.len(), 1);
}

#[test]
fn cut_at_every_byte_and_every_byte_changed() {
    let builder =
        windows().misc(&MiscInfo { process_id: Some(1), ..MiscInfo::default() }).crashpad_annotations(&[("a", "b")]);
    let whole = builder.build();
    for len in 0..whole.len() {
        let result = open_source(Path::new("cut.dmp"), Arc::new(whole[..len].to_vec()), &Budget::default());
        match result {
            Ok(dump) => assert!(len >= 32 && dump.threads.len() <= 1),
            Err(Error::Empty { .. }) => assert_eq!(len, 0),
            Err(Error::Unknown { .. }) => assert!(len < 4),
            Err(Error::Broken { what, .. }) => assert!(len < 32 && what.contains("cut off"), "{what}"),
            Err(other) => panic!("{other}"),
        }
    }
    for at in 4..whole.len() {
        for value in [0, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let dump = open_bytes(bytes);
            assert!(dump.regions.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
    }
}

#[test]
fn a_budget_is_kept() {
    // A million memory ranges of one file, and a budget of 64 KiB of tables.
    let mut list = (20_000u32).to_le_bytes().to_vec();
    for i in 0..20_000u64 {
        list.extend_from_slice(&(i * 0x1000).to_le_bytes());
        list.extend_from_slice(&[16, 0, 0, 0, 32, 0, 0, 0]);
    }
    let bytes = windows().stream(stream_type::MEMORY_LIST, &list).build();
    let mut budget = Budget::default();
    budget.max_bytes = 64 << 10;
    let dump = open_source(Path::new("big.dmp"), Arc::new(bytes.clone()), &budget).unwrap();
    assert!(dump.memory.segments().len() < 2_000);
    assert_eq!(
        dump.issues.iter().filter(|issue| issue.text.contains("tables of this file")).count(),
        1,
        "{:?}",
        dump.issues
    );
    assert_eq!(dump.threads.len(), 1, "what is read first is kept");
    let mut budget = Budget::default();
    budget.max_items = 100;
    let dump = open_source(Path::new("big.dmp"), Arc::new(bytes), &budget).unwrap();
    let held = dump.memory.segments().iter().filter(|segment| matches!(segment.backing, Backing::File(_))).count();
    assert!(held <= 102 && !dump.complete(), "{held}");
}

/// A file of a big-endian machine, written down by hand: Breakpad on 32-bit PowerPC made such.
#[test]
fn big_endian() {
    let mut file = Vec::new();
    let word = |file: &mut Vec<u8>, value: u32| file.extend_from_slice(&value.to_be_bytes());
    // Header: signature, version, 3 streams, directory at 32, checksum, time, flags.
    for value in [0x4d44_4d50_u32.swap_bytes(), 0xa793, 3, 32, 0, 1_000_000_000, 0, 0] {
        word(&mut file, value);
    }
    let (system, threads, modules, context, name, record) = (68, 124, 176, 288, 448, 468);
    for value in [7, 56, system, 3, 52, threads, 4, 112, modules] {
        word(&mut file, value);
    }
    assert_eq!(file.len(), system as usize);
    // PowerPC, one processor; version 10.4.11 of macOS.
    file.extend_from_slice(&[0, 3, 0, 0, 0, 0, 1, 0]);
    for value in [10, 4, 11, 0x8101, 0, 0, 0, 0, 0, 0, 0, 0] {
        word(&mut file, value);
    }
    for value in [1, 0x77, 0, 0, 0, 0, 0, 0, 0x9000, 0, 0, 160, context] {
        word(&mut file, value);
    }
    // A module at 0x1000 with a UUID.
    for value in [1, 0, 0x1000, 0x2000, 0, 0, name] {
        word(&mut file, value);
    }
    file.resize(modules as usize + 4 + 76, 0);
    for value in [25, record, 0, 0, 0, 0, 0, 0] {
        word(&mut file, value);
    }
    assert_eq!(file.len(), context as usize);
    // MD_CONTEXT_PPC with the base group; srr0; r0, r1 …
    for value in [0x2000_0001, 0x1234, 0, 0, 0x9000] {
        word(&mut file, value);
    }
    file.resize(name as usize, 0);
    word(&mut file, 8);
    file.extend("/b/a".encode_utf16().flat_map(u16::to_be_bytes));
    file.resize(record as usize, 0);
    file.extend_from_slice(b"RSDS");
    file.extend(1..=16u8);
    file.extend_from_slice(&[0, 0, 0, 0, 0]);

    let dump = open_bytes(file);
    assert_eq!((dump.endian, dump.arch, dump.os), (afterimage_dump::Endian::Big, Arch::Ppc, Os::MacOs));
    assert_eq!((dump.os_version.as_deref(), dump.time), (Some("10.4.11"), Some(1_000_000_000)));
    let registers = dump.threads[0].registers;
    assert_eq!((dump.threads[0].tid, registers.pc(), registers.sp()), (0x77, Some(Virt(0x1234)), Some(Virt(0x9000))));
    let module = &dump.modules[0];
    assert_eq!((module.base, module.end, module.path.as_str()), (0x1000, 0x3000, "/b/a"));
    assert_eq!(module.debug_id.as_deref(), Some("0102030405060708090A0B0C0D0E0F100"));
}
