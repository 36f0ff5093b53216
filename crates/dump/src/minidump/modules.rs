//! Modules, loaded and unloaded.
//!
//! *Trap*: `SizeOfImage` has 32 bits, and iOS and Android shared caches list modules that overlap. The list is kept
//! as it is, only sorted by base address.

use super::codeview;
use super::draft::Draft;
use super::input::{Input, Place};
use super::raw;
use crate::bytes::Fields;
use crate::{ModuleRecord, Os};

/// Bytes of `MINIDUMP_MODULE`: 8 + 4×4 + 52 + 2×8 + 2×8.
const MODULE: u64 = 108;
/// Bytes of `MINIDUMP_UNLOADED_MODULE`.
const UNLOADED: u64 = 24;

pub(super) fn read_modules(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let Some(list) = input.list("ModuleListStream", place, MODULE) else {
        return;
    };
    let os = draft.dump.os;
    input.walk("ModuleListStream", list, size_of::<ModuleRecord>() + 64, |fields| {
        if let Some(mut module) = record(input, fields, 20) {
            module.version = version(fields, os);
            if let Some(at) = Place::at(fields, 76) {
                codeview::read(input, at, os, &mut module);
            }
            if input.book(module.path.len()) {
                draft.module_order.push(module.path.clone());
            }
            draft.dump.modules.push(module);
        }
    });
    if draft.dump.os == Os::Unknown && draft.platform.is_none() {
        input.remark("there is no SystemInfoStream: which system this was is a guess at best");
    }
}

pub(super) fn read_unloaded(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let Some(list) = input.sized_list("UnloadedModuleListStream", place, 4, UNLOADED) else {
        return;
    };
    input.walk("UnloadedModuleListStream", list, size_of::<ModuleRecord>(), |fields| {
        draft.dump.unloaded_modules.extend(record(input, fields, 20));
    });
}

/// What both lists begin with: base, size, checksum, time, RVA of the name.
fn record(input: &Input<'_>, fields: Fields<'_>, name: usize) -> Option<ModuleRecord> {
    let base = fields.u64(0)?;
    Some(ModuleRecord {
        base,
        end: base.saturating_add(u64::from(fields.u32(8)?)),
        path: input.utf16(u64::from(fields.u32(name)?)).unwrap_or_default(),
        timestamp: fields.u32(16).filter(|&time| time != 0),
        ..ModuleRecord::default()
    })
}

/// `VS_FIXEDFILEINFO` at 24.
///
/// Folklore: Crashpad fills it for every system with four 16-bit numbers; Mozilla's minidump-writer on Linux puts an
/// ELF's version into four 32-bit fields instead, and Crashpad leaves zeros for ELF files.
fn version(fields: Fields<'_>, os: Os) -> Option<String> {
    if fields.u32(24)? != raw::VS_FFI_SIGNATURE {
        return None;
    }
    let (high, low) = (fields.u32(32)?, fields.u32(36)?);
    if matches!(os, Os::Windows | Os::MacOs | Os::Ios) {
        return Some(format!("{}.{}.{}.{}", high >> 16, high & 0xffff, low >> 16, low & 0xffff));
    }
    let product = (fields.u32(40)?, fields.u32(44)?);
    match (high, low, product) {
        (0, 0, (0, 0)) => None,
        (high, low, (third, fourth)) => Some(format!("{high}.{low}.{third}.{fourth}")),
    }
}
