//! The walk the other way: from a physical address to a virtual one that leads there.

use super::PageTables;
use super::layout::Entry;
use crate::{Endian, MemoryExt, Phys, Virt};
use std::ops::RangeInclusive;

/// Tables that are read at most: a kernel's own memory of some 16 GiB in small pages.
const MAX_TABLES: usize = 1 << 13;

impl PageTables {
    /// The lowest address in `within` that is mapped to `physical`. The range must lie in one half of the address space.
    #[must_use]
    pub fn find(&self, physical: Phys, within: RangeInclusive<u64>) -> Option<Virt> {
        let upper = self.layout().half(*within.end())?;
        let root = self.root(upper)?;
        let bits = self.layout().va_bits();
        let base = if upper && bits < 64 && bits != 32 { u64::MAX << bits } else { 0 };
        let mut search = Search { tables: self, physical, within, left: MAX_TABLES, path: Vec::new() };
        search.table(root.0, 0, base)
    }
}

struct Search<'a> {
    tables: &'a PageTables,
    physical: Phys,
    within: RangeInclusive<u64>,
    left: usize,
    /// Tables that the search stands in: some kernels map their tables into themselves.
    path: Vec<u64>,
}

impl Search<'_> {
    fn table(&mut self, table: u64, index: usize, base: u64) -> Option<Virt> {
        let tables = self.tables;
        let layout = tables.layout();
        let level = layout.levels().get(index)?;
        if self.left == 0 || self.path.contains(&table) {
            return None;
        }
        self.left -= 1;
        let width = layout.entry_bytes() as usize;
        let mut bytes = vec![0; width << level.bits];
        let got = tables.memory().read_upto(Phys(table), &mut bytes);
        let below = (1u64 << level.shift) - 1;
        self.path.push(table);
        let mut found = None;
        for (slot, raw) in bytes.get(..got).unwrap_or_default().chunks_exact(width).enumerate() {
            let first = base | (slot as u64) << level.shift;
            if first > *self.within.end() || first | below < *self.within.start() {
                continue;
            }
            found = match layout.entry(index, Endian::Little.uint(raw)) {
                Entry::Table(next) => self.table(next, index + 1, first),
                Entry::Page(page) => {
                    let own = self.physical.0.checked_sub(page).filter(|distance| *distance <= below);
                    own.map(|distance| first | distance).filter(|at| self.within.contains(at)).map(Virt)
                }
                Entry::Reserved | Entry::NotPresent => None,
            };
            if found.is_some() {
                break;
            }
        }
        self.path.pop();
        found
    }
}
