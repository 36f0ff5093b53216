//! Finding and opening the real samples.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::{Budget, Dump, open_source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of real samples, or `None` with a printed line.
pub fn samples() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: the real samples are not beside the repository ({})", path.display());
    None
}

/// A file's bytes, unpacked if it is packed.
pub fn bytes(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if path.extension().is_some_and(|ext| ext == "zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes }
}

/// Opens bytes as a dump.
pub fn open_bytes(name: &Path, bytes: Vec<u8>) -> Dump {
    open_source(name, Arc::new(bytes), &Budget::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Opens a sample.
pub fn open(path: &Path) -> Dump {
    open_bytes(path, bytes(path))
}
