//! What the machine's memory is used for, by the names of `/proc/meminfo` (fs/proc/meminfo.c).
//!
//! *What it is not*: all of `/proc/meminfo`. Lines that a kernel does not count are left out; a line whose counter is not in
//! the dump is there with its reason.
//!
//! *Trap*: counters have units of their own. Stacks are counted in KiB, slabs in pages although their names end with `_B`,
//! huge pages of plain memory by themselves until 5.11 and in small pages since.

use super::nodes::Scope;
use crate::linux::Linux;

/// Swap areas at most (`MAX_SWAPFILES` is 32 less some kinds).
const MOST_SWAPS: u64 = 32;
/// Sizes of huge pages at most.
const MOST_SIZES: u64 = 16;

/// One use of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryAmount {
    /// Name as in `/proc/meminfo`.
    pub name: String,
    /// Bytes.
    pub bytes: Result<u64, String>,
    /// What it is counted by: counters and variables of the kernel.
    pub source: &'static str,
}

/// Lines that are one counter: name, item, its unit in bytes (0: a page).
const COUNTERS: &[(&str, &[&str], u64)] = &[
    ("MemFree", &["NR_FREE_PAGES"], 0),
    ("SwapCached", &["NR_SWAPCACHE"], 0),
    ("Active(anon)", &["NR_ACTIVE_ANON"], 0),
    ("Inactive(anon)", &["NR_INACTIVE_ANON"], 0),
    ("Active(file)", &["NR_ACTIVE_FILE"], 0),
    ("Inactive(file)", &["NR_INACTIVE_FILE"], 0),
    ("Unevictable", &["NR_UNEVICTABLE"], 0),
    ("Mlocked", &["NR_MLOCK"], 0),
    ("Dirty", &["NR_FILE_DIRTY"], 0),
    ("Writeback", &["NR_WRITEBACK"], 0),
    ("AnonPages", &["NR_ANON_MAPPED"], 0),
    ("Mapped", &["NR_FILE_MAPPED"], 0),
    ("Shmem", &["NR_SHMEM"], 0),
    ("SReclaimable", &["NR_SLAB_RECLAIMABLE_B", "NR_SLAB_RECLAIMABLE"], 0),
    ("SUnreclaim", &["NR_SLAB_UNRECLAIMABLE_B", "NR_SLAB_UNRECLAIMABLE"], 0),
    ("KernelStack", &["NR_KERNEL_STACK_KB"], 1024),
    ("PageTables", &["NR_PAGETABLE"], 0),
    ("SecPageTables", &["NR_SECONDARY_PAGETABLE"], 0),
    ("Bounce", &["NR_BOUNCE"], 0),
    ("WritebackTmp", &["NR_WRITEBACK_TEMP"], 0),
    ("CmaFree", &["NR_FREE_CMA_PAGES"], 0),
    ("Unaccepted", &["NR_UNACCEPTED"], 0),
    ("Balloon", &["NR_BALLOON_PAGES"], 0),
    ("GPUActive", &["NR_GPU_ACTIVE"], 0),
    ("GPUReclaim", &["NR_GPU_RECLAIM"], 0),
];

/// The same for huge pages, whose unit changed with 5.12.
const HUGE: &[(&str, &str)] = &[
    ("AnonHugePages", "NR_ANON_THPS"),
    ("ShmemHugePages", "NR_SHMEM_THPS"),
    ("ShmemPmdMapped", "NR_SHMEM_PMDMAPPED"),
    ("FileHugePages", "NR_FILE_THPS"),
    ("FilePmdMapped", "NR_FILE_PMDMAPPED"),
];

/// Rows as they are gathered.
struct Rows(Vec<MemoryAmount>);

impl Rows {
    fn add(&mut self, name: &str, source: &'static str, bytes: Result<u64, String>) {
        self.0.push(MemoryAmount { name: name.to_owned(), bytes, source });
    }

    fn get(&self, name: &str) -> Result<u64, String> {
        let row = self.0.iter().find(|row| row.name == name);
        row.map_or_else(|| Err(format!("this kernel does not count {name}")), |row| row.bytes.clone())
    }

    fn sum(&self, names: &[&str]) -> Result<u64, String> {
        names.iter().try_fold(0u64, |sum, name| Ok(sum.saturating_add(self.get(name)?)))
    }
}

impl Linux {
    /// Bytes of memory that the kernel could give away, as `MemTotal`: less than the machine has by what the kernel keeps.
    ///
    /// # Errors
    /// What is missing.
    pub fn total_memory(&self) -> Result<u64, String> {
        let pages = self.variable(&["_totalram_pages", "totalram_pages"])?;
        Ok(pages.wrapping_mul(self.page_bytes()))
    }

