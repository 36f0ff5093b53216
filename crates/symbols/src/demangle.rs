//! From linker names to source names: Rust (legacy and v0), C++ (Itanium; Microsoft's names are `crate::msvc`'s).
//!
//! ```
//! use afterimage_symbols::{demangle, short_name};
//! assert_eq!(demangle("_ZN4core9panicking9panic_fmt17h0123456789abcdefE"), "core::panicking::panic_fmt");
//! assert_eq!(demangle("_ZNSt6vectorIiSaIiEE9push_backERKi"), "std::vector<int, std::allocator<int> >::push_back(int const&)");
//! assert_eq!(short_name("std::vector<int, std::allocator<int> >::push_back(int const&)"), "std::vector::push_back");
//! ```
//!
//! Trap: a mangled name can unfold into gigabytes and recurse without end; length and depth are bounded, and what goes
//! over the bound keeps its mangled form.

use std::fmt::Write;

/// Longer mangled names are left alone.
const MAX_MANGLED: usize = 64 * 1024;
/// Longer demangled names are cut, with an ellipsis.
const MAX_DEMANGLED: usize = 64 * 1024;

/// Turns a linker's name into the name that the source has: Rust without its hash, C++ with its parameters.
/// What is not mangled, or mangled in an unknown way, comes back as it is, without a symbol version.
pub fn demangle(raw: &str) -> String {
    if raw.starts_with('?') {
        return crate::msvc::function_name(raw).unwrap_or_else(|| raw.to_owned());
    }
    let raw = match raw.find('@') {
        Some(at) if at > 0 => raw.get(..at).unwrap_or(raw),
        _ => raw,
    };
    if raw.len() > MAX_MANGLED {
        return raw.to_owned();
    }
    if let Ok(rust) = rustc_demangle::try_demangle(raw) {
        let mut out = Bounded::default();
        // The alternate form leaves the hash away.
        if write!(out, "{rust:#}").is_ok() || out.full {
            return out.text;
        }
    }
    cpp(raw).unwrap_or_else(|| raw.to_owned())
}

fn cpp(raw: &str) -> Option<String> {
    // Local symbols of clones keep a suffix (".cold", ".isra.0") that the demangler shows as "[clone .cold]".
    if !(raw.starts_with("_Z") || raw.starts_with("__Z") || raw.starts_with("___Z") || raw.starts_with("_GLOBAL_")) {
        return None;
    }
    let limits = cpp_demangle::ParseOptions::default().recursion_limit(160);
    let symbol = cpp_demangle::BorrowedSymbol::with_tail_and_options(raw.as_bytes(), &limits);
    let (symbol, tail) = symbol.ok()?;
    let mut out = Bounded::default();
    let style = cpp_demangle::DemangleOptions::new().recursion_limit(160).no_return_type();
    if symbol.structured_demangle(&mut out, &style).is_err() && !out.full {
        return None;
    }
    if !tail.is_empty() && !out.full {
        let tail = std::str::from_utf8(tail).ok().filter(|tail| tail.starts_with(['.', '$']))?;
        out.text.push_str(" [clone ");
        out.text.push_str(tail);
        out.text.push(']');
    }
    Some(out.text)
}

/// Text that stops growing.
#[derive(Default)]
struct Bounded {
    text: String,
    full: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        if self.full || self.text.len() + part.len() > MAX_DEMANGLED {
            if !self.full {
                self.text.push('…');
            }
            self.full = true;
            return Err(std::fmt::Error);
        }
        self.text.push_str(part);
        Ok(())
    }
}

