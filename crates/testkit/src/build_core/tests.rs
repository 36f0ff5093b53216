//! What elfutils, binutils and gdb say about the files we build.

use super::pen::ByteOrder;
use super::*;
use std::path::Path;
use std::process::Command;

/// A tool's output on a file; `None` if the tool is missing outside CI.
fn ask(tool: &str, arguments: &[&str], file: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("core");
    std::fs::write(&path, file).expect("core written");
    ask_path(tool, arguments, &path)
}

fn ask_path(tool: &str, arguments: &[&str], path: &Path) -> Option<String> {
    match Command::new(tool).env("LC_ALL", "C").args(arguments).arg(path).output() {
        Ok(output) => {
            Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
        }
        Err(cause) => {
            assert!(std::env::var_os("CI").is_none(), "{tool} is needed: {cause}");
            eprintln!("not checked, {tool} is missing: {cause}");
            None
        }
    }
}

/// Fails with the whole text if a part is missing. Runs of blanks count as one.
fn assert_says(text: &str, parts: &[&str]) {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let flat = plain(text);
    for part in parts {
        assert!(flat.contains(&plain(part)), "expected `{part}` in:\n{text}");
    }
}

#[test]
fn elfutils_reads_the_notes_of_the_sample() {
    let Some(text) = ask("eu-readelf", &["-n"], &sample_core()) else { return };
    assert_says(
        &text,
        &[
            "CORE 336 PRSTATUS",
            "info.si_signo: 11, info.si_code: 0, info.si_errno: 0, cursig: 11",
            "pid: 4711, ppid: 1, pgrp: 4711, sid: 4711",
            "rip: 0x0000000000401004",
            "rsp: 0x00007ffd00000100",
            "rbp: 0x00007ffd00000100",
            "rflags: 0x0000000000010246",
            "CORE 136 PRPSINFO",
            "fname: sample, psargs: ./sample --size 3",
            "CORE 128 SIGINFO",
            "si_signo: 11, si_errno: 0, si_code: 1",
            "fault address: 0x18",
            "PHDR: 0x400040",
            "PAGESZ: 4096",
            "2 files:",
            "00400000-00402000 00000000 8192 /usr/bin/sample",
            "7f1000000000-7f1000002000 00000000 8192 /usr/lib/libsample.so.1",
            "CORE 512 FPREGSET",
            "xmm0: 0x00000000000000003ff0000000000000",
            "LINUX 832 X86_XSTATE",
            "pid: 4712",
        ],
    );
}

#[test]
fn elfutils_reads_i386_and_aarch64_notes() {
    let i386 = CoreBuilder::new(Machine::I386)
        .thread(Thread::new(7).signal(6).register("eip", 0x804_8123).register("gs", 0x63).register("ebx", 9))
        .process(&ProcessInfo { uid: 1000, gid: 1001, ..ProcessInfo::new(7, "old", "./old") })
        .siginfo(&SigInfo::sent(6, 0, 7, 1000))
        .files(&FileMap::new(4096).file(0x804_8000, 0x804_9000, 2, "/bin/old"))
        .segment(Segment::new(0x804_8000, vec![0x90; 64]).access("r-x"))
        .build();
    if let Some(text) = ask("eu-readelf", &["-n"], &i386) {
        assert_says(
            &text,
            &[
                "CORE 144 PRSTATUS",
                "cursig: 6",
                "eip: 0x08048123",
                "ebx: 9",
                "gs: 0x0063",
                "CORE 124 PRPSINFO",
                "uid: 1000, gid: 1001, pid: 7",
                "sender PID: 7, sender UID: 1000",
                "08048000-08049000 00002000 4096 /bin/old",
            ],
        );
    }
    let aarch64 = CoreBuilder::new(Machine::Aarch64)
        .thread(Thread::new(9).signal(11).register("x0", 1).register("x30", 0x1234).register("pc", 0xaaaa_0000))
        .vectors(&VectorState::new().v(1, 0x55))
        .build();
    if let Some(text) = ask("eu-readelf", &["-n"], &aarch64) {
        assert_says(&text, &["CORE 392 PRSTATUS", "x30: 4660", "pc: 0x00000000aaaa0000", "CORE 528 FPREGSET"]);
        assert_says(&text, &["v1: 0x00000000000000000000000000000055"]);
    }
}

#[test]
fn big_endian_headers_are_what_readelf_calls_big_endian() {
    let s390 = Machine::Other { class: Class::Elf64, order: ByteOrder::Big, number: 22 };
    let core = CoreBuilder::new(s390)
        .thread(Thread::new(3).signal(4).raw_registers(vec![0; 216]))
        .segment(Segment::new(0x8000_0000, vec![1; 16]))
        .build();
    let Some(text) = ask("readelf", &["-Wh", "-l", "-n"], &core) else { return };
    assert_says(&text, &["2's complement, big endian", "IBM S/390", "CORE (Core file)", "NT_PRSTATUS"]);
    assert_says(&text, &["LOAD 0x001000 0x0000000080000000 0x0000000000000000 0x000010 0x000010 RW 0x1000"]);
}