    /// What memory is used for, by the names of `/proc/meminfo`; what the processors have counted for themselves is added.
    ///
    /// # Errors
    /// What is missing to read any counter.
    pub fn memory_usage(&self) -> Result<Vec<MemoryAmount>, String> {
        self.types.as_ref().map_err(Clone::clone)?;
        let page = self.page_bytes();
        let mut rows = Rows(Vec::new());
        rows.add("MemTotal", "_totalram_pages", self.total_memory());
        let contiguous = self.symbols.address("cma_alloc").is_some();
        for (name, items, unit) in COUNTERS {
            // The counter is there in kernels without contiguous memory, too, and their file has no such line.
            if *name == "CmaFree" && !contiguous {
                continue;
            }
            let Some((item, (scope, number))) = items.iter().find_map(|item| Some((*item, self.item(item)?))) else {
                continue;
            };
            let unit = if *unit == 0 { page } else { *unit };
            // It is the source that a reader knows from the kernel's own headers.
            rows.add(name, item, self.amount(scope, number, unit));
        }
        // The counters are there in kernels that join no pages to huge ones, too, and their file has no such lines.
        let joins = self.symbols.address("__khugepaged_enter").is_some();
        for (name, item) in HUGE.iter().filter(|_| joins) {
            let Some((scope, number)) = self.item(item) else { continue };
            let unit = match self.version() {
                Some(version) if version >= (5, 12) => Ok(page),
                Some(_) => Ok(2 << 20),
                None => Err("the banner does not tell the kernel's version, and with it the counter's unit".to_owned()),
            };
            rows.add(name, item, unit.and_then(|unit| self.amount(scope, number, unit)));
        }
        if self.item("NR_SWAPCACHE").is_none() {
            rows.add("SwapCached", "swapper_spaces", self.swap_cache().map(|pages| pages.wrapping_mul(page)));
        }
        self.caches(&mut rows, page);
        let misc = self.item("NR_KERNEL_MISC_RECLAIMABLE").map(|(scope, item)| self.amount(scope, item, page));
        let reclaimable = rows.get("SReclaimable");
        let both = match misc {
            Some(misc) => misc.and_then(|misc| Ok(misc.saturating_add(reclaimable?))),
            None => reclaimable,
        };
        rows.add("KReclaimable", "NR_SLAB_RECLAIMABLE_B + NR_KERNEL_MISC_RECLAIMABLE", both);
        rows.add("MemAvailable", "as si_mem_available()", self.available(&rows, page));
        let swap = self.variable(&["total_swap_pages"]);
        rows.add("SwapTotal", "total_swap_pages", swap.clone().map(|pages| pages.wrapping_mul(page)));
        let free = self.variable(&["nr_swap_pages"]);
        rows.add("SwapFree", "nr_swap_pages", free.map(|pages| pages.wrapping_mul(page)));
        if let Some((taken, stored)) = self.zswap() {
            rows.add("Zswap", "zswap_pools", taken);
            rows.add("Zswapped", "zswap_stored_pages", stored);
        }
        self.huge_pages(&mut rows);
        rows.add("CommitLimit", "sysctl_overcommit_ratio", self.commit_limit(&rows));
        let committed = self.symbol("vm_committed_as").and_then(|at| self.per_cpu_sum(at));
        rows.add("Committed_AS", "vm_committed_as", committed.map(|pages| pages.wrapping_mul(page)));
        // A counter of nodes in the newest kernels, a variable before.
        match self.item("NR_VMALLOC") {
            Some((scope, item)) => rows.add("VmallocUsed", "NR_VMALLOC", self.amount(scope, item, page)),
            None => {
                let pages = self.variable(&["nr_vmalloc_pages"]);
                rows.add("VmallocUsed", "nr_vmalloc_pages", pages.map(|pages| pages.wrapping_mul(page)));
            }
        }
        // Both are ints.
        let small = |name: &str| {
            let at = self.symbol(name)?;
            self.number(at, 4).ok_or_else(|| format!("{name} is not in the dump"))
        };
        let per_cpu = small("pcpu_nr_populated").and_then(|pages| Ok(pages.wrapping_mul(small("pcpu_nr_units")?)));
        let per_cpu = per_cpu.map(|pages| pages.wrapping_mul(page));
        rows.add("Percpu", "pcpu_nr_populated * pcpu_nr_units", per_cpu);
        // With CONFIG_MEMORY_FAILURE only.
        if let Ok(pages) = self.variable(&["num_poisoned_pages"]) {
            rows.add("HardwareCorrupted", "num_poisoned_pages", Ok(pages.wrapping_mul(page)));
        }
        if contiguous && let Ok(pages) = self.variable(&["totalcma_pages"]) {
            rows.add("CmaTotal", "totalcma_pages", Ok(pages.wrapping_mul(page)));
        }
        self.direct_map(&mut rows);
        Ok(rows.0)
    }

