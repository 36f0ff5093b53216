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
    let (mut agreed, mut differs) = (0, Vec::new());
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
    println!("{agreed} frames agree with atos, {} differ: {differs:#?}", differs.len());
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
