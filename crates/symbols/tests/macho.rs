//! Mach-O files: the DWARF of real dSYM bundles against what `atos` said of the same addresses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use afterimage_symbols::{Blob, MachObject, ModuleSymbols};
use std::path::Path;
use std::sync::Arc;

fn slices(name: &str) -> Option<Vec<MachObject>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/macos").join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: no sample {}", path.display());
        return None;
    };
    let bytes = if name.ends_with(".zst") { zstd::decode_all(&*bytes).unwrap() } else { bytes };
    let blob: Blob = Arc::new(bytes);
    Some(MachObject::slices(&blob).unwrap())
}

/// Offset in the image, part of the function's name, file and line.
type Place = (u64, &'static str, Option<(&'static str, u32)>);

#[test]
fn dsym_lines_are_those_of_atos() {
    let truth: [(&str, &str, &[Place]); 2] = [
        (
            "macsym/CrashingTest.dSYM-DWARF.zst",
            "01d2a9d51f8a35c892287c7cca13c5fc",
            &[(15941, "-[MyClass crashingMethod]", Some(("main.m", 21))), (15999, "main", Some(("main.m", 28)))],
        ),
        (
            "macsym/iOSCrashingTest.dSYM-DWARF.zst",
            "82d13d98219e3040b62a07a297007a7c",
            &[
                // `pleaseCrash`, mangled: "Crash" is a word that stood before, and goes by its letter.
                (25787, "CrashClassC06pleaseC0", None),
                (25035, "ViewControllerC11viewDidLoad", None),
                (25475, "main", Some(("AppDelegate.swift", 9))),
            ],
        ),
    ];
    for (name, uuid, places) in truth {
        let Some(slices) = slices(name) else { return };
        println!("{name}: {slices:?}");
        let hex = |id: &[u8; 16]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let slice = slices.into_iter().find(|slice| slice.uuid().map(hex).as_deref() == Some(uuid)).unwrap();
        assert!(slice.has_debug_info() && slice.has_symbols());
        let base = slice.image_base();
        let symbols = ModuleSymbols::from_macho(slice);
        for (offset, function, line) in places {
            let found = symbols.locate(base + offset);
            let symbol = symbols.function(base + offset).unwrap();
            println!("  {offset:#x}: {found:?} {symbol:?}");
            let outermost = found.last().unwrap();
            assert!(symbol.name.contains(function), "{symbol:?}");
            assert!(outermost.function.as_deref().unwrap().contains(function), "{found:?}");
            if let Some((file, line)) = line {
                assert!(outermost.file.as_deref().unwrap().ends_with(file), "{found:?}");
                assert_eq!(outermost.line, Some(*line));
            }
        }
    }
}

#[test]
fn a_program_has_names() {
    let Some(slices) = slices("lldb-crashlog/multithread-test.macho") else { return };
    let symbols = ModuleSymbols::from_macho(slices.into_iter().next().unwrap());
    // Offsets in the report lldb's test has of it: 0x100ec58f4 - 0x100ec4000 and so on.
    for (offset, name) in [(0x18f4, "bar(int)"), (0x191b, "foo(int)"), (0x1a87, "compute_pow(int&)"), (0x1b3b, "main")]
    {
        assert_eq!(symbols.function(0x1_0000_0000 + offset).unwrap().name, name);
    }
}

#[test]
fn broken_files_are_refused_or_used_as_far_as_they_go() {
    let blob = |bytes: &[u8]| -> Blob { Arc::new(bytes.to_vec()) };
    assert!(MachObject::slices(&blob(b"")).is_err());
    assert!(MachObject::slices(&blob(b"\xca\xfe\xba\xbe\0\0\0\x34")).is_err(), "a Java class");
    assert!(MachObject::slices(&blob(b"\xcf\xfa\xed\xfe\0\0")).is_err());
    let Some(path) = Some(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/samples/macos/lldb-crashlog/multithread-test.macho"),
    )
    .filter(|path| path.exists()) else {
        return;
    };
    let whole = std::fs::read(path).unwrap();
    for cut in (32..whole.len()).step_by(997) {
        let slices = MachObject::slices(&blob(&whole[..cut])).unwrap();
        let symbols = ModuleSymbols::from_macho(slices.into_iter().next().unwrap());
        let _ = (symbols.function(0x1_0000_18f4), symbols.locate(0x1_0000_18f4));
    }
}
