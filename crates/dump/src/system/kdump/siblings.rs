//! The other files of a split set: beside the one that is opened, under names that differ in digits alone.

use super::header::Header;
use crate::source::{FileSource, SharedSource};
use std::path::Path;
use std::sync::Arc;

/// Files of a set at most.
const MOST: usize = 1024;

/// A name with each run of digits made one mark.
fn pattern(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut digits = false;
    for letter in name.chars() {
        if letter.is_ascii_digit() {
            if !digits {
                out.push('#');
            }
            digits = true;
        } else {
            out.push(letter);
            digits = false;
        }
    }
    out
}

/// The files of the same dump with other windows.
pub(super) fn find(path: &Path, header: &Header) -> Vec<(SharedSource, Header)> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wanted = pattern(name);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let alike = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|other| other != name && pattern(other) == wanted));
    let mut windows = vec![header.split];
    let mut found = Vec::new();
    for entry in alike.take(MOST) {
        let Ok(file) = std::fs::File::open(entry.path()) else { continue };
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let Ok(source) = FileSource::new(file) else { continue };
        let source: SharedSource = Arc::new(source);
        let head = crate::source::read_vec(&*source, 0, 8).unwrap_or_default();
        if !super::header::is_kdump(&head) {
            continue;
        }
        let Ok(other) = Header::read(&*source) else { continue };
        let same = other.name == header.name && other.time == header.time && other.max_pfn == header.max_pfn;
        if same && other.block == header.block && other.split.is_some() && !windows.contains(&other.split) {
            windows.push(other.split);
            found.push((source, other));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn names_differ_in_digits_alone() {
        assert_eq!(pattern("dump.1"), pattern("dump.12"));
        assert_ne!(pattern("dump.1"), pattern("core.1"));
        assert_eq!(pattern("v6-3.dump"), "v#-#.dump");
    }
}
