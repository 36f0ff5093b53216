//! Compiles crashing programs into a folder that tests and benchmarks share: each only once for the same content.
//!
//! It is a cache of folders `NAME-HASH/`, where the hash covers sources, options and the compiler's version; a lock
//! file beside the folder lets several processes build at once, and a `.complete` file in it says that it is whole.
//! It is no build system: nothing is ever deleted, `cargo clean` does that.
//!
//! Trap: programs are built in their final folder and must stay there, because split DWARF names its files by path.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::CRASHERS;
use super::error::{CrasherError, Result};
use super::model::{Compiler, Crasher};
use super::steps;

/// Counts the changes of this file and of `steps` that change what is built from the same sources and options.
const RECIPE: u32 = 1;
/// How many compilers [`build_all`] runs at once.
const JOBS: usize = 2;

/// A crashing program that stands on disk, ready to run.
#[derive(Clone, Debug)]
pub struct BuiltCrasher {
    /// What it was built from, and what is expected of it.
    pub crasher: Crasher,
    /// The executable file.
    pub program: PathBuf,
    /// Its folder, with its libraries and separate debug files. It is also a root for `.build-id/`, as debuggers
    /// have in `debug-file-directory`.
    pub dir: PathBuf,
    /// The arguments to run it with.
    pub args: Vec<String>,
}

/// The folder that all share: `target/crashers` of this workspace.
#[must_use]
pub fn default_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
            root.unwrap_or(Path::new(".")).join("target")
        },
        PathBuf::from,
    );
    target.join("crashers")
}

/// Builds one program below `out_dir`, unless it stands there already.
///
/// # Errors
/// If a tool is missing or fails, or a file cannot be written.
pub fn build(crasher: &Crasher, out_dir: &Path) -> Result<BuiltCrasher> {
    let mut key = DefaultHasher::new();
    RECIPE.hash(&mut key);
    (crasher.compiler, crasher.flags, crasher.libraries, crasher.steps).hash(&mut key);
    crasher.folder().hash(&mut key);
    compiler_version(crasher.compiler, crasher.name)?.hash(&mut key);
    let mut sources = vec![crasher.source];
    sources.extend(crasher.libraries.iter().map(|library| library.source));
    if crasher.compiler.folder() == "c" {
        sources.push("chain.h");
    }
    for source in sources {
        read(&crasher.folder().join(source))?.hash(&mut key);
    }

    let dir = cached(out_dir, crasher.name, key.finish(), |dir| compile(crasher, dir))?;
    Ok(BuiltCrasher {
        crasher: *crasher,
        program: dir.join(crasher.name),
        dir,
        args: crasher.args.iter().map(|&arg| arg.to_owned()).collect(),
    })
}

/// Builds all of [`CRASHERS`], two at a time, and gives them in the manifest's order.
///
/// # Errors
/// The first program's that could not be built; the others are built all the same.
pub fn build_all(out_dir: &Path) -> Result<Vec<BuiltCrasher>> {
    in_parallel(CRASHERS, |crasher| build(crasher, out_dir)).into_iter().collect()
}

/// Does `work` on every item with [`JOBS`] threads, and keeps the order.
pub(super) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// The folder `NAME-HASH` below `out_dir`, filled by `fill` if it is not there or not whole.
pub(crate) fn cached(out_dir: &Path, name: &str, key: u64, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    fs::create_dir_all(out_dir).map_err(|error| CrasherError::io("create", out_dir, error))?;
    let out_dir = fs::canonicalize(out_dir).map_err(|error| CrasherError::io("resolve", out_dir, error))?;
    let dir = out_dir.join(format!("{name}-{key:016x}"));
    let complete = dir.join(".complete");
    if complete.exists() {
        return Ok(dir);
    }
    let lock_path = dir.with_extension("lock");
    let lock = File::create(&lock_path).map_err(|error| CrasherError::io("create", &lock_path, error))?;
    lock.lock().map_err(|error| CrasherError::io("lock", &lock_path, error))?;
    // Another process may have built it while this one waited.
    if complete.exists() {
        return Ok(dir);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|error| CrasherError::io("clear", &dir, error))?;
    }
    fs::create_dir(&dir).map_err(|error| CrasherError::io("create", &dir, error))?;
    if let Err(error) = fill(&dir) {
        // A half-built large program would lie there with a gigabyte of libraries.
        let _ = fs::remove_dir_all(&dir);
        return Err(error);
    }
    fs::write(&complete, "").map_err(|error| CrasherError::io("write", &complete, error))?;
    Ok(dir)
}

