//! The program from outside, as its users call it: one binary, so that it is linked once.

// A test's helper may fail hard, as the test itself may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod convert;
mod crashers;
mod hostile;
mod output;
mod tool;
mod watch;
mod windows_stop;
