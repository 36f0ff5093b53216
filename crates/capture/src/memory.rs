//! The memory of a stopped process as the dump writer wants it: piece by piece, with what could not be read written down.
//!
//! *What it is not*: it does not choose what belongs into the dump; [`crate::plan`] does.
//!
//! *Trap*: `process_vm_readv` refuses pages that the process itself may not read (PROT_NONE); `/proc/PID/mem` gives
//! them. Neither gives device memory or file pages past the end of the file.

use crate::plan::{Piece, Source};
use crate::sys::{self, Tid};
use crate::touched::Touched;
use afterimage_dump::write::layout::Content;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Distinct unreadable ranges that are written down; more are counted.
const MAX_UNREADABLE: usize = 512;

/// Reads another process's memory at any place.
pub(crate) struct Reader {
    pid: Tid,
    mem: Option<File>,
    /// Whether `process_vm_readv` is used.
    calls: bool,
}

impl Reader {
    pub(crate) fn new(pid: Tid) -> Self {
        Self { pid, mem: File::open(format!("/proc/{pid}/mem")).ok(), calls: true }
    }

    /// Reads a process that shares private pages with another one, as after a fork.
    ///
    /// Folklore: `process_vm_readv` pins what it reads, and since Linux 5.19 the kernel first gives the process a page of
    /// its own for each anonymous page that it shares (`gup_must_unshare`): reading a forked copy so doubled the memory and
    /// took three times as long. Reads of `/proc/PID/mem` do not pin.
    pub(crate) fn sharing(pid: Tid) -> Self {
        Self { calls: false, ..Self::new(pid) }
    }

    /// Whose memory it is.
    pub(crate) fn pid(&self) -> Tid {
        self.pid
    }

    /// Fills `buf` as far as pages can be read; gives the number of bytes.
    ///
    /// # Errors
    /// When the process has gone, or may not be read at all.
    pub(crate) fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        if self.calls {
            match sys::read_memory(self.pid, at, buf) {
                Ok(n) if n > 0 => return Ok(n),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(error),
                _ => {}
            }
        }
        let Some(mem) = &self.mem else { return Ok(0) };
        match mem.read_at(buf, at) {
            // The file of a process without memory any more reads as empty.
            Ok(0) if !buf.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => Ok(n),
            Err(_) => Ok(0),
        }
    }

    /// Writes memory of the process, whatever its protection.
    ///
    /// # Errors
    /// When not all of it could be written.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mem = File::options().write(true).open(format!("/proc/{}/mem", self.pid))?;
        mem.write_all_at(bytes, at)
    }

    /// Exactly `N` bytes.
    pub(crate) fn exact<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut buf = [0; N];
        (self.read(at, &mut buf).ok()? == N).then_some(buf)
    }

    /// Up to `len` bytes.
    pub(crate) fn some(&self, at: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![0; len];
        let n = self.read(at, &mut buf).unwrap_or(0);
        buf.truncate(n);
        buf
    }
}

/// Bytes of a process by address: its own, those of a copy of it, or those that were kept of it.
pub(crate) trait Bytes: Sync {
    /// Fills `buf` as far as pages can be read; gives the number of bytes, 0 for a page that cannot be read.
    ///
    /// # Errors
    /// When the process has gone, or may not be read at all.
    fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<usize>;
}

impl Bytes for Reader {
    fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        Reader::read(self, at, buf)
    }
}

/// Reads all of `buf`, zeros for what cannot be read, which is told to `missing`.
pub(crate) fn read_through(
    bytes: &dyn Bytes,
    at: u64,
    buf: &mut [u8],
    page: u64,
    mut missing: impl FnMut(Range<u64>),
) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let here = at.saturating_add(done as u64);
        match bytes.read(here, rest)? {
            0 => {
                // Skip to the next page.
                let next = (here / page + 1).saturating_mul(page);
                let len = (next - here).min(rest.len() as u64);
                if let Some(zero) = rest.get_mut(..len as usize) {
                    zero.fill(0);
                }
                missing(here..here + len);
                done += len as usize;
            }
            n => done += n,
        }
    }
    Ok(())
}

/// Ranges that could not be read, as many as are worth telling.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    ranges: Vec<Range<u64>>,
    more: u64,
}

impl Unreadable {
    /// Adds a range.
    pub(crate) fn add(&mut self, range: Range<u64>) {
        if let Some(last) = self.ranges.last_mut()
            && last.end == range.start
        {
            last.end = range.end;
        } else if self.ranges.len() < MAX_UNREADABLE {
            self.ranges.push(range);
        } else {
            self.more += 1;
        }
    }

    /// As soft errors.
    pub(crate) fn lines(&self) -> Vec<String> {
        let say =
            |range: &Range<u64>| format!("memory {:#x}-{:#x} cannot be read; it is zeros here", range.start, range.end);
        let mut lines: Vec<String> = self.ranges.iter().map(say).collect();
        if self.more > 0 {
            lines.push(format!("{} more ranges of memory cannot be read", self.more));
        }
        lines
    }
}

/// A process's memory on its way into a dump.
pub(crate) struct LiveMemory<'a> {
    bytes: &'a dyn Bytes,
    pieces: &'a [Piece],
    touched: Option<Touched>,
    page: u64,
    unreadable: Unreadable,
}

impl<'a> LiveMemory<'a> {
    /// The pieces of a plan: bytes from `bytes`, and which pages exist from the page table of process `pid`.
    pub(crate) fn new(bytes: &'a dyn Bytes, pid: Tid, pieces: &'a [Piece]) -> Self {
        let touched = Touched::of(pid).ok();
        Self { bytes, pieces, touched, page: sys::page_size(), unreadable: Unreadable::default() }
    }
}

impl Content for LiveMemory<'_> {
    fn next(&mut self, at: u64, end: u64) -> Option<Range<u64>> {
        if at >= end {
            return None;
        }
        let index = self.pieces.partition_point(|piece| piece.start <= at).checked_sub(1)?;
        let piece = self.pieces.get(index)?;
        match &piece.source {
            Source::Nothing | Source::Untouched => None,
            Source::All => Some(at..end),
            Source::Touched => match &mut self.touched {
                Some(touched) => touched.next(at, end),
                None => Some(at..end),
            },
            Source::File { file, offset } => {
                use rustix::fs::{SeekFrom, seek};
                let place = |at: u64| offset.saturating_add(at - piece.start);
                let address = |place: u64| piece.start.saturating_add(place.saturating_sub(*offset));
                // ENXIO: no data to the end of the file.
                let data = seek(file, SeekFrom::Data(place(at))).ok()?;
                let hole = seek(file, SeekFrom::Hole(data)).unwrap_or(u64::MAX);
                let start = address(data).max(at);
                let hole = address(hole).checked_next_multiple_of(self.page).unwrap_or(end).min(end);
                (start < hole).then_some(start..hole)
            }
        }
    }

    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        read_through(self.bytes, at, buf, self.page, |range| self.unreadable.add(range))
    }

    fn soft_errors(&mut self) -> Vec<String> {
        self.unreadable.lines()
    }
}
