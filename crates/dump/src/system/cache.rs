//! Unpacked blocks of a packed image, so that small reads of one page unpack it once.
//!
//! *What it is not*: a cache of the file; [`crate::source::FileSource`] is that.
//!
//! *Trap*: many threads read at once. Each key lives in one of several parts with their own locks, and no lock is held
//! while a block is unpacked: two threads may unpack the same block, which is harmless.

use std::sync::{Arc, Mutex, PoisonError};

/// Parts with their own locks.
const PARTS: usize = 16;
/// Blocks in one part: they are looked for one after the other.
const MOST: usize = 64;

struct Entry {
    key: u64,
    used: u64,
    bytes: Arc<[u8]>,
}

#[derive(Default)]
struct Part {
    clock: u64,
    held: usize,
    entries: Vec<Entry>,
}

/// Blocks by a number, at most so many bytes of them in all.
pub(crate) struct BlockCache {
    parts: [Mutex<Part>; PARTS],
    most: usize,
}

impl BlockCache {
    /// A cache of at most `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()), most: most / PARTS }
    }

    /// The block with this number: the one that is held, or what `make` gives.
    ///
    /// # Errors
    /// What `make` says; nothing is kept then.
    pub(crate) fn get<E>(&self, key: u64, make: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Arc<[u8]>, E> {
        let Some(part) = self.parts.get((key % PARTS as u64) as usize) else { return make().map(Arc::from) };
        {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.clock += 1;
            let clock = part.clock;
            if let Some(entry) = part.entries.iter_mut().find(|entry| entry.key == key) {
                entry.used = clock;
                return Ok(entry.bytes.clone());
            }
        }
        let bytes: Arc<[u8]> = make()?.into();
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        while (part.held + bytes.len() > self.most || part.entries.len() >= MOST)
            && let Some(oldest) = (0..part.entries.len()).min_by_key(|&i| part.entries.get(i).map(|entry| entry.used))
        {
            let gone = part.entries.swap_remove(oldest);
            part.held -= gone.bytes.len();
        }
        let used = part.clock;
        part.held += bytes.len();
        part.entries.push(Entry { key, used, bytes: bytes.clone() });
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_made_once_and_forgotten_in_time() {
        let cache = BlockCache::new(16 * 100);
        let made = |key: u64| cache.get::<()>(key, || Ok(vec![key as u8; 60])).unwrap();
        let first = made(16);
        let again = cache.get::<()>(16, || Err(())).unwrap();
        assert_eq!(first, again);
        assert_eq!(made(32)[0], 32);
        // Both share a part with room for one.
        assert!(cache.get::<()>(16, || Err(())).is_err());
    }
}
