//! Threads: `ThreadListStream`, its IA-64 form, names, and the times and flags of `ThreadInfoListStream`.
//!
//! *Trap*: `MINIDUMP_THREAD` has its stack at offset 24, behind the 64-bit TEB at 16 (a parser that took 16 for the
//! stack is wmux issue 150). Entries of `ThreadNamesStream` are 12 bytes, because nothing is padded to 8.

use super::context;
use super::draft::{Draft, Stored};
use super::input::{Input, List, Place};
use super::raw;
use crate::{Registers, Thread, Virt};

/// Bytes of `MINIDUMP_THREAD` and of `MINIDUMP_THREAD_EX`, which has the backing store's place behind it.
const THREAD: u64 = 48;
const THREAD_EX: u64 = 64;

pub(super) fn read_threads(input: &Input<'_>, place: Place, draft: &mut Draft) {
    if let Some(list) = input.list("ThreadListStream", place, THREAD) {
        read_list(input, "ThreadListStream", list, draft);
    }
}

pub(super) fn read_threads_ex(input: &Input<'_>, place: Place, draft: &mut Draft) {
    // Both lists name the same threads; the plain one comes first.
    if !draft.dump.threads.is_empty() {
        return;
    }
    if let Some(list) = input.list("ThreadExListStream", place, THREAD_EX) {
        read_list(input, "ThreadExListStream", list, draft);
    }
}

fn read_list(input: &Input<'_>, name: &str, mut list: List, draft: &mut Draft) {
    let limit = input.budget.max_threads as u64;
    if list.count > limit {
        input.loss(format!("{name} has {} threads; the first {limit} were read", list.count));
        list.count = limit;
    }
    let (mut no_context, mut odd_context, mut foreign) = (0u32, None, None);
    let cost = size_of::<Thread>() + size_of::<Stored>() + size_of::<crate::NoteRecord>();
    input.walk(name, list, cost, |fields| {
        let (Some(tid), Some(suspended)) = (fields.u32(0), fields.u32(4)) else {
            return;
        };
        let start = fields.u64(24).unwrap_or(0);
        let size = u64::from(fields.u32(32).unwrap_or(0));
        let rva = u64::from(fields.u32(36).unwrap_or(0));
        if size > 0 && rva > 0 {
            draft.stacks.push(Stored { start, size, rva });
        }
        let registers = match Place::at(fields, 40) {
            None => {
                no_context += 1;
                Registers::new(draft.dump.arch)
            }
            Some(at) => read_context(input, at, Some(tid), draft).unwrap_or_else(|| {
                odd_context.get_or_insert((tid, at.rva));
                Registers::new(draft.dump.arch)
            }),
        };
        if registers.arch() != draft.dump.arch {
            foreign.get_or_insert((tid, registers.arch()));
        }
        draft.threads.entry(tid).or_insert(draft.dump.threads.len());
        draft.dump.threads.push(Thread {
            tid,
            name: None,
            state: (suspended > 0).then(|| format!("suspended {suspended}")),
            registers,
            signal: None,
            signal_info: None,
            stack: (size > 0).then_some((Virt(start), size)),
            thread_pointer: fields.u64(16).filter(|&teb| teb != 0).map(Virt),
            extra_notes: Vec::new(),
        });
    });
    if no_context > 0 {
        // Wine leaves out the thread that writes the dump of its own process; that is no damage.
        input.remark(format!("{no_context} threads have no registers in this dump"));
    }
    if let Some((tid, arch)) = foreign {
        let system = draft.dump.arch;
        input.remark(format!("thread {tid} has registers of {arch}, but SystemInfoStream says {system}"));
    }
    if let Some((tid, at)) = odd_context {
        input.loss(format!("the registers of thread {tid} at offset {at:#x} have a layout that is not known"));
    }
}

/// Reads a context; notes where its vector registers lie.
pub(super) fn read_context(input: &Input<'_>, at: Place, tid: Option<u32>, draft: &mut Draft) -> Option<Registers> {
    let bytes = input.read(at, context::MAX_LEN);
    let context = context::read(draft.dump.arch, input.fields(&bytes))?;
    if draft.dump.arch == crate::Arch::Other(0) {
        // No SystemInfo stream: the first context says which processor it was.
        draft.dump.arch = context.kind.arch;
        draft.dump.pointer_size = context.kind.arch.info().pointer_size;
    }
    if let Some(tid) = tid {
        draft.contexts.push(crate::NoteRecord {
            owner: "context".to_owned(),
            kind: context.flags as u32,
            name: Some(context.kind.name),
            tid: Some(tid),
            offset: at.rva,
            size: at.size,
        });
    }
    Some(context.registers)
}

/// `MINIDUMP_THREAD_NAME_LIST`: pairs of a thread and the RVA of its name.
pub(super) fn read_names(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let Some(list) = input.list("ThreadNamesStream", place, 12) else {
        return;
    };
    input.walk("ThreadNamesStream", list, 0, |fields| {
        let (Some(tid), Some(rva)) = (fields.u32(0), fields.u64(4)) else {
            return;
        };
        let Some(&index) = draft.threads.get(&tid) else {
            return;
        };
        if let Some(name) = input.utf16(rva).filter(|name| !name.is_empty())
            && let Some(thread) = draft.dump.threads.get_mut(index)
        {
            thread.name = Some(name);
        }
    });
}

/// `MINIDUMP_THREAD_INFO_LIST`.
pub(super) fn read_infos(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let Some(list) = input.sized_list("ThreadInfoListStream", place, 4, 64) else {
        return;
    };
    input.walk("ThreadInfoListStream", list, 64, |fields| {
        let (Some(tid), Some(flags)) = (fields.u32(0), fields.u32(4)) else {
            return;
        };
        if let Some(thread) = draft.threads.get(&tid).and_then(|&index| draft.dump.threads.get_mut(index)) {
            for (_, word) in raw::THREAD_INFO_FLAGS.iter().filter(|(flag, _)| flags & flag != 0) {
                add_state(thread, word);
            }
        }
        let facts = &mut draft.dump.process.facts;
        let mut fact = |name: &str, value: Option<String>| {
            facts.extend(value.map(|value| (format!("thread.{tid}.{name}"), value)));
        };
        let number = |at| fields.u64(at).filter(|&value| value != 0);
        fact("start_address", number(48).map(|at| format!("{at:#x}")));
        fact("create_time", number(16).map(|time| unix_seconds(time).to_string()));
        fact("exit_time", number(24).map(|time| unix_seconds(time).to_string()));
        fact("kernel_time_us", number(32).map(|time| (time / 10).to_string()));
        fact("user_time_us", number(40).map(|time| (time / 10).to_string()));
        fact("affinity", number(56).map(|mask| format!("{mask:#x}")));
    });
}

/// Adds a word to a thread's state.
pub(super) fn add_state(thread: &mut Thread, word: &str) {
    match &mut thread.state {
        Some(state) => {
            state.push_str(", ");
            state.push_str(word);
        }
        none => *none = Some(word.to_owned()),
    }
}

/// FILETIME (100 ns since 1601) as seconds since 1970.
fn unix_seconds(filetime: u64) -> i64 {
    (filetime / 10_000_000) as i64 - 11_644_473_600
}
