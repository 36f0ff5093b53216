//! Whether a dump of `zoo` holds of each mapping what it must.

use super::core::Core;
use serde_json::Value;

/// Address and value of every mark of the mappings whose `active` is this word.
#[must_use]
pub fn marks(ready: &Value, active: &str) -> Vec<(String, u64, u64)> {
    let mut marks = Vec::new();
    for mapping in ready.get("mappings").and_then(Value::as_array).into_iter().flatten() {
        if mapping.get("active").and_then(Value::as_str) != Some(active) {
            continue;
        }
        let name = mapping.get("name").and_then(Value::as_str).unwrap_or_default();
        for mark in mapping.get("marks").and_then(Value::as_array).into_iter().flatten() {
            let get = |index: usize| mark.get(index).and_then(Value::as_u64).unwrap_or(0);
            marks.push((name.to_owned(), get(0), get(1)));
        }
    }
    marks
}

/// What is wrong with an active dump of the program that said `ready`.
#[must_use]
pub fn zoo_faults(ready: &Value, core: &Core) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, at, value) in marks(ready, "present") {
        match core.u64_at(at) {
            Some(found) if found == value => {}
            Some(found) => faults.push(format!("{name}: {at:#x} holds {found:#x}, not {value:#x}")),
            None => faults.push(format!("{name}: {at:#x} is missing")),
        }
    }
    for (name, at, value) in marks(ready, "absent") {
        if core.u64_at(at) == Some(value) {
            faults.push(format!("{name}: {at:#x} must not be in the dump"));
        }
    }
    for (name, at, value) in marks(ready, "either") {
        if core.u64_at(at).is_some_and(|found| found != value) {
            faults.push(format!("{name}: {at:#x} is stored, and wrong"));
        }
    }
    for mapping in ready.get("mappings").and_then(Value::as_array).into_iter().flatten() {
        if mapping.get("active").and_then(Value::as_str) != Some("zero") {
            continue;
        }
        let get = |name: &str| mapping.get(name).and_then(Value::as_u64).unwrap_or(0);
        let name = mapping.get("name").and_then(Value::as_str).unwrap_or_default();
        for place in [get("start"), get("start") + get("length") / 2 / 8 * 8, get("start") + get("length") - 8] {
            // What is not stored is no lie either.
            if core.u64_at(place).is_some_and(|found| found != 0) {
                faults.push(format!("{name}: {place:#x} is not zero"));
            }
        }
    }
    faults
}
