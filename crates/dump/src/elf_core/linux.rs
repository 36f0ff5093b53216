//! The notes of Linux cores: owner `CORE` for what System V defined, `LINUX` for what Linux added.
//!
//! *Trap*: the kernel writes thread notes after the `NT_PRSTATUS` they belong to, but puts the notes of the whole process
//! between the first thread's; gdb writes the process's first of all. A note's type alone says which of them it is.

use super::notes::Note;
use super::reading::{Reading, text};
use super::siginfo;
use crate::bytes::Fields;
use crate::{Arch, Issue, Os};

const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
/// The list of mapped files.
pub(super) const NT_FILE: u32 = 0x4649_4c45;
/// The signal's details.
pub(super) const NT_SIGINFO: u32 = 0x5349_4749;
const NT_386_TLS: u32 = 0x200;
const NT_X86_XSAVE_LAYOUT: u32 = 0x205;
const NT_ARM_TLS: u32 = 0x401;

/// Takes a note of owner `CORE` or `LINUX`.
pub(super) fn take(reading: &mut Reading<'_>, note: &Note<'_>) {
    if reading.os == Os::Unknown {
        reading.os = Os::Linux;
    }
    match note.kind {
        NT_PRSTATUS => status(reading, note.content),
        NT_PRPSINFO => process_info(reading, note.content),
        NT_AUXV => reading.take_auxv(note.content),
        NT_FILE => files(reading, note),
        NT_SIGINFO => {
            let info = siginfo::linux(note.content, reading.header.arch, reading.header.is_64);
            reading.signal_info(info);
            reading.note_of_thread();
        }
        NT_386_TLS => {
            if reading.header.arch == Arch::X86 {
                tls_386(reading, note.content);
            }
            reading.note_of_thread();
        }
        NT_ARM_TLS => {
            let base = note.content.uint(0, reading.header.word());
            if let Some(thread) = reading.thread() {
                thread.thread_pointer = base.filter(|&at| at != 0).map(crate::Virt);
                if let Some(base) = base
                    && let Some(slot) = thread.registers.arch().info().slot("tpidr")
                {
                    thread.registers.set(slot, base);
                }
            }
            reading.note_of_thread();
        }
        // The layout of NT_X86_XSTATE, once for all threads (Linux 6.12).
        NT_X86_XSAVE_LAYOUT => {}
        _ => reading.note_of_thread(),
    }
}

/// `elf_prstatus`: signal, ids, times, registers.
fn status(reading: &mut Reading<'_>, note: Fields<'_>) {
    let Some((registers, thread_pointer, at)) = reading.registers(note) else {
        reading.threads_seen += 1;
        reading.in_thread = false;
        return;
    };
    // What stands before the registers ends with four times of two longs each, behind four ids.
    let long = if at == 112 { 8 } else { 4 };
    let times = at - 8 * long;
    let ids = times - 16;
    let (Some(signal), Some(tid)) = (note.u16(12), note.u32(ids)) else {
        return;
    };
    // Folklore: `suseconds_t` is an `int` on 64-bit SPARC alone, which shows because that is big-endian.
    let fraction = if reading.header.arch == Arch::Sparc64 { 4 } else { long };
    let microseconds = |at: usize| {
        let (seconds, rest) = (note.uint(at, long)?, note.uint(at + long, fraction)?);
        seconds.checked_mul(1_000_000)?.checked_add(rest)
    };
    let spent = (microseconds(times), microseconds(times + 2 * long));
    reading.start_thread(tid, registers, thread_pointer, Some(i32::from(signal)));
    if reading.in_thread
        && let (Some(user), Some(system)) = spent
    {
        reading.times.push((tid, user, system));
    }
    if reading.process.ppid.is_none() {
        reading.process.ppid = note.u32(ids + 4).filter(|&ppid| ppid != 0);
    }
}

/// `elf_prpsinfo`: its size tells the three forms apart.
fn process_info(reading: &mut Reading<'_>, note: Fields<'_>) {
    // 136 bytes: 64 bits. 128: 32 bits. 124: 32 bits on processors whose old user ids have 16 (i386, Arm, SPARC, m68k).
    let (uid, id_size, name) = match note.bytes().len() {
        136.. => (16, 4, 40),
        128.. => (8, 4, 32),
        124.. => (8, 2, 28),
        _ => {
            reading.issues.push(Issue::loss("the process information note is too short to be read"));
            return;
        }
    };
    let pid = uid + 2 * id_size;
    let process = &mut reading.process;
    process.uid = note.uint(uid, id_size).map(|id| id as u32);
    process.gid = note.uint(uid + id_size, id_size).map(|id| id as u32);
    process.pid = note.u32(pid).filter(|&pid| pid != 0);
    process.ppid = note.u32(pid + 4);
    process.name = text(note, name, 16);
    // The kernel turns the NULs between arguments into blanks, the last one too.
    process.command_line = text(note, name + 16, 80).map(|line| line.trim_end().to_owned()).filter(|l| !l.is_empty());
    reading.leader_state = note.u8(1).map(char::from).filter(char::is_ascii_alphabetic);
}

/// `NT_FILE`: count, page size, ranges, then their names.
fn files(reading: &mut Reading<'_>, note: &Note<'_>) {
    let content = note.content;
    let word = reading.header.word();
    if !note.whole() {
        reading.issues.push(Issue::loss("the list of mapped files is cut off"));
    }
    let (Some(count), Some(page)) = (content.uint(0, word), content.uint(word, word)) else {
        return;
    };
    let length = content.bytes().len();
    let ranges = 2 * word;
    let names = usize::try_from(count).ok().and_then(|count| count.checked_mul(3 * word)?.checked_add(ranges));
    let Some(mut name) = names.filter(|&at| at <= length) else {
        reading
            .issues
            .push(Issue::loss(format!("the list of mapped files claims {count} entries, more than it has room for")));
        return;
    };
    for at in (ranges..name).step_by(3 * word) {
        let range =
            || Some((content.uint(at, word)?, content.uint(at + word, word)?, content.uint(at + 2 * word, word)?));
        let (Some((start, end, offset)), Some(path)) = (range(), content.cstr(name, usize::MAX)) else {
            break;
        };
        if name >= length {
            reading.issues.push(Issue::loss("names of mapped files are missing from their list"));
            break;
        }
        name += path.len() + 1;
        // Folklore: the kernel counts offsets in pages and gives the page's size; gdb writes 1 and counts bytes.
        if start < end && !reading.add_mapping(start, end, offset.saturating_mul(page), path) {
            break;
        }
    }
}

/// `user_desc` records of 16 bytes: the one that `gs` selects holds the thread pointer of i386.
fn tls_386(reading: &mut Reading<'_>, note: Fields<'_>) {
    let Some(thread) = reading.thread() else {
        return;
    };
    let Some(selected) = thread.registers.by_name("gs").map(|gs| (gs & 0xffff) >> 3) else {
        return;
    };
    let bases = (0..note.bytes().len()).step_by(16).filter(|&at| note.u32(at).map(u64::from) == Some(selected));
    let base = bases.filter_map(|at| note.u32(at + 4)).find(|&base| base != 0);
    if let Some(base) = base {
        thread.thread_pointer = Some(crate::Virt(u64::from(base)));
    }
}
