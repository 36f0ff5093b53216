//! What happened: the exception stream in each system's own terms, Breakpad's information, and assertions.
//!
//! *Trap*: a dump that a program asked for without a crash has an exception stream too, with a code that only its
//! writer uses. Such a dump shows no crash.

use super::draft::{Draft, RawException};
use super::input::{Input, Place, utf16_field};
use super::{raw, threads};
use crate::{Exception, ExceptionKind, Os, Registers, SignalInfo, Virt};

/// `MINIDUMP_EXCEPTION_STREAM`, 168 bytes.
pub(super) fn read_exception(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 168);
    let fields = input.fields(&bytes);
    let head = (|| Some((fields.u32(0)?, fields.u32(8)?, fields.u32(12)?, fields.u64(24)?, fields.u32(32)?)))();
    let Some((tid, code, flags, address, count)) = head else {
        input.loss(format!("ExceptionStream has {} of 168 bytes", bytes.len()));
        return;
    };
    if count as usize > raw::EXCEPTION_MAXIMUM_PARAMETERS {
        input.remark(format!("ExceptionStream claims {count} parameters, there is room for 15"));
    }
    let count = raw::EXCEPTION_MAXIMUM_PARAMETERS.min(count as usize);
    if !input.book(size_of::<RawException>() + count * 8) {
        return;
    }
    let parameters = (0..count).filter_map(|i| fields.u64(40 + 8 * i)).collect();
    let context = Place::at(fields, 160);
    draft.exceptions.push(RawException { tid, code, flags, address, parameters, context });
}

/// `MDRawBreakpadInfo`: which fields are valid, the thread that wrote the dump, the thread that asked for it.
pub(super) fn read_breakpad_info(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 12);
    let fields = input.fields(&bytes);
    let (Some(valid), Some(writer), Some(asked)) = (fields.u32(0), fields.u32(4), fields.u32(8)) else {
        input.loss(format!("MD_BREAKPAD_INFO_STREAM has {} of 12 bytes", bytes.len()));
        return;
    };
    if valid & 1 != 0 {
        draft.fact("breakpad.dump_thread", writer.to_string());
        let index = draft.threads.get(&writer).copied();
        if let Some(thread) = index.and_then(|index| draft.dump.threads.get_mut(index)) {
            threads::add_state(thread, "wrote the dump");
        }
    }
    if valid & 2 != 0 {
        draft.fact("breakpad.requesting_thread", asked.to_string());
        draft.requesting_thread = Some(asked);
    }
}

/// `MDRawAssertionInfo`: expression, function and file in 128 UTF-16 units each, line, kind.
pub(super) fn read_assertion(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 776);
    let fields = input.fields(&bytes);
    for (name, at) in [("assertion.expression", 0), ("assertion.function", 256), ("assertion.file", 512)] {
        draft.fact_if(name, utf16_field(fields, at, 256, input.endian));
    }
    draft.fact_if("assertion.line", fields.u32(768).filter(|&line| line != 0).map(|line| line.to_string()));
    let kind = match fields.u32(772) {
        Some(1) => "invalid parameter",
        Some(2) => "pure virtual call",
        _ => return,
    };
    draft.fact("assertion.kind", kind);
}

/// Turns the streams into [`crate::Dump::exception`], or into a remark that the dump shows no crash.
pub(super) fn finish(input: &Input<'_>, draft: &mut Draft) {
    let exceptions = std::mem::take(&mut draft.exceptions);
    for (index, found) in exceptions.iter().enumerate() {
        let registers = found.context.and_then(|at| threads::read_context(input, at, None, draft));
        if requested(draft.dump.os, found.code) {
            input.remark(format!(
                "the dump was asked for by the program (code {:#x}): it shows no crash, thread {} asked",
                found.code, found.tid
            ));
            use_as_threads(found.tid, registers, draft);
            continue;
        }
        let exception = exception(input, found, registers, draft);
        let signal = match &exception.kind {
            ExceptionKind::Signal { signo, .. } => Some(*signo),
            ExceptionKind::Mach { .. } => exc_crash_signal(&found.parameters),
            ExceptionKind::Windows { .. } | ExceptionKind::Panic { .. } => None,
        };
        let place = exception.tid.and_then(|tid| draft.threads.get(&tid)).copied();
        if let Some(thread) = place.and_then(|index| draft.dump.threads.get_mut(index)) {
            thread.signal = signal;
        }
        if draft.dump.exception.is_none() {
            draft.dump.exception = Some(exception);
        } else if index > 0 {
            input.remark(format!("thread {} has an exception of its own too (code {:#x})", found.tid, found.code));
        }
    }
    if exceptions.is_empty()
        && let Some(tid) = draft.requesting_thread
    {
        input.remark(format!("thread {tid} asked for the dump; it shows no crash"));
    }
}

/// Whether a code says that somebody asked for the dump.
fn requested(os: Os, code: u32) -> bool {
    match os {
        Os::Windows => code == raw::CRASHPAD_SIMULATED_EXCEPTION_CODE,
        Os::MacOs | Os::Ios => code == raw::CRASHPAD_MACH_EXCEPTION_SIMULATED,
        _ => code == raw::MD_EXCEPTION_CODE_LIN_DUMP_REQUESTED,
    }
}

/// The context of a simulated exception is where the program asked; the thread's own may lie inside the handler.
fn use_as_threads(tid: u32, registers: Option<Registers>, draft: &mut Draft) {
    let index = draft.threads.get(&tid).copied();
    if let (Some(thread), Some(registers)) = (index.and_then(|index| draft.dump.threads.get_mut(index)), registers)
        && registers.pc().is_some()
    {
        thread.registers = registers;
    }
}

