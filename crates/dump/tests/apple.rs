//! Reports and cores of Apple's systems: every sample opens, and what is known of it from elsewhere holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use afterimage_dump::apple_report::ReportKind;
use afterimage_dump::{Arch, Budget, Dump, ExceptionKind, Format, Os, Virt, open, open_source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn samples() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/macos");
    if root.is_dir() {
        return Some(root);
    }
    println!("skipped: no samples at {}", root.display());
    None
}

fn sample(name: &str) -> Option<Dump> {
    let path = samples()?.join(name);
    Some(open(&path, &Budget::default()).unwrap_or_else(|why| panic!("{name}: {why}")))
}

fn of_text(text: &str) -> Dump {
    open_source(Path::new("test"), Arc::new(text.as_bytes().to_vec()), &Budget::default()).unwrap()
}

/// Address, image, symbol and line of each frame of a thread.
type Place = (u64, Option<String>, Option<String>, Option<u32>);

fn places(dump: &Dump, thread: usize) -> Vec<Place> {
    let frames = &dump.report.as_ref().unwrap().threads[thread].frames;
    frames.iter().map(|f| (f.address, f.image.clone(), f.symbol.clone(), f.line)).collect()
}

#[test]
fn every_sample_opens() {
    let Some(root) = samples() else { return };
    let mut seen = 0;
    for folder in ["lldb-crashlog", "macsym", "pycrashreport", "sentry", "mach-core"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if ["macho", "zst", "json", "snap", "yaml"].iter().any(|end| name.ends_with(end)) || name.contains(".note")
            {
                continue;
            }
            let dump = open(&path, &Budget::default()).unwrap_or_else(|why| panic!("{name}: {why}"));
            println!(
                "{name}: {:?} {:?} {} threads, {} modules, {:?}",
                dump.os,
                dump.os_version,
                dump.threads.len(),
                dump.modules.len(),
                dump.issues
            );
            assert!(!dump.threads.is_empty(), "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 15, "{seen}");
}

/// The same crash as JSON and as text, written by Apple's own tools.
#[test]
fn json_and_text_tell_the_same() {
    for (json, text) in [
        ("macsym/single-target-crash.ips", "macsym/single-target-crash.crash"),
        ("macsym/ios-crash.ips", "macsym/ios-crash.crash"),
        ("macsym/ios16-crash.ips", "macsym/ios16-crash-with-json-header.crash"),
        ("macsym/ios16-crash.ips", "macsym/ios16-crash-without-json-header.crash"),
        ("lldb-crashlog/multithread-test.ips", "lldb-crashlog/multithread-test.crash"),
    ] {
        let (Some(a), Some(b)) = (sample(json), sample(text)) else { return };
        assert_eq!(a.format, Format::AppleReport);
        assert_eq!((a.os, a.arch, a.time), (b.os, b.arch, b.time), "{json}");
        assert_eq!(a.os_version, b.os_version, "{json}");
        assert_eq!((a.process.pid, &a.process.name), (b.process.pid, &b.process.name), "{json}");
        assert_eq!((a.process.ppid, &a.process.executable), (b.process.ppid, &b.process.executable), "{json}");
        assert_eq!(a.threads.len(), b.threads.len(), "{json}");
        let kinds = (&a.exception.as_ref().unwrap().kind, &b.exception.as_ref().unwrap().kind);
        assert_eq!(kinds.0, kinds.1, "{json}");
        let crashed =
            |dump: &Dump| dump.threads.iter().position(|t| Some(t.tid) == dump.exception.as_ref().unwrap().tid);
        assert_eq!(crashed(&a), crashed(&b), "{json}");
        let registers = |dump: &Dump| dump.crashed_thread().unwrap().registers;
        assert_eq!(registers(&a), registers(&b), "{json}");
        let mut frames = 0;
        for thread in 0..a.threads.len() {
            let (a, b) = (places(&a, thread), places(&b, thread));
            frames += a.len();
            assert_eq!(a, b, "{json}: thread {thread}");
        }
        let images = |dump: &Dump| -> Vec<_> {
            dump.modules.iter().map(|m| (m.base, m.end, m.build_id.clone(), m.path.clone())).collect()
        };
        assert_eq!(images(&a), images(&b), "{json}");
        println!("{json} = {text}: {} threads, {frames} frames, {} images agree", a.threads.len(), a.modules.len());
    }
}

#[test]
fn a_symbolised_report_has_lines() {
    let Some(dump) = sample("macsym/single-target-crash_symbolicated.crash") else { return };
    let frames = &dump.report.as_ref().unwrap().threads[0].frames;
    assert_eq!(frames[0].symbol.as_deref(), Some("-[MyClass crashingMethod]"));
    assert_eq!((frames[0].file.as_deref(), frames[0].line), (Some("main.m"), Some(21)));
    assert_eq!((frames[1].symbol.as_deref(), frames[1].line), (Some("main"), Some(28)));
    assert_eq!(dump.exception.as_ref().unwrap().address, Some(Virt(1)));
    let mach = ExceptionKind::Mach { exception: 1, code: 1, parameters: vec![1] };
    assert_eq!(dump.exception.as_ref().unwrap().kind, mach);
}

#[test]
fn a_sample_of_a_running_process() {
    let Some(dump) = sample("macsym/multithread-sample_symbolicated.txt") else { return };
    assert_eq!(dump.report.as_ref().unwrap().kind, ReportKind::Sample);
    assert!(dump.exception.is_none());
    assert_eq!(dump.process.pid, Some(1784));
    let tids: Vec<u32> = dump.threads.iter().map(|thread| thread.tid).collect();
    assert_eq!(tids, [16_614_365, 16_614_377]);
    let names: Vec<_> = places(&dump, 0).into_iter().map(|(at, _, name, line)| (at, name.unwrap(), line)).collect();
    assert_eq!(names[0], (0x7ff8_11e3_abd2, "__psynch_mutexwait".to_owned(), None));
    assert_eq!(names[3], (0x1_0cd1_adef, "-[MyClass hangingMethod]".to_owned(), Some(33)));
    assert_eq!(names.last().unwrap().1, "start");
    assert_eq!(places(&dump, 1).len(), 10);
    assert_eq!(dump.threads[1].name.as_deref(), Some("Dispatch queue: com.apple.root.default-qos"));
    assert!(dump.modules.len() > 60);
}

/// What `pycrashreport`'s own tests expect of the same files.
#[test]
fn pycrashreport_agrees() {
    let Some(root) = samples() else { return };
    let expected = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(root.join("pycrashreport").join(name)).unwrap()).unwrap()
    };
    let said =
        |value: &serde_json::Value, name: &str| value["asserts"][name].as_str().unwrap().trim_matches('\'').to_owned();
    let dump = sample("pycrashreport/kernel_mode_crash_report_ios16_forceReset-full.ips").unwrap();
    let truth = expected("forceReset_ios16.expect.json");
    let report = dump.report.as_ref().unwrap();
    let panic = report.panic.as_ref().unwrap();
    assert_eq!(report.incident.as_deref(), Some(&*said(&truth, "incident_id")));
    assert_eq!(panic.message, said(&truth, "panic_string"));
    assert_eq!(panic.caller.unwrap().to_string(), said(&truth, "panic_caller"));
    assert_eq!(dump.time, Some(1_671_882_180));
    let fact = |name: &str| panic.facts.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap();
    for (ours, theirs) in [
        ("Debugger message", "debugger_message"),
        ("OS release type", "os_release_type"),
        ("OS version", "os_version"),
        ("Kernel version", "kernel_version"),
        ("Fileset Kernelcache UUID", "fileset_kernelcache_uuid"),
        ("Kernel UUID", "kernel_uuid"),
        ("Boot session UUID", "boot_session_uuid"),
        ("iBoot version", "iboot_version"),
        ("roots installed", "roots_installed"),
        ("Paniclog version", "paniclog_version"),
    ] {
        assert_eq!(fact(ours), said(&truth, theirs));
    }
    let (pid, name) = panic.task.clone().unwrap();
    assert_eq!((pid.to_string(), name), (said(&truth, "panicked_task.pid"), said(&truth, "panicked_task.name")));
    assert_eq!(panic.tid.unwrap().to_string(), said(&truth, "panicked_thread.tid"));
    let kext = &panic.kexts[0];
    assert_eq!(kext.name, said(&truth, "kernel_extensions_in_backtrace[0].name"));
    assert_eq!(kext.version.as_deref(), Some(&*said(&truth, "kernel_extensions_in_backtrace[0].version")));
    assert_eq!(panic.last_started.as_deref().unwrap().replace('\t', "\\t"), said(&truth, "last_started_kext"));
    let (name, version) = &panic.loaded[0];
    assert_eq!(format!("{name}\\t{version}"), said(&truth, "loaded_kexts[0]"));
    assert_eq!((dump.os, dump.arch), (Os::Ios, Arch::Aarch64));
    assert_eq!(dump.threads[0].tid, 798);
    assert_eq!(report.threads[0].frames.len(), 13);
    println!("panic: {} threads, {} modules", dump.threads.len(), dump.modules.len());

    let dump = sample("pycrashreport/user_mode_crash_report_ios14_symbolicated.ips").unwrap();
    let truth = expected("symbolicated_ios14.expect.json");
    let report = dump.report.as_ref().unwrap();
    assert_eq!(report.bug_type.as_deref(), Some("109"));
    let both = format!("{} ({})", report.exception.as_deref().unwrap(), report.signal.as_deref().unwrap());
    assert_eq!(both, said(&truth, "exception_type"));
    assert_eq!(report.application[0].1.replace('\n', "\\n"), said(&truth, "application_specific_information"));
    let expected_registers = truth["values"]["expected_registers"].as_str().unwrap();
    let mut checked = 0;
    for part in expected_registers.split("Register(name='").skip(1) {
        let (name, rest) = part.split_once("', value=").unwrap();
        let value: u64 = rest.split(')').next().unwrap().parse().unwrap();
        let ours = dump.crashed_thread().unwrap().registers.by_name(name);
        let ours =
            ours.or_else(|| report.threads[0].state.iter().find(|(key, _)| key == name).map(|(_, value)| *value));
        assert_eq!(ours, Some(value), "{name}");
        checked += 1;
    }
    assert_eq!(checked, 35);
    let expected_frames = truth["values"]["expected_frames"].as_str().unwrap();
    for (part, frame) in expected_frames.split("Frame(image_name='").skip(1).zip(&report.threads[0].frames) {
        let (image, rest) = part.split_once('\'').unwrap();
        let symbol = rest.split_once("symbol='").unwrap().1.split('\'').next().unwrap();
        let offset: u64 = rest.split_once("symbol_offset=").unwrap().1.split(')').next().unwrap().parse().unwrap();
        assert_eq!(
            (frame.image.as_deref(), frame.symbol.as_deref(), frame.symbol_offset),
            (Some(image), Some(symbol), Some(offset))
        );
    }
}

