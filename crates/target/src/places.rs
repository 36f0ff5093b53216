//! What lies at an address: its region, module, mapping, whose stack, and what it is next to.
//!
//! *Trap*: a dump lists what was mapped, so an address between two regions was not; but a small dump lists little, and
//! there "no region" only means that nobody wrote it down ([`AddressInfo::mapped`] is then `None`).

use crate::modules::{Module, ModuleKind};
use crate::target::Target;
use afterimage_dump::{Arch, Dump, DumpType, Format, Mapping, Permissions, Region, Virt};

/// What kind of place an address is, the most telling word first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PlaceKind {
    /// In the first 64 KiB, where no system maps anything: a null pointer plus an offset.
    NullPage,
    /// An address that the processor does not translate at all.
    NonCanonical,
    /// The kernel's half of the address space.
    Kernel,
    /// Inside the address range of a module.
    Module,
    /// A file that was mapped as data.
    File,
    /// A thread's stack.
    Stack,
    /// The heap that `brk` grows: named so by the dump, or the private writable memory right behind the program.
    Heap,
    /// Other memory without a file.
    Anonymous,
    /// Nothing was mapped there.
    Unmapped,
    /// The dump does not say.
    Unknown,
}

/// A neighbour of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The region.
    pub region: Region,
    /// Bytes between it and the address: from the region's last byte up, or down from its first byte.
    pub distance: u64,
}

/// What lies at an address.
#[derive(Clone, Debug)]
pub struct AddressInfo {
    /// The address.
    pub address: Virt,
    /// What kind of place it is.
    pub kind: PlaceKind,
    /// Whether it was mapped, if the dump says so.
    pub mapped: Option<bool>,
    /// The region that holds it.
    pub region: Option<Region>,
    /// Protection there, if known.
    pub permissions: Option<Permissions>,
    /// Index in [`Target::modules`] of the module that holds it.
    pub module: Option<usize>,
    /// The mapping of a file that holds it; its path and offset.
    pub mapping: Option<Mapping>,
    /// Index of the thread whose stack pointer lies in the same region.
    pub stack_of: Option<usize>,
    /// Index of the thread whose stack starts right above: the address lies below the lowest mapped byte of that
    /// stack, or in the guard page there, at most 1 MiB away.
    pub below_stack_of: Option<usize>,
    /// The nearest region below, if no region holds the address.
    pub before: Option<Neighbour>,
    /// The nearest region above, if no region holds the address.
    pub after: Option<Neighbour>,
}

impl AddressInfo {
    /// The file or the kernel's name of what is mapped there.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        let mapping = self.mapping.as_ref().map(|mapping| mapping.path.as_str());
        mapping.or_else(|| self.region.as_ref()?.path.as_deref())
    }
}

/// The systems here keep at least this much free at the bottom (`vm.mmap_min_addr`; Windows keeps 64 KiB too).
const NULL_PAGES: u64 = 0x1_0000;
/// How far below a stack an access may fall and still be its overflow: a frame with a large array skips the guard page.
const BELOW_STACK: u64 = 1 << 20;
/// How far behind a program its heap may start: x86-64 moves it by up to 32 MiB at random, arm64 by up to 1 GiB.
const HEAP_GAP: u64 = 1 << 30;

