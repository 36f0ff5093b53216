//! A new file that is there whole or not at all: a temporary name in the same folder, made durable, renamed.
//!
//! *What it is not*: standard output; see [`super::stdout`].
//!
//! *Example*: `let mut new = NewFile::create("write", path, false)?; new.file().write_all(b"…")?; new.finish()?`.
//!
//! *Trap*: a rename replaces whatever has the name. So what is no regular file (a device, a pipe) is refused, force or not.

use crate::failure::{Failure, OUTPUT, PERMISSION, USAGE};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// A file that is being written. Dropping it removes it.
pub struct NewFile {
    file: File,
    /// Its name while it has no other, on file systems that cannot do without: it goes with this value. Elsewhere the file
    /// has none, and even a killed process leaves nothing behind.
    hidden: Option<TempPath>,
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
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let (file, hidden) = match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => (File::from(file), None),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let named = tempfile::Builder::new().prefix(".afterimage-").suffix(".part").tempfile_in(folder);
                let (file, hidden) = named.map_err(|error| failure(verb, path, &error))?.into_parts();
                (file, Some(hidden))
            }
            Err(error) => return Err(failure(verb, path, &error.into())),
        };
        Ok(Self { file, hidden, path: path.to_owned(), verb, force })
    }

    /// The file, to be written from its start.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable and gives it its name.
    pub fn finish(self) -> Result<(), Failure> {
        let Self { file, hidden, path, verb, force } = self;
        let failed = |error: &io::Error| failure(verb, &path, error);
        file.sync_all().map_err(|error| failed(&error))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if force {
            // A link cannot replace, a rename can.
            let aside = (0..100u32).find_map(|n| {
                let aside = folder.join(format!(".afterimage-{}-{n}.part", std::process::id()));
                link(&file, hidden.as_deref(), &aside).is_ok().then_some(aside)
            });
            let aside = aside.ok_or_else(|| failed(&io::ErrorKind::AlreadyExists.into()))?;
            std::fs::rename(&aside, &path).map_err(|error| {
                let _ = std::fs::remove_file(&aside);
                failed(&error)
            })?;
        } else {
            link(&file, hidden.as_deref(), &path).map_err(|error| failed(&error))?;
        }
        drop(hidden);
        // The name, too, is to outlive a power cut; some file systems cannot, and the file is there anyway.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// Gives a file one more name.
fn link(file: &File, hidden: Option<&Path>, path: &Path) -> io::Result<()> {
    let result = match hidden {
        Some(hidden) => rustix::fs::linkat(CWD, hidden, CWD, path, AtFlags::empty()),
        None => {
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)
        }
    };
    Ok(result?)
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
