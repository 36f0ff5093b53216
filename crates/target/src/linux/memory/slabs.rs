//! Caches of small objects, as `/proc/slabinfo` shows them (mm/slub.c; mm/slab.c until 6.7).
//!
//! *Trap*: a processor takes a whole slab to itself and the kernel then counts all objects in it as in use, whether they are
//! or not. `active` is what `/proc/slabinfo` says, and at most what is in use; `cpu_slabs` says how many slabs that is.

use crate::linux::Linux;
use crate::linux::walk::tell;

/// Nodes at most.
const MOST_NODES: u64 = 1024;
/// Slabs of one list that are looked at.
const MOST_SLABS: usize = 1 << 20;

/// One cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlabCache {
    /// Address of its `struct kmem_cache`.
    pub at: u64,
    /// Name.
    pub name: Option<String>,
    /// Bytes that its users see of an object.
    pub object_size: Option<u64>,
    /// Bytes that an object takes.
    pub size: Option<u64>,
    /// Objects of a full slab.
    pub per_slab: Option<u64>,
    /// Slabs.
    pub slabs: Result<u64, String>,
    /// Objects that there is room for.
    pub objects: Result<u64, String>,
    /// Objects that are in use; those of slabs that a processor has to itself all count.
    pub active: Result<u64, String>,
    /// Slabs that processors have to themselves.
    pub cpu_slabs: Result<u64, String>,
    /// Bytes of its slabs.
    pub bytes: Result<u64, String>,
    /// Names of its flags, as `HWCACHE_ALIGN`.
    pub flags: Option<Vec<String>>,
}

/// Flags before they were an enumeration (include/linux/slab.h until 6.8).
const FLAGS: &[(u64, &str)] = &[
    (0x100, "CONSISTENCY_CHECKS"),
    (0x400, "RED_ZONE"),
    (0x800, "POISON"),
    (0x2000, "HWCACHE_ALIGN"),
    (0x4000, "CACHE_DMA"),
    (0x8000, "CACHE_DMA32"),
    (0x1_0000, "STORE_USER"),
    (0x2_0000, "RECLAIM_ACCOUNT"),
    (0x4_0000, "PANIC"),
    (0x8_0000, "TYPESAFE_BY_RCU"),
    (0x10_0000, "MEM_SPREAD"),
    (0x20_0000, "TRACE"),
    (0x400_0000, "ACCOUNT"),
];

