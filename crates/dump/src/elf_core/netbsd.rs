//! The notes of NetBSD cores: owner `NetBSD-CORE` for the process, `NetBSD-CORE@7` for thread 7. Source: core(5).
//!
//! *Trap*: the types of a thread's notes are the numbers of ptrace requests, and those differ between processors.

use super::notes::Note;
use super::reading::{ProcessSignal, Reading, text};
use crate::{Arch, Os};

/// `si_code` of a signal about which the kernel has nothing to say.
const SI_NOINFO: i32 = 32767;

/// Takes a note whose owner begins with `NetBSD-CORE`.
pub(super) fn take(reading: &mut Reading<'_>, note: &Note<'_>) {
    reading.os = Os::NetBsd;
    let Some(thread) = note.owner.strip_prefix(b"NetBSD-CORE@") else {
        match note.kind {
            1 => process_info(reading, note),
            2 => reading.take_auxv(note.content),
            _ => {}
        }
        return;
    };
    let Some(tid) = std::str::from_utf8(thread).ok().and_then(|tid| tid.parse::<u32>().ok()) else {
        return;
    };
    if note.kind == registers_kind(reading.header.arch) {
        let Some((registers, thread_pointer, _)) = reading.registers(note.content) else {
            reading.threads_seen += 1;
            reading.in_thread = false;
            return;
        };
        let signal = reading.process_signal.filter(|signal| signal.tid == Some(tid)).map(|signal| signal.signo);
        reading.start_thread(tid, registers, thread_pointer, signal);
    } else {
        reading.note_of_thread();
    }
}

/// `PT_GETREGS`, counted from `PT_FIRSTMACH` (32).
fn registers_kind(arch: Arch) -> u32 {
    match arch {
        // Folklore: these begin their own requests with PT_GETREGS; on the others PT_STEP comes first.
        Arch::Aarch64 | Arch::Alpha | Arch::Sparc | Arch::Sparc64 => 32,
        _ => 33,
    }
}

/// `netbsd_elfcore_procinfo`.
fn process_info(reading: &mut Reading<'_>, note: &Note<'_>) {
    let content = note.content;
    let process = &mut reading.process;
    process.pid = content.u32(80);
    process.ppid = content.u32(84);
    process.uid = content.u32(96);
    process.gid = content.u32(108);
    process.name = text(content, 124, 32);
    if let (Some(signo), Some(code)) = (content.i32(8), content.i32(12)) {
        let tid = content.u32(156).filter(|&tid| tid != 0);
        let code = Some(code).filter(|&code| code != SI_NOINFO);
        reading.process_signal = Some(ProcessSignal { signo, code, tid });
    }
}
