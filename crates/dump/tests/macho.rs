//! Mach-O cores: built ones, and the head of lldb's sample.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use afterimage_dump::{Arch, Budget, Dump, DumpType, ExceptionKind, Format, MemoryExt, Os, Virt, open, open_source};
use afterimage_testkit::build_macho::{Core, image, words};
use std::path::Path;
use std::sync::Arc;

fn read(bytes: Vec<u8>) -> Dump {
    open_source(Path::new("test"), Arc::new(bytes), &Budget::default()).unwrap()
}

/// rax to gs, with these values in rip, rsp and rbp.
fn x86(rip: u64, rsp: u64, rbp: u64) -> (u32, Vec<u32>) {
    let mut values: Vec<u64> = (0..21).collect();
    (values[16], values[7], values[6]) = (rip, rsp, rbp);
    (4, words(&values))
}

const UUID: [u8; 16] = *b"0123456789abcdef";

#[test]
fn an_intel_process() {
    let mut text = image(2, 0x1_0000_0000, 0x2000, UUID, None);
    text.resize(0x2000, 0x90);
    let core = Core::x86_64()
        .thread(&[x86(0x1_0040_1000, 0x7fff_1000, 0x7fff_1100), (6, vec![14 | 2 << 16, 6, 0x10, 0])])
        .thread(&[x86(0x1_0040_1800, 0x7fff_1800, 0)])
        .segment(0x1_0040_0000, 5, text, 0x2000)
        .segment(0x7fff_0000, 3, vec![7; 0x1000], 0x3000)
        .listed(0x1_0040_0000, UUID, "/Applications/App.app/Contents/MacOS/App")
        .note("process metadata", b"{\"threads\":[{\"thread_id\":501},{\"thread_id\":502}]}\0".to_vec())
        .note("kern ver str", [&1u32.to_le_bytes()[..], b"Darwin Kernel Version 22.0.0\0"].concat());
    let dump = read(core.bytes());
    assert_eq!((dump.format, dump.dump_type), (Format::MachO, DumpType::Complete));
    assert_eq!((dump.os, dump.arch, dump.pointer_size), (Os::MacOs, Arch::X86_64, 8));
    assert_eq!(dump.threads.iter().map(|thread| thread.tid).collect::<Vec<_>>(), [501, 502]);
    let registers = dump.threads[0].registers;
    assert_eq!(
        (registers.pc(), registers.sp(), registers.fp()),
        (Some(Virt(0x1_0040_1000)), Some(Virt(0x7fff_1000)), Some(Virt(0x7fff_1100)))
    );
    // rbx, rcx, rdx stand in another order than DWARF's.
    assert_eq!(
        ["rax", "rbx", "rcx", "rdx", "rdi", "rsi"].map(|name| registers.by_name(name).unwrap()),
        [0, 1, 2, 3, 4, 5]
    );
    let exception = dump.exception.as_ref().unwrap();
    assert_eq!((exception.tid, exception.address), (Some(501), Some(Virt(0x10))));
    assert_eq!(exception.kind, ExceptionKind::Mach { exception: 1, code: 1, parameters: vec![0x10] });
    assert_eq!(dump.memory.read_uint(Virt(0x7fff_0ff8), 8, dump.endian), Ok(0x0707_0707_0707_0707));
    assert!(dump.memory.read_uint(Virt(0x7fff_1000), 8, dump.endian).is_err());
    let module = &dump.modules[0];
    assert_eq!((module.base, module.end), (0x1_0040_0000, 0x1_0040_2000));
    assert_eq!(
        (module.build_id.as_deref(), module.path.as_str()),
        (Some(&UUID[..]), "/Applications/App.app/Contents/MacOS/App")
    );
    assert_eq!(dump.process.name.as_deref(), Some("App"));
    assert_eq!(dump.region(Virt(0x7fff_0000)).unwrap().permissions.unwrap().to_string(), "rw-");
    assert_eq!(dump.notes.len(), 3);
    assert!(dump.complete(), "{:?}", dump.issues);
}

#[test]
fn an_old_page_fault_is_no_crash() {
    let core = Core::x86_64().thread(&[x86(0x1000, 0x7fff_1000, 0), (6, vec![14, 6, 0x7fff_0010, 0])]).segment(
        0x7fff_0000,
        3,
        vec![0; 0x1000],
        0x1000,
    );
    assert!(read(core.bytes()).exception.is_none());
}

#[test]
fn an_arm_process() {
    let mut values: Vec<u64> = (100..133).collect();
    values.push(0x6000_0000);
    let core = Core::arm64().thread(&[(6, words(&values)), (7, vec![0x18, 0, 0x9200_0046, 0])]).segment(
        0x1000,
        1,
        vec![1; 64],
        64,
    );
    let dump = read(core.bytes());
    let registers = dump.threads[0].registers;
    assert_eq!(
        ["x0", "x28", "fp", "lr", "sp", "pc", "cpsr"].map(|name| registers.by_name(name).unwrap()),
        [100, 128, 129, 130, 131, 132, 0x6000_0000]
    );
    assert_eq!(dump.exception.unwrap().address, Some(Virt(0x18)));
}

#[test]
fn lldb_samples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/macos/mach-core");
    let Ok(text) = std::fs::read_to_string(root.join("test.core.yaml")) else {
        println!("skipped: no samples at {}", root.display());
        return;
    };
    let head = Core::head_of_yaml(&text).unwrap();
    assert_eq!(head.len(), 32 + 4384);
    let dump = read(head);
    let segments = text.matches("LC_SEGMENT_64").count();
    println!(
        "test.core: {} threads, {} of {segments} segments, {:?}",
        dump.threads.len(),
        dump.regions.len(),
        dump.issues
    );
    assert_eq!((dump.arch, dump.threads.len()), (Arch::X86_64, text.matches("LC_THREAD").count()));
    // What lldb's own test reads of the first thread: its registers stand in the payload.
    assert!(dump.threads.iter().all(|thread| thread.registers.pc().is_some()));
    assert!(!dump.regions.is_empty() && dump.missing_bytes > 1 << 30);
    let dump = open(&root.join("armv7em.core"), &Budget::default()).unwrap();
    let registers = dump.threads[0].registers;
    assert_eq!((dump.arch, dump.pointer_size), (Arch::Arm, 4));
    assert_eq!(
        (registers.by_name("r0"), registers.by_name("sp"), registers.by_name("pc")),
        (Some(0x1_0000), Some(0xe_0000), Some(0x10_0000))
    );
    assert_eq!(registers.by_name("cpsr"), Some(0x11_0000));
}

#[test]
fn cut_and_hostile() {
    let start = std::time::Instant::now();
    let whole = Core::x86_64()
        .thread(&[x86(1, 2, 3)])
        .segment(0x1000, 5, image(6, 0, 64, UUID, Some("/usr/lib/x")), 4096)
        .listed(0x1000, UUID, "/x")
        .bytes();
    for cut in 0..whole.len() {
        let _ = open_source(Path::new("cut"), Arc::new(whole[..cut].to_vec()), &Budget::default());
    }
    for at in 0..whole.len().min(600) {
        for value in [0, 0xff, 0x7f] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let _ = open_source(Path::new("hit"), Arc::new(bytes), &Budget::default());
        }
    }
    let mut many = Core::x86_64();
    for index in 0..20_000u64 {
        many = many.segment(index * 0x1000, 7, Vec::new(), u64::MAX);
    }
    let _ = read(many.bytes());
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
