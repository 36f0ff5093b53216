//! Where unpacked bytes go: memory while they are few, then an unlinked temporary file with holes for zeros.
//!
//! *Trap*: `/tmp` is often memory itself (tmpfs). Unless `TMPDIR` says otherwise, `/var/tmp` comes first.

use crate::source::{FileSource, SharedSource, Source};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What stays in memory.
const IN_MEMORY: usize = 32 << 20;
/// Granularity of holes.
const PAGE: usize = 4096;
static ZEROS: [u8; PAGE] = [0; PAGE];

/// The growing unpacked content.
pub(super) struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    len: u64,
    folders: Vec<PathBuf>,
}

impl Spool {
    /// An empty spool; the folder of `path` is the last resort for its file.
    pub(super) fn new(path: &Path) -> Self {
        let mut folders = Vec::new();
        match std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => folders.push(PathBuf::from(dir)),
            None => folders.extend(["/var/tmp", "/tmp"].map(PathBuf::from)),
        }
        folders
            .extend(path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir }.to_owned()));
        Self { memory: Vec::new(), file: None, len: 0, folders }
    }

    /// The temporary file, once there is one.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() > IN_MEMORY {
            let file = self.create()?;
            write_sparse(&file, 0, &self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &self.file {
            None => self.memory.extend_from_slice(bytes),
            Some(file) => write_sparse(file, self.len, bytes)?,
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn create(&self) -> io::Result<File> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for folder in &self.folders {
            match tempfile::tempfile_in(folder) {
                Ok(file) => return Ok(file),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// The whole content as a source.
    pub(super) fn finish(self) -> io::Result<SharedSource> {
        Ok(match self.file {
            None => Arc::new(self.memory),
            Some(file) => {
                // A hole at the end has not made the file longer yet.
                file.set_len(self.len)?;
                Arc::new(FileSource::new(file)?)
            }
        })
    }
}

/// Writes the pages that are not zero.
fn write_sparse(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut run: Option<usize> = None;
    let mut done = 0;
    for page in bytes.chunks(PAGE) {
        let zero = ZEROS.get(..page.len()).is_some_and(|zeros| zeros == page);
        match (run, zero) {
            (None, false) => run = Some(done),
            (Some(start), true) => {
                file.write_all_at(bytes.get(start..done).unwrap_or_default(), at + start as u64)?;
                run = None;
            }
            _ => {}
        }
        done += page.len();
    }
    match run {
        Some(start) => file.write_all_at(bytes.get(start..).unwrap_or_default(), at + start as u64),
        None => Ok(()),
    }
}

impl Source for Spool {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let Some(file) = &self.file else {
            return self.memory.read_at(at, buf);
        };
        let want = (buf.len() as u64).min(self.len.saturating_sub(at)) as usize;
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..want).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, at + done as u64)? {
                0 => {
                    // A hole at the end that the file does not have yet.
                    rest.fill(0);
                    return Ok(want);
                }
                n => done += n,
            }
        }
        Ok(done)
    }
}
