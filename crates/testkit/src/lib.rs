//! What afterimage is tested with: programs that crash in every way, programs that live and watch themselves, and
//! builders of synthetic dumps.
//!
//! It is unpublished, and shares no layout code with the readers that it tests: what a reader and its test both take
//! from one place proves nothing. For example `crashers::find("null_write")` is a program, its options and what must
//! be said about its death.
//!
//! Trap: the programs are compiled when a test needs them, so tests need `cc`, `c++` and `rustc` on the machine.

pub mod build_core;
pub mod build_image;
pub mod build_linux;
pub mod build_macho;
pub mod build_minidump;
pub mod build_windows_dump;
pub mod crashers;
pub mod hostile;
pub mod live;
