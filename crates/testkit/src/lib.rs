//! Being built.

pub mod build_core;
pub mod build_minidump;
