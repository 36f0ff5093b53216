//! Asking about, and write-protecting, another process's pages: `PAGEMAP_SCAN` and userfaultfd.
//!
//! *What it is*: the two ioctl families as functions. What they are used for is in `live::track`.
//!
//! *Trap*: a scan may return no range and yet not have come to the end; only the place that it names tells.

use super::check;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

/// Categories of a page, by PAGEMAP_SCAN(2const).
pub(crate) mod category {
    /// Written to since it was last write-protected.
    pub(crate) const WRITTEN: u64 = 1 << 1;
    /// File-backed.
    pub(crate) const FILE: u64 = 1 << 2;
    /// In memory.
    pub(crate) const PRESENT: u64 = 1 << 3;
    /// In swap.
    pub(crate) const SWAPPED: u64 = 1 << 4;
    /// The shared zero page.
    pub(crate) const ZERO_PAGE: u64 = 1 << 5;
}

/// Write-protect what is found, in the same step.
pub(crate) const PROTECT: u64 = 1;

/// What to look for: a page counts if, with the bits of `inverted` turned over, it has all of `all` and one of `any`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// 0 or [`PROTECT`].
    pub(crate) flags: u64,
    pub(crate) inverted: u64,
    pub(crate) all: u64,
    pub(crate) any: u64,
    /// Categories to tell of; ranges that differ in them are told apart.
    pub(crate) tell: u64,
    /// Pages after which the scan ends; 0 for no limit.
    pub(crate) most: u64,
}

impl Scan {
    /// Pages with content of their own.
    pub(crate) const TOUCHED: Self = Self {
        flags: 0,
        inverted: category::ZERO_PAGE,
        all: category::ZERO_PAGE,
        any: category::PRESENT | category::SWAPPED,
        tell: 0,
        most: 0,
    };
}

/// A range of pages and what was asked to be told of them.
pub(crate) type Found = (Range<u64>, u64);

/// Scans `start..end` once: how far it came, and at most `room` ranges (with 0, none are told and the scan goes to the end).
pub(crate) fn scan(
    pagemap: impl AsFd,
    what: &Scan,
    start: u64,
    end: u64,
    room: usize,
) -> io::Result<(u64, Vec<Found>)> {
    const SCAN: u32 = 0xc060_6610; // _IOWR('f', 16, struct pm_scan_arg)
    // struct page_region: start, end, categories.
    let mut regions = vec![[0u64; 3]; room];
    // struct pm_scan_arg: size, flags, start, end, walk_end, vec, vec_len, max_pages, then four masks.
    let vec = if room == 0 { 0 } else { regions.as_mut_ptr() as u64 };
    let mut arg =
        [96, what.flags, start, end, 0, vec, room as u64, what.most, what.inverted, what.all, what.any, what.tell];
    // SAFETY: the kernel reads and writes the 96 bytes of `arg` and at most `vec_len` regions of 24 bytes at `vec`.
    let found = unsafe { libc::ioctl(pagemap.as_fd().as_raw_fd(), SCAN as _, arg.as_mut_ptr()) };
    let found = usize::try_from(check(found.into())?).unwrap_or(0);
    let ranges = regions.iter().take(found).map(|[start, end, categories]| (*start..*end, *categories)).collect();
    let [_, _, _, _, walk_end, ..] = arg;
    Ok((walk_end, ranges))
}

/// Features of userfaultfd that are used here.
pub(crate) mod feature {
    /// Write protection in memory of hugetlbfs and shared memory.
    pub(crate) const WP_HUGETLBFS_SHMEM: u64 = 1 << 12;
    /// Pages that do not exist yet can be protected too.
    pub(crate) const WP_UNPOPULATED: u64 = 1 << 13;
    /// The kernel lifts the protection itself at the first write.
    pub(crate) const WP_ASYNC: u64 = 1 << 15;
}

/// Argument of the userfaultfd system call: no handling of the kernel's own faults, which needs no privilege.
pub(crate) const USER_MODE_ONLY: u64 = 1;

/// Agrees on the features.
pub(crate) fn uffd_api(uffd: impl AsFd, features: u64) -> io::Result<()> {
    // struct uffdio_api: api, features, ioctls.
    let mut arg = [0xaa_u64, features, 0];
    uffd_ioctl(uffd, 0xc018_aa3f, &mut arg)
}

/// Registers a range for write protection.
pub(crate) fn uffd_register(uffd: impl AsFd, range: &Range<u64>) -> io::Result<()> {
    const MODE_WP: u64 = 2;
    // struct uffdio_register: start, len, mode, ioctls.
    let mut arg = [range.start, range.end - range.start, MODE_WP, 0];
    uffd_ioctl(uffd, 0xc020_aa00, &mut arg)
}

/// Undoes it.
pub(crate) fn uffd_unregister(uffd: impl AsFd, range: &Range<u64>) -> io::Result<()> {
    let mut arg = [range.start, range.end - range.start];
    uffd_ioctl(uffd, 0x8010_aa01, &mut arg)
}

/// Lifts the write protection of a range.
pub(crate) fn uffd_unprotect(uffd: impl AsFd, range: &Range<u64>) -> io::Result<()> {
    // struct uffdio_writeprotect: start, len, mode (0: lift it).
    let mut arg = [range.start, range.end - range.start, 0];
    uffd_ioctl(uffd, 0xc018_aa06, &mut arg)
}

fn uffd_ioctl<const N: usize>(uffd: impl AsFd, request: u32, arg: &mut [u64; N]) -> io::Result<()> {
    // SAFETY: the size of the structure is part of each request's number and equals that of `arg`.
    let result = unsafe { libc::ioctl(uffd.as_fd().as_raw_fd(), request as _, arg.as_mut_ptr()) };
    check(result.into()).map(drop)
}
