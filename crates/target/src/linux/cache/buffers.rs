//! Pages that are not up to date as a whole: which of their blocks are, by the buffers (`struct buffer_head`) that hang on
//! them.
//!
//! *What it is*: where blocks are smaller than pages, a file system reads and writes one block and leaves the rest of its page
//! alone. What a program wrote a moment ago is in such a page, and nowhere else.
//!
//! *What it is not*: the record of blocks that iomap keeps (XFS). Nothing in it names its page, so it cannot be proved.
//!
//! *Trap*: what `private` of a page leads to is the file system's own affair. A buffer names its page; what does not is none.

use crate::linux::Linux;
use std::ops::Range;

/// The smallest block of any file system.
const SMALLEST: u64 = 512;
/// Buffers of one folio at most: 2 MiB of the smallest blocks.
const MOST: usize = 4096;

impl Linux {
    /// Whether a folio has a flag; `usual` is its number where the kernel's types do not tell.
    pub(super) fn page_flag(&self, flags: u64, name: &str, usual: u32) -> bool {
        let bit = self.enumerator(name).and_then(|bit| u32::try_from(bit).ok()).unwrap_or(usual);
        flags.checked_shr(bit).unwrap_or(0) & 1 == 1
    }

    /// Which bytes of a folio are up to date by its buffers, in their order; `None` if it has none that can be read.
    ///
    /// `structure` is the type that it is looked at as, `bytes` how long it is.
    pub(super) fn valid_blocks(&self, folio: u64, structure: &str, flags: u64, bytes: u64) -> Option<Vec<Range<u64>>> {
        // Should a kernel drop the flag, the pointer alone decides.
        let marked = self.enumerator("PG_private").is_none() || self.page_flag(flags, "PG_private", 0);
        let head = self.pointer(folio, structure, "private").filter(|head| marked && head >> 63 == 1)?;
        let holder = ["b_page", "b_folio"].into_iter().find(|name| self.offset("buffer_head", name).is_ok())?;
        let valid =
            self.enumerator("BH_Uptodate").and_then(|bit| 1u64.checked_shl(u32::try_from(bit).ok()?)).unwrap_or(1);
        let mut blocks: Vec<Range<u64>> = Vec::new();
        let (mut at, mut buffer) = (0u64, head);
        for _ in 0..MOST {
            if self.pointer(buffer, "buffer_head", holder) != Some(folio) {
                break;
            }
            let state = self.pointer(buffer, "buffer_head", "b_state");
            let size = self.value(buffer, "buffer_head", "b_size");
            let Some((state, size)) = state.zip(size) else { break };
            // Where a buffer's block lies follows from those before it.
            if size < SMALLEST || !size.is_power_of_two() || size > bytes - at {
                break;
            }
            if state & valid != 0 {
                match blocks.last_mut().filter(|last| last.end == at) {
                    Some(last) => last.end += size,
                    None => blocks.push(at..at + size),
                }
            }
            at += size;
            match self.pointer(buffer, "buffer_head", "b_this_page") {
                // A ring.
                Some(next) if next != head && at < bytes => buffer = next,
                _ => break,
            }
        }
        (at > 0).then_some(blocks)
    }
}