impl Target {
    /// Tells what lies at an address.
    #[must_use]
    pub fn describe_address(&self, at: Virt) -> AddressInfo {
        let dump = self.dump();
        let next = dump.regions.partition_point(|region| region.start <= at);
        let below = next.checked_sub(1).and_then(|i| dump.regions.get(i));
        let region = below.filter(|region| at < region.end);
        let above = dump.regions.get(next);
        let mapping = dump.mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&at)).cloned();
        let module = self.module_index(at);
        let permissions = region.and_then(|region| region.permissions);
        let stack_of = region.and_then(|region| stack_in(dump, region, at));
        let below_stack_of = below_stack(dump, at, region, next);
        let mapped = match (region, &mapping) {
            (Some(_), _) | (_, Some(_)) => Some(true),
            _ => lists_all(dump).then_some(false),
        };
        let kind = if region.is_none() && mapping.is_none() && at.0 < NULL_PAGES {
            PlaceKind::NullPage
        } else if region.is_none()
            && let Some(kind) = beyond_user_space(dump, at)
        {
            kind
        } else if stack_of.is_some() || region.is_some_and(|region| region.path.as_deref() == Some("[stack]")) {
            PlaceKind::Stack
        } else if module.is_some() {
            PlaceKind::Module
        } else if let Some(region) = region {
            let path = mapping.as_ref().map(|mapping| mapping.path.as_str()).or(region.path.as_deref());
            match path {
                Some("[heap]") => PlaceKind::Heap,
                Some(path) if !path.starts_with('[') => PlaceKind::File,
                None if is_heap(self, region) => PlaceKind::Heap,
                _ => PlaceKind::Anonymous,
            }
        } else if mapping.is_some() {
            PlaceKind::File
        } else if mapped == Some(false) {
            PlaceKind::Unmapped
        } else {
            PlaceKind::Unknown
        };
        let neighbour = |region: &Region, distance| Neighbour { region: region.clone(), distance };
        let alone = region.is_none();
        AddressInfo {
            address: at,
            kind,
            mapped,
            permissions,
            module,
            stack_of,
            below_stack_of,
            before: below.filter(|_| alone).map(|region| neighbour(region, at.0.saturating_sub(region.end.0 - 1))),
            after: above.filter(|_| alone).map(|region| neighbour(region, region.start.0.saturating_sub(at.0))),
            region: region.cloned(),
            mapping,
        }
    }
}

/// Whether the dump lists every region that the process had. A small minidump lists only what it holds.
fn lists_all(dump: &Dump) -> bool {
    const MEMORY_INFO_LIST: u32 = 16;
    const LINUX_MAPS: u32 = 0x4767_0009;
    match dump.format {
        Format::Minidump => {
            dump.notes.iter().any(|note| [MEMORY_INFO_LIST, LINUX_MAPS].contains(&note.kind))
                || dump.dump_type == DumpType::Complete
        }
        _ => !dump.regions.is_empty(),
    }
}

/// The thread whose stack pointer lies in the region; of several, the one nearest below the address.
fn stack_in(dump: &Dump, region: &Region, at: Virt) -> Option<usize> {
    let pointers = dump.threads.iter().enumerate().filter_map(|(i, thread)| Some((i, thread.registers.sp()?)));
    let inside = pointers.filter(|(_, sp)| (region.start..region.end).contains(sp));
    // A stack is in use from its pointer up.
    inside.min_by_key(|(_, sp)| (*sp > at, sp.0.abs_diff(at.0))).map(|(i, _)| i)
}

/// The thread whose stack the address lies below.
fn below_stack(dump: &Dump, at: Virt, own: Option<&Region>, next: usize) -> Option<usize> {
    // An overflow lands in the unmapped gap, or in a guard region without any permission.
    let guard = |region: &Region| region.permissions.is_some_and(|perms| !perms.read && !perms.write && !perms.execute);
    if own.is_some_and(|region| !guard(region)) {
        return None;
    }
    let mut above = dump.regions.get(next..).unwrap_or_default().iter().filter(|region| !guard(region));
    let stack = above.next().filter(|region| region.start.0.saturating_sub(at.0) <= BELOW_STACK)?;
    if stack.permissions.is_some_and(|perms| !perms.write) {
        return None;
    }
    // The stack pointer itself may have left the stack already, by as much as the address.
    let near =
        |sp: Virt| (stack.start..stack.end).contains(&sp) || (sp < stack.start && stack.start.0 - sp.0 <= BELOW_STACK);
    let mut threads = dump.threads.iter().enumerate();
    threads.find(|(_, thread)| thread.registers.sp().is_some_and(near)).map(|(i, _)| i)
}