/// A demangled name without parameters, template arguments, clone suffix and return type: for comparing names that
/// different tools and compilers spell differently.
pub fn short_name(name: &str) -> String {
    let name = name.strip_suffix("@plt").unwrap_or(name);
    // Objective-C: `-[Class method:]`, and blocks in it; its brackets are the name.
    if (name.contains("-[") || name.contains("+[")) && name.contains(']') && !name.contains('<') {
        return name.to_owned();
    }
    let name = name.find(" [clone ").and_then(|at| name.get(..at)).unwrap_or(name);
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    // Depth of <> and () that is being left out.
    let mut depth = 0usize;
    while let Some(next) = rest.chars().next() {
        if depth == 0 {
            // Operators are made of the very characters that are left out.
            if let Some(length) = operator_length(rest, &out) {
                out.push_str(rest.get(..length).unwrap_or(rest));
                rest = rest.get(length..).unwrap_or("");
                continue;
            }
            if let Some(after) = rest.strip_prefix("(anonymous namespace)") {
                out.push_str("(anonymous namespace)");
                rest = after;
                continue;
            }
            // Rust: "<T as Trait>::method" and "mod::<impl Trait for T>::method" are paths; "f::<T>::{closure#0}" has
            // arguments there.
            let path = out.is_empty() || (out.ends_with("::") && rest.starts_with("<impl "));
            if next == '<' && path && rust_path(rest) {
                let (inner, after) = angle(rest);
                let kept = inner.split(" as ").next().unwrap_or(inner);
                out.push_str(&short_name(kept));
                rest = after;
                continue;
            }
        }
        rest = rest.get(next.len_utf8()..).unwrap_or("");
        match next {
            '<' | '(' | '[' => depth += 1,
            '>' if depth > 0 && out_arrow(rest, name) => {}
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(next),
            _ => {}
        }
    }
    // "Vec::<T>::push" leaves "Vec::::push"; "foo() const" leaves " const"; a return type stands before a blank.
    while out.contains("::::") {
        out = out.replace("::::", "::");
    }
    let out = out.trim_end_matches("::");
    let out = ["const", "volatile", "&", "&&"].iter().fold(out.trim_end(), |name, word| {
        name.strip_suffix(word).filter(|left| left.ends_with(' ')).map_or(name, str::trim_end)
    });
    let operator = out.find("operator");
    let head = operator.and_then(|at| out.get(..at)).unwrap_or(out);
    let anonymous = head.replace("(anonymous namespace)", "(anonymous_namespace)");
    match anonymous.rfind(' ') {
        Some(at) => out.get(at + 1..).unwrap_or(out).to_owned(),
        None => out.to_owned(),
    }
}

/// The `>` of an arrow (`fn() -> T`) closes nothing.
fn out_arrow(rest_after: &str, whole: &str) -> bool {
    let at = whole.len() - rest_after.len();
    at >= 2 && whole.as_bytes().get(at - 2) == Some(&b'-')
}

/// `operator<`, `operator()`, `operator->` and the like, or a conversion `operator Foo<int>`, at the front of `rest`.
fn operator_length(rest: &str, before: &str) -> Option<usize> {
    let after = rest.strip_prefix("operator")?;
    if before.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_') {
        return None;
    }
    const SIGNS: [&str; 14] = ["()", "[]", "<=>", "<<=", ">>=", "->*", "->", "<<", ">>", "<=", ">=", "<", ">", "\"\""];
    let sign = SIGNS.iter().find(|sign| after.starts_with(**sign))?;
    Some("operator".len() + sign.len())
}

/// Whether an angle bracket at the front of a path is Rust's (`<T as Trait>` or `<impl T>`), and not template arguments.
fn rust_path(rest: &str) -> bool {
    let (_, after) = angle(rest);
    after.starts_with("::") || after.is_empty()
}

/// Splits `<inner>after` at the matching bracket.
fn angle(rest: &str) -> (&str, &str) {
    let mut depth = 0usize;
    let mut last = ' ';
    for (at, sign) in rest.char_indices() {
        match sign {
            '<' => depth += 1,
            '>' if last != '-' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return (rest.get(1..at).unwrap_or(""), rest.get(at + 1..).unwrap_or(""));
        }
        last = sign;
    }
    (rest.get(1..).unwrap_or(""), "")
}
