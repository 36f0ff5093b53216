//! Reports of Apple's systems, symbolised from their dSYM bundles, against what `atos` made of the same files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use afterimage_dump::{Budget, open};
use afterimage_target::{FileMatch, Location, Options, Target, Trust};
use std::path::{Path, PathBuf};

fn samples() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/macos");
    if root.is_dir() {
        return Some(root);
    }
    println!("skipped: no samples at {}", root.display());
    None
}

fn target(path: &Path, debug: Vec<PathBuf>) -> Target {
    let dump = open(path, &Budget::default()).unwrap();
    let options = Options { debug_paths: debug, dump_path: Some(path.to_owned()), ..Options::default() };
    Target::new(dump, options, Budget::default())
}

/// Bundles as Xcode makes them, of the packed files among the samples.
fn bundles(root: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (packed, name) in
        [("CrashingTest.dSYM-DWARF.zst", "CrashingTest"), ("iOSCrashingTest.dSYM-DWARF.zst", "iOSCrashingTest")]
    {
        let dwarf = folder.path().join(format!("{name}.dSYM/Contents/Resources/DWARF"));
        std::fs::create_dir_all(&dwarf).unwrap();
        let bytes = zstd::decode_all(std::fs::File::open(root.join("macsym").join(packed)).unwrap()).unwrap();
        std::fs::write(dwarf.join(name), bytes).unwrap();
    }
    folder
}

/// Whether a demangled Swift name and a mangled one are of the same function: all words that the mangling spells out.
fn same_function(truth: &str, ours: &str) -> bool {
    if truth == ours {
        return true;
    }
    // "specialized static CrashClass.pleaseCrash()" is $s…10CrashClassC06pleaseC0yyFZ…: the second "Crash" is a letter.
    let (class, method) = match truth.split_once('.') {
        Some((class, method)) => (class.rsplit(' ').next().unwrap(), method.split('(').next().unwrap()),
        None => return false,
    };
    let method: String = method.split_inclusive(|c: char| c.is_lowercase()).collect();
    ours.starts_with("$s") && ours.contains(class) && ours.contains(method.strip_suffix("Crash").unwrap_or(&method))
}

fn last_part(path: Option<&str>) -> Option<&str> {
    path.map(|path| path.rsplit('/').next().unwrap())
}

#[test]
fn dsym_bundles_give_what_atos_gave() {
    let Some(root) = samples() else { return };
    let bundles = bundles(&root);
    let (mut agreed, mut by_dsym, mut with_line, mut differs) = (0, 0, 0, Vec::new());
    for (report, truth) in [
        ("single-target-crash.ips", "single-target-crash_symbolicated.crash"),
        ("single-target-crash.crash", "single-target-crash_symbolicated.crash"),
        ("ios-crash.ips", "ios-crash_symbolicated.crash"),
        ("ios-crash.crash", "ios-crash_symbolicated.crash"),
    ] {
        let target = target(&root.join("macsym").join(report), vec![bundles.path().to_owned()]);
        let truth = open(&root.join("macsym").join(truth), &Budget::default()).unwrap();
        let truth = truth.report.unwrap();
        let mut symbolised = 0;
        for (index, thread) in truth.threads.iter().enumerate() {
            let stack = target.stack(index);
            assert_eq!(stack.frames.len(), thread.frames.len(), "{report}: thread {index}");
            for (frame, truth) in stack.frames.iter().zip(&thread.frames) {
                assert_eq!((frame.address.address().0, frame.trust), (truth.address, Trust::Reported));
                let places = target.locate(frame.address);
                let ours = places.last().cloned().unwrap_or_default();
                let Location { function, line, .. } = &ours;
                let named = same_function(truth.symbol.as_deref().unwrap_or(""), function.as_deref().unwrap_or(""));
                // Line 0 of `<compiler-generated>` is no line.
                let lined = truth.line.is_none()
                    || truth.line == *line && last_part(truth.file.as_deref()) == last_part(ours.file.as_deref());
                symbolised += usize::from(truth.line.is_some());
                // Only those that atos added; the others have the name that the report itself has.
                by_dsym += usize::from(truth.file.is_some() && named && lined);
                with_line += usize::from(truth.line.is_some() && named && lined);
                match named && lined {
                    true => agreed += 1,
                    false => differs.push(format!("{report} {:#x}: {truth:?} != {ours:?}", truth.address)),
                }
            }
        }
        assert!(symbolised > 0, "{report}");
        let matched = target.modules().iter().filter(|module| matches!(module.file(), FileMatch::BuildId(_))).count();
        assert_eq!(matched, 1, "{report}");
    }
    println!(
        "{agreed} frames agree ({by_dsym} of them by a dSYM, {with_line} of those with a line), {} differ: {differs:#?}",
        differs.len()
    );
    assert_eq!((by_dsym, with_line), (10, 6));
    assert!(differs.is_empty());
    assert!(agreed > 250, "{agreed}");
}

