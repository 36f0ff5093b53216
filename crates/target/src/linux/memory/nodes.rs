//! Memory nodes and their zones, as `/proc/zoneinfo` shows them; and the counters that both keep (mm/vmstat.c).
//!
//! *Trap*: a processor counts up to a threshold (`stat_threshold`, 125 at most) by itself before it adds to the common
//! counter, and `/proc` shows the common one alone. Here what the processors hold is added: these are the exact numbers.

use crate::linux::Linux;

/// Nodes at most (`MAX_NUMNODES` is 1024 in the largest builds).
const MOST_NODES: u64 = 1024;
/// Zones of a node at most.
const MOST_ZONES: u64 = 16;

/// A zone of a memory node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryZone {
    /// Number of its node.
    pub node: u32,
    /// Name, as `DMA32`.
    pub name: Option<String>,
    /// Physical address of its first page.
    pub start: Option<u64>,
    /// Bytes from its first page to its last, holes too.
    pub spanned: Option<u64>,
    /// Bytes that are there.
    pub present: Option<u64>,
    /// Bytes that its allocator manages.
    pub managed: Option<u64>,
    /// Free bytes.
    pub free: Option<u64>,
    /// Watermarks: minimum, low, high.
    pub watermarks: [Option<u64>; 3],
    /// Bytes by which all watermarks are raised for a while.
    pub boost: Option<u64>,
}

/// Which counters an item is among.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Node,
    Zone,
}

impl Linux {
    /// Addresses of the nodes' `pglist_data`, with their numbers.
    pub(super) fn nodes(&self) -> Result<Vec<(u32, u64)>, String> {
        // Without NUMA there is one.
        if let Some(only) = self.symbols.address("contig_page_data") {
            return Ok(vec![(0, only)]);
        }
        let table = self.symbol("node_data")?;
        let online = self.enumerator("N_ONLINE").and_then(|state| u64::try_from(state).ok());
        let bytes = self.size("nodemask_t")?.min(MOST_NODES / 8);
        let online = online.ok_or("this kernel's types do not say which nodes are on")?;
        let mask = self.symbol("node_states")?.wrapping_add(online.wrapping_mul(bytes));
        let mut nodes = Vec::new();
        for (index, word) in (0u64..).zip(self.words(mask, bytes / 8)) {
            let word = word.ok_or("the mask of nodes is not in the dump")?;
            for number in (0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| index * 64 + bit) {
                let node = self.word(table.wrapping_add(8 * number)).filter(|node| *node != 0);
                nodes.extend(node.map(|node| (number as u32, node)));
            }
        }
        if nodes.is_empty() {
            return Err("no memory node is in the dump".into());
        }
        Ok(nodes)
    }

    /// Addresses of a node's zones that have memory.
    pub(super) fn zones_of(&self, node: u64) -> Result<Vec<u64>, String> {
        let (first, each) = (self.offset("pglist_data", "node_zones")?, self.size("zone")?);
        let count = self.int(node, "pglist_data", "nr_zones").ok_or("a memory node is not in the dump")?;
        let zones =
            (0..count.min(MOST_ZONES)).map(|zone| node.wrapping_add(first).wrapping_add(zone.wrapping_mul(each)));
        Ok(zones.filter(|zone| self.pointer(*zone, "zone", "present_pages") != Some(0)).collect())
    }

    /// Where the number of a counter's item stands: among those of nodes, or of zones. Items have moved between both:
    /// `NR_PAGETABLE` and `NR_KERNEL_STACK_KB` were a zone's until 5.10.
    pub(super) fn item(&self, name: &str) -> Option<(Scope, u64)> {
        let types = self.types.as_ref().ok()?;
        let among = |list: &str| types.enumerators_of(list).into_iter().find(|(own, _)| own == name);
        let (scope, value) = match among("node_stat_item") {
            Some((_, value)) => (Scope::Node, value),
            None => (Scope::Zone, among("zone_stat_item")?.1),
        };
        Some((scope, u64::try_from(value).ok()?))
    }

