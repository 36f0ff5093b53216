//! Modules against what eu-unstrip and gdb say of the same cores.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use afterimage_dump::{CodeAddr, Memory, Virt};
use afterimage_target::{FileMatch, ModuleKind, Options, Target};
use common::{Crash, have, hex, run, sh, target};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Base address to build-id and name, by eu-unstrip.
fn unstrip(core: &Path, program: &Path) -> BTreeMap<u64, (String, String)> {
    let text = run(Command::new("eu-unstrip").arg("-n").arg("--core").arg(core).arg("-e").arg(program));
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let base = words[0].split('+').next().unwrap().trim_start_matches("0x");
        let id = words[1].split('@').next().unwrap().to_owned();
        found.insert(u64::from_str_radix(base, 16).unwrap(), (id, words[4..].join(" ")));
    }
    found
}

fn compare(target: &Target, core: &Path, program: &Path) {
    let truth = unstrip(core, program);
    let ours: BTreeMap<u64, String> = target
        .modules()
        .iter()
        .map(|module| (module.base.0, module.build_id.as_deref().map(hex).unwrap_or_default()))
        .collect();
    let theirs: BTreeMap<u64, String> =
        truth.iter().map(|(base, (id, _))| (*base, if id == "-" { String::new() } else { id.clone() })).collect();
    assert_eq!(ours, theirs, "{:?}\n{truth:?}\n{:?}", target.modules(), target.issues());
}

fn crash_symbol(target: &Target) -> (u64, String) {
    let pc = target.dump().crashed_thread().unwrap().registers.pc().unwrap();
    let found = target.locate(CodeAddr::Exact(pc));
    (pc.0, found.iter().filter_map(|l| l.function.clone()).collect::<Vec<_>>().join(" < "))
}

fn check_all(how: &str, shared: bool) {
    if !have(&["gcc", "eu-unstrip", "gdb"]) {
        return;
    }
    let crash = Crash::build(how, shared);
    let Some(core) = crash.kernel_core() else { return };
    let program = crash.path("prog");
    let target = target(&core);
    compare(&target, &core, &program);
    let main = target.modules().iter().find(|module| module.kind == ModuleKind::Program).unwrap();
    assert_eq!(main.name(), "prog", "{:?}", target.modules());
    assert_eq!(main.file(), FileMatch::BuildId(program.canonicalize().unwrap()));
    assert!(target.modules().iter().any(|module| module.kind == ModuleKind::Vdso));
    let has_loader = target.modules().iter().any(|module| module.kind == ModuleKind::Loader);
    assert_eq!(has_loader, !how.contains("static"), "{:?}", target.modules());
    let (pc, function) = crash_symbol(&target);
    assert_eq!(function, "inner", "at {pc:#x}: {:?}", target.issues());
    let place = target.locate(CodeAddr::Exact(Virt(pc)));
    assert!(place[0].file.as_deref().unwrap().ends_with("lib.c"), "{place:?}");
    assert_eq!(place[0].line, Some(3));

    // gdb's own idea of where symbols lie.
    let ask = ["-batch", "-ex", "info symbol $pc", "-ex", "p &global_of_program", "-ex", "info sharedlibrary"];
    let gdb =
        |ask: &[&str]| run(Command::new("gdb").args(ask).arg(&program).arg(&core).current_dir(crash.folder.path()));
    let text = gdb(&ask);
    assert!(text.contains("inner"), "{text}");
    let global = target.symbol_in("prog", "global_of_program").unwrap();
    assert!(text.contains(&format!("(int *) {:#x}", global.0)), "{global:?} {text}");
    for line in text.lines().filter(|line| line.starts_with("0x")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let from = u64::from_str_radix(words[0].trim_start_matches("0x"), 16).unwrap();
        let module = target.module_at(Virt(from)).unwrap_or_else(|| panic!("no module at {line}"));
        assert_eq!(Some(module.name()), words.last().unwrap().rsplit('/').next(), "{line}");
    }

    if how.contains("noseparate-code") {
        // Then the page of the headers, which is in the core, holds the code too.
        return;
    }
    // Code is not in a kernel's core; it comes from the file.
    let mut from_dump = [0u8; 16];
    let pc = Virt(pc);
    assert!(target.dump().memory.read_at(pc, &mut from_dump).is_err(), "the core should not hold code");
    assert_eq!(target.memory().read_at(pc, &mut from_dump), Ok(16));
    let dump = gdb(&["-batch", "-ex", "x/16xb $pc"]);
    let bytes: String = from_dump.iter().map(|byte| format!("\t0x{byte:02x}")).collect();
    let theirs: String = dump
        .lines()
        .filter(|line| line.contains("0x") && line.contains(":\t"))
        .map(|line| line.split_once(':').unwrap().1)
        .collect();
    assert_eq!(bytes, theirs, "{dump}");
}

