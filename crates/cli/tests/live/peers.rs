//! Debuggers open every ELF dump and say of it what they say of gdb's own, taken while the process stood still.

use crate::dumps::{gcore, memory_differences, missing, restless, thread_differences};
use crate::lab::{can_use, capture, capture_by, capture_little_by, folder, ways};
use crate::stacks::{ASKERS, Asker, Stacks, differences, gdb};
use afterimage_testkit::live::{Core, Live, Program, program};
use std::path::Path;
use std::time::Duration;

/// A process that stands still, and gdb's dump of it.
struct Reference {
    still: Live,
    core: Core,
    stacks: Vec<(&'static str, Asker, Stacks)>,
    restless: Vec<(u64, u64)>,
    executable: std::path::PathBuf,
}

/// None if the tools are missing where they may be.
fn reference(place: &Path, options: &[&str]) -> Option<Reference> {
    if !ASKERS.iter().all(|(tool, _)| can_use(tool)) {
        return None;
    }
    let still = Live::start(Program::Still, &[options, &["--deadline", "600"]].concat()).unwrap();
    let executable = program(Program::Still).unwrap();
    // The first stop of all changes registers: a sleep goes on as another system call, `restart_syscall`.
    std::fs::remove_file(gcore(still.pid(), place)).unwrap();
    settle();
    let file = gcore(still.pid(), place);
    settle();
    let stacks = ASKERS.iter().map(|(tool, ask)| (*tool, *ask, ask(&executable, &file))).collect();
    let core = Core::open(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let restless = restless(still.pid());
    Some(Reference { still, core, stacks, restless, executable })
}

/// Lets the thread that a stop threw out of `epoll_wait` go back in.
fn settle() {
    std::thread::sleep(Duration::from_millis(100));
}

impl Reference {
    /// All that is wrong with our dump of the same process.
    fn faults(&self, file: &Path, tools: &[&str]) -> Vec<String> {
        let ours = Core::open(file).unwrap();
        let mut faults = thread_differences(&self.core, &ours);
        let (compared, wrong) = memory_differences(&self.core, &ours, &self.restless);
        faults.extend(wrong);
        if compared == 0 {
            faults.push("no memory in common".to_owned());
        }
        for (tool, ask, theirs) in self.stacks.iter().filter(|(tool, ..)| tools.contains(tool)) {
            faults
                .extend(differences(theirs, &ask(&self.executable, file)).iter().map(|line| format!("{tool}: {line}")));
        }
        // Folklore: readers of a stream or a cut-off file find the registers only if the notes come first.
        if ours.loads.iter().any(|load| load.stored > 0 && load.offset < ours.notes_offset) {
            faults.push("memory stands before the notes".to_owned());
        }
        faults
    }
}

/// The tools agree with themselves: what is compared below can be compared.
#[test]
fn the_reference_is_the_same_twice_and_has_stacks() {
    let place = folder();
    let Some(reference) = reference(place.path(), &[]) else { return };
    let file = gcore(reference.still.pid(), place.path());
    let mut faults = reference.faults(&file, &["gdb", "lldb", "eu-stack"]);
    // gdb puts them last.
    faults.retain(|fault| fault != "memory stands before the notes");
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(missing(&reference.core, &Core::open(&file).unwrap()).is_empty());
    for (tool, _, stacks) in &reference.stacks {
        assert_eq!(stacks.len(), 15, "{tool}: {stacks:#?}");
        let deep = stacks.values().filter(|frames| frames.iter().filter(|frame| frame.contains("take")).count() >= 4);
        assert_eq!(deep.count(), 14, "{tool}: {stacks:#?}");
    }
}

/// A dump of another process of the same program is not taken for the same.
#[test]
fn the_comparison_can_fail() {
    let place = folder();
    let Some(reference) = reference(place.path(), &[]) else { return };
    let other = Live::start(Program::Still, &["--threads", "13"]).unwrap();
    let faults = reference.faults(&gcore(other.pid(), place.path()), &["gdb"]);
    assert!(faults.iter().any(|fault| fault.starts_with("gdb")), "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.starts_with("threads")), "{faults:#?}");
}

#[test]
fn debuggers_say_the_same_of_every_way_and_type() {
    let place = folder();
    let Some(reference) = reference(place.path(), &[]) else { return };
    let file = place.path().join("dump");
    let mut faults = Vec::new();
    for way in ways() {
        for kind in ["active", "complete", "small"] {
            let options = ["--type", kind, "--compress", "none"];
            let Some(said) = capture_little_by(way, reference.still.pid(), &options, &file) else { continue };
            settle();
            let mut wrong = reference.faults(&file, &["gdb", "lldb", "eu-stack"]);
            if kind != "small" {
                let ours = Core::open(&file).unwrap();
                wrong.extend(
                    missing(&reference.core, &ours).iter().map(|at| format!("missing {at} of {:x?}", ours.loads)),
                );
            }
            if said["type"] != *kind || said["threads"] != 15 {
                wrong.push(format!("said {said}"));
            }
            let length = file.metadata().unwrap().len();
            if kind == "small" && length > 400 << 10 {
                wrong.push(format!("{length} bytes"));
            }
            faults.extend(wrong.into_iter().map(|fault| format!("{way} {kind}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{} faults: {}", faults.len(), faults.join("\n"));
}

/// However small the limit, the file is valid, within it, and has all stacks.
#[test]
fn a_limited_dump_has_whole_stacks() {
    let place = folder();
    let file = place.path().join("dump");
    for (threads, limit, bytes) in [("3", "64K", 64u64 << 10), ("14", "200K", 200 << 10), ("14", "1M", 1 << 20)] {
        let Some(reference) = reference(place.path(), &["--threads", threads]) else { return };
        for way in ways() {
            for kind in ["active", "complete", "automatic"] {
                let options = ["--type", kind, "--max-size", limit, "--compress", "none"];
                if capture_little_by(way, reference.still.pid(), &options, &file).is_none() {
                    continue;
                }
                settle();
                let faults = reference.faults(&file, &["gdb"]);
                assert!(faults.is_empty(), "{way} {kind} {limit}: {faults:#?}");
                let length = file.metadata().unwrap().len();
                assert!(length <= bytes, "{way} {kind} {limit}: {length} bytes");
            }
        }
    }
}

/// An ordinary program's small dump.
#[test]
fn a_small_dump_of_an_ordinary_program_is_small() {
    let place = folder();
    let file = place.path().join("dump");
    let still = Live::start(Program::Still, &["--threads", "1"]).unwrap();
    for way in ways() {
        if capture_little_by(way, still.pid(), &["--type", "small", "--compress", "none"], &file).is_none() {
            continue;
        }
        let length = file.metadata().unwrap().len();
        assert!(length <= 128 << 10, "{way}: {length} bytes");
    }
}

/// A packed dump opens as it is in every command of ours, and is the same dump when unpacked by `zstd`.
#[test]
fn a_packed_dump_is_the_same_dump() {
    let place = folder();
    let Some(reference) = reference(place.path(), &[]) else { return };
    if !can_use("zstd") {
        return;
    }
    let (packed, plain) = (place.path().join("dump.zst"), place.path().join("plain"));
    for way in ways() {
        let said = capture_by(way, reference.still.pid(), &["--compress", "zstd"], &packed);
        settle();
        assert!(said["ratio"].as_f64().is_some_and(|ratio| ratio > 1.0), "{said}");
        for verb in ["info", "explain"] {
            let output = crate::lab::run(crate::lab::afterimage().arg(verb).arg(&packed));
            assert!(output.status.success(), "{way} {verb}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let _ = std::fs::remove_file(&plain);
        let mut unpack = std::process::Command::new("zstd");
        let output = crate::lab::run(unpack.args(["-q", "-d", "-o"]).arg(&plain).arg(&packed));
        assert!(output.status.success(), "{way}: {}", String::from_utf8_lossy(&output.stderr));
        let faults = reference.faults(&plain, &["gdb"]);
        assert!(faults.is_empty(), "{way}: {faults:#?}");
    }
}

/// What gdb knows beyond stacks: the command line, the signal, the mapped files.
#[test]
fn gdb_has_the_process_facts() {
    let place = folder();
    if !can_use("gdb") {
        return;
    }
    let file = place.path().join("dump");
    let still = Live::start(Program::Still, &["--threads", "2"]).unwrap();
    capture(still.pid(), &["--compress", "none"], &file);
    let executable = program(Program::Still).unwrap();
    let mut command = std::process::Command::new("gdb");
    command.args(["-batch", "-nx", "-ex", "set debuginfod enabled off", "-ex", "info proc mappings"]);
    command.args(["-ex", "info auxv", "-ex", "info sharedlibrary"]).arg(&executable).arg(&file);
    let output = crate::lab::run(&mut command);
    let text = String::from_utf8_lossy(&output.stdout);
    for wanted in ["Core was generated by", "--threads 2", executable.to_str().unwrap(), "AT_ENTRY", "libc.so"] {
        assert!(text.contains(wanted), "no {wanted} in {text}");
    }
    assert_eq!(gdb(&executable, &file).len(), 3);
}
