//! The notes of a core that is made up from a minidump: Linux's own for debuggers, afterimage's for everything else.
//!
//! *What it is not*: it reads no memory.
//!
//! *Example*: `0xc0000005` of Windows becomes SIGSEGV in NT_PRSTATUS; the code and the address stay as facts.
//!
//! *Trap*: the thread that crashed comes first, because every reader takes the first for it.

use crate::elf_core::layout::{self, Status};
use crate::minidump::raw;
use crate::write::elf_core::{Class, Note};
use crate::write::minidump::{contexts, facts, memory};
use crate::write::notes::{self, FileMapping, Prpsinfo};
use crate::write::pen::Pen;
use crate::{Dump, ExceptionKind, Os, Thread};

const SIGILL: i32 = 4;
const SIGTRAP: i32 = 5;
const SIGABRT: i32 = 6;
const SIGFPE: i32 = 8;
const SIGSEGV: i32 = 11;
/// Bytes of `siginfo_t`.
const SIGINFO: usize = 128;

/// All notes; what they cannot hold is added to `lost`.
pub(super) fn all(dump: &Dump, class: Class, lost: &mut Vec<String>) -> Vec<Note> {
    let signal = signal(dump, lost);
    let mut out = Vec::new();
    let crashed = dump.crashed_thread().map(|thread| thread.tid);
    let first = crashed.and_then(|tid| dump.threads.iter().position(|thread| thread.tid == tid)).unwrap_or(0);
    let others = (0..dump.threads.len()).filter(|&place| place != first);
    let mut without = 0;
    let mut process = Some(process(dump, class));
    for thread in std::iter::once(first).chain(others).filter_map(|place| dump.threads.get(place)) {
        let own = if Some(thread.tid) == crashed { signal } else { thread.signal };
        let float = contexts::float_notes(dump, thread);
        match status(dump, thread, own.unwrap_or(0), !float.is_empty()) {
            Some(content) => out.push(Note { owner: "CORE", kind: notes::NT_PRSTATUS, content }),
            None => without += 1,
        }
        out.extend(process.take().into_iter().flatten());
        out.extend(float.into_iter().map(|(owner, kind, content)| Note { owner, kind, content }));
    }
    out.extend(process.into_iter().flatten());
    if without > 0 {
        lost.push(format!("{without} threads are left out: a core has no form for registers of {}", dump.arch));
    }
    own_notes(dump, &mut out);
    losses(dump, lost);
    out
}

/// NT_PRSTATUS of a thread, with the registers of the moment of the crash.
fn status(dump: &Dump, thread: &Thread, signal: i32, has_fp: bool) -> Option<Vec<u8>> {
    let exception = dump.exception.as_ref().filter(|exception| exception.tid == Some(thread.tid));
    let mut registers = exception.and_then(|exception| exception.registers).unwrap_or(thread.registers);
    // The thread pointer is a register in the notes, but not in a context.
    if let (Some(slot), Some(at)) = (registers.arch().info().slot("fs_base"), thread.thread_pointer)
        && dump.os != Os::Windows
    {
        registers.set(slot, at.0);
    }
    let process = &dump.process;
    let ids = [thread.tid, process.ppid.unwrap_or(0), process.pid.unwrap_or(0), 0];
    layout::encode(&registers, dump.pointer_size, dump.endian, &Status { ids, signal, has_fp })
}

/// The notes of the whole process, which the kernel puts behind the first thread's registers.
fn process(dump: &Dump, class: Class) -> Vec<Note> {
    let process = &dump.process;
    let executable = process.executable.as_deref().and_then(|path| path.rsplit(['/', '\\']).next());
    let info = Prpsinfo {
        state: b'R',
        uid: process.uid.unwrap_or(0),
        gid: process.gid.unwrap_or(0),
        pid: process.pid.unwrap_or(0),
        ppid: process.ppid.unwrap_or(0),
        comm: process.name.as_deref().or(executable).unwrap_or_default().as_bytes().to_vec(),
        command_line: process.command_line.clone().unwrap_or_default().into_bytes(),
        ..Prpsinfo::default()
    };
    let mut out = vec![info.note_in(class, dump.endian)];
    if let Some(content) = siginfo(dump, class) {
        out.push(Note { owner: "CORE", kind: notes::NT_SIGINFO, content });
    }
    if !dump.auxv.is_empty() {
        let mut pen = Pen::new(dump.endian);
        for &(kind, value) in dump.auxv.iter().chain(&[(0, 0)]) {
            pen.uint(kind, dump.pointer_size);
            pen.uint(value, dump.pointer_size);
        }
        out.push(Note { owner: "CORE", kind: notes::NT_AUXV, content: pen.done() });
    }
    let mut mappings: Vec<FileMapping> = dump.mappings.iter().map(of_mapping).collect();
    if mappings.is_empty() {
        mappings.extend(dump.modules.iter().filter(|module| module.base < module.end).map(of_module));
    }
    mappings.sort_by_key(|mapping| mapping.start);
    if !mappings.is_empty() {
        out.push(notes::file_note_in(&mappings, 1, class, dump.endian));
    }
    out
}

