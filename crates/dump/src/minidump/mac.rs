//! Mozilla's macOS streams: `__DATA,__crash_info` of the modules, and the kernel's boot arguments.
//!
//! *Trap*: in a crash-info record the strings follow the fixed part, whose length only the stream's header tells; newer
//! versions have a longer one.

use super::draft::Draft;
use super::input::{Input, Place};

/// `MINIDUMP_MAC_CRASH_INFO` has room for so many records.
const MAX_RECORDS: usize = 20;
/// Bytes of one record that are read: five strings of at most 8 KiB each, and the fixed part.
const MAX_RECORD: usize = 5 * 8192 + 256;

/// `MINIDUMP_MAC_CRASH_INFO`: stream type, count, length of a record's fixed part, then 20 locations.
pub(super) fn read_crash_info(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 12 + MAX_RECORDS * 8);
    let fields = input.fields(&bytes);
    let (Some(count), Some(fixed)) = (fields.u32(4), fields.u32(8)) else {
        input.loss(format!("MozMacosCrashInfoStream has {} bytes", bytes.len()));
        return;
    };
    if count as usize > MAX_RECORDS {
        input.remark(format!("MozMacosCrashInfoStream claims {count} records, there is room for {MAX_RECORDS}"));
    }
    for index in 0..MAX_RECORDS.min(count as usize) {
        if let Some(at) = Place::at(fields, 12 + index * 8) {
            read_record(input, at, fixed as usize, index, draft);
        }
    }
}

fn read_record(input: &Input<'_>, at: Place, fixed: usize, index: usize, draft: &mut Draft) {
    const STRINGS: [&str; 5] = ["module_path", "message", "signature_string", "backtrace", "message2"];
    // stream_type, version, then since version 4: thread, dialog_mode; since version 5: abort_cause.
    const NUMBERS: [(&str, usize); 4] = [("version", 8), ("thread", 16), ("dialog_mode", 24), ("abort_cause", 32)];
    let bytes = input.read(at, MAX_RECORD);
    if !input.book(bytes.len()) {
        return;
    }
    let head = input.fields(bytes.get(..fixed).unwrap_or(&bytes));
    for (name, at) in NUMBERS {
        let value = head.u64(at).filter(|&value| value != 0);
        draft.fact_if(&format!("mac_crash_info.{index}.{name}"), value.map(|value| value.to_string()));
    }
    let mut strings = bytes.get(fixed..).unwrap_or_default().split(|&b| b == 0);
    for name in STRINGS {
        let text = strings.next().map(|text| String::from_utf8_lossy(text).into_owned());
        draft.fact_if(&format!("mac_crash_info.{index}.{name}"), text);
    }
}

/// `MINIDUMP_MAC_BOOTARGS`: stream type, then the 64-bit RVA of a string.
pub(super) fn read_boot_args(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 12);
    let args = input.fields(&bytes).u64(4).and_then(|rva| input.utf16(rva));
    draft.fact_if("mac_boot_args", args.map(|args| args.trim_end_matches('\0').to_owned()));
}
