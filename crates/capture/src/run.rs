//! `run`: starts a program under watch and takes a dump whenever it, or a child or thread of it, dies of a signal.
//!
//! *What it is*: the types that a caller sees, and the thread that hands deaths over. The watching itself is in
//! [`crate::tracer`], which owns a thread of its own: ptrace binds tracees to the thread that took them, and a slow
//! explanation of one death must not hold up the other processes.
//!
//! ```no_run
//! use afterimage_capture::{DumpType, Ended, RunOptions, run};
//! let options = RunOptions {
//!     command: vec!["./server".into(), "--port=80".into()],
//!     output_dir: ".".into(),
//!     dump_type: DumpType::Active,
//! };
//! let ended = run(&options, &mut |death| eprintln!("{} died of signal {}", death.comm, death.signal))?;
//! assert_eq!(ended, Ended::Exited(0));
//! # Ok::<(), afterimage_capture::RunError>(())
//! ```
//!
//! *Trap*: under ptrace the kernel ignores the set-user-id bit of programs that the watched one executes (unless the
//! watcher has CAP_SYS_PTRACE), and a watched program cannot be traced by a second debugger (`strace`, `gdb` as a child).
//!
//! # What the program notices
//! Nothing but its parent's process id. Streams, terminal, process group, working directory, environment, limits,
//! signal dispositions and mask are what the caller of `run` was given. Signals sent to the watcher reach the program
//! as if they had been sent to it. If the watcher is killed the program goes on unwatched: a tool that looks at
//! production must not be able to end it, so `PTRACE_O_EXITKILL` is not set.
//!
//! When the program has ended, `run` returns: children that live on are let go, running and unwatched.

use crate::relay::Relay;
use crate::{output, tracer};
use afterimage_dump::{DumpType, SignalInfo};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// What to run, and what to do when it dies.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Program and arguments; the program is looked for in `PATH` as a shell does.
    pub command: Vec<OsString>,
    /// Where dumps go; made when the first one is written.
    pub output_dir: PathBuf,
    /// How much of the process a dump holds.
    pub dump_type: DumpType,
}

/// How the started program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

impl Ended {
    /// The status that a shell would report: the program's own, or 128 + signal.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

/// The death of a process by a signal.
#[derive(Debug)]
pub struct Death {
    /// Process id.
    pub pid: u32,
    /// The thread that the signal killed the process in; equal to `pid` where that is not known.
    pub tid: u32,
    /// The short name that the kernel keeps.
    pub comm: String,
    /// The signal.
    pub signal: i32,
    /// What the kernel said about the signal; it says nothing for SIGKILL.
    pub info: Option<SignalInfo>,
    /// The dump, or why there is none.
    pub dump: Result<Captured, CaptureError>,
    /// Whether it is the program itself, not a child of it.
    pub main: bool,
}

/// A dump that has been written.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes, holes included.
    pub file_size: u64,
    /// Bytes of memory in it that are not holes.
    pub stored: u64,
    /// Threads in it.
    pub threads: usize,
    /// How long the process was held for it.
    pub took: Duration,
    /// What could not be read; also in the dump itself.
    pub soft_errors: Vec<String>,
}

/// Why a death has no dump although that is no failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// SIGKILL leaves no moment in which the process could be looked at.
    #[error("SIGKILL leaves no moment to take a dump{}", oom_words(*oom))]
    Killed {
        /// Whether the kernel's out-of-memory killer did it.
        oom: OutOfMemory,
    },
    /// Ctrl-C at the terminal, or the terminal went away: the person who did it knows why.
    #[error("the terminal sent {0}")]
    Terminal(&'static str),
    /// It sent SIGINT to itself, as programs do when they have tidied up after Ctrl-C.
    #[error("it ended itself with SIGINT, as programs do after Ctrl-C")]
    OwnInterrupt,
    /// SIGPIPE: the reader of its output went away, as `head` does.
    #[error("SIGPIPE only says that the reader of its output went away")]
    BrokenPipe,
    /// The process asked the kernel for no dumps (`PR_SET_DUMPABLE` 0), or its owner may not read it.
    #[error("the process may not be read: it is marked as not dumpable")]
    NotDumpable,
    /// The signal killed it without a stop that a tracer sees.
    #[error("the kernel ended the process without a moment to take a dump")]
    Unseen,
}

