//! Dumps of physical memory: what kind of pages, the page tables over them, and what the kernel's own structures say.
//!
//! *Trap*: everything behind the header may be missing. A dump whose page tables are not in it still has its pages.

use super::bitmap::BitmapMemory;
use super::header::Width;
use super::stop::{DumpKind, Stop};
use super::{Draft, drivers, kdbg, ranges, virt};
use crate::bytes::Fields;
use crate::machine::PhysMemory;
use crate::system::machine_dump;
use crate::{
    Absence, Cpu, Dump, DumpType, Endian, Exception, ExceptionKind, Format, Machine, Memory, Os, Phys, SegmentMemory,
    SystemName, Virt,
};
use std::sync::Arc;

/// Most bits of a bitmap that are believed: 256 TiB of memory.
const MAX_BITS: u64 = 1 << 36;

/// Reads everything but a small dump.
pub(super) fn read(draft: &mut Draft<'_>) -> Dump {
    let kind = draft.header.kind();
    let memory: Arc<dyn PhysMemory> = match kind {
        DumpKind::Full => Arc::new(ranges::full(draft)),
        DumpKind::Summary | DumpKind::BitmapFull | DumpKind::BitmapKernel | DumpKind::Automatic => bitmap(draft),
        DumpKind::RangesKernel | DumpKind::RangesActive | DumpKind::RangesFull => Arc::new(ranges::listed(draft)),
        DumpKind::Header | DumpKind::Triage | DumpKind::Unknown(_) => Arc::new(none(draft)),
    };
    remarks(draft, kind);
    let mut stop = draft.header.stop();
    let mut machine = Machine::new(memory);
    machine.page_table = draft.header.directory_table_base().map(Phys);
    let tables = virt::tables(draft.header, machine.memory.clone(), &stop);
    let mut modules = Vec::new();
    match &tables {
        Ok(tables) => {
            machine.virtual_memory = Some(Arc::new(tables.clone()));
            modules = drivers::loaded(draft, tables, &stop);
            kdbg::read(draft, tables, &mut stop, &mut machine.cpus);
        }
        Err(why) => {
            if !matches!(kind, DumpKind::Header | DumpKind::Unknown(_)) {
                draft.loss(format!("the kernel's virtual memory cannot be read: {why}"));
            }
        }
    }
    finish(draft, machine, stop, modules)
}

fn none(draft: &Draft<'_>) -> SegmentMemory<Phys> {
    SegmentMemory::new(draft.source.clone(), Vec::new()).with_elsewhere(Absence::NotInDump)
}

/// What is left out by design, and what went wrong while the file was written.
fn remarks(draft: &mut Draft<'_>, kind: DumpKind) {
    match kind {
        DumpKind::Summary | DumpKind::BitmapKernel | DumpKind::RangesKernel => {
            draft.remark("a kernel dump: the memory of processes was left out when it was written");
        }
        DumpKind::Automatic => draft.remark("an automatic dump: it holds the kernel's memory, as a kernel dump does"),
        DumpKind::BitmapFull if is_filtered(draft) => {
            draft.remark("an active dump: free and cached pages and those of guests were left out when it was written");
        }
        DumpKind::RangesActive => draft.remark("it holds the pages of the kernel and of processes, and no others"),
        DumpKind::Header => draft.loss("the file is a header alone: it holds no memory"),
        DumpKind::Unknown(number) => draft.loss(format!("dump type {number:#x} is not known: its memory is not read")),
        DumpKind::Full | DumpKind::Triage | DumpKind::BitmapFull | DumpKind::RangesFull => {}
    }
    let attributes = draft.header.stop().attributes.unwrap_or(0);
    if attributes >> 2 & 1 == 1 {
        draft.loss("the dump file was too small for all pages when the dump was written");
    }
    if attributes >> 8 & 1 == 1 && attributes >> 9 & 1 == 0 {
        draft.loss("the dump's content is encrypted");
    }
}

/// `FilterDumpFile`: what makes a full bitmap dump an active one.
fn is_filtered(draft: &Draft<'_>) -> bool {
    draft.header.stop().attributes.is_some_and(|bits| bits >> 6 & 1 == 1)
}

