//! What lldb says about the minidumps we build, and the offsets that Microsoft's headers give.

use super::*;
use std::path::Path;
use std::process::Command;

/// lldb's answer to some commands; `None` if it is missing outside CI.
fn lldb(file: &[u8], commands: &[&str]) -> Option<String> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("victim.dmp");
    std::fs::write(&path, file).expect("dump written");
    run_lldb(&path, commands)
}

fn run_lldb(path: &Path, commands: &[&str]) -> Option<String> {
    let mut command = Command::new("lldb");
    command.args(["--no-lldbinit", "--batch", "--no-use-colors", "--core"]).arg(path);
    commands.iter().for_each(|line| {
        command.args(["-o", line]);
    });
    match command.output() {
        Ok(output) => {
            Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
        }
        Err(cause) => {
            assert!(std::env::var_os("CI").is_none(), "lldb is needed: {cause}");
            eprintln!("not checked, lldb is missing: {cause}");
            None
        }
    }
}

fn assert_says(text: &str, parts: &[&str]) {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let flat = plain(text);
    for part in parts {
        assert!(flat.contains(&plain(part)), "expected `{part}` in:\n{text}");
    }
}

/// The bytes of a stream; finds it through the directory as the format's description says.
fn stream(dump: &[u8], stream_type: u32) -> &[u8] {
    let u32_at = |at: usize| u32::from_le_bytes(dump[at..at + 4].try_into().expect("4 bytes"));
    let rows = u32_at(8) as usize;
    let row = (0..rows).map(|row| 32 + row * 12).find(|&at| u32_at(at) == stream_type).expect("stream is there");
    let (size, rva) = (u32_at(row + 4) as usize, u32_at(row + 8) as usize);
    &dump[rva..rva + size]
}

