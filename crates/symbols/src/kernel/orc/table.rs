//! The table of one kernel or module: from an address to its entry.

use super::entry::{ENTRY, OrcEntry, OrcVersion};
use crate::kernel::u32_at;

/// The ORC of a kernel or of one module.
pub struct OrcTable {
    /// Where the distances of the addresses lie in memory: each counts from its own place.
    at: u64,
    addresses: Vec<u8>,
    entries: Vec<u8>,
    version: OrcVersion,
}

impl OrcTable {
    /// A table of what lies at `__start_orc_unwind_ip` (with its address) and `__start_orc_unwind`; without a version from
    /// the header, the entries tell it. `None` if the parts are no ORC.
    #[must_use]
    pub fn new(at: u64, addresses: Vec<u8>, entries: Vec<u8>, version: Option<OrcVersion>) -> Option<Self> {
        let count = (addresses.len() / 4).min(entries.len() / ENTRY);
        let version = version.or_else(|| OrcVersion::by_entries(&entries))?;
        let table = Self { at, addresses, entries, version };
        let step = (count / 256).max(1);
        let mut last = 0;
        for index in (0..count).step_by(step) {
            let address = table.address(index)?;
            if address < last {
                return None;
            }
            last = address;
        }
        (count > 0).then_some(table)
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> OrcVersion {
        self.version
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.addresses.len() / 4).min(self.entries.len() / ENTRY)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn address(&self, index: usize) -> Option<u64> {
        let distance = u32_at(&self.addresses, 4 * index)? as i32;
        Some(self.at.wrapping_add(4 * index as u64).wrapping_add(i64::from(distance) as u64))
    }

    /// The entry that holds at an address. Behind the last code it is of type [`OrcType::Undefined`](super::entry::OrcType).
    #[must_use]
    pub fn find(&self, ip: u64) -> Option<OrcEntry> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.address(middle)? <= ip {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let index = low.checked_sub(1)?;
        OrcEntry::parse(self.entries.get(index * ENTRY..)?, self.version)
    }
}
