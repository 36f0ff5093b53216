//! Who hangs and who uses memory on real machines, against what each said of itself while it ran.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_dump::{Budget, open};
use afterimage_target::linux::Linux;
use afterimage_target::{Options, Target};
use common::{WHOLE, truth, vmcores};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A file that the guest read of itself.
fn guest_file(folder: &Path, name: &str) -> Option<String> {
    let archive = folder.join("TRUTH/guest-files.tar.gz");
    let output = Command::new("tar").args(["--extract", "--to-stdout", "--file"]).arg(archive).arg(name).output();
    output.ok().filter(|output| output.status.success()).map(|output| String::from_utf8_lossy(&output.stdout).into())
}

#[test]
fn those_that_no_signal_wakes_are_named() {
    let Some(folder) = vmcores() else { return };
    for (name, file) in WHOLE {
        let dump = open(&folder.join(name).join(file), &Budget::default()).unwrap();
        let linux = Linux::open(&dump).unwrap();
        let truth = truth(&folder.join(name));
        let threads = truth["processes"].as_array().unwrap().iter().flat_map(|one| one["threads"].as_array().unwrap());
        let theirs: BTreeSet<u64> = threads
            .filter(|thread| thread["state"] == "D" && !thread["comm"].as_str().unwrap().starts_with("kworker"))
            .map(|thread| thread["tid"].as_u64().unwrap())
            .collect();
        let (blocked, remarks) = linux.blocked_tasks().unwrap();
        assert!(remarks.is_empty(), "{name}: {remarks:?}");
        let ours: BTreeSet<u64> = blocked.iter().map(|task| u64::from(task.thread.tid)).collect();
        assert!(!theirs.is_empty());
        assert_eq!(ours, theirs, "{name}");
        // They wait for a child, not for a lock: vfork(2).
        for task in &blocked {
            assert_eq!(task.lock, None);
            let place = task.place.as_ref().unwrap().function.as_deref().unwrap();
            assert!(place.starts_with("kernel_clone") || place.starts_with("kernel_thread"), "{name}: {place}");
            assert!(task.since_ns.is_some_and(|since| since < 60_000_000_000), "{name}: {:?}", task.since_ns);
        }
    }
}

#[test]
fn memory_is_counted_as_the_kernel_counts_it() {
    let Some(folder) = vmcores() else { return };
    for (name, file) in WHOLE {
        let folder = folder.join(name);
        let dump = open(&folder.join(file), &Budget::default()).unwrap();
        let linux = Linux::open(&dump).unwrap();
        let (mut compared, mut equal) = (0, 0);
        for process in linux.processes().unwrap().0 {
            // Process 1 wrote the list itself, and went on.
            if process.pid == 1 || process.kernel_thread != Some(false) {
                continue;
            }
            let Some(status) = guest_file(&folder, &format!("proc/{}/status", process.pid)) else { continue };
            let told = |key: &str| -> Option<u64> {
                let line = status.lines().find(|line| line.starts_with(key))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            };
            let Some(resident) = told("VmRSS:") else { continue };
            let own = linux.memory_use(&process).unwrap_or_else(|| panic!("{name}: {}", process.pid));
            compared += 1;
            let right = own.resident() / 1024 == resident && Some(own.swap / 1024) == told("VmSwap:");
            equal += u32::from(right);
            // Its reading takes what is not yet gathered into account only roughly: up to 32 pages a processor.
            assert!((own.resident() / 1024).abs_diff(resident) <= 2 * 64 * 4, "{name}: {} {own:?}", process.pid);
        }
        println!("{name}: memory of {compared} processes, {equal} to the kibibyte");
        // Before it was made to panic, that machine went on for a while.
        assert!(compared > 20 && (equal == compared || name == "k6.12-panic"), "{name}: {equal} of {compared}");
    }
}

#[test]
fn a_panic_on_request_is_no_fault_of_the_kernel() {
    let Some(folder) = vmcores() else { return };
    let dump = open(&folder.join("k6.12-panic/dump.elf.zst"), &Budget::default()).unwrap();
    let target = Target::new(dump, Options::default(), Budget::default());
    let diagnosis = target.diagnosis();
    assert_eq!(diagnosis.kind, "forced_panic");
    assert_eq!(diagnosis.message.as_deref(), Some("sysrq triggered crash"));
    assert!(diagnosis.statements.iter().all(|one| !one.evidence.is_empty()));
    assert!(diagnosis.statements.iter().any(|one| one.text.contains("labinit (process 1)")));
    assert!(target.linux().unwrap().oops().is_none());
}
