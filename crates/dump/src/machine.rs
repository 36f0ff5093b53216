//! A dump of a whole machine: physical memory, processors, and what the kernel said of itself.
//!
//! *What it is*: the part of a [`crate::Dump`] that only system dumps have, whichever container they came in.
//!
//! *What it is not*: nothing here is understood. Kernels are understood by the crates above.
//!
//! ```no_run
//! use afterimage_dump::{Budget, Phys, open};
//! let dump = open(std::path::Path::new("vmcore"), &Budget::default())?;
//! if let Some(machine) = &dump.machine {
//!     let mut at = Phys(0);
//!     while let Some(extent) = machine.memory.next(at) {
//!         println!("{:#x}-{:#x} {:?}", extent.start, extent.end, extent.absent);
//!         at = extent.end;
//!     }
//! }
//! # Ok::<(), afterimage_dump::Error>(())
//! ```
//!
//! *Trap*: physical addresses have holes (devices below 4 GiB), and a filtered dump has more of them than ranges. So
//! ranges are asked for one after the other, never collected.

use crate::memory::{Absence, Extent, Memory};
use crate::registers::Registers;
use crate::segments::SegmentMemory;
use crate::{Phys, Virt};
use std::sync::Arc;

/// Physical memory.
pub trait PhysMemory: Memory<Phys> {
    /// The first range that ends behind `at`, present or absent with its reason; it may begin before `at`. `None` behind
    /// the last. What lies between two ranges was no memory, or the container does not say what it was.
    ///
    /// Ranges may be given in pieces: two that follow one another can have the same state.
    fn next(&self, at: Phys) -> Option<Extent<Phys>>;
}

impl PhysMemory for SegmentMemory<Phys> {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        let index = self.segments().partition_point(|segment| segment.end <= at);
        let segment = self.segments().get(index)?;
        let absent = match segment.backing {
            crate::Backing::Absent(why) => Some(why),
            crate::Backing::File(_) | crate::Backing::Zero => None,
        };
        Some(Extent { start: segment.start, end: segment.end, absent })
    }
}

/// [`Memory::extents`] for memory whose ranges are asked for one after the other: the first `most` of them, with equal
/// neighbours joined.
pub(crate) fn collect_extents(memory: &dyn PhysMemory, most: usize) -> Vec<Extent<Phys>> {
    let mut extents: Vec<Extent<Phys>> = Vec::new();
    let mut at = Phys(0);
    while let Some(extent) = memory.next(at) {
        if extent.end <= at {
            break;
        }
        at = extent.end;
        if let Some(last) = extents.last_mut()
            && last.end == extent.start
            && last.absent == extent.absent
        {
            last.end = extent.end;
        } else if extents.len() < most {
            extents.push(extent);
        } else {
            break;
        }
    }
    extents
}

/// One processor at the moment of the dump.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// Its number, from 0.
    pub index: u32,
    /// The process that ran on it, where the container says so.
    pub pid: Option<u32>,
    /// Integer registers, as far as the container has them.
    pub registers: Registers,
    /// Control registers and descriptor tables by their names in lower case: `cr3`, `idt_base`, `ttbr1_el1` …
    pub control: Vec<(&'static str, u64)>,
}

impl Cpu {
    /// A control register's value.
    #[must_use]
    pub fn control(&self, name: &str) -> Option<u64> {
        self.control.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }
}

/// What `uname` would have said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemName {
    /// Operating system, as `Linux`.
    pub system: String,
    /// Host name.
    pub node: String,
    /// Kernel release, as `6.1.0-56-amd64`.
    pub release: String,
    /// Build, as `#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2`.
    pub version: String,
    /// Processor, as `x86_64`.
    pub machine: String,
}

/// A whole machine.
pub struct Machine {
    /// Its physical memory.
    pub memory: Arc<dyn PhysMemory>,
    /// Virtual memory of the kernel, where the container leads to page tables; [`crate::Dump::memory`] has what the
    /// container itself holds by virtual address.
    pub virtual_memory: Option<Arc<dyn Memory<Virt>>>,
    /// Bytes of a page.
    pub page_size: u64,
    /// Processors in the order of their numbers.
    pub cpus: Vec<Cpu>,
    /// Root of the kernel's page tables, where the container states it (`DirectoryTableBase`, CR3).
    pub page_table: Option<Phys>,
    /// The text of the VMCOREINFO that the container carries.
    pub vmcoreinfo: Option<String>,
    /// What the container says of the system.
    pub name: Option<SystemName>,
    /// Seconds since the start of the machine.
    pub uptime: Option<f64>,
    /// How the writer chose pages: `makedumpfile`'s dump level, 0 to 31.
    pub dump_level: Option<u32>,
    /// What a Windows dump says of its stop.
    pub stop: Option<Box<crate::system::windows::Stop>>,
}

impl Machine {
    /// A machine of which nothing but its memory is known.
    #[must_use]
    pub fn new(memory: Arc<dyn PhysMemory>) -> Self {
        Self {
            memory,
            virtual_memory: None,
            page_size: 4096,
            cpus: Vec::new(),
            page_table: None,
            vmcoreinfo: None,
            name: None,
            uptime: None,
            dump_level: None,
            stop: None,
        }
    }

    /// Adds up the ranges: bytes that are there, and bytes that are missing with the reason.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let mut sizes = Sizes::default();
        let mut at = Phys(0);
        while let Some(extent) = self.memory.next(at) {
            if extent.end <= at {
                break;
            }
            let bytes = extent.end.0 - extent.start.0.max(at.0);
            at = extent.end;
            match extent.absent {
                None => sizes.present += bytes,
                Some(why) => match sizes.absent.iter_mut().find(|(own, _)| *own == why) {
                    Some((_, sum)) => *sum += bytes,
                    None => sizes.absent.push((why, bytes)),
                },
            }
            sizes.end = extent.end.0;
        }
        sizes
    }
}

/// How much of a machine's memory a dump has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes that can be read.
    pub present: u64,
    /// Bytes that were memory and cannot be read, by reason.
    pub absent: Vec<(Absence, u64)>,
    /// First physical address behind all of them.
    pub end: u64,
}
