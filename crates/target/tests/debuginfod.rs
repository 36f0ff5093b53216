//! Downloads against a real HTTP server on the loopback: good, missing, silent, slow, wrong and broken ones.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use afterimage_dump::CodeAddr;
use afterimage_target::{FileMatch, Options, Target};
use common::server::{Manner, Server};
use common::{Crash, have, hex, sh, target_with};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A crash whose program and library are stripped and whose files a server would have.
struct Scene {
    crash: Crash,
    core: PathBuf,
    files: HashMap<String, Vec<u8>>,
    library_id: String,
    cache: tempfile::TempDir,
}

fn scene() -> Option<Scene> {
    if !have(&["gcc", "objcopy", "strip"]) {
        return None;
    }
    let crash = Crash::build("-pie -Wl,--build-id", true);
    let core = crash.kernel_core()?;
    let mut files = HashMap::new();
    let mut library_id = String::new();
    for name in ["prog", "libcrash.so"] {
        sh(crash.folder.path(), &format!("objcopy --only-keep-debug {name} kept.debug; strip {name}"));
        let id = build_id(&crash.path(name));
        files.insert(format!("/buildid/{id}/debuginfo"), std::fs::read(crash.path("kept.debug")).unwrap());
        files.insert(format!("/buildid/{id}/executable"), std::fs::read(crash.path(name)).unwrap());
        std::fs::remove_file(crash.path("kept.debug")).unwrap();
        library_id = id;
    }
    Some(Scene { crash, core, files, library_id, cache: tempfile::tempdir().unwrap() })
}

fn build_id(path: &Path) -> String {
    let text = common::run(std::process::Command::new("readelf").arg("-n").arg(path));
    text.lines().find_map(|line| Some(line.split_once("Build ID: ")?.1.trim().to_owned())).unwrap()
}

impl Scene {
    fn target(&self, servers: &[&Server]) -> Target {
        let options = Options {
            dump_path: Some(self.core.clone()),
            debuginfod_urls: servers.iter().map(|server| server.url.clone()).collect(),
            debuginfod_cache: Some(self.cache.path().to_owned()),
            debug_dirs: vec![],
            ..Options::default()
        };
        target_with(&self.core, options)
    }

    fn cached(&self) -> PathBuf {
        self.cache.path().join(&self.library_id).join("debuginfo")
    }

    /// Files in the cache that are neither whole downloads nor notes of misses.
    fn leftovers(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.cache.path()).unwrap().flatten();
        let files = folders
            .filter(|folder| folder.path().is_dir())
            .flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path()));
        files.filter(|path| path.to_string_lossy().contains(".part")).collect()
    }
}

fn line_of_crash(target: &Target) -> Option<u32> {
    let pc = target.dump().crashed_thread().unwrap().registers.pc().unwrap();
    target.locate(CodeAddr::Exact(pc)).first().and_then(|location| location.line)
}

/// Fetches for the crashed thread and measures.
fn fetch(target: &Target) -> Duration {
    let start = Instant::now();
    target.fetch_debug_info(&[target.crashed_thread().unwrap()]);
    start.elapsed()
}

const LIMIT: Duration = Duration::from_millis(2300);

#[test]
fn debug_information_comes_and_is_kept() {
    let Some(scene) = scene() else { return };
    let server = Server::start(Manner::Good, scene.files.clone());
    assert_eq!(line_of_crash(&scene.target(&[])), None, "the program should be stripped");
    let target = scene.target(&[&server]);
    assert!(fetch(&target) < LIMIT);
    assert_eq!(line_of_crash(&target), Some(3), "{:?}", target.issues());
    assert_eq!(
        std::fs::read(scene.cached()).unwrap(),
        scene.files[&format!("/buildid/{}/debuginfo", scene.library_id)]
    );
    let asked = server.asked();
    assert!(asked.iter().all(|path| path.ends_with("/debuginfo")), "programs are here already: {asked:?}");
    // The next run, without any server, has it from the cache.
    assert_eq!(line_of_crash(&scene.target(&[])), Some(3));
    let again = scene.target(&[&server]);
    fetch(&again);
    assert_eq!(server.asked().iter().filter(|path| path.contains(&scene.library_id)).count(), 1);
    assert!(scene.leftovers().is_empty());
}

#[test]
fn a_missing_library_comes_too() {
    let Some(scene) = scene() else { return };
    std::fs::remove_file(scene.crash.path("libcrash.so")).unwrap();
    let server = Server::start(Manner::Good, scene.files.clone());
    let target = scene.target(&[&server]);
    fetch(&target);
    let library = target.modules().iter().find(|module| module.name() == "libcrash.so").unwrap();
    assert_eq!(library.file(), FileMatch::BuildId(scene.cached().with_file_name("executable")));
    assert_eq!(line_of_crash(&target), Some(3), "{:?}", target.issues());
}

