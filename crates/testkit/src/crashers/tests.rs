use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use super::*;

#[test]
fn names_are_unique_and_fit_for_files() {
    let names: BTreeSet<&str> = CRASHERS.iter().map(|crasher| crasher.name).collect();
    assert_eq!(names.len(), CRASHERS.len());
    assert!(names.len() >= 34, "only {}", names.len());
    for name in names {
        assert!(!name.is_empty());
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
    }
}

#[test]
fn entries_are_whole() {
    for crasher in CRASHERS {
        let name = crasher.name;
        assert!(KINDS.contains(&crasher.kind) && crasher.kind != "none", "{name}: {}", crasher.kind);
        assert!(!crasher.about.is_empty() && !crasher.about.contains('\n'), "{name}");
        assert!(crasher.source_path().is_file(), "{name}: {}", crasher.source);
        for library in crasher.libraries {
            assert!(crasher.folder().join(library.source).is_file(), "{name}: {}", library.source);
        }
        assert!((1..=31).contains(&crasher.signal), "{name}");
        crasher.line().unwrap();
        if let Some(place) = crasher.place {
            let function = base_name(place.function);
            assert!(crasher.frames.contains(&function), "{name}: {function} is not in its frames");
        }
        assert!(!crasher.frames.ends_with(&[GAP]), "{name}: a gap at the end says nothing");
    }
}

#[test]
fn every_kind_but_none_has_a_program() {
    for kind in KINDS.iter().filter(|kind| **kind != "none") {
        assert!(CRASHERS.iter().any(|crasher| crasher.kind == *kind), "{kind}");
    }
}

#[test]
fn offsets_from_null_are_addresses() {
    for crasher in CRASHERS {
        for fact in crasher.facts {
            if let Fact::NullOffset(offset) = fact {
                assert!(crasher.facts.contains(&Fact::Address(*offset)), "{}", crasher.name);
            }
        }
    }
}

#[test]
fn every_source_is_used() {
    let used: BTreeSet<_> = CRASHERS
        .iter()
        .flat_map(|c| std::iter::once(c.source).chain(c.libraries.iter().map(|library| library.source)))
        .chain(["chain.h", "many_threads.c"])
        .collect();
    for folder in ["c", "cxx", "rust"] {
        for entry in std::fs::read_dir(format!("{}/programs/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(used.contains(name.as_str()), "{name} is used by no crasher");
        }
    }
}

/// A handful of each language, also a child's death, a library and every family of post-build steps.
#[test]
fn programs_die_as_expected() {
    let work = tempfile::tempdir().unwrap();
    for name in [
        "null_write",
        "divide_by_zero",
        "assert",
        "killed_segv",
        "fork_child",
        "plugin",
        "mini_debug_info",
        "build_id_dir",
        "cpp_runtime_error",
        "rust_index",
    ] {
        let crasher = find(name).unwrap();
        let built = build(crasher, &default_dir()).unwrap();
        let death = kernel_core(&built, work.path()).unwrap();
        check_death(crasher, &death);
    }
}

#[test]
fn the_cache_builds_once_and_again_when_something_changed() {
    let out = tempfile::tempdir().unwrap();
    let crasher = find("null_write").unwrap();
    let modified = |built: &BuiltCrasher| built.program.metadata().unwrap().modified().unwrap();
    let first = build(crasher, out.path()).unwrap();
    let second = build(crasher, out.path()).unwrap();
    assert_eq!((&first.program, modified(&first)), (&second.program, modified(&second)));
    let other = build(&Crasher { flags: &["-O1"], ..*crasher }, out.path()).unwrap();
    assert_ne!(first.program, other.program);
    // An interrupted build leaves a folder without its mark.
    std::fs::remove_file(first.dir.join(".complete")).unwrap();
    std::fs::write(&first.program, "half").unwrap();
    assert!(build(crasher, out.path()).unwrap().program.metadata().unwrap().len() > 4);
}

#[test]
fn a_compiler_error_is_told() {
    let out = tempfile::tempdir().unwrap();
    let crasher = Crasher { flags: &["-fno-such-option"], ..*find("null_write").unwrap() };
    let error = build(&crasher, out.path()).unwrap_err().to_string();
    assert!(error.contains("build null_write") && error.contains("no-such-option"), "{error}");
}

#[test]
fn a_thousand_threads_are_not_needed_to_test_many() {
    let work = tempfile::tempdir().unwrap();
    let built = many_threads(&default_dir(), 5).unwrap();
    check_death(&built.crasher, &kernel_core(&built, work.path()).unwrap());
}

#[test]
fn a_small_big_program_dies_as_the_big_one() {
    let work = tempfile::tempdir().unwrap();
    let built = big_rust(&default_dir(), 4).unwrap();
    check_death(&built.crasher, &kernel_core(&built, work.path()).unwrap());
    let size = built.program.metadata().unwrap().len();
    assert!(size > 4_000_000, "only {size} bytes");
}

fn check_death(crasher: &Crasher, death: &Death) {
    let name = crasher.name;
    match crasher.dies {
        Dies::Started => assert_eq!(death.status.signal(), Some(crasher.signal), "{name}: {}", death.stderr),
        Dies::Child => assert_eq!(death.status.code(), Some(128 + crasher.signal), "{name}"),
    }
    for fact in crasher.facts {
        match fact {
            Fact::Message(text) => assert!(death.stderr.contains(text), "{name}: {}", death.stderr),
            Fact::SenderIsChild => assert!(death.sender().is_some_and(|sender| sender != death.pid), "{name}"),
            _ => {}
        }
    }
}