#[test]
fn another_build_is_not_used() {
    let Some(root) = samples() else { return };
    let bundles = bundles(&root);
    let wrong = bundles.path().join("iOSCrashingTest.dSYM");
    let target = target(&root.join("macsym/single-target-crash.ips"), vec![wrong]);
    let frame = &target.stack(0).frames[0];
    assert!(target.locate(frame.address).is_empty());
    assert!(target.issues().iter().any(|issue| issue.text.contains("UUID")), "{:?}", target.issues());
}

#[test]
fn programs_give_names() {
    let Some(root) = samples() else { return };
    // The report's UUID is another one than the program's that lldb made later: it must not be used.
    let target = target(
        &root.join("lldb-crashlog/multithread-test.ips"),
        vec![root.join("lldb-crashlog/multithread-test.macho")],
    );
    println!(
        "{:?}",
        target.modules().iter().map(|module| (module.name().to_owned(), module.file())).collect::<Vec<_>>()
    );
    let places = target.locate(target.stack(2).frames[0].address);
    assert_eq!(places[0].function.as_deref(), Some("bar(int)"));
    assert_eq!(places[0].line, Some(7));
}

#[test]
fn verdicts() {
    let Some(root) = samples() else { return };
    for (name, kind, part) in [
        ("macsym/single-target-crash.ips", "null_write", "it wrote at 0x1, a null pointer plus 1"),
        ("macsym/single-target-crash.crash", "null_write", "CrashingTest"),
        ("macsym/ios-crash.ips", "assertion_failed", "a check of Swift's library failed"),
        ("macsym/ios16-crash-with-json-header.crash", "assertion_failed", "EXC_BREAKPOINT"),
        ("lldb-crashlog/multithread-test.ips", "null_write", "in bar(int) (multithread-test.cpp:7)"),
        ("lldb-crashlog/multithread-test.crash", "null_write", "in bar(int) (multithread-test.cpp:7)"),
        ("pycrashreport/user_mode_crash_report_ios14_symbolicated.ips", "stack_smashing", "in main"),
        (
            "pycrashreport/kernel_mode_crash_report_ios16_forceReset-full.ips",
            "forced_restart",
            "com.apple.driver.AppleM68Buttons",
        ),
        ("sentry/apple_crash_report.txt", "null_read", "SIGSEGV"),
        ("macsym/multithread-sample.txt", "none", "ran when this report was made"),
    ] {
        let target = target(&root.join(name), Vec::new());
        let diagnosis = target.diagnosis();
        println!("{name}: {}", diagnosis.headline);
        assert_eq!(diagnosis.kind, kind, "{name}: {}", diagnosis.headline);
        assert!(diagnosis.headline.contains(part), "{name}: {}", diagnosis.headline);
        assert!(diagnosis.statements.iter().all(|statement| !statement.evidence.is_empty()), "{name}");
    }
}

fn of_text(text: &str) -> Target {
    let dump = afterimage_dump::open_source(
        Path::new("test"),
        std::sync::Arc::new(text.as_bytes().to_vec()),
        &Budget::default(),
    )
    .unwrap();
    Target::new(dump, Options::default(), Budget::default())
}

