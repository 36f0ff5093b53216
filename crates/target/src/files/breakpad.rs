//! Breakpad symbol files: `STORE/debug_file/DEBUG_ID/name.sym`, or any `.sym` whose `MODULE` line names the module.
//!
//! *Trap*: the identity of an ELF module in a symbol store is not its build-id but the first 16 bytes of it, turned
//! round like a little-endian GUID, and an age of 0.

use super::{Finder, map};
use afterimage_symbols::Blob;
use std::path::{Path, PathBuf};

/// A module's identity in a symbol store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// 32 hexadecimal digits and the age.
    pub(crate) debug_id: String,
    /// Name of the debug file (`app.pdb`, `libfoo.so`).
    pub(crate) debug_file: String,
}

/// The identity that Breakpad gives to an ELF module with this build-id.
pub(crate) fn debug_id(build_id: &[u8]) -> String {
    use std::fmt::Write;
    let mut id = [0u8; 16];
    id.iter_mut().zip(build_id).for_each(|(to, from)| *to = *from);
    let turned = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = turned.iter().filter_map(|&i: &usize| id.get(i)).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    });
    text.push('0');
    text
}

/// The `MODULE` line's identity and name.
fn module_line(bytes: &[u8]) -> Option<(String, String)> {
    let head = bytes.get(..bytes.len().min(4096))?;
    let line = head.split(|&byte| byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let mut words = line.splitn(5, ' ');
    if words.next()? != "MODULE" {
        return None;
    }
    let mut words = words.skip(2);
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

/// The symbol file of a module.
pub(crate) fn find(finder: &Finder, wanted: &Identity, name: &str) -> Option<(PathBuf, Blob)> {
    let last = |text: &str| text.rsplit(['/', '\\']).next().unwrap_or(text).to_owned();
    let debug_file = last(&wanted.debug_file);
    let stem = debug_file.strip_suffix(".pdb").unwrap_or(&debug_file);
    let safe = |text: &str| !text.is_empty() && !text.contains(['/', '\\']) && text != "." && text != "..";
    if !safe(&debug_file) || !safe(&wanted.debug_id) {
        return None;
    }
    let open = |path: &Path| {
        let blob = map::open(path)?;
        let (id, _) = module_line(map::bytes(&blob))?;
        id.eq_ignore_ascii_case(&wanted.debug_id).then(|| (path.to_owned(), blob))
    };
    if let Some(found) = finder.named().others.iter().find_map(|path| open(path)) {
        return Some(found);
    }
    let dump_folder = super::search::dump_folder(finder);
    for folder in finder.named().folders.iter().chain(&dump_folder) {
        let store = folder.join(&debug_file);
        let ids = [wanted.debug_id.clone(), wanted.debug_id.to_uppercase(), wanted.debug_id.to_lowercase()];
        let mut places: Vec<PathBuf> = ids.iter().map(|id| store.join(id).join(format!("{stem}.sym"))).collect();
        places.push(folder.join(format!("{stem}.sym")));
        places.push(folder.join(format!("{debug_file}.sym")));
        if safe(name) {
            places.push(folder.join(format!("{name}.sym")));
        }
        if let Some(found) = places.iter().find_map(|path| open(path)) {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_ids_turn_into_debug_ids() {
        // By minidump-stackwalk's documentation of Breakpad's FileID: the first three GUID fields are little-endian.
        let id: Vec<u8> = (0x10..0x24).collect();
        assert_eq!(debug_id(&id), "13121110151417161819 1A1B1C1D1E1F0".replace(' ', ""));
        assert_eq!(debug_id(&[0xab]), "000000AB0000000000000000000000000");
    }

    #[test]
    fn module_lines() {
        let line = module_line(b"MODULE windows x86 5A9832E5287241C1838ED98914E9B7FF1 my app.pdb\r\nFILE 0 a\n");
        assert_eq!(line, Some(("5A9832E5287241C1838ED98914E9B7FF1".to_owned(), "my app.pdb".to_owned())));
        assert_eq!(module_line(b"FILE 0 a"), None);
        assert_eq!(module_line(b""), None);
    }
}
