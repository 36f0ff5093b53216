//! Which kernel ran the machine, of those that lie in its memory.
//!
//! *What it is*: a machine's memory may hold several: a crash kernel in its reserved part, the kernel that was there before
//! a restart, those of virtual machines. Each is proved by its own page tables; what the container says (its VMCOREINFO,
//! its processors' page tables), and what each kernel says of itself (memory, processes), tells which one is meant.
//!
//! *What it is not*: a way into virtual machines. Their page tables lead to addresses that are not those of this memory, so
//! they are not proved, only counted.
//!
//! *Trap*: proving takes time, and so does looking through memory. What the container's own VMCOREINFO leads to is taken
//! without a look at the rest, and so is the kernel that the processors would have entered at the next fault.

use super::entry;
use super::find::{self, Physical};
use super::kernel::Linux;
use super::place::{mapped_text, root_of, tokens_place};
use afterimage_dump::paging::PageTables;
use afterimage_dump::{Arch, Cpu, Machine, Virt};
use afterimage_symbols::kernel::Kallsyms;
use std::cmp::Ordering;

/// Kernels that are compared.
const MOST: usize = 8;
/// Tables of symbols whose roots are searched among all pages.
const MOST_DEEP: usize = 4;

/// The kernel of the machine.
///
/// # Errors
/// A sentence on what could not be found.
pub(super) fn choose(machine: &Machine, arch: Arch) -> Result<Linux, String> {
    let told = machine.vmcoreinfo.as_deref();
    let mut last = None;
    // The kernel that a VMCOREINFO leads to.
    let led = |text: &str, infos: &[&str], how: &str| {
        let digits = tokens_place(text, arch).and_then(|at| find::near(machine, at))?;
        let symbols = Kallsyms::read(&Physical(machine), digits).map_err(|error| error.to_string());
        let evidence = vec![format!("{how} leads to kallsyms")];
        Some(symbols.and_then(|symbols| Linux::prove(machine, arch, symbols, infos, evidence, false)))
    };
    match told.and_then(|text| led(text, &[text], "VMCOREINFO of the dump")) {
        Some(Ok(mut linux)) => {
            strangers(machine, &mut linux);
            return Ok(linux);
        }
        Some(Err(why)) => last = Some(format!("the dump's VMCOREINFO leads to no kernel: {why}")),
        None => {}
    }
    if let Some(linux) = by_processors(machine, arch) {
        return Ok(linux);
    }
    // One that lies in memory saves the rest of the way, if it is sure that its kernel is the one.
    let mut places = find::scan(machine, &find::blocks(machine), true);
    // Of several, each has to be asked.
    if let [text] = &*places.infos
        && let Some(Ok(linux)) = led(text, &[text], "a VMCOREINFO that lies in memory")
        && Signs::of(machine, &linux, told).are_enough(machine)
    {
        return Ok(linux);
    }
    let left = std::mem::take(&mut places.left);
    places.add(find::scan(machine, &left, false));
    all(machine, arch, &places, last)
}

/// The kernel whose code the processors were in, or would have entered: its symbols lie behind its code.
fn by_processors(machine: &Machine, arch: Arch) -> Option<Linux> {
    // Four blocks at a time; no kernel's text and data lie farther apart.
    const WINDOW: u64 = 16 << 20;
    const WINDOWS: u64 = 6;
    let places = entry::places(machine, arch);
    let blocks = find::blocks(machine);
    for (place, step) in places.iter().flat_map(|place| (0..WINDOWS).map(move |step| (place, step))) {
        let from = place.checked_add(step * WINDOW)?;
        let part = |(start, end): &(u64, u64)| {
            let (start, end) = ((*start).max(from), (*end).min(from.saturating_add(WINDOW)));
            (start < end).then_some((start, end))
        };
        let window: Vec<(u64, u64)> = blocks.iter().filter_map(part).collect();
        let found = find::scan(machine, &window, false);
        // Its own VMCOREINFO, where that lies on the way, costs nothing more.
        let told: Vec<&str> =
            machine.vmcoreinfo.as_deref().into_iter().chain(found.infos.iter().map(String::as_str)).collect();
        for at in found.digits {
            let Ok(symbols) = Kallsyms::read(&Physical(machine), at) else { continue };
            let evidence = vec!["what the processors enter at a fault leads to kallsyms".to_owned()];
            let Ok(linux) = Linux::prove(machine, arch, symbols, &told, evidence, false) else { continue };
            if Signs::of(machine, &linux, machine.vmcoreinfo.as_deref()).are_enough(machine) {
                return Some(linux);
            }
        }
    }
    None
}