    /// A variable as wide as a pointer.
    fn variable(&self, names: &[&str]) -> Result<u64, String> {
        let found = names.iter().find_map(|name| Some((*name, self.symbols.address(name)?)));
        let (name, at) =
            found.ok_or_else(|| format!("kallsyms has no symbol {}", names.first().copied().unwrap_or_default()))?;
        self.word(at).ok_or_else(|| format!("{name} is not in the dump"))
    }

    fn amount(&self, scope: Scope, item: u64, unit: u64) -> Result<u64, String> {
        // A counter may be below nothing for a moment; the kernel shows nothing then.
        self.counted(scope, item).map(|count| (count.max(0) as u64).wrapping_mul(unit))
    }

    /// A `percpu_counter`: what is common, and what each processor has beside it.
    fn per_cpu_sum(&self, at: u64) -> Result<u64, String> {
        let not_here = || "the counter is not in the dump".to_owned();
        let common = self.pointer(at, "percpu_counter", "count").ok_or_else(not_here)? as i64;
        let own = self.pointer(at, "percpu_counter", "counters").ok_or_else(not_here)?;
        let each = |cpu| Some(self.number(self.per_cpu(cpu, own)?, 4)? as u32 as i32);
        let more: i64 = self.possible_cpus().into_iter().filter_map(each).map(i64::from).sum();
        Ok(common.wrapping_add(more).max(0) as u64)
    }

    /// Pages of block devices, and what else the page cache holds.
    fn caches(&self, rows: &mut Rows, page: u64) {
        let buffers = self.device_pages().map(|pages| pages.wrapping_mul(page));
        rows.add("Buffers", "inodes of blockdev_superblock", buffers);
        let files = self.item("NR_FILE_PAGES").ok_or("this kernel does not count the pages of files".to_owned());
        let files = files.and_then(|(scope, item)| self.amount(scope, item, page));
        let cached = files.and_then(|files| Ok(files.saturating_sub(rows.sum(&["SwapCached", "Buffers"])?)));
        rows.add("Cached", "NR_FILE_PAGES - SwapCached - Buffers", cached);
        for (name, parts) in [
            ("Active", ["Active(anon)", "Active(file)"]),
            ("Inactive", ["Inactive(anon)", "Inactive(file)"]),
            ("Slab", ["SReclaimable", "SUnreclaim"]),
        ] {
            let sum = rows.sum(&parts);
            rows.add(name, "the sum of both kinds", sum);
        }
    }

    fn device_pages(&self) -> Result<u64, String> {
        let mut remarks = Vec::new();
        let block = self.variable(&["blockdev_superblock"])?;
        let head = block.wrapping_add(self.offset("super_block", "s_inodes")?);
        let inodes = self.list(head, "inode", "i_sb_list", "the list of block devices", &mut remarks)?;
        if let Some(remark) = remarks.into_iter().next() {
            return Err(remark);
        }
        let pages = |inode: u64| self.pointer(self.pointer(inode, "inode", "i_mapping")?, "address_space", "nrpages");
        let each: Option<Vec<u64>> = inodes.into_iter().map(pages).collect();
        let each = each.ok_or("an inode of a block device is not in the dump")?;
        Ok(each.into_iter().fold(0u64, u64::wrapping_add))
    }

    /// Pages of swapped memory that are in memory too: until 5.11 each area's own spaces know.
    fn swap_cache(&self) -> Result<u64, String> {
        let not_here = || "the spaces of swap are not in the dump".to_owned();
        let (spaces, counts) = (self.symbol("swapper_spaces")?, self.symbol("nr_swapper_spaces")?);
        let areas = self.number(self.symbol("nr_swapfiles")?, 4).ok_or_else(not_here)?;
        let each = self.size("address_space")?;
        let mut pages = 0u64;
        for area in 0..areas.min(MOST_SWAPS) {
            let first = self.word(spaces.wrapping_add(8 * area)).ok_or_else(not_here)?;
            let count = self.number(counts.wrapping_add(4 * area), 4).ok_or_else(not_here)?;
            if first == 0 {
                continue;
            }
            for space in 0..count.min(1 << 16) {
                let at = first.wrapping_add(space.wrapping_mul(each));
                pages = pages.wrapping_add(self.pointer(at, "address_space", "nrpages").ok_or_else(not_here)?);
            }
        }
        Ok(pages)
    }

