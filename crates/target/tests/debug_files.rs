//! Separate debug information: by build-id, by debuglink, by name, split, packed, shared, and from symbol stores.
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
use common::{Crash, have, options, sh, target, target_with};
use std::path::{Path, PathBuf};

fn line_of_crash(target: &Target) -> Option<u32> {
    let pc = target.dump().crashed_thread().unwrap().registers.pc().unwrap();
    target.locate(CodeAddr::Exact(pc)).first().and_then(|location| location.line)
}

/// A crash, its core, and a library whose debug information was moved to `moved.debug`.
fn stripped(how: &str) -> Option<(Crash, PathBuf)> {
    if !have(&["gcc", "objcopy", "strip", "readelf"]) {
        return None;
    }
    let crash = Crash::build(how, true);
    let core = crash.kernel_core()?;
    sh(crash.folder.path(), "objcopy --only-keep-debug libcrash.so moved.debug; strip libcrash.so");
    assert_eq!(line_of_crash(&target(&core)), None);
    Some((crash, core))
}

fn build_id(path: &Path) -> String {
    let text = common::run(std::process::Command::new("readelf").arg("-n").arg(path));
    text.lines().find_map(|line| Some(line.split_once("Build ID: ")?.1.trim().to_owned())).unwrap()
}

#[test]
fn a_named_debug_file() {
    let Some((crash, core)) = stripped("-pie -Wl,--build-id") else { return };
    let named = Options { debug_paths: vec![crash.path("moved.debug")], ..options(&core) };
    let target = target_with(&core, named);
    assert_eq!(line_of_crash(&target), Some(3));
    let library = target.modules().iter().find(|module| module.name() == "libcrash.so").unwrap();
    assert!(matches!(library.file(), FileMatch::BuildId(path) if path.ends_with("libcrash.so")));
    assert_eq!(library.debug_file(), Some(crash.path("moved.debug")));
}

#[test]
fn a_named_folder_of_any_names() {
    let Some((crash, core)) = stripped("-pie -Wl,--build-id") else { return };
    let folder = crash.path("somewhere");
    sh(crash.folder.path(), "mkdir somewhere; mv moved.debug somewhere/whatever");
    let target = target_with(&core, Options { debug_paths: vec![folder], ..options(&core) });
    assert_eq!(line_of_crash(&target), Some(3));
}

#[test]
fn a_folder_by_build_id() {
    let Some((crash, core)) = stripped("-pie -Wl,--build-id") else { return };
    let id = build_id(&crash.path("libcrash.so"));
    let (first, rest) = id.split_at(2);
    let line = format!("mkdir -p dbg/.build-id/{first}; mv moved.debug dbg/.build-id/{first}/{rest}.debug");
    sh(crash.folder.path(), &line);
    let by_system = Options { debug_dirs: vec![crash.path("dbg")], ..options(&core) };
    assert_eq!(line_of_crash(&target_with(&core, by_system)), Some(3));
    let by_user = Options { debug_paths: vec![crash.path("dbg")], ..options(&core) };
    assert_eq!(line_of_crash(&target_with(&core, by_user)), Some(3));
}

#[test]
fn a_debuglink_is_checked_by_its_sum_where_there_is_no_build_id() {
    let Some((crash, core)) = stripped("-pie -Wl,--build-id=none") else { return };
    sh(
        crash.folder.path(),
        "objcopy --add-gnu-debuglink=moved.debug libcrash.so; mkdir .debug; mv moved.debug .debug/",
    );
    assert_eq!(line_of_crash(&target(&core)), Some(3));
    // The same with a byte more is another file.
    sh(crash.folder.path(), "printf x >> .debug/moved.debug");
    let target = target(&core);
    assert_eq!(line_of_crash(&target), None);
    assert!(target.issues().iter().any(|issue| issue.text.contains("checksum")), "{:?}", target.issues());
}

