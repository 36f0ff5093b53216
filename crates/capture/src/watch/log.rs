//! A line that is appended to a log file and matches.
//!
//! *What it is not*: lines that were there before are not looked at, and neither are files that are no regular files.
//!
//! *Example*: `logrotate` renames `app.log` and makes a new one: the old one is read to its end, then the new one from
//! its beginning.
//!
//! *Trap*: a line counts when its newline is there; a program that writes half a line has not said it yet.

use super::WatchError;
use super::detector::{Detector, Reading};
use super::sample::Sample;
use regex_lite::Regex;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Bytes that are read at one look; the rest comes with the next.
const AT_ONCE: u64 = 4 << 20;
/// Of a longer line only so much is looked at.
const LONGEST_LINE: usize = 64 << 10;
/// Of a line so much is shown.
const SHOWN: usize = 200;

pub(super) struct Log {
    path: PathBuf,
    pattern: Regex,
    open: Option<Open>,
    /// The first line that matched and has not fired.
    matched: Option<String>,
}

struct Open {
    file: File,
    id: (u64, u64),
    at: u64,
    /// The beginning of a line whose end has not been written.
    partial: Vec<u8>,
}

impl Log {
    pub(super) fn new(path: &Path, pattern: &str) -> Result<Self, WatchError> {
        let wrong = |error: regex_lite::Error| WatchError::Wrong {
            what: format!("log: `{pattern}` is no regular expression: {error}"),
        };
        let pattern = Regex::new(pattern).map_err(wrong)?;
        let failed = |source| WatchError::File { path: path.to_owned(), source };
        let open = match Open::new(path) {
            Ok(mut open) => {
                open.at = open.file.seek(SeekFrom::End(0)).map_err(failed)?;
                Some(open)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path: path.to_owned(), pattern, open, matched: None })
    }

    fn look(&mut self) {
        let (pattern, matched) = (&self.pattern, &mut self.matched);
        let mut line = |line: &[u8]| {
            if matched.is_none() {
                let line = String::from_utf8_lossy(line);
                if pattern.is_match(&line) {
                    *matched = Some(line.into_owned());
                }
            }
        };
        if let Some(open) = &mut self.open {
            // What fails now may work at the next look.
            let done = open.read(&mut line).unwrap_or(true);
            let same = std::fs::metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == open.id);
            if same || !done {
                return;
            }
        }
        // A new file, or the first one: all of it has been appended since we looked.
        if let Ok(mut new) = Open::new(&self.path) {
            let _ = new.read(&mut line);
            self.open = Some(new);
        }
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        // A named pipe would keep us waiting in `open`.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self { file, id: (metadata.dev(), metadata.ino()), at: 0, partial: Vec::new() })
    }

    /// Reads what is new; gives whether that was all.
    fn read(&mut self, line: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let len = self.file.metadata()?.len();
        if len < self.at {
            // It has been cut: what stands there now is new.
            self.at = 0;
            self.partial.clear();
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut text = Vec::new();
        let read = Read::by_ref(&mut self.file).take(AT_ONCE).read_to_end(&mut text)? as u64;
        self.at += read;
        for part in text.split_inclusive(|&byte| byte == b'\n') {
            let (part, ended) = part.strip_suffix(b"\n").map_or((part, false), |part| (part, true));
            let room = LONGEST_LINE.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(part.get(..room).unwrap_or(part));
            if ended {
                line(self.partial.strip_suffix(b"\r").unwrap_or(&self.partial));
                self.partial.clear();
            }
        }
        Ok(read < AT_ONCE)
    }
}

impl Detector for Log {
    fn sampled(&mut self, _sample: &Sample, _now: Instant) {
        self.look();
    }

    fn check(&mut self, _now: Instant) -> Option<Reading> {
        let line = self.matched.as_ref()?;
        let mut value: String = line.chars().take(SHOWN).collect();
        if value.len() < line.len() {
            value.push('…');
        }
        let words = format!("{} says: {value}", self.path.display());
        Some(Reading { value, threshold: self.pattern.to_string(), words })
    }

    fn fired(&mut self, _now: Instant) {
        self.matched = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn append(path: &Path, text: &str) {
        std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn matched(log: &mut Log) -> Option<String> {
        log.look();
        log.matched.take()
    }

    #[test]
    fn only_whole_new_lines_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, "old error\n");
        let mut log = Log::new(&path, "err(or)?").unwrap();
        assert_eq!(matched(&mut log), None);
        append(&path, "an err");
        assert_eq!(matched(&mut log), None);
        append(&path, "or here\r\nall is well\n");
        assert_eq!(matched(&mut log).as_deref(), Some("an error here"));
        assert_eq!(matched(&mut log), None);
    }

    #[test]
    fn rotation_and_cutting_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::new(&path, "^error [0-9]$").unwrap();
        assert_eq!(matched(&mut log), None, "it need not exist");
        append(&path, "error 1\n");
        assert_eq!(matched(&mut log).as_deref(), Some("error 1"));
        append(&path, "error 2\n");
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        append(&path, "error 3\n");
        assert_eq!(matched(&mut log).as_deref(), Some("error 2"), "the last words of the old file");
        assert_eq!(matched(&mut log), None);
        append(&path, "error 4\n");
        assert_eq!(matched(&mut log).as_deref(), Some("error 4"));
        std::fs::write(&path, "error 5\n").unwrap();
        assert_eq!(matched(&mut log).as_deref(), Some("error 5"), "cut and written anew");
    }

    #[test]
    fn a_pipe_is_no_log() {
        assert!(Log::new(Path::new("/dev/null"), "x").is_err());
    }

    #[test]
    fn a_very_long_line_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, "");
        let mut log = Log::new(&path, "end$").unwrap();
        append(&path, &("x".repeat(9 << 20) + "end\nthe end\n"));
        let mut found = None;
        for _ in 0..4 {
            found = found.or(matched(&mut log));
        }
        assert_eq!(found.as_deref(), Some("the end"));
    }
}
