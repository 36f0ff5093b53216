//! What can go wrong with a watch, and with one dump of it.

use crate::run::{CaptureError, NotTaken, RunError};
use std::io;
use std::path::PathBuf;

/// Why a process is not watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The request contradicts itself.
    #[error("{what}")]
    Wrong {
        /// How.
        what: String,
    },
    /// There is no such process.
    #[error("cannot watch {what}: no such process")]
    NoProcess {
        /// Its id or name.
        what: String,
    },
    /// Several processes have the name.
    #[error("cannot watch {name}: {} processes have this name: {}", pids.len(), list(pids))]
    Ambiguous {
        /// The name.
        name: String,
        /// Their ids.
        pids: Vec<i32>,
    },
    /// The system does not let us.
    #[error("cannot watch process {pid}: {what}")]
    NotPermitted {
        /// The process.
        pid: u32,
        /// What is not permitted, and why.
        what: String,
    },
    /// The program for it cannot be started.
    #[error(transparent)]
    Start(#[from] RunError),
    /// A trigger cannot work on this system or for this process.
    #[error("cannot watch for {trigger}: {what}")]
    Trigger {
        /// The trigger's name.
        trigger: &'static str,
        /// Why.
        what: String,
    },
    /// A file that a trigger needs cannot be used.
    #[error("cannot watch {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Signals are handled by another watch or `run` in this process.
    #[error("cannot watch: another program is being watched by this process")]
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

fn list(pids: &[i32]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = pids.iter().take(SHOWN).map(i32::to_string).collect();
    shown.join(", ") + if pids.len() > SHOWN { " …" } else { "" }
}

/// Why one dump was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TakeFailure {
    /// What kind of trouble it was.
    pub kind: FailureKind,
    /// Operation, place and cause.
    pub message: String,
}

/// Kinds of trouble, as exit statuses tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The process may not be read.
    NotPermitted,
    /// The process went away.
    Vanished,
    /// No room, or output failed.
    Output,
    /// Anything else.
    Other,
}

impl From<CaptureError> for TakeFailure {
    fn from(error: CaptureError) -> Self {
        let kind = match &error {
            CaptureError::NotTaken(NotTaken::NotDumpable) => FailureKind::NotPermitted,
            CaptureError::Vanished { .. } => FailureKind::Vanished,
            CaptureError::NoRoom { .. } | CaptureError::Output { .. } => FailureKind::Output,
            _ => FailureKind::Other,
        };
        Self { kind, message: error.to_string() }
    }
}
