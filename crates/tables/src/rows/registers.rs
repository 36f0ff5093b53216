//! The registers of threads, frames, processors, and of a machine's processes in user mode.

use super::linux::files::no_process;
use super::linux::linux;
use super::threads_asked;
use crate::cell::Addr;
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Param, Params, TID, TableError, emit};
use afterimage_target::Target;

row! {
    /// The integer registers of the threads. A crashed thread's are those at the moment of the crash. Of a machine's dump the
    /// threads are its processors, by their numbers; with `pid` those of a process, as they were in user mode.
    RegisterRow {
        /// Thread id; of a processor its number.
        tid: u32,
        /// Name of the register.
        name: &'static str,
        /// Its value.
        value: Addr,
    }
}

pub(crate) const PARAMS: &[Param] = &[
    TID,
    Param { name: "frame", doc: "registers as they were in this physical frame, from 0 for the innermost" },
    Param { name: "cpu", doc: "only this processor, of a machine's dump" },
    Param { name: "pid", doc: "the registers in user mode of this process's threads, of a Linux machine's dump" },
];

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

/// The registers in user mode of a process's threads.
fn of_process(target: &Target, pid: u64, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let processes = linux.processes().map(|(processes, _)| processes);
    let processes = match processes {
        Ok(processes) => processes,
        Err(why) => {
            sink.note(&why);
            return Ok(());
        }
    };
    let process = processes.iter().find(|process| u64::from(process.pid) == pid);
    let process = process.ok_or_else(|| no_process(linux, pid))?;
    for thread in linux.threads(process).0 {
        let registers = match linux.user_registers(thread.task) {
            Ok(known) => known.registers,
            Err(why) => {
                sink.note(&format!("thread {}: {why}", thread.tid));
                continue;
            }
        };
        for (info, value) in registers.iter() {
            let row = RegisterRow { tid: thread.tid, name: info.name, value: Addr(value) };
            if emit(sink, row).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    if let Some(pid) = params.number("pid")? {
        return of_process(target, pid, sink);
    }
    let frame = params.number("frame")?.unwrap_or(0) as usize;
    let asked = match params.number("cpu")? {
        None => threads_asked(target, params)?,
        Some(cpu) => {
            // A machine's threads are its processors.
            let threads = target.dump().machine.as_ref().map_or(&[][..], |_| &target.dump().threads);
            let index = threads.iter().position(|thread| u64::from(thread.tid) == cpu);
            let index =
                index.ok_or_else(|| TableError::NoSuch(format!("the dump has no registers of a processor {cpu}")))?;
            index..index + 1
        }
    };
    for thread in asked {
        for row in rows(target, thread, frame) {
            if emit(sink, row).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
