//! Files: those that are open, their paths, where file systems are mounted.

mod mounts;
mod open;
mod path;

pub use mounts::Mount;
pub(in crate::linux) use open::Named;
pub use open::OpenFile;
