//! Builder of Windows crash dumps of machines. It shares no code and no layout with the readers it tests: offsets were
//! written down from the WDK's debugger headers (`ntiodump.h`, `wdbgexts.h`) and from the public types of ntoskrnl.
//!
//! What it is not: a Windows kernel. A [`Machine`] has a few pages, page tables over them, a list of three drivers and one
//! processor: as much as a reader needs to find its way.
//!
//! ```
//! use afterimage_testkit::build_windows_dump::Machine;
//! let dump = Machine::x64().complete();
//! assert!(dump.starts_with(b"PAGEDU64"));
//! ```
//!
//! *Trap*: what nobody writes is filled with `PAGE`, as Windows does it; a reader must not take it for numbers.

#![allow(clippy::indexing_slicing, reason = "offsets into buffers of its own making: a wrong one must stop the test")]

mod containers;
mod kernel;
mod triage;

pub use triage::Triage;

use std::collections::BTreeMap;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// A machine: its physical pages, and what its dump's header says.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Pages by number.
    pub pages: BTreeMap<u64, Vec<u8>>,
    /// Whether addresses have 64 bits.
    pub wide: bool,
    /// The header as it will be written, but for the dump type and the list of memory.
    pub header: Vec<u8>,
}

/// Facts that tests compare with.
pub mod facts {
    /// Root of the 64-bit page tables.
    pub const ROOT: u64 = 0x1000;
    /// Bug check code.
    pub const CODE: u32 = 0xd1;
    /// Parameters.
    pub const PARAMETERS: [u64; 4] = [0x10, 2, 0, BAD + 0x1234];
    /// Where the kernel begins.
    pub const KERNEL: u64 = 0xffff_f801_0000_0000;
    /// Where the driver that did it begins.
    pub const BAD: u64 = 0xffff_f801_0040_0000;
    /// The stopped instruction.
    pub const RIP: u64 = KERNEL + 0x5a80;
    /// The stopped stack.
    pub const RSP: u64 = KERNEL + 0x3f00;
    /// Start of a large page of 2 MiB.
    pub const LARGE: u64 = 0xffff_f801_0020_0000;
    /// A page in transition.
    pub const TRANSITION: u64 = KERNEL + 0x10_0000;
    /// A page that lies in a page file.
    pub const PAGED_OUT: u64 = KERNEL + 0x10_1000;
    /// A page that is mapped and not in the dump.
    pub const ABSENT: u64 = KERNEL + 0x10_2000;
    /// Base of the 32-bit kernel.
    pub const KERNEL_32: u64 = 0x8040_0000;
    /// Process and thread.
    pub const IDS: (u32, u32) = (0x1f4, 0x2a8);
    /// Name of the process.
    pub const PROCESS: &str = "victim.exe";
    /// Build text.
    pub const BUILD_LAB: &str = "19041.1.amd64fre.vb_release.191206-1406";
    /// GUID and age of the driver's debug file, in file order.
    pub const GUID: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
}

impl Machine {
    fn empty(wide: bool) -> Self {
        let header: Vec<u8> = b"PAGE".iter().copied().cycle().take(if wide { 0x2000 } else { 0x1000 }).collect();
        let mut machine = Self { pages: BTreeMap::new(), wide, header };
        machine.put(4, if wide { b"DU64" } else { b"DUMP" });
        machine
    }

    /// Overwrites bytes of the header.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes a little-endian number of `size` bytes into the header.
    pub fn put_uint(&mut self, at: usize, value: u64, size: usize) {
        self.put(at, &value.to_le_bytes()[..size]);
    }

    /// Writes physical memory; pages that are not there come into being, full of zeros.
    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = at + index as u64;
            let page = self.pages.entry(at / PAGE).or_insert_with(|| vec![0; PAGE as usize]);
            page[(at % PAGE) as usize] = *byte;
        }
    }

    /// Writes a number into physical memory.
    pub fn write_uint(&mut self, at: u64, value: u64, size: usize) {
        self.write(at, &value.to_le_bytes()[..size]);
    }

    /// Runs of pages that follow one another: first page and count.
    #[must_use]
    pub fn runs(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for number in self.pages.keys() {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == *number => *count += 1,
                _ => runs.push((*number, 1)),
            }
        }
        runs
    }
}

/// UTF-16, little-endian, without a NUL.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
