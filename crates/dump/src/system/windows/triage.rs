//! Small dumps (`TRIAGE_DUMP32`, `TRIAGE_DUMP64`): blocks of virtual memory, and lists of drivers.
//!
//! *What it is not*: it has no physical memory and no page tables; everything lies at the virtual address that a block
//! names, and becomes [`crate::Dump::memory`].
//!
//! *Trap*: the thread's and process's blocks are stored without their addresses. The processor's block says where the
//! thread lay, and the thread's where the process did, at offsets that the debugger data names.

use super::header::{self, Width};
use super::kdbg::{Blocks, Hints, control_registers, person, saved_registers, utf16};
use super::stop::{Stop, UnloadedDriver};
use super::{Draft, kdbg, pe, physical};
use crate::bytes::Fields;
use crate::source::read_vec;
use crate::{
    Absence, Backing, Cpu, Dump, Endian, FileOffset, Machine, ModuleRecord, Phys, Region, Segment, SegmentMemory, Virt,
};
use std::sync::Arc;

/// Most bytes of one of the kernel's own blocks.
const MAX_BLOCK: u32 = 1 << 20;
/// Drivers at most.
const MAX_DRIVERS: u32 = 4096;
/// Unloaded drivers at most: the kernel keeps 50.
const MAX_UNLOADED: u64 = 512;

/// The table of contents, widths made equal.
#[derive(Default)]
struct Contents {
    size_of_dump: u32,
    valid: u32,
    unloaded: u32,
    prcb: u32,
    process: u32,
    thread: u32,
    call_stack: (u32, u32),
    drivers: (u32, u32),
    strings: (u32, u32),
    top_of_stack: u64,
    data_page: (u64, u32, u32),
    debugger_data: (u32, u32),
    blocks: (u32, u32),
}

fn contents(draft: &mut Draft<'_>) -> Option<Contents> {
    let at = draft.header.layout().len as u64;
    let bytes = draft.table("the table of contents", at, 0x80);
    let fields = Fields::new(&bytes, Endian::Little);
    let word = |at| fields.u32(at);
    // Behind the top of the stack a 64-bit table has 16 bytes that only Itanium used.
    let (wide, data) = match draft.header.width() {
        Width::Bits64 => (true, 0x60),
        Width::Bits32 => (false, 0x4c),
    };
    let top_of_stack = if wide { fields.u64(0x48)? } else { u64::from(word(0x48)?) };
    let page = if wide { (fields.u64(data)?, 8) } else { (u64::from(word(data)?), 4) };
    let rest = data + page.1;
    Some(Contents {
        size_of_dump: word(4)?,
        valid: word(8)?,
        unloaded: word(0x18)?,
        prcb: word(0x1c)?,
        process: word(0x20)?,
        thread: word(0x24)?,
        call_stack: (word(0x28)?, word(0x2c)?),
        drivers: (word(0x30)?, word(0x34)?),
        strings: (word(0x38)?, word(0x3c)?),
        top_of_stack,
        data_page: (page.0, word(rest)?, word(rest + 4)?),
        debugger_data: (word(rest + 8)?, word(rest + 12)?),
        blocks: (word(rest + 16)?, word(rest + 20)?),
    })
}

/// Blocks of virtual memory as they are collected.
struct Blocks64<'a, 'b> {
    draft: &'a mut Draft<'b>,
    segments: Vec<Segment<Virt>>,
    broken: usize,
}

impl Blocks64<'_, '_> {
    /// `size` bytes at `offset` in the file lay at `at`.
    fn push(&mut self, at: u64, offset: u32, size: u32) {
        if at == 0 || size == 0 || offset == 0 || size == header::UNSET {
            return;
        }
        let Some(end) = at.checked_add(u64::from(size)) else {
            self.broken += 1;
            return;
        };
        let held = self.draft.source.len().saturating_sub(u64::from(offset)).min(u64::from(size));
        let middle = Virt(at + held);
        let segment = |start, end, backing| Segment { start, end, backing };
        self.segments.push(segment(Virt(at), middle, Backing::File(FileOffset(u64::from(offset)))));
        if middle.0 < end {
            self.segments.push(segment(middle, Virt(end), Backing::Absent(Absence::Truncated)));
            self.draft.missing_bytes = self.draft.missing_bytes.saturating_add(end - middle.0);
        }
    }
}