/// A dump with every stream there is; tests and people look at it with outside tools.
pub(crate) fn everything() -> Vec<u8> {
    let at_fault = Context::amd64().set("rip", 0x1_4000_1000).set("rsp", 0x9000).set("rbp", 0x9080).set("rax", 0xabc);
    let waiting = Context::amd64().set("rip", 0x7ff8_0000_2000).set("rsp", 0xa000);
    MinidumpBuilder::new()
        .header(0x6543_2100, 0x1806)
        .system(&SystemInfo::windows(Cpu::Amd64, 10, 0, 19045))
        .misc(&MiscInfo {
            process_id: Some(4711),
            times: Some((0x6543_2000, 3, 1)),
            mhz: Some((3000, 2400, 3000)),
            integrity_level: Some(0x2000),
            time_zone: Some((-60, "W. Europe Standard Time".into())),
            build_string: Some("19041.1.amd64fre".into()),
            process_cookie: Some(0x1234_5678),
        })
        .exception(&Exception::new(0x1234, 0xc000_0005, 0x1_4000_1000, &at_fault).parameters(&[1, 0x10]))
        .system_memory(&SystemMemoryInfo {
            page_size: 4096,
            physical_pages: 0x40_0000,
            processors: 4,
            available_pages: 1000,
            committed_pages: 2000,
            commit_limit: 3000,
            peak_commitment: 4000,
        })
        .vm_counters(&VmCounters { page_faults: 7, working_set: 0x10_0000, private: 0x8_0000, ..VmCounters::default() })
        .comment_a("made by a test")
        .comment_w("von einem Test gemacht: ä")
        .thread(
            Thread::new(0x1234).context(&at_fault).stack(0x9000, (0..=255).collect()).teb(0x7000).name("main").info(
                ThreadInfo { start_address: 0x1_4000_1000, user_time: 156_250, affinity: 0xf, ..Default::default() },
            ),
        )
        .thread(
            Thread::new(0x1235).context(&waiting).stack(0xa000, vec![0x22; 128]).name("worker").scheduling(1, 32, 8),
        )
        .module(
            Module::new(0x1_4000_0000, 0x5000, r"C:\app\victim.exe")
                .image(0x11, 0x5f00_0000)
                .rsds("00112233445566778899aabbccddeeff", 1, r"C:\build\victim.pdb")
                .version([1, 2, 3, 4]),
        )
        .module(Module::new(0x7ff8_0000_0000, 0x1_0000, "/usr/lib/libelf.so").elf_build_id(&[0xab; 20]))
        .unloaded_module(UnloadedModule {
            base: 0x5000_0000,
            size: 0x1000,
            checksum: 0,
            timestamp: 1,
            name: r"C:\old.dll".into(),
        })
        .memory(0x1_4000_1000, vec![0x90; 64])
        .memory64(0x2_0000_0000, vec![0x33; 32])
        .memory64(0x3_0000_0000, vec![0x44; 32])
        .region(MemoryRegion::private(0x9000, 0x1000, 4))
        .region(MemoryRegion { protect: 0x104, ..MemoryRegion::private(0x8000, 0x1000, 4) })
        .handle(Handle {
            handle: 0x44,
            type_name: Some("Event".into()),
            object_name: Some(r"\BaseNamedObjects\ready".into()),
            granted_access: 0x1f_0003,
            handle_count: 2,
            pointer_count: 3,
            objects: vec![(5, vec![1, 2, 3, 4])],
            ..Handle::default()
        })
        .breakpad_info(Some(0x1235), Some(0x1234))
        .assertion("size > 0", "grow", "vector.c", 42, 1)
        .linux_file(LinuxFile::CpuInfo, "processor\t: 0\nvendor_id\t: GenuineIntel\n")
        .linux_file(LinuxFile::Status, "Name:\tvictim\nPid:\t4711\n")
        .linux_file(LinuxFile::LsbRelease, "DISTRIB_ID=Debian\nDISTRIB_RELEASE=12\n")
        .linux_file(LinuxFile::CmdLine, "victim\0--now\0")
        .linux_file(LinuxFile::Environ, "HOME=/root\0LANG=C\0")
        .linux_auxv(&[(6, 4096), (9, 0x40_1000)])
        .linux_file(LinuxFile::Maps, "00400000-00401000 r-xp 00000000 08:01 42 /bin/victim\n")
        .linux_dso_debug(
            0x7f00_1000,
            0x7f00_0000,
            0x40_0e28,
            &[(0, 0x40_0e28, ""), (0x7f10_0000, 0x7f10_1000, "/lib/c.so")],
        )
        .crashpad(&[("product", "victim"), ("channel", "beta")], &[(0, &[("note", 1, b"hello")])])
        .soft_errors(r#"[{"InitErrors": []}]"#)
        .linux_limits("Limit                     Soft Limit           Hard Limit           Units\n")
        .mac_boot_arguments("-v keepsyms=1")
        .mac_crash_info(&[("/usr/lib/libc.dylib", "abort() called")])
        .unused_slot()
        .build()
}

#[test]
fn lldb_reads_threads_registers_modules_and_memory() {
    let commands = ["thread list", "register read rip rsp rbp rax", "image list", "memory read 0x9000 --count 4"];
    let Some(text) = lldb(&everything(), &commands) else { return };
    assert_says(
        &text,
        &[
            "tid = 0x1234",
            "tid = 0x1235",
            "Exception 0xc0000005 encountered at address 0x140001000",
            "rip = 0x0000000140001000",
            "rsp = 0x0000000000009000",
            "rbp = 0x0000000000009080",
            "rax = 0x0000000000000abc",
            "00112233-4455-6677-8899-AABBCCDDEEFF-00000001",
            "0x0000000140000000",
            "0x00009000: 00 01 02 03",
        ],
    );
}

#[test]
fn lldb_reads_memory_and_regions_of_a_full_dump() {
    let context = Context::amd64().set("rip", 0x1000).set("rsp", 0x2_0000_0000);
    let dump = MinidumpBuilder::new()
        .system(&SystemInfo::linux(Cpu::Amd64, "Linux 6.1.0 x86_64"))
        .thread(Thread::new(7).context(&context).stack_elsewhere(0x2_0000_0000, 32))
        .memory64(0x2_0000_0000, vec![0x33; 32])
        .memory64(0x3_0000_0000, b"second".to_vec())
        .region(MemoryRegion::private(0x3_0000_0000, 0x1000, 0x20))
        .build();
    let commands = ["memory read 0x300000000 --count 6 --format c --size 1", "memory region 0x300000000"];
    let Some(text) = lldb(&dump, &commands) else { return };
    assert_says(&text, &["0x300000000: second", "[0x0000000300000000-0x0000000300001000) r-x"]);
}

#[test]
fn lldb_reads_x86_and_arm64_contexts() {
    let dump = |cpu, context: &Context| {
        MinidumpBuilder::new()
            .system(&SystemInfo::windows(cpu, 6, 1, 7601))
            .thread(Thread::new(1).context(context))
            .build()
    };
    let x86 = Context::x86().set("eip", 0x1_2345).set("esp", 0x2000).set("edi", 0x77).set("eflags", 0x246);
    if let Some(text) = lldb(&dump(Cpu::X86, &x86), &["register read"]) {
        assert_says(&text, &["eip = 0x00012345", "esp = 0x00002000", "edi = 0x00000077", "eflags = 0x00000246"]);
    }
    let arm = Context::arm64().set("pc", 0x1_2345).set("sp", 0x2000).set("x3", 0x77).set("x30", 0x88);
    if let Some(text) = lldb(&dump(Cpu::Arm64, &arm), &["register read x3 lr sp pc"]) {
        assert_says(&text, &["x3 = 0x0000000000000077", "lr = 0x0000000000000088", "pc = 0x0000000000012345"]);
    }
}

#[test]
fn sizes_are_those_of_the_published_headers() {
    let dump = everything();
    let size = |stream_type| stream(&dump, stream_type).len();
    assert_eq!(size(stream_type::SYSTEM_INFO), 56);
    assert_eq!(size(stream_type::MISC_INFO), 1364);
    assert_eq!(size(stream_type::EXCEPTION), 168);
    assert_eq!(size(stream_type::THREAD_LIST), 4 + 2 * 48);
    assert_eq!(size(stream_type::MODULE_LIST), 4 + 2 * 108);
    assert_eq!(size(stream_type::THREAD_NAMES), 4 + 2 * 12);
    assert_eq!(size(stream_type::THREAD_INFO_LIST), 12 + 64);
    assert_eq!(size(stream_type::MEMORY_INFO_LIST), 16 + 2 * 48);
    assert_eq!(size(stream_type::HANDLE_DATA), 16 + 40);
    assert_eq!(size(stream_type::UNLOADED_MODULE_LIST), 12 + 24);
    assert_eq!(size(stream_type::SYSTEM_MEMORY_INFO), 492);
    assert_eq!(size(stream_type::PROCESS_VM_COUNTERS), 152);
    assert_eq!(size(stream_type::ASSERTION_INFO), 776);
    assert_eq!(size(stream_type::CRASHPAD_INFO), 52);
}

#[test]
fn stacks_are_stored_once() {
    let dump = everything();
    let stack: Vec<u8> = (0..=255).collect();
    assert_eq!(dump.windows(256).filter(|window| *window == stack).count(), 1);
    // MemoryList's first row names the RVA of the first thread's stack (48-byte rows, RVA of the stack at 36).
    let threads = stream(&dump, stream_type::THREAD_LIST);
    let memory = stream(&dump, stream_type::MEMORY_LIST);
    assert_eq!(threads[4 + 36..4 + 40], memory[4 + 12..4 + 16]);
}

#[test]
fn misc_info_is_as_small_as_its_contents_allow() {
    let size = |misc: MiscInfo| stream(&MinidumpBuilder::new().misc(&misc).build(), stream_type::MISC_INFO).len();
    assert_eq!(size(MiscInfo { process_id: Some(1), ..Default::default() }), 24);
    assert_eq!(size(MiscInfo { mhz: Some((1, 1, 1)), ..Default::default() }), 44);
    assert_eq!(size(MiscInfo { integrity_level: Some(1), ..Default::default() }), 232);
    assert_eq!(size(MiscInfo { build_string: Some("b".into()), ..Default::default() }), 832);
}

#[test]
fn header_and_directory_can_lie() {
    let dump = MinidumpBuilder::new()
        .comment_a("x")
        .edit_header(|header| header.stream_count = u32::MAX)
        .edit_directory(|rows| rows[0].rva = u32::MAX)
        .build();
    assert_eq!(dump[8..12], [0xff; 4]);
    assert_eq!(dump[40..44], [0xff; 4]);
}

#[test]
#[should_panic(expected = "no register called eax")]
fn a_wrong_register_name_is_no_silent_zero() {
    let _ = Context::amd64().set("eax", 1);
}

/// For looking at the dump by hand: `WRITE_TO=/some/file cargo test -p afterimage-testkit -- --ignored write_everything`.
#[test]
#[ignore = "writes a file for people"]
fn write_everything() {
    let path = std::env::var_os("WRITE_TO").expect("WRITE_TO names the file");
    std::fs::write(path, everything()).expect("dump written");
}