/// All kernels of these places, compared.
fn all(machine: &Machine, arch: Arch, places: &find::Places, mut last: Option<String>) -> Result<Linux, String> {
    let told = machine.vmcoreinfo.as_deref();
    let infos: Vec<&str> = told.into_iter().chain(places.infos.iter().map(String::as_str)).collect();
    let mut digits = places.digits.clone();
    let led = infos.iter().filter_map(|text| find::near(machine, tokens_place(text, arch)?));
    digits.extend(led);
    digits.sort_unstable();
    digits.dedup();
    if digits.is_empty() {
        let none = "no kallsyms lies in memory: neither a VMCOREINFO that leads to it nor its table of tokens";
        return Err(last.map_or_else(|| none.to_owned(), |last| format!("{none}; {last}")));
    }
    let read = |at: u64| Kallsyms::read(&Physical(machine), at).map_err(|error| error.to_string());
    let prove = |symbols: Kallsyms, deep: bool| {
        let named = infos.iter().any(|text| tokens_place(text, arch) == Some(symbols.tokens_at));
        let how = match named {
            true => "a VMCOREINFO that lies in memory leads to kallsyms",
            false => "kallsyms was found by the digits among its tokens",
        };
        Linux::prove(machine, arch, symbols, &infos, vec![how.to_owned()], deep)
    };
    let mut proved: Vec<(Signs, Linux)> = Vec::new();
    let mut unproved = Vec::new();
    for at in digits {
        if proved.len() >= MOST {
            break;
        }
        match read(at).map(|symbols| prove(symbols, false)) {
            Ok(Ok(linux)) => proved.push((Signs::of(machine, &linux, told), linux)),
            Ok(Err(why)) => {
                unproved.push(at);
                last = Some(why);
            }
            // Digits that are no table of tokens are many, and no reason.
            Err(why) => last = last.or(Some(why)),
        }
    }
    if !proved.iter().any(|(signs, _)| signs.are_enough(machine)) {
        let deep = std::mem::take(&mut unproved);
        for (index, at) in deep.into_iter().enumerate() {
            if index >= MOST_DEEP {
                unproved.push(at);
                continue;
            }
            match read(at).and_then(|symbols| prove(symbols, true)) {
                Ok(linux) => proved.push((Signs::of(machine, &linux, told), linux)),
                Err(why) => {
                    unproved.push(at);
                    last = Some(why);
                }
            }
        }
    }
    pick(proved, &unproved).ok_or_else(|| {
        format!("what looked like a kernel's symbols is none: {}", last.unwrap_or_else(|| "no tokens".to_owned()))
    })
}

/// The best of them, which says what the others are, and why it was taken.
fn pick(mut proved: Vec<(Signs, Linux)>, unproved: &[u64]) -> Option<Linux> {
    // Of equals, the first in memory.
    proved.sort_by(|(a, _), (b, _)| b.compare(a).0);
    let mut proved = proved.into_iter();
    let (signs, mut best) = proved.next()?;
    let mut why = None;
    for (other, linux) in proved {
        why = why.or_else(|| Some(signs.compare(&other).1));
        let name = linux.release().unwrap_or_else(|| "of an unknown release".to_owned());
        let text = linux.symbols.address("_text").or_else(|| linux.symbols.address("_stext")).unwrap_or(0);
        best.others.push(format!("Linux {name} at {:#x}", text.wrapping_sub(linux.image_offset)));
    }
    if let Some(why) = why {
        let count = best.others.len();
        let others = best.others.join(", ");
        let lie = if count == 1 { "kernel lies" } else { "kernels lie" };
        best.evidence.push(format!("{count} other {lie} in memory ({others}); this one was taken because {why}"));
    }
    if !unproved.is_empty() {
        let places: Vec<String> = unproved.iter().take(3).map(|at| format!("{at:#x}")).collect();
        best.others.extend(places.iter().map(|at| format!("symbols at {at}, whose page tables do not lead to them")));
        best.evidence.push(format!(
            "{} more of what looks like a kernel's symbols (at {}) is not proved by page tables: of a virtual machine, or stale",
            unproved.len(),
            places.join(", ")
        ));
    }
    Some(best)
}

