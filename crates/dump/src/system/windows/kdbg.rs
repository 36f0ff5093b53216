//! The kernel's block of hints for debuggers (`KDDEBUGGER_DATA64`), and what it leads to: processors, the thread that ran.
//!
//! *What it is not*: a symbol file. It names offsets of some fields that debuggers need, and not of others: neither the
//! process id nor the thread id. Those are taken from a table by build, and only if everything about them agrees.
//!
//! *Trap*: since Windows 8 the block may lie encoded in memory (`KdpDataBlockEncoded`); its tag is missing then. Small
//! dumps always have it in the clear.

use super::physical::read_virtual;
use super::stop::{Stop, UnloadedDriver};
use super::{Draft, header};
use crate::bytes::Fields;
use crate::minidump::context;
use crate::{Arch, Cpu, Endian, Memory, MemoryExt, Registers, Virt};

/// Bytes of the block that are read; Windows 11's has 0x3a0.
const LEN: usize = 0x400;
/// Processors that are looked at.
const MAX_PROCESSORS: u32 = 2048;
/// Bytes of a thread's stack in the kernel (x64 and arm64: 24 KiB).
const KERNEL_STACK: u64 = 0x6000;
/// Entries of the kernel's ring of unloaded drivers (`MI_UNLOADED_DRIVERS`).
const UNLOADED: usize = 50;

/// The block's fields that are used here; offsets from `wdbgexts.h`.
pub(super) struct Hints {
    pub(super) build_lab: u64,
    processors: u64,
    unloaded: u64,
    thread_process: u16,
    process_size: u16,
    prcb_size: u16,
    prcb_thread: u16,
    prcb_mhz: u16,
    prcb_vendor: u16,
    prcb_number: u16,
    thread_size: u16,
    prcb_state: u16,
    prcb_special: u16,
    prcb_context: u16,
}

impl Hints {
    /// `None` without the tag.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::new(bytes, Endian::Little);
        if fields.slice(0x10, 4) != Some(b"KDBG") {
            return None;
        }
        let offset = |at| fields.u16(at).unwrap_or(0);
        Some(Self {
            build_lab: fields.u64(0x208)?,
            processors: fields.u64(0x218)?,
            unloaded: fields.u64(0x220)?,
            thread_process: fields.u16(0x2a0)?,
            process_size: offset(0x2a8),
            prcb_size: offset(0x2b0),
            prcb_thread: offset(0x2b4),
            prcb_mhz: offset(0x2b6),
            prcb_vendor: offset(0x2ba),
            prcb_number: offset(0x2be),
            thread_size: offset(0x2c0),
            prcb_state: offset(0x2bc),
            prcb_special: offset(0x2f2),
            prcb_context: offset(0x338),
        })
    }
}

impl Hints {
    /// Bytes of a thread's block.
    pub(super) fn thread_size(&self) -> u32 {
        self.thread_size.into()
    }

    /// Bytes of a process's block.
    pub(super) fn process_size(&self) -> u32 {
        self.process_size.into()
    }

    /// Where a thread's process lies, by the thread's block.
    pub(super) fn process_of(&self, thread: &[u8], pointer: usize) -> Option<u64> {
        let at = usize::from(self.thread_process);
        Fields::new(thread, Endian::Little).uint(at, pointer).filter(|&process| at != 0 && process != 0)
    }
}

/// The blocks of one processor, its thread, and that thread's process, as bytes.
#[derive(Default)]
pub(super) struct Blocks {
    pub(super) prcb: Vec<u8>,
    pub(super) thread: Vec<u8>,
    pub(super) process: Vec<u8>,
}

/// Where a build keeps the process id and the short name in `EPROCESS`, on x86-64.
///
/// From the public types of each build's `ntoskrnl.pdb`; a wrong line does no harm, for [`person`] checks what it finds.
const PROCESS_X64: &[(std::ops::RangeInclusive<u32>, usize, usize)] = &[
    (7600..=7601, 0x180, 0x2e0),
    (9200..=9600, 0x2e0, 0x438),
    (10240..=10586, 0x2e8, 0x448),
    (14393..=14393, 0x2e8, 0x450),
    (15063..=17763, 0x2e0, 0x450),
    (18362..=18363, 0x2e8, 0x450),
    (19041..=22631, 0x440, 0x5a8),
    (26100..=26200, 0x1d0, 0x338),
];

/// The same on aarch64, where processes are smaller: seen in rizin's triage_arm64.dmp.
const PROCESS_ARM64: &[(std::ops::RangeInclusive<u32>, usize, usize)] = &[(22000..=22000, 0x3f8, 0x560)];

