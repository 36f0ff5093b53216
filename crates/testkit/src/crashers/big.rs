//! Large programs for benchmarks: hundreds of megabytes of debug information, or a thousand threads.
//!
//! They are crashing programs like the others, only generated, and use the same cache. For example
//! `big_rust(&default_dir(), 300)` takes two minutes of processor time, once, and 1.6 GB of disk while it builds.
//!
//! Trap: the size asked for is an aim. It holds within a fifth for the rustc that this was measured with (1.95); the
//! sum of the `.debug_*` sections in the file is what a benchmark must report.
//!
//! How the shape was found: per second of one core, rustc 1.95 without optimisation gave 3.5 MB of debug sections for
//! structures that hold each other generically with derived traits (names, lines and types in the proportions of
//! real programs), and 4 to 5 MB for bare types that no code touches, which are types only. The first was taken.
//! As one crate, 230 MB took 5 GB of memory; hence several crates.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

use super::build::{BuiltCrasher, build, cached, compiler_version, in_parallel, run_tool, write};
use super::error::Result;
use super::model::{BASE, Compiler, Crasher, Fact, GAP, SEGV_MAPERR, at};

/// What one generated structure adds to the debug sections, in kilobytes.
const KILOBYTES_PER_TYPE: usize = 91;
const TYPES_PER_MODULE: usize = 40;
const MODULES_PER_CRATE: usize = 8;

const BIG_RUST: Crasher = Crasher {
    name: "big_rust",
    about: "hundreds of megabytes of debug information, and a null read below a few functions",
    source: "big_rust.rs",
    compiler: Compiler::Rustc,
    flags: &["-g", "-Cdebug-assertions=off", "-Ccodegen-units=16"],
    code: SEGV_MAPERR,
    kind: "null_read",
    frames: &[GAP, "read_field", "lookup", "handle_request", "apply", "serve", "main"],
    place: None,
    facts: &[Fact::NullOffset(0x10), Fact::Address(0x10)],
    ..BASE
};

const MANY_THREADS: Crasher = Crasher {
    name: "many_threads",
    about: "as many threads as asked for, each five functions deep, of which one reads null",
    source: "many_threads.c",
    kind: "null_read",
    frames: &["read_job", "park", "take_turn", "handle_job", "serve", "worker"],
    place: at("read_job", "many_threads.c", "CRASH"),
    facts: &[Fact::NullOffset(0), Fact::Address(0)],
    ..BASE
};

/// Builds below `dir` a C program that crashes with `threads` threads (and the main thread) alive.
///
/// # Errors
/// As [`build`].
pub fn many_threads(dir: &Path, threads: usize) -> Result<BuiltCrasher> {
    let built = build(&MANY_THREADS, dir)?;
    Ok(BuiltCrasher { args: vec![threads.to_string()], ..built })
}

/// Generates and builds below `dir` a Rust program with about `megabytes` (10⁶ bytes) of debug sections, that dies of
/// a null read. For 300, rustc 1.95 took 125 s of processor time and gave 312.
///
/// # Errors
/// As [`build`].
pub fn big_rust(dir: &Path, megabytes: usize) -> Result<BuiltCrasher> {
    let modules = (megabytes.saturating_mul(1000) / (KILOBYTES_PER_TYPE * TYPES_PER_MODULE)).max(1);
    let crates: Vec<Part> = (0..modules.div_ceil(MODULES_PER_CRATE))
        .map(|number| {
            let modules = MODULES_PER_CRATE.min(modules - number * MODULES_PER_CRATE);
            Part { name: format!("part{number}"), modules, text: part_source(modules) }
        })
        .collect();
    let main = main_source(&crates);

    let mut key = DefaultHasher::new();
    (BIG_RUST.flags, &main, compiler_version(Compiler::Rustc, BIG_RUST.name)?).hash(&mut key);
    crates.iter().for_each(|part| part.text.hash(&mut key));
    let name = format!("{}_{megabytes}", BIG_RUST.name);
    let folder = cached(dir, &name, key.finish(), |folder| {
        for result in in_parallel(&crates, |part| build_part(part, folder)) {
            result?;
        }
        write(&folder.join(BIG_RUST.source), main.as_bytes())?;
        let mut command = rustc(folder);
        for part in &crates {
            command.args(["--extern", &format!("{0}=lib{0}.rlib", part.name)]);
        }
        command.args(["-o", BIG_RUST.name, BIG_RUST.source]);
        run_tool(BIG_RUST.name, &mut command)?;
        // The program has all that is in them, and they are as large as the program.
        for part in &crates {
            let path = folder.join(format!("lib{}.rlib", part.name));
            std::fs::remove_file(&path).map_err(|error| super::CrasherError::io("delete", &path, error))?;
        }
        Ok(())
    })?;
    Ok(BuiltCrasher { crasher: BIG_RUST, program: folder.join(BIG_RUST.name), dir: folder, args: Vec::new() })
}

