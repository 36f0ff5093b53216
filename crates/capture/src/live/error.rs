//! Why a running process could not be captured.

use super::How;
use crate::output;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// Nobody has this id.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The id.
        pid: i32,
    },
    /// This very process.
    #[error("this is the capturing process itself")]
    Own,
    /// A thread of the kernel.
    #[error("process {pid} ({name}) is a thread of the kernel and has no memory of its own")]
    KernelThread {
        /// Process id.
        pid: i32,
        /// Its short name.
        name: String,
    },
    /// It has ended, and only its exit status is left.
    #[error(
        "process {pid} has ended (a zombie): its memory is gone, and its parent {parent} has not taken its exit status"
    )]
    Zombie {
        /// Process id.
        pid: i32,
        /// Its parent.
        parent: u32,
    },
    /// There is no such group of processes.
    #[error("no processes to capture in {}: {why}", path.display())]
    NoGroup {
        /// The group.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Several dumps go into a folder.
    #[error("dumps of several processes need a folder to go into")]
    NeedsFolder,
    /// Another tracer has it.
    #[error("process {pid} is traced by process {tracer} ({name}) already, and there can be one tracer only")]
    Traced {
        /// Process id.
        pid: i32,
        /// Who traces it.
        tracer: u32,
        /// That process's short name.
        name: String,
    },
    /// The system does not allow it.
    #[error("process {pid} may not be looked into: {why}")]
    NotPermitted {
        /// Process id.
        pid: i32,
        /// What is missing.
        why: String,
    },
    /// It ended meanwhile.
    #[error("process {pid} ended while it was captured")]
    Vanished {
        /// Process id.
        pid: i32,
    },
    /// It lives, but not as it was.
    #[error("process {pid} began another program while it was captured, or its copy was ended for want of memory")]
    Changed {
        /// Process id.
        pid: i32,
    },
    /// It is of a kind that is not known.
    #[error("process {pid} cannot be captured: {what}")]
    Unsupported {
        /// Process id.
        pid: i32,
        /// Why not.
        what: String,
    },
    /// The way that was asked for cannot be gone.
    #[error("process {pid} cannot be captured by {}: {why}", how.name())]
    Unavailable {
        /// Process id.
        pid: i32,
        /// The way.
        how: How,
        /// Why not.
        why: String,
    },
    /// No way is fast enough.
    #[error("process {pid} would stand for some {predicted:.1?} by {}, longer than allowed", how.name())]
    TooSlow {
        /// Process id.
        pid: i32,
        /// The fastest way.
        how: How,
        /// The shortest pause that is to be expected.
        predicted: std::time::Duration,
    },
    /// The output file exists.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The output is a device, a pipe or a folder.
    #[error("{} is no regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// The dump does not fit the size that was asked for.
    #[error("a dump with all registers and stacks needs at least {least} bytes")]
    TooSmall {
        /// Bytes.
        least: u64,
    },
    /// The disk is full, or a quota is reached.
    #[error("no room for the dump in {}", place.display())]
    NoRoom {
        /// The folder.
        place: PathBuf,
    },
    /// The output cannot be written.
    #[error("cannot write the dump into {}: {source}", place.display())]
    Output {
        /// The folder.
        place: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A system call failed that should not.
    #[error("cannot {what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LiveError {
    /// A failure of the output.
    pub(super) fn output(place: &Path, source: io::Error) -> Self {
        let place = place.to_owned();
        if output::no_room(&source) { Self::NoRoom { place } } else { Self::Output { place, source } }
    }
}
