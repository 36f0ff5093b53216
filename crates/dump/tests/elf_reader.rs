//! The ELF core reader against cores that are built by an independent hand.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::{
    Absence, Arch, Budget, Dump, DumpType, Endian, Error, ExceptionKind, Memory, MemoryExt, Virt, open_source,
};
use afterimage_testkit::build_core::pen::ByteOrder;
use afterimage_testkit::build_core::{
    Class, CoreBuilder, FileMap, Machine, ProcessInfo, SampleAddresses, Segment, SigInfo, Thread, sample_core,
    sample_core_builder,
};
use std::path::Path;
use std::sync::Arc;

fn try_open(bytes: Vec<u8>) -> Result<Dump, Error> {
    open_source(Path::new("core"), Arc::new(bytes), &Budget::default())
}

fn open(bytes: Vec<u8>) -> Dump {
    try_open(bytes).unwrap_or_else(|e| panic!("{e}"))
}

fn signal(dump: &Dump) -> Option<(i32, Option<i32>)> {
    match dump.exception.as_ref()?.kind {
        ExceptionKind::Signal { signo, code, .. } => Some((signo, code)),
        _ => None,
    }
}

#[test]
fn the_sample_is_read_whole() {
    let dump = open(sample_core());
    assert_eq!((dump.arch, dump.endian, dump.pointer_size), (Arch::X86_64, Endian::Little, 8));
    assert_eq!(dump.writer.as_deref(), Some("kernel"));
    assert_eq!(dump.threads.iter().map(|t| t.tid).collect::<Vec<_>>(), [4711, 4712]);
    assert_eq!(signal(&dump), Some((11, Some(1))));
    let exception = dump.exception.as_ref().unwrap();
    assert_eq!((exception.tid, exception.address), (Some(4711), Some(Virt(SampleAddresses::FAULT))));
    assert_eq!(dump.process.pid, Some(4711));
    assert_eq!(dump.process.name.as_deref(), Some("sample"));
    assert_eq!(dump.process.command_line.as_deref(), Some("./sample --size 3"));
    assert_eq!(dump.process.executable.as_deref(), Some("/usr/bin/sample"));
    assert_eq!(dump.modules.len(), 2);
    assert_eq!(dump.modules[0].base, SampleAddresses::PROGRAM);
    assert!(dump.complete(), "{:?}", dump.issues);
    let stack = dump.region(Virt(SampleAddresses::STACK)).unwrap();
    assert_eq!(stack.path.as_deref(), Some("[stack]"));
    let back = dump.memory.read_uint(Virt(SampleAddresses::FRAME + 8), 8, Endian::Little);
    assert_eq!(back, Ok(SampleAddresses::CALLERS[0]));
    // Register sets are notes of their thread.
    let xstate = dump.threads[0].extra_notes.iter().map(|&i| dump.notes[i].name).collect::<Vec<_>>();
    assert!(xstate.contains(&Some("NT_X86_XSTATE")), "{xstate:?}");
}

#[test]
fn a_cut_at_every_byte_of_the_headers_and_every_page_is_survived() {
    let whole = sample_core();
    for cut in (0..2048).chain((2048..whole.len()).step_by(512)) {
        if let Ok(dump) = try_open(whole[..cut].to_vec()) {
            assert!(!dump.complete(), "{cut}: {:?}", dump.issues);
            for region in dump.regions.iter().take(10) {
                let _ = dump.memory.read_at(region.start, &mut [0; 64]);
            }
        }
    }
    let half = open(whole[..whole.len() - 5000].to_vec());
    assert_eq!(half.missing_bytes, 5000);
    let wanted = format!("the file is cut off: 5000 of {} bytes are missing (5000 bytes of memory)", whole.len());
    assert_eq!(half.issues[0].text, wanted);
    let last = half.regions.last().unwrap();
    let fault = half.memory.read_at(Virt(last.end.0 - 1), &mut [0]).unwrap_err();
    assert_eq!(fault.why, Absence::Truncated);
}

