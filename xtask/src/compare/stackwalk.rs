//! The stacks in a stored output of minidump-stackwalk (rust-minidump 0.27).
//!
//! It only reads. For example `{"offset": "0x401125", "trust": "scan"}` in a thread's `frames` is one frame.
//!
//! Trap: of a caller it gives not the return address but an address within the call: one byte less on x86, one
//! instruction less on ARM64, two bytes less on ARM (each unwinder's `adjust_instruction`).

use super::frame::{Frame, Stack, hex};
use serde_json::Value;

/// All threads' frames.
pub fn stacks(report: &Value) -> Vec<Stack> {
    let back = match report["system_info"]["cpu_arch"].as_str() {
        Some("arm64") => 4,
        Some("arm") => 2,
        _ => 1,
    };
    list(&report["threads"])
        .iter()
        .map(|thread| {
            let tid = thread["thread_id"].as_u64().and_then(|tid| u32::try_from(tid).ok()).unwrap_or_default();
            let frames = list(&thread["frames"]).iter().enumerate();
            let frames = frames.flat_map(|(index, frame)| of_frame(frame, index, back)).collect();
            Stack { tid, frames, whole: false }
        })
        .collect()
}

/// Whether it had symbols of any module.
pub fn had_symbols(report: &Value) -> bool {
    list(&report["modules"]).iter().any(|module| module["loaded_symbols"] == true)
}

fn of_frame(frame: &Value, index: usize, back: u64) -> Vec<Frame> {
    let at = frame["offset"].as_str().and_then(hex);
    let context = frame["trust"] == "context" || index == 0;
    let pc = at.map(|at| if context { at } else { at.wrapping_add(back) });
    let guessed = matches!(frame["trust"].as_str(), Some("scan" | "cfi_scan"));
    let without_tables = matches!(frame["trust"].as_str(), Some("scan" | "cfi_scan" | "frame_pointer"));
    let by_tables = frame["trust"] == "cfi";
    let one = |function: &Value| {
        let name = function.as_str().map(str::to_owned);
        Frame { pc, name, guessed, signal: false, by_tables, without_tables }
    };
    let inlined = list(&frame["inlines"]).iter().map(|inline| one(&inline["function"]));
    inlined.chain([one(&frame["function"])]).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