/// Whether the kernel's out-of-memory killer ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutOfMemory {
    /// Its control group counted a new OOM kill while the program ran.
    CgroupCounted,
    /// The whole machine counted a new OOM kill while the program ran; it may have been another process.
    MachineCounted,
    /// No new OOM kill was counted.
    No,
    /// The counters cannot be read.
    Unknown,
}

fn oom_words(oom: OutOfMemory) -> &'static str {
    match oom {
        OutOfMemory::CgroupCounted => "; its control group counted an out-of-memory kill",
        OutOfMemory::MachineCounted => "; the machine counted an out-of-memory kill meanwhile",
        OutOfMemory::No | OutOfMemory::Unknown => "",
    }
}

/// Why a death has no dump.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// On purpose, or because nobody could.
    #[error("no dump taken: {0}")]
    NotTaken(#[from] NotTaken),
    /// The disk is full, or a quota is reached. What had been written is removed.
    #[error("cannot write a dump into {dir}: no room", dir = dir.display())]
    NoRoom {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder cannot be written to.
    #[error("cannot write a dump into {dir}: {source}", dir = dir.display())]
    Output {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process went away while it was being read.
    #[error("cannot read process {pid}: it went away meanwhile")]
    Vanished {
        /// Process id.
        pid: u32,
    },
    /// The process cannot be read.
    #[error("cannot read process {pid}: {what}: {source}")]
    Read {
        /// Process id.
        pid: u32,
        /// Which part.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The container cannot hold it.
    #[error("cannot write a dump of process {pid}: {what}")]
    Unsupported {
        /// Process id.
        pid: u32,
        /// What cannot be done.
        what: String,
    },
}

/// Why the program could not be started or watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The command is empty.
    #[error("cannot run: no command given")]
    NoCommand,
    /// A part of the command has a NUL byte.
    #[error("cannot run {program}: an argument holds a NUL byte", program = program.display())]
    Nul {
        /// The program.
        program: PathBuf,
    },
    /// There is no such program.
    #[error("cannot run {program}: not found", program = program.display())]
    NotFound {
        /// The program.
        program: PathBuf,
    },
    /// There is such a file, but it cannot be executed.
    #[error("cannot run {program}: {source}", program = program.display())]
    NotExecutable {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not let us watch our own child.
    #[error("cannot watch the program: {source} (ptrace may be forbidden here by Yama or a container's seccomp rules)")]
    NotPermitted {
        /// What the system said.
        source: io::Error,
    },
    /// Another `run` is under way in this process.
    #[error("cannot run: another program is being watched by this process")]
    Busy,
    /// A system call failed that should not.
    #[error("cannot {what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl RunError {
    /// The exit status that shells use: 127 not found, 126 cannot be executed, 125 for our own troubles.
    #[must_use]
    pub fn status(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            _ => 125,
        }
    }
}

/// Runs the command until it ends, and calls `on_death` for every process of it that a signal killed.
///
/// `on_death` runs on the calling thread while the rest goes on; all calls are done when `run` returns.
///
/// # Errors
/// When the program cannot be started or watched. A dump that fails is no error here but part of [`Death`].
pub fn run(options: &RunOptions, on_death: &mut dyn FnMut(&Death)) -> Result<Ended, RunError> {
    let command = tracer::Command::new(&options.command)?;
    let relay = Relay::install()?;
    let (deaths, incoming) = mpsc::channel();
    std::thread::scope(|scope| {
        let relay = &relay;
        let settings = output::Settings { dir: options.output_dir.clone(), dump_type: options.dump_type };
        let tracer = std::thread::Builder::new()
            .name("tracer".into())
            .spawn_scoped(scope, move || tracer::supervise(&command, &settings, relay, &deaths))
            .map_err(|source| RunError::System { what: "start a thread", source })?;
        // The channel closes when the tracer ends.
        for death in incoming {
            on_death(&death.finish());
        }
        tracer.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    })
}
