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
        draft.dump.soft_errors.push(plain(element).unwrap_or_else(|| element.to_owned()));
    }
}

/// The text of a JSON string; `None` for other values and for escapes that are broken.
fn plain(json: &str) -> Option<String> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match rest.next()? {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'u' => {
                let digits = rest.as_str().get(..4)?;
                text.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                rest = rest.as_str().get(4..)?.chars();
            }
            c @ ('"' | '\\' | '/') => text.push(c),
            _ => return None,
        }
    }
    Some(text)
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
    fn strings_are_text() {
        assert_eq!(plain(r#""a \"b\" \u000a\\""#).unwrap(), "a \"b\" \n\\");
        assert_eq!(plain(r#""\q""#), None);
        assert_eq!(plain(r#""\ud800""#), None);
        assert_eq!(plain("3"), None);
    }

    #[test]
    fn array_elements() {
        assert_eq!(elements(r#"[{"a": [1, 2]}, "x,]\"", 3]"#), [r#"{"a": [1, 2]}"#, r#""x,]\"""#, "3"]);
        assert_eq!(elements("[]"), [""; 0]);
        assert_eq!(elements("broken [1, 2"), ["broken [1, 2"]);
        assert_eq!(elements("[1, {2]"), ["[1, {2]"]);
        assert_eq!(elements("[1]]"), ["[1]]"]);
    }
}
