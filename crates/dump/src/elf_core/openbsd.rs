//! The notes of OpenBSD cores: owner `OpenBSD` for the process, `OpenBSD@123` for thread 123. Source: `sys/core.h`.
//!
//! *Trap*: the system names no thread that took the signal; with several threads only the signal itself is known.

use super::notes::Note;
use super::reading::{ProcessSignal, Reading, text};
use crate::Os;

/// Takes a note whose owner begins with `OpenBSD`.
pub(super) fn take(reading: &mut Reading<'_>, note: &Note<'_>) {
    reading.os = Os::OpenBsd;
    let tid = note.owner.strip_prefix(b"OpenBSD@").and_then(|tid| std::str::from_utf8(tid).ok()?.parse::<u32>().ok());
    match (note.kind, tid) {
        (10, None) => process_info(reading, note),
        (11, None) => reading.take_auxv(note.content),
        (20, Some(tid)) => {
            let Some((registers, thread_pointer, _)) = reading.registers(note.content) else {
                reading.threads_seen += 1;
                reading.in_thread = false;
                return;
            };
            reading.start_thread(tid, registers, thread_pointer, None);
        }
        (_, Some(_)) => reading.note_of_thread(),
        _ => {}
    }
}

/// `elfcore_procinfo`.
fn process_info(reading: &mut Reading<'_>, note: &Note<'_>) {
    let content = note.content;
    let process = &mut reading.process;
    process.pid = content.u32(32);
    process.ppid = content.u32(36);
    process.uid = content.u32(48);
    process.gid = content.u32(60);
    process.name = text(content, 72, 32);
    if let (Some(signo), Some(code)) = (content.i32(8), content.i32(12)) {
        reading.process_signal = Some(ProcessSignal { signo, code: Some(code), tid: None });
    }
}