fn of_mapping(mapping: &crate::Mapping) -> FileMapping {
    let path = mapping.path.as_bytes().to_vec();
    FileMapping { start: mapping.start.0, end: mapping.end.0, offset: mapping.offset, path }
}

fn of_module(module: &crate::ModuleRecord) -> FileMapping {
    FileMapping { start: module.base, end: module.end, offset: 0, path: module.path.as_bytes().to_vec() }
}

/// afterimage's own notes: names, facts, build ids, what was zero.
fn own_notes(dump: &Dump, out: &mut Vec<Note>) {
    let names: Vec<(u32, String)> =
        dump.threads.iter().filter_map(|thread| Some((thread.tid, thread.name.clone()?))).collect();
    if !names.is_empty() {
        out.push(notes::thread_names(&names));
    }
    let process = &dump.process;
    let stream = |kind| facts::stream(dump, kind);
    let mut found: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut add = |key, value: Option<Vec<u8>>| found.extend(value.map(|value| (key, value)));
    let text = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
    add("cmdline", stream(raw::MD_LINUX_CMD_LINE).or_else(|| text(&process.command_line)));
    let environ = process.environment.iter().map(|(name, value)| format!("{name}={value}\0")).collect::<String>();
    add(
        "environ",
        stream(raw::MD_LINUX_ENVIRON).or_else(|| Some(environ.into_bytes()).filter(|text| !text.is_empty())),
    );
    add("maps", stream(raw::MD_LINUX_MAPS));
    add("exe", text(&process.executable));
    add("time", dump.time.map(|time| time.to_string().into_bytes()));
    add("start_time", process.start_time.map(|time| time.to_string().into_bytes()));
    // The notes above are Linux's in form whatever the system was.
    add("os", (dump.os != Os::Unknown).then(|| dump.os.name().as_bytes().to_vec()));
    add("os_version", text(&dump.os_version));
    add("fault_address", fault_address(dump).map(|at| format!("{at:#x}").into_bytes()));
    add("exception", exception_text(dump).map(String::into_bytes));
    for (key, value) in &process.facts {
        add(key.as_str(), Some(value.as_bytes().to_vec()).filter(|_| !key.is_empty() && key.len() < 256));
    }
    out.push(notes::facts(&found));
    let ids: Vec<notes::BuildId> = dump.modules.iter().filter_map(build_id).collect();
    if !ids.is_empty() {
        out.push(notes::build_ids(&ids));
    }
    let zero = memory::zero(dump);
    if !zero.is_empty() {
        out.push(notes::untouched(&zero));
    }
}

fn build_id(module: &crate::ModuleRecord) -> Option<notes::BuildId> {
    let path = module.path.as_bytes().to_vec();
    Some(notes::BuildId { base: module.base, id: module.build_id.clone()?, path })
}

/// What happened in the words of a system that knows no signals, as the reader of a core takes it back.
fn exception_text(dump: &Dump) -> Option<String> {
    let (system, numbers): (&str, [u64; 2]) = match &dump.exception.as_ref()?.kind {
        ExceptionKind::Signal { .. } => return None,
        ExceptionKind::Windows { code, flags, .. } => ("windows", [u64::from(*code), u64::from(*flags)]),
        ExceptionKind::Mach { exception, code, .. } => ("mach", [u64::from(*exception), *code]),
        ExceptionKind::Panic { .. } => return None,
    };
    let parameters = match &dump.exception.as_ref()?.kind {
        ExceptionKind::Windows { parameters, .. } | ExceptionKind::Mach { parameters, .. } => parameters.as_slice(),
        ExceptionKind::Signal { .. } | ExceptionKind::Panic { .. } => &[],
    };
    let numbers = numbers.iter().chain(parameters).map(|number| format!(" {number:#x}")).collect::<String>();
    Some(format!("{system}{numbers}"))
}

