//! What a kernel says of itself, in the forms that others read: its symbols as System.map or `/proc/kallsyms`, its types
//! as BTF, and both together as volatility3's ISF.
//!
//! *What it is*: writers over what [`Linux`](super::Linux) found in an image; no file of the kernel is asked for.
//!
//! *Example*: `linux.write_system_map(MapForm::Running, &mut out)` writes what `cat /proc/kallsyms` printed in the machine.
//!
//! *Trap*: a kernel is moved at each start. What is to serve other images of the same kernel (System.map, ISF) has
//! addresses as linked; what is to go with this image has those that it ran at.

mod btf;
mod isf;
mod json;
mod known;
mod map;
mod plausible;
mod types;
#[cfg(test)]
mod types_tests;

pub use btf::ModuleBtf;
pub use isf::IsfSummary;
pub use map::{MapForm, MapSummary};

/// Why a form could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// What it is made of is missing.
    #[error("{0}")]
    Missing(String),
    /// The output took no more.
    #[error(transparent)]
    Write(#[from] std::io::Error),
}

impl From<String> for ExportError {
    fn from(why: String) -> Self {
        Self::Missing(why)
    }
}