#[test]
fn notes_behind_the_memory_are_gcore_and_can_be_lost() {
    let build = |signo: u16, info: SigInfo| {
        CoreBuilder::new(Machine::X86_64)
            .notes_after_memory()
            .process(&ProcessInfo::new(70, "healthy", "healthy"))
            .thread(Thread::new(70).signal(signo).register("rip", 0x1000))
            .siginfo(&info)
            .thread(Thread::new(71).signal(signo).register("rip", 0x2000))
            .siginfo(&info)
            .segment(Segment::new(0x1000, vec![1; 0x3000]))
            .build()
    };
    for (signo, info, expected) in [
        (19, SigInfo::sent(19, 0, 0, 0), None),
        (5, SigInfo::fault(5, 1, 0x1000), None),
        (2, SigInfo::sent(2, 0, 1, 0), None),
        (0, SigInfo::sent(19, 0, 0, 0), None),
        (11, SigInfo::fault(11, 1, 0x10), Some((11, Some(1)))),
        (6, SigInfo::sent(6, -6, 70, 0), Some((6, Some(-6)))),
    ] {
        let dump = open(build(signo, info));
        assert_eq!(dump.writer.as_deref(), Some("gcore"));
        assert_eq!(signal(&dump), expected, "signal {signo}");
        assert_eq!(dump.threads.len(), 2);
    }
    let whole = build(19, SigInfo::sent(19, 0, 0, 0));
    let dump = open(whole[..0x2000].to_vec());
    assert!(dump.threads.is_empty());
    assert!(dump.issues.iter().any(|issue| issue.text.starts_with("the notes")), "{:?}", dump.issues);
    assert!(dump.memory.read_at(Virt(0x1000), &mut [0; 16]).is_ok());
}

#[test]
fn filtered_memory_is_absent_and_known() {
    let dump = open(
        CoreBuilder::new(Machine::X86_64)
            .thread(Thread::new(1).signal(11).register("rsp", 0x9000))
            .files(&FileMap::new(4096).file(0x1000, 0x5000, 2, "/lib/a").file(0x20_000, 0x21_000, 0, "/lib/b"))
            .segment(Segment::new(0x1000, vec![7; 0x1000]).memory_size(0x2000).access("r-x"))
            .segment(Segment::new(0x3000, Vec::new()).memory_size(0x4000).access("rw-"))
            .segment(Segment::new(0x9000, vec![1; 0x1000]))
            .build(),
    );
    let why = |at| dump.memory.read_at(Virt(at), &mut [0]).unwrap_err().why;
    assert_eq!(why(0x2000), Absence::NotInDump);
    assert_eq!(why(0x3000), Absence::NotInDump);
    // Named by NT_FILE alone.
    assert_eq!(why(0x20_000), Absence::NotInDump);
    assert_eq!(why(0x30_000), Absence::NotMapped);
    let regions: Vec<_> =
        dump.regions.iter().map(|r| (r.start.0, r.end.0, r.path.as_deref(), r.present_bytes)).collect();
    let expected = [
        (0x1000, 0x3000, Some("/lib/a"), 0x1000),
        (0x3000, 0x5000, Some("/lib/a"), 0),
        (0x5000, 0x7000, None, 0),
        (0x9000, 0xa000, Some("[stack]"), 0x1000),
        (0x20_000, 0x21_000, Some("/lib/b"), 0),
    ];
    assert_eq!(regions, expected);
    assert_eq!(dump.mappings[0].offset, 2 * 4096);
    assert_eq!(dump.dump_type, DumpType::Small);
    assert!(dump.complete());
}

#[test]
fn pn_xnum_with_and_without_its_section_header() {
    let builder = sample_core_builder().count_in_section_header();
    let whole = builder.build();
    assert_eq!(open(whole.clone()).regions.len(), 4);
    let cut = open(whole[..whole.len() - 64].to_vec());
    assert_eq!(cut.regions.len(), 4);
    assert_eq!(cut.threads.len(), 2);
    assert!(cut.issues.iter().any(|issue| issue.text.contains("PN_XNUM")), "{:?}", cut.issues);

    let many = (0..70_000u64).map(|i| Segment::new(0x10_0000 + i * 0x1000, Vec::new()).memory_size(0x1000));
    let core = CoreBuilder::new(Machine::X86_64).thread(Thread::new(1).signal(11)).segments(many).build();
    assert_eq!(open(core).regions.len(), 70_000);
}

