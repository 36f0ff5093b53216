//! Every dump of a program that writes at full speed is of one instant, registers and all.

use crate::lab::{call, capture_by, capture_command, folder, soak};
use afterimage_testkit::live::{Core, Live, Program, one_instant};

/// What is written: private, shared and huge pages, each alone and all in turn.
const KINDS: &[&[&str]] = &[
    &["--private", "48M"],
    &["--shared", "48M"],
    &["--huge", "48M"],
    &["--private", "16M", "--shared", "16M", "--huge", "16M"],
];

fn is_of_one_instant(way: &str) {
    let place = folder();
    let file = place.path().join("dump");
    for kind in KINDS {
        let options = [kind, &["--deadline", "1000"] as &[&str]].concat();
        let program = Live::start(Program::Generation, &options).unwrap();
        for time in 0..soak(5) {
            capture_by(way, program.pid(), &["--compress", "none"], &file);
            let core = Core::open(&file).unwrap();
            let faults = one_instant(&program.ready, &core);
            assert!(faults.is_empty(), "{way} {kind:?}, dump {time}: {faults:#?}");
        }
        assert!(program.quit().unwrap().success());
    }
}

#[test]
fn stop_gives_one_instant() {
    is_of_one_instant("stop");
}

#[test]
fn snapshot_gives_one_instant() {
    is_of_one_instant("snapshot");
}

#[test]
fn precopy_gives_one_instant() {
    is_of_one_instant("precopy");
}

/// Also when a limit on the pause, or none, picks the way.
#[test]
fn a_limit_on_the_pause_gives_one_instant() {
    let place = folder();
    let file = place.path().join("dump");
    let program = Live::start(Program::Generation, KINDS[3]).unwrap();
    for limit in [&[] as &[&str], &["--max-pause", "1ms"], &["--max-pause", "20ms"], &["--max-pause", "5s"]] {
        let _ = std::fs::remove_file(&file);
        let options = [limit, &["--compress", "none"]].concat();
        let done = call(&mut capture_command(program.pid(), &options, &file));
        if done.status == Some(4) && limit.get(1).is_some_and(|limit| limit.ends_with("ms")) {
            // It writes faster than any way allows in so short a time; then that is said, and nothing is done.
            assert!(!file.exists() && done.error.contains("--max-pause"), "{limit:?}: {}", done.error);
            continue;
        }
        let said = done.done();
        let faults = one_instant(&program.ready, &Core::open(&file).unwrap());
        assert!(faults.is_empty(), "{limit:?}, taken by {}: {faults:#?}", said["how"]);
    }
}