/// The registers that a processor saved when it stopped: where its block's `Context` points to, or, before Windows 7,
/// within the block (`ProcessorState.ContextFrame`).
///
/// Folklore: they are those of `KeBugCheckEx`. The header's are those of the *exception*, where a stop names one: in
/// rizin's triage_x64.dmp (0x7e) `rip` is in the kernel here, and in the driver there.
pub(super) fn saved_registers(hints: &Hints, prcb: &[u8], memory: &dyn Memory<Virt>, arch: Arch) -> Option<Registers> {
    let pointer = arch.info().pointer_size;
    let place = |at: u16| (at != 0).then_some(usize::from(at));
    let outside = place(hints.prcb_context).and_then(|at| Fields::new(prcb, Endian::Little).uint(at, pointer));
    let outside = outside.and_then(|at| registers(arch, &read_virtual(memory, at, context::MAX_LEN)));
    outside.or_else(|| registers(arch, prcb.get(place(hints.prcb_state)?..)?))
}

/// Control registers out of the block (`ProcessorState.SpecialRegisters`, x86-64).
pub(super) fn control_registers(hints: &Hints, prcb: &[u8], arch: Arch) -> Vec<(&'static str, u64)> {
    // KDESCRIPTOR has six bytes, a limit of two, and then the base.
    const SPECIAL: [(&str, usize); 6] =
        [("cr0", 0), ("cr2", 8), ("cr3", 0x10), ("cr4", 0x18), ("gdt_base", 0x58), ("idt_base", 0x68)];
    let at = usize::from(hints.prcb_special);
    let fields = Fields::new(prcb, Endian::Little);
    // Without paging and protection there is no Windows: the block was not written.
    if arch != Arch::X86_64 || at == 0 || fields.u64(at).is_none_or(|cr0| cr0 & 0x8000_0001 != 0x8000_0001) {
        return Vec::new();
    }
    SPECIAL.iter().filter_map(|(name, offset)| Some((*name, fields.u64(at + offset)?))).collect()
}

/// Fills in what the blocks of the stopped processor say.
pub(super) fn person(hints: &Hints, blocks: &Blocks, arch: Arch, stop: &mut Stop) {
    let pointer = arch.info().pointer_size;
    let prcb = Fields::new(&blocks.prcb, Endian::Little);
    let at = |offset: u16| (offset != 0).then_some(usize::from(offset));
    let number =
        at(hints.prcb_number).and_then(|at| if pointer == 8 { prcb.u32(at) } else { prcb.u8(at).map(u32::from) });
    stop.processor = number.filter(|number| stop.processors.is_none_or(|all| *number < all));
    let vendor = at(hints.prcb_vendor).and_then(|at| prcb.cstr(at, 13)).map(<[u8]>::to_vec).unwrap_or_default();
    let mhz = at(hints.prcb_mhz).and_then(|at| prcb.u32(at)).filter(|mhz| (1..100_000).contains(mhz));
    if vendor.len() == 12 && vendor.iter().all(u8::is_ascii_graphic) {
        stop.processor_name = Some((String::from_utf8_lossy(&vendor).into_owned(), mhz.unwrap_or(0)));
    }
    let thread = at(hints.prcb_thread).and_then(|at| prcb.uint(at, pointer));
    stop.thread = thread.filter(|&thread| thread != 0).map(Virt);
    let table = match arch {
        Arch::X86_64 => PROCESS_X64,
        Arch::Aarch64 => PROCESS_ARM64,
        _ => return,
    };
    let known = stop.build.and_then(|build| table.iter().find(|(builds, _, _)| builds.contains(&build)));
    let Some((_, pid_at, name_at)) = known else { return };
    let process = Fields::new(&blocks.process, Endian::Little);
    let is_id = |id: u64| id != 0 && id.is_multiple_of(4) && id < 1 << 24;
    let pid = process.u64(*pid_at).filter(|&pid| is_id(pid));
    let name = process.slice(*name_at, 15).map(|bytes| bytes.split(|&b| b == 0).next().unwrap_or_default());
    let name = name.filter(|name| !name.is_empty() && name.iter().all(|b| (0x20..0x7f).contains(b)));
    let (Some(pid), Some(name)) = (pid, name) else { return };
    stop.process = Some((pid as u32, String::from_utf8_lossy(name).into_owned()));
    // CLIENT_ID is the pair of both ids; it must stand in the thread's block exactly once to be believed.
    let pair = |bytes: &[u8]| {
        let fields = Fields::new(bytes, Endian::Little);
        let tid = fields.u64(8).filter(|&tid| is_id(tid))?;
        (fields.u64(0)? == pid).then_some(tid as u32)
    };
    let step = |at: usize| blocks.thread.get(at * 8..at * 8 + 16);
    let mut pairs = (0..blocks.thread.len() / 8).filter_map(step).filter_map(pair);
    if let (Some(tid), None) = (pairs.next(), pairs.next()) {
        stop.thread_id = Some(tid);
    }
}

