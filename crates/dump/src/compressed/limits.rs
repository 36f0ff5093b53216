//! When to stop unpacking: at the end that the dump's own header names, at the limits of budget and disk, at a bomb.
//!
//! *Trap*: a header can lie as well. So even a promised size ends after some seconds when the stream grows a thousandfold.

use super::spool::Spool;
use crate::budget::Budget;
use crate::bytes::Fields;
use crate::source::{Source, read_vec};
use std::time::{Duration, Instant};

/// Growth that no honest dump of unknown size has.
const BOMB_RATIO: u64 = 1000;
/// Output from which on the growth is looked at.
const BOMB_FROM: u64 = 1 << 30;
/// Time for a stream that grows like a bomb.
const BOMB_TIME: Duration = Duration::from_secs(5);
/// Output between two looks at disk, clock and progress.
const INTERVAL: u64 = 16 << 20;
/// Space that must stay free on the disk: this much, and a twentieth of it.
const KEEP_FREE: u64 = 256 << 20;
/// Bytes by which a container can be known; what none knows then is not unpacked further.
const HEAD: u64 = 64 << 10;

/// What to do next.
pub(super) enum Verdict {
    GoOn,
    /// All that the header promises is there.
    Known,
    /// No reader knows what begins like this.
    Unknown,
    Stop(String),
}

/// The watch over one stream.
pub(super) struct Limits<'b> {
    budget: &'b Budget,
    /// Its name says that it is a raw image, which has no magic.
    raw: bool,
    packed: u64,
    started: Instant,
    promised: Option<u64>,
    next_header: u64,
    next_look: u64,
}

impl<'b> Limits<'b> {
    pub(super) fn new(budget: &'b Budget, packed: u64, raw: bool) -> Self {
        Self { budget, raw, packed, started: Instant::now(), promised: None, next_header: HEAD, next_look: INTERVAL }
    }

    /// Judges after each step; `read` is how far the packed bytes are read.
    pub(super) fn check(&mut self, spool: &Spool, read: u64) -> Verdict {
        let out = spool.len();
        if self.promised.is_none() && out >= self.next_header {
            if self.next_header == HEAD && !self.raw && !is_known(spool) {
                // The caller will say what it looks like instead.
                return Verdict::Unknown;
            }
            self.promised = promised(spool);
            self.next_header = out.saturating_mul(4);
        }
        if self.promised.is_some_and(|promised| out >= promised) {
            return Verdict::Known;
        }
        if out >= self.budget.max_expanded {
            return Verdict::Stop(format!("no more than {} bytes are allowed", self.budget.max_expanded));
        }
        if out < self.next_look {
            return Verdict::GoOn;
        }
        self.next_look = out + INTERVAL;
        if let Some(hook) = &self.budget.progress {
            hook.call(read, self.packed);
        }
        if let Err(exhausted) = self.budget.in_time() {
            return Verdict::Stop(exhausted.to_string());
        }
        if out / read.max(1) > BOMB_RATIO {
            let late = self.started.elapsed() > BOMB_TIME;
            if late || out > BOMB_FROM && self.promised.is_none() {
                return Verdict::Stop(format!("it grows more than {BOMB_RATIO} times, as only a trap does"));
            }
        }
        match spool.file().and_then(|file| rustix::fs::fstatvfs(file).ok()) {
            Some(disk) => {
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                let keep = KEEP_FREE.max(disk.f_blocks.saturating_mul(disk.f_frsize) / 20);
                if free < keep + INTERVAL {
                    return Verdict::Stop(format!("only {free} bytes are left on the disk of temporary files"));
                }
                Verdict::GoOn
            }
            None => Verdict::GoOn,
        }
    }
}

/// Whether any reader knows the first bytes.
pub(super) fn is_known(spool: &Spool) -> bool {
    let head = read_vec(spool, 0, 4096).unwrap_or_default();
    crate::FORMATS.iter().any(|format| (format.probe)(&head)) || crate::system::raw::may_be_memory(spool)
}

/// Bytes that the container's header says it has, as far as that can be told from what is unpacked.
fn promised(spool: &Spool) -> Option<u64> {
    crate::elf_core::promised_length(spool).or_else(|| minidump_length(spool))
}

/// The end of a minidump's last stream or of its memory, whichever comes later.
fn minidump_length(source: &dyn Source) -> Option<u64> {
    const MEMORY64: u32 = 9;
    let header = read_vec(source, 0, 32).ok()?;
    let header = Fields::new(&header, crate::Endian::Little);
    if header.slice(0, 4)? != b"MDMP" {
        return None;
    }
    let (count, table) = (header.u32(8)?, u64::from(header.u32(12)?));
    let mut end = 0;
    for i in 0..u64::from(count.min(4096)) {
        let entry = read_vec(source, table + 12 * i, 12).ok()?;
        let entry = Fields::new(&entry, crate::Endian::Little);
        let (kind, size, at) = (entry.u32(0)?, u64::from(entry.u32(4)?), u64::from(entry.u32(8)?));
        end = end.max(at + size);
        if kind == MEMORY64 {
            let list = read_vec(source, at, size.min(64 << 20) as usize).ok()?;
            let list = Fields::new(&list, crate::Endian::Little);
            let (ranges, mut next) = (list.u64(0)?, list.u64(8)?);
            for range in 0..usize::try_from(ranges).ok()?.min(4 << 20) {
                next = next.checked_add(list.u64(16 + 16 * range + 8)?)?;
            }
            end = end.max(next);
            return Some(end);
        }
    }
    // Names and contexts lie outside the streams that point at them: without the list of full memory, the end is unknown.
    None
}
