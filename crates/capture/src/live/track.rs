//! Knowing which pages a running process writes to: asynchronous write protection by userfaultfd, read by PAGEMAP_SCAN.
//!
//! *What it is*: a userfaultfd of the process, made in it once and held by us only. Pages are write-protected; at the
//! first write the kernel itself lifts the protection (Linux 6.7), and a scan tells for which pages it has.
//!
//! *What it is not*: it sees no writes to shared memory by other processes, so shared memory is not tracked.
//!
//! *Example*: `tracker.protect(range)` gives the pages that exist, protected from now on; copied after that, a page
//! is right unless `tracker.written(…)` names it.
//!
//! *Trap*: closing the descriptor lifts all protection in one go, while every fault of the process waits: a quarter of
//! a second for 8 GiB. [`Tracker::release`] does it bit by bit. (If we are killed, the kernel does it in one go.)

use super::hold::Held;
use super::inject::{Gadgets, Refusal, Remote, Room};
use crate::memory::Reader;
use crate::procfs::Vma;
use crate::sys::pages::{self, Found, Scan, category, feature};
use crate::sys::{AllBlocked, Tid, tracee};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// Bytes that are protected, or let go, in one step: the kernel holds a lock meanwhile.
pub(super) const STEP: u64 = 64 << 20;
/// Ranges that one scan tells of.
const ROOM: usize = 4096;
/// What is looked at as a whole when memory may have been given back: what a huge page, or a page table, covers.
const LARGE: u64 = 2 << 20;

/// The scan's flag: fail where memory is not tracked.
const CHECK_TRACKED: u64 = 2;

/// Pages written to, or never protected, that the page tables have a place for.
const WRITTEN: Scan = Scan { flags: 0, inverted: 0, all: category::WRITTEN, any: 0, tell: category::WRITTEN, most: 0 };

/// Pages written to that have content; protected again.
const TAKE: Scan = Scan {
    flags: pages::PROTECT,
    inverted: category::ZERO_PAGE,
    all: category::ZERO_PAGE | category::WRITTEN,
    any: category::PRESENT | category::SWAPPED,
    tell: 0,
    most: 0,
};

/// The first page with content.
const ANY: Scan = Scan { most: 1, ..Scan::TOUCHED };

/// The tracking of one process.
pub(super) struct Tracker {
    uffd: OwnedFd,
    pagemap: File,
    tracked: Vec<Range<u64>>,
}

impl Tracker {
    /// Makes the userfaultfd in a held process and takes it out.
    pub(super) fn new(
        held: &Held,
        pidfd: &OwnedFd,
        reader: &Reader,
        vmas: &[Vma],
        gadgets: Gadgets,
        seccomp: bool,
    ) -> Result<Self, Refusal> {
        // Ctrl-C waits until the borrowed thread is home again.
        let _blocked = AllBlocked::new();
        let pagemap = File::open(format!("/proc/{}/pagemap", reader.pid())).map_err(|_| Refusal::Lost)?;
        let tids = held.threads.iter().filter(|thread| thread.stopped).map(|thread| thread.tid);
        let room = Room::find(tids, vmas, reader, gadgets).ok_or(Refusal::NoStack)?;
        // All threads stand, so the number that it will get is known: its way home closes it if we die.
        let number = lowest_free_descriptor(reader.pid());
        let mut remote = Remote::begin(&room, reader, gadgets, seccomp, Some(number))?;
        let uffd = Self::take(&mut remote, pidfd);
        remote.end(reader)?;
        let uffd = uffd?;
        let wanted = feature::WP_ASYNC | feature::WP_UNPOPULATED | feature::WP_HUGETLBFS_SHMEM;
        pages::uffd_api(&uffd, wanted).map_err(|error| refused("asynchronous write protection", &error))?;
        Ok(Self { uffd, pagemap, tracked: Vec::new() })
    }

    fn take(remote: &mut Remote, pidfd: &OwnedFd) -> Result<OwnedFd, Refusal> {
        let flags = (libc::O_CLOEXEC | libc::O_NONBLOCK) as u64 | pages::USER_MODE_ONLY;
        let way = remote.close_way();
        let number = remote.call(libc::SYS_userfaultfd, [flags, 0, 0, 0, 0, 0], way)?;
        if number < 0 {
            return Err(refused("userfaultfd", &io::Error::from_raw_os_error(-number as i32)));
        }
        let uffd = tracee::take_descriptor(pidfd, number as i32);
        remote.call(libc::SYS_close, [number as u64, 0, 0, 0, 0, 0], remote.home())?;
        uffd.map_err(|error| refused("pidfd_getfd", &error))
    }