/// Kernel addresses, and those that no page table can hold.
fn beyond_user_space(dump: &Dump, at: Virt) -> Option<PlaceKind> {
    let bits = match dump.arch {
        // 57 bits only where the process was given memory up there (it must ask for it).
        Arch::X86_64 if uses_above(dump, 47) => 56,
        Arch::X86_64 => 47,
        Arch::Aarch64 if uses_above(dump, 48) => 52,
        Arch::Aarch64 => 48,
        _ => return None,
    };
    // arm64 ignores the top byte of user addresses: it may hold a tag.
    let at = if dump.arch == Arch::Aarch64 && at.0 >> 55 & 1 == 0 { at.0 & (u64::MAX >> 8) } else { at.0 };
    if at >> bits == 0 {
        None
    } else if at >> bits == u64::MAX >> bits {
        Some(PlaceKind::Kernel)
    } else {
        Some(PlaceKind::NonCanonical)
    }
}

fn uses_above(dump: &Dump, bits: u32) -> bool {
    // x86-64 kernels put the vsyscall page, as if it were the process's, into the kernel's half.
    dump.regions.iter().rev().any(|region| region.start.0 >> bits != 0 && region.start.0 >> 63 == 0)
}

/// Whether a region without a name is where `brk` grows: the first private writable memory behind the program.
fn is_heap(target: &Target, region: &Region) -> bool {
    let program: Option<&Module> = target.modules().iter().find(|module| module.kind == ModuleKind::Program);
    let Some(program) = program else { return false };
    let writable = |region: &Region| region.permissions.is_some_and(|perms| perms.write);
    let behind = |r: &&Region| r.start >= program.end && r.path.is_none() && writable(r);
    let first = target.dump().regions.iter().find(behind);
    first.is_some_and(|first| first.start == region.start && first.start.0 - program.end.0 <= HEAP_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, testing};
    use afterimage_dump::{Budget, Registers, Thread};

    fn target() -> Target {
        let mut dump = testing::dump(vec![(0x10_0000, vec![0; 0x1000]), (0x7fff_0000_0000, vec![0; 0x2000])]);
        let mut registers = Registers::new(Arch::X86_64);
        registers.set(Arch::X86_64.info().sp, 0x7fff_0000_0010);
        dump.threads.push(Thread {
            tid: 1,
            name: None,
            state: None,
            registers,
            signal: None,
            signal_info: None,
            stack: None,
            thread_pointer: None,
            extra_notes: vec![],
        });
        Target::new(dump, Options::default(), Budget::default())
    }

    #[test]
    fn kinds_of_places() {
        let target = target();
        let kind = |at| target.describe_address(Virt(at)).kind;
        assert_eq!(kind(0), PlaceKind::NullPage);
        assert_eq!(kind(0xffff), PlaceKind::NullPage);
        assert_eq!(kind(0x2_0000), PlaceKind::Unmapped);
        assert_eq!(kind(0x10_0010), PlaceKind::Anonymous);
        assert_eq!(kind(0x7fff_0000_1000), PlaceKind::Stack);
        assert_eq!(kind(0xdead_beef_dead_beef), PlaceKind::NonCanonical);
        assert_eq!(kind(0x8000_0000_0000), PlaceKind::NonCanonical);
        assert_eq!(kind(u64::MAX), PlaceKind::Kernel);
    }

    #[test]
    fn neighbours_and_stacks() {
        let target = target();
        let info = target.describe_address(Virt(0x10_1007));
        assert_eq!(info.mapped, Some(false));
        assert_eq!(info.before.unwrap().distance, 8);
        assert_eq!(info.after.unwrap().distance, 0x7fff_0000_0000 - 0x10_1007);
        let info = target.describe_address(Virt(0x7ffe_ffff_fff8));
        assert_eq!((info.below_stack_of, info.stack_of), (Some(0), None));
        assert_eq!(target.describe_address(Virt(0x7ffe_0000_0000)).below_stack_of, None);
    }
}