fn compile(crasher: &Crasher, dir: &Path) -> Result<()> {
    for library in crasher.libraries {
        let mut command = compiler(crasher);
        command.args(["-shared", "-fPIC", &format!("-Wl,-soname,{}", library.file)]);
        command.arg("-o").arg(dir.join(library.file)).arg(library.source);
        run_tool(crasher.name, &mut command)?;
    }
    let mut command = compiler(crasher);
    command.arg("-o").arg(dir.join(crasher.name));
    if crasher.flags.contains(&"-gsplit-dwarf") {
        // When it compiles and links at once, clang 14 leaves the .dwo file in the current folder.
        let object = dir.join(crasher.name).with_extension("o");
        let mut compile = compiler(crasher);
        run_tool(crasher.name, compile.arg("-c").arg("-o").arg(&object).arg(crasher.source))?;
        command.arg(object);
    } else {
        command.arg(crasher.source);
    }
    if !crasher.libraries.is_empty() {
        command.arg(r"-Wl,-rpath,$ORIGIN").arg("-L").arg(dir);
        for library in crasher.libraries.iter().filter(|library| library.linked) {
            command.arg(format!("-l:{}", library.file));
        }
    }
    // Some linkers forget a library that is named before anything needs it.
    command.args(crasher.flags.iter().filter(|flag| flag.starts_with("-l")));
    run_tool(crasher.name, &mut command)?;
    crasher.steps.iter().try_for_each(|step| steps::apply(*step, crasher.name, dir))
}

/// The compiler with the crasher's options, in the folder of the sources, so that debug information has short names.
fn compiler(crasher: &Crasher) -> Command {
    // Distributions differ in what they switch on by default; the programs must not.
    const PLAIN: &[&str] =
        &["-fno-stack-protector", "-U_FORTIFY_SOURCE", "-fcf-protection=none", "-pthread", "-Wl,--build-id=sha1"];
    let mut command = Command::new(crasher.compiler.command());
    command.current_dir(crasher.folder());
    match crasher.compiler {
        Compiler::Cc | Compiler::Clang | Compiler::Cxx => command.args(PLAIN),
        Compiler::Rustc => command.args(["--edition", "2024"]),
    };
    command.args(crasher.flags.iter().filter(|flag| !flag.starts_with("-l")));
    command
}

/// What the compiler says about its version.
pub(crate) fn compiler_version(compiler: Compiler, program: &str) -> Result<String> {
    static KNOWN: Mutex<BTreeMap<&str, String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(version) = known.get(compiler.command()) {
        return Ok(version.clone());
    }
    let mut command = Command::new(compiler.command());
    // rustup picks the toolchain by folder.
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--version");
    let version = run_tool(program, &mut command)?;
    known.insert(compiler.command(), version.clone());
    Ok(version)
}

/// Runs a tool to its end and gives what it printed.
pub(crate) fn run_tool(program: &str, command: &mut Command) -> Result<String> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            CrasherError::MissingTool { program: program.to_owned(), package: package_of(&tool), tool: tool.clone() }
        }
        _ => CrasherError::io("run", Path::new(&tool), error),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = text.lines().rev().take(20).collect();
    Err(CrasherError::ToolFailed {
        program: program.to_owned(),
        command: format!("{command:?}"),
        status: output.status.to_string(),
        output: tail.into_iter().rev().collect::<Vec<_>>().join("\n"),
    })
}

/// The Debian package that has the tool.
fn package_of(tool: &str) -> &'static str {
    match tool {
        "cc" => "gcc libc6-dev",
        "c++" => "g++",
        "clang" => "clang",
        "llvm-dwp" => "llvm",
        "dwz" => "dwz",
        "xz" => "xz-utils",
        "rustc" => "rustc, or better https://rustup.rs",
        _ => "binutils",
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| CrasherError::io("read", path, error))
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|error| CrasherError::io("write", path, error))
}
