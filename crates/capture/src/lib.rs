//! Takes memory dumps of processes without harming them.
//!
//! *What it is*: [`run()`] starts a program under watch and writes a dump at the very moment at which a signal kills it.
//! *What it is not*: it knows no symbols and explains nothing; it works when things are broken.
//!
//! ```no_run
//! use afterimage_capture::{DumpType, RunOptions, run};
//! let options =
//!     RunOptions { command: vec!["./a.out".into()], output_dir: "dumps".into(), dump_type: DumpType::Active };
//! let ended = run(&options, &mut |death| {
//!     if let Ok(dump) = &death.dump {
//!         println!("{} died; its dump is {}", death.comm, dump.path.display());
//!     }
//! })?;
//! std::process::exit(ended.status());
//! # #[allow(unreachable_code)]
//! # Ok::<(), afterimage_capture::RunError>(())
//! ```
//!
//! *Trap*: only one `run` at a time in a process, because signals belong to the whole process ([`RunError::Busy`]).

mod elf;
mod facts;
mod live;
mod memory;
mod oom;
mod output;
mod picture;
mod plan;
mod procfs;
mod regs;
mod relay;
mod run;
mod select;
mod siginfo;
mod snapshot;
mod sys;
mod touched;
mod tracer;

/// Makes writes past the limit of file sizes (RLIMIT_FSIZE) fail instead of ending this process by SIGXFSZ.
///
/// For a program to call at its start, before it writes dumps: signals belong to the whole process.
pub fn survive_file_size_limit() {
    sys::ignore_file_size_signal();
}

pub use afterimage_dump::{DumpType, SignalInfo};
pub use live::{
    CaptureOptions, Container, Destination, Group, How, LiveDump, LiveError, Progress, capture, capture_group,
    processes_named,
};
pub use run::{CaptureError, Captured, Death, Ended, NotTaken, OutOfMemory, RunError, RunOptions, run};
