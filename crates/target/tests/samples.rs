//! Every sample dump opens and lists its modules; of some it is known what they must be.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use afterimage_dump::{Budget, open};
use afterimage_target::{FileMatch, ModuleKind, Options, Target};
use common::samples;
use std::path::{Path, PathBuf};

/// All dumps of processes among the samples.
fn dumps(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn open_target(path: &Path, debug_paths: Vec<PathBuf>) -> Option<Target> {
    let budget = Budget::default();
    let dump = open(path, &budget).ok()?;
    let options =
        Options { dump_path: Some(path.to_owned()), debug_paths, use_system_files: false, ..Options::default() };
    Some(Target::new(dump, options, budget))
}

#[test]
fn all_samples_list_modules() {
    let Some(root) = samples() else { return };
    let mut opened = 0;
    for group in ["elf-core", "bsd", "minidump-other-os", "windows-user", "windows-wine", "embedded"] {
        for path in dumps(&root.join(group)) {
            let Some(target) = open_target(&path, vec![]) else { continue };
            opened += 1;
            let shown = path.strip_prefix(&root).unwrap().display();
            println!("== {shown}");
            for module in target.modules() {
                println!(
                    "   {:?} {:#x} bias {:#x} {} {:?}",
                    module,
                    module.base,
                    module.bias,
                    module.build_id.as_deref().map(common::hex).unwrap_or_default(),
                    module.file()
                );
                assert!(module.base < module.end, "{shown}: {module:?}");
            }
            for pair in target.modules().windows(2) {
                let nested = pair[1].end < pair[0].end;
                assert!(nested || pair[0].end <= pair[1].base, "{shown}: {pair:?}");
            }
            for issue in target.issues() {
                println!("   ! {}", issue.text);
            }
        }
    }
    assert!(opened > 60, "only {opened} samples opened");
}

#[test]
fn programs_of_cores_are_found_beside_them() {
    let Some(root) = samples() else { return };
    for (core, program) in [
        ("elf-core/lldb/linux-x86_64.core", "linux-x86_64.out"),
        ("elf-core/lldb/linux-i386.core", "linux-i386.out"),
        ("elf-core/lldb/linux-aarch64.core", "linux-aarch64.out"),
        ("elf-core/lldb/linux-s390x.core", "linux-s390x.out"),
        ("elf-core/lldb/linux-riscv64.gpr_fpr.core", "linux-riscv64.gpr_fpr.out"),
        ("elf-core/lldb/linux-loongarch64.core", "linux-loongarch64.out"),
        ("elf-core/rizin/core-linux-arm32", "crash-linux-arm32"),
        ("elf-core/rizin/core-linux-arm64", "crash-linux-arm64"),
        ("elf-core/rizin/core-linux-riscv64", "crash-linux-riscv64"),
        ("elf-core/rizin/core-linux-ppc64", "crash-linux-ppc64"),
        ("elf-core/rizin/core-linux-alpha", "crash-linux-alpha"),
        ("elf-core/rizin/core-linux-hppa", "crash-linux-hppa"),
        ("elf-core/rizin/core-linux-loongarch", "crash-linux-loongarch"),
        ("elf-core/rizin/core-linux-x86_64", "crash-linux-x86_64"),
        ("bsd/netbsd/1lwp_SIGSEGV.amd64.core", "1lwp_SIGSEGV.amd64"),
        ("bsd/netbsd/2lwp_t2_SIGSEGV.aarch64.core", "2lwp_t2_SIGSEGV.aarch64"),
    ] {
        let core = root.join(core);
        let program = core.with_file_name(program);
        let target = open_target(&core, vec![program.clone()]).unwrap();
        let main = target.modules().iter().find(|module| module.kind == ModuleKind::Program);
        let main = main.unwrap_or_else(|| panic!("{}: no program: {:?}", core.display(), target.modules()));
        assert_eq!(
            main.file().path(),
            Some(&*program),
            "{}: {main:?} {:?} {:?}",
            core.display(),
            main.file(),
            target.issues()
        );
        let start = target.symbol_in(main.name(), "main").or_else(|| target.symbol_in(main.name(), "_start"));
        assert!(start.is_some_and(|at| main.contains(at)), "{}: {start:?} {main:?}", core.display());
    }
}

/// Unpacks a sample beside others, under the name that the core gives.
fn unpack(from: &Path, to: &Path) {
    let tool = if from.extension().unwrap() == "zst" { "zstd" } else { "bzip2" };
    let output = std::process::Command::new(tool).args(["-dc"]).arg(from).output().unwrap();
    assert!(output.status.success());
    std::fs::write(to, output.stdout).unwrap();
}

#[test]
fn drgn_crashme() {
    let Some(root) = samples() else { return };
    if !common::have(&["zstd"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let from = root.join("elf-core/drgn");
    for name in ["crashme", "crashme.so", "crashme_pie", "crashme_static"] {
        unpack(&from.join(format!("{name}.zst")), &folder.path().join(name));
    }
    let kinds = [("crashme", true), ("crashme_pie_no_headers", false), ("crashme_static", true)];
    for (core, headers) in kinds {
        let target = open_target(&from.join(format!("{core}.core.zst")), vec![folder.path().to_owned()]).unwrap();
        let main = target.modules().iter().find(|module| module.kind == ModuleKind::Program).unwrap();
        let matched = main.file();
        let by_id = matches!(matched, FileMatch::BuildId(_));
        assert_eq!((matched.path().is_some(), by_id), (true, headers), "{core}: {matched:?} {:?}", target.issues());
        let at = target.symbol_in(main.name(), "main").unwrap();
        assert!(main.contains(at));
        if core != "crashme_static" {
            let library = target.modules().iter().find(|module| module.name() == "crashme.so");
            let library = library.unwrap_or_else(|| panic!("{core}: {:?}", target.modules()));
            assert!(library.file().path().is_some(), "{core}: {:?} {:?}", library.file(), target.issues());
            let pc = target.dump().crashed_thread().unwrap().registers.pc().unwrap();
            assert!(library.contains(pc), "{core}: crashed in crashme.so's c(), not at {pc:?}: {library:?}");
            assert_eq!(library.symbols().function(library.symbol_address(pc)).unwrap().name, "c");
        }
    }
}

#[test]
fn packed_programs_of_cores() {
    let Some(root) = samples() else { return };
    if !common::have(&["zstd", "bzip2"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("go/core.zst", "go/test.zst", "test", false),
        ("elfutils/backtrace.aarch64.core.bz2", "elfutils/backtrace.aarch64.exec.bz2", "a.exec", true),
        ("elfutils/backtrace.i386.core.bz2", "elfutils/backtrace.i386.exec.bz2", "b.exec", true),
        ("elfutils/backtrace.s390x.core.bz2", "elfutils/backtrace.s390x.exec.bz2", "c.exec", true),
        ("elfutils/backtrace.sparc.core.bz2", "elfutils/backtrace.sparc.exec.bz2", "d.exec", true),
        ("elfutils/backtrace.x86_64.fp.core.bz2", "elfutils/backtrace.x86_64.fp.exec.bz2", "e.exec", true),
        ("elfutils/testfiledwarfinlines.core.bz2", "elfutils/testfiledwarfinlines.bz2", "f.exec", true),
        ("elfutils/test-core.core.bz2", "elfutils/test-core.exec.bz2", "test-core-main", false),
    ];
    for (core, packed, name, by_id) in cases {
        let program = folder.path().join(name);
        unpack(&root.join("elf-core").join(packed), &program);
        let target = open_target(&root.join("elf-core").join(core), vec![program.clone()]).unwrap();
        let main = target.modules().iter().find(|module| module.kind == ModuleKind::Program).unwrap();
        let expected = if by_id { FileMatch::BuildId(program) } else { FileMatch::Name(program) };
        assert_eq!(main.file(), expected, "{core}: {:?}", target.issues());
    }
    // Its library's first page is only in the dump where it was mapped a second time, at the relocated end.
    let library = folder.path().join("test-core-lib.so");
    unpack(&root.join("elf-core/elfutils/test-core-lib.so.bz2"), &library);
    let target = open_target(&root.join("elf-core/elfutils/test-core.core.bz2"), vec![library.clone()]).unwrap();
    let module = target.modules().iter().find(|module| module.name() == "test-core-lib.so").unwrap();
    // By elfutils' own test of this core, with the library at hand.
    assert_eq!((module.base.0, module.end.0), (0x7f67_f2aa_f000, 0x7f67_f2aa_f000 + 0x20_2000));
    assert_eq!(module.file(), FileMatch::Name(library), "{:?}", target.issues());
}

/// The functions where a dump's crashed thread stood, innermost first.
fn functions(target: &Target) -> Vec<String> {
    let exception = target.dump().exception.as_ref().unwrap();
    let thread = target.dump().crashed_thread().unwrap();
    let pc = exception.registers.as_ref().unwrap_or(&thread.registers).pc().unwrap();
    let found = target.locate(afterimage_dump::CodeAddr::Exact(pc));
    found.iter().filter_map(|location| location.function.clone()).collect()
}

#[test]
fn breakpad_symbols_for_minidumps() {
    let Some(root) = samples() else { return };
    let windows = root.join("windows-user/test_app");
    let dump = windows.join("test.dmp");
    assert_eq!(functions(&open_target(&dump, vec![]).unwrap()), [""; 0]);
    let symbols = windows.join("symbols");
    let known = "`anonymous namespace'::CrashFunction";
    let first = |named: Vec<PathBuf>| functions(&open_target(&dump, named).unwrap()).join(" < ");
    assert!(first(vec![symbols.clone()]).starts_with(known), "a store: {}", first(vec![symbols.clone()]));
    let single = symbols.join("test_app.pdb/5A9832E5287241C1838ED98914E9B7FF1/test_app.sym");
    assert!(first(vec![single.clone()]).starts_with(known), "a file");
    assert!(first(vec![single.parent().unwrap().to_owned()]).starts_with(known), "a folder");
    // Another build's symbols are not used.
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(&single).unwrap().replacen("5A98", "5A99", 1);
    std::fs::write(folder.path().join("test_app.sym"), text).unwrap();
    assert_eq!(first(vec![folder.path().to_owned()]), "");

    let linux = root.join("minidump-other-os/breakpad");
    let named = dumps(&linux.join("symbols/linux_inline"));
    let target = open_target(&linux.join("linux_inline.dmp"), named).unwrap();
    // By the nesting in its INLINE records (0: foo, 1: bar, 2: func).
    assert_eq!(functions(&target), ["func()", "bar()", "foo()", "main"], "{:?}", target.modules());
}
