//! The event that the dump was made for.

use super::said;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_dump::ExceptionKind;
use afterimage_target::Target;

row! {
    /// The event that the dump was made for: one row, or none if nothing went wrong.
    ExceptionRow {
        /// Name of the signal or exception, as `SIGSEGV` or `EXCEPTION_ACCESS_VIOLATION`.
        signal: String,
        /// Number of the signal or exception.
        number: u64,
        /// Its code: `si_code` of a signal, first code of a Mach exception.
        code: Field<i64>,
        /// The signal or exception in words.
        meaning: Field<String>,
        /// The address that the processor or the system named.
        address: Field<Addr>,
        /// The verdict's name, as `null_read`; `none` if nothing is wrong.
        kind: &'static str,
        /// Thread that it happened in.
        thread: Field<u32>,
        /// Process that sent the signal.
        sender_pid: Field<u32>,
        /// The faulting instruction.
        instruction: Field<String>,
        /// The program's own last words.
        message: Field<String>,
    }
}

/// The bug check of a Windows machine.
fn stop_code(target: &Target) -> Option<u64> {
    Some(target.dump().machine.as_ref()?.stop.as_ref()?.code.into())
}

/// The row, if there was an exception.
#[must_use]
pub fn row(target: &Target) -> Option<ExceptionRow> {
    let exception = target.dump().exception.as_ref()?;
    let diagnosis = target.diagnosis();
    let (number, code, sender) = match &exception.kind {
        ExceptionKind::Signal { signo, code, info } => {
            (u64::from(signo.unsigned_abs()), code.map(i64::from), info.and_then(|info| info.pid))
        }
        // A stopped machine's event is its bug check; the exception record is often that of the stop itself.
        ExceptionKind::Windows { code, .. } => (stop_code(target).unwrap_or(u64::from(*code)), None, None),
        ExceptionKind::Mach { exception, code, .. } => (u64::from(*exception), Some(*code as i64), None),
        _ => (0, None, None),
    };
    let named = diagnosis.signal.clone().unwrap_or_default();
    let (signal, meaning) = match named.split_once(" (") {
        Some((name, rest)) => (name.to_owned(), Some(rest.trim_end_matches(')').to_owned())),
        None => (named, None),
    };
    Some(ExceptionRow {
        signal,
        number,
        code: said(code),
        meaning: said(meaning),
        address: exception.address.map(|at| Addr(at.0)).ok_or(Absent::because("this event names no address")),
        kind: diagnosis.kind,
        thread: said(exception.tid),
        sender_pid: sender.ok_or(Absent::because("no process sent it")),
        instruction: diagnosis.instruction.clone().ok_or(Absent::because("not a fault of an instruction in the dump")),
        message: diagnosis.message.clone().ok_or(Absent::because("the program left no message")),
    })
}

pub(crate) fn run(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    match row(target) {
        Some(row) => {
            let _ = emit(sink, row);
        }
        None if target.dump().machine.is_some() => {
            sink.note(
                "the container names no exception: what happened to the machine, `explain` and `kernel_log` tell",
            );
        }
        None => sink.note("nothing went wrong: this is a dump of a process that did not crash"),
    }
    Ok(())
}
