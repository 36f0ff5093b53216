//! Being built.

pub mod build_core;
