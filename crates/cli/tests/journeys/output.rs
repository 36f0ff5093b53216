//! What is printed, and with which exit status.

use crate::tool::{afterimage, output};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// Exit status and standard error of a call.
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(afterimage().args(arguments), LIMIT);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_no_dump_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    let text = dir.path().join("text");
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&text, "just a letter\n").unwrap();
    let paths = [dir.path().to_owned(), empty, text, dir.path().join("nothing"), "/dev/null".into()];
    for path in paths {
        for verb in ["explain", "info"] {
            let (status, error) = failure(&[verb, path.to_str().unwrap()]);
            assert_eq!(status, Some(3), "{verb} {}: {error}", path.display());
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(error.starts_with("afterimage: "), "{error}");
        }
    }
}

#[test]
fn wrong_use_has_its_own_status() {
    assert_eq!(failure(&["show", "x", "nonsense"]).0, Some(2));
    assert_eq!(failure(&["no-such-verb"]).0, Some(2));
    assert_eq!(failure(&["run", "--", "/no/such/program"]).0, Some(127));
}

#[test]
fn a_program_that_ends_well_prints_nothing_and_keeps_its_status() {
    for (script, status) in [("exit 0", 0), ("exit 3", 3), ("echo out; echo err >&2; exit 0", 0)] {
        let ours = output(afterimage().args(["run", "--", "sh", "-c", script]), LIMIT);
        let plain = output(std::process::Command::new("sh").args(["-c", script]), LIMIT);
        assert_eq!(ours.status.code(), Some(status));
        assert_eq!((ours.stdout, ours.stderr), (plain.stdout, plain.stderr));
    }
}

#[test]
fn the_schema_names_every_table_and_rows_fit_it() {
    let output = output(afterimage().args(["tables", "--schema"]), LIMIT);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let tables = schema["$defs"].as_object().unwrap();
    for table in ["dump", "threads", "frames", "registers", "modules", "regions", "exception", "notes", "memory"] {
        assert!(tables.contains_key(table), "{table}");
    }
}

#[test]
fn the_demo_shows_a_cause_and_leaves_only_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("demo");
    let mut command = afterimage();
    let output = output(command.args(["demo", "-o"]).arg(&folder).current_dir(dir.path()), LIMIT);
    // Sentences are wrapped to the terminal's width.
    let err = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.status.success(), "{err}");
    assert!(err.contains("SIGSEGV"), "{err}");
    assert!(err.contains("a null pointer plus 24"), "{err}");
    assert!(err.contains("find_customer") || err.contains("take_order"), "{err}");
    assert!(err.contains("demo_sample.rs:"), "{err}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["demo"]);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}
