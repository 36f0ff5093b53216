//! Packing a dump while it is written, so that it can be read at random without being unpacked: zstd in seekable frames.
//!
//! *What it is*: a [`Writer`] cuts what is written into frames of equal length, compresses each for itself on several
//! threads, and puts a table of all frames at the end, in a frame that every zstd decoder skips. `zstd -d` unpacks the
//! file as any other; [`crate::open`] reads single frames out of it.
//!
//! *What it is not*: it knows no container and cannot go back: the bytes come in the order of the file.
//!
//! ```
//! use afterimage_dump::write::seekable::{Options, Writer};
//! use std::io::Write;
//! let mut writer = Writer::new(Vec::new(), Options::default())?;
//! writer.write_all(b"\x7fELF and more")?;
//! writer.zeros(256 << 20)?;
//! let (file, totals) = writer.finish()?;
//! assert_eq!(totals.uncompressed, 13 + (256 << 20));
//! assert!(file.len() < 20_000);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! *Trap*: without [`Writer::finish`] there is no table, and what stands in the file is a cut-off stream. Write to a
//! temporary name and rename.

mod pool;
mod table;

use pool::{Frame, Pool};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use table::Table;

/// Zeros in one frame of a large hole. A zstd block holds at most 128 KiB, in no fewer than 4 bytes, so a hole of
/// 256 GiB takes 8 MiB in any case; larger frames only keep the table short (4096 entries for it).
///
/// Folklore: the format's own library reads no frame of more than 1 GiB, and ours none of more than 64 MiB.
const HOLE: usize = 64 << 20;
/// Most bytes of a frame that the format's own library takes (`ZSTD_SEEKABLE_MAX_FRAME_DECOMPRESSED_SIZE`, zstd 1.5.7).
const MAX_FRAME: usize = 1 << 30;

/// How to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Uncompressed bytes of a frame: what must be unpacked to read one byte of it. At most 1 GiB; dumps whose frames have
    /// more than 16 MiB are unpacked as a whole by [`crate::open`].
    pub frame_size: usize,
    /// Level of compression, as the `zstd` program has it.
    pub level: i32,
    /// Threads that compress. With one or none, the caller's thread does it.
    pub threads: usize,
}

