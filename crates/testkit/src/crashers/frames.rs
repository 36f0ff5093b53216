//! Compares a stack with the one that a [`Crasher`](super::Crasher) expects.
//!
//! It knows names only; how the stack was found is the caller's business. For example `store::engine::read(int)`
//! agrees with `read`, and `panics::pick` with `pick`.
//!
//! Trap: a [`GAP`] takes as few frames as it can, so a name after it must not be the name of a library's function.

use super::model::{GAP, SIGNAL_FRAME, UNKNOWN};

/// Whether the stack begins as expected: `actual` is innermost first, `None` for a frame without a name, and
/// [`SIGNAL_FRAME`] for a signal frame.
///
/// # Errors
/// One line that says which expected frame is missing.
pub fn frames_agree(expected: &[&str], actual: &[Option<&str>]) -> Result<(), String> {
    let mut rest = actual.iter();
    let mut gap = false;
    for (index, want) in expected.iter().enumerate() {
        if *want == GAP {
            gap = true;
            continue;
        }
        loop {
            let Some(got) = rest.next() else { return Err(format!("no frame {want} (expected as number {index})")) };
            if frame_agrees(want, *got) {
                break;
            }
            if !gap {
                let got = got.unwrap_or(UNKNOWN);
                return Err(format!("frame {got} where {want} is expected (as number {index})"));
            }
        }
        gap = false;
    }
    Ok(())
}

fn frame_agrees(want: &str, got: Option<&str>) -> bool {
    match (want, got) {
        (UNKNOWN, _) => got != Some(SIGNAL_FRAME),
        (_, None) => false,
        (_, Some(got)) => want == got || want == base_name(got),
    }
}

/// The last word of a demangled name: without namespaces, template arguments, parameters and hash.
///
/// `store::engine::read(int)` is `read`; `<pointers::Raw as pointers::Source>::read` is `read`;
/// `main::{closure#0}` is `{closure#0}`.
#[must_use]
pub fn base_name(name: &str) -> &str {
    // The operator whose own name is made of brackets.
    const CALL: &str = "operator()";
    if name.contains(CALL) {
        return CALL;
    }
    let mut depth = 0i32;
    let mut start = 0;
    let mut end = None;
    for (at, letter) in name.char_indices() {
        match letter {
            '<' | '{' | '[' => {
                if depth == 0 && letter == '<' && at > start && end.is_none() {
                    end = Some(at);
                }
                depth += 1;
            }
            '>' | '}' | ']' => depth -= 1,
            '(' if depth == 0 => {
                end = end.or(Some(at));
                break;
            }
            // `lookup::<T>`: the arguments follow the word, and another word may follow them.
            ':' if depth == 0 && name.get(at + 1..).is_some_and(|rest| rest.starts_with('<')) && start < at => {
                end = end.or(Some(at - 1));
            }
            ':' if depth == 0 && name.get(at + 1..).is_some_and(|rest| rest.starts_with(":<")) => {}
            ':' if depth == 0 => {
                start = at + 1;
                end = None;
            }
            ' ' if depth == 0 && end.is_none() => start = at + 1,
            _ => {}
        }
    }
    let word = name.get(start..end.unwrap_or(name.len())).unwrap_or(name);
    // Rust's old mangling ends in a hash of sixteen digits, which is then the last word.
    match name.rsplit_once("::") {
        Some((front, hash)) if hash.len() == 17 && hash.starts_with('h') => base_name(front),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_names() {
        for (full, base) in [
            ("read_field", "read_field"),
            ("store::engine::read(int)", "read"),
            ("store::pick(std::vector<int, std::allocator<int> > const&, unsigned long)", "pick"),
            (
                "int net::with_retry<net::serve(std::string const&)::{lambda()#1}>(net::serve::{lambda()#1})",
                "with_retry",
            ),
            ("net::router<std::string>::operator()(std::string const&)", "operator()"),
            ("pointers::lookup::<pointers::Raw>", "lookup"),
            ("<pointers::Raw as pointers::Source>::read", "read"),
            ("panics::pick::h0123456789abcdef", "pick"),
            ("pointers::lookup<pointers::Raw>", "lookup"),
        ] {
            assert_eq!(base_name(full), base, "{full}");
        }
    }

    #[test]
    fn gaps_and_unknown_frames() {
        let stack = [None, Some("raise"), Some(SIGNAL_FRAME), Some("a::work(int)"), Some("main")];
        assert_eq!(frames_agree(&[UNKNOWN, GAP, SIGNAL_FRAME, "work", "main"], &stack), Ok(()));
        assert_eq!(frames_agree(&[GAP, "main"], &stack), Ok(()));
        assert_eq!(frames_agree(&[UNKNOWN, "raise"], &stack), Ok(()));
        assert!(frames_agree(&[UNKNOWN, "work"], &stack).is_err());
        assert!(frames_agree(&[GAP, "main", "work"], &stack).is_err());
        assert!(frames_agree(&["work"], &[]).is_err());
    }
}
