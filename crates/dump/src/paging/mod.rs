//! Page tables as data: from a root and physical memory to virtual memory, for any system.
//!
//! *What it is*: [`Layout`] says how a processor's tables look (levels, bits, where an entry keeps its address), and
//! [`PageTables`] walks them. What an operating system writes into entries that the processor ignores is [`Software`].
//!
//! *What it is not*: it finds no roots and knows no kernel.
//!
//! ```
//! use afterimage_dump::paging::Layout;
//! assert_eq!(Layout::x86_64(false).levels().len(), 4);
//! assert_eq!(Layout::arm64(12, 39).map(|layout| layout.levels().len()), Some(3));
//! ```
//!
//! *Trap*: tables are as hostile as any content. A kernel maps its own tables into themselves (Windows' self-map), so a
//! walk over all of them never ends by itself; [`PageTables`] passes no table that it stands in already, and counts.

mod layout;
mod reverse;
mod tables;
#[cfg(test)]
mod tests;

pub use layout::{Layout, Level};
pub use tables::{Miss, MissReason, PageTables, Software, Translation};