/// One library of the program.
struct Part {
    name: String,
    modules: usize,
    text: String,
}

fn build_part(part: &Part, folder: &Path) -> Result<()> {
    let source = format!("{}.rs", part.name);
    write(&folder.join(&source), part.text.as_bytes())?;
    let mut command = rustc(folder);
    command.args(["--crate-type", "rlib", "--crate-name", &part.name, &source]);
    run_tool(&part.name, &mut command).map(drop)
}

fn rustc(folder: &Path) -> Command {
    let mut command = Command::new(Compiler::Rustc.command());
    command.current_dir(folder).args(["--edition", "2024"]).args(BIG_RUST.flags);
    command
}

/// Modules of structures, each generic over the next, with all the code that their derived traits bring.
fn part_source(modules: usize) -> String {
    let mut text = String::from("#![allow(dead_code)]\n");
    for module in 0..modules {
        let _ = writeln!(text, "pub mod module_{module} {{\nuse std::collections::HashMap;");
        for number in 0..TYPES_PER_MODULE {
            let _ = writeln!(
                text,
                "#[derive(Clone, Debug, Default, PartialEq)]\npub struct Record{number}<T> {{ pub id: u64, \
                 pub name: String, pub items: Vec<T>, pub index: HashMap<String, T>, pub next: Option<Box<T>> }}"
            );
        }
        text.push_str("pub fn touch(start: u64) -> u64 {\nlet mut sum = start;\n");
        for (number, value) in (0..TYPES_PER_MODULE).zip(["u8", "u16", "u32", "u64"].iter().cycle()) {
            let next = (number + 1) % TYPES_PER_MODULE;
            let _ = writeln!(
                text,
                "{{ let record: Record{number}<Record{next}<{value}>> = Default::default(); \
                 let copy = record.clone(); sum += record.items.len() as u64 + copy.id + u64::from(record == copy); }}"
            );
        }
        text.push_str("sum\n}\n}\n");
    }
    text.push_str("#[inline(never)]\npub fn apply(work: fn(u64) -> u64, key: u64) -> u64 {\nwork(key) + 1\n}\n");
    text
}

/// The program: touches every module, then goes down into the last library and from there to the null read.
fn main_source(parts: &[Part]) -> String {
    let mut text = String::from(
        "//! Generated. Dies of a null read.\nuse std::hint::black_box;\n\n\
         struct Record {\n    _name: [u8; 16],\n    value: u64,\n}\n\n\
         #[inline(never)]\nfn read_field(record: *const Record) -> u64 {\n    \
         unsafe { black_box((&raw const (*record).value).read_volatile()) }\n}\n\n\
         #[inline(never)]\nfn lookup(key: u64) -> u64 {\n    \
         read_field(black_box(std::ptr::null())) + key\n}\n\n\
         #[inline(never)]\nfn handle_request(key: u64) -> u64 {\n    lookup(key) + 1\n}\n\n",
    );
    let last = parts.last().map_or("part0", |part| part.name.as_str());
    let _ = writeln!(
        text,
        "#[inline(never)]\nfn serve(key: u64) -> u64 {{\n    {last}::apply(handle_request, key) + 1\n}}\n"
    );
    text.push_str("fn main() {\n    let mut sum = 0;\n");
    for part in parts {
        for module in 0..part.modules {
            let _ = writeln!(text, "    sum = {}::module_{module}::touch(sum);", part.name);
        }
    }
    text.push_str("    println!(\"{}\", serve(sum));\n}\n");
    text
}