#[test]
fn another_writer_of_the_same_form() {
    let Some(dump) = sample("sentry/apple_crash_report.txt") else { return };
    assert_eq!(dump.exception.as_ref().unwrap().kind, ExceptionKind::Signal { signo: 11, code: None, info: None });
    // The title of the thread wins over `Crashed Thread: 5`.
    assert_eq!(dump.exception.as_ref().unwrap().tid, Some(1));
    assert_eq!(dump.threads[1].name.as_deref(), Some("Test Thread Name"));
    assert_eq!(dump.threads[1].registers.by_name("rip"), Some(0x1_090a_0132));
    let report = dump.report.as_ref().unwrap();
    assert_eq!(report.application[0].1, "objc_msgSend() selector name: respondsToSelector:\n  more information here");
    assert_eq!(report.threads[0].frames[11].symbol.as_deref(), Some("a_function_here"));
    let module = &dump.modules[0];
    assert_eq!((module.base, module.end), (0x1_0864_e000, 0x1_0ee1_0000));
    assert!(module.path.ends_with("/YetAnotherMac"));
}

#[test]
fn damaged_reports_give_what_they_have() {
    let Some(root) = samples() else { return };
    for name in [
        "macsym/ios-crash.ips",
        "pycrashreport/kernel_mode_crash_report_ios16_forceReset-full.ips",
        "macsym/ios-crash.crash",
        "macsym/multithread-sample.txt",
    ] {
        let whole = std::fs::read(root.join(name)).unwrap();
        let mut threads = 0;
        for cut in (512..whole.len()).step_by(whole.len() / 40) {
            let source = Arc::new(whole[..cut].to_vec());
            let dump = open_source(Path::new(name), source, &Budget::default()).unwrap();
            threads = threads.max(dump.threads.len());
            if name.ends_with("ips") {
                assert!(!dump.complete(), "{name} cut at {cut}");
            }
        }
        assert!(threads > 0, "{name}");
    }
}

