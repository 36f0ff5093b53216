//! What the memory of a Linux machine is used for: by the kernel's own counters, by zones, by caches of small objects.

use super::files::{not_here, rows};
use super::linux;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError};
use afterimage_target::Target;

row! {
    /// What the memory of a Linux machine is used for, by the names of `/proc/meminfo`, in bytes.
    ///
    /// What each processor has counted for itself and not yet handed over is added, so the numbers may differ by some pages
    /// from what the machine showed. Huge pages are given in bytes too, a row for each size.
    MemoryUsageRow {
        /// Name, as `MemFree`, `Slab`, `HugePages_Free(2048kB)`.
        name: String,
        /// Bytes.
        bytes: Field<u64>,
        /// The kernel's counters or variables that it comes from.
        source: &'static str,
    }
}

row! {
    /// The zones of a Linux machine's memory, as `/proc/zoneinfo` has them.
    MemoryZoneRow {
        /// Number of the memory node.
        node: u32,
        /// Name, as `DMA32`.
        zone: Field<String>,
        /// Physical address of its first page.
        start: Field<Addr>,
        /// Bytes from its first page to its last, holes too.
        spanned: Field<u64>,
        /// Bytes that are there.
        present: Field<u64>,
        /// Bytes that its allocator manages.
        managed: Field<u64>,
        /// Free bytes.
        free: Field<u64>,
        /// Below so many free bytes only urgent requests are served.
        min: Field<u64>,
        /// Below so many the kernel begins to free memory.
        low: Field<u64>,
        /// At so many it ends.
        high: Field<u64>,
        /// Bytes by which all three are raised for a while.
        boost: Field<u64>,
    }
}

row! {
    /// Caches of small objects of a Linux kernel, as `/proc/slabinfo` has them, the newest first.
    SlabCacheRow {
        /// Name; caches that were merged have the name of the first.
        name: Field<String>,
        /// Bytes that its users see of an object.
        object_size: Field<u64>,
        /// Bytes that an object takes.
        size: Field<u64>,
        /// Objects that there is room for.
        objects: Field<u64>,
        /// Objects in use; all of a slab that a processor has to itself count.
        active: Field<u64>,
        /// Objects of a full slab.
        per_slab: Field<u64>,
        /// Slabs.
        slabs: Field<u64>,
        /// Slabs that processors have to themselves.
        cpu_slabs: Field<u64>,
        /// Bytes of its slabs.
        bytes: Field<u64>,
        /// Flags, separated by commas, as `HWCACHE_ALIGN,PANIC`.
        flags: Field<String>,
        /// Where its `struct kmem_cache` lies.
        address: Addr,
    }
}

pub(crate) fn usage(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.memory_usage().map(|found| (found, Vec::new())), sink, |one| MemoryUsageRow {
        name: one.name,
        bytes: one.bytes.map_err(Absent::because),
        source: one.source,
    });
    Ok(())
}

pub(crate) fn zones(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.memory_zones(), sink, |zone| {
        let [min, low, high] = zone.watermarks.map(|mark| mark.ok_or_else(not_here));
        MemoryZoneRow {
            node: zone.node,
            zone: zone.name.ok_or_else(not_here),
            start: zone.start.map(Addr).ok_or_else(not_here),
            spanned: zone.spanned.ok_or_else(not_here),
            present: zone.present.ok_or_else(not_here),
            managed: zone.managed.ok_or_else(not_here),
            free: zone.free.ok_or_else(not_here),
            min,
            low,
            high,
            boost: zone.boost.ok_or(Absent::because("this kernel does not raise them")),
        }
    });
    Ok(())
}

pub(crate) fn slabs(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.slab_caches(), sink, |cache| SlabCacheRow {
        name: cache.name.ok_or_else(not_here),
        object_size: cache.object_size.ok_or_else(not_here),
        size: cache.size.ok_or_else(not_here),
        objects: cache.objects.map_err(Absent::because),
        active: cache.active.map_err(Absent::because),
        per_slab: cache.per_slab.ok_or_else(not_here),
        slabs: cache.slabs.map_err(Absent::because),
        cpu_slabs: cache.cpu_slabs.map_err(Absent::because),
        bytes: cache.bytes.map_err(Absent::because),
        flags: cache.flags.map(|flags| flags.join(",")).ok_or_else(not_here),
        address: Addr(cache.at),
    });
    Ok(())
}
