//! What a Windows stop means, and who probably did it.
//!
//! *What it is*: names of bug checks, what the commonest of them and their parameters mean, and a search for the driver
//! that is to blame, with the evidence. [`describe()`] gives structured text; reports show it.
//!
//! *What it is not*: it changes nothing and fetches nothing; it knows what the dump holds.
//!
//! ```no_run
//! use afterimage_dump::{Budget, open};
//! use afterimage_target::{Options, Target, stop};
//! let dump = open(std::path::Path::new("MEMORY.DMP"), &Budget::default())?;
//! let target = Target::new(dump, Options::default(), Budget::default());
//! if let Some(stop) = target.dump().machine.as_ref().and_then(|machine| machine.stop.as_deref()) {
//!     println!("{}", stop::describe(stop, target.dump()).name);
//!     if let Some(culprit) = stop::culprit(&target, stop) {
//!         println!("{}", culprit.name);
//!     }
//! }
//! # Ok::<(), afterimage_dump::Error>(())
//! ```
//!
//! *Trap*: the driver that ran when damage was found is often not the one that did the damage. The words say "probably".

mod advice;
mod culprit;
mod describe;
mod diagnose;
mod exception;
mod knowledge;
mod more_knowledge;
mod names;
mod status;
#[cfg(test)]
mod tests;
mod variants;

pub use culprit::{Culprit, culprit};
pub use describe::{Description, ParameterText, describe};
pub(crate) use diagnose::diagnose;
pub use exception::{StopException, exception};
pub use names::name;
pub use status::{status, status_text};