#[test]
fn hostile_reports_are_bounded() {
    let start = std::time::Instant::now();
    let deep = format!("{{\"bug_type\":\"309\",\"threads\":{}", "[{\"frames\":".repeat(100_000));
    assert!(!of_text(&deep).complete());
    let same = "{\"id\":1},".repeat(200_000);
    let dump = of_text(&format!("{{\"bug_type\":\"309\",\"threads\":[{same}]}}"));
    assert_eq!(dump.threads.len(), 65_536);
    let numbers = "{\"bug_type\":\"309\",\"pid\":99999999999999999999999999999999999999999999,\"faultingThread\":-1,\
        \"threads\":[{\"id\":1e400,\"frames\":[{\"imageIndex\":18446744073709551615,\"imageOffset\":18446744073709551615}]}],\
        \"usedImages\":[{\"base\":18446744073709551615,\"size\":18446744073709551615}]}";
    assert_eq!(of_text(numbers).threads.len(), 1);
    let tree = format!(
        "Analysis of sampling x\nCall graph:\n  1 Thread_1\n{}",
        (0..60_000).map(|i| format!("{}1 f  (in x) + 1  [0x{i:x}]\n", " ".repeat(i % 3000))).collect::<String>()
    );
    assert!(!of_text(&tree).threads.is_empty());
    let images = format!(
        "{{\"bug_type\":\"210\",\"panicString\":\"panic(cpu 0 caller 0x1): x\",\"binaryImages\":[{}]}}",
        "[\"c1421340-45c5-38e5-af75-bddd9d93704c\",4096,\"T\"],".repeat(200_000)
    );
    let _ = of_text(&images);
    println!("{:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn encodings() {
    let text =
        "Process: a [7]\nPath: /a\nDate/Time: 2020-01-01 00:00:00 +0000\n\nThread 0 Crashed:\n0   a \t 0x10 main + 4\n";
    let wide = |little: bool| -> Vec<u8> {
        let mark = if little { [0xff, 0xfe] } else { [0xfe, 0xff] };
        let unit = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        mark.into_iter().chain(text.encode_utf16().flat_map(unit)).collect()
    };
    for bytes in [
        wide(true),
        wide(false),
        [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat(),
        text.replace('\n', "\r\n").into_bytes(),
    ] {
        let dump = open_source(Path::new("test"), Arc::new(bytes), &Budget::default()).unwrap();
        assert_eq!(dump.process.pid, Some(7));
        assert_eq!(places(&dump, 0), [(0x10, Some("a".to_owned()), Some("main".to_owned()), None)]);
    }
    let latin = [text.as_bytes(), b"Version: \xe9\n"].concat();
    assert_eq!(open_source(Path::new("test"), Arc::new(latin), &Budget::default()).unwrap().issues.len(), 1);
}

#[test]
fn reasons() {
    let dump = of_text(
        "Process: Watch [9]\nDate/Time: 2020-01-01 00:00:00 +0000\nOS Version: iPhone OS 15.0 (19A1)\nCode Type: ARM-64\n\n\
         Exception Type:  EXC_CRASH (SIGKILL)\nException Codes: 0x0000000000000000, 0x0000000000000000\n\
         Termination Reason: FRONTBOARD 2343432205\n<RBSTerminateContext| domain:10 code:0x8BADF00D explanation:scene-create watchdog>\n\
         ProcessVisibility: Foreground\n\nTriggered by Thread:  0\n\nApplication Specific Information:\n\
         *** Terminating app due to uncaught exception 'NSRangeException', reason: 'beyond'\n\n\
         Last Exception Backtrace:\n(0x1843c 0x2 0x3)\n\nThread 0 name:  main\nThread 0 Crashed:\n0   a \t 0x10 x + 4\n",
    );
    let report = dump.report.as_ref().unwrap();
    let termination = report.termination.as_ref().unwrap();
    assert_eq!((termination.namespace.as_deref(), termination.code), (Some("FRONTBOARD"), Some(0x8bad_f00d)));
    assert_eq!(termination.details.len(), 2);
    assert_eq!(report.objc.as_ref().unwrap().name.as_deref(), Some("NSRangeException"));
    assert_eq!(report.last_exception.len(), 3);
    assert_eq!(dump.threads[0].name.as_deref(), Some("main"));
    assert_eq!(dump.exception.as_ref().unwrap().tid, Some(0));
}

#[test]
fn an_intel_panic_as_text() {
    let dump = of_text(
        "Anonymous UUID:       1\n\nThu Jan  1 00:00:00 2015\n\n*** Panic Report ***\n\
         panic(cpu 2 caller 0xffffff8012345678): Kernel trap at 0xffffff7f8abcdef0, type 14=page fault, registers:\n\
         CR0: 0x1, CR2: 0x0\nBacktrace (CPU 2), Frame : Return Address\n\
         0xffffff81f0003aa0 : 0xffffff8012300001 : mach_kernel : _panic + 0x22\n\
         0xffffff81f0003ab0 : 0xffffff7f8abcdef1 : com.example.kext : _bad + 0x1\n\
         \x20     Kernel Extensions in backtrace:\n\
         \x20        com.example.kext(1.2)[6AAC7152-26B3-355D-95F0-EC89EFA4152C]@0xffffff7f8abc0000->0xffffff7f8abcffff\n\n\
         BSD process name corresponding to current thread: kernel_task\n\nMac OS version:\n14F27\n\n\
         Kernel version:\nDarwin Kernel Version 14.5.0: x; root:xnu-2782.40.9~1/RELEASE_X86_64\n",
    );
    let panic = dump.report.as_ref().unwrap().panic.as_ref().unwrap();
    assert!(panic.message.starts_with("Kernel trap at"), "{}", panic.message);
    assert_eq!(panic.backtrace.len(), 2);
    assert_eq!(panic.backtrace[0].symbol.as_deref(), Some("_panic"));
    assert_eq!((dump.os, dump.arch), (Os::MacOs, Arch::X86_64));
    assert_eq!(dump.modules[0].path, "com.example.kext");
    assert_eq!(dump.process.name.as_deref(), Some("kernel_task"));
}

#[test]
fn lack_of_memory() {
    let dump = of_text(
        "{\"bug_type\":\"298\",\"os_version\":\"iPhone OS 15.0 (1)\",\"timestamp\":\"2021-01-01 00:00:00.00 +0000\"}\n\
         {\"memoryStatus\":{\"pageSize\":16384},\"largestProcess\":\"Game\",\"processes\":[\
         {\"pid\":5,\"name\":\"Game\",\"rpages\":90000,\"reason\":\"per-process-limit\"},{\"pid\":6,\"name\":\"b\",\"rpages\":3}]}",
    );
    let jetsam = dump.report.as_ref().unwrap().jetsam.as_ref().unwrap();
    assert_eq!((jetsam.processes.len(), jetsam.page_size), (2, Some(16384)));
    assert_eq!(jetsam.processes[0].reason.as_deref(), Some("per-process-limit"));
}
