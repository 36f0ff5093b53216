//! Every trigger fires on a real process, and watching harms none.

// clippy.toml's leave for tests does not reach their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod sampled;
mod tool;
mod traced;