impl Default for Options {
    /// Frames of 1 MiB, level 1, as many threads as there are processors.
    fn default() -> Self {
        // Measured on a Python process's core of 308 MiB, one thread: level 1 has 1.4 GB/s and leaves 10.4 %, level 3 has
        // 1.0 GB/s and leaves 10.7 %; on programs with their debug information, 15.9 % and 14.6 %. Frames of 256 KiB or
        // 4 MiB change neither by more than a tenth.
        Self { frame_size: 1 << 20, level: 1, threads: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

/// What became of how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes that were written into the [`Writer`].
    pub uncompressed: u64,
    /// Bytes of the file, with its table.
    pub compressed: u64,
}

/// What stands next in the file.
enum Slot {
    /// A frame that a thread is compressing.
    Waiting,
    /// A frame that is compressed before the ones in front of it.
    Packed(Frame),
    /// The same frame of zeros several times.
    Zeros { packed: Arc<[u8]>, len: usize, times: u64 },
}

/// Packs what is written to it; see the module.
///
/// An error of the output comes back from this call or a later one, with its kind, and from all calls after that.
pub struct Writer<W: Write> {
    out: W,
    options: Options,
    pool: Pool,
    /// The frame that is being filled; never longer than a frame between two calls.
    current: Vec<u8>,
    /// What is not written yet, in the order of the file.
    queue: VecDeque<Slot>,
    /// Number of the first of the queue.
    first: u64,
    spare: Vec<Frame>,
    table: Table,
    totals: Totals,
    zero_frame: Option<Arc<[u8]>>,
    zero_hole: Option<Arc<[u8]>>,
    failed: Option<Failure>,
}

impl<W: Write> Writer<W> {
    /// Begins a file. Threads start when there is work for them.
    ///
    /// # Errors
    /// `InvalidInput` for a frame size of 0 or of more than 1 GiB.
    pub fn new(out: W, options: Options) -> io::Result<Self> {
        if options.frame_size == 0 || options.frame_size > MAX_FRAME {
            let what =
                format!("frames of {} bytes cannot be written: 1 to {MAX_FRAME} are possible", options.frame_size);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(Self {
            out,
            options,
            pool: Pool::new(options.level, options.threads),
            current: Vec::new(),
            queue: VecDeque::new(),
            first: 0,
            spare: Vec::new(),
            table: Table::new(),
            totals: Totals::default(),
            zero_frame: None,
            zero_hole: None,
            failed: None,
        })
    }

    /// Adds zeros: many of them cost next to nothing, as whole frames of them are compressed once and used again.
    ///
    /// # Errors
    /// As [`Write::write`].
    pub fn zeros(&mut self, len: u64) -> io::Result<()> {
        self.unless_failed(|writer| writer.add_zeros(len))
    }

    /// Writes what is left, and the table of frames.
    ///
    /// # Errors
    /// What the output says, now or when an earlier frame was written.
    pub fn finish(mut self) -> io::Result<(W, Totals)> {
        self.unless_failed(Self::complete)?;
        Ok((self.out, self.totals))
    }

    fn complete(&mut self) -> io::Result<()> {
        if !self.current.is_empty() {
            self.end_frame(true)?;
        }
        while !self.queue.is_empty() {
            let frame = self.pool.wait()?;
            self.place(frame);
            self.advance()?;
        }
        self.totals.compressed += self.table.write(&mut self.out)?;
        self.out.flush()
    }

    /// Does a step, unless an earlier one failed: what would follow has no place in the file.
    fn unless_failed<T>(&mut self, step: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        if let Some(failure) = self.failed {
            return Err(failure.error());
        }
        step(self).inspect_err(|error| self.failed = Some(Failure::of(error)))
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, _) = bytes.split_at(bytes.len().min(self.options.frame_size - self.current.len()));
        self.current.extend_from_slice(now);
        if self.current.len() == self.options.frame_size {
            self.end_frame(false)?;
        }
        Ok(now.len())
    }

    fn add_zeros(&mut self, mut len: u64) -> io::Result<()> {
        let size = self.options.frame_size;
        if !self.current.is_empty() {
            let now = len.min((size - self.current.len()) as u64);
            self.current.resize(self.current.len() + now as usize, 0);
            len -= now;
            if self.current.len() == size {
                self.end_frame(false)?;
            }
        }
        let holes = len / HOLE as u64;
        if holes > 0 {
            let packed = kept(&mut self.zero_hole, HOLE)?;
            self.push_zeros(packed, HOLE, holes)?;
            len %= HOLE as u64;
        }
        let frames = len / size as u64;
        if frames > 0 {
            let packed = kept(&mut self.zero_frame, size)?;
            self.push_zeros(packed, size, frames)?;
            len %= size as u64;
        }
        if len > 0 {
            // Less than a frame, and the current one is empty.
            self.current.resize(len as usize, 0);
        }
        Ok(())
    }

    fn push_zeros(&mut self, packed: Arc<[u8]>, len: usize, times: u64) -> io::Result<()> {
        self.table.has_room(times)?;
        self.queue.push_back(Slot::Zeros { packed, len, times });
        self.settle()
    }

    /// Hands the current frame to a thread; the last one of a file is not worth starting a thread.
    fn end_frame(&mut self, last: bool) -> io::Result<()> {
        if self.current.len() == self.options.frame_size && is_zero(&self.current) {
            self.current.clear();
            let packed = kept(&mut self.zero_frame, self.options.frame_size)?;
            return self.push_zeros(packed, self.options.frame_size, 1);
        }
        let mut frame = self.spare.pop().unwrap_or_default();
        std::mem::swap(&mut frame.raw, &mut self.current);
        self.current.clear();
        frame.number = self.first + self.queue.len() as u64;
        self.queue.push_back(Slot::Waiting);
        if let Some(frame) = self.pool.submit(frame, last)? {
            self.place(frame);
        }
        self.settle()
    }

    /// Writes what is ready, and waits while too much is not.
    fn settle(&mut self) -> io::Result<()> {
        while let Some(frame) = self.pool.ready()? {
            self.place(frame);
        }
        self.advance()?;
        while self.queue.len() >= self.pool.in_flight() {
            let frame = self.pool.wait()?;
            self.place(frame);
            self.advance()?;
        }
        Ok(())
    }

    /// Puts a compressed frame where it was missed.
    fn place(&mut self, frame: Frame) {
        let at = frame.number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.queue.get_mut(at)) {
            *slot = Slot::Packed(frame);
        }
    }

    /// Writes the front of the queue as far as it is compressed.
    fn advance(&mut self) -> io::Result<()> {
        loop {
            match self.queue.pop_front() {
                None => return Ok(()),
                Some(Slot::Waiting) => {
                    self.queue.push_front(Slot::Waiting);
                    return Ok(());
                }
                Some(Slot::Packed(frame)) => {
                    self.emit(&frame.packed, frame.raw.len())?;
                    self.spare.push(frame);
                }
                Some(Slot::Zeros { packed, len, times }) => {
                    for _ in 0..times {
                        self.emit(&packed, len)?;
                    }
                }
            }
            self.first += 1;
        }
    }

    fn emit(&mut self, packed: &[u8], len: usize) -> io::Result<()> {
        self.table.push(packed.len(), len)?;
        self.out.write_all(packed)?;
        self.totals.uncompressed += len as u64;
        self.totals.compressed += packed.len() as u64;
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_failed(|writer| writer.add(bytes))
    }

    /// Writes the frames that are ready. The one that is being filled stays: short frames pack badly.
    fn flush(&mut self) -> io::Result<()> {
        self.unless_failed(|writer| {
            writer.settle()?;
            writer.out.flush()
        })
    }
}

/// An error to be told again.
#[derive(Clone, Copy)]
struct Failure {
    kind: io::ErrorKind,
    code: Option<i32>,
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        Self { kind: error.kind(), code: error.raw_os_error() }
    }

    fn error(self) -> io::Error {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.kind, "an earlier frame could not be written"),
        }
    }
}

/// The packed frame of so many zeros, made when it is first asked for.
fn kept(place: &mut Option<Arc<[u8]>>, len: usize) -> io::Result<Arc<[u8]>> {
    if let Some(packed) = place {
        return Ok(packed.clone());
    }
    let packed: Arc<[u8]> = pool::zeros(len)?.into();
    *place = Some(packed.clone());
    Ok(packed)
}

/// Compared piece by piece: most frames are told from zeros by their first page.
fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|piece| ZEROS.get(..piece.len()) == Some(piece))
}