fn dump_type(draft: &Draft<'_>, kind: DumpKind) -> DumpType {
    match kind {
        DumpKind::BitmapFull if is_filtered(draft) => DumpType::Active,
        DumpKind::Full | DumpKind::BitmapFull | DumpKind::RangesFull => DumpType::Complete,
        DumpKind::Summary | DumpKind::BitmapKernel | DumpKind::RangesKernel => DumpType::Kernel,
        DumpKind::RangesActive => DumpType::Active,
        DumpKind::Automatic => DumpType::Automatic,
        DumpKind::Header | DumpKind::Triage | DumpKind::Unknown(_) => DumpType::Small,
    }
}

/// Where the parts of a bitmap dump lie.
struct Parts {
    first_page: u64,
    present: u64,
    bits: u64,
    bitmap_at: u64,
}

/// The two forms of 64 bits (before Windows 8, when a page number had 32 bits, and since), and that of 32 bits.
fn parts(draft: &mut Draft<'_>) -> Option<Parts> {
    let at = draft.header.layout().len as u64;
    let head = draft.table("the head of the bitmap", at, 0x38);
    let fields = Fields::new(&head, Endian::Little);
    let signature = fields.slice(0, 8)?;
    if !matches!(signature, b"SDMPDUMP" | b"FDMPDUMP") {
        return None;
    }
    let fits = |parts: &Parts| {
        let end = parts.bitmap_at.checked_add(parts.bits.div_ceil(8));
        parts.bits > 0 && end.is_some_and(|end| end <= parts.first_page) && parts.present <= parts.bits
    };
    let old = |bitmap: u64| {
        let parts = Parts {
            first_page: u64::from(fields.u32(0xc)?),
            present: u64::from(fields.u32(0x14)?),
            bits: u64::from(fields.u32(0x10)?),
            bitmap_at: at + bitmap,
        };
        Some(parts)
    };
    match draft.header.width() {
        Width::Bits32 => old(0x20),
        Width::Bits64 => {
            let new = Parts {
                first_page: fields.u64(0x20)?,
                present: fields.u64(0x28)?,
                bits: fields.u64(0x30)?,
                bitmap_at: at + 0x38,
            };
            // What does not fit either form is taken for the newer one, and judged as such.
            if fits(&new) { Some(new) } else { old(0x28).filter(fits).or(Some(new)) }
        }
    }
}

fn bitmap(draft: &mut Draft<'_>) -> Arc<dyn PhysMemory> {
    let Some(mut parts) = parts(draft) else {
        draft.loss("the bitmap of pages (SDMP or FDMP) is missing or cut off");
        return Arc::new(none(draft));
    };
    let len = draft.source.len();
    if parts.first_page < parts.bitmap_at {
        draft.loss(format!("the pages would begin at {:#x}, before the bitmap", parts.first_page));
        return Arc::new(none(draft));
    }
    let room = (parts.first_page - parts.bitmap_at).min(len.saturating_sub(parts.bitmap_at)).saturating_mul(8);
    if parts.bits > room.min(MAX_BITS) {
        draft.loss(format!("the bitmap claims {} pages; the file has room for {}", parts.bits, room.min(MAX_BITS)));
        parts.bits = room.min(MAX_BITS);
    }
    if parts.present > parts.bits {
        draft.remark(format!("the bitmap claims {} pages of {}", parts.present, parts.bits));
        parts.present = parts.bits;
    }
    if let Err(why) = draft.budget.take(BitmapMemory::directory_bytes(parts.bits)) {
        draft.loss(format!("the bitmap was left out: {why}"));
        return Arc::new(none(draft));
    }
    let end = parts.first_page.saturating_add(parts.present.saturating_mul(4096));
    if end > len {
        draft.missing_bytes = end - len.max(parts.first_page).min(end);
        draft.loss(format!("the file is cut off: {len} bytes long, its {} pages end at {end}", parts.present));
    }
    Arc::new(BitmapMemory::new(draft.source.clone(), parts.bitmap_at, parts.bits, parts.first_page))
}

