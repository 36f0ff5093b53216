//! What a driver's own headers say of it, as far as they are in the dump: link time, debug file, version.
//!
//! *Trap*: drivers discard their headers' neighbours and page out their resources; every step may find nothing.

use super::physical::read_virtual;
use crate::bytes::Fields;
use crate::minidump::codeview_rsds;
use crate::{Endian, Memory, ModuleRecord, SegmentMemory, Virt};

/// `IMAGE_DEBUG_TYPE_CODEVIEW`.
const CODEVIEW: u32 = 2;
/// Resource type of versions.
const RT_VERSION: u32 = 16;
/// Entries of one directory of resources that are looked at.
const MAX_ENTRIES: usize = 64;

/// Fills in what is known of a module at its base.
pub(super) fn identify(memory: &dyn Memory<Virt>, module: &mut ModuleRecord) {
    let head = read_virtual(memory, module.base, 0x400);
    let fields = Fields::new(&head, Endian::Little);
    let Some(pe) = fields.u32(0x3c).filter(|_| head.starts_with(b"MZ")).map(|at| at as usize) else { return };
    if fields.slice(pe, 4) != Some(b"PE\0\0") {
        return;
    }
    module.timestamp = fields.u32(pe + 8).or(module.timestamp);
    let optional = pe + 24;
    // The data directories stand behind 96 bytes, or 112 with 64-bit addresses; 2 is resources, 6 is debugging.
    let directories = match fields.u16(optional) {
        Some(0x10b) => optional + 96,
        Some(0x20b) => optional + 112,
        _ => return,
    };
    let size = module.end.saturating_sub(module.base);
    let directory = |index: usize| {
        let (at, len) = (fields.u32(directories + index * 8)?, fields.u32(directories + index * 8 + 4)?);
        (at != 0 && u64::from(at) < size).then_some((u64::from(at), len as usize))
    };
    if let Some((at, len)) = directory(6) {
        debug(memory, module, at, len);
    }
    if let Some((at, _)) = directory(2) {
        module.version = version(memory, module.base, at, size).or(module.version.take());
    }
}

fn debug(memory: &dyn Memory<Virt>, module: &mut ModuleRecord, at: u64, len: usize) {
    let bytes = read_virtual(memory, module.base.saturating_add(at), len.min(28 * 16));
    for entry in bytes.chunks_exact(28) {
        let fields = Fields::new(entry, Endian::Little);
        let (Some(kind), Some(len), Some(place)) = (fields.u32(12), fields.u32(16), fields.u32(20)) else { continue };
        if kind != CODEVIEW || place == 0 {
            continue;
        }
        let record = read_virtual(memory, module.base.saturating_add(u64::from(place)), (len as usize).min(1024));
        if let Some((build_id, debug_id, file)) = codeview_rsds(&record) {
            module.build_id = Some(build_id);
            module.debug_id = Some(debug_id);
            module.debug_file = file;
            return;
        }
    }
}

/// Looks for a debug record in whatever the dump holds of a module whose headers do not lead to it: small dumps keep the
/// record (`GCTL` and `RSDS` lie side by side) but only 256 bytes of the headers.
pub(super) fn search(memory: &SegmentMemory<Virt>, module: &mut ModuleRecord) {
    const MOST: u64 = 1 << 20;
    if module.debug_id.is_some() {
        return;
    }
    let segments = memory.segments();
    let first = segments.partition_point(|segment| segment.end.0 <= module.base);
    let inside = segments.get(first..).unwrap_or_default().iter().take_while(|segment| segment.start.0 < module.end);
    let mut looked = 0;
    for segment in inside {
        let start = segment.start.0.max(module.base);
        let len = segment.end.0.min(module.end).saturating_sub(start);
        looked += len;
        if looked > MOST {
            return;
        }
        let bytes = read_virtual(memory, start, len as usize);
        for at in bytes.windows(4).enumerate().filter(|(_, word)| *word == b"RSDS").map(|(at, _)| at) {
            let record = bytes.get(at..(at + 1024).min(bytes.len())).unwrap_or_default();
            let Some((build_id, debug_id, Some(file))) = codeview_rsds(record) else { continue };
            if file.to_ascii_lowercase().ends_with(".pdb") && build_id.iter().any(|&byte| byte != 0) {
                module.build_id = Some(build_id);
                module.debug_id = Some(debug_id);
                module.debug_file = Some(file);
                return;
            }
        }
    }
}

/// The file's version out of `VS_FIXEDFILEINFO`.
fn version(memory: &dyn Memory<Virt>, base: u64, resources: u64, size: u64) -> Option<String> {
    let root = base.checked_add(resources)?;
    let mut at = 0u64;
    // Type, name, language: three levels, then the place of the data.
    for level in 0..3 {
        let bytes = read_virtual(memory, root.checked_add(at)?, 16 + 8 * MAX_ENTRIES);
        let fields = Fields::new(&bytes, Endian::Little);
        let count = usize::from(fields.u16(12)?) + usize::from(fields.u16(14)?);
        let mut entries =
            (0..count.min(MAX_ENTRIES)).filter_map(|i| Some((fields.u32(16 + i * 8)?, fields.u32(20 + i * 8)?)));
        let (_, next) = entries.find(|(id, _)| level > 0 || *id == RT_VERSION)?;
        if (next >> 31 == 1) != (level < 2) {
            return None;
        }
        at = u64::from(next & 0x7fff_ffff);
    }
    let place = read_virtual(memory, root.checked_add(at)?, 8);
    let place = Fields::new(&place, Endian::Little);
    let (at, len) = (u64::from(place.u32(0)?), place.u32(4)? as usize);
    if at >= size {
        return None;
    }
    let bytes = read_virtual(memory, base.checked_add(at)?, len.min(256));
    let found = bytes.windows(4).position(|word| word == 0xfeef_04bd_u32.to_le_bytes())?;
    let fields = Fields::new(bytes.get(found..)?, Endian::Little);
    let (high, low) = (fields.u32(8)?, fields.u32(12)?);
    Some(format!("{}.{}.{}.{}", high >> 16, high & 0xffff, low >> 16, low & 0xffff))
}
