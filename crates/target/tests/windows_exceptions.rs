//! Exceptions of Windows in words: dumps made by hand, with the tables that Visual C++ writes for a throw laid out from
//! Microsoft's `ehdata.h`.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use afterimage_dump::{Budget, open_source};
use afterimage_target::{Diagnosis, Options, Target};
use afterimage_testkit::build_minidump::{
    Context, Cpu, Exception, MinidumpBuilder, Module, SystemInfo, Thread, UnloadedModule,
};
use std::path::Path;
use std::sync::Arc;

const BASE: u64 = 0x1_4000_0000;
const BASE_32: u64 = 0x40_0000;
const STACK: u64 = 0x10_0000;

fn diagnose(wide: bool, code: u32, parameters: &[u64], memory: Vec<(u64, Vec<u8>)>) -> Diagnosis {
    let (cpu, base, context) = if wide {
        (Cpu::Amd64, BASE, Context::amd64().set("rip", BASE + 0x1000).set("rsp", STACK))
    } else {
        (Cpu::X86, BASE_32, Context::x86().set("eip", BASE_32 + 0x1000).set("esp", STACK))
    };
    let mut builder = MinidumpBuilder::new()
        .system(&SystemInfo::windows(cpu, 10, 0, 19045))
        .thread(Thread::new(7).context(&context).stack(STACK, vec![0; 256]))
        .module(Module::new(base, 0x10_000, "C:\\app\\app.exe").image(0, 0x5f00_0000))
        .exception(&Exception::new(7, code, base + 0x1000, &context).parameters(parameters));
    for (at, bytes) in memory {
        builder = builder.memory(at, bytes);
    }
    let dump = open_source(Path::new("made"), Arc::new(builder.build()), &Budget::default()).unwrap();
    let target = Target::new(dump, Options { use_system_files: false, ..Options::default() }, Budget::default());
    let _ = target.stack(0);
    target.diagnosis().clone()
}

/// Words of 4 bytes.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A throw of something derived from `std::exception`, with its tables in the image.
fn throw(wide: bool, types: &[&str]) -> (Vec<u64>, Vec<(u64, Vec<u8>)>) {
    let base = if wide { BASE } else { BASE_32 };
    let relative = |at: u64| if wide { (at - base) as u32 } else { at as u32 };
    let (info, array, object, what) = (base + 0x2000, base + 0x2100, 0x20_0000u64, 0x21_0000u64);
    let mut memory = vec![
        (info, words(&[0, 0, 0, relative(array)])),
        (what, b"the disk is full\0".to_vec()),
        (
            object,
            if wide {
                [0u64, what].iter().flat_map(|word| word.to_le_bytes()).collect()
            } else {
                words(&[0, what as u32])
            },
        ),
    ];
    let mut list = vec![types.len() as u32];
    for (index, name) in types.iter().enumerate() {
        let (kind, descriptor) = (base + 0x2200 + 0x40 * index as u64, base + 0x3000 + 0x80 * index as u64);
        list.push(relative(kind));
        memory.push((kind, words(&[0, relative(descriptor), 0, u32::MAX, 0, 24, 0])));
        let head = if wide { 16 } else { 8 };
        memory.push((descriptor, [vec![0; head], name.as_bytes().to_vec(), vec![0]].concat()));
    }
    memory.push((array, words(&list)));
    let mut parameters = vec![0x1993_0520, object, info];
    if wide {
        parameters.push(base);
    }
    (parameters, memory)
}

#[test]
fn a_thrown_exception_has_its_type_and_text() {
    for wide in [true, false] {
        let (parameters, memory) =
            throw(wide, &[".?AVDiskFull@app@@", ".?AVruntime_error@std@@", ".?AVexception@std@@"]);
        let found = diagnose(wide, 0xe06d_7363, &parameters, memory);
        assert_eq!(found.kind, "cpp_exception");
        assert!(found.headline.contains("app::DiskFull"), "{}", found.headline);
        assert_eq!(found.message.as_deref(), Some("the disk is full"));
        let evidence: Vec<&str> = found.statements[0].evidence.iter().map(|fact| fact.text.as_str()).collect();
        assert!(evidence.iter().any(|text| text.contains("std::runtime_error, std::exception")), "{evidence:?}");
    }
    let (parameters, memory) = throw(true, &[".?AUrust_panic@@"]);
    assert_eq!(diagnose(true, 0xe06d_7363, &parameters, memory).kind, "rust_panic");
}