    /// The sum of a counter over the machine, with what the processors hold.
    pub(super) fn counted(&self, scope: Scope, item: u64) -> Result<i64, String> {
        let common = self.symbol(if scope == Scope::Node { "vm_node_stat" } else { "vm_zone_stat" })?;
        let common = self.word(common.wrapping_add(8 * item)).ok_or("the counter is not in the dump")? as i64;
        let mut sum = common;
        for (_, node) in self.nodes()? {
            if scope == Scope::Node {
                sum = sum.wrapping_add(self.node_differences(node, item));
                continue;
            }
            for zone in self.zones_of(node)? {
                sum = sum.wrapping_add(self.zone_differences(zone, item));
            }
        }
        Ok(sum)
    }

    fn node_differences(&self, node: u64, item: u64) -> i64 {
        let own = self.pointer(node, "pglist_data", "per_cpu_nodestats");
        self.differences(own, "per_cpu_nodestat", "vm_node_stat_diff", item)
    }

    pub(super) fn zone_differences(&self, zone: u64, item: u64) -> i64 {
        // A structure of their own since 5.14.
        match self.pointer(zone, "zone", "per_cpu_zonestats") {
            Some(own) => self.differences(Some(own), "per_cpu_zonestat", "vm_stat_diff", item),
            None => self.differences(self.pointer(zone, "zone", "pageset"), "per_cpu_pageset", "vm_stat_diff", item),
        }
    }

    fn differences(&self, place: Option<u64>, structure: &str, member: &str, item: u64) -> i64 {
        let Some(place) = place.filter(|place| *place != 0) else { return 0 };
        if self.elements(structure, member).is_none_or(|count| item >= count) {
            return 0;
        }
        let Ok(offset) = self.offset(structure, member) else { return 0 };
        let one = |cpu| self.number(self.per_cpu(cpu, place)?.wrapping_add(offset).wrapping_add(item), 1);
        self.possible_cpus().into_iter().filter_map(one).map(|diff| i64::from(diff as u8 as i8)).sum()
    }

    /// The zones that have memory, by node and address; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn memory_zones(&self) -> Result<(Vec<MemoryZone>, Vec<String>), String> {
        let (mut found, mut remarks) = (Vec::new(), Vec::new());
        let page = self.page_bytes();
        let free = self.item("NR_FREE_PAGES").map(|(_, item)| item);
        let marks = ["WMARK_MIN", "WMARK_LOW", "WMARK_HIGH"].map(|name| self.enumerator(name));
        for (number, node) in self.nodes()? {
            let zones = match self.zones_of(node) {
                Ok(zones) => zones,
                Err(why) => {
                    remarks.push(format!("node {number}: {why}"));
                    continue;
                }
            };
            for zone in zones {
                let pages = |member: &str| self.pointer(zone, "zone", member).map(|pages| pages.wrapping_mul(page));
                let array = |member: &str, item: u64| {
                    let items = self.elements("zone", member).filter(|items| item < *items)?;
                    let at = zone.wrapping_add(self.offset("zone", member).ok()?).wrapping_add(8 * item);
                    (items > 0).then(|| self.word(at))?
                };
                // `watermark` until 4.20.
                let mark = |mark: Option<i64>| {
                    let mark = u64::try_from(mark?).ok()?;
                    array("_watermark", mark).map(|pages| pages.wrapping_mul(page))
                };
                let free = free.and_then(|item| {
                    let sum = (array("vm_stat", item)? as i64).wrapping_add(self.zone_differences(zone, item));
                    Some((sum.max(0) as u64).wrapping_mul(page))
                });
                found.push(MemoryZone {
                    node: number,
                    name: self.pointer(zone, "zone", "name").and_then(|at| self.text(at, 32)),
                    start: pages("zone_start_pfn"),
                    spanned: pages("spanned_pages"),
                    present: pages("present_pages"),
                    managed: pages("managed_pages"),
                    free,
                    watermarks: marks.map(mark),
                    boost: pages("watermark_boost"),
                });
            }
        }
        Ok((found, remarks))
    }
}