/// What speaks for a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Signs {
    /// The container's VMCOREINFO is its own.
    told: bool,
    /// Processors whose page tables lead to it.
    cpus: usize,
    /// Processors that have page tables.
    of: usize,
    /// Its ring of processes is whole.
    alive: bool,
    /// Bytes of memory that it says it has.
    memory: u64,
    /// Processes in its ring.
    processes: usize,
    /// When it was started.
    start: i64,
}

impl Signs {
    fn of(machine: &Machine, linux: &Linux, told: Option<&str>) -> Self {
        let mut remarks = Vec::new();
        let ring = linux.ring(&mut remarks).unwrap_or_default();
        // What a program runs with need not lead into the kernel (page table isolation), and then says nothing.
        let inside = |cpu: &Cpu| cpu.registers.pc().is_none_or(|pc| pc.0 >> 63 == 1);
        let roots = machine.cpus.iter().filter_map(|cpu| Some((root_of(cpu)?, inside(cpu))));
        let roots = roots.chain(machine.page_table.map(|root| (root.0, true)));
        let led = roots.map(|(root, inside)| (leads(machine, linux, root), inside));
        let led: Vec<(bool, bool)> = led.filter(|(leads, inside)| *leads || *inside).collect();
        Self {
            told: told.is_some() && linux.vmcoreinfo.as_deref() == told,
            cpus: led.iter().filter(|(leads, _)| *leads).count(),
            of: led.len(),
            // The idle task alone is a kernel that had not begun.
            alive: remarks.is_empty() && !ring.is_empty(),
            memory: linux.pages().and_then(|pages| pages.checked_mul(linux.page_bytes())).unwrap_or(0),
            processes: ring.len(),
            start: linux.boot_time_ns().unwrap_or(0),
        }
    }

    /// Whether no other kernel can have more: most processors are its own, or, where those say nothing, it lives and has
    /// most of the memory.
    fn are_enough(&self, machine: &Machine) -> bool {
        match self.of {
            0 => self.alive && self.memory > machine.sizes().present / 2,
            of => self.cpus > of / 2,
        }
    }

    /// Which of two kernels is meant, and why.
    fn compare(&self, other: &Self) -> (Ordering, &'static str) {
        let reasons = [
            (self.told.cmp(&other.told), "the dump's VMCOREINFO is its own"),
            (self.cpus.cmp(&other.cpus), "the processors' page tables lead to it"),
            (self.alive.cmp(&other.alive), "its ring of processes is whole"),
            (self.memory.cmp(&other.memory), "it has more of the memory"),
            (self.processes.cmp(&other.processes), "it has more processes"),
            (self.start.cmp(&other.start), "it was started later"),
        ];
        let first = reasons.into_iter().find(|(order, _)| order.is_ne());
        first.unwrap_or((Ordering::Equal, "it comes first in memory, and nothing tells them apart"))
    }
}

/// Whether page tables map the kernel's text to where it lies.
fn leads(machine: &Machine, linux: &Linux, root: u64) -> bool {
    let Some(text) = mapped_text(&linux.symbols, linux.arch) else { return false };
    let layout = linux.layout().clone();
    let tables = match linux.arch {
        Arch::Aarch64 => PageTables::with_halves(machine.memory.clone(), layout, None, Some(root)),
        _ => PageTables::new(machine.memory.clone(), layout, root),
    };
    let there = text.wrapping_sub(linux.image_offset);
    tables.translate(Virt(text)).is_ok_and(|found| found.physical.0 == there)
}

/// Says so if no processor in a kernel's code used this kernel's page tables.
fn strangers(machine: &Machine, linux: &mut Linux) {
    let inside = |cpu: &&Cpu| cpu.registers.pc().is_some_and(|pc| pc.0 >> 63 == 1);
    let roots: Vec<u64> = machine.cpus.iter().filter(inside).filter_map(root_of).collect();
    if !roots.is_empty() && !roots.iter().any(|root| leads(machine, linux, *root)) {
        let text = "the processors' page tables do not lead to it: another kernel (a crash kernel?) ran on them";
        linux.evidence.push(text.to_owned());
        linux.others.push("one whose page tables the processors used".to_owned());
    }
}
