//! A memory dump *understood*: modules with their symbols, threads with their stacks, and what went wrong.
//!
//! *What it is*: [`Target::new`] takes an opened [`Dump`](afterimage_dump::Dump), finds the files and debug information
//! that belong to it, and answers questions lazily: nothing is parsed before someone asks for it.
//!
//! *What it is not*: it prints nothing and knows no table; `afterimage-tables` turns its answers into rows.
//!
//! ```no_run
//! use afterimage_dump::{Budget, open};
//! use afterimage_target::{Options, Target};
//! let budget = Budget::default();
//! let dump = open(std::path::Path::new("core"), &budget)?;
//! let target = Target::new(dump, Options::default(), budget);
//! println!("{}", target.diagnosis().headline);
//! for frame in &target.stack(0).frames {
//!     println!("{:?} {:?}", frame.address, target.locate(frame.address));
//! }
//! # Ok::<(), afterimage_dump::Error>(())
//! ```
//!
//! *Trap*: a frame's address is either exact or a return address; hand the [`CodeAddr`](afterimage_dump::CodeAddr) on
//! as it is and let it do the subtraction.

pub mod crash;
mod debuginfod;
mod files;
pub mod linux;
mod memory;
mod modules;
mod options;
mod places;
pub mod stack;
pub mod stop;
mod symsrv;
mod target;
#[cfg(test)]
mod testing;
mod variables;

pub use crash::{Diagnosis, Evidence, Statement, signal_name};
pub use debuginfod::Fetched;
pub use files::FileMatch;
pub use memory::TargetMemory;
pub use modules::{Module, ModuleKind};
pub use options::Options;
pub use places::{AddressInfo, Neighbour, PlaceKind};
pub use stack::{Frame, Stack, StackEnd, Trust};
pub use target::{Location, Target};
pub use variables::{FrameVariables, KernelVariables, VariableKind, VariableValue};