#[test]
fn a_throw_without_its_tables_is_still_one() {
    let (parameters, _) = throw(true, &[]);
    for parameters in [
        parameters,
        vec![],
        vec![0x1993_0520, 0, 0, 0],
        vec![1, 2, 3, 4],
        vec![0x1993_0520, u64::MAX, u64::MAX - 4, BASE],
    ] {
        let found = diagnose(true, 0xe06d_7363, &parameters, vec![]);
        assert_eq!(found.kind, "cpp_exception", "{parameters:x?}");
    }
    // Tables that lead to themselves, and a count that is absurd.
    let at = BASE + 0x2000;
    let memory = vec![(at, words(&[u32::MAX, 0, 0, 0x2000, 0x2000, 0x2000]))];
    let found = diagnose(true, 0xe06d_7363, &[0x1993_0520, at, at, BASE], memory);
    assert_eq!(found.kind, "cpp_exception");
}

#[test]
fn codes_and_parameters_in_words() {
    for (code, parameters, kind, said) in [
        (0xc000_0409, vec![2], "stack_smashing", "stack cookie"),
        (0xc000_0409, vec![3], "heap_corruption", "linked list"),
        (0xc000_0409, vec![7], "abort", "abort"),
        (0xc000_0374, vec![], "heap_corruption", "heap is corrupted"),
        (0xc000_00fd, vec![1, 0x30_0000], "stack_overflow", "stack is full"),
        (0xc000_0006, vec![0, 0x30_0000, 0xc000_0185], "io_error", "device failed"),
        (0xe043_4352, vec![0x8000_4003], "dotnet_exception", "NullReferenceException"),
        (0xc000_0135, vec![], "missing_library", "library"),
        (0xc000_0138, vec![], "missing_library", "by number"),
        (0xc000_0008, vec![], "invalid_handle", "invalid handle"),
        (0x8000_0003, vec![], "breakpoint", "breakpoint"),
        (0xc000_001d, vec![], "illegal_instruction", "illegal instruction"),
        (0x2047_4343, vec![], "cpp_exception", "C++ exception"),
        (0xe123_4567, vec![], "exception", "the program's own"),
    ] {
        let found = diagnose(true, code, &parameters, vec![]);
        assert_eq!(found.kind, kind, "{code:#x}: {}", found.headline);
        assert!(found.headline.contains(said), "{code:#x}: {}", found.headline);
        assert!(
            !found.statements.is_empty() && found.statements.iter().all(|one| !one.evidence.is_empty()),
            "{code:#x}"
        );
    }
    // The access and its address.
    for (access, said) in [(0u64, "read"), (1, "wrote")] {
        let found = diagnose(true, 0xc000_0005, &[access, 0x5555_0000], vec![(BASE + 0x1000, vec![0x90; 16])]);
        assert!(found.headline.contains(said), "{}", found.headline);
        assert_eq!(found.fault_address, Some(0x5555_0000), "{}", found.headline);
    }
}

#[test]
fn a_call_into_a_library_that_is_gone() {
    let at = 0x7ff8_1000_1234u64;
    let context = Context::amd64().set("rip", at).set("rsp", STACK);
    let builder = MinidumpBuilder::new()
        .system(&SystemInfo::windows(Cpu::Amd64, 10, 0, 19045))
        .thread(Thread::new(7).context(&context).stack(STACK, vec![0; 256]))
        .module(Module::new(BASE, 0x10_000, "C:\\app\\app.exe"))
        .unloaded_module(UnloadedModule {
            base: 0x7ff8_1000_0000,
            size: 0x5000,
            checksum: 0,
            timestamp: 0,
            name: "plugin.dll".to_owned(),
        })
        .exception(&Exception::new(7, 0xc000_0005, at, &context).parameters(&[8, at]));
    let dump = open_source(Path::new("made"), Arc::new(builder.build()), &Budget::default()).unwrap();
    let target = Target::new(dump, Options { use_system_files: false, ..Options::default() }, Budget::default());
    let said: Vec<&str> = target.diagnosis().statements.iter().map(|one| one.text.as_str()).collect();
    assert!(said.iter().any(|text| text.contains("plugin.dll had been")), "{said:?}");
}
