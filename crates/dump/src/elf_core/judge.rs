//! What can be concluded about a core as a whole: who wrote it, how much it holds, and whether it is of a crash at all.
//!
//! *Trap*: a core is no proof of a crash. gdb's `gcore` writes one of a healthy process, with the signal that gdb itself
//! had stopped it by.

use super::headers::{PT_LOAD, PT_NOTE, Segment};
use super::reading::Reading;
use super::signals::{Class, class};
use crate::{Dump, DumpType, Exception, ExceptionKind, Os, Region, SignalInfo, Thread, Virt};

/// The program that wrote the core, by the marks it leaves.
pub(super) fn writer(reading: &Reading<'_>, segments: &[Segment]) -> Option<&'static str> {
    let has = |owner: &str| reading.notes.iter().any(|note| note.owner == owner);
    let has_kind = |kind: u32| reading.notes.iter().any(|note| note.kind == kind);
    let by_owner = [
        ("AFTERIMAGE", "afterimage"),
        ("GDB", "gcore"),
        ("LLDB", "lldb"),
        ("Oxide Computer Company", "humility"),
        ("VMCOREINFO", "kdump"),
        ("Delve Header", "delve"),
    ];
    if let Some((_, writer)) = by_owner.iter().find(|(owner, _)| has(owner)) {
        return Some(writer);
    }
    let first = |kind| segments.iter().filter(move |s| s.kind == kind && s.filesz > 0).map(|s| s.offset).min();
    let notes = first(PT_NOTE)?;
    match reading.os {
        // Folklore: gdb sets its sections out in the order it makes them, and makes the notes last (gdb 13 `gcore`).
        Os::Linux if first(PT_LOAD).is_some_and(|memory| memory < notes) => Some("gcore"),
        // gdb before 8 wrote notes of the process before those of the threads; the kernel begins with a thread.
        Os::Linux if reading.notes.first().is_some_and(|note| note.kind == 3) => Some("gcore"),
        // Folklore: qemu's user mode writes these three kinds and no other (`linux-user/elfload.c`, `fill_note_info`);
        // the kernel has never left out NT_PRFPREG and, since 3.10, NT_SIGINFO.
        Os::Linux if !has_kind(0x5349_4749) && !has_kind(2) && !has("LINUX") && has_kind(6) => Some("qemu-user"),
        Os::Linux | Os::FreeBsd | Os::NetBsd | Os::OpenBsd if notes > 0 && !reading.notes.is_empty() => Some("kernel"),
        _ => None,
    }
}

/// The event that the core was written for, if it was one.
pub(super) fn exception(reading: &Reading<'_>, writer: Option<&str>) -> Option<Exception> {
    let arch = reading.header.arch;
    let signal_class = |signo| class(reading.os, arch, signo);
    if let Some(signal) = reading.process_signal {
        let only = if let [thread] = reading.threads.as_slice() { Some(thread.tid) } else { None };
        let tid = signal.tid.or(only);
        let kind = ExceptionKind::Signal { signo: signal.signo, code: signal.code, info: None };
        return (signal.signo != 0).then_some(Exception { tid, kind, address: None, registers: None });
    }
    // A debugger stops a process by these, and it goes on afterwards.
    let debugger = matches!(writer, Some("gcore" | "lldb" | "delve"));
    let fatal = |signo: i32| match signal_class(signo) {
        Class::Stop | Class::Child => false,
        Class::Fault => !(debugger && signo == 5),
        Class::Dump | Class::BadSystemCall => true,
        Class::Interrupt | Class::Other => !debugger,
    };
    let own_info = |thread: &Thread, signo| thread.signal_info.filter(|info: &SignalInfo| info.signo == signo);
    // The kernel writes the thread that died first. gdb writes the one it has selected first, which may be another.
    let died = |thread: &&Thread| thread.signal.is_some_and(fatal);
    let thread = if debugger {
        let with_fault = |t: &&Thread| died(t) && t.signal.is_some_and(|signo| own_info(t, signo).is_some());
        reading.threads.iter().find(with_fault).or_else(|| reading.threads.iter().find(died))
    } else {
        reading.threads.first().filter(died)
    }?;
    let signo = thread.signal?;
    let info = own_info(thread, signo);
    Some(Exception {
        tid: Some(thread.tid),
        address: info.and_then(|info| info.address).or(reading.own_address.filter(|_| info.is_none())).map(Virt),
        kind: match &reading.own_exception {
            Some(kind) => kind.clone(),
            None => ExceptionKind::Signal { signo, code: info.map(|info| info.code), info },
        },
        registers: None,
    })
}

/// How much of the process the core holds.
pub(super) fn dump_type(dump: &Dump) -> DumpType {
    let has_stack = |region: &Region| region.path.as_deref() == Some("[stack]");
    let mut stacks: Vec<Virt> = dump.threads.iter().filter_map(|thread| thread.registers.sp()).collect();
    stacks.sort_unstable();
    let holds_stack = |region: &Region| {
        let next = stacks.partition_point(|&sp| sp < region.start);
        has_stack(region) || stacks.get(next).is_some_and(|&sp| sp < region.end)
    };
    let page = dump.auxv_value(6).unwrap_or(4096);
    let (mut text, mut text_whole) = (0u64, true);
    let (mut data, mut data_present) = (0u64, 0u64);
    for region in &dump.regions {
        let size = region.end.0 - region.start.0;
        let permissions = region.permissions.unwrap_or_default();
        let special = region.path.as_deref().is_some_and(|path| path.starts_with('['));
        // What a cut-off file lost had been dumped; only what was left out on purpose counts against it.
        let present = present_or_cut(dump, region);
        if permissions.execute && region.path.is_some() && !special && size > page {
            text += 1;
            text_whole &= present == size;
        } else if permissions.write && !holds_stack(region) {
            data += size;
            data_present += present;
        }
    }
    // NetBSD leaves out pages that were never touched, so little present data means nothing there.
    if data > 0 && data_present < data / 8 && dump.os != Os::NetBsd {
        DumpType::Small
    } else if text > 0 && text_whole {
        DumpType::Complete
    } else {
        DumpType::Active
    }
}

fn present_or_cut(dump: &Dump, region: &Region) -> u64 {
    if region.present_bytes == region.end.0 - region.start.0 || dump.missing_bytes == 0 {
        return region.present_bytes;
    }
    let segments = dump.memory.segments();
    let from = segments.partition_point(|segment| segment.end <= region.start);
    let inside = segments.get(from..).unwrap_or_default().iter().take_while(|segment| segment.start < region.end);
    inside
        .filter(|s| s.backing != crate::Backing::Absent(crate::Absence::NotInDump))
        .map(|s| s.end.min(region.end).0 - s.start.max(region.start).0)
        .sum()
}
