//! Call-frame information of ELF files: `.eh_frame` (with or without `.eh_frame_hdr`) and `.debug_frame`.
//!
//! Not here: Breakpad's CFI (`crate::breakpad`), and what an unwinder does when there is none.
//!
//! Example: `tables` finds the entry for an address, `step` works its row out against a [`crate::Machine`].
//!
//! Trap: a return address is one behind its call, which may be the first byte of the next function; the caller of this
//! crate subtracts one before it asks.

mod header;
mod step;
mod tables;

pub(crate) use tables::FrameTables;
