//! Stacks and names of Windows' programs: known programs under Wine, whose state they printed themselves.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use afterimage_target::{FileMatch, Options, Target, Trust};
use common::{samples, target_with};
use std::collections::HashMap;
use std::path::Path;

/// `name=value` lines that the program printed.
fn facts(dump: &Path) -> HashMap<String, String> {
    let name = dump.file_name().unwrap().to_str().unwrap();
    let stem = name.trim_end_matches(".zst").trim_end_matches(".dmp");
    let text = std::fs::read_to_string(dump.with_file_name(format!("{stem}.facts.txt"))).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// The names that the facts' addresses stand for, of a thread's frames, and the frames' names by ourselves.
fn stack(target: &Target, tid: u32, functions: &[(u64, String)]) -> Vec<(Option<String>, Option<String>, Trust, bool)> {
    let thread = target.dump().threads.iter().position(|thread| thread.tid == tid).unwrap();
    let frames = target.stack(thread).frames.iter();
    frames
        .map(|frame| {
            let at = frame.address.lookup().0;
            let next = functions.partition_point(|(start, _)| *start <= at);
            // The last function of the list has no end that is known.
            let known = next.checked_sub(1).map(|i| &functions[i]).filter(|(start, _)| at - start < 0x100);
            let place = target.locate(frame.address).last().cloned().unwrap_or_default();
            let guess = place.source.is_some_and(|source| source.starts_with("nearest"));
            (known.map(|(_, name)| name.clone()), place.function, frame.trust, guess)
        })
        .collect()
}

fn check(root: &Path, dump: &str, with_files: bool) {
    let path = root.join("windows-wine").join(dump);
    let facts = facts(&path);
    let debug_paths = if with_files { vec![root.join("windows-wine/bin")] } else { Vec::new() };
    let target = target_with(&path, Options { debug_paths, use_system_files: false, ..Options::default() });
    let mut functions: Vec<(u64, String)> = facts
        .iter()
        .filter_map(|(name, value)| name.strip_prefix("fn_").map(|name| (number(value), name.to_owned())))
        .collect();
    functions.sort();
    let crash = ["crash", "outside"].contains(&facts["mode"].as_str());
    let mut wanted: Vec<(u32, Vec<&str>)> = Vec::new();
    if crash {
        wanted.push((number(&facts["tid_main"]) as u32, vec!["level3", "level2", "level1"]));
    }
    let workers = if dump.contains("arm64") {
        &["worker_level2", "worker_level1"][..]
    } else {
        &["worker_level3", "worker_level2", "worker_level1", "worker"]
    };
    wanted.push((number(&facts["tid_worker0"]) as u32, workers.to_vec()));
    for (tid, names) in wanted {
        let found = stack(&target, tid, &functions);
        println!("{dump} thread {tid} (files: {with_files})");
        for (known, ours, trust, _) in found.iter().take(14) {
            println!("   {known:?} {ours:?} {trust:?}");
        }
        let own: Vec<&str> = found.iter().filter_map(|(known, ..)| known.as_deref()).collect();
        assert!(own.windows(names.len()).any(|run| run == names), "{dump}: {names:?} in {own:?}");
        if with_files {
            for (known, ours, _, guess) in
                found.iter().filter(|(known, ..)| names.contains(&known.as_deref().unwrap_or_default()))
            {
                // A PDB without procedures knows no static function. Then there is no name; on i386, where nothing says where
                // functions begin, a label that is called one.
                let nameless = (ours.is_none() || *guess) && known.as_deref() == Some("worker");
                assert!(known == ours || nameless, "{dump}: {known:?} {ours:?}");
            }
        }
    }
}

#[test]
fn stacks_are_those_that_the_programs_tell_of() {
    let Some(root) = samples() else { return };
    for dump in [
        "crash64-normal.dmp",
        "crash64-pdb-normal.dmp",
        "outside64-pdb-normal.dmp",
        "self64-normal.dmp",
        "crash-arm64.dmp",
        "crash32-normal.dmp",
        "outside32-pdb-normal.dmp",
        "crash32-fpo-normal.dmp",
        "outside64-pdb-fullmem.dmp.zst",
    ] {
        check(&root, dump, true);
    }
    // All that is needed is in the dump itself, but for the names.
    check(&root, "outside64-pdb-fullmem.dmp.zst", false);
}

#[test]
fn files_are_taken_by_identity_only() {
    let Some(root) = samples() else { return };
    let dump = root.join("windows-wine/crash64-pdb-normal.dmp");
    let folder = tempfile::tempdir().unwrap();
    // Another program under the module's name.
    std::fs::copy(root.join("windows-wine/bin/dumpme64.exe"), folder.path().join("dumpme64_pdb.exe")).unwrap();
    std::fs::copy(root.join("windows-wine/bin/dumpme32_pdb.pdb"), folder.path().join("dumpme64_pdb.pdb")).unwrap();
    let options =
        Options { debug_paths: vec![folder.path().to_owned()], use_system_files: false, ..Options::default() };
    let target = target_with(&dump, options);
    let module = target.modules().iter().find(|module| module.name().eq_ignore_ascii_case("dumpme64_pdb.exe")).unwrap();
    assert!(matches!(module.file(), FileMatch::Mismatch { .. }), "{:?}", module.file());
    assert!(module.debug_file().is_none());
    let issues = target.issues();
    assert!(issues.iter().any(|issue| issue.text.contains("is not used for")), "{issues:?}");
}

#[test]
fn a_write_to_no_address_is_called_a_write() {
    let Some(root) = samples() else { return };
    let dump = root.join("windows-user/breakpad/write_av_non_canonical.dmp");
    let target = target_with(&dump, Options { use_system_files: false, ..Options::default() });
    let found = target.diagnosis();
    assert!(found.headline.contains("wrote 8 bytes at 0xfefefefefefefefe"), "{}", found.headline);
}
