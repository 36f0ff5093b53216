//! Symbol servers, against a real HTTP server on the loopback: the layout of stores, caches, what is missing, wrong, or
//! packed, and servers that fail.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use afterimage_target::{FileMatch, Module, Options, Target};
use common::server::{Manner, Server};
use common::{samples, target_with};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

struct Lab {
    dump: PathBuf,
    exe: Vec<u8>,
    pdb: Vec<u8>,
    exe_path: String,
    pdb_path: String,
}

const NAME: &str = "crash";
/// What the PDB says of the place of the crash; Sentry's symbolicator says the same.
const FUNCTION: &str = "main";
const LINE: u32 = 35;

fn lab() -> Option<Lab> {
    let root = samples()?.join("windows-user/sentry-crash");
    let dump = root.join("windows.dmp");
    let exe = std::fs::read(root.join("crash.exe")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pdb = folder.path().join("crash.pdb");
    common::sh(&root, &format!("zstd -qd crash.pdb.zst -o {}", pdb.display()));
    let pdb = std::fs::read(pdb).unwrap();
    // As the symbol file of the same program says.
    Some(Lab {
        dump,
        exe,
        pdb,
        exe_path: format!("/{NAME}.exe/5AB380779000/{NAME}.exe"),
        pdb_path: format!("/{NAME}.pdb/3249D99D0C4049318610F4E4FB0B69361/{NAME}.pdb"),
    })
}

impl Lab {
    fn target(&self, path: String, cache: Option<&Path>, timeout: Duration) -> Target {
        let options = Options {
            symbol_path: Some(path),
            symbol_cache: cache.map(Path::to_owned),
            symbol_timeout: timeout,
            use_system_files: false,
            ..Options::default()
        };
        target_with(&self.dump, options)
    }

    fn files(&self) -> HashMap<String, Vec<u8>> {
        HashMap::from([(self.exe_path.clone(), self.exe.clone()), (self.pdb_path.clone(), self.pdb.clone())])
    }
}

fn program(target: &Target) -> &Module {
    target.modules().iter().find(|module| module.name() == "crash.exe").unwrap()
}

fn innermost(target: &Target) -> Option<(String, Option<u32>)> {
    let crashed = target.crashed_thread().unwrap();
    let frame = &target.stack(crashed).frames[0];
    let place = target.locate(frame.address).last().cloned()?;
    Some((place.function?, place.line))
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn program_and_pdb_come_from_a_server_and_stay_in_the_cache() {
    let Some(lab) = lab() else { return };
    let server = Server::start(Manner::Good, lab.files());
    let cache = tempfile::tempdir().unwrap();
    let path = format!("srv*{}*{}", cache.path().display(), server.url);
    let target = lab.target(path.clone(), None, LONG);
    let all: Vec<usize> = (0..target.dump().threads.len()).collect();
    let report = target.fetch_symbols(&all);
    assert_eq!(report.received, 2, "{report:?} {:?} {:?}", server.asked(), target.issues());
    let (name, line) = innermost(&target).unwrap();
    assert_eq!((name.as_str(), line), (FUNCTION, Some(LINE)));
    assert!(matches!(program(&target).file(), FileMatch::BuildId(path) if path.starts_with(cache.path())));
    assert_eq!(std::fs::read(cache.path().join(&lab.pdb_path[1..])).unwrap(), lab.pdb);
    assert!(server.asked().contains(&lab.exe_path) && server.asked().contains(&lab.pdb_path));
    // No unfinished file is left.
    let left = walk(cache.path());
    assert!(left.iter().all(|path| !path.to_string_lossy().contains(".part")), "{left:?}");

    // The next run finds both in the cache, without any question, before anybody is asked.
    let before = server.asked().len();
    let again = lab.target(path, None, LONG);
    assert_eq!(innermost(&again).map(|(name, _)| name).as_deref(), Some(FUNCTION));
    assert_eq!(server.asked().len(), before);
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn nothing_is_asked_unless_it_is_asked_for() {
    let Some(lab) = lab() else { return };
    let server = Server::start(Manner::Good, lab.files());
    let target = lab.target(format!("srv*{}", server.url), None, LONG);
    target.prepare_stacks();
    let _ = (target.diagnosis(), program(&target).file(), innermost(&target));
    assert!(server.asked().is_empty());
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let Some(lab) = lab() else { return };
    let server = Server::start(Manner::Good, lab.files());
    let target = lab.target(format!("SRV*{}/", server.url), None, LONG);
    assert_eq!(target.fetch_symbols(&[target.crashed_thread().unwrap()]).received, 2);
    assert_eq!(innermost(&target).map(|(name, _)| name).as_deref(), Some(FUNCTION));
}

#[test]
fn stores_in_folders_need_no_server() {
    let Some(lab) = lab() else { return };
    let store = tempfile::tempdir().unwrap();
    for (path, bytes) in lab.files() {
        let place = store.path().join("cr").join(&path[1..]);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, bytes).unwrap();
    }
    let target = lab.target(format!("/nowhere;{}", store.path().display()), None, LONG);
    assert_eq!(innermost(&target).map(|(name, _)| name).as_deref(), Some(FUNCTION));
}

#[test]
fn pointers_and_packed_files() {
    let Some(lab) = lab() else { return };
    let elsewhere = Server::start(Manner::Good, HashMap::from([("/there/x.pdb".to_owned(), lab.pdb.clone())]));
    let folder = |path: &str| path.rsplit_once('/').unwrap().0.to_owned();
    let files = HashMap::from([
        (format!("{}/file.ptr", folder(&lab.pdb_path)), format!("PATH:{}/there/x.pdb", elsewhere.url).into_bytes()),
        (format!("{}/{NAME}.ex_", folder(&lab.exe_path)), b"MSCF".to_vec()),
    ]);
    let server = Server::start(Manner::Good, files);
    let target = lab.target(format!("srv*{}", server.url), None, LONG);
    assert_eq!(target.fetch_symbols(&[target.crashed_thread().unwrap()]).received, 1);
    let issues = target.issues();
    assert!(issues.iter().any(|issue| issue.text.contains("cabinet")), "{issues:?}");
    assert_eq!(innermost(&target).map(|(name, _)| name).as_deref(), Some(FUNCTION));
}

#[test]
fn what_is_wrong_or_broken_is_not_used() {
    let Some(lab) = lab() else { return };
    let wrong = HashMap::from([
        (lab.exe_path.clone(), lab.pdb.clone()),
        (lab.pdb_path.clone(), {
            std::fs::read(samples().unwrap().join("windows-wine/bin/dumpme32_pdb.pdb")).unwrap()
        }),
    ]);
    for (manner, files, said) in [
        (Manner::Good, wrong, "another identity"),
        (Manner::Truncated, lab.files(), "broke off"),
        (Manner::Broken, lab.files(), "status 500"),
    ] {
        let server = Server::start(manner, files);
        let cache = tempfile::tempdir().unwrap();
        let target = lab.target(format!("srv*{}*{}", cache.path().display(), server.url), None, LONG);
        assert_eq!(target.fetch_symbols(&[target.crashed_thread().unwrap()]).received, 0);
        let issues = target.issues();
        assert!(issues.iter().any(|issue| issue.text.contains(said)), "{said}: {issues:?}");
        assert!(walk(cache.path()).is_empty(), "{:?}", walk(cache.path()));
    }
}

#[test]
fn a_silent_server_costs_no_more_than_the_time_allowed() {
    let Some(lab) = lab() else { return };
    let server = Server::start(Manner::Silent, lab.files());
    let target = lab.target(format!("srv*{}", server.url), None, Duration::from_millis(600));
    let start = Instant::now();
    target.fetch_symbols(&[target.crashed_thread().unwrap()]);
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert!(target.issues().iter().any(|issue| issue.text.contains("in time")), "{:?}", target.issues());
}
