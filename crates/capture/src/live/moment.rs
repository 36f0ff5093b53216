//! The instant itself: what is read while the process stands, and the dump's notes made of it later.
//!
//! *Trap*: every system call here lengthens the pause. Registers and the list of mappings must be of this instant;
//! all else was read before ([`Before`]) or is read after.

use super::before::Before;
use super::hold::Held;
use super::{CaptureOptions, Container, LiveError, store};
use crate::memory::Reader;
use crate::picture::{self, Picture, Thread};
use crate::plan::{self, Plan, Request};
use crate::procfs::{self, Vma};
use crate::regs::Machine;
use crate::select::{Choice, select};
use crate::snapshot::{Crash, small_budget};
use crate::sys::pages::{self, Scan, category};
use crate::sys::{self, Tid};
use afterimage_dump::write::elf_core::Core;
use afterimage_dump::write::{minidump, notes};
use std::fs::File;
use std::time::Instant;

/// Bytes of soft errors that are kept.
const MAX_SOFT_ERRORS: usize = 64 << 10;

/// Bytes of each stack that a dump holds at least: what a backtrace of some ten frames stands in.
const STACK_LEAST: u64 = 2 << 10;
/// Bytes that lead to the names of modules.
const WAY_TO_NAMES: u64 = 6 << 10;

