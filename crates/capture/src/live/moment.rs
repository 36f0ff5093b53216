//! The instant itself: what is read while the process stands, and the dump's notes made of it later.
//!
//! *Trap*: every system call here lengthens the pause. Registers and the list of mappings must be of this instant;
//! all else was read before ([`Before`]) or is read after.

use super::before::Before;
use super::hold::Held;
use super::{CaptureOptions, LiveError};
use crate::memory::Reader;
use crate::picture::{self, Picture, Thread};
use crate::plan::{self, Plan, Request};
use crate::procfs::{self, Vma};
use crate::regs::Machine;
use crate::snapshot::Crash;
use crate::sys::pages::{self, Scan, category};
use crate::sys::{self, Tid};
use afterimage_dump::write::elf_core::Core;
use afterimage_dump::write::notes;
use std::fs::File;
use std::time::Instant;

/// Bytes of soft errors that are kept.
const MAX_SOFT_ERRORS: usize = 64 << 10;

/// A process as it stood.
pub(super) struct Moment {
    pub(super) pid: Tid,
    pub(super) machine: &'static Machine,
    pub(super) threads: Vec<Thread>,
    pub(super) vmas: Vec<Vma>,
    pub(super) soft_errors: Vec<String>,
}

impl Moment {
    /// Reads a held process.
    pub(super) fn read(held: &Held, before: &Before) -> Result<Self, LiveError> {
        let pid = held.pid;
        let vanished = || LiveError::Vanished { pid };
        let mut soft_errors = before.soft_errors.clone();
        let first = held.threads.iter().find(|thread| thread.stopped).ok_or_else(vanished)?;
        let registers = crate::regs::integer(first.tid).map_err(|_| vanished())?;
        let machine = Machine::of(&registers).ok_or(LiveError::Unsupported {
            pid,
            what: format!("its registers have an unknown size of {} bytes", registers.len()),
        })?;
        let mut threads = Vec::with_capacity(held.threads.len());
        for thread in &held.threads {
            let tid = thread.tid;
            match picture::registers_of(pid, tid, thread.stopped, machine) {
                Ok(registers) => {
                    let sets = if thread.stopped { picture::sets_of(tid, machine) } else { Vec::new() };
                    threads.push(Thread { tid, told: before.told(pid, tid), registers, sets });
                    if !thread.stopped {
                        let text = "did not stop: it is known only from what /proc says of its system call";
                        soft_errors.push(format!("thread {tid} {text}"));
                    }
                }
                Err(error) => soft_errors.push(format!("thread {tid}: its registers cannot be read: {error}")),
            }
        }
        let maps = std::fs::read(format!("/proc/{}/maps", first.tid)).map_err(|_| vanished())?;
        let vmas = procfs::parse_maps(maps.as_slice()).map_err(|_| vanished())?;
        if vmas.is_empty() {
            return Err(vanished());
        }
        let mut vmas: Vec<Vma> = vmas.into_iter().map(|vma| vma.with_flags_of(&before.vmas)).collect();
        own_pages(pid, &mut vmas);
        Ok(Self { pid, machine, threads, vmas, soft_errors })
    }

    /// Which memory belongs into the dump. `reader` reads the process or its copy.
    pub(super) fn plan(&self, options: &CaptureOptions, before: &Before, reader: &Reader, pid: Tid) -> Plan {
        let small = options.dump_type == crate::DumpType::Small;
        let keep = if small {
            picture::small(&self.threads, self.machine, &self.vmas, reader, &before.auxv)
        } else {
            Vec::new()
        };
        plan::plan(&Request {
            pid,
            dump_type: options.dump_type,
            vmas: &self.vmas,
            filter: before.filter,
            reader,
            page: sys::page_size(),
            keep: &keep,
        })
    }

    /// The core's notes; its segments are the caller's.
    pub(super) fn core(self, before: Before, plan: &mut Plan) -> (Core, Vec<String>) {
        let Self { pid, machine, threads, vmas, mut soft_errors } = self;
        soft_errors.append(&mut plan.soft_errors);
        left_out(&vmas, &mut soft_errors);
        let comm = before.told(pid, pid).status.name;
        let no_signal = [0; sys::SIGINFO_LEN];
        let crash = Crash {
            pid,
            tid: pid,
            comm: &comm,
            signal: 0,
            info: &no_signal,
            guessed_info: false,
            start: Instant::now(),
        };
        let mut core = Core::new(machine.class, machine.number, sys::page_size());
        core.notes = picture::all_notes(&Picture {
            crash: &crash,
            machine,
            threads,
            vmas: &vmas,
            auxv: before.auxv,
            facts: before.facts,
            build_ids: before.build_ids,
        });
        if !soft_errors.is_empty() {
            core.notes.push(notes::soft_errors(&soft_errors, MAX_SOFT_ERRORS));
        }
        (core, soft_errors)
    }
}

/// Private mappings of files that have got pages of their own since they were looked at.
fn own_pages(pid: Tid, vmas: &mut [Vma]) {
    const OWN: Scan = Scan {
        flags: 0,
        inverted: category::FILE,
        all: category::FILE,
        any: category::PRESENT | category::SWAPPED,
        tell: 0,
    };
    let Ok(pagemap) = File::open(format!("/proc/{pid}/pagemap")) else { return };
    let candidates = vmas.iter_mut().filter(|vma| vma.file && !vma.shared && vma.permissions.write && !vma.own_pages);
    for vma in candidates {
        if let Ok((_, found)) = pages::scan(&pagemap, &OWN, vma.start, vma.end, 1) {
            vma.own_pages = !found.is_empty();
        }
    }
}

/// Says which memory no dump of this kind can hold.
fn left_out(vmas: &[Vma], soft_errors: &mut Vec<String>) {
    for vma in vmas.iter().filter(|vma| vma.secret()) {
        let text = "memfd_secret memory, which the kernel shows to nobody else, is left out";
        soft_errors.push(format!("{:#x}-{:#x}: {text}", vma.start, vma.end));
    }
}