#[test]
fn debug_information_of_another_build_is_refused() {
    let Some((crash, core)) = stripped("-pie -Wl,--build-id") else { return };
    let other = "sed -i 's/limit = 3/limit = 5/' lib.c; gcc -g -O1 -Wl,--build-id -shared -fPIC -o other.so lib.c;
        objcopy --add-gnu-debuglink=moved.debug libcrash.so; objcopy --only-keep-debug other.so moved.debug";
    sh(crash.folder.path(), other);
    let target = target(&core);
    assert_eq!(line_of_crash(&target), None);
    assert!(target.issues().iter().any(|issue| issue.text.contains("build-id is another")), "{:?}", target.issues());
}

#[test]
fn split_dwarf_beside_the_program_and_packed() {
    if !have(&["gcc"]) {
        return;
    }
    for version in [4, 5] {
        let crash = Crash::build("-pie -Wl,--build-id", true);
        // Only the split part knows of the inlined call.
        let source = "__attribute__((always_inline)) static inline int deref(volatile int *p) { return *p + 1; }
            int crash_here(int *p) { return deref(p) * 2; }";
        std::fs::write(crash.path("lib.c"), source).unwrap();
        let flags = format!("-gdwarf-{version} -gsplit-dwarf -O1 -Wl,--build-id -shared -fPIC");
        sh(crash.folder.path(), &format!("gcc {flags} -o libcrash.so lib.c"));
        let Some(core) = crash.kernel_core() else { return };
        let functions = |target: &Target| -> Vec<String> {
            let pc = target.dump().crashed_thread().unwrap().registers.pc().unwrap();
            target.locate(CodeAddr::Exact(pc)).iter().filter_map(|location| location.function.clone()).collect()
        };
        let known = ["deref", "crash_here"];
        assert_eq!(functions(&target(&core)), known, "DWARF {version}");
        let moved = crash.path("moved");
        sh(crash.folder.path(), "mkdir moved; mv *.dwo moved/");
        assert_eq!(functions(&target(&core)), ["crash_here"], "DWARF {version} without its split part");
        let by_user = Options { debug_paths: vec![moved], ..options(&core) };
        assert_eq!(functions(&target_with(&core, by_user)), known, "DWARF {version} by --debug");
        // binutils' dwp knows DWARF 4 only; it crashes on 5.
        if version == 4 && have(&["dwp"]) {
            sh(crash.folder.path(), "mv moved/*.dwo .; dwp -e libcrash.so -o libcrash.so.dwp; rm *.dwo");
            assert_eq!(functions(&target(&core)), known, "DWARF {version} in a package");
        }
    }
}

#[test]
fn a_supplementary_file_of_dwz() {
    if !have(&["gcc", "dwz"]) {
        return;
    }
    let crash = Crash::build("-pie -Wl,--build-id", true);
    // dwz moves what both files have, the inlined function's name and type among it, into the common file.
    let header = "__attribute__((always_inline)) static inline int deref_in_both_of_them(volatile int *pointer_to_read)
        { return *pointer_to_read + 1; }";
    std::fs::write(crash.path("both.h"), header).unwrap();
    let call = "#include \"both.h\"\nint crash_here(int *p) { return deref_in_both_of_them(p) * 2; }";
    std::fs::write(crash.path("lib.c"), call).unwrap();
    let call = "#include \"both.h\"\nint crash_here(int *);
        int main(int argc, char **argv) { return crash_here((int *)16L) + deref_in_both_of_them(&argc); }";
    std::fs::write(crash.path("prog.c"), call).unwrap();
    let build = "gcc -g -O1 -Wl,--build-id -shared -fPIC -o libcrash.so lib.c;
        gcc -g -O1 -Wl,--build-id -o prog prog.c ./libcrash.so";
    sh(crash.folder.path(), build);
    let Some(core) = crash.kernel_core() else { return };
    let functions = || -> Vec<String> {
        let target = target(&core);
        let pc = target.dump().crashed_thread().unwrap().registers.pc().unwrap();
        target.locate(CodeAddr::Exact(pc)).iter().filter_map(|location| location.function.clone()).collect()
    };
    let known = ["deref_in_both_of_them", "crash_here"];
    assert_eq!(functions(), known);
    sh(crash.folder.path(), "dwz -m common.dwz -M common.dwz prog libcrash.so");
    assert_eq!(functions(), known, "with the common file");
    sh(crash.folder.path(), "mv common.dwz elsewhere");
    assert_ne!(functions(), known, "the names should only stand in the common file");
}
