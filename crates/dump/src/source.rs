//! Where a container's bytes come from: a file through a small block cache, or bytes in memory.
//!
//! *What it is not*: it does not map files. A mapped file that another program cuts off kills the reader with SIGBUS;
//! `pread` says "end of file".

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// Random access to the bytes of a container.
pub trait Source: Send + Sync {
    /// Bytes in all.
    fn len(&self) -> u64;

    /// Whether there is no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first place from `at` on that may hold something else than zeros: a source with holes can pass over them.
    fn data_from(&self, at: u64) -> u64 {
        at
    }

    /// Copies bytes from `at` and gives how many: fewer than asked for only at the end of the file.
    ///
    /// # Errors
    /// What the operating system says when it cannot read, or an [`Absence`](crate::Absence) as the inner error.
    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize>;
}

/// Bytes of one cached block: what a walk along a stack reads of it. With 16 KiB a core with 1 000 threads cost 12 MB and
/// 3 000 page faults more, and saved no read: each stack is in use in one page or two.
const BLOCK: u64 = 4 << 10;
/// 256 sets, each with its own lock, of 32 blocks of 4 KiB are at most 32 MiB.
const SETS: usize = 256;
const WAYS: usize = 32;
/// A read of this many bytes goes past the cache, which it would only wash out.
const LARGE: u64 = 16 << 10;

struct Block {
    number: u64,
    used: u64,
    bytes: Box<[u8]>,
}

/// The blocks whose number leaves the same remainder. The one that was asked for last stands first: reads cluster.
#[derive(Default)]
struct Set {
    clock: u64,
    blocks: Vec<Block>,
}

/// A file, read through a block cache of at most 32 MiB that many threads share.
pub struct FileSource {
    file: File,
    len: u64,
    sets: [Mutex<Set>; SETS],
}

impl FileSource {
    /// Takes an open regular file.
    ///
    /// # Errors
    /// When the file's length cannot be had.
    pub fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len, sets: std::array::from_fn(|_| Mutex::default()) })
    }

    fn pread(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn read_cached(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let number = at / BLOCK;
        let skip = (at % BLOCK) as usize;
        let copy = |bytes: &[u8], buf: &mut [u8]| {
            let from = bytes.get(skip..).unwrap_or_default();
            let n = from.len().min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..n), from.get(..n)) {
                to.copy_from_slice(from);
            }
            n
        };
        let Some(set) = self.sets.get((number % SETS as u64) as usize) else {
            return self.pread(at, buf);
        };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        set.clock += 1;
        let clock = set.clock;
        if let Some(place) = set.blocks.iter().position(|block| block.number == number) {
            set.blocks.swap(0, place);
            if let Some(block) = set.blocks.first_mut() {
                block.used = clock;
                return Ok(copy(&block.bytes, buf));
            }
        }
        let want = BLOCK.min(self.len.saturating_sub(number * BLOCK)) as usize;
        let mut bytes = vec![0; want];
        let got = self.pread(number * BLOCK, &mut bytes)?;
        bytes.truncate(got);
        let bytes = bytes.into_boxed_slice();
        let n = copy(&bytes, buf);
        if set.blocks.len() >= WAYS
            && let Some(oldest) = (0..set.blocks.len()).min_by_key(|&i| set.blocks.get(i).map(|b| b.used))
        {
            set.blocks.swap_remove(oldest);
        }
        set.blocks.push(Block { number, used: clock, bytes });
        Ok(n)
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn data_from(&self, at: u64) -> u64 {
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data.max(at),
            // Nothing but a hole up to the end.
            Err(rustix::io::Errno::NXIO) => self.len.max(at),
            Err(_) => at,
        }
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let want = (buf.len() as u64).min(self.len.saturating_sub(at)) as usize;
        let Some(buf) = buf.get_mut(..want) else {
            return Ok(0);
        };
        if want as u64 >= LARGE {
            return self.pread(at, buf);
        }
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_cached(at + done as u64, rest)? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let n = from.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), from.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }
}

/// A part of another source.
pub(crate) struct Window {
    source: SharedSource,
    at: u64,
    len: u64,
}

impl Window {
    /// `len` bytes from `at` on, as far as the source reaches.
    pub(crate) fn new(source: SharedSource, at: u64, len: u64) -> Self {
        let len = len.min(source.len().saturating_sub(at));
        Self { source, at, len }
    }
}

impl Source for Window {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let want = (buf.len() as u64).min(self.len.saturating_sub(at)) as usize;
        buf.get_mut(..want).map_or(Ok(0), |buf| self.source.read_at(self.at.saturating_add(at), buf))
    }
}

/// Reads the whole range into memory, or as much of it as the file has; the caller has checked `len` against a budget.
///
/// # Errors
/// What the operating system says when it cannot read.
pub fn read_vec(source: &dyn Source, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let len = (len as u64).min(source.len().saturating_sub(at)) as usize;
    let mut bytes = vec![0; len];
    let got = source.read_at(at, &mut bytes)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// A shared source, as everything in the model holds it.
pub type SharedSource = Arc<dyn Source>;