#[test]
fn nothing_is_kept_without_a_cache() {
    let Some(scene) = scene() else { return };
    let server = Server::start(Manner::Good, scene.files.clone());
    let options = Options { debuginfod_cache: None, ..scene.target(&[&server]).options().clone() };
    let target = target_with(&scene.core, options);
    fetch(&target);
    assert_eq!(line_of_crash(&target), Some(3), "{:?}", target.issues());
    assert_eq!(std::fs::read_dir(scene.cache.path()).unwrap().count(), 0);
}

#[test]
fn a_miss_is_remembered() {
    let Some(scene) = scene() else { return };
    let server = Server::start(Manner::Good, HashMap::new());
    assert!(fetch(&scene.target(&[&server])) < Duration::from_secs(1));
    let first = server.asked().len();
    assert!(first > 0);
    let target = scene.target(&[&server]);
    fetch(&target);
    assert_eq!(server.asked().len(), first, "a missing file was asked for again");
    assert_eq!(line_of_crash(&target), None);
    assert!(target.issues().iter().all(|issue| !issue.text.contains("debuginfod")), "{:?}", target.issues());
}

#[test]
fn a_silent_server_delays_by_the_limit_and_is_not_asked_again() {
    let Some(scene) = scene() else { return };
    let server = Server::start(Manner::Silent, HashMap::new());
    let target = scene.target(&[&server]);
    let took = fetch(&target);
    assert!(took >= Duration::from_millis(1900) && took < LIMIT, "{took:?}");
    let asked = server.asked().len();
    assert!(fetch(&target) < Duration::from_millis(300));
    assert_eq!(server.asked().len(), asked);
    assert!(target.issues().iter().any(|issue| issue.text.contains("in time")), "{:?}", target.issues());
}

#[test]
fn a_trickling_server_delays_by_the_limit() {
    let Some(scene) = scene() else { return };
    let server = Server::start(Manner::Trickle, scene.files.clone());
    let target = scene.target(&[&server]);
    let took = fetch(&target);
    assert!(took < LIMIT, "{took:?}");
    assert!(!scene.cached().exists());
    assert!(scene.leftovers().is_empty());
}

#[test]
fn a_silent_server_does_not_keep_a_good_one_from_answering() {
    let Some(scene) = scene() else { return };
    let silent = Server::start(Manner::Silent, HashMap::new());
    let good = Server::start(Manner::Good, scene.files.clone());
    let target = scene.target(&[&silent, &good]);
    assert!(fetch(&target) < LIMIT);
    assert_eq!(line_of_crash(&target), Some(3), "{:?}", target.issues());
}

#[test]
fn a_wrong_build_is_refused() {
    let Some(scene) = scene() else { return };
    let wrong = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let files = scene.files.keys().map(|path| (path.clone(), wrong.clone())).collect();
    let server = Server::start(Manner::Good, files);
    let target = scene.target(&[&server]);
    fetch(&target);
    assert_eq!(line_of_crash(&target), None);
    assert!(!scene.cached().exists() && scene.leftovers().is_empty());
    assert!(target.issues().iter().any(|issue| issue.text.contains("another build-id")), "{:?}", target.issues());
}

#[test]
fn half_a_file_is_refused() {
    for manner in [Manner::Truncated, Manner::Half] {
        let Some(scene) = scene() else { return };
        let server = Server::start(manner, scene.files.clone());
        let target = scene.target(&[&server]);
        assert!(fetch(&target) < LIMIT);
        assert_eq!(line_of_crash(&target), None);
        assert!(!scene.cached().exists() && scene.leftovers().is_empty());
        assert!(target.issues().iter().any(|issue| issue.text.contains("broke off")), "{:?}", target.issues());
    }
}

#[test]
fn a_broken_server_and_a_dead_one_are_told() {
    let Some(scene) = scene() else { return };
    let broken = Server::start(Manner::Broken, HashMap::new());
    let dead = Server::dead();
    let target = scene.target(&[&broken, &dead]);
    assert!(fetch(&target) < Duration::from_secs(1));
    let issues = target.issues();
    assert!(issues.iter().any(|issue| issue.text.contains("status 500")), "{issues:?}");
    assert!(issues.iter().any(|issue| issue.text.contains(&dead.url)), "{issues:?}");
}

#[test]
fn only_modules_on_the_stack_are_asked_for() {
    let Some(scene) = scene() else { return };
    let server = Server::start(Manner::Good, HashMap::new());
    let target = scene.target(&[&server]);
    fetch(&target);
    let asked = server.asked();
    let loader = target.modules().iter().find(|module| module.name().starts_with("ld-linux")).unwrap();
    let id = hex(loader.build_id.as_deref().unwrap());
    assert!(!asked.is_empty() && asked.iter().all(|path| !path.contains(&id)), "{asked:?}");
}
