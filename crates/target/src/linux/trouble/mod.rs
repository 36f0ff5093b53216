//! Where something is wrong: who waits for whom, and what a kernel's own fault was.

mod oops;
mod waits;

pub use oops::Oops;
pub use waits::{BlockedTask, Holder, Lock};