/// Reads a small dump.
pub(super) fn read(draft: &mut Draft<'_>) -> Dump {
    let mut stop = draft.header.stop();
    let physical = SegmentMemory::<Phys>::new(draft.source.clone(), Vec::new()).with_elsewhere(Absence::NotInDump);
    let mut machine = Machine::new(Arc::new(physical));
    machine.page_table = draft.header.directory_table_base().map(Phys);
    draft.remark(
        "a small dump: it holds the stack that stopped, lists of drivers, and what the kernel thought worth keeping",
    );
    let Some(contents) = contents(draft) else {
        draft.loss("the table of contents is cut off");
        return physical::finish(draft, machine, stop, Vec::new());
    };
    check_end(draft, &contents);
    let (hints, prcb) = debugger_data(draft, &contents, &mut stop).unzip();
    let memory = memory(draft, &contents, &stop, hints.as_ref());
    if let Some(hints) = &hints {
        stop.build_lab = kdbg::build_lab(&memory, hints.build_lab);
        let (prcb, arch) = (prcb.unwrap_or_default(), draft.header.arch());
        if let Some(registers) = saved_registers(hints, &prcb, &memory, arch) {
            let index = stop.processor.unwrap_or(0);
            machine.cpus.push(Cpu { index, pid: None, registers, control: control_registers(hints, &prcb, arch) });
        }
    }
    stop.unloaded = unloaded(draft, &contents);
    let modules = drivers(draft, &contents, &memory);
    let mut dump = physical::finish(draft, machine, stop, modules);
    dump.regions = regions(&memory);
    dump.memory = Arc::new(memory);
    describe_stack(&mut dump, &contents);
    dump
}

/// Whether the last word is there: a dump without it was not written to its end.
fn check_end(draft: &mut Draft<'_>, contents: &Contents) {
    let len = draft.source.len();
    if u64::from(contents.size_of_dump) > len {
        draft.loss(format!("the file is cut off: {len} of {} bytes", contents.size_of_dump));
        return;
    }
    let mark = read_vec(&**draft.source, u64::from(contents.valid), 4).unwrap_or_default();
    if mark != b"TRGD" {
        draft.loss("the mark of a finished small dump (TRGD) is missing: it may not be whole");
    }
}

/// The debugger data, and through it processor, thread and process.
fn debugger_data(draft: &mut Draft<'_>, contents: &Contents, stop: &mut Stop) -> Option<(Hints, Vec<u8>)> {
    let (at, size) = contents.debugger_data;
    let bytes = block(draft, at, size.min(0x1000));
    let hints = Hints::parse(&bytes);
    if hints.is_none() {
        draft.remark("the kernel's debugger data is missing: processor and thread are not known");
    }
    hints.map(|hints| {
        let blocks = Blocks {
            prcb: between(draft, contents, contents.prcb),
            thread: between(draft, contents, contents.thread),
            process: between(draft, contents, contents.process),
        };
        person(&hints, &blocks, draft.header.arch(), stop);
        (hints, blocks.prcb)
    })
}

fn block(draft: &mut Draft<'_>, at: u32, size: u32) -> Vec<u8> {
    if at == 0 || at == header::UNSET || size == 0 {
        return Vec::new();
    }
    draft.table("a block of the small dump", u64::from(at), u64::from(size.min(MAX_BLOCK)))
}

/// A block whose length nobody stored: it ends where the next one begins.
fn between(draft: &mut Draft<'_>, contents: &Contents, at: u32) -> Vec<u8> {
    let starts = [
        contents.valid,
        contents.unloaded,
        contents.prcb,
        contents.process,
        contents.thread,
        contents.call_stack.0,
        contents.drivers.0,
        contents.strings.0,
        contents.data_page.1,
        contents.debugger_data.0,
        contents.blocks.0,
    ];
    let end = starts.into_iter().filter(|&start| start > at).min();
    block(draft, at, end.map_or(0, |end| end - at))
}

