//! Where a dump goes: a temporary file in the same folder, renamed when it is whole.
//!
//! *Trap*: making a large file durable (fsync) can take seconds, so it is a step of its own ([`Unfinished::finish`])
//! that is done when the dead process has been let go.

use crate::run::{CaptureError, Captured};
use afterimage_dump::DumpType;
use afterimage_dump::write::WriteError;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Where dumps go and what they hold.
pub(crate) struct Settings {
    pub(crate) dir: PathBuf,
    pub(crate) dump_type: DumpType,
}

/// A dump that is written but neither durable nor named. Dropping it removes it.
pub(crate) struct Unfinished {
    pub(crate) file: tempfile::NamedTempFile,
    pub(crate) dir: PathBuf,
    pub(crate) comm: String,
    pub(crate) pid: u32,
    /// Its path is filled in at the end.
    pub(crate) captured: Captured,
}

/// A new temporary file, readable by its owner only.
pub(crate) fn temporary(dir: &Path) -> Result<tempfile::NamedTempFile, CaptureError> {
    let failed = |source| output_error(dir, source);
    std::fs::create_dir_all(dir).map_err(failed)?;
    tempfile::Builder::new().prefix(".afterimage-").suffix(".part").tempfile_in(dir).map_err(failed)
}

impl Unfinished {
    /// Makes it durable and gives it its name: `<comm>.<pid>.core`, with a number if that exists.
    pub(crate) fn finish(self) -> Result<Captured, CaptureError> {
        let dir = self.dir;
        let failed = |source| output_error(&dir, source);
        self.file.as_file().sync_all().map_err(failed)?;
        let stem = format!("{}.{}", file_name(&self.comm), self.pid);
        let mut file = self.file;
        for n in 0u32.. {
            let name = if n == 0 { format!("{stem}.core") } else { format!("{stem}.{n}.core") };
            let path = dir.join(name);
            match file.persist_noclobber(&path) {
                Ok(_) => {
                    // The name, too, is to outlive a power cut; some file systems cannot, and the dump is there anyway.
                    let _ = File::open(&dir).and_then(|dir| dir.sync_all());
                    return Ok(Captured { path, ..self.captured });
                }
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists && n < 10_000 => file = error.file,
                Err(error) => return Err(failed(error.error)),
            }
        }
        Err(failed(io::Error::from(io::ErrorKind::AlreadyExists)))
    }
}

/// A process's short name as part of a file name: letters, digits, `-`, `_` and inner dots.
pub(crate) fn file_name(comm: &str) -> String {
    let name: String =
        comm.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "process".into() } else { name.into() }
}

/// Whether a disk, a quota or a limit of file sizes is full.
pub(crate) fn no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// A failure of the output, as the caller sees it.
pub(crate) fn output_error(dir: &Path, source: io::Error) -> CaptureError {
    let dir = dir.to_owned();
    if no_room(&source) { CaptureError::NoRoom { dir } } else { CaptureError::Output { dir, source } }
}

/// A failure of the writer, as the caller sees it.
pub(crate) fn write_error(dir: &Path, pid: u32, error: WriteError) -> CaptureError {
    match error {
        WriteError::Output { source, .. } => output_error(dir, source),
        WriteError::Content { .. } => CaptureError::Vanished { pid },
        other => CaptureError::Unsupported { pid, what: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless() {
        assert_eq!(file_name("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(file_name("-rf"), "rf");
        assert_eq!(file_name("Web Content"), "Web_Content");
        assert_eq!(file_name("..."), "process");
        assert_eq!(file_name("a\nb\u{fffd}"), "a_b_");
    }

    #[test]
    fn an_existing_dump_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        for _ in 0..3 {
            let captured = Captured {
                path: PathBuf::new(),
                file_size: 0,
                stored: 0,
                threads: 1,
                took: std::time::Duration::ZERO,
                soft_errors: Vec::new(),
            };
            let file = temporary(dir.path()).unwrap();
            let dump = Unfinished { file, dir: dir.path().into(), comm: "a".into(), pid: 7, captured };
            names.push(dump.finish().unwrap().path.file_name().unwrap().to_owned());
        }
        assert_eq!(names, ["a.7.core", "a.7.1.core", "a.7.2.core"]);
        drop(temporary(dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "temporary files go away");
    }
}