/// Reads the block out of virtual memory, and through it the processors, the thread that ran, and unloaded drivers.
pub(super) fn read(draft: &mut Draft<'_>, memory: &dyn Memory<Virt>, stop: &mut Stop, cpus: &mut Vec<Cpu>) {
    let pointer = draft.header.layout().pointer;
    let Some(place) = stop.debugger_data else { return };
    let bytes = read_virtual(memory, place.0, LEN);
    let Some(hints) = Hints::parse(&bytes) else {
        let why = if bytes.is_empty() { "is not in the dump" } else { "has no tag: it is encoded, or damaged" };
        draft.remark(format!("the kernel's debugger data at {place:#x} {why}; processors were not looked for"));
        return;
    };
    // Pointers of a 32-bit kernel stand there sign-extended.
    let mask = if pointer == 8 { u64::MAX } else { 0xffff_ffff };
    stop.build_lab = build_lab(memory, hints.build_lab & mask);
    let own = draft.header.registers();
    let count = stop.processors.unwrap_or(1).min(MAX_PROCESSORS);
    let arch = draft.header.arch();
    let mut stopped: Option<(u64, u32, u64)> = None;
    for index in 0..count {
        let slot = (hints.processors & mask).wrapping_add(u64::from(index) * pointer as u64);
        let Ok(prcb) = memory.read_uint(Virt(slot), pointer, Endian::Little) else { break };
        if prcb == 0 {
            break;
        }
        let block = read_virtual(memory, prcb, usize::from(hints.prcb_size));
        let Some(registers) = saved_registers(&hints, &block, memory, arch) else { continue };
        // The processor whose stack the header's registers are on; an exception's are further out on it.
        let distance = own.and_then(|own| own.sp()?.0.checked_sub(registers.sp()?.0)).filter(|far| *far < KERNEL_STACK);
        let distance = distance.or((count == 1).then_some(KERNEL_STACK));
        if let Some(distance) = distance
            && stopped.is_none_or(|(nearest, _, _)| distance < nearest)
        {
            stopped = Some((distance, index, prcb));
        }
        if draft.budget.take(size_of::<Cpu>() as u64).is_err() {
            draft.loss("further processors were left out: there is no room for them");
            break;
        }
        cpus.push(Cpu { index, pid: None, registers, control: control_registers(&hints, &block, arch) });
    }
    if let Some((_, index, prcb)) = stopped {
        person(&hints, &blocks(memory, &hints, prcb, pointer), arch, stop);
        stop.processor = Some(index);
    }
    stop.unloaded = unloaded(memory, hints.unloaded & mask, pointer);
}

fn registers(arch: Arch, bytes: &[u8]) -> Option<Registers> {
    let found = context::read(arch, Fields::new(bytes, Endian::Little))?;
    (found.kind.arch == arch && found.registers.pc().is_some_and(|pc| pc.0 != 0)).then_some(found.registers)
}

fn blocks(memory: &dyn Memory<Virt>, hints: &Hints, prcb: u64, pointer: usize) -> Blocks {
    let read = |at: u64, size: u16| read_virtual(memory, at, usize::from(size));
    let word = |bytes: &[u8], at: u16| Fields::new(bytes, Endian::Little).uint(usize::from(at), pointer);
    let own = read(prcb, hints.prcb_size);
    let thread = word(&own, hints.prcb_thread).map(|at| read(at, hints.thread_size)).unwrap_or_default();
    let process = word(&thread, hints.thread_process).map(|at| read(at, hints.process_size)).unwrap_or_default();
    Blocks { prcb: own, thread, process }
}

/// `NtBuildLab`, if it is text.
pub(super) fn build_lab(memory: &dyn Memory<Virt>, at: u64) -> Option<String> {
    let text = memory.read_cstr(Virt(at), 128).ok()?;
    let plain = !text.is_empty() && text.iter().all(|b| (0x20..0x7f).contains(b));
    plain.then(|| String::from_utf8_lossy(&text).into_owned())
}

/// `MmUnloadedDrivers`: a pointer to a ring of the last 50, `{UNICODE_STRING, start, end, FILETIME}`.
fn unloaded(memory: &dyn Memory<Virt>, variable: u64, pointer: usize) -> Vec<UnloadedDriver> {
    let Ok(list) = memory.read_uint(Virt(variable), pointer, Endian::Little) else { return Vec::new() };
    let size = pointer * 4 + 8;
    let bytes = read_virtual(memory, list, if list == 0 { 0 } else { size * UNLOADED });
    let mut found = Vec::new();
    for entry in bytes.chunks_exact(size) {
        let fields = Fields::new(entry, Endian::Little);
        let (Some(len), Some(name), Some(start), Some(end), Some(time)) = (
            fields.u16(0),
            fields.uint(pointer, pointer),
            fields.uint(2 * pointer, pointer),
            fields.uint(3 * pointer, pointer),
            fields.u64(4 * pointer),
        ) else {
            continue;
        };
        if start == 0 || end <= start || len == 0 {
            continue;
        }
        let name = utf16(&read_virtual(memory, name, usize::from(len).min(520)));
        found.push(UnloadedDriver { name, start, end, time: header::unix_time(time) });
    }
    found
}

/// UTF-16 up to a NUL.
pub(super) fn utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|unit| Endian::Little.uint(unit) as u16);
    let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    String::from_utf16_lossy(&units)
}