#[test]
fn notes_stand_before_or_after_memory_and_in_several_segments() {
    let builder = CoreBuilder::new(Machine::X86_64)
        .thread(Thread::new(1))
        .next_note_segment()
        .thread(Thread::new(2))
        .segment(Segment::new(0x1000, vec![0; 0x2000]).align(1));
    let offsets = |core: &[u8]| -> Option<Vec<(String, u64)>> {
        let text = ask("readelf", &["-Wl"], core)?;
        let rows = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let kind = words.next().filter(|kind| ["NOTE", "LOAD"].contains(kind))?;
            let offset = u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()?;
            Some((kind.to_owned(), offset))
        });
        Some(rows.collect())
    };
    let Some(before) = offsets(&builder.build()) else { return };
    let Some(after) = offsets(&builder.clone().notes_after_memory().build()) else { return };
    assert_eq!(before.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["NOTE", "NOTE", "LOAD"]);
    assert!(before[0].1 < before[2].1 && before[1].1 < before[2].1);
    assert!(after[0].1 >= after[2].1 + 0x2000 && after[1].1 > after[0].1);
}

#[test]
fn from_65535_segments_on_the_count_moves_to_the_section_header() {
    let many = (0..70_000_u64).map(|index| Segment::new(index << 13, Vec::new()).memory_size(4096));
    let core = CoreBuilder::new(Machine::X86_64).thread(Thread::new(1)).segments(many).build();
    let Some(text) = ask("readelf", &["-Wh"], &core) else { return };
    assert_says(&text, &["Number of program headers: 65535 (70001)", "Number of section headers: 1"]);
    let small = CoreBuilder::new(Machine::I386).thread(Thread::new(1)).count_in_section_header().build();
    let Some(text) = ask("readelf", &["-Wh", "-l"], &small) else { return };
    assert_says(&text, &["Number of program headers: 65535 (1)", "NOTE 0x000054"]);
}

#[test]
fn a_header_can_lie() {
    let core = CoreBuilder::new(Machine::X86_64).edit_header(|header| header.e_phoff = u64::MAX).build();
    assert_eq!(core[32..40], [0xff; 8]);
}

#[test]
#[should_panic(expected = "no register called eax")]
fn a_wrong_register_name_is_no_silent_zero() {
    let _ = CoreBuilder::new(Machine::X86_64).thread(Thread::new(1).register("eax", 1));
}

#[test]
fn gdb_finds_threads_registers_modules_and_memory_in_the_sample() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let core = folder.path().join("core");
    std::fs::write(&core, sample_core()).expect("core written");
    let commands =
        ["info threads", "p/x $rip", "p/x $xmm0.v2_int64[0]", "x/3i $pc", "x/2gx $rbp", "p $_siginfo.si_signo"];
    let mut arguments = vec!["-nx", "-batch"];
    for command in commands {
        arguments.extend(["-ex", command]);
    }
    arguments.push("-core");
    let Some(text) = ask_path("gdb", &arguments, &core) else { return };
    assert_says(
        &text,
        &[
            "Core was generated by `./sample --size 3'",
            "Program terminated with signal SIGSEGV",
            "LWP 4711",
            "LWP 4712",
            "$1 = 0x401004",
            "$2 = 0x3ff0000000000000",
            "mov 0x18(%rdi),%rax",
            "0x7ffd00000100: 0x00007ffd00000120 0x0000000000401049",
            "$3 = 11",
        ],
    );
}

#[test]
fn the_image_is_an_elf_file_with_build_id_and_unwind_table() {
    let image = ElfImage::new(0x40_0000)
        .build_id(&[0xab; 20])
        .dynamic(&[(21, 0x1234)])
        .code(vec![0x90; 64])
        .function(0, 16, &call_frame::return_address_on_top())
        .function(16, 48, &call_frame::same_stack_pointer());
    let file = image.file();
    let Some(text) = ask("readelf", &["-W", "-n", "-d", "-l", "-wf"], &file) else { return };
    assert_says(
        &text,
        &[
            &format!("Build ID: {}", "ab".repeat(20)),
            "(DEBUG) 0x1234",
            "GNU_EH_FRAME",
            "pc=0000000000401000..0000000000401010",
            "pc=0000000000401010..0000000000401040",
            "DW_CFA_def_cfa: r7 (rsp) ofs 8",
            "DW_CFA_offset: r16 (rip) at cfa-8",
            "DW_CFA_def_cfa: r7 (rsp) ofs 0",
        ],
    );
    assert!(!text.contains("Warning"), "{text}");
    let Some(text) = ask("eu-readelf", &["--debug-dump=frames"], &file) else { return };
    assert_says(&text, &["fde_count: 2", "initial_location: 0x0000000000401010", "offset r16 (rip) at cfa+0"]);
    assert_eq!(image.bytes()[image.dynamic_address() as usize - 0x40_0000..][..8], 21_u64.to_le_bytes());
}

#[test]
fn the_module_list_can_be_walked_and_can_loop() {
    let list = LinkMap::new(0x1000).module(1, 2, "a").module(3, 4, "bc");
    let word = |bytes: &[u8], address: u64| {
        let at = (address - 0x1000) as usize;
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
    };
    let memory = list.segment().bytes;
    assert_eq!(word(&memory, 0x1008), list.node(0));
    assert_eq!(word(&memory, list.node(0) + 24), list.node(1));
    assert_eq!(word(&memory, list.node(1) + 24), 0);
    assert_eq!(word(&memory, list.node(1) + 32), list.node(0));
    let name = (word(&memory, list.node(1) + 8) - 0x1000) as usize;
    assert_eq!(&memory[name..name + 3], b"bc\0");
    let looped = list.loop_to(0);
    assert_eq!(word(&looped.segment().bytes, looped.node(1) + 24), looped.node(0));
}
