//! Streams that Mozilla's minidump-writer adds on Linux: limits and soft errors.

use super::draft::Draft;
use super::input::{Input, Place};

const MAX_TEXT: usize = 1 << 20;

/// `/proc/PID/limits`.
pub(super) fn read_limits(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let text = input.text("MozLinuxLimits", place, MAX_TEXT);
    draft.fact_if("proc_limits", Some(text));
}

/// A JSON array of what went wrong while the dump was written; each element becomes one line of soft errors.
pub(super) fn read_soft_errors(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let text = input.text("MozSoftErrors", place, MAX_TEXT);
    for element in elements(text.trim_end_matches('\0').trim()) {
        if !input.book(element.len()) {
            return;
        }
        draft.dump.soft_errors.push(element.to_owned());
    }
}

/// The elements of a JSON array as text; anything else, or an array that does not end, as one element.
fn elements(json: &str) -> Vec<&str> {
    let Some(inner) = json.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return if json.is_empty() { Vec::new() } else { vec![json] };
    };
    let (mut depth, mut quoted, mut escaped, mut start) = (0usize, false, false, 0);
    let mut found = Vec::new();
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '{' => depth += 1,
            ']' | '}' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return vec![json],
            },
            ',' if depth == 0 => {
                found.extend(inner.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    found.extend(inner.get(start..));
    let found = found.into_iter().map(str::trim).filter(|element| !element.is_empty());
    if depth == 0 && !quoted { found.collect() } else { vec![json] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_elements() {
        assert_eq!(elements(r#"[{"a": [1, 2]}, "x,]\"", 3]"#), [r#"{"a": [1, 2]}"#, r#""x,]\"""#, "3"]);
        assert_eq!(elements("[]"), [""; 0]);
        assert_eq!(elements("broken [1, 2"), ["broken [1, 2"]);
        assert_eq!(elements("[1, {2]"), ["[1, {2]"]);
        assert_eq!(elements("[1]]"), ["[1]]"]);
    }
}
