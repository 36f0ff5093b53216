//! A program that is busy in every way is captured over and over, and nothing happens to it.

use crate::lab::{call, capture_command, folder, lasting_changes, soak, state, ways};
use afterimage_testkit::live::{Live, Program};

/// Not permitted: what is said when one way is asked for, and cannot be taken.
const REFUSED: i32 = 4;

/// Captures `busy` so often in one way, or in any if none is named, and asks it and the kernel what came of it.
fn never_harms(way: Option<&str>, program: &[&str], times: usize) {
    let place = folder();
    let file = place.path().join("dump");
    let shown = format!("{} {program:?}", way.unwrap_or("any way"));
    let mut busy = Live::start(Program::Busy, &[program, &["--altstack", "--deadline", "3000"]].concat()).unwrap();
    let before = state(&mut busy);
    let mut taken = std::collections::BTreeMap::new();
    for time in 1..=times {
        let _ = std::fs::remove_file(&file);
        let options: Vec<&str> = way.iter().flat_map(|way| ["--how", way]).collect();
        let done = call(&mut capture_command(busy.pid(), &options, &file));
        let how = done.said["how"].as_str().unwrap_or("none").to_owned();
        if way.is_some() && !program.is_empty() && done.status == Some(REFUSED) {
            // In a sandbox one way may be impossible; then that is said, and nothing is done.
            assert!(!file.exists() && done.error.lines().count() == 1, "{shown}: {}", done.error);
        } else {
            let said = done.done();
            assert!(way.is_none_or(|way| way == how), "{shown}: {said}");
        }
        *taken.entry(how).or_insert(0) += 1;
        if time % 20 == 0 || time == times {
            let harm = busy.harm().unwrap_or_else(|error| panic!("{shown}, capture {time}: {error:#}"));
            assert!(harm.is_empty(), "{shown}, within captures {} to {time}: {harm:#?}", time.max(20) - 19);
            let changes = lasting_changes(&mut busy, &before);
            assert!(changes.is_empty(), "{shown}, after capture {time}: {changes:#?}");
        }
    }
    assert!(busy.quit().unwrap().success(), "{shown}");
    eprintln!("{shown}: {times} captures without harm, taken by {taken:?}");
}

#[test]
fn stop_never_harms() {
    never_harms(Some("stop"), &[], soak(40));
}

#[test]
fn snapshot_never_harms() {
    never_harms(Some("snapshot"), &[], soak(40));
}

#[test]
fn precopy_never_harms() {
    never_harms(Some("precopy"), &[], soak(40));
}

/// A sandbox that refuses calls, as containers have it.
#[test]
fn no_way_harms_a_program_whose_sandbox_refuses() {
    for way in ways().into_iter().map(Some).chain([None]) {
        never_harms(way, &["--seccomp", "errno"], soak(10));
    }
}

/// A sandbox that kills at any call which the program itself does not make.
#[test]
fn no_way_harms_a_program_whose_sandbox_kills() {
    for way in ways().into_iter().map(Some).chain([None]) {
        never_harms(way, &["--seccomp", "kill"], soak(10));
    }
}

/// Two captures of one process at the same time: one of them may be refused, the process is well.
#[test]
fn two_captures_at_once_harm_nobody() {
    let place = folder();
    let mut busy = Live::start(Program::Busy, &["--altstack"]).unwrap();
    let before = state(&mut busy);
    for way in ways() {
        for _ in 0..soak(15).div_ceil(3) {
            let children: Vec<_> = ["a", "b"]
                .iter()
                .map(|name| {
                    let to = place.path().join(name);
                    let _ = std::fs::remove_file(&to);
                    let mut command = capture_command(busy.pid(), &["--how", way], &to);
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
