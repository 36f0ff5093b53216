//! The streams that are lists, and the exception.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::process::{Exception, Handle, Thread};
use super::text::wide_string;
use super::{MinidumpBuilder, StreamWriter, stream_type};
use crate::build_core::pen::{Blank, Pen};

/// Where the stack of each thread (by its place in the list) stands in the file.
type Places = BTreeMap<usize, u32>;
type WriteList = fn(&MinidumpBuilder, &mut Pen, &mut Places) -> u64;

/// MINIDUMP_EXCEPTION_STREAM: 168 bytes, then the context.
pub(super) fn exception(exception: &Exception, pen: &mut Pen) -> u64 {
    pen.u32(exception.thread_id).u32(0);
    pen.u32(exception.code).u32(exception.flags).u64(0).u64(exception.address);
    pen.u32(exception.parameters.len() as u32).u32(0);
    let parameters = exception.parameters.iter().copied().chain(std::iter::repeat(0)).take(15);
    parameters.for_each(|parameter| {
        pen.u64(parameter);
    });
    let context = location(pen, exception.context.len());
    place_bytes(pen, context, 8, &exception.context);
    168
}

/// A MINIDUMP_LOCATION_DESCRIPTOR with its RVA blank.
fn location(pen: &mut Pen, size: usize) -> Blank {
    pen.u32(size as u32).blank_u32()
}

fn place_bytes(pen: &mut Pen, blank: Blank, align: usize, bytes: &[u8]) {
    if !bytes.is_empty() {
        let place = pen.align(align).rva();
        pen.fill_u32(blank, place);
        pen.bytes(bytes);
    }
}

fn place_name(pen: &mut Pen, blank: Blank, name: &str) {
    let place = wide_string(pen, name);
    pen.fill_u32(blank, place);
}

impl MinidumpBuilder {
    /// The list streams that have rows. MemoryList follows ThreadList because it names the same stacks; Memory64List comes
    /// last because its bytes have no end but the file's.
    pub(super) fn list_streams(&self) -> Vec<(u32, StreamWriter)> {
        let has_memory = !self.memory.is_empty() || self.threads.iter().any(|thread| stack_bytes(thread).is_some());
        let lists: [(u32, bool, WriteList); 9] = [
            (stream_type::MODULE_LIST, !self.modules.is_empty(), |own, pen, _| own.module_list(pen)),
            (stream_type::UNLOADED_MODULE_LIST, !self.unloaded.is_empty(), |own, pen, _| own.unloaded_list(pen)),
            (stream_type::THREAD_NAMES, self.threads.iter().any(|thread| thread.name.is_some()), |own, pen, _| {
                own.thread_names(pen)
            }),
            (stream_type::THREAD_INFO_LIST, self.threads.iter().any(|thread| thread.info.is_some()), |own, pen, _| {
                own.thread_infos(pen)
            }),
            (stream_type::MEMORY_INFO_LIST, !self.regions.is_empty(), |own, pen, _| own.region_list(pen)),
            (stream_type::HANDLE_DATA, !self.handles.is_empty(), |own, pen, _| own.handle_data(pen)),
            (stream_type::THREAD_LIST, !self.threads.is_empty(), Self::thread_list),
            (stream_type::MEMORY_LIST, has_memory, |own, pen, places| own.memory_list(pen, places)),
            (stream_type::MEMORY64_LIST, !self.memory64.is_empty(), |own, pen, _| own.memory64_list(pen)),
        ];
        let places = Rc::new(RefCell::new(Places::new()));
        let wanted = lists.into_iter().filter(|(_, wanted, _)| *wanted);
        wanted
            .map(|(kind, _, write)| {
                let (builder, places) = (self.clone(), Rc::clone(&places));
                let writer: StreamWriter = Rc::new(move |pen| write(&builder, pen, &mut places.borrow_mut()));
                (kind, writer)
            })
            .collect()
    }

    /// Count, and the padding some writers put after it; gives the size so far.
    fn list_head(&self, pen: &mut Pen, count: usize) -> u64 {
        pen.u32(count as u32);
        if self.padded_lists {
            pen.u32(0);
        }
        if self.padded_lists { 8 } else { 4 }
    }

    fn thread_list(&self, pen: &mut Pen, places: &mut Places) -> u64 {
        let head = self.list_head(pen, self.threads.len());
        let mut blanks = Vec::new();
        for thread in &self.threads {
            pen.u32(thread.id).u32(thread.suspend_count).u32(thread.priority.0).u32(thread.priority.1);
            pen.u64(thread.teb);
            let (address, size) = thread.stack.as_ref().map_or((0, 0), |stack| (stack.0, stack.1));
            let stack = pen.u64(address).u32(size).blank_u32();
            let context = location(pen, thread.context.len());
            blanks.push((stack, context));
        }
        for (index, (thread, (stack, context))) in self.threads.iter().zip(blanks).enumerate() {
            place_bytes(pen, context, 8, &thread.context);
            if let Some(bytes) = stack_bytes(thread) {
                let place = pen.align(8).rva();
                places.insert(index, place);
                place_bytes(pen, stack, 8, bytes);
            }
        }
        rows(head, self.threads.len(), 48)
    }

    fn memory_list(&self, pen: &mut Pen, places: &Places) -> u64 {
        let stacks: Vec<_> = self
            .threads
            .iter()
            .enumerate()
            .filter_map(|(index, thread)| {
                let (address, size, _) = thread.stack.as_ref()?;
                Some((*address, *size, *places.get(&index)?))
            })
            .collect();
        let count = stacks.len().saturating_add(self.memory.len());
        let head = self.list_head(pen, count);
        for (address, size, place) in stacks {
            pen.u64(address).u32(size).u32(place);
        }
        let mut blanks = Vec::new();
        for (address, bytes) in &self.memory {
            pen.u64(*address);
            blanks.push(location(pen, bytes.len()));
        }
        for ((_, bytes), blank) in self.memory.iter().zip(blanks) {
            place_bytes(pen, blank, 8, bytes);
        }
        rows(head, count, 16)
    }