    /// As the kernel estimates it: what is free above the reserves, and at least half of what could be given back.
    fn available(&self, rows: &Rows, page: u64) -> Result<u64, String> {
        let reserve = self.variable(&["totalreserve_pages"])?.wrapping_mul(page);
        let low = self.memory_zones()?.0.iter().try_fold(0u64, |sum, zone| {
            let [_, low, _] = zone.watermarks;
            Some(sum.saturating_add(low?).saturating_add(zone.boost.unwrap_or(0)))
        });
        let low = low.ok_or("a zone's watermarks are not in the dump")?;
        let kept = |bytes: u64| bytes.saturating_sub((bytes / 2).min(low));
        let files = kept(rows.sum(&["Active(file)", "Inactive(file)"])?);
        let slabs = kept(rows.get("KReclaimable")?);
        Ok((rows.get("MemFree")?.saturating_add(files).saturating_add(slabs)).saturating_sub(reserve))
    }

    fn commit_limit(&self, rows: &Rows) -> Result<u64, String> {
        let swap = rows.get("SwapTotal")?;
        let fixed = self.variable(&["sysctl_overcommit_kbytes"]).unwrap_or(0);
        if fixed != 0 {
            return Ok(fixed.saturating_mul(1024).saturating_add(swap));
        }
        let ratio = self.symbol("sysctl_overcommit_ratio")?;
        let ratio = self.number(ratio, 4).ok_or("sysctl_overcommit_ratio is not in the dump")?;
        let huge = rows.get("Hugetlb").unwrap_or(0);
        let page = self.page_bytes();
        let plain = rows.get("MemTotal")?.saturating_sub(huge) / page;
        Ok((plain.saturating_mul(ratio) / 100).saturating_mul(page).saturating_add(swap))
    }

    /// Reserved huge pages, those of each size.
    fn huge_pages(&self, rows: &mut Rows) {
        let (Ok(table), Ok(each)) = (self.symbol("hstates"), self.size("hstate")) else { return };
        let count = self.symbols.address("hugetlb_max_hstate").and_then(|at| self.number(at, 4));
        let Some(count) = count else {
            rows.add("Hugetlb", "hstates", Err("hugetlb_max_hstate is not in the dump".into()));
            return;
        };
        let mut all = Ok(0u64);
        for state in (0..count.min(MOST_SIZES)).map(|state| table.wrapping_add(state.wrapping_mul(each))) {
            let order = self.int(state, "hstate", "order").filter(|order| *order < 32);
            let size = order.map(|order| self.page_bytes().wrapping_shl(order as u32));
            let size = size.ok_or_else(|| "the table of huge pages is not in the dump".to_owned());
            let kib = size.as_ref().map_or(0, |size| size / 1024);
            for (name, member) in [
                ("HugePages_Total", "nr_huge_pages"),
                ("HugePages_Free", "free_huge_pages"),
                ("HugePages_Rsvd", "resv_huge_pages"),
                ("HugePages_Surp", "surplus_huge_pages"),
            ] {
                let pages = self.pointer(state, "hstate", member).ok_or("the table of huge pages is not in the dump");
                let bytes = size.clone().and_then(|size| Ok(pages?.saturating_mul(size)));
                if name == "HugePages_Total" {
                    all = all.and_then(|all| Ok(u64::saturating_add(all, bytes.clone()?)));
                }
                // Without the size two rows would have the same name.
                rows.add(&format!("{name}({kib}kB)"), "hstates", bytes);
            }
        }
        rows.add("Hugetlb", "hstates", all);
    }

    /// How large the pages are by which all memory is mapped for the kernel (x86).
    fn direct_map(&self, rows: &mut Rows) {
        let Some(table) = self.symbols.address("direct_pages_count") else { return };
        for (name, level, size) in [
            ("DirectMap4k", "PG_LEVEL_4K", 4u64 << 10),
            ("DirectMap2M", "PG_LEVEL_2M", 2 << 20),
            ("DirectMap1G", "PG_LEVEL_1G", 1 << 30),
        ] {
            let Some(level) = self.enumerator(level).and_then(|level| u64::try_from(level).ok()) else { continue };
            let count =
                self.word(table.wrapping_add(8 * level)).ok_or("direct_pages_count is not in the dump".to_owned());
            rows.add(name, "direct_pages_count", count.map(|count| count.saturating_mul(size)));
        }
    }
}
