//! A new file that is there whole or not at all: a temporary name in the same folder, made durable, renamed.
//!
//! *What it is not*: standard output; see [`super::stdout`].
//!
//! *Example*: `let mut new = NewFile::create("write", path, false)?; new.file().write_all(b"…")?; new.finish()?`.
//!
//! *Trap*: a rename replaces whatever has the name. So what is no regular file (a device, a pipe) is refused, force or not.

use crate::failure::{Failure, OUTPUT, PERMISSION, USAGE};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that is being written. Dropping it removes it.
pub struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
    verb: &'static str,
    force: bool,
}

impl NewFile {
    /// Makes a temporary file beside `path`, readable by its owner only.
    pub fn create(verb: &'static str, path: &Path, force: bool) -> Result<Self, Failure> {
        let shown = path.display();
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {
                return Err(Failure::new(USAGE, format!("{verb}: {shown} is a folder")).advise("name a file with -o"));
            }
            Ok(found) if !found.is_file() => {
                return Err(Failure::new(USAGE, format!("{verb}: {shown} is no regular file"))
                    .advise("-o - writes to standard output"));
            }
            Ok(_) if !force => {
                return Err(
                    Failure::new(USAGE, format!("{verb}: {shown} is there already")).advise("--force replaces it")
                );
            }
            _ => {}
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new().prefix(".afterimage-").suffix(".part").tempfile_in(folder);
        let file = file.map_err(|error| failure(verb, path, &error))?;
        Ok(Self { file, path: path.to_owned(), verb, force })
    }

    /// The file, to be written from its start.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Makes it durable and gives it its name.
    pub fn finish(self) -> Result<(), Failure> {
        let Self { file, path, verb, force } = self;
        file.as_file().sync_all().map_err(|error| failure(verb, &path, &error))?;
        let named = if force { file.persist(&path) } else { file.persist_noclobber(&path) };
        named.map_err(|error| failure(verb, &path, &error.error))?;
        // The name, too, is to outlive a power cut; some file systems cannot, and the file is there anyway.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// Whether two paths lead to the same file.
pub fn is_same(a: &Path, b: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).map(|found: std::fs::Metadata| (found.dev(), found.ino())).ok();
    identity(a).is_some_and(|a| identity(b) == Some(a))
}

/// What the system said of the output.
pub fn failure(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let full =
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge);
    let status = if error.kind() == io::ErrorKind::PermissionDenied { PERMISSION } else { OUTPUT };
    let failure = Failure::new(status, format!("{verb}: cannot write {}: {error}", path.display()));
    if full { failure.advise("nothing is left of it; make room or name another folder") } else { failure }
}
