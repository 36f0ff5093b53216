//! Swapped pages that are kept in memory, compressed (mm/zswap.c): what they take, and what they were.
//!
//! *Trap*: the compressed pages belong to one of several allocators, and each counts for itself; 6.1 has the sum in a
//! variable, 6.12 and 7.3 have not.

use crate::linux::Linux;

/// `/proc/meminfo` has its lines since then.
const TOLD: (u32, u32) = (5, 19);

impl Linux {
    /// Bytes that compressed pages take, and bytes that they were before; `None` for a kernel that does not count them.
    pub(in crate::linux) fn zswap(&self) -> Option<(Result<u64, String>, Result<u64, String>)> {
        self.version().filter(|version| *version >= TOLD)?;
        let page = self.page_bytes();
        let stored = self.symbols.address("zswap_stored_pages")?;
        // Its low half, whether it is an int or a long: so many pages as need more there are not.
        let stored = self.number(stored, 4).map(|pages| pages.saturating_mul(page));
        let taken = match self.symbols.address("zswap_pool_total_size") {
            Some(at) => self.word(at).ok_or_else(|| "zswap_pool_total_size is not in the dump".to_owned()),
            None => self.zswap_pools().map(|pages| pages.saturating_mul(page)),
        };
        Some((taken, stored.ok_or_else(|| "zswap_stored_pages is not in the dump".to_owned())))
    }

    /// Pages that all pools take.
    fn zswap_pools(&self) -> Result<u64, String> {
        let mut remarks = Vec::new();
        let head = self.symbol("zswap_pools")?;
        let pools = self.list(head, "zswap_pool", "list", "the list of zswap's pools", &mut remarks)?;
        if let Some(remark) = remarks.into_iter().next() {
            return Err(remark);
        }
        pools.into_iter().try_fold(0u64, |sum, pool| Ok(sum.saturating_add(self.zswap_pool(pool)?)))
    }

    fn zswap_pool(&self, pool: u64) -> Result<u64, String> {
        const NOT_HERE: &str = "a pool of zswap is not in the dump";
        // The only allocator that 7.3 has.
        if self.offset("zswap_pool", "zs_pool").is_ok() {
            let own = self.pointer(pool, "zswap_pool", "zs_pool").ok_or(NOT_HERE)?;
            return Ok(self.pointer(own, "zs_pool", "pages_allocated").ok_or(NOT_HERE)?);
        }
        let middle = self.pointer(pool, "zswap_pool", "zpool").ok_or(NOT_HERE)?;
        let own = self.pointer(middle, "zpool", "pool").ok_or(NOT_HERE)?;
        let driver = self.pointer(middle, "zpool", "driver").ok_or(NOT_HERE)?;
        let kind = self.pointer(driver, "zpool_driver", "type").and_then(|name| self.text(name, 64)).ok_or(NOT_HERE)?;
        let count = match kind.as_str() {
            "zsmalloc" => self.offset("zs_pool", "pages_allocated"),
            "zbud" => self.offset("zbud_pool", "pages_nr"),
            "z3fold" => self.offset("z3fold_pool", "pages_nr"),
            _ => Err(format!("zswap's allocator {kind} is not known")),
        };
        Ok(self.word(own.wrapping_add(count?)).ok_or(NOT_HERE)?)
    }
}
