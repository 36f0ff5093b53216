//! Minidumps as two other readers see them, and conversions there and back.

use crate::dumps::{gcore, memory_differences, restless, thread_differences};
use crate::lab::{afterimage, can_use, capture, capture_little_by, find, folder, run, ways};
use crate::stacks::{differences, gdb};
use afterimage_testkit::live::{Core, Live, Program, program};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Pieces of memory: address and bytes.
type Pieces = Vec<(u64, Vec<u8>)>;

/// What the Python package says, and the memory that it reads.
fn by_python(dump: &Path, place: &Path) -> Option<(Value, Pieces)> {
    let python =
        find("python3").filter(|python| run(Command::new(python).args(["-c", "import minidump"])).status.success());
    let Some(python) = python else {
        assert!(std::env::var_os("CI").is_none(), "the Python package minidump is missing, and CI is set");
        eprintln!("the Python package minidump is not installed: not tested");
        return None;
    };
    let (script, memory) = (place.join("read_minidump.py"), place.join("memory"));
    std::fs::write(&script, include_str!("read_minidump.py")).unwrap();
    let output = run(Command::new(python).arg(&script).arg(dump).arg(&memory));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = std::fs::read(&memory).unwrap();
    let (mut rest, mut segments) = (bytes.as_slice(), Vec::new());
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let at = u64::from_le_bytes(head[..8].try_into().unwrap());
        let length = usize::try_from(u64::from_le_bytes(head[8..].try_into().unwrap())).unwrap();
        segments.push((at, after[..length].to_vec()));
        rest = &after[length..];
    }
    Some((said, segments))
}

/// What minidump-stackwalk says.
fn by_stackwalk(dump: &Path) -> Option<Value> {
    if !can_use("minidump-stackwalk") {
        return None;
    }
    let output = run(Command::new(find("minidump-stackwalk").unwrap()).arg("--json").arg(dump));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Base addresses of what is mapped from files with code, by the kernel's list.
fn modules(pid: u32) -> BTreeMap<String, u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut bases = BTreeMap::new();
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let (Some(path), Some((start, _))) =
            (words.get(5).filter(|path| path.starts_with('/')), words[0].split_once('-'))
        {
            bases.entry((*path).to_owned()).or_insert(u64::from_str_radix(start, 16).unwrap());
        }
    }
    bases
}