    /// Begins to track a mapping; `false` if the kernel does not track this kind, or another userfaultfd has it.
    pub(super) fn add(&mut self, range: &Range<u64>) -> bool {
        let added = pages::uffd_register(&self.uffd, range).is_ok();
        if added {
            self.tracked.push(range.clone());
        }
        added
    }

    /// What is tracked.
    pub(super) fn tracked(&self) -> &[Range<u64>] {
        &self.tracked
    }

    /// Protects the pages of a range that have content, and tells them.
    pub(super) fn protect(&self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        self.each(&Scan { flags: pages::PROTECT, ..Scan::TOUCHED }, range, &mut |(range, _)| found(range))
    }

    /// Tells the pages with content that were written to since they were protected, and protects them again.
    pub(super) fn take_written(&self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        self.each(&TAKE, range, &mut |(range, _)| found(range))
    }

    /// For a process that stands: pages of a range that were written to or given back, whether they have content now
    /// or not. `false` if the range, or a part of it, is not tracked any more.
    pub(super) fn written(&self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> bool {
        let scan = Scan { flags: CHECK_TRACKED, ..WRITTEN };
        self.each(&scan, range, &mut |(range, _)| found(range)).is_ok()
    }

    /// Tells which pages of a range have content.
    pub(super) fn touched(&self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        self.each(&Scan::TOUCHED, range, &mut |(range, _)| found(range))
    }

    /// The first page of a range with content: reservations of terabytes are passed over in one step.
    pub(super) fn next_touched(&self, range: Range<u64>) -> io::Result<Option<u64>> {
        let mut at = range.start;
        while at < range.end {
            let (reached, one) = pages::scan(&self.pagemap, &ANY, at, range.end, 1)?;
            if let Some((found, _)) = one.first() {
                return Ok(Some(found.start));
            }
            if reached <= at {
                break;
            }
            at = reached;
        }
        Ok(None)
    }

    /// Tells large blocks of a range that have no page at all any more: memory that was given back together with its
    /// page tables, of which the scan for written pages says nothing.
    pub(super) fn emptied(&self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let end = (at / LARGE + 1).saturating_mul(LARGE).min(range.end);
            let (_, one) = pages::scan(&self.pagemap, &ANY, at, end, 1)?;
            if one.is_empty() {
                found(at..end);
            }
            at = end;
        }
        Ok(())
    }

    fn each(&self, what: &Scan, range: Range<u64>, found: &mut dyn FnMut(Found)) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let end = if what.flags & pages::PROTECT != 0 { (at + STEP).min(range.end) } else { range.end };
            let (reached, ranges) = pages::scan(&self.pagemap, what, at, end, ROOM)?;
            ranges.into_iter().for_each(&mut *found);
            // Folklore: no range may mean that the scan stopped to let others run; only the place it names counts.
            if reached <= at {
                return Err(io::Error::other("the scan of pages does not go on"));
            }
            at = reached;
        }
        Ok(())
    }

    /// Lifts everything again, in steps that are too short to be noticed.
    pub(super) fn release(self) {
        for range in &self.tracked {
            let mut at = range.start;
            while let Ok(Some(start)) = self.next_touched(at..range.end) {
                let part = start..(start + STEP).min(range.end);
                // Under a lock that faults can share; so that little is left to do under the one that they cannot.
                let _ = pages::uffd_unprotect(&self.uffd, &part);
                at = part.end;
            }
        }
        for range in &self.tracked {
            let mut at = range.start;
            while at < range.end {
                // Where little is mapped there is little to do, whatever the length.
                let part = at..(at + (16 * STEP).max((range.end - range.start) / 256 / STEP * STEP)).min(range.end);
                // A mapping that went away meanwhile is no failure.
                let _ = pages::uffd_unregister(&self.uffd, &part);
                at = part.end;
            }
        }
    }
}

fn refused(call: &'static str, error: &io::Error) -> Refusal {
    Refusal::Call { call, why: error.to_string() }
}

fn lowest_free_descriptor(pid: Tid) -> i32 {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut numbers: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    let free = numbers.iter().zip(0..).find(|(number, place)| *number != place).map(|(_, place)| place);
    free.unwrap_or(numbers.len() as i32)
}
