//! A packed file read as it is: single frames of the zstd seekable format, unpacked when a byte of them is asked for.
//!
//! *What it is*: a [`Source`] over another one, with a cache of unpacked frames that all threads share. For example, to
//! explain a core of 100 GiB, a few dozen frames of 1 MiB are read; the rest of the file is not looked at.
//!
//! *What it is not*: it repairs nothing. A file without a sound table is unpacked from the front, as any other.
//!
//! *Trap*: damage in a frame comes to light when the frame is read, and not on opening. It is an error for its bytes only.

use super::seek_table::{FramePlace, SeekTable};
use super::zero_frame;
use crate::Budget;
use crate::source::{SharedSource, Source, read_vec};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use zstd::bulk::Decompressor;
use zstd::zstd_safe::find_frame_compressed_size;

/// Unpacked bytes that are kept. One frame is kept however large it is.
const CACHE: usize = 32 << 20;
/// Frames that are kept: zeros take no bytes.
const CACHED_FRAMES: usize = 1024;
/// Frames that are unpacked at the same time. What two threads ask for is unpacked once: the same frame has the same lane.
const LANES: usize = 8;
/// Frames of more bytes than this have one lane for all: many at once would need much memory.
const LARGE: usize = 4 << 20;

/// What a frame unpacks to.
enum Content {
    Zeros,
    Bytes(Vec<u8>),
    /// Why it does not. It is not tried again.
    Broken(String),
}

impl Content {
    fn held(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Zeros | Self::Broken(_) => 0,
        }
    }
}

struct Held {
    used: u64,
    content: Arc<Content>,
}

/// Unpacked frames; the one that was not asked for the longest goes first.
#[derive(Default)]
struct Cache {
    clock: u64,
    held: usize,
    frames: HashMap<usize, Held>,
}

impl Cache {
    fn get(&mut self, number: usize) -> Option<Arc<Content>> {
        self.clock += 1;
        let held = self.frames.get_mut(&number)?;
        held.used = self.clock;
        Some(held.content.clone())
    }

    fn put(&mut self, number: usize, content: Arc<Content>) {
        self.clock += 1;
        self.held += content.held();
        if let Some(old) = self.frames.insert(number, Held { used: self.clock, content }) {
            self.held -= old.content.held();
        }
        while self.frames.len() > 1 && (self.held > CACHE || self.frames.len() > CACHED_FRAMES) {
            let Some(oldest) = self.frames.iter().min_by_key(|(_, held)| held.used).map(|(&number, _)| number) else {
                return;
            };
            if let Some(old) = self.frames.remove(&oldest) {
                self.held -= old.content.held();
            }
        }
    }
}

/// The unpacked bytes of a seekable file.
pub(super) struct Seekable {
    packed: SharedSource,
    table: SeekTable,
    cache: Mutex<Cache>,
    lanes: [Mutex<Option<Decompressor<'static>>>; LANES],
}

impl Seekable {
    /// Opens a file that has a table; `None` if it has none.
    ///
    /// # Errors
    /// Why it has a table that is not used.
    pub(super) fn open(packed: &SharedSource, budget: &Budget) -> Result<Option<Self>, String> {
        let Some(table) = SeekTable::read(&**packed, budget)? else {
            return Ok(None);
        };
        let lanes = std::array::from_fn(|_| Mutex::default());
        let seekable = Self { packed: packed.clone(), table, cache: Mutex::default(), lanes };
        // A table behind something else than its frames is known by the first of them.
        seekable.read_at(0, &mut [0]).map_err(|e| e.to_string())?;
        Ok(Some(seekable))
    }

    fn cached(&self, number: usize) -> Option<Arc<Content>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(number)
    }

    /// A frame's content, from the cache or the file.
    fn content(&self, number: usize, frame: &FramePlace) -> io::Result<Arc<Content>> {
        if let Some(content) = self.cached(number) {
            return Ok(content);
        }
        let lane = if frame.size > LARGE { 0 } else { number % LANES };
        let Some(lane) = self.lanes.get(lane) else {
            return Err(io::Error::other("no lane"));
        };
        let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
        // Perhaps another thread was about it.
        if let Some(content) = self.cached(number) {
            return Ok(content);
        }
        let bytes = read_vec(&*self.packed, frame.at, frame.packed)?;
        if bytes.len() != frame.packed {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"));
        }
        let content = match decode(&mut lane, bytes, frame) {
            Ok(content) => content,
            Err(what) => Content::Broken(format!("frame {number} of the zstd stream is damaged: {what}")),
        };
        let content = Arc::new(content);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(number, content.clone());
        Ok(content)
    }
}

fn decode(lane: &mut Option<Decompressor<'static>>, bytes: Vec<u8>, frame: &FramePlace) -> Result<Content, String> {
    let words = |e: io::Error| super::decode::words(&e);
    if zero_frame::is_zeros(&bytes, frame.size as u64) {
        return Ok(Content::Zeros);
    }
    let bytes = with_sum(bytes, frame.sum)?;
    let decompressor = match lane {
        Some(decompressor) => decompressor,
        None => lane.insert(Decompressor::new().map_err(words)?),
    };
    let unpacked = decompressor.decompress(&bytes, frame.size).map_err(words)?;
    if unpacked.len() != frame.size {
        return Err(format!("it holds {} bytes, and the table says {}", unpacked.len(), frame.size));
    }
    Ok(Content::Bytes(unpacked))
}

/// Has the library check the table's sum of a frame: it is the one that the frame could have at its own end (the low half
/// of XXH64), where the library looks for it. Writers with a sum in the table leave out the frame's.
fn with_sum(mut bytes: Vec<u8>, sum: Option<u32>) -> Result<Vec<u8>, String> {
    const HAS_SUM: u8 = 4;
    let Some(sum) = sum else {
        return Ok(bytes);
    };
    // More than one frame for an entry is against the rules, but can be read.
    if find_frame_compressed_size(&bytes) != Ok(bytes.len()) {
        return Ok(bytes);
    }
    let sum = sum.to_le_bytes();
    if let Some(descriptor) = bytes.get_mut(4).filter(|descriptor| **descriptor & HAS_SUM == 0) {
        *descriptor |= HAS_SUM;
        bytes.extend(sum);
    } else if !bytes.ends_with(&sum) {
        return Err("its checksum and the table's differ".into());
    }
    Ok(bytes)
}

impl Source for Seekable {
    fn len(&self) -> u64 {
        self.table.len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let from = at.saturating_add(done as u64);
            let Some((number, frame)) = self.table.find(from).and_then(|n| Some((n, self.table.frame(n)?))) else {
                break;
            };
            let content = self.content(number, &frame)?;
            let skip = from.saturating_sub(frame.start) as usize;
            let n = rest.len().min(frame.size.saturating_sub(skip));
            let to = rest.get_mut(..n).unwrap_or_default();
            match &*content {
                Content::Zeros => to.fill(0),
                Content::Bytes(bytes) => to.copy_from_slice(bytes.get(skip..skip + n).unwrap_or_default()),
                Content::Broken(what) => return Err(io::Error::new(io::ErrorKind::InvalidData, what.clone())),
            }
            done += n;
        }
        Ok(done)
    }
}
