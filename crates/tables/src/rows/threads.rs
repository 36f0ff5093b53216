//! The threads of the process.

use super::{said, threads_asked};
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;

row! {
    /// The threads of the process; the crashed one is marked.
    ThreadRow {
        /// Thread id.
        tid: u32,
        /// Name.
        name: Field<String>,
        /// State in the dumping system's words.
        state: Field<String>,
        /// Signal that it had been stopped by.
        signal: Field<i32>,
        /// Program counter.
        pc: Field<Addr>,
        /// Stack pointer.
        sp: Field<Addr>,
        /// Whether it is the one that crashed.
        crashed: bool,
        /// Function that it was in.
        function: Field<String>,
    }
}

/// The row of the thread with this index in the dump.
#[must_use]
pub fn row(target: &Target, index: usize) -> Option<ThreadRow> {
    let thread = target.dump().threads.get(index)?;
    let no_registers = Absent::because("the dump holds no registers of this thread");
    let function = target
        .stack(index)
        .frames
        .first()
        .and_then(|frame| target.locate(frame.address).first().and_then(|place| place.function.clone()));
    // A machine's threads are its processors, which ran the kernel.
    let of_kernel = || {
        let linux = target.dump().machine.as_ref().and(target.linux().ok())?;
        Some(linux.function_at(thread.registers.pc()?.0)?.0)
    };
    Some(ThreadRow {
        tid: thread.tid,
        name: said(thread.name.clone()),
        state: said(thread.state.clone()),
        signal: thread.signal.ok_or(Absent::because("no signal")),
        pc: thread.registers.pc().map(|at| Addr(at.0)).ok_or(no_registers.clone()),
        sp: thread.registers.sp().map(|at| Addr(at.0)).ok_or(no_registers),
        crashed: target.crashed_thread() == Some(index),
        function: function.or_else(of_kernel).ok_or(Absent::because("no symbol covers its program counter")),
    })
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    for index in threads_asked(target, params)? {
        if row(target, index).is_some_and(|row| emit(sink, row).is_break()) {
            break;
        }
    }
    Ok(())
}