fn exception(input: &Input<'_>, found: &RawException, registers: Option<Registers>, draft: &mut Draft) -> Exception {
    let listed = |tid: &u32| draft.threads.contains_key(tid);
    let mut tid = Some(found.tid).filter(|&tid| tid != 0);
    if !tid.is_some_and(|tid| listed(&tid)) {
        if let Some(asked) = draft.requesting_thread.filter(listed) {
            tid = Some(asked);
        } else if !draft.threads.is_empty() {
            input.remark(format!("the exception's thread {} is not in the list of threads", found.tid));
        }
    }
    let (kind, address) = match draft.dump.os {
        Os::Linux | Os::Android => signal(found, draft),
        Os::MacOs | Os::Ios => mach(found),
        _ => windows(found, draft.dump.pointer_size),
    };
    Exception { tid, kind, address: address.map(Virt), registers }
}

/// Memory that was touched where Windows says it, else the instruction.
fn windows(found: &RawException, pointer_size: usize) -> (ExceptionKind, Option<u64>) {
    let touches = matches!(
        found.code,
        raw::EXCEPTION_ACCESS_VIOLATION
            | raw::EXCEPTION_IN_PAGE_ERROR
            | raw::EXCEPTION_GUARD_PAGE
            | raw::EXCEPTION_STACK_OVERFLOW
    );
    // Parameter 0 is read, write or execute; 1 is the address.
    let touched = found.parameters.get(1).filter(|_| touches).copied();
    let address = touched.unwrap_or(found.address);
    // 32-bit addresses come sign-extended from some writers.
    let address = if pointer_size == 4 { address & 0xffff_ffff } else { address };
    let kind = ExceptionKind::Windows { code: found.code, flags: found.flags, parameters: found.parameters.clone() };
    (kind, Some(address))
}

/// `ExceptionCode` is the signal, `ExceptionFlags` is `si_code`, `ExceptionAddress` is `si_addr`.
///
/// Folklore: Breakpad before 2015 and lldb leave the flags 0 whatever `si_code` was, and `SI_USER` is 0 as well. So 0 is
/// taken for "not said" unless Crashpad wrote it. For signals that a process sent, the union member that the writers
/// copy as address holds the sender's pid and, above it, uid (linux_raise_sigabrt.dmp of Breakpad's test data).
fn signal(found: &RawException, draft: &Draft) -> (ExceptionKind, Option<u64>) {
    let signo = found.code as i32;
    let crashpad = draft.has_stream(raw::MD_CRASHPAD_INFO_STREAM);
    let code = Some(found.flags as i32).filter(|&code| code != 0 || crashpad);
    let fault = matches!(signo, 4 | 5 | 7 | 8 | 11);
    // Fault signals carry si_addr whenever the kernel made them: si_code > 0 and not SI_KERNEL (0x80), which has none.
    let sent = match code {
        Some(code) => code <= 0,
        None => !fault,
    };
    let address = (fault && !sent && code != Some(0x80)).then_some(found.address);
    let word = |value: u64| value as u32;
    // SI_USER, SI_QUEUE, SI_TKILL have the sender; an asynchronous SI_TIMER and the like do not.
    let has_sender = sent && matches!(code, None | Some(0 | -1 | -6)) && word(found.address) != 0;
    let wide = draft.dump.pointer_size == 8;
    let info = SignalInfo {
        signo,
        errno: 0,
        code: code.unwrap_or(0),
        address,
        pid: has_sender.then(|| word(found.address)),
        uid: (has_sender && wide).then(|| word(found.address >> 32)),
        syscall: None,
    };
    (ExceptionKind::Signal { signo, code, info: (code.is_some() || has_sender).then_some(info) }, address)
}

/// `ExceptionCode` is the Mach exception, `ExceptionFlags` the low half of its first code.
///
/// Folklore: Crashpad puts the original exception and both codes into the parameters. What it got is mostly
/// `EXC_CRASH`, whose first code packs signal, real exception and real code; it unpacks them into the record. When no
/// exception is inside (`abort`), the record's code is 0 and only the parameters know (simple-crashpad.dmp).
fn mach(found: &RawException) -> (ExceptionKind, Option<u64>) {
    let parameter = |index: usize| found.parameters.get(index).copied();
    let original = parameter(0);
    let (exception, code) = if found.code == 0 && original == Some(u64::from(raw::EXC_CRASH)) {
        (raw::EXC_CRASH, parameter(1).unwrap_or(0))
    } else if original == Some(u64::from(found.code)) {
        (found.code, parameter(1).unwrap_or_else(|| u64::from(found.flags)))
    } else {
        (found.code, u64::from(found.flags))
    };
    let kind = ExceptionKind::Mach { exception, code, parameters: found.parameters.clone() };
    // An uncaught NSException and an EXC_CRASH touch no memory; their address is the program counter.
    (kind, Some(found.address))
}

/// The signal inside an `EXC_CRASH`: bits 24 to 31 of its first code.
fn exc_crash_signal(parameters: &[u64]) -> Option<i32> {
    match parameters {
        [exception, code, ..] if *exception == u64::from(raw::EXC_CRASH) => {
            Some((code >> 24 & 0xff) as i32).filter(|&signal| signal != 0)
        }
        _ => None,
    }
}
