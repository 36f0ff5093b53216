//! Facts about the process: environment, auxiliary vector, handles, and what else the container tells.

use super::said;
use crate::cell::{Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;

row! {
    /// The environment variables of the process, or of a Linux machine's processes.
    EnvironmentRow {
        /// Process id.
        pid: Field<u32>,
        /// Name of the variable.
        name: String,
        /// Its value.
        value: String,
    }
}

row! {
    /// The auxiliary vector: what the kernel told the program at its start.
    AuxvRow {
        /// Type number (`AT_*`).
        kind: u64,
        /// The type's name.
        name: Field<&'static str>,
        /// Value.
        value: Addr,
    }
}

row! {
    /// Open handles (Windows) or file descriptors.
    HandleRow {
        /// Number.
        handle: u64,
        /// Type of the object.
        kind: Field<String>,
        /// Name or path of the object.
        name: Field<String>,
        /// Access rights.
        access: Field<Addr>,
    }
}

row! {
    /// What else the container tells of the process and its machine.
    FactRow {
        /// Name of the fact.
        name: String,
        /// Its text.
        value: String,
    }
}

pub(crate) fn run_environment(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    if target.dump().machine.is_some() {
        let Some(linux) = super::linux::linux(target, sink) else { return Ok(()) };
        return super::linux::files::environment(linux, params, sink);
    }
    let process = &target.dump().process;
    if let Some(pid) = params.number("pid")?
        && process.pid.is_some_and(|own| u64::from(own) != pid)
    {
        return Err(TableError::NoSuch(format!("the dump has no process {pid}")));
    }
    if process.environment.is_empty() {
        sink.note("the dump holds no environment: neither a note of it nor the memory where it lay");
    }
    for (name, value) in &process.environment {
        let row = EnvironmentRow { pid: said(process.pid), name: name.clone(), value: value.clone() };
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}

pub(crate) fn run_auxv(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    for &(kind, value) in &target.dump().auxv {
        if emit(sink, AuxvRow { kind, name: said(auxv_name(kind)), value: Addr(value) }).is_break() {
            break;
        }
    }
    Ok(())
}

pub(crate) fn run_handles(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    for handle in &target.dump().handles {
        let row = HandleRow {
            handle: handle.handle,
            kind: said(handle.kind.clone()),
            name: said(handle.name.clone()),
            access: said(handle.access.map(|access| Addr(access.into()))),
        };
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}

pub(crate) fn run_facts(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    for (name, value) in &target.dump().process.facts {
        if emit(sink, FactRow { name: name.clone(), value: value.clone() }).is_break() {
            break;
        }
    }
    Ok(())
}

/// Names as in Linux's `include/uapi/linux/auxvec.h` and the architectures' own.
fn auxv_name(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0 => "AT_NULL",
        1 => "AT_IGNORE",
        2 => "AT_EXECFD",
        3 => "AT_PHDR",
        4 => "AT_PHENT",
        5 => "AT_PHNUM",
        6 => "AT_PAGESZ",
        7 => "AT_BASE",
        8 => "AT_FLAGS",
        9 => "AT_ENTRY",
        10 => "AT_NOTELF",
        11 => "AT_UID",
        12 => "AT_EUID",
        13 => "AT_GID",
        14 => "AT_EGID",
        15 => "AT_PLATFORM",
        16 => "AT_HWCAP",
        17 => "AT_CLKTCK",
        23 => "AT_SECURE",
        24 => "AT_BASE_PLATFORM",
        25 => "AT_RANDOM",
        26 => "AT_HWCAP2",
        27 => "AT_RSEQ_FEATURE_SIZE",
        28 => "AT_RSEQ_ALIGN",
        29 => "AT_HWCAP3",
        30 => "AT_HWCAP4",
        31 => "AT_EXECFN",
        32 => "AT_SYSINFO",
        33 => "AT_SYSINFO_EHDR",
        51 => "AT_MINSIGSTKSZ",
        _ => return None,
    })
}
