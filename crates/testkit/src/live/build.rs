//! Compiles the living programs, once for the same sources, into the cache that the crashing programs use.

use super::super::crashers::{Compiler, CrasherError, Result, cached, compiler_version, default_dir, read, run_tool};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Optimised a little, as programs in production are, but with every call in its place.
const FLAGS: &[&str] = &[
    "-g",
    "-O1",
    "-pthread",
    "-fno-optimize-sibling-calls",
    "-fno-omit-frame-pointer",
    "-fno-stack-protector",
    "-U_FORTIFY_SOURCE",
    "-Wl,--build-id=sha1",
];

/// A living program; `programs/live` says what each does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Does everything that could be disturbed, and counts its disturbances.
    Busy,
    /// Stamps generations through its memory.
    Generation,
    /// Feels pauses.
    Ticker,
    /// Has every kind of mapping.
    Zoo,
    /// Stands still in many kinds of calls.
    Still,
    /// A parent and a child that watch each other.
    Pair,
}

impl Program {
    /// The name of its source and its executable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Generation => "generation",
            Self::Ticker => "ticker",
            Self::Zoo => "zoo",
            Self::Still => "still",
            Self::Pair => "pair",
        }
    }
}

/// The executable of a program, built if need be.
///
/// # Errors
/// If a tool is missing or fails, or a file cannot be written.
pub fn program(program: Program) -> Result<PathBuf> {
    let name = program.name();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/live");
    let mut key = DefaultHasher::new();
    FLAGS.hash(&mut key);
    compiler_version(Compiler::Cc, name)?.hash(&mut key);
    let entries = std::fs::read_dir(&sources).map_err(|error| CrasherError::io("read", &sources, error))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    // A header may be anyone's; the programs build in a second, so all of them count.
    files.retain(|file| file.extension().is_some_and(|end| end == "h") || file.ends_with(format!("{name}.c")));
    for file in &files {
        read(file)?.hash(&mut key);
    }
    let dir = cached(&default_dir(), &format!("live-{name}"), key.finish(), |dir| {
        let mut compile = Command::new(Compiler::Cc.command());
        compile.args(FLAGS).arg("-o").arg(dir.join(name)).arg(format!("{name}.c")).current_dir(&sources);
        run_tool(name, &mut compile).map(drop)
    })?;
    Ok(dir.join(name))
}