#[test]
fn arguments_and_environment_come_from_the_stack() {
    const STACK: u64 = 0x7ffd_0000_0000;
    let strings = STACK + 0x800;
    let text = b"./prog\0two words\0HOME=/home/me\0EMPTY=\0LANG=C\0/full/prog\0";
    let place = |needle: &str| {
        let at = text.windows(needle.len()).position(|w| w == needle.as_bytes()).unwrap();
        strings + at as u64
    };
    let auxv = [(33, 0x7fff_0000), (6, 4096), (25, STACK + 0x7f0), (31, place("/full/prog"))];
    let mut words = vec![2, place("./prog"), place("two words"), 0];
    words.extend([place("HOME"), place("EMPTY"), place("LANG"), 0]);
    for (kind, value) in auxv {
        words.extend([kind, value]);
    }
    words.extend([0, 0]);
    let mut bytes = vec![0u8; 0x400];
    bytes.extend(words.iter().flat_map(|word: &u64| word.to_le_bytes()));
    bytes.resize(0x800, 0);
    bytes.extend(text);
    bytes.resize(0x1000, 0);
    let core = CoreBuilder::new(Machine::X86_64)
        .thread(Thread::new(5).signal(11).register("rsp", STACK + 0x100))
        .process(&ProcessInfo::new(5, "prog", "./prog two w"))
        .auxv(&auxv)
        .segment(Segment::new(STACK, bytes));
    let dump = open(core.build());
    assert_eq!(dump.process.command_line.as_deref(), Some("./prog two words"));
    assert_eq!(dump.process.executable.as_deref(), Some("/full/prog"));
    let environment: Vec<_> = dump.process.environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(environment, [("HOME", "/home/me"), ("EMPTY", ""), ("LANG", "C")]);
}

#[test]
fn own_notes_are_understood() {
    let mut facts = Vec::new();
    for (key, value) in
        [("limits", &b"Max open files 1024\n"[..]), ("cmdline", b"/bin/x\0-y\0"), ("environ", b"A=1\0B=2\0")]
    {
        facts.extend(key.as_bytes());
        facts.push(0);
        facts.extend((value.len() as u64).to_le_bytes());
        facts.extend(value);
    }
    let mut ids = Vec::new();
    ids.extend(SampleAddresses::LIBRARY.to_le_bytes());
    ids.extend(20u16.to_le_bytes());
    ids.extend([9; 20]);
    ids.extend(0u16.to_le_bytes());
    let core = sample_core_builder()
        .note("AFTERIMAGE", 0x4146_0001, b"cannot read 0x1000: permission denied\nsecond\n")
        .note("AFTERIMAGE", 0x4146_0002, b"4711\tmain\n4712\tworker 1\n")
        .note("AFTERIMAGE", 0x4146_0003, &facts)
        .note("AFTERIMAGE", 0x4146_0004, &ids)
        .note("SOMEONE", 77, b"kept")
        .build();
    let dump = open(core);
    assert_eq!(dump.writer.as_deref(), Some("afterimage"));
    assert_eq!(dump.soft_errors, ["cannot read 0x1000: permission denied", "second"]);
    assert_eq!(dump.threads[1].name.as_deref(), Some("worker 1"));
    assert_eq!(dump.process.facts, [("limits".to_owned(), "Max open files 1024".to_owned())]);
    assert_eq!(dump.process.command_line.as_deref(), Some("/bin/x -y"));
    assert_eq!(dump.process.environment[1], ("B".to_owned(), "2".to_owned()));
    assert_eq!(dump.modules[1].build_id.as_deref(), Some(&[9; 20][..]));
    let unknown = dump.notes.last().unwrap();
    assert_eq!((unknown.owner.as_str(), unknown.kind, unknown.name, unknown.size), ("SOMEONE", 77, None, 4));
}

#[test]
fn lists_end_at_their_budget() {
    let mut core = CoreBuilder::new(Machine::X86_64);
    for tid in 1..=2_000 {
        core = core.thread(Thread::new(tid).signal(11));
    }
    let bytes = core.segment(Segment::new(0x1000, vec![0; 4096])).build();
    let mut budget = Budget::default();
    (budget.max_threads, budget.max_items) = (100, 1_500);
    let dump = open_source(Path::new("core"), Arc::new(bytes.clone()), &budget).unwrap();
    assert_eq!((dump.threads.len(), dump.notes.len()), (100, 1_500));
    assert_eq!(dump.issues.iter().filter(|issue| issue.loses_data).count(), 3, "{:?}", dump.issues);
    let mut budget = Budget::default();
    budget.max_bytes = 64 << 10;
    let dump = open_source(Path::new("core"), Arc::new(bytes), &budget).unwrap();
    assert!(!dump.complete() && !dump.threads.is_empty() && dump.threads.len() < 200);
}

