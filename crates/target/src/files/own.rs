//! Files that the dumped system had in its own memory: of a process in a machine's image, what the page cache holds.
//!
//! *Trap*: such a file may have holes. It serves for names and unwinding, and never as a source of memory: what of it can be
//! had, the process's memory has already.

use super::{ElfFile, Finder};
use afterimage_dump::Virt;
use std::sync::Arc;

/// What a process in a machine's image has beyond a process alone.
pub(crate) struct Own {
    pub(crate) files: Arc<dyn OwnFiles>,
    /// The machine's own finder: what one process has looked for need not be looked for by the next.
    pub(crate) machine: Arc<Finder>,
}

/// Where such files come from.
pub(crate) trait OwnFiles: Send + Sync {
    /// The file that is mapped at an address.
    fn at(&self, at: Virt) -> Option<OwnFile>;
}

/// A file.
pub(crate) struct OwnFile {
    pub(crate) file: Arc<ElfFile>,
    /// Whether all of it is there.
    pub(crate) whole: bool,
}