fn memory(draft: &mut Draft<'_>, contents: &Contents, stop: &Stop, hints: Option<&Hints>) -> SegmentMemory<Virt> {
    let (at, mut count) = contents.blocks;
    if at == 0 || at == header::UNSET || count == header::UNSET {
        count = 0;
    }
    if count as usize > draft.budget.max_items {
        draft.loss(format!("only the first {} of {count} blocks of memory were read", draft.budget.max_items));
        count = draft.budget.max_items as u32;
    }
    let list = draft.table("the list of memory blocks", u64::from(at), u64::from(count) * 16);
    if (list.len() as u64) < u64::from(count) * 16 {
        draft.loss(format!("{} of {count} blocks of memory are listed within the file", list.len() / 16));
    }
    if draft.budget.take(list.len() as u64 * 4).is_err() {
        draft.loss("blocks of memory were left out: there is no room for them");
        return SegmentMemory::new(draft.source.clone(), Vec::new()).with_elsewhere(Absence::NotInDump);
    }
    let source = draft.source.clone();
    let thread = block(draft, contents.thread, 0x1000);
    let process = hints.and_then(|hints| hints.process_of(&thread, draft.header.layout().pointer));
    let mut blocks = Blocks64 { draft, segments: Vec::new(), broken: 0 };
    // What overlaps is kept in this order.
    blocks.push(contents.top_of_stack, contents.call_stack.0, contents.call_stack.1);
    let (page_at, offset, size) = contents.data_page;
    blocks.push(page_at, offset, size);
    if let (Some(place), Some(_)) = (stop.debugger_data, hints) {
        blocks.push(place.0, contents.debugger_data.0, contents.debugger_data.1);
    }
    if let (Some(thread), Some(hints)) = (stop.thread, hints) {
        blocks.push(thread.0, contents.thread, hints.thread_size());
        blocks.push(process.unwrap_or(0), contents.process, hints.process_size());
    }
    for entry in list.chunks_exact(16) {
        let fields = Fields::new(entry, Endian::Little);
        if let (Some(at), Some(offset), Some(size)) = (fields.u64(0), fields.u32(8), fields.u32(12)) {
            blocks.push(at, offset, size);
        }
    }
    let Blocks64 { draft, segments, broken } = blocks;
    if broken > 0 {
        draft.loss(format!("{broken} blocks of memory have impossible addresses"));
    }
    if draft.missing_bytes > 0 {
        let missing = draft.missing_bytes;
        draft.loss(format!("{missing} bytes of the blocks of memory lie behind the end of the file"));
    }
    SegmentMemory::new(source, segments).with_elsewhere(Absence::NotInDump)
}

/// Neighbouring segments as ranges; nothing is known of their protection.
fn regions(memory: &SegmentMemory<Virt>) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    for segment in memory.segments() {
        let here = if matches!(segment.backing, Backing::File(_)) { segment.end.0 - segment.start.0 } else { 0 };
        match regions.last_mut() {
            Some(last) if last.end == segment.start => {
                last.end = segment.end;
                last.present_bytes += here;
            }
            _ => regions.push(Region {
                start: segment.start,
                end: segment.end,
                permissions: None,
                path: None,
                present_bytes: here,
            }),
        }
    }
    regions
}

/// The crashed thread's stack is the one that the table of contents names.
fn describe_stack(dump: &mut Dump, contents: &Contents) {
    let (_, size) = contents.call_stack;
    let (at, end) = (contents.top_of_stack, contents.top_of_stack.checked_add(u64::from(size)));
    if let (Some(thread), Some(_)) = (dump.threads.first_mut(), end.filter(|&end| end > at)) {
        thread.stack = Some((Virt(at), u64::from(size)));
    }
}