/// In what units memory is kept when a dump must be short.
///
/// Folklore: gdb, lldb and elfutils read segments of any size and alignment; only the kernel writes whole pages.
fn unit(most: u64) -> u64 {
    const TIGHT: u64 = 512 << 10;
    if most < TIGHT { 512 } else { sys::page_size() }
}

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
        own_pages(first.tid, &mut vmas);
        Ok(Self { pid, machine, threads, vmas, soft_errors })
    }

    /// Which memory belongs into the dump. `reader` reads the process or its copy, `pid` is the one of the two.
    ///
    /// # Errors
    /// When not even registers and stacks fit the size that was asked for.
    pub(super) fn plan(
        &mut self,
        options: &CaptureOptions,
        before: &mut Before,
        reader: &Reader,
        pid: Tid,
    ) -> Result<Plan, LiveError> {
        let small = options.dump_type == crate::DumpType::Small;
        let Some(most) = options.max_size else {
            let budget = small.then(|| small_budget(self.threads.len()));
            return Ok(self.plan_with(options, before, reader, pid, budget, sys::page_size()));
        };
        before.facts.push(("limited", most.to_string().into_bytes()));
        // A minidump has the core's notes too, besides its own streams.
        let share = if options.container == Container::Elf { 2 } else { 6 };
        // Each thread's stack is worth more than what /proc says of the process.
        let unit = unit(most);
        let stacks = self.threads.len() as u64 * STACK_LEAST.next_multiple_of(unit);
        self.trim_notes(before, (most / share).min(most.saturating_sub(stacks + WAY_TO_NAMES)));
        let notes = self.notes(before).iter().fold(0, |sum, note| sum + note.content.len() as u64 + 32);
        // Headers, and what is lost at the ends of units.
        let least = (notes + stacks + WAY_TO_NAMES + 8 * 1024).next_multiple_of(1024);
        let twice = if options.container == Container::Elf { 1 } else { 2 };
        let mut budget = most.saturating_sub(twice * notes);
        if small {
            budget = budget.min(small_budget(self.threads.len()));
        }
        // Headers are as long as the plan has pieces, so the budget is what remains for the plan that it gives.
        for _ in 0..8 {
            let plan = self.plan_with(options, before, reader, pid, Some(budget), unit);
            let size = self.size(options, before, notes, &plan);
            if size <= most && budget >= stacks + WAY_TO_NAMES {
                return Ok(plan);
            }
            if budget < stacks + WAY_TO_NAMES {
                break;
            }
            budget = budget.saturating_sub((size - most).next_multiple_of(unit));
        }
        Err(LiveError::TooSmall { least })
    }

    /// Length of the file that a plan gives.
    fn size(&self, options: &CaptureOptions, before: &Before, notes: u64, plan: &Plan) -> u64 {
        if options.container == Container::Elf {
            return store::size(notes, plan);
        }
        let mut core = Core::new(self.machine.class, self.machine.number, plan.unit);
        core.notes = self.notes(before);
        store::complete(&mut core, plan, true);
        // A core that makes no minidump is refused later, with its reason.
        minidump::lay_out_core(&core).map_or(0, |layout| layout.len())
    }

    fn plan_with(
        &self,
        options: &CaptureOptions,
        before: &Before,
        reader: &Reader,
        pid: Tid,
        budget: Option<u64>,
        unit: u64,
    ) -> Plan {
        let small = options.dump_type == crate::DumpType::Small;
        let keep = budget.map(|budget| {
            select(&Choice {
                threads: &self.threads,
                machine: self.machine,
                vmas: &self.vmas,
                reader,
                auxv: &before.auxv,
                page: unit,
                budget,
                rest: (!small).then_some(pid),
            })
        });
        let mut plan = plan::plan(&Request {
            pid,
            dump_type: options.dump_type,
            vmas: &self.vmas,
            filter: before.filter,
            reader,
            page: unit,
            keep: keep.as_deref(),
        });
        plan.unit = unit;
        if options.max_size.is_some() {
            // The text of all mappings is in the facts; program headers for what is not here would cost too much.
            plan.pieces.retain(|piece| piece.stored > 0);
        }
        plan
    }

    /// Leaves out the least useful notes until they take at most so many bytes.
    fn trim_notes(&mut self, before: &mut Before, most: u64) {
        const NT_X86_XSTATE: u32 = 0x202;
        const KEPT: [&str; 6] = ["limited", "cmdline", "exe", "time", "start_time", "uname"];
        let size = |moment: &Self, before: &Before| -> u64 {
            moment.notes(before).iter().map(|note| note.content.len() as u64 + 32).sum()
        };
        for fact in ["mountinfo", "environ", "fd", "limits", "cgroup", "maps", "status"] {
            if size(self, before) <= most {
                return;
            }
            before.facts.retain(|(key, _)| *key != fact);
        }
        before.facts.retain(|(key, _)| KEPT.contains(key));
        if size(self, before) > most {
            self.threads.iter_mut().for_each(|thread| thread.sets.retain(|set| set.kind != NT_X86_XSTATE));
        }
        if size(self, before) > most {
            self.threads.iter_mut().for_each(|thread| thread.sets.clear());
        }
    }

    fn notes(&self, before: &Before) -> Vec<afterimage_dump::write::elf_core::Note> {
        let comm = before.told(self.pid, self.pid).status.name;
        let no_signal = [0; sys::SIGINFO_LEN];
        let crash = Crash {
            pid: self.pid,
            tid: self.pid,
            comm: &comm,
            signal: 0,
            info: &no_signal,
            guessed_info: false,
            start: Instant::now(),
        };
        picture::all_notes(&Picture {
            crash: &crash,
            machine: self.machine,
            threads: &self.threads,
            vmas: &self.vmas,
            auxv: &before.auxv,
            facts: &before.facts,
            build_ids: &before.build_ids,
        })
    }

    /// The core's notes; its segments are the caller's.
    pub(super) fn core(mut self, before: &Before, plan: &mut Plan) -> (Core, Vec<String>) {
        let mut soft_errors = std::mem::take(&mut self.soft_errors);
        soft_errors.append(&mut plan.soft_errors);
        left_out(&self.vmas, &mut soft_errors);
        let mut core = Core::new(self.machine.class, self.machine.number, plan.unit);
        core.notes = self.notes(before);
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
        most: 1,
    };
    let Ok(pagemap) = File::open(format!("/proc/{pid}/pagemap")) else { return };
    let candidates = vmas.iter_mut().filter(|vma| vma.file && !vma.shared && !vma.own_pages && !vma.io);
    for vma in candidates {
        if let Ok((_, found)) = pages::scan(&pagemap, &OWN, vma.start, vma.end, 1) {
            vma.own_pages = !found.is_empty();
        }
    }
}

/// Says which memory no dump holds, whatever its type.
fn left_out(vmas: &[Vma], soft_errors: &mut Vec<String>) {
    const MOST: usize = 64;
    let why = |vma: &Vma| match vma {
        vma if vma.secret() => Some("memfd_secret memory, which the kernel shows to nobody else"),
        vma if vma.io && !vma.special() => Some("device memory, which reading might change"),
        vma if vma.dont_dump && !vma.special() => Some("marked MADV_DONTDUMP by the process"),
        _ => None,
    };
    let lines = vmas.iter().filter_map(|vma| Some((vma, why(vma)?)));
    for (vma, why) in lines.clone().take(MOST) {
        soft_errors.push(format!("memory {:#x}-{:#x} is left out: {why}", vma.start, vma.end));
    }
    if let Some(more) = lines.count().checked_sub(MOST).filter(|more| *more > 0) {
        soft_errors.push(format!("{more} more mappings are left out for such reasons"));
    }
}
