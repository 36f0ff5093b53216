//! The tree of a file's pages (`address_space.i_pages`, an xarray): every entry with the place that it has.
//!
//! *What it is not*: [`Linux::xarray`](crate::linux::Linux), which gives pointers only. Here entries that are numbers count
//! too, and how many places one entry fills.

use crate::linux::Linux;
use std::collections::HashSet;

/// Nodes of one tree at most: a file of 256 GiB in small pages.
const NODES: usize = 1 << 20;
/// The largest number of a page in a file.
const LAST: u64 = 1 << 51;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Number of the first page that it stands for.
    pub(super) index: u64,
    /// How many pages it stands for.
    pub(super) pages: u64,
    /// A page's structure, an odd number, or `None` where that part of the tree is not in the dump.
    pub(super) entry: Option<u64>,
}

impl Linux {
    /// All entries of a tree by its head, in their order.
    pub(super) fn page_slots(&self, head: u64) -> Result<Vec<Slot>, String> {
        if head & 3 != 2 || head < 4096 {
            let slot = Slot { index: 0, pages: 1, entry: Some(head) };
            return Ok(if head == 0 { Vec::new() } else { vec![slot] });
        }
        let mut walk = Walk {
            linux: self,
            slots: self.offset("xa_node", "slots")?,
            shift: self.offset("xa_node", "shift")?,
            count: self.elements("xa_node", "slots").unwrap_or(64).min(64),
            seen: HashSet::new(),
            found: Vec::new(),
        };
        walk.node(head & !3, 0, 64);
        Ok(walk.found)
    }
}

struct Walk<'l> {
    linux: &'l Linux,
    slots: u64,
    shift: u64,
    count: u64,
    seen: HashSet<u64>,
    found: Vec<Slot>,
}

impl Walk<'_> {
    /// One node. Shifts fall from level to level, which bounds the depth.
    fn node(&mut self, node: u64, first: u64, above: u64) {
        let lost = |walk: &mut Self| {
            // How far a node reaches follows from the one above it; that of the first is not known.
            let pages = if above >= 64 { LAST } else { 1 << above };
            walk.found.push(Slot { index: first, pages, entry: None });
        };
        let shift = self.linux.number(node.wrapping_add(self.shift), 1).filter(|shift| *shift < above && *shift < 52);
        let Some(shift) = shift.filter(|_| self.seen.len() < NODES && self.seen.insert(node)) else {
            lost(self);
            return;
        };
        let entries = self.linux.words(node.wrapping_add(self.slots), self.count);
        // A sibling's entry says which slot before it holds what it belongs to.
        let mut owner: Option<usize> = None;
        for (slot, entry) in (0u64..).zip(entries) {
            let index = first.wrapping_add(slot << shift);
            if index >= LAST {
                break;
            }
            let pages = 1u64 << shift;
            match entry {
                Some(0) => owner = None,
                Some(entry) if entry & 3 == 2 && entry < 4096 => {
                    // Above the siblings are marks of the tree itself (retry, zero).
                    if entry >> 2 < self.count
                        && let Some(slot) = owner.and_then(|owner| self.found.get_mut(owner))
                    {
                        slot.pages = slot.pages.saturating_add(pages);
                    }
                }
                Some(entry) if entry & 3 == 2 => {
                    owner = None;
                    self.node(entry & !3, index, shift);
                }
                entry => {
                    owner = Some(self.found.len());
                    self.found.push(Slot { index, pages, entry });
                }
            }
        }
    }
}