#[test]
fn position_independent_with_library() {
    check_all("-pie -Wl,--build-id", true);
}

#[test]
fn fixed_address_with_library() {
    check_all("-no-pie -Wl,--build-id", true);
}

#[test]
fn static_program() {
    check_all("-static -no-pie -Wl,--build-id", false);
}

#[test]
fn static_position_independent() {
    check_all("-static-pie -Wl,--build-id", false);
}

#[test]
fn compressed_sections_and_bss() {
    check_all("-pie -gz=zlib -Wl,--build-id=sha1 -Wl,-z,noseparate-code", true);
}

#[test]
fn gcore_of_a_running_process() {
    if !have(&["gcc", "gcore", "eu-unstrip"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prog.c"), "#include <unistd.h>\nint main() { pause(); }").unwrap();
    sh(folder.path(), "gcc -g -o prog prog.c");
    let mut child = Command::new(folder.path().join("prog")).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let written = Command::new("gcore")
        .arg("-o")
        .arg(folder.path().join("core"))
        .arg(child.id().to_string())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let core = folder.path().join(format!("core.{}", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(core.exists(), "{}", String::from_utf8_lossy(&written.stderr));
    let target = target(&core);
    compare(&target, &core, &folder.path().join("prog"));
}

#[test]
fn another_build_is_refused() {
    if !have(&["gcc"]) {
        return;
    }
    let crash = Crash::build("-pie -Wl,--build-id", true);
    let Some(core) = crash.kernel_core() else { return };
    sh(
        crash.folder.path(),
        "sed -i 's/limit = 3/limit = 4/' lib.c; gcc -O2 -Wl,--build-id -shared -fPIC -o libcrash.so lib.c",
    );
    let target = target(&core);
    let library = target.modules().iter().find(|module| module.name() == "libcrash.so").unwrap();
    let FileMatch::Mismatch { path, why } = library.file() else { panic!("{:?}", library.file()) };
    assert_eq!(path.file_name().unwrap(), "libcrash.so");
    assert!(why.contains(&hex(library.build_id.as_deref().unwrap())), "{why}");
    assert_eq!(crash_symbol(&target).1, "");
    assert!(target.issues().iter().any(|issue| issue.text.contains("is not used for")), "{:?}", target.issues());
    let pc = target.dump().crashed_thread().unwrap().registers.pc().unwrap();
    assert!(target.memory().read_at(pc, &mut [0; 4]).is_err());
}

#[test]
fn without_build_ids_layout_decides() {
    if !have(&["gcc"]) {
        return;
    }
    let crash = Crash::build("-pie -Wl,--build-id=none", true);
    let Some(core) = crash.kernel_core() else { return };
    let first = target(&core);
    let library = first.modules().iter().find(|module| module.name() == "libcrash.so").unwrap();
    assert_eq!(library.build_id, None);
    assert_eq!(library.file(), FileMatch::Name(crash.path("libcrash.so").canonicalize().unwrap()));
    assert_eq!(crash_symbol(&first).1, "inner");
    let more = "printf 'int more[90000] = {1}; int f(int x) { return more[x]; }' >> lib.c";
    sh(crash.folder.path(), &format!("{more}; gcc -O1 -Wl,--build-id=none -shared -fPIC -o libcrash.so lib.c"));
    let second = target(&core);
    let library = second.modules().iter().find(|module| module.name() == "libcrash.so").unwrap();
    assert!(matches!(library.file(), FileMatch::Mismatch { .. }), "{:?}", library.file());
}

#[test]
fn a_deleted_library_keeps_its_name() {
    if !have(&["gcc"]) {
        return;
    }
    let crash = Crash::build("-pie -Wl,--build-id", true);
    let source = "
        #include <unistd.h>
        int crash_here(int *);
        int main() { unlink(\"libcrash.so\"); return crash_here((int *)16); }";
    std::fs::write(crash.path("prog.c"), source).unwrap();
    sh(crash.folder.path(), "gcc -g -O1 -o prog prog.c ./libcrash.so");
    let Some(core) = crash.kernel_core() else { return };
    let target = target(&core);
    let library = target.modules().iter().find(|module| module.name() == "libcrash.so").unwrap();
    assert!(library.deleted && !library.path.contains("deleted"));
    assert_eq!(library.file(), FileMatch::NotFound);
    assert!(library.build_id.is_some());
}

#[test]
fn opening_looks_at_no_file() {
    if !have(&["gcc"]) {
        return;
    }
    let crash = Crash::build("-pie -Wl,--build-id", true);
    let Some(core) = crash.kernel_core() else { return };
    let target = target(&core);
    // Nothing is looked for before it is asked for: a file that goes after opening is not found.
    std::fs::remove_file(crash.path("libcrash.so")).unwrap();
    let library = target.modules().iter().find(|module| module.name() == "libcrash.so").unwrap();
    assert_eq!(library.file(), FileMatch::NotFound);
}

#[test]
fn a_complete_core_needs_no_files() {
    if !have(&["gcc"]) {
        return;
    }
    let crash = Crash::build("-pie -Wl,--build-id", true);
    let source = "__attribute__((noinline)) int crash_here(int *p) { return *p * 2; }";
    std::fs::write(crash.path("lib.c"), source).unwrap();
    sh(crash.folder.path(), "gcc -O1 -Wl,--build-id -shared -fPIC -o libcrash.so lib.c");
    let Some(core) = crash.kernel_core_of("0x7f") else { return };
    std::fs::remove_file(crash.path("libcrash.so")).unwrap();
    let target = target(&core);
    let library = target.modules().iter().find(|module| module.name() == "libcrash.so").unwrap();
    assert_eq!(library.file(), FileMatch::InDump);
    assert_eq!(crash_symbol(&target).1, "crash_here");
}

#[test]
fn qemu_user_leaves_out_all_headers() {
    if !have(&["aarch64-linux-gnu-gcc", "qemu-aarch64"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("both.c"), format!("{}{}", common::LIBRARY, common::PROGRAM)).unwrap();
    sh(folder.path(), "aarch64-linux-gnu-gcc -g -O1 -o prog both.c");
    let command = "ulimit -c unlimited; qemu-aarch64 -L /usr/aarch64-linux-gnu ./prog; rm -f core core.*; ls -d qemu_*";
    let output = Command::new("sh").args(["-c", command]).current_dir(folder.path()).output().unwrap();
    let name = String::from_utf8(output.stdout).unwrap();
    let core = folder.path().join(name.trim());
    let sysroot = Some("/usr/aarch64-linux-gnu".into());
    let target = common::target_with(&core, Options { sysroot, ..common::options(&core) });
    // There is no list of mapped files either: all of this comes from the program's file and the loader's list.
    let kind = |wanted| target.modules().iter().find(|module| module.kind == wanted).map(|module| module.name());
    assert_eq!(kind(ModuleKind::Program), Some("prog"), "{:?}", target.modules());
    assert_eq!(kind(ModuleKind::Loader), Some("ld-linux-aarch64.so.1"), "{:?}", target.modules());
    assert_eq!(kind(ModuleKind::Library), Some("libc.so.6"), "{:?}", target.modules());
    assert!(target.modules().iter().all(|module| module.file().path().is_some()), "{:?}", target.issues());
    assert_eq!(crash_symbol(&target).1, "inner");
    let pc = target.dump().crashed_thread().unwrap().registers.pc().unwrap();
    assert_eq!(target.memory().read_at(pc, &mut [0; 4]), Ok(4));
}
