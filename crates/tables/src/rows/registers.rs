//! The registers of threads and frames.

use super::threads_asked;
use crate::cell::Addr;
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Param, Params, TableError, emit};
use afterimage_target::Target;

row! {
    /// The integer registers of the threads. A crashed thread's are those at the moment of the crash.
    RegisterRow {
        /// Thread id.
        tid: u32,
        /// Name of the register.
        name: &'static str,
        /// Its value.
        value: Addr,
    }
}

/// The key for a caller's registers.
pub(crate) const FRAME: Param =
    Param { name: "frame", doc: "registers as they were in this physical frame, from 0 for the innermost" };

/// The rows of one physical frame of the thread with this index in the dump.
#[must_use]
pub fn rows(target: &Target, thread: usize, frame: usize) -> Vec<RegisterRow> {
    let Some(record) = target.dump().threads.get(thread) else { return Vec::new() };
    let registers = match target.stack(thread).frames.get(frame) {
        Some(frame) => frame.registers,
        None if frame == 0 => record.registers,
        None => return Vec::new(),
    };
    let row = |(info, value): (&afterimage_dump::arch::RegisterInfo, u64)| RegisterRow {
        tid: record.tid,
        name: info.name,
        value: Addr(value),
    };
    registers.iter().map(row).collect()
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let frame = params.number("frame")?.unwrap_or(0) as usize;
    for thread in threads_asked(target, params)? {
        for row in rows(target, thread, frame) {
            if emit(sink, row).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