impl Linux {
    /// All caches, the newest first as the kernel keeps them; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn slab_caches(&self) -> Result<(Vec<SlabCache>, Vec<String>), String> {
        let mut remarks = Vec::new();
        let head = self.symbol("slab_caches").or_else(|why| self.head_of_caches().ok_or(why))?;
        let list = self.list(head, "kmem_cache", "list", "the list of caches", &mut remarks)?;
        let flags = self.slab_flags();
        let nodes: Vec<u32> = self.nodes()?.into_iter().map(|(number, _)| number).collect();
        let cpus = self.possible_cpus();
        let mut caches = Vec::new();
        for at in list {
            // Where the list leads astray there is no name.
            if self.int(at, "kmem_cache", "object_size").is_none() {
                tell(&mut remarks, || format!("the cache at {at:#x} is not in the dump"));
                continue;
            }
            caches.push(self.slab_cache(at, &nodes, &cpus, &flags));
        }
        Ok((caches, remarks))
    }

    /// The head of the list where no name leads to it: the caches behind `kmalloc()` are in it, and those are exported.
    fn head_of_caches(&self) -> Option<u64> {
        const SOME: u64 = 64;
        let caches = self.words(self.symbols.address("kmalloc_caches")?, SOME);
        let first = caches.into_iter().flatten().find(|at| *at != 0)?;
        self.head_of(first.wrapping_add(self.offset("kmem_cache", "list").ok()?))
    }

    fn slab_cache(&self, at: u64, nodes: &[u32], cpus: &[u32], flags: &[(u64, String)]) -> SlabCache {
        const PER_SLAB: u64 = 0xffff;
        // Objects of a slab in the low 16 bits, its order above (OO_SHIFT); the SLAB allocator has members for both.
        let shape = match self.int(at, "kmem_cache", "oo.x") {
            Some(shape) => Some((shape & PER_SLAB, shape >> 16)),
            None => self.int(at, "kmem_cache", "num").zip(self.int(at, "kmem_cache", "gfporder")),
        };
        let shape = shape.filter(|(_, order)| *order < 32);
        let counts = self.slab_counts(at, nodes, shape.map(|(objects, _)| objects));
        let part = |index: usize| match &counts {
            Ok(counts) => counts.get(index).copied().ok_or_else(String::new),
            Err(why) => Err(why.clone()),
        };
        let (slabs, objects, active) = (part(0), part(1), part(2));
        let bytes = slabs.clone().and_then(|slabs| {
            let (_, order) = shape.ok_or("the cache's shape is not in the dump")?;
            Ok(slabs.saturating_mul(self.page_bytes().wrapping_shl(order as u32)))
        });
        // An unsigned int until 6.8, and a long where the types say so.
        let own = self.value(at, "kmem_cache", "flags");
        let named = |own: u64| flags.iter().filter(|(bit, _)| own & bit != 0).map(|(_, name)| name.clone()).collect();
        SlabCache {
            at,
            name: self.pointer(at, "kmem_cache", "name").and_then(|name| self.text(name, 256)),
            object_size: self.int(at, "kmem_cache", "object_size"),
            size: self.int(at, "kmem_cache", "size"),
            per_slab: shape.map(|(objects, _)| objects),
            slabs,
            objects,
            active,
            cpu_slabs: self.cpu_slabs(at, cpus),
            bytes,
            flags: own.map(named),
        }
    }

    /// Slabs, objects, and objects in use, over all nodes.
    fn slab_counts(&self, at: u64, nodes: &[u32], per_slab: Option<u64>) -> Result<[u64; 3], String> {
        const NOT_HERE: &str = "the cache's nodes are not in the dump";
        let mut sums = [0u64; 3];
        for number in nodes.iter().copied().map(u64::from).filter(|number| *number < MOST_NODES) {
            let node = self.cache_node(at, number)?.ok_or(NOT_HERE)?;
            if node == 0 {
                continue;
            }
            let [slabs, objects, free] = if self.offset("kmem_cache_node", "total_slabs").is_ok() {
                // The SLAB allocator, until 6.7.
                let count = |member| self.pointer(node, "kmem_cache_node", member).ok_or(NOT_HERE);
                let slabs = count("total_slabs")?;
                let per_slab = per_slab.ok_or("the cache's shape is not in the dump")?;
                [slabs, slabs.saturating_mul(per_slab), count("free_objects")?]
            } else {
                self.offset("kmem_cache_node", "nr_slabs")
                    .map_err(|_| "this kernel does not count slabs (CONFIG_SLUB_DEBUG)".to_owned())?;
                let count = |member| self.pointer(node, "kmem_cache_node", member).ok_or(NOT_HERE);
                [count("nr_slabs")?, count("total_objects")?, self.free_in_partial(node)?]
            };
            let add = |sum: u64, more: u64| sum.saturating_add(more);
            let [all_slabs, all_objects, all_active] = sums;
            sums = [add(all_slabs, slabs), add(all_objects, objects), add(all_active, objects.saturating_sub(free))];
        }
        Ok(sums)
    }

    /// Address of a cache's `kmem_cache_node`; `None` if it is not in the dump.
    fn cache_node(&self, at: u64, number: u64) -> Result<Option<u64>, String> {
        let place = match self.offset("kmem_cache", "node") {
            Ok(table) => table.wrapping_add(8 * number),
            // Since 7.1 two pointers a node.
            Err(why) => {
                let table = self.offset("kmem_cache", "per_node").map_err(|_| why)?;
                let each = self.size("kmem_cache_per_node_ptrs")?;
                let own = self.offset("kmem_cache_per_node_ptrs", "node")?;
                table.wrapping_add(each.wrapping_mul(number)).wrapping_add(own)
            }
        };
        Ok(self.word(at.wrapping_add(place)))
    }

    /// What describes a slab: a structure of its own since 5.17, `struct page` before.
    fn slab_structure(&self) -> &'static str {
        if self.size("slab").is_ok() { "slab" } else { "page" }
    }

    /// Free objects of the slabs that are partly in use and that no processor has.
    fn free_in_partial(&self, node: u64) -> Result<u64, String> {
        let slab = self.slab_structure();
        let link = if self.offset(slab, "slab_list").is_ok() { "slab_list" } else { "lru" };
        let head = node.wrapping_add(self.offset("kmem_cache_node", "partial")?);
        let mut remarks = Vec::new();
        let slabs = self.list(head, slab, link, "the list of slabs", &mut remarks)?;
        if let Some(remark) = remarks.into_iter().next() {
            return Err(remark);
        }
        let mut free = 0u64;
        for at in slabs.into_iter().take(MOST_SLABS) {
            let objects = self.value(at, slab, "objects").ok_or("a slab's own description is not in the dump")?;
            let in_use = self.value(at, slab, "inuse").ok_or("a slab's own description is not in the dump")?;
            free = free.saturating_add(objects.saturating_sub(in_use));
        }
        Ok(free)
    }

    /// Slabs that processors have to themselves: the one that each takes objects from, and those behind it.
    fn cpu_slabs(&self, at: u64, cpus: &[u32]) -> Result<u64, String> {
        const MOST: u64 = 1 << 16;
        let own = self.offset("kmem_cache", "cpu_slab");
        own.map_err(|_| "processors have no slabs to themselves in this kernel".to_owned())?;
        let slab = self.slab_structure();
        let current = if self.offset("kmem_cache_cpu", "slab").is_ok() { "slab" } else { "page" };
        let next = self.offset(slab, "next");
        let place = self.pointer(at, "kmem_cache", "cpu_slab").ok_or("the cache is not in the dump")?;
        let mut count = 0u64;
        for cpu in cpus {
            let mine = self.per_cpu(*cpu, place).ok_or("the processors' own memory is not in the dump")?;
            let word = |member| self.pointer(mine, "kmem_cache_cpu", member);
            let not_here = "the processors' own memory is not in the dump";
            count += u64::from(word(current).ok_or(not_here)? != 0);
            // Without CONFIG_SLUB_CPU_PARTIAL there are none behind it.
            let (Some(mut behind), Ok(next)) = (word("partial"), &next) else { continue };
            let mut steps = 0;
            while behind != 0 {
                steps += 1;
                if steps > MOST {
                    return Err("a processor's list of slabs runs in a circle".into());
                }
                count += 1;
                behind = self.word(behind.wrapping_add(*next)).ok_or("a slab's own description is not in the dump")?;
            }
        }
        Ok(count)
    }

    /// Bits and names of caches' flags: an enumeration of their numbers since 6.9.
    fn slab_flags(&self) -> Vec<(u64, String)> {
        let types = self.types.as_ref().ok();
        let own = types.map(|types| types.enumerators_of("_slab_flag_bits")).unwrap_or_default();
        let mut flags: Vec<(u64, String)> = Vec::new();
        for (name, number) in own {
            let bit = u32::try_from(number).ok().and_then(|number| 1u64.checked_shl(number));
            if let (Some(bit), Some(name)) = (bit, name.strip_prefix("_SLAB_"))
                && name != "FLAGS_LAST_BIT"
            {
                flags.push((bit, name.to_owned()));
            }
        }
        if flags.is_empty() {
            flags = FLAGS.iter().map(|(bit, name)| (*bit, (*name).to_owned())).collect();
        }
        flags
    }
}