/// `DUMP_UNLOADED_DRIVERS`: a count, then entries with the first 12 characters of each name.
fn unloaded(draft: &mut Draft<'_>, contents: &Contents) -> Vec<UnloadedDriver> {
    let pointer = draft.header.layout().pointer;
    // UNICODE_STRING, 24 bytes of name, start, end.
    let size = pointer * 4 + 24;
    if contents.unloaded == 0 || contents.unloaded == header::UNSET {
        return Vec::new();
    }
    let at = u64::from(contents.unloaded);
    let head = draft.table("the unloaded drivers", at, pointer as u64);
    let count = Fields::new(&head, Endian::Little).uint(0, pointer).unwrap_or(0);
    if count > MAX_UNLOADED {
        draft.loss(format!("the list of unloaded drivers claims {count} entries"));
        return Vec::new();
    }
    let list = draft.table("the unloaded drivers", at + pointer as u64, count * size as u64);
    let entries = list.chunks_exact(size).filter_map(|entry| {
        let fields = Fields::new(entry, Endian::Little);
        let len = usize::from(fields.u16(0)?).min(24);
        let name = utf16(fields.slice(2 * pointer, len)?);
        let (start, end) = (fields.uint(2 * pointer + 24, pointer)?, fields.uint(3 * pointer + 24, pointer)?);
        (start != 0 && end >= start).then_some(UnloadedDriver { name, start, end, time: None })
    });
    entries.collect()
}

/// `DUMP_DRIVER_ENTRY`: where the name stands, and a copy of the kernel's list entry.
fn drivers(draft: &mut Draft<'_>, contents: &Contents, memory: &SegmentMemory<Virt>) -> Vec<ModuleRecord> {
    let pointer = draft.header.layout().pointer;
    // Whole entry, base, size of image, link time.
    //
    // Folklore: 0x80 behind the entry's own beginning stands the link time, not `LoadedImports` as in the kernel's
    // structure (every driver of rizin's triage_x64.dmp; the kernel's own time agrees with its PE header there).
    let (size, base_at, size_at, time_at) = match pointer {
        8 => (0x90, 8 + 0x30, 8 + 0x40, 8 + 0x80),
        _ => (4 + 0x48, 4 + 0x18, 4 + 0x20, 4 + 0x44),
    };
    let (at, count) = contents.drivers;
    if at == 0 || at == header::UNSET || count == header::UNSET {
        draft.loss("the small dump has no list of drivers");
        return Vec::new();
    }
    let wanted = u64::from(count.min(MAX_DRIVERS));
    let list = draft.table("the list of drivers", u64::from(at), wanted * size);
    let (strings_at, strings_len) = contents.strings;
    let strings = block(draft, strings_at, strings_len);
    let mut modules = Vec::new();
    for entry in list.chunks_exact(size as usize) {
        let fields = Fields::new(entry, Endian::Little);
        let (Some(name), Some(base), Some(image)) = (fields.u32(0), fields.uint(base_at, pointer), fields.u32(size_at))
        else {
            continue;
        };
        let Some(end) = base.checked_add(u64::from(image)).filter(|&end| end > base) else { continue };
        let path = driver_name(&strings, name.wrapping_sub(strings_at) as usize);
        if draft.budget.take((size_of::<ModuleRecord>() + path.len()) as u64).is_err() {
            draft.loss(format!("only {} drivers were kept: there is no room for more", modules.len()));
            break;
        }
        let timestamp = fields.u32(time_at).filter(|&time| time != 0 && time != header::UNSET);
        let mut module = ModuleRecord { base, end, path, timestamp, ..ModuleRecord::default() };
        pe::identify(memory, &mut module);
        pe::search(memory, &mut module);
        modules.push(module);
    }
    if (modules.len() as u64) < u64::from(count) {
        draft.loss(format!("{} of {count} drivers could be read", modules.len()));
    }
    modules
}

/// `DUMP_STRING`: a length in characters, then UTF-16 with a NUL. (The header file says bytes; real dumps count
/// characters.)
fn driver_name(strings: &[u8], at: usize) -> String {
    let fields = Fields::new(strings, Endian::Little);
    let len = fields.u32(at).unwrap_or(0).min(1024) as usize;
    let start = at.saturating_add(4);
    let end = start.saturating_add(len * 2).min(strings.len());
    utf16(strings.get(start..end).unwrap_or_default())
}
