//! `MINIDUMP_MISC_INFO` 1 to 5, system memory, virtual-memory counters, comments.
//!
//! *Trap*: which fields are there is told twice, by the size and by `Flags1`; both must agree. The times are in
//! seconds, not in FILETIME units.

use super::draft::Draft;
use super::input::{Input, Place, utf16, utf16_field};
use super::raw;
use crate::bytes::Fields;

/// Text of a comment that is kept.
const MAX_COMMENT: usize = 1 << 20;

pub(super) fn read_misc_info(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 1364);
    let all = input.fields(&bytes);
    let (Some(size), Some(flags)) = (all.u32(0), all.u32(4)) else {
        input.loss(format!("MiscInfoStream has {} of at least 24 bytes", bytes.len()));
        return;
    };
    if (size as usize) > bytes.len() && place.size < u64::from(size) {
        input.remark(format!("MiscInfoStream says it has {size} bytes, its directory entry {}", place.size));
    }
    // lldb's test files leave the size 0; then the directory's is all there is.
    let size = if size < 24 { bytes.len() } else { size as usize };
    let fields = input.fields(bytes.get(..size).unwrap_or(&bytes));
    let has = |flag: u32| flags & flag != 0;
    let process = &mut draft.dump.process;
    if has(raw::MINIDUMP_MISC1_PROCESS_ID) {
        process.pid = fields.u32(8);
    }
    if has(raw::MINIDUMP_MISC1_PROCESS_TIMES) {
        process.start_time = fields.u32(12).filter(|&time| time != 0).map(i64::from);
        process.user_time_us = fields.u32(16).map(|seconds| u64::from(seconds) * 1_000_000);
        process.system_time_us = fields.u32(20).map(|seconds| u64::from(seconds) * 1_000_000);
    }
    if has(raw::MINIDUMP_MISC1_PROCESSOR_POWER_INFO) {
        let mhz = |at| fields.u32(at).filter(|&mhz| mhz != 0).map(|mhz| mhz.to_string());
        draft.fact_if("cpu_max_mhz", mhz(24));
        draft.fact_if("cpu_current_mhz", mhz(28));
    }
    if has(raw::MINIDUMP_MISC3_PROCESS_INTEGRITY) {
        draft.fact_if("integrity_level", fields.u32(44).map(|level| format!("{level:#x}")));
    }
    if has(raw::MINIDUMP_MISC3_PROCESS_EXECUTE_FLAGS) {
        draft.fact_if("execute_flags", fields.u32(48).map(|flags| format!("{flags:#x}")));
    }
    if has(raw::MINIDUMP_MISC3_PROTECTED_PROCESS) {
        draft.fact_if("protected_process", fields.u32(52).map(|protected| protected.to_string()));
    }
    if has(raw::MINIDUMP_MISC3_TIMEZONE) {
        time_zone(input, fields, draft);
    }
    if has(raw::MINIDUMP_MISC4_BUILDSTRING) {
        draft.fact_if("os_build", utf16_field(fields, 232, 520, input.endian));
        draft.fact_if("dbghelp_build", utf16_field(fields, 752, 80, input.endian));
    }
    // XSTATE_CONFIG_FEATURE_MSC_INFO: size, context size, enabled features, then 64 × (offset, size).
    if let Some(features) = fields.u64(840).filter(|&features| features != 0) {
        draft.fact("xstate_features", format!("{features:#x}"));
    }
    if has(raw::MINIDUMP_MISC5_PROCESS_COOKIE) {
        draft.fact_if("process_cookie", fields.u32(1360).map(|cookie| format!("{cookie:#x}")));
    }
}

/// `TimeZoneId` and `TIME_ZONE_INFORMATION`: which name and bias count depends on the id.
fn time_zone(input: &Input<'_>, fields: Fields<'_>, draft: &mut Draft) {
    let Some((id, bias)) = fields.u32(56).zip(fields.i32(60)) else {
        return;
    };
    // 2 is daylight saving time; 0 (unknown) and 1 take the standard name and bias.
    let (name, extra) = if id == 2 { (148, 228) } else { (64, 144) };
    let minutes = bias.saturating_add(fields.i32(extra).unwrap_or(0));
    draft.fact_if("time_zone", utf16_field(fields, name, 64, input.endian));
    // Windows counts from local time to UTC; everybody else the other way round.
    draft.fact("utc_offset_minutes", minutes.saturating_neg().to_string());
}

/// `MINIDUMP_SYSTEM_MEMORY_INFO_1`: basic information, file cache, performance counters.
pub(super) fn read_system_memory_info(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 512);
    let fields = input.fields(&bytes);
    // Revision and flags (2 × u16), SYSTEM_BASIC_INFORMATION at 4: timer resolution, page size, physical pages.
    let page = fields.u32(8).filter(|&size| size != 0);
    draft.fact_if("page_size", page.map(|size| size.to_string()));
    draft.fact_if("physical_pages", fields.u32(12).filter(|&pages| pages != 0).map(|pages| pages.to_string()));
}

/// `MINIDUMP_PROCESS_VM_COUNTERS_1` and `_2`: memory use of the process.
pub(super) fn read_vm_counters(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 256);
    let fields = input.fields(&bytes);
    let (Some(revision), Some(faults)) = (fields.u16(0), fields.u32(4)) else {
        input.loss(format!("ProcessVmCountersStream has {} bytes", bytes.len()));
        return;
    };
    draft.fact("page_faults", faults.to_string());
    const COUNTERS: [(&str, usize); 6] = [
        ("peak_working_set_bytes", 8),
        ("working_set_bytes", 16),
        ("peak_paged_pool_bytes", 24),
        ("paged_pool_bytes", 32),
        ("pagefile_bytes", 56),
        ("peak_pagefile_bytes", 64),
    ];
    // Revision 2 put the virtual sizes before the private usage, each behind a flag of its own.
    let flags = fields.u16(2).unwrap_or(0);
    let tail: &[(&str, usize, bool)] = if revision >= 2 {
        &[
            ("peak_virtual_bytes", 72, flags & 2 != 0),
            ("virtual_bytes", 80, flags & 2 != 0),
            ("private_bytes", 88, flags & 4 != 0),
        ]
    } else {
        &[("private_bytes", 72, true)]
    };
    let tail = tail.iter().filter(|(_, _, there)| *there).map(|&(name, at, _)| (name, at));
    for (name, at) in COUNTERS.into_iter().chain(tail) {
        draft.fact_if(name, fields.u64(at).map(|bytes| bytes.to_string()));
    }
}

pub(super) fn read_comment_a(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let text = input.text("CommentStreamA", place, MAX_COMMENT);
    draft.fact_if("comment", Some(text.trim_end_matches('\0').to_owned()));
}

pub(super) fn read_comment_w(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, MAX_COMMENT);
    if input.book(bytes.len()) {
        let text = utf16(&bytes, input.endian);
        draft.fact_if("comment", Some(text.trim_end_matches('\0').to_owned()));
    }
}
