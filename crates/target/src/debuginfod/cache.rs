//! The folder of fetched files, laid out as elfutils' client does it (`<cache>/<build-id>/debuginfo`), and the memory
//! of what servers do not have.
//!
//! Folklore: elfutils notes a miss as an empty file of that same name and asks again after `cache_miss_s` (600 s by
//! default; `debuginfod_find_debuginfo(3)`). Such files are honoured here but not written: they do not say which server
//! was asked.

use super::Key;
use crate::files::verify::hex;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a server is not asked again for a file that it did not have.
const MISS: Duration = Duration::from_secs(3600);
/// How long elfutils' own note of a miss counts.
const ELFUTILS_MISS: Duration = Duration::from_secs(600);

/// Where a file is kept.
pub(super) fn place(cache: &Path, key: &Key) -> PathBuf {
    cache.join(hex(&key.0)).join(key.1.word())
}

fn note(cache: &Path, server: &str, key: &Key) -> PathBuf {
    // FNV-1a: names the server in a few letters, guards nothing.
    let hash = server
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    cache.join("afterimage-misses").join(format!("{}-{}-{hash:016x}", hex(&key.0), key.1.word()))
}

fn younger(path: &Path, limit: Duration, empty: bool) -> bool {
    let Ok(metadata) = std::fs::metadata(path) else { return false };
    let age = metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    (!empty || metadata.len() == 0) && age.is_some_and(|age| age < limit)
}

/// Whether a server need not be asked.
pub(super) fn is_missing(cache: &Path, server: &str, key: &Key) -> bool {
    younger(&note(cache, server, key), MISS, false) || younger(&place(cache, key), ELFUTILS_MISS, true)
}

/// Notes that a server did not have a file, or failed. A cache that cannot be written only means asking again.
pub(super) fn remember_missing(cache: &Path, server: &str, key: &Key) {
    let path = note(cache, server, key);
    if let Some(folder) = path.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    let _ = std::fs::write(path, b"");
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn misses_are_per_server_and_grow_old() {
        let folder = tempfile::tempdir().unwrap();
        let key = (vec![1, 2, 3, 4], Kind::DebugInfo);
        assert!(!is_missing(folder.path(), "http://a", &key));
        remember_missing(folder.path(), "http://a", &key);
        assert!(is_missing(folder.path(), "http://a", &key));
        assert!(!is_missing(folder.path(), "http://b", &key));
        let old = SystemTime::now() - Duration::from_secs(3700);
        let file = std::fs::File::options().write(true).open(note(folder.path(), "http://a", &key)).unwrap();
        file.set_modified(old).unwrap();
        assert!(!is_missing(folder.path(), "http://a", &key));
        // As elfutils leaves it.
        let place = place(folder.path(), &key);
        assert!(place.ends_with("01020304/debuginfo"));
        std::fs::create_dir(place.parent().unwrap()).unwrap();
        std::fs::write(&place, b"").unwrap();
        assert!(is_missing(folder.path(), "http://b", &key));
    }
}
