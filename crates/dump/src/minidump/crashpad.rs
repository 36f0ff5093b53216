//! `MinidumpCrashpadInfo`: ids and annotations, of the process and of single modules. They become facts.
//!
//! *Example*: `crashpad.annotation.ptype` = `browser`, `crashpad.module.libfoo.so.note` = `…`.
//!
//! *Trap*: a module is named by its place in `ModuleListStream`, not by its address.

use super::codeview::turned;
use super::draft::Draft;
use super::input::{Input, List, Place};
use crate::bytes::Fields;

/// `MinidumpAnnotation::type` of text; other types are the program's own.
const ANNOTATION_STRING: u16 = 1;

pub(super) fn read(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 64);
    let fields = input.fields(&bytes);
    let Some(version) = fields.u32(0) else {
        input.loss("MD_CRASHPAD_INFO_STREAM is empty");
        return;
    };
    draft.fact("crashpad.version", version.to_string());
    for (name, at) in [("crashpad.report_id", 4), ("crashpad.client_id", 20)] {
        draft.fact_if(name, uuid(input, fields, at));
    }
    draft.fact_if("crashpad.address_mask", fields.u64(56).filter(|&mask| mask != 0).map(|mask| format!("{mask:#x}")));
    if let Some(at) = Place::at(fields, 36) {
        dictionary(input, at, "crashpad.annotation", draft);
    }
    if let Some(at) = Place::at(fields, 44) {
        modules(input, at, draft);
    }
}

fn uuid(input: &Input<'_>, fields: Fields<'_>, at: usize) -> Option<String> {
    let guid = fields.slice(at, 16).filter(|guid| guid.iter().any(|&b| b != 0))?;
    let hex: String = turned(guid, input.endian).iter().map(|b| format!("{b:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    Some([part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-"))
}

/// Count of a list that stands at a place, cut to what its size holds.
fn counted(input: &Input<'_>, place: Place, entry: u64, name: &str) -> Option<List> {
    let head = input.read(place, 4);
    let count = input.fields(&head).u32(0)?;
    Some(input.bounded(name, place, 4, u64::from(count), entry))
}

/// `MinidumpSimpleStringDictionary`: pairs of RVAs of UTF-8 strings.
fn dictionary(input: &Input<'_>, place: Place, prefix: &str, draft: &mut Draft) {
    let Some(list) = counted(input, place, 8, "a Crashpad dictionary") else {
        return;
    };
    input.walk("a Crashpad dictionary", list, 64, |fields| {
        let string = |at| fields.u32(at).and_then(|rva| input.utf8(u64::from(rva)));
        if let (Some(key), Some(value)) = (string(0), string(4))
            && input.book(prefix.len())
        {
            draft.fact(format!("{prefix}.{key}"), value);
        }
    });
}

/// `MinidumpModuleCrashpadInfoList`: index of a module, place of its `MinidumpModuleCrashpadInfo`.
fn modules(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let Some(list) = counted(input, place, 12, "the Crashpad module list") else {
        return;
    };
    let mut found = Vec::new();
    input.walk("the Crashpad module list", list, 16, |fields| {
        found.extend(fields.u32(0).zip(Place::at(fields, 4)));
    });
    for (index, at) in found {
        let path = draft.module_order.get(index as usize);
        let name =
            path.and_then(|path| path.rsplit(['/', '\\']).next()).map_or_else(|| index.to_string(), str::to_owned);
        let prefix = format!("crashpad.module.{name}");
        let bytes = input.read(at, 28);
        let fields = input.fields(&bytes);
        if let Some(at) = Place::at(fields, 4) {
            string_list(input, at, &prefix, draft);
        }
        if let Some(at) = Place::at(fields, 12) {
            dictionary(input, at, &prefix, draft);
        }
        if let Some(at) = Place::at(fields, 20) {
            objects(input, at, &prefix, draft);
        }
    }
}

/// `MinidumpRVAList` of UTF-8 strings.
fn string_list(input: &Input<'_>, place: Place, prefix: &str, draft: &mut Draft) {
    let Some(list) = counted(input, place, 4, "a Crashpad list") else {
        return;
    };
    let mut number = 0u32;
    input.walk("a Crashpad list", list, 64, |fields| {
        if let Some(value) = fields.u32(0).and_then(|rva| input.utf8(u64::from(rva)))
            && input.book(prefix.len())
        {
            draft.fact(format!("{prefix}.list.{number}"), value);
            number += 1;
        }
    });
}

/// `MinidumpAnnotationList`: RVA of the name, type, RVA of a `MinidumpByteArray`.
fn objects(input: &Input<'_>, place: Place, prefix: &str, draft: &mut Draft) {
    let Some(list) = counted(input, place, 12, "a Crashpad annotation list") else {
        return;
    };
    input.walk("a Crashpad annotation list", list, 64, |fields| {
        let name = fields.u32(0).and_then(|rva| input.utf8(u64::from(rva)));
        let value = fields.u32(8).and_then(|rva| input.counted(u64::from(rva), 0));
        let (Some(name), Some(kind), Some(value)) = (name, fields.u16(4), value) else {
            return;
        };
        if !input.book(prefix.len()) {
            return;
        }
        let value = if kind == ANNOTATION_STRING {
            String::from_utf8_lossy(&value).into_owned()
        } else {
            let hex: String = value.iter().take(64).map(|b| format!("{b:02x}")).collect();
            format!("type {kind:#x}, {} bytes: {hex}", value.len())
        };
        draft.fact(format!("{prefix}.{name}"), value);
    });
}
