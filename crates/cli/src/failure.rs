//! One clear line for every failure, and the exit status that scripts rely on.

use std::fmt;

/// Wrong use.
pub const USAGE: u8 = 2;
/// The input cannot be read or is no dump.
pub const INPUT: u8 = 3;
/// Not permitted.
pub const PERMISSION: u8 = 4;
/// The target vanished or changed.
pub const VANISHED: u8 = 5;
/// No room, or output failed.
pub const OUTPUT: u8 = 6;

/// A failure that ends the program.
#[derive(Debug)]
pub struct Failure {
    /// Exit status.
    pub status: u8,
    /// Operation, place and cause.
    pub what: String,
    /// What to do next.
    pub advice: Option<String>,
    closed_pipe: bool,
}

impl Failure {
    /// A failure with this exit status.
    pub fn new(status: u8, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), advice: None, closed_pipe: false }
    }

    /// Adds what to do next.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Output that failed. A reader that has gone away (`| head`) is no failure of ours.
    pub fn output(error: &std::io::Error) -> Self {
        let mut failure = Self::new(OUTPUT, format!("write output: {error}"));
        failure.closed_pipe = error.kind() == std::io::ErrorKind::BrokenPipe;
        failure
    }

    /// Whether the reader of our output has gone away.
    pub fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }

    /// A dump that cannot be opened.
    pub fn open(error: &afterimage_dump::Error) -> Self {
        let status = match error {
            afterimage_dump::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                PERMISSION
            }
            _ => INPUT,
        };
        let failure = Self::new(status, error.to_string());
        match error {
            afterimage_dump::Error::Unknown { .. } => {
                failure.advise("cores, minidumps, Windows crash dumps, kdumps, memory images and crash reports can be read, also packed")
            }
            _ => failure,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::output(&error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A hostile file's name must not steer the terminal.
        let clean = |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
        f.write_str(&clean(&self.what))?;
        match &self.advice {
            Some(advice) => write!(f, " ({})", clean(advice)),
            None => Ok(()),
        }
    }
}
