//! `capture` from outside: programs that live are captured while they watch themselves.
//!
//! What each module shows: [`never_harm`] and [`killed`] that nothing happens to the target; [`one_instant`] and
//! [`page_exact`] that the dump is true; [`peers`], [`minidumps`] that others open it; [`output`] and [`who`] what is
//! said when it cannot be done. No times are asserted; limits of patience only end what hangs.
//!
//! For example `cargo test -p afterimage --test live killed`; `cargo xtask soak 500` runs the first two at length.

// A test's helper may fail hard, as the test itself may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dumps;
mod killed;
mod lab;
mod minidumps;
mod never_harm;
mod one_instant;
mod output;
mod page_exact;
mod peers;
mod stacks;
mod who;
