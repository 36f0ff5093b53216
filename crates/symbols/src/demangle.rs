//! Being written.

/// Turns a linker's name into the name of the source.
pub fn demangle(raw: &str) -> String {
    raw.to_owned()
}

/// A demangled name without parameters and template arguments, for comparing.
pub fn short_name(name: &str) -> String {
    name.to_owned()
}
