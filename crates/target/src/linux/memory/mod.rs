//! What the kernel's memory is used for: its own counters, zones, and caches of small objects.

mod nodes;
mod slabs;
mod usage;
mod zswap;

pub use nodes::MemoryZone;
pub use slabs::SlabCache;
pub use usage::MemoryAmount;
