//! ELF cores of whole machines: /proc/vmcore, makedumpfile -E, QEMU, VirtualBox, Xen.
//!
//! *What it is*: the same headers and notes as a process's core, with physical addresses in `p_paddr`, and with a status
//! note for each processor in place of each thread.
//!
//! *Trap*: the status notes' ids are those of the tasks that ran: idle processors all have 0. Processors are numbered by
//! the order of the notes, as crash and drgn do.

use super::headers::{Header, PT_LOAD, PT_NOTE, Segment};
use super::reading::Reading;
use super::{layout, notes, space};
use crate::bytes::Fields;
use crate::machine::{Cpu, Machine};
use crate::registers::Registers;
use crate::source::SharedSource;
use crate::system::{self, machine_dump, named_registers};
use crate::{
    Absence, Arch, Backing, Budget, Dump, DumpType, Endian, FileOffset, Format, Issue, NoteRecord, Os, Phys,
    Segment as Piece, SegmentMemory,
};
use std::sync::Arc;

/// What the notes say of a machine.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) vmcoreinfo: Option<String>,
    /// Control registers, by the order of the processors.
    pub(super) control: Vec<Vec<(&'static str, u64)>>,
    /// Registers out of QEMU's own notes, where they are all there are.
    pub(super) qemu: Vec<Registers>,
    /// Who wrote it, if a note tells.
    pub(super) writer: Option<&'static str>,
    pub(super) erased: bool,
    /// A note that only machines' cores have.
    pub(super) machine: bool,
}

/// Takes a note that only a machine's core has.
pub(super) fn take(reading: &mut Reading<'_>, note: &notes::Note<'_>) {
    let arch = reading.header.arch;
    let machine = &mut reading.machine;
    match note.owner {
        b"VMCOREINFO" => {
            let text = system::vmcoreinfo::text(note.content.bytes());
            machine.vmcoreinfo.get_or_insert(text);
        }
        b"QEMU" => {
            machine.writer = Some("qemu");
            if let Some((registers, control)) = qemu_cpu(note.content, arch) {
                machine.qemu.push(registers);
                machine.control.push(control);
            }
        }
        b"VBCORE" | b"VBCPU" => machine.writer = Some("virtualbox"),
        b"ERASEINFO" => machine.erased = true,
        b"Xen" => {
            if machine.writer.is_none() {
                machine.writer = Some("xen");
            }
        }
        _ => return,
    }
    machine.machine = true;
}

/// QEMU's state of an x86 processor (`QEMUCPUState`, version 1, 440 bytes): 18 general registers, ten segments, five
/// control registers.
fn qemu_cpu(note: Fields<'_>, arch: Arch) -> Option<(Registers, Vec<(&'static str, u64)>)> {
    const GENERAL: [&str; 18] = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "rip", "rflags",
    ];
    const SEGMENTS: usize = 152;
    const SEGMENT: usize = 24;
    const CONTROL: usize = 392;
    if !matches!(arch, Arch::X86_64 | Arch::X86) || note.u32(0)? != 1 || note.bytes().len() < 432 {
        return None;
    }
    let mut values = Vec::new();
    for (index, name) in GENERAL.into_iter().enumerate() {
        let value = note.u64(8 + 8 * index)?;
        values.push((name, value));
        // 32-bit names are the same but for the first letter.
        let narrow = match name {
            "rax" => "eax",
            "rbx" => "ebx",
            "rcx" => "ecx",
            "rdx" => "edx",
            "rsi" => "esi",
            "rdi" => "edi",
            "rsp" => "esp",
            "rbp" => "ebp",
            "rip" => "eip",
            "rflags" => "eflags",
            _ => continue,
        };
        values.push((narrow, value));
    }
    let selector = |index: usize| note.u32(SEGMENTS + SEGMENT * index).map(u64::from);
    let base = |index: usize| note.u64(SEGMENTS + SEGMENT * index + 16);
    for (index, name) in ["cs", "ds", "es", "fs", "gs", "ss"].into_iter().enumerate() {
        values.push((name, selector(index)?));
    }
    values.extend([("fs_base", base(3)?), ("gs_base", base(4)?)]);
    let mut control = Vec::new();
    for (index, name) in ["cr0", "cr1", "cr2", "cr3", "cr4"].into_iter().enumerate() {
        if name != "cr1" {
            control.push((name, note.u64(CONTROL + 8 * index)?));
        }
    }
    control.extend([("gdt_base", base(8)?), ("idt_base", base(9)?), ("tr_base", base(7)?)]);
    control.extend(note.u64(432).map(|value| ("kernel_gs_base", value)));
    Some((named_registers(arch, &values), control))
}