#[test]
fn reasons_in_words() {
    let report = |exception: &str, more: &str| {
        of_text(&format!(
            "{{\"bug_type\":\"309\",\"os_version\":\"macOS 14.0 (1)\",\"app_name\":\"App\"}}\n{{\"pid\":7,\"procName\":\"App\",\"cpuType\":\"ARM-64\",\
             \"exception\":{exception},{more}\"faultingThread\":0,\"threads\":[{{\"id\":3,\"frames\":[{{\"imageOffset\":16,\"imageIndex\":0,\"symbol\":\"work\"}}]}}],\
             \"usedImages\":[{{\"base\":4096,\"size\":4096,\"path\":\"/a/App\",\"name\":\"App\"}}]}}"
        ))
    };
    let crash = r#"{"type":"EXC_CRASH","signal":"SIGKILL","rawCodes":[0,0]}"#;
    let abort = r#"{"type":"EXC_CRASH","signal":"SIGABRT","rawCodes":[0,0]}"#;
    for (exception, more, kind, part) in [
        (crash, r#""termination":{"namespace":"FRONTBOARD","code":2343432205},"#, "watchdog", "the watchdog ended it"),
        (crash, r#""termination":{"namespace":"RUNNINGBOARD","code":3735883980},"#, "resource_held", "file lock"),
        (
            abort,
            r#""termination":{"namespace":"DYLD","code":1,"reasons":["Library not loaded: @rpath/X"]},"#,
            "loader",
            "was not found",
        ),
        (crash, r#""termination":{"namespace":"CODESIGNING","code":2},"#, "code_signature", "signature"),
        (
            abort,
            r#""exceptionReason":{"name":"NSRangeException","composed_message":"beyond bounds"},"#,
            "objc_exception",
            "nobody caught NSRangeException",
        ),
        (abort, r#""asi":{"libsystem_c.dylib":["abort() called"]},"#, "abort", "it ended itself"),
        (
            r#"{"type":"EXC_RESOURCE","subtype":"WAKEUPS","message":"(Limit 150/sec)"}"#,
            "",
            "resource_limit",
            "wake-ups",
        ),
        (
            r#"{"type":"EXC_GUARD","subtype":"GUARD_TYPE_FD","message":"CLOSE on file descriptor 3"}"#,
            "",
            "guard_violation",
            "a file descriptor",
        ),
        (
            r#"{"type":"EXC_BAD_ACCESS","subtype":"KERN_PROTECTION_FAILURE at 0x10000000"}"#,
            "",
            "wild_read",
            "0x10000000",
        ),
        (r#"{"type":"EXC_BAD_ACCESS","subtype":"KERN_INVALID_ADDRESS at 0x1010"}"#, "", "null_call", "jumped to"),
        (r#"{"type":"EXC_ARITHMETIC","signal":"SIGFPE","rawCodes":[1,0]}"#, "", "divide_by_zero", "arithmetic"),
    ] {
        let target = report(exception, more);
        let diagnosis = target.diagnosis();
        println!("{}\n   {:?}", diagnosis.headline, diagnosis.statements.iter().map(|s| &s.text).collect::<Vec<_>>());
        assert_eq!(diagnosis.kind, kind, "{more}: {}", diagnosis.headline);
        assert!(diagnosis.headline.contains(part), "{}", diagnosis.headline);
    }
}

/// What the fuzz target begins with, and what becomes of it when bytes change.
#[test]
fn changed_bytes_are_borne() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/apple");
    let mut seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 8);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut opened = 0;
    for seed in seeds {
        let whole = std::fs::read(&seed).unwrap();
        for round in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..round.min(8) {
                let at = next(bytes.len());
                match next(4) {
                    0 => bytes.truncate(at.max(64)),
                    1 => bytes[at] = b"\0{}[]\":,9\n\xff- ("[next(14)],
                    2 => bytes[at] ^= 1 << next(8),
                    _ => {
                        let piece = bytes[at..(at + next(64)).min(bytes.len())].to_vec();
                        let to = next(bytes.len());
                        bytes.splice(to..to, piece);
                    }
                }
            }
            let dump = afterimage_dump::open_source(&seed, std::sync::Arc::new(bytes), &Budget::default());
            let Ok(dump) = dump else {
                assert!(round > 0, "{}", seed.display());
                continue;
            };
            opened += 1;
            let target =
                Target::new(dump, Options { use_system_files: false, ..Options::default() }, Budget::default());
            target.prepare_stacks();
            assert!(!target.diagnosis().headline.is_empty(), "{}", seed.display());
            for thread in 0..target.dump().threads.len() {
                for frame in &target.stack(thread).frames {
                    let _ = (target.locate(frame.address), target.reported_image(frame.address));
                }
            }
            target.modules().iter().for_each(|module| drop(module.file()));
        }
    }
    println!("{opened} of 2400 opened");
    assert!(opened > 1200, "{opened}");
}

/// A core's stack is walked by frame pointers, and its image named.
#[test]
fn a_core_is_explained() {
    use afterimage_testkit::build_macho::{Core, image, words};
    let uuid = *b"0123456789abcdef";
    let mut text = image(2, 0x1_0000_0000, 0x2000, uuid, None);
    text.resize(0x2000, 0x90);
    // call rel32 before each address that a call returns to.
    for at in [0x1100, 0x1200] {
        text[at - 5..at].copy_from_slice(&[0xe8, 0, 0, 0, 0]);
    }
    // mov eax, [rax]
    text[0x1000..0x1002].copy_from_slice(&[0x8b, 0x00]);
    let mut stack = vec![0u8; 0x1000];
    for (at, value) in [(0x100, 0x7fff_0200_u64), (0x108, 0x1_0000_1100), (0x200, 0), (0x208, 0x1_0000_1200)] {
        stack[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let mut registers = [0u64; 21];
    (registers[16], registers[7], registers[6], registers[0]) = (0x1_0000_1000, 0x7fff_00f0, 0x7fff_0100, 0x10);
    let bytes = Core::x86_64()
        .thread(&[(4, words(&registers)), (6, vec![14, 4, 0x10, 0])])
        .segment(0x1_0000_0000, 5, text, 0x2000)
        .segment(0x7fff_0000, 3, stack, 0x1000)
        .listed(0x1_0000_0000, uuid, "/a/App")
        .bytes();
    let dump = afterimage_dump::open_source(Path::new("core"), std::sync::Arc::new(bytes), &Budget::default()).unwrap();
    let target = Target::new(dump, Options { use_system_files: false, ..Options::default() }, Budget::default());
    let frames: Vec<u64> = target.stack(0).frames.iter().map(|frame| frame.address.address().0).collect();
    println!("{} {frames:x?} {:?}", target.diagnosis().headline, target.stack(0).end);
    assert_eq!(frames, [0x1_0000_1000, 0x1_0000_1100, 0x1_0000_1200]);
    assert_eq!(target.module_at(afterimage_dump::Virt(0x1_0000_1000)).unwrap().name(), "App");
    assert_eq!(target.diagnosis().kind, "null_read");
}
