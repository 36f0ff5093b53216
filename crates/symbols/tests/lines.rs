//! Functions, inlined calls and lines, compared with what addr2line says of the same programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use afterimage_symbols::short_name;
use common::*;
use std::path::Path;
use std::process::Command;

/// The name as it is compared. Rust's closures have no number in the linker's name (`{{closure}}`) and one in the source
/// name (`{closure#0}`), which gdb shows, and so do we: of them only the function around them is compared.
fn plain(name: &str) -> String {
    let short = short_name(name);
    let mut parts: Vec<&str> = short.split("::").collect();
    let closure = |part: &&str| part.starts_with("{{closure") || part.starts_with("{closure#");
    if !parts.last().is_some_and(closure) {
        return short;
    }
    while parts.last().is_some_and(closure) {
        parts.pop();
    }
    format!("{}::closure", parts.last().copied().unwrap_or_default())
}

/// Compares every address with what the tools say of `truth` (the same program, if that has its DWARF inside).
///
/// The tools differ among each other (binutils shows the cold part of a function as a function inlined into it, elfutils
/// says the symbol for the outermost frame), so each part of an answer must be what at least one of them says.
fn compare_with(truth: &Path, path: &Path, addresses: &[u64]) {
    let module = module(path);
    let mut answers: Vec<Vec<Vec<Answer>>> = Vec::new();
    for tool in ["addr2line", "eu-addr2line", "llvm-addr2line"].into_iter().filter(|tool| have(tool)) {
        let parts: Option<Vec<_>> = addresses.chunks(2000).map(|part| addr2line(tool, truth, part)).collect();
        match parts {
            Some(parts) => answers.push(parts.concat()),
            None => println!("{tool} fails on the program"),
        }
    }
    assert!(!answers.is_empty(), "no tool reads the program");
    for answer in &answers {
        assert_eq!(answer.len(), addresses.len());
    }
    assert!(addresses.len() > 50, "too few addresses: {}", addresses.len());
    let mut known = 0;
    let mut wrong = Vec::new();
    for (index, at) in addresses.iter().enumerate() {
        // What they do not know (start-up files without debug information) must be unknown here too.
        let said: Vec<Vec<Answer>> = answers
            .iter()
            .map(|tool| tool[index].iter().filter(|(_, path, _)| !path.starts_with('?')).cloned().collect())
            .collect();
        let mine: Vec<Answer> = module
            .locate(*at)
            .into_iter()
            .map(|frame| (frame.function.unwrap_or_default(), frame.file.unwrap_or_default(), frame.line.unwrap_or(0)))
            .collect();
        known += usize::from(said.iter().any(|answer| !answer.is_empty()));
        let tidy = |path: &str| path.replace("/./", "/");
        let equal = said.iter().any(|answer| answer.len() == mine.len())
            && mine.iter().enumerate().all(|(depth, (name, path, line))| {
                let others = || said.iter().filter(|answer| answer.len() == mine.len()).map(|answer| &answer[depth]);
                others().any(|other| plain(&other.0) == plain(name))
                    && others().any(|other| tidy(&other.1) == tidy(path) && other.2 == *line)
            });
        if !equal {
            wrong.push(format!("{at:#x}\n  others {said:?}\n  here   {mine:?}"));
        }
    }
    assert!(known * 2 > addresses.len(), "only {known} of {} are known to anyone", addresses.len());
    println!("{} addresses, {known} known, {} differ", addresses.len(), wrong.len());
    let shown: Vec<&String> = wrong.iter().take(6).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown:#?}", wrong.len(), addresses.len());
}

fn check(compiler: &str, program: &str, flags: &[&str]) {
    if !have(compiler) || !have("addr2line") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), compiler, program, flags);
    compare_with(&path, &path, &addresses(&path, 3));
}

#[test]
fn gcc_dwarf_2_to_5() {
    for version in ["-gdwarf-2", "-gdwarf-3", "-gdwarf-4", "-gdwarf-5"] {
        check("g++", "shapes.cc", &[version, "-O2"]);
        check("gcc", "plain.c", &[version, "-O1"]);
    }
}

#[test]
fn gcc_unoptimized_and_static() {
    check("g++", "shapes.cc", &["-g", "-O0"]);
    check("gcc", "plain.c", &["-g", "-O0", "-fno-pie", "-no-pie"]);
}

#[test]
fn clang_without_address_tables() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        check("clang", "plain.c", &[version, "-O2"]);
        check("clang++", "shapes.cc", &[version, "-O2"]);
    }
}