/// The [`Dump`] around what was found.
pub(super) fn finish(
    draft: &mut Draft<'_>,
    mut machine: Machine,
    stop: Stop,
    modules: Vec<crate::ModuleRecord>,
) -> Dump {
    let header = draft.header;
    let arch = header.arch();
    let own = header.registers();
    if own.is_none() {
        draft.loss("the header holds no registers of the stopped processor");
    }
    let crashed = stop.processor.unwrap_or(0);
    if !machine.cpus.iter().any(|cpu| cpu.index == crashed)
        && let Some(registers) = own
    {
        let control = header.directory_table_base().map(|base| ("cr3", base));
        let control = control.filter(|_| matches!(arch, crate::Arch::X86 | crate::Arch::X86_64));
        machine.cpus.push(Cpu { index: crashed, pid: None, registers, control: control.into_iter().collect() });
        machine.cpus.sort_by_key(|cpu| cpu.index);
    }
    if let Some(cpu) = machine.cpus.iter_mut().find(|cpu| cpu.index == crashed) {
        cpu.pid = stop.process.as_ref().map(|(pid, _)| *pid);
    }
    machine.uptime = stop.up_time;
    machine.name = Some(SystemName {
        system: "Windows".to_owned(),
        release: stop.build.map(|build| build.to_string()).unwrap_or_default(),
        version: stop.build_lab.clone().unwrap_or_default(),
        machine: arch.to_string(),
        ..SystemName::default()
    });
    let tid = stop.thread_id;
    let unloaded = stop.unloaded.iter().map(|driver| crate::ModuleRecord {
        base: driver.start,
        end: driver.end,
        path: driver.name.clone(),
        ..crate::ModuleRecord::default()
    });
    let unloaded = unloaded.collect();
    let exception = (!stop.healthy()).then(|| exception(&stop, tid.unwrap_or(crashed), own));
    let (time, os_version, process) = (stop.system_time, os_version(&stop), stop.process.clone());
    machine.stop = Some(Box::new(stop));

    let mut dump = machine_dump(Format::Windows, draft.source, (arch, Endian::Little), machine);
    dump.dump_type = dump_type(draft, header.kind());
    dump.os = Os::Windows;
    dump.os_version = os_version;
    dump.pointer_size = header.layout().pointer;
    dump.time = time;
    dump.exception = exception;
    dump.modules = modules;
    dump.modules.sort_by_key(|module| module.base);
    dump.unloaded_modules = unloaded;
    dump.process.pid = process.as_ref().map(|(pid, _)| *pid);
    dump.process.name = process.map(|(_, name)| name);
    if let Some(place) = dump.threads.iter().position(|thread| thread.tid == crashed) {
        if let (Some(thread), Some(tid)) = (dump.threads.get_mut(place), tid) {
            thread.tid = tid;
        }
        if let Some(front) = dump.threads.get_mut(..=place) {
            front.rotate_right(1);
        }
    }
    dump
}

/// `10.0.19041`: what version a build belongs to is known since there are builds.
fn os_version(stop: &Stop) -> Option<String> {
    let build = stop.build?;
    let version = match build {
        2195 => "5.0",
        2600 => "5.1",
        3790 => "5.2",
        6000..=6003 => "6.0",
        7600..=7601 => "6.1",
        9200 => "6.2",
        9600 => "6.3",
        10240.. => "10.0",
        _ => return Some(format!("build {build}")),
    };
    Some(format!("{version}.{build}"))
}

/// What the header's exception record says, else the stop itself.
fn exception(stop: &Stop, tid: u32, registers: Option<crate::Registers>) -> Exception {
    let (kind, address) = match &stop.exception {
        Some(record) => {
            let parameters = record.parameters.clone();
            (ExceptionKind::Windows { code: record.code, flags: record.flags, parameters }, Some(record.address))
        }
        None => (ExceptionKind::Windows { code: stop.code, flags: 0, parameters: stop.parameters.to_vec() }, None),
    };
    let address = address.map(Virt).or_else(|| registers.and_then(|registers| registers.pc()));
    Exception { tid: Some(tid), kind, address, registers }
}

/// Reads up to `len` bytes of virtual memory.
pub(super) fn read_virtual(memory: &dyn Memory<Virt>, at: u64, len: usize) -> Vec<u8> {
    use crate::MemoryExt;
    let mut bytes = vec![0; len];
    let got = memory.read_upto(Virt(at), &mut bytes);
    bytes.truncate(got);
    bytes
}