    fn memory64_list(&self, pen: &mut Pen) -> u64 {
        pen.u64(self.memory64.len() as u64);
        let base = pen.blank_u64();
        for (address, size, _) in &self.memory64 {
            pen.u64(*address).u64(*size);
        }
        let place = pen.position();
        pen.fill_u64(base, place);
        for (.., bytes) in &self.memory64 {
            pen.bytes(bytes);
        }
        rows(16, self.memory64.len(), 16)
    }

    fn module_list(&self, pen: &mut Pen) -> u64 {
        let head = self.list_head(pen, self.modules.len());
        let mut blanks = Vec::new();
        for module in &self.modules {
            pen.u64(module.base).u32(module.size).u32(module.checksum).u32(module.timestamp);
            let name = pen.blank_u32();
            module.encode_version(pen);
            let debug = location(pen, module.debug.len());
            pen.u64(0).u64(0).u64(0); // misc record, two reserved numbers
            blanks.push((name, debug));
        }
        for (module, (name, debug)) in self.modules.iter().zip(blanks) {
            place_name(pen, name, &module.name);
            place_bytes(pen, debug, 4, &module.debug);
        }
        rows(head, self.modules.len(), 108)
    }

    fn unloaded_list(&self, pen: &mut Pen) -> u64 {
        pen.u32(12).u32(24).u32(self.unloaded.len() as u32);
        let mut blanks = Vec::new();
        for module in &self.unloaded {
            pen.u64(module.base).u32(module.size).u32(module.checksum).u32(module.timestamp);
            blanks.push(pen.blank_u32());
        }
        for (module, blank) in self.unloaded.iter().zip(blanks) {
            place_name(pen, blank, &module.name);
        }
        rows(12, self.unloaded.len(), 24)
    }

    fn thread_names(&self, pen: &mut Pen) -> u64 {
        let named: Vec<_> = self.threads.iter().filter_map(|thread| Some((thread.id, thread.name.as_ref()?))).collect();
        pen.u32(named.len() as u32);
        // Rows of 12 bytes: the 64-bit RVA is not aligned.
        let blanks: Vec<_> = named.iter().map(|(id, _)| pen.u32(*id).blank_u64()).collect();
        for ((_, name), blank) in named.iter().zip(blanks) {
            let place = wide_string(pen, name);
            pen.fill_u64(blank, u64::from(place));
        }
        rows(4, named.len(), 12)
    }

    fn thread_infos(&self, pen: &mut Pen) -> u64 {
        let known: Vec<_> = self.threads.iter().filter_map(|thread| Some((thread.id, thread.info.as_ref()?))).collect();
        pen.u32(12).u32(64).u32(known.len() as u32);
        for (id, info) in &known {
            pen.u32(*id).u32(info.dump_flags).u32(info.dump_error).u32(info.exit_status);
            pen.u64(info.create_time).u64(info.exit_time).u64(info.kernel_time).u64(info.user_time);
            pen.u64(info.start_address).u64(info.affinity);
        }
        rows(12, known.len(), 64)
    }

    fn region_list(&self, pen: &mut Pen) -> u64 {
        pen.u32(16).u32(48).u64(self.regions.len() as u64);
        for region in &self.regions {
            pen.u64(region.base).u64(region.allocation_base).u32(region.allocation_protect).u32(0);
            pen.u64(region.size).u32(region.state).u32(region.protect).u32(region.kind).u32(0);
        }
        rows(16, self.regions.len(), 48)
    }

    fn handle_data(&self, pen: &mut Pen) -> u64 {
        let row: u32 = if self.handles_version_1 { 32 } else { 40 };
        pen.u32(16).u32(row).u32(self.handles.len() as u32).u32(0);
        let mut blanks = Vec::new();
        for handle in &self.handles {
            pen.u64(handle.handle);
            let (kind, object) = (pen.blank_u32(), pen.blank_u32());
            pen.u32(handle.attributes).u32(handle.granted_access).u32(handle.handle_count).u32(handle.pointer_count);
            let info = (!self.handles_version_1).then(|| pen.blank_u32());
            pen.zeros(if self.handles_version_1 { 0 } else { 4 });
            blanks.push((kind, object, info));
        }
        for (handle, (kind, object, info)) in self.handles.iter().zip(blanks) {
            for (name, blank) in [(&handle.type_name, kind), (&handle.object_name, object)] {
                if let Some(name) = name {
                    place_name(pen, blank, name);
                }
            }
            if let Some(info) = info {
                object_chain(handle, info, pen);
            }
        }
        rows(16, self.handles.len(), u64::from(row))
    }
}

/// MINIDUMP_HANDLE_OBJECT_INFORMATION: next, type, size, bytes.
fn object_chain(handle: &Handle, mut pointer: Blank, pen: &mut Pen) {
    let first = pen.align(4).rva();
    for (kind, bytes) in &handle.objects {
        let place = pen.align(4).rva();
        pen.fill_u32(pointer, place);
        pointer = pen.blank_u32();
        pen.u32(*kind).u32(bytes.len() as u32).bytes(bytes);
    }
    if handle.objects_loop {
        pen.fill_u32(pointer, first);
    }
}

fn stack_bytes(thread: &Thread) -> Option<&Vec<u8>> {
    thread.stack.as_ref().and_then(|stack| stack.2.as_ref())
}

fn rows(head: u64, count: usize, row: u64) -> u64 {
    row.saturating_mul(count as u64).saturating_add(head)
}
