//! Finding the files that belong to a dump, and checking that they do.

use std::path::PathBuf;

/// How a module's file was found, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FileMatch {
    /// Nobody has looked yet.
    #[default]
    NotLooked,
    /// The file's build-id is the dump's.
    BuildId(PathBuf),
    /// The dump holds no build-id to compare; the file's headers agree with what is mapped.
    Name(PathBuf),
    /// The file at the path is another build: it is not used.
    Mismatch {
        /// The file that was not used.
        path: PathBuf,
        /// Why: both build-ids, or the headers that differ.
        why: String,
    },
    /// The whole module lies in the dump itself (the vDSO).
    InDump,
    /// No file was found.
    NotFound,
}
