//! Programs that live while a picture of them is taken, and know whether it harmed them or is true.
//!
//! It builds and starts them ([`Live`]), compares what can be seen of a process before and after ([`State`]), and reads
//! ELF cores with a small reader of its own ([`Core`]) to judge them ([`one_instant`], [`zoo_faults`]). It takes no
//! dumps, and shares no code with what does.
//!
//! ```no_run
//! use afterimage_testkit::live::{Live, Program};
//! # fn main() -> anyhow::Result<()> {
//! let mut busy = Live::start(Program::Busy, &["--seccomp", "errno"])?;
//! println!("take a picture of {} now", busy.pid());
//! let verdict = busy.ask("check")?;
//! assert!(verdict["harm"].as_object().is_some_and(|harm| harm.is_empty()));
//! # Ok(())
//! # }
//! ```
//!
//! Trap: a program dies with the thread that started it (see `live.h`), so keep that thread.

mod build;
mod core;
mod generation;
mod process;
mod state;
#[cfg(test)]
mod tests;
mod zoo;

pub use self::build::{Program, program};
pub use self::core::{Core, Load, Note, Thread};
pub use self::generation::{Picture, one_instant};
pub use self::process::Live;
pub use self::state::{State, field, kin};
pub use self::zoo::{marks, zoo_faults};
