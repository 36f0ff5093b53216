//! Files as bytes: mapped, so that a gigabyte of debug information costs only the pages that are looked at.
//!
//! *What it is not*: dumps are never mapped (see `afterimage_dump::source`); only programs, libraries and debug files.
//!
//! *Trap*: the one promise that this module cannot keep alone is that nobody cuts the file off while it is mapped. A
//! reader would then die of SIGBUS. Package managers and linkers replace such files by renaming, which is harmless:
//! the mapping keeps the old file. Whoever truncates a library in place also kills every process that runs it.

use afterimage_symbols::Blob;
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A mapped file as shared bytes.
struct Mapped(Mmap);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Maps a regular file; `None` for anything else, for an empty file, and where the system refuses.
pub(crate) fn open(path: &Path) -> Option<Blob> {
    // Asked before opening: opening a FIFO would wait for a writer.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    of_file(&File::open(path).ok()?)
}

/// Maps an open regular file, which may have lost its name since.
pub(crate) fn of_file(file: &File) -> Option<Blob> {
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return None;
    }
    // SAFETY: the mapping is private and read-only. Its bytes stay readable as long as nobody cuts the file off below
    // its present length; the module's introduction says what happens otherwise, and why that is accepted. Bytes that
    // another process changes meanwhile are only ever data for checked parsers.
    let map = unsafe { Mmap::map(file) }.ok()?;
    Some(Arc::new(Mapped(map)))
}

/// The bytes of a blob.
pub(crate) fn bytes(blob: &Blob) -> &[u8] {
    blob.as_ref().as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_with_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(open(&file).is_none());
        std::fs::write(&file, b"abc").unwrap();
        let blob = open(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(bytes(&blob), b"abc");
        assert!(open(folder.path()).is_none());
        assert!(open(Path::new("/dev/zero")).is_none());
        assert!(open(&folder.path().join("nothing")).is_none());
    }
}