/// All that is wrong with a minidump of a process that stands still.
fn faults(dump: &Path, place: &Path, pid: u32, reference: &Core) -> Vec<String> {
    let mut faults = Vec::new();
    let threads = reference.threads();
    let tids: BTreeSet<u64> = threads.iter().map(|thread| u64::from(thread.tid)).collect();
    let bases = modules(pid);
    if let Some((said, memory)) = by_python(dump, place) {
        let theirs: BTreeSet<u64> = said["threads"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        if theirs != tids {
            faults.push(format!("python: threads {theirs:?}, not {tids:?}"));
        }
        let known: BTreeMap<String, u64> = said["modules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|module| (module[2].as_str().unwrap_or_default().to_owned(), module[0].as_u64().unwrap_or(0)))
            .collect();
        for (path, base) in &bases {
            if known.get(path) != Some(base) {
                faults.push(format!("python: {path} at {base:#x} is {:x?}", known.get(path)));
            }
        }
        let mut compared = 0;
        let restless = restless(pid);
        for (at, bytes) in &memory {
            for load in reference.loads.iter().filter(|load| load.stored > 0) {
                let (start, end) = ((*at).max(load.start), (at + bytes.len() as u64).min(load.start + load.stored));
                if start >= end || restless.iter().any(|(from, to)| start < *to && *from < end) {
                    continue;
                }
                let mut truth = vec![0; (end - start) as usize];
                assert!(reference.read_at(start, &mut truth));
                let begin = (start - at) as usize;
                if bytes[begin..begin + truth.len()] != truth {
                    faults.push(format!("python: memory at {start:#x}-{end:#x} differs"));
                }
                compared += truth.len();
            }
        }
        for thread in &threads {
            let sp = thread.register("rsp").unwrap();
            if !memory.iter().any(|(at, bytes)| (*at..at + bytes.len() as u64).contains(&sp)) {
                faults.push(format!("python: no stack of {} at {sp:#x}", thread.tid));
            }
        }
        if compared == 0 {
            faults.push("python: no memory in common".to_owned());
        }
    }
    if let Some(said) = by_stackwalk(dump) {
        let list = said["threads"].as_array().cloned().unwrap_or_default();
        let theirs: BTreeSet<u64> = list.iter().filter_map(|thread| thread["thread_id"].as_u64()).collect();
        if theirs != tids {
            faults.push(format!("stackwalk: threads {theirs:?}, not {tids:?}"));
        }
        for thread in &list {
            let tid = thread["thread_id"].as_u64().unwrap_or(0);
            let frame = &thread["frames"][0];
            let pc =
                frame["offset"].as_str().and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
            let real = threads.iter().find(|known| u64::from(known.tid) == tid).and_then(|known| known.register("rip"));
            if pc != real {
                faults.push(format!("stackwalk: thread {tid} at {pc:x?}, not {real:x?}"));
            }
            if thread["thread_name"].as_str().is_none_or(str::is_empty) {
                faults.push(format!("stackwalk: thread {tid} has no name"));
            }
        }
        let known: BTreeSet<u64> = said["modules"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|module| u64::from_str_radix(module["base_addr"].as_str()?.trim_start_matches("0x"), 16).ok())
            .collect();
        for (path, base) in bases.iter().filter(|(_, base)| !known.contains(base)) {
            faults.push(format!("stackwalk: no module {path} at {base:#x}"));
        }
    }
    faults
}

#[test]
fn other_readers_open_every_minidump() {
    let place = folder();
    let still = Live::start(Program::Still, &["--deadline", "600"]).unwrap();
    std::fs::remove_file(gcore(still.pid(), place.path())).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let reference = Core::open(&gcore(still.pid(), place.path())).unwrap();
    let dump = place.path().join("dump.dmp");
    for way in ways() {
        for kind in ["active", "complete", "small"] {
            let options = ["--format", "minidump", "--type", kind, "--compress", "none"];
            let Some(said) = capture_little_by(way, still.pid(), &options, &dump) else { continue };
            assert_eq!(said["format"], "minidump", "{said}");
            let faults = faults(&dump, place.path(), still.pid(), &reference);
            assert!(faults.is_empty(), "{way} {kind}: {faults:#?}");
        }
    }
}

#[test]
fn converted_there_and_back_it_is_the_same() {
    let place = folder();
    let still = Live::start(Program::Still, &["--deadline", "600"]).unwrap();
    let file = |name: &str| place.path().join(name);
    let convert = |from: &str, to: &str, format: &str| {
        let mut command = afterimage();
        command.arg("convert").arg(file(from)).arg("-o").arg(file(to)).args(["--format", format, "--compress", "none"]);
        let output = run(&mut command);
        assert!(output.status.success(), "{from} to {to}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for kind in ["active", "complete", "small"] {
        for name in ["core", "there", "back", "mini", "core2"] {
            let _ = std::fs::remove_file(file(name));
        }
        capture(still.pid(), &["--type", kind, "--compress", "none"], &file("core"));
        let original = Core::open(&file("core")).unwrap();
        convert("core", "there", "minidump");
        let faults = faults(&file("there"), place.path(), still.pid(), &original);
        assert!(faults.is_empty(), "{kind}, converted: {faults:#?}");
        convert("there", "back", "elf");
        let back = Core::open(&file("back")).unwrap();
        let mut wrong = thread_differences(&original, &back);
        let (compared, different) = memory_differences(&original, &back, &[]);
        wrong.extend(different);
        let whole: u64 = original.loads.iter().map(|load| load.stored).sum();
        if compared != whole {
            wrong.push(format!("{compared} of {whole} bytes came back"));
        }
        if can_use("gdb") {
            let executable = program(Program::Still).unwrap();
            wrong.extend(differences(&gdb(&executable, &file("core")), &gdb(&executable, &file("back"))));
        }
        assert!(wrong.is_empty(), "{kind}, there and back: {wrong:#?}");

        capture(still.pid(), &["--type", kind, "--format", "minidump", "--compress", "none"], &file("mini"));
        convert("mini", "core2", "elf");
        let wrong = thread_differences(&original, &Core::open(&file("core2")).unwrap());
        assert!(wrong.is_empty(), "{kind}, a captured minidump as a core: {wrong:#?}");
    }
}
