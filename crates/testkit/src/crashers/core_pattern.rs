//! Makes sure that the kernel writes cores into the current folder of the process that dies, while a [`Guard`] lives.
//!
//! A plain pattern such as `core.%p` is left alone. A pipe (systemd-coredump, apport) or a path is replaced by `core`,
//! which needs root, and put back when the guard is dropped, also by a panic. It does not look for the core.
//!
//! Trap: the pattern belongs to the whole machine. The lock is on the pattern's own file, so that all who use this
//! module wait for each other: many may run while the pattern is plain, but only one may change it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::error::{CrasherError, Result};

/// `core(5)`; the kernel reads at most 128 bytes of it.
const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// While it lives, the pattern is plain.
#[derive(Debug)]
pub(super) struct Guard {
    /// Holds the lock.
    _lock: File,
    /// What to put back, and where.
    old: Option<(PathBuf, String)>,
}

impl Guard {
    /// Waits for its turn, and changes the pattern if it must.
    pub(super) fn acquire(program: &str) -> Result<Self> {
        Self::acquire_at(Path::new(PATTERN), program)
    }

    fn acquire_at(path: &Path, program: &str) -> Result<Self> {
        let lock = File::open(path).map_err(|error| CrasherError::io("open", path, error))?;
        lock.lock_shared().map_err(|error| CrasherError::io("lock", path, error))?;
        if is_plain(&current(path)?) {
            return Ok(Self { _lock: lock, old: None });
        }
        // Not an upgrade but a new lock: between the two, another may set and restore the pattern.
        lock.unlock().map_err(|error| CrasherError::io("unlock", path, error))?;
        lock.lock().map_err(|error| CrasherError::io("lock", path, error))?;
        let old = current(path)?;
        if is_plain(&old) {
            return Ok(Self { _lock: lock, old: None });
        }
        fs::write(path, "core").map_err(|error| CrasherError::CorePattern {
            program: program.to_owned(),
            pattern: old.clone(),
            cause: error.to_string(),
        })?;
        Ok(Self { _lock: lock, old: Some((path.to_owned(), old)) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((path, old)) = &self.old {
            // Nobody is left to hear of a failure, and the write that set the pattern went well.
            let _ = fs::write(path, old);
        }
    }
}

fn current(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).map_err(|error| CrasherError::io("read", path, error))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Whether cores land in the folder of the process: neither a pipe nor a path, and not nothing.
fn is_plain(pattern: &str) -> bool {
    !pattern.is_empty() && !pattern.starts_with('|') && !pattern.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_replaced_and_put_back_even_by_a_panic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let pattern = || fs::read_to_string(file.path()).unwrap();
        fs::write(file.path(), "|/usr/lib/handler %p\n").unwrap();
        let guard = Guard::acquire_at(file.path(), "test").unwrap();
        assert_eq!(pattern(), "core");
        drop(guard);
        assert_eq!(pattern(), "|/usr/lib/handler %p");

        let panicked = std::panic::catch_unwind(|| {
            let _guard = Guard::acquire_at(file.path(), "test").unwrap();
            assert_eq!(pattern(), "a panic on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(pattern(), "|/usr/lib/handler %p");
    }

    #[test]
    fn a_plain_pattern_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "core.%e.%p\n").unwrap();
        let _guard = Guard::acquire_at(file.path(), "test").unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "core.%e.%p\n");
    }
}