/// Whether this is the core of a machine: by its notes, or by physical addresses, which a process's core never has.
pub(super) fn is_machine(reading: &Reading<'_>, segments: &[Segment]) -> bool {
    if reading.machine.machine {
        return true;
    }
    /// No process has memory below (`vm.mmap_min_addr`).
    const LEAST: u64 = 64 << 10;
    // Folklore: Linux's and gdb's cores have p_paddr 0 everywhere; FreeBSD's and some tools' repeat p_vaddr there. So a
    // core without any note of a process is of a machine if its physical addresses are others, or are the first there are.
    let process = reading.notes.iter().any(|note| {
        let of_process = matches!(note.kind, 3 | 6) && note.owner == "CORE";
        let systems = ["NetBSD", "OpenBSD", "FreeBSD", "Oxide", "AFTERIMAGE", "GDB"];
        of_process || systems.iter().any(|system| note.owner.starts_with(system))
    });
    let loads = || segments.iter().filter(|segment| segment.kind == PT_LOAD);
    let same = loads().all(|load| load.paddr == load.vaddr);
    // Protection is a thing of processes.
    let mut flags = loads().map(|load| load.flags);
    let first = flags.next();
    let low = loads().any(|load| load.paddr < LEAST) && flags.all(|flags| Some(flags) == first);
    // Folklore: QEMU's dump of an arm64 guest without its vmcoreinfo device has no note but those of a thread, and memory
    // that begins at 1 GiB, at equal addresses; but no segment of it may be read, written or executed.
    let bare = loads().all(|load| load.flags == 0) && loads().any(|load| load.filesz > 0);
    let physical = if same { low || bare } else { loads().all(|load| load.paddr != 0 || load.paddr == load.vaddr) };
    !process && reading.mappings.is_empty() && physical
}