/// The signal that stands for what happened.
fn signal(dump: &Dump, lost: &mut Vec<String>) -> Option<i32> {
    let kind = &dump.exception.as_ref()?.kind;
    let (signal, was) = match kind {
        ExceptionKind::Signal { signo, .. } => return Some(*signo),
        ExceptionKind::Windows { code, .. } => (of_windows(*code), format!("exception {code:#x}")),
        ExceptionKind::Mach { exception, .. } => (of_mach(*exception), format!("Mach exception {exception}")),
        ExceptionKind::Panic { .. } => (SIGABRT, "the kernel's panic".to_owned()),
    };
    lost.push(format!("{was} is written as signal {signal}: a core knows only signals, and only afterimage the other"));
    Some(signal)
}

fn of_windows(code: u32) -> i32 {
    match code {
        0xc000_0005 | 0xc000_0006 | 0xc000_00fd | 0x8000_0001 | 0x8000_0002 => SIGSEGV,
        0xc000_001d | 0xc000_0096 => SIGILL,
        0xc000_008c..=0xc000_0095 => SIGFPE,
        0x8000_0003 | 0x8000_0004 => SIGTRAP,
        _ => SIGABRT,
    }
}

fn of_mach(exception: u32) -> i32 {
    match exception {
        1 => SIGSEGV,
        2 => SIGILL,
        3 => SIGFPE,
        6 => SIGTRAP,
        _ => SIGABRT,
    }
}

/// `siginfo_t` of a signal whose `si_code` is known. Without it nobody could say what the other members mean, and a 0
/// would claim that a process had sent the signal.
fn siginfo(dump: &Dump, class: Class) -> Option<Vec<u8>> {
    let exception = dump.exception.as_ref()?;
    let ExceptionKind::Signal { signo, code: Some(code), info } = &exception.kind else { return None };
    let mut pen = Pen::new(dump.endian);
    for number in [*signo, info.map_or(0, |info| info.errno), *code] {
        pen.u32(number as u32);
    }
    pen.align(if class == Class::Bits64 { 8 } else { 4 });
    let sender = info.and_then(|info| Some((info.pid?, info.uid.unwrap_or(0))));
    match (sender, exception.address) {
        (Some((pid, uid)), _) => {
            pen.u32(pid);
            pen.u32(uid);
        }
        (None, Some(at)) => pen.uint(at.0, dump.pointer_size),
        (None, None) => {}
    }
    pen.zeros(SIGINFO.saturating_sub(pen.len() as usize));
    Some(pen.done())
}

/// The address that an exception names, if no NT_SIGINFO has it.
fn fault_address(dump: &Dump) -> Option<u64> {
    let exception = dump.exception.as_ref()?;
    let coded = matches!(exception.kind, ExceptionKind::Signal { code: Some(_), .. });
    exception.address.filter(|_| !coded).map(|at| at.0)
}

/// What a core has no place for.
fn losses(dump: &Dump, lost: &mut Vec<String>) {
    if !matches!(dump.os, Os::Linux | Os::Android) {
        lost.push(format!("a core has no form for {}: what stands in it is Linux's form of the same", dump.os.name()));
    }
    if dump.mappings.is_empty() && !dump.modules.is_empty() {
        lost.push(
            "which part of its file each mapping shows is not known: each module is one mapping from its start".into(),
        );
    }
    if dump.modules.iter().any(|module| module.debug_file.is_some() || module.version.is_some()) {
        lost.push("versions of modules and names of their debug files have no place in a core".into());
    }
    if !dump.unloaded_modules.is_empty() {
        lost.push(format!("{} unloaded modules have no place in a core", dump.unloaded_modules.len()));
    }
    if !dump.handles.is_empty() {
        lost.push(format!("{} open handles have no place in a core", dump.handles.len()));
    }
    let streams = crate::minidump::stream_names(dump, |_, understood| !understood);
    if !streams.is_empty() {
        lost.push(format!("streams that are not understood are left out: {}", streams.join(", ")));
    }
}