#[test]
fn compressed_sections() {
    if !have("g++") || !have("addr2line") {
        return;
    }
    let whole = tempfile::tempdir().unwrap();
    let truth = compile(whole.path(), "g++", "shapes.cc", &["-g", "-O2"]);
    for flag in ["-gz=zlib", "-gz=zlib-gnu", "-Wl,--compress-debug-sections=zstd"] {
        if flag.ends_with("zstd") && !run(Command::new("ld").arg("--help")).contains("zstd") {
            println!("skipped: this ld does not write zstd");
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = compile(folder.path(), "g++", "shapes.cc", &["-g", "-O2", flag]);
        let packed = |path: &Path| run(Command::new("readelf").args(["-S", "-W"]).arg(path));
        assert!(packed(&path).contains(".zdebug_info") || packed(&path).contains(" C "), "{flag} packs");
        compare_with(&truth, &path, &addresses(&path, 3));
    }
}

#[test]
fn rust_program() {
    if !have("rustc") || !have("addr2line") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    run(Command::new("rustc").args(["-g", "-O", "--edition", "2021", "-o"]).arg(&path).arg(source("generic.rs")));
    let addresses: Vec<u64> = addresses(&path, 7).into_iter().take(3000).collect();
    compare_with(&path, &path, &addresses);
}

/// The parts of a program's debug information in other files: each must give what the program with all of it inside gives.
#[test]
fn split_dwarf_in_objects_and_in_a_package() {
    if !have("addr2line") {
        return;
    }
    for (compiler, program) in [("g++", "shapes.cc"), ("clang++", "shapes.cc"), ("gcc", "plain.c")] {
        for version in ["-gdwarf-4", "-gdwarf-5"] {
            if !have(compiler) {
                continue;
            }
            let whole = tempfile::tempdir().unwrap();
            let truth = compile(whole.path(), compiler, program, &[version, "-O2"]);
            let folder = tempfile::tempdir().unwrap();
            let object = folder.path().join("program.o");
            let path = folder.path().join("program");
            let flags = [version, "-O2", "-gsplit-dwarf", "-c"];
            run(Command::new(compiler)
                .current_dir(folder.path())
                .args(flags)
                .arg(source(program))
                .args(["-o", "program.o"]));
            run(Command::new(compiler).current_dir(folder.path()).arg(&object).arg("-o").arg(&path));
            let at = addresses(&truth, 3);
            assert_eq!(at, addresses(&path, 3), "both programs have the same code");
            assert!(folder.path().join("program.dwo").exists());
            compare_with(&truth, &path, &at);
            assert!(module(&path).sources().contains(&"dwarf"));

            // llvm-dwp 14 never ends on gcc's version 5, and binutils' dwp only knows version 4.
            let packer = match (compiler, version) {
                ("clang++", _) => "llvm-dwp",
                (_, "-gdwarf-4") => "dwp",
                _ => continue,
            };
            if !have(packer) {
                continue;
            }
            let packed =
                Command::new(packer).current_dir(folder.path()).args(["-e", "program", "-o", "program.dwp"]).output();
            if !packed.is_ok_and(|output| output.status.success()) {
                panic!("{packer} does not pack {compiler} {version}");
            }
            std::fs::remove_file(folder.path().join("program.dwo")).unwrap();
            compare_with(&truth, &path, &at);
        }
    }
}

#[test]
fn dwz_in_one_file_and_with_a_supplementary_file() {
    if !have("g++") || !have("dwz") || !have("addr2line") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let truth = compile(folder.path(), "g++", "shapes.cc", &["-g", "-gdwarf-4", "-O2"]);
    let at = addresses(&truth, 3);
    for name in ["one", "two"] {
        std::fs::copy(&truth, folder.path().join(name)).unwrap();
    }
    let output = Command::new("dwz")
        .current_dir(folder.path())
        .args(["-m", "common.dwz", "-M", "common.dwz", "one", "two"])
        .output();
    assert!(output.unwrap().status.success());
    let one = folder.path().join("one");
    let alt = afterimage_symbols::ElfObject::parse(blob(&one)).unwrap().alt_debuglink().expect("a link");
    assert_eq!(alt.0, "common.dwz");
    assert_eq!(alt.1.len(), 20);
    compare_with(&truth, &one, &at);

    let single = folder.path().join("single");
    run(Command::new("dwz").current_dir(folder.path()).arg("-o").arg(&single).arg("program"));
    compare_with(&truth, &single, &at);
}

#[test]
fn separate_debug_file() {
    if !have("g++") || !have("objcopy") || !have("addr2line") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let truth = compile(folder.path(), "g++", "shapes.cc", &["-g", "-O2"]);
    let objcopy = |arguments: &[&str]| run(Command::new("objcopy").current_dir(folder.path()).args(arguments));
    objcopy(&["--only-keep-debug", "program", "program.debug"]);
    objcopy(&["--strip-all", "--add-gnu-debuglink=program.debug", "program", "stripped"]);
    let main = afterimage_symbols::ElfObject::parse(blob(&folder.path().join("stripped"))).unwrap();
    let debug = afterimage_symbols::ElfObject::parse(blob(&folder.path().join("program.debug"))).unwrap();
    assert_eq!(main.debuglink().unwrap().0, "program.debug");
    assert_eq!(main.build_id(), debug.build_id());
    assert!(!main.has_symtab() && debug.has_symtab() && debug.has_debug_info() && !main.has_debug_info());
    let entry = main.entry();
    assert!(main.bytes_at(entry, 4).is_some());
    assert_eq!(debug.bytes_at(entry, 4), None, "a debug file has no code");
    let files = std::sync::Arc::new(afterimage_symbols::NoFiles);
    let both = afterimage_symbols::ModuleSymbols::from_elf(Some(main), Some(debug), files);
    let whole = module(&truth);
    let mut count = 0;
    for at in addresses(&truth, 5) {
        assert_eq!(both.locate(at), whole.locate(at), "{at:#x}");
        assert_eq!(both.function(at).map(|f| f.raw), whole.function(at).map(|f| f.raw), "{at:#x}");
        count += 1;
    }
    assert!(count > 50);
}