/// Makes the dump of a machine.
pub(super) fn assemble(mut reading: Reading<'_>, source: &SharedSource, segments: &[Segment]) -> Dump {
    let mut issues = std::mem::take(&mut reading.issues);
    let memory = physical(source, segments);
    let left_out = memory.segments().iter().filter(|piece| piece.backing == Backing::Absent(Absence::NotInDump));
    let excluded = left_out.map(|piece| piece.end.0 - piece.start.0).fold(0, u64::saturating_add);
    if memory.overlaps() > 0 {
        issues.push(Issue::remark(format!(
            "{} segments show physical memory that another one shows, too (kernel text is mapped twice)",
            memory.overlaps()
        )));
    }
    // By virtual address as the headers give it, where they do.
    let mapped: Vec<Segment> = segments
        .iter()
        .filter(|s| s.kind == PT_LOAD && s.vaddr != s.paddr && s.vaddr != 0 && s.vaddr != u64::MAX)
        .copied()
        .collect();
    let parts = space::Parts { segments: &mapped, mappings: &[], untouched: &[] };
    let space = space::build(source, Os::Linux, &parts, &mut Vec::new());
    let wrapped =
        segments.iter().filter(|s| s.kind == PT_LOAD && s.paddr.checked_add(s.memsz.max(s.filesz)).is_none()).count();
    if wrapped > 0 {
        issues.push(Issue::loss(format!("{wrapped} segments reach past the end of physical memory and are cut there")));
    }
    let promised = space::promised_length(segments);
    let missing = promised.saturating_sub(source.len());
    if missing > 0 {
        issues.insert(0, Issue::loss(format!("the file is cut off: {missing} of {promised} bytes are missing")));
    }
    let notes = std::mem::take(&mut reading.machine);
    let mut machine = Machine::new(Arc::new(memory));
    machine.page_size = page_size(reading.header.arch, notes.vmcoreinfo.as_deref());
    machine.cpus = cpus(&reading, &notes, segments);
    machine.vmcoreinfo = notes.vmcoreinfo;
    let mut dump = machine_dump(Format::ElfCore, source, (reading.header.arch, reading.header.endian), machine);
    dump.pointer_size = reading.header.word();
    dump.memory = Arc::new(with_elsewhere(space.memory));
    dump.regions = space.regions;
    dump.os =
        if dump.machine.as_ref().is_some_and(|machine| machine.vmcoreinfo.is_some()) { Os::Linux } else { Os::Unknown };
    dump.writer = notes.writer.map(str::to_owned);
    dump.notes = reading.notes;
    dump.missing_bytes = missing;
    if reading.header.flags & 1 != 0 {
        // makedumpfile's DUMP_ELF_INCOMPLETE.
        issues.push(Issue::loss(
            "whoever wrote it marked it as incomplete: something was missing, or it ran out of room",
        ));
    }
    if notes.erased {
        issues.push(Issue::remark("makedumpfile erased data in it (its list is the ERASEINFO note)"));
    }
    if excluded > 0 {
        dump.dump_type = DumpType::Active;
        issues.push(Issue::remark(format!(
            "{excluded} bytes of memory are left out; an ELF file does not say which kinds of pages those were"
        )));
    }
    dump.issues = issues;
    system::linux_facts(&mut dump);
    dump
}

fn with_elsewhere(memory: Arc<SegmentMemory<crate::Virt>>) -> SegmentMemory<crate::Virt> {
    let pieces = memory.segments().to_vec();
    SegmentMemory::new(memory.source().clone(), pieces).with_elsewhere(Absence::NotInDump)
}

/// Physical memory.
fn physical(source: &SharedSource, segments: &[Segment]) -> SegmentMemory<Phys> {
    let mut pieces = Vec::new();
    for load in segments.iter().filter(|segment| segment.kind == PT_LOAD) {
        let held = load.filesz.min(source.len().saturating_sub(load.offset));
        let place = |len: u64| Phys(load.paddr.saturating_add(len));
        let mut piece = |from: u64, to: u64, backing| {
            pieces.push(Piece { start: place(from), end: place(to), backing });
        };
        piece(0, held, Backing::File(FileOffset(load.offset)));
        piece(held, load.filesz, Backing::Absent(Absence::Truncated));
        piece(load.filesz, load.memsz.max(load.filesz), Backing::Absent(Absence::NotInDump));
    }
    // Of two that show the same memory, the one with bytes wins.
    pieces.sort_by_key(|piece| (matches!(piece.backing, Backing::Absent(_)), piece.start));
    layered(source, pieces)
}

/// Memory of pieces in order of their worth: a later one fills only what earlier ones leave free.
fn layered(source: &SharedSource, pieces: Vec<Piece<Phys>>) -> SegmentMemory<Phys> {
    let absent = pieces.partition_point(|piece| !matches!(piece.backing, Backing::Absent(_)));
    let (present, rest) = pieces.split_at(absent);
    let present = SegmentMemory::new(source.clone(), present.to_vec());
    let mut all = present.segments().to_vec();
    for piece in rest.iter().filter(|piece| piece.start < piece.end) {
        let mut at = piece.start;
        let first = present.segments().partition_point(|other| other.end <= at);
        for other in
            present.segments().get(first..).unwrap_or_default().iter().take_while(|other| other.start < piece.end)
        {
            if at < other.start {
                all.push(Piece { start: at, end: other.start, backing: piece.backing });
            }
            at = other.end;
        }
        if at < piece.end {
            all.push(Piece { start: at, end: piece.end, backing: piece.backing });
        }
    }
    SegmentMemory::new(source.clone(), all)
}

