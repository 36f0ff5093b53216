//! Where a captured dump goes: a file that has no name until it is whole, or standard output.
//!
//! *What it is*: an unnamed file in the folder of the dump (O_TMPFILE), readable by its owner only, that is made durable
//! and then given its name. If we are killed, or the disk is full, nothing remains.
//!
//! *Trap*: some file systems have no unnamed files; there it is a hidden `.part` file, and that may remain.

use super::LiveError;
use crate::output;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Where a dump shall go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Destination {
    /// A folder, in which it is called `<name>.<pid>.core` (`.dmp` for a minidump, `.zst` behind it when packed).
    Folder(PathBuf),
    /// This file.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether an existing file is replaced.
        replace: bool,
    },
    /// Standard output.
    Stdout,
}

/// A dump on its way.
pub(super) struct Part {
    pub(super) file: File,
    /// The name of a file that has one.
    hidden: Option<tempfile::TempPath>,
    pub(super) folder: PathBuf,
    name: Name,
}

enum Name {
    Stem { stem: String, extension: &'static str },
    Path { path: PathBuf, replace: bool },
}

impl Part {
    /// Opens it; `None` for standard output.
    pub(super) fn open(
        destination: &Destination,
        comm: &str,
        pid: i32,
        extension: &'static str,
    ) -> Result<Option<Self>, LiveError> {
        let (folder, name) = match destination {
            Destination::Stdout => return Ok(None),
            Destination::Folder(folder) => {
                (folder.clone(), Name::Stem { stem: format!("{}.{pid}", output::file_name(comm)), extension })
            }
            Destination::File { path, replace } => {
                // What a link leads to is meant, not the link.
                let path = &path.canonicalize().unwrap_or_else(|_| path.clone());
                match path.metadata() {
                    Ok(found) if !found.is_file() => return Err(LiveError::NotAFile { path: path.clone() }),
                    Ok(_) if !replace => return Err(LiveError::Exists { path: path.clone() }),
                    _ => {}
                }
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                (parent.unwrap_or(Path::new(".")).to_owned(), Name::Path { path: path.clone(), replace: *replace })
            }
        };
        let failed = |source| LiveError::output(&folder, source);
        if matches!(destination, Destination::Folder(_)) {
            std::fs::create_dir_all(&folder).map_err(failed)?;
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let (file, hidden) = match rustix::fs::open(&folder, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => (File::from(file), None),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
                let named = tempfile::Builder::new().prefix(".afterimage-").suffix(".part").tempfile_in(&folder);
                let (file, path) = named.map_err(failed)?.into_parts();
                (file, Some(path))
            }
            Err(error) => return Err(failed(error.into())),
        };
        Ok(Some(Self { file, hidden, folder, name }))
    }

    /// Makes it durable and gives it its name.
    pub(super) fn finish(mut self) -> Result<PathBuf, LiveError> {
        let failed = |source| LiveError::output(&self.folder, source);
        self.file.flush().and_then(|()| self.file.sync_all()).map_err(failed)?;
        let path = match &self.name {
            Name::Path { path, replace: false } => {
                self.link(path).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => LiveError::Exists { path: path.clone() },
                    _ => failed(error),
                })?;
                path.clone()
            }
            Name::Path { path, replace: true } => {
                // A link cannot replace, a rename can.
                let aside = (0..100u32).find_map(|n| {
                    let aside = self.folder.join(format!(".afterimage-{}-{n}.part", std::process::id()));
                    self.link(&aside).is_ok().then_some(aside)
                });
                let aside = aside.ok_or_else(|| failed(io::ErrorKind::AlreadyExists.into()))?;
                std::fs::rename(&aside, path).map_err(failed)?;
                path.clone()
            }
            Name::Stem { stem, extension } => {
                let mut n = 0u32;
                loop {
                    let number = if n == 0 { String::new() } else { format!(".{n}") };
                    let path = self.folder.join(format!("{stem}{number}.{extension}"));
                    match self.link(&path) {
                        Ok(()) => break path,
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < 10_000 => n += 1,
                        Err(error) => return Err(failed(error)),
                    }
                }
            }
        };
        // A hidden name is not needed any more; the name, too, is to outlive a power cut, where the file system can.
        self.hidden.take();
        let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
        Ok(path)
    }

    /// Gives it one more name.
    fn link(&self, path: &Path) -> io::Result<()> {
        let result = match &self.hidden {
            Some(hidden) => rustix::fs::linkat(CWD, &**hidden, CWD, path, AtFlags::empty()),
            None => {
                let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)
            }
        };
        Ok(result?)
    }
}
