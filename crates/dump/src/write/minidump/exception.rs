//! `ExceptionStream`: a signal as Breakpad writes it, or what another system's dump said.
//!
//! *What it is not*: a dump of a process that had not crashed gets no such stream. Breakpad's "dump requested" would make
//! readers show a crash of its first thread.
//!
//! *Trap*: `ExceptionAddress` is the member of `siginfo_t`'s union that Breakpad copies without looking: for a signal
//! that a process sent it is the sender's process id and, above it, user id.

use super::File;
use super::threads::Context;
use crate::minidump::{context, raw};
use crate::{Exception, ExceptionKind};

/// Writes the stream, if there is an exception. `contexts` are the threads'.
pub(super) fn exception(file: &mut File<'_>, contexts: &[Context]) {
    let dump = file.dump;
    let Some(exception) = &dump.exception else { return };
    let thread = exception.tid.and_then(|tid| dump.threads.iter().position(|thread| thread.tid == tid));
    let of_thread = thread.and_then(|place| contexts.get(place)).copied();
    let own = exception.registers.filter(|own| {
        let registers = thread.and_then(|place| dump.threads.get(place)).map(|thread| thread.registers);
        registers != Some(*own)
    });
    let own = own.and_then(|registers| context::encode(&registers, dump.endian)).map(|context| {
        file.pen.align(16);
        let rva = file.pen.rva();
        file.pen.bytes(&context);
        (rva, context.len() as u32)
    });
    let (rva, size) = own.or(of_thread).unwrap_or((0, 0));
    let record = record(exception);
    file.stream(raw::EXCEPTION_STREAM, |pen| {
        pen.u32(exception.tid.unwrap_or(0));
        pen.u32(0);
        pen.u32(record.code);
        pen.u32(record.flags);
        pen.u64(0);
        pen.u64(record.address);
        pen.u32(record.parameters.len() as u32);
        pen.u32(0);
        for place in 0..raw::EXCEPTION_MAXIMUM_PARAMETERS {
            pen.u64(record.parameters.get(place).copied().unwrap_or(0));
        }
        pen.u32(size);
        pen.u32(rva);
    });
}

/// `MINIDUMP_EXCEPTION`.
struct Record<'e> {
    code: u32,
    flags: u32,
    address: u64,
    parameters: &'e [u64],
}

fn record(exception: &Exception) -> Record<'_> {
    let address = exception.address.map(|at| at.0);
    let up_to_15 = |parameters: &'_ [u64]| parameters.len().min(raw::EXCEPTION_MAXIMUM_PARAMETERS);
    match &exception.kind {
        ExceptionKind::Signal { signo, code, info } => {
            let sender = info.and_then(|info| Some(u64::from(info.pid?) | u64::from(info.uid.unwrap_or(0)) << 32));
            Record {
                code: *signo as u32,
                flags: code.unwrap_or(0) as u32,
                address: address.or(sender).unwrap_or(0),
                parameters: &[],
            }
        }
        ExceptionKind::Windows { code, flags, parameters } => {
            // Where memory was touched, the model's address is that, and a parameter too; the record's is the instruction.
            let pc = exception.registers.and_then(|registers| registers.pc()).map(|pc| pc.0);
            let low = |value: u64| value & 0xffff_ffff;
            let touched = parameters.get(1).zip(address).is_some_and(|(&at, address)| low(at) == low(address));
            let pc = pc.filter(|_| touched);
            let len = up_to_15(parameters);
            let parameters = parameters.get(..len).unwrap_or_default();
            Record { code: *code, flags: *flags, address: pc.or(address).unwrap_or(0), parameters }
        }
        ExceptionKind::Mach { exception, code, parameters } => {
            let len = up_to_15(parameters);
            let parameters = parameters.get(..len).unwrap_or_default();
            Record { code: *exception, flags: *code as u32, address: address.unwrap_or(0), parameters }
        }
        ExceptionKind::Panic { caller } => {
            Record { code: 0, flags: 0, address: caller.or(address).unwrap_or(0), parameters: &[] }
        }
    }
}
