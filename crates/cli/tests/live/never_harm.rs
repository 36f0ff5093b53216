//! A program that is busy in every way is captured over and over, and nothing happens to it.

use crate::lab::{WAYS, capture, capture_by, folder, lasting_changes, soak, state};
use afterimage_testkit::live::{Live, Program};

/// Captures `busy` so often in one way, and asks it and the kernel what came of it.
fn never_harms(way: &str, program: &[&str], times: usize) {
    let place = folder();
    let file = place.path().join("dump");
    let mut busy = Live::start(Program::Busy, &[program, &["--altstack", "--deadline", "3000"]].concat()).unwrap();
    let before = state(&mut busy);
    let mut taken = std::collections::BTreeMap::new();
    for time in 1..=times {
        let said = if program.is_empty() {
            capture_by(way, busy.pid(), &[], &file)
        } else {
            // In a sandbox it may have to take another way, with a reason.
            let said = capture(busy.pid(), &["--how", way], &file);
            let reasons = said["fallback"].as_array().map_or(0, Vec::len);
            assert!(said["how"] == way || reasons > 0, "{said}");
            said
        };
        *taken.entry(said["how"].to_string()).or_insert(0) += 1;
        if time % 20 == 0 || time == times {
            let harm = busy.harm().unwrap_or_else(|error| panic!("{way} {program:?}, capture {time}: {error:#}"));
            assert!(harm.is_empty(), "{way} {program:?}, within captures {} to {time}: {harm:#?}", time.max(20) - 19);
            let changes = lasting_changes(&mut busy, &before);
            assert!(changes.is_empty(), "{way} {program:?}, after capture {time}: {changes:#?}");
        }
    }
    assert!(busy.quit().unwrap().success(), "{way} {program:?}");
    eprintln!("{way} {program:?}: {times} captures without harm, taken by {taken:?}");
}

#[test]
fn stop_never_harms() {
    never_harms("stop", &[], soak(40));
}

#[test]
fn snapshot_never_harms() {
    never_harms("snapshot", &[], soak(40));
}

#[test]
fn precopy_never_harms() {
    never_harms("precopy", &[], soak(40));
}

/// A sandbox that refuses calls, as containers have it.
#[test]
fn no_way_harms_a_program_whose_sandbox_refuses() {
    for way in WAYS {
        never_harms(way, &["--seccomp", "errno"], soak(10));
    }
}

/// A sandbox that kills at any call which the program itself does not make.
#[test]
fn no_way_harms_a_program_whose_sandbox_kills() {
    for way in WAYS {
        never_harms(way, &["--seccomp", "kill"], soak(10));
    }
}

/// Two captures of one process at the same time: one of them may be refused, the process is well.
#[test]
fn two_captures_at_once_harm_nobody() {
    let place = folder();
    let mut busy = Live::start(Program::Busy, &["--altstack"]).unwrap();
    let before = state(&mut busy);
    for way in WAYS {
        for _ in 0..soak(15).div_ceil(3) {
            let children: Vec<_> = ["a", "b"]
                .iter()
                .map(|name| {
                    let to = place.path().join(name);
                    let _ = std::fs::remove_file(&to);
                    let mut command = crate::lab::capture_command(busy.pid(), &["--how", way], &to);
                    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
                    command.spawn().unwrap()
                })
                .collect();
            let done = children.into_iter().map(|mut child| child.wait().unwrap().success()).filter(|done| *done);
            assert!(done.count() >= 1, "{way}: none of the two was done");
        }
        let harm = busy.harm().unwrap();
        assert!(harm.is_empty(), "{way}: {harm:#?}");
        let changes = lasting_changes(&mut busy, &before);
        assert!(changes.is_empty(), "{way}: {changes:#?}");
    }
}
