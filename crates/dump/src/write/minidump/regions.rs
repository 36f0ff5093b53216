//! `MemoryInfoListStream`: the shape of the address space in Windows' terms.
//!
//! *What it is not*: free ranges are not listed; what stands between regions was not mapped.
//!
//! *Trap*: a reader takes the list for the whole address space. A dump that does not know all of it gets none.

use super::File;
use crate::minidump::raw;
use crate::{Absence, Permissions, Region};

/// Writes the list, if the dump's regions are the whole address space.
pub(super) fn memory_info_list(file: &mut File<'_>) {
    let dump = file.dump;
    if dump.memory.elsewhere() != Absence::NotMapped || dump.regions.is_empty() {
        return;
    }
    let modules = &dump.modules;
    let image = |region: &Region| {
        let next = modules.partition_point(|module| module.base <= region.start.0);
        next.checked_sub(1).and_then(|i| modules.get(i)).is_some_and(|module| region.start.0 < module.end)
    };
    file.stream(raw::MEMORY_INFO_LIST_STREAM, |pen| {
        pen.u32(16);
        pen.u32(48);
        pen.u64(dump.regions.len() as u64);
        let (mut base, mut last): (u64, Option<&Region>) = (0, None);
        for region in &dump.regions {
            // What was mapped at once: neighbours of one file.
            let goes_on =
                last.is_some_and(|last| last.end == region.start && last.path == region.path && region.path.is_some());
            base = if goes_on { base } else { region.start.0 };
            last = Some(region);
            let path = region.path.as_deref();
            let reserved = path == Some("[reserved]");
            let protect = match (path, region.permissions) {
                (_, None) => 0,
                _ if reserved => 0,
                (Some("[guard]"), _) => 0x4 | raw::PAGE_GUARD,
                (_, Some(permissions)) => protection(permissions),
            };
            let kind = match path {
                _ if image(region) => raw::MEM_IMAGE,
                Some(path) if path.starts_with('/') => raw::MEM_MAPPED,
                _ => raw::MEM_PRIVATE,
            };
            pen.u64(region.start.0);
            pen.u64(base);
            pen.u32(protect);
            pen.u32(0);
            pen.u64(region.end.0 - region.start.0);
            pen.u32(if reserved { raw::MEM_RESERVE } else { raw::MEM_COMMIT });
            pen.u32(protect);
            pen.u32(kind);
            pen.u32(0);
        }
    });
}

/// `PAGE_*`; Windows has no page that can be written but not read.
fn protection(permissions: Permissions) -> u32 {
    match (permissions.read, permissions.write, permissions.execute) {
        (false, false, false) => 0x01,
        (true, false, false) => 0x02,
        (_, true, false) => 0x04,
        (false, false, true) => 0x10,
        (true, false, true) => 0x20,
        (_, true, true) => 0x40,
    }
}
