//! What can go wrong while a crashing program is built or run, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

/// The result of everything here.
pub type Result<T> = std::result::Result<T, CrasherError>;

/// Why a program could not be built, run, or did not leave a core.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrasherError {
    /// A tool is not installed.
    #[error("build {program}: the tool {tool} is not installed (on Debian: apt-get install {package})")]
    MissingTool {
        /// What was being built.
        program: String,
        /// The command.
        tool: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A tool ran and failed.
    #[error("build {program}: {command}: {status}: {output}")]
    ToolFailed {
        /// What was being built.
        program: String,
        /// The whole command.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A file operation failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The source has no such marked line, or several.
    #[error("find the line marked {marker} in {}: not exactly one", path.display())]
    Marker {
        /// The source file.
        path: PathBuf,
        /// The marker.
        marker: &'static str,
    },
    /// A built program is not the ELF file that a step needs.
    #[error("{operation} {}: not a 64-bit little-endian elf file with a build-id", path.display())]
    NotElf {
        /// The step.
        operation: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The kernel sends cores elsewhere, and we may not change that.
    #[error(
        "run {program} for a core: the kernel's core_pattern is \"{pattern}\" and cannot be set to \"core\" for the \
         time of the run: {cause} (as root: echo core > /proc/sys/kernel/core_pattern)"
    )]
    CorePattern {
        /// The program.
        program: String,
        /// The pattern that stands.
        pattern: String,
        /// Why it could not be changed.
        cause: String,
    },
    /// The program ended, and there is no core.
    #[error("run {program} for a core: it ended ({ended}) and left no core in {}: {hint}", dir.display())]
    NoCore {
        /// The program.
        program: String,
        /// How it ended.
        ended: String,
        /// Where the core was expected.
        dir: PathBuf,
        /// What may be the reason.
        hint: &'static str,
    },
    /// The program did not end.
    #[error("run {program}: still running after {seconds} s")]
    Hangs {
        /// The program.
        program: String,
        /// The limit.
        seconds: u64,
    },
}

impl CrasherError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), source }
    }
}