fn cpus(reading: &Reading<'_>, notes: &Notes, segments: &[Segment]) -> Vec<Cpu> {
    let count = reading.threads.len().max(notes.qemu.len());
    // QEMU writes the processor's number, counted from 1, where others write the task's. On arm64 no note is its own, but
    // no segment of its files has a protection either.
    let loads = || segments.iter().filter(|segment| segment.kind == PT_LOAD);
    let counted = (1u64..).zip(&reading.threads).all(|(number, thread)| u64::from(thread.tid) == number);
    let numbered =
        notes.writer == Some("qemu") || counted && loads().next().is_some() && loads().all(|load| load.flags == 0);
    let cpu = |index: usize| {
        let thread = reading.threads.get(index);
        let mut registers = thread
            .map(|thread| thread.registers)
            .or_else(|| notes.qemu.get(index).copied())
            .unwrap_or_else(|| Registers::new(reading.header.arch));
        if registers.iter().next().is_none()
            && let Some(own) = notes.qemu.get(index)
        {
            registers = *own;
        }
        Cpu {
            index: index as u32,
            pid: thread.map(|thread| thread.tid).filter(|_| !numbered),
            registers,
            control: notes.control.get(index).cloned().unwrap_or_default(),
        }
    };
    (0..count).map(cpu).collect()
}

/// Bytes of a page: what the kernel says, or what is usual.
fn page_size(arch: Arch, vmcoreinfo: Option<&str>) -> u64 {
    let told = vmcoreinfo.and_then(|text| system::vmcoreinfo::value(text, "PAGESIZE")?.parse().ok());
    told.filter(|size: &u64| size.is_power_of_two() && (512..=1 << 20).contains(size)).unwrap_or(match arch {
        Arch::Ppc64 => 64 << 10,
        _ => 4096,
    })
}

/// What notes in another container say.
pub(crate) struct MachineNotes {
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) records: Vec<NoteRecord>,
    pub(crate) issues: Vec<Issue>,
}

/// The processor whose status notes lie at (offset, size) in a container that does not name it, by their length.
pub(crate) fn arch_of_notes(
    source: &SharedSource,
    (offset, size): (u64, u64),
    is_64: bool,
    endian: Endian,
) -> Option<Arch> {
    const STATUS: u32 = 1;
    let segment = Segment { kind: PT_NOTE, flags: 0, offset, vaddr: 0, paddr: 0, filesz: size, memsz: size, align: 4 };
    let mut walk = notes::Walk::new(&**source, &segment, endian);
    while let Some(note) = walk.next() {
        if note.owner == b"CORE" && note.kind == STATUS {
            return layout::only_arch(usize::try_from(note.size).ok()?, if is_64 { 8 } else { 4 });
        }
    }
    None
}

/// Reads ELF notes that lie at (offset, size) in a container that is no ELF file.
pub(crate) fn machine_notes(
    source: &SharedSource,
    (offset, size): (u64, u64),
    (machine, is_64, endian): (u16, bool, Endian),
    budget: &Budget,
) -> MachineNotes {
    let header = Header::of_notes(machine, is_64, endian);
    let mut reading = Reading::new(&header, budget);
    reading.os = Os::Linux;
    let segment = Segment { kind: PT_NOTE, flags: 0, offset, vaddr: 0, paddr: 0, filesz: size, memsz: size, align: 4 };
    if size > 0 {
        super::read_notes(&mut reading, source, &[segment]);
    }
    let notes = std::mem::take(&mut reading.machine);
    MachineNotes { cpus: cpus(&reading, &notes, &[]), records: reading.notes, issues: reading.issues }
}
