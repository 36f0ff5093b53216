//! The notes of FreeBSD cores, owner `FreeBSD`. Sources: FreeBSD `sys/procfs.h`, `sys/ptrace.h`, `sys/user.h`, core(5).
//!
//! *Trap*: the `NT_PROCSTAT_*` notes begin with the size of one record, and the records of files and mappings are packed
//! to their own lengths.

use super::notes::Note;
use super::reading::{Reading, text};
use super::siginfo;
use crate::bytes::Fields;
use crate::{Arch, Handle, Os, Virt};

/// `PL_FLAG_SI` of `ptrace_lwpinfo`: its `siginfo` is valid.
const PL_FLAG_SI: u32 = 0x20;
/// `KF_FD_TYPE_*` below zero: the current folder, the root, the program text …
const KF_TYPES: [(u32, &str); 14] = [
    (1, "vnode"),
    (2, "socket"),
    (3, "pipe"),
    (4, "fifo"),
    (5, "kqueue"),
    (7, "message queue"),
    (8, "shared memory"),
    (9, "semaphore"),
    (10, "pseudo terminal"),
    (11, "process"),
    (12, "device"),
    (13, "event"),
    (14, "timer"),
    (15, "inotify"),
];

/// Takes a note of owner `FreeBSD`.
pub(super) fn take(reading: &mut Reading<'_>, note: &Note<'_>) {
    reading.os = Os::FreeBsd;
    let is_64 = reading.header.is_64;
    let content = note.content;
    match note.kind {
        1 => status(reading, content, is_64),
        3 => process_info(reading, content, is_64),
        7 => {
            let name = text(content, 0, 20);
            if let Some(thread) = reading.thread() {
                thread.name = name;
            }
            reading.note_of_thread();
        }
        8 => process(reading, content, is_64),
        9 => files(reading, content),
        10 => mappings(reading, content),
        14 => {
            // __FreeBSD_version: 1400097 is 14.0.
            let version = content.u32(4).filter(|&v| v >= 100_000);
            reading.os_version = version.map(|v| format!("{}.{}", v / 100_000, v / 1_000 % 100));
        }
        16 => {
            let vector = content.bytes().get(4..).unwrap_or_default();
            reading.take_auxv(Fields::new(vector, reading.header.endian));
        }
        17 => {
            thread_info(reading, content, is_64);
            reading.note_of_thread();
        }
        // NT_X86_SEGBASES and NT_ARM_TLS.
        0x200 | 0x401 => {
            let base = content.uint(0, reading.header.word());
            if let (Some(thread), Some(base)) = (reading.thread(), base.filter(|&base| base != 0)) {
                thread.thread_pointer = Some(Virt(base));
                let slot = if note.kind == 0x200 { "fs_base" } else { "tpidr" };
                if let Some(slot) = thread.registers.arch().info().slot(slot) {
                    thread.registers.set(slot, base);
                }
            }
            reading.note_of_thread();
        }
        11..=13 | 15 => {}
        _ => reading.note_of_thread(),
    }
}

/// `prstatus_t`: version, sizes, release, signal, thread id, registers.
fn status(reading: &mut Reading<'_>, note: Fields<'_>, is_64: bool) {
    let signal_at = if is_64 { 36 } else { 20 };
    let (Some(signal), Some(tid)) = (note.i32(signal_at), note.u32(signal_at + 4)) else {
        return;
    };
    let Some((registers, thread_pointer, _)) = reading.registers(note) else {
        reading.threads_seen += 1;
        reading.in_thread = false;
        return;
    };
    reading.start_thread(tid, registers, thread_pointer, Some(signal));
}

/// `prpsinfo_t`; the process id was appended in version "1a" of it.
fn process_info(reading: &mut Reading<'_>, note: Fields<'_>, is_64: bool) {
    let name = if is_64 { 16 } else { 8 };
    reading.process.name = text(note, name, 17);
    reading.process.command_line = text(note, name + 17, 81);
    reading.process.pid = note.u32((name + 17 + 81usize).next_multiple_of(4)).filter(|&pid| pid != 0);
}

/// `kinfo_proc`, as far as its head, whose places have not moved since FreeBSD 5.
fn process(reading: &mut Reading<'_>, note: Fields<'_>, is_64: bool) {
    // Behind the size of one record.
    let (pid, ruid, rgid, start) = if is_64 { (72, 172, 180, 336) } else { (40, 140, 148, 280) };
    let process = &mut reading.process;
    let record = 4;
    process.pid = note.u32(record + pid).filter(|&pid| pid != 0).or(process.pid);
    process.ppid = note.u32(record + pid + 4);
    process.uid = note.u32(record + ruid);
    process.gid = note.u32(record + rgid);
    // Folklore: time_t has 32 bits on i386 alone.
    let wide = is_64 || reading.header.arch != Arch::X86;
    let seconds = note.uint(record + start, if wide { 8 } else { 4 });
    process.start_time = seconds.map(|s| s as i64).filter(|s| (1..=i64::from(u32::MAX)).contains(s));
}

/// `kinfo_file` records.
fn files(reading: &mut Reading<'_>, note: Fields<'_>) {
    let mut at = 4;
    while let Some(size) = note.u32(at).map(|size| size as usize).filter(|&size| size >= 16) {
        let Some(record) = note.slice(at, size) else {
            break;
        };
        let record = Fields::new(record, reading.header.endian);
        at += size;
        let (Some(kind), Some(number)) = (record.u32(4), record.i32(8)) else {
            break;
        };
        // Below zero stand the working folder, the root, the terminal and the program, which are no descriptors.
        let Ok(number) = u64::try_from(number) else {
            continue;
        };
        let name = text(record, 368, 1024);
        let bytes = size_of::<Handle>() + name.as_ref().map_or(0, String::len) + 32;
        if !reading.room("open files", reading.handles.len(), bytes) {
            break;
        }
        let kind = KF_TYPES.iter().find(|(known, _)| *known == kind).map(|(_, name)| (*name).to_owned());
        reading.handles.push(Handle { handle: number, kind, name, access: None });
    }
}

/// `kinfo_vmentry` records.
fn mappings(reading: &mut Reading<'_>, note: Fields<'_>) {
    let mut at = 4;
    while let Some(size) = note.u32(at).map(|size| size as usize).filter(|&size| size >= 88) {
        let Some(record) = note.slice(at, size) else {
            break;
        };
        let record = Fields::new(record, reading.header.endian);
        at += size;
        let (Some(start), Some(end), Some(offset)) = (record.u64(8), record.u64(16), record.u64(24)) else {
            break;
        };
        let path = record.cstr(136, 1024).unwrap_or_default();
        if !path.is_empty() && start < end && !reading.add_mapping(start, end, offset, path) {
            break;
        }
    }
}

/// `ptrace_lwpinfo`: this thread's signal information and its name.
fn thread_info(reading: &mut Reading<'_>, note: Fields<'_>, is_64: bool) {
    let (info_at, info_size) = if is_64 { (4 + 48, 80) } else { (4 + 44, 64) };
    let name = text(note, info_at + info_size, 20);
    let valid = note.u32(4 + 8).is_some_and(|flags| flags & PL_FLAG_SI != 0);
    let info = note
        .slice(info_at, info_size)
        .filter(|_| valid)
        .and_then(|info| siginfo::freebsd(Fields::new(info, reading.header.endian), reading.header.arch, is_64));
    reading.signal_info(info);
    if let Some(thread) = reading.thread()
        && thread.name.is_none()
    {
        thread.name = name;
    }
}
