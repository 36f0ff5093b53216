//! What symbols may ask for while they are being looked up, and the bytes they come as.
//!
//! Not here: where files are found. This crate does no I/O; a driver answers.
//!
//! ```
//! use afterimage_symbols::{Files, NoFiles};
//! assert!(NoFiles.package().is_none());
//! ```
//!
//! Trap: the driver is asked in the middle of a lookup and from several threads; it should answer from what it already has.

use std::sync::Arc;

/// Shared bytes of a file: a mapped file, a vector.
pub type Blob = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Further files that the debug information of a module refers to.
pub trait Files: Send + Sync {
    /// A `.dwo` file, by the names in the skeleton unit. A `.dwp` package that holds the unit may be given instead.
    fn split_dwarf(&self, comp_dir: Option<&str>, name: &str, dwo_id: u64) -> Option<Blob>;
    /// The `.dwp` package beside the program. Asked for first, once.
    fn package(&self) -> Option<Blob>;
    /// The file that `.gnu_debugaltlink` names (written by dwz), by its name and build-id.
    fn supplementary(&self, name: &str, build_id: &[u8]) -> Option<Blob>;
}

/// A driver that has no further files.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn split_dwarf(&self, _comp_dir: Option<&str>, _name: &str, _dwo_id: u64) -> Option<Blob> {
        None
    }
    fn package(&self) -> Option<Blob> {
        None
    }
    fn supplementary(&self, _name: &str, _build_id: &[u8]) -> Option<Blob> {
        None
    }
}