#[test]
fn lies_in_headers_and_notes_are_no_trap() {
    // Lengths of 2^64-1, a note longer than the file, an owner without end, a count without names.
    let lies = [
        CoreBuilder::new(Machine::X86_64).segment(Segment::new(u64::MAX - 0xfff, vec![1; 0x2000])).build(),
        CoreBuilder::new(Machine::X86_64).segment(Segment::new(0x1000, vec![1]).claim_file_size(u64::MAX)).build(),
        CoreBuilder::new(Machine::X86_64)
            .segment(Segment::new(0x1000, vec![1; 16]).claim_offset(u64::MAX - 8).memory_size(u64::MAX))
            .build(),
        CoreBuilder::new(Machine::X86_64).raw_notes(&[0xff; 64]).build(),
        CoreBuilder::new(Machine::X86_64).raw_notes(&[5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]).build(),
        CoreBuilder::new(Machine::X86_64)
            .files(&FileMap::new(u64::MAX).file(1, 2, u64::MAX, "x").claim_count(1 << 60))
            .build(),
        CoreBuilder::new(Machine::X86_64)
            .note("CORE", 3, &[0; 10])
            .note("CORE", 1, &[0; 10])
            .note("CORE", 6, &[1; 9])
            .build(),
        sample_core_builder().edit_header(|header| header.e_phentsize = 0xffff).build(),
        sample_core_builder().edit_header(|header| header.e_phoff = u64::MAX - 4).build(),
        sample_core_builder().edit_header(|header| header.e_phnum = 0xfffe).build(),
    ];
    for (i, bytes) in lies.into_iter().enumerate() {
        match try_open(bytes) {
            Ok(dump) => {
                let _ = dump.memory.extents();
                let _ = dump.memory.read_at(Virt(0x1000), &mut [0; 4096]);
            }
            Err(e) => assert!(matches!(e, Error::Broken { .. }), "{i}: {e}"),
        }
    }
}

#[test]
fn both_byte_orders_and_classes() {
    for (machine, pc, pointer) in [(Machine::X86_64, "rip", 8), (Machine::Aarch64, "pc", 8), (Machine::I386, "eip", 4)]
    {
        let dump = open(
            CoreBuilder::new(machine)
                .thread(Thread::new(3).signal(7).register(pc, 0x1234_5678).times((1, 500_000), (0, 20)))
                .process(&ProcessInfo::new(3, "x", "x y"))
                .siginfo(&SigInfo::fault(7, 2, 0x4000))
                .auxv(&[(6, 4096)])
                .segment(Segment::new(0x1000, vec![1; 16]))
                .build(),
        );
        assert_eq!(dump.pointer_size, pointer);
        assert_eq!(dump.threads[0].registers.pc(), Some(Virt(0x1234_5678)), "{}", dump.arch);
        assert_eq!(dump.exception.as_ref().unwrap().address, Some(Virt(0x4000)), "{}", dump.arch);
        assert_eq!(dump.process.pid, Some(3), "{}", dump.arch);
        assert_eq!(dump.process.user_time_us, Some(1_500_000), "{}", dump.arch);
        assert_eq!(dump.auxv, [(6, 4096)]);
    }
    // 32-bit PowerPC, of which there is no sample: 48 words, the program counter behind the 32 general registers.
    let machine = Machine::Other { class: Class::Elf32, order: ByteOrder::Big, number: 20 };
    let words: Vec<u8> = (0..48u32).flat_map(|word| (0x1000 + word).to_be_bytes()).collect();
    let dump = open(
        CoreBuilder::new(machine)
            .thread(Thread::new(9).signal(11).raw_registers(words))
            .siginfo(&SigInfo::fault(11, 1, 0x4444_0000))
            .segment(Segment::new(0x1000, vec![1; 16]))
            .build(),
    );
    assert_eq!((dump.arch, dump.endian, dump.pointer_size), (Arch::Ppc, Endian::Big, 4));
    let registers = dump.threads[0].registers;
    assert_eq!(
        (registers.pc(), registers.sp(), registers.lr()),
        (Some(Virt(0x1020)), Some(Virt(0x1001)), Some(Virt(0x1024)))
    );
    assert_eq!(dump.threads[0].thread_pointer, Some(Virt(0x1002)));
    assert_eq!(dump.exception.as_ref().unwrap().address, Some(Virt(0x4444_0000)));
}
