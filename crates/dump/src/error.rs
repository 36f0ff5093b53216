//! Why a file cannot be opened as a dump at all. What is only partly readable is no error: see [`crate::Dump::issues`].

use std::path::PathBuf;

/// A dump that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open or read the file.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The path names a directory, a socket, or something else that holds no dump.
    #[error("{path} is {what}, not a dump file", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is instead, with its article.
        what: &'static str,
    },
    /// The file has no bytes.
    #[error("{path} is empty", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// No reader knows the content.
    #[error("{path} is no memory dump that is known here: {looks_like}", path = path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What the first bytes look like.
        looks_like: String,
    },
    /// A reader knows the content, but its header is too broken to go on.
    #[error("{path}: {format}: {what}", path = path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The container's name.
        format: &'static str,
        /// Which field, and what is wrong with it.
        what: String,
    },
}
