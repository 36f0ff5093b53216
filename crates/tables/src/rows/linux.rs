//! A Linux machine's own view: its kernel, log, processes, modules.

use super::said;
use crate::cell::{Absent, Addr, Field, Time};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_dump::Os;
use afterimage_target::Target;
use afterimage_target::linux::Linux;

row! {
    /// The kernel of a Linux machine: one row.
    KernelRow {
        /// Release, as `6.1.0-56-amd64`.
        release: Field<String>,
        /// The whole banner, as `/proc/version` shows it.
        banner: Field<String>,
        /// Build, as `uname -v` shows it.
        build: Field<String>,
        /// Processor.
        arch: String,
        /// Distance from where the kernel was linked to, in bytes (KASLR).
        kaslr_offset: Field<Addr>,
        /// Seconds since the start of the machine, by its clock.
        uptime: Field<u64>,
        /// The reason of a panic, as the log has it.
        panic: Field<String>,
        /// Command line that it was started with.
        command_line: Field<String>,
        /// When the machine was started.
        boot_time: Field<Time>,
        /// What makes it tainted, a bit each.
        taint: Field<u64>,
        /// Symbols that it knows of itself.
        symbols: u64,
        /// How it was found.
        evidence: String,
    }
}

row! {
    /// The kernel's log, oldest line first.
    KernelLogRow {
        /// Seconds since the start of the machine, as text with six digits behind the point.
        time: String,
        /// Level, 0 (emergency) to 7 (debug).
        level: u32,
        /// Text.
        text: String,
    }
}

row! {
    /// The processes of a Linux machine, threads of the kernel too.
    ProcessRow {
        /// Process id.
        pid: u32,
        /// Parent's process id.
        ppid: Field<u32>,
        /// Effective user id.
        uid: Field<u32>,
        /// Short name.
        comm: Field<String>,
        /// State letter, as ps(1) shows it.
        state: Field<String>,
        /// When it was started.
        start_time: Field<Time>,
        /// Path of its program.
        exe: Field<String>,
        /// Command line.
        cmdline: Field<String>,
        /// Whether it is a thread of the kernel.
        kernel_thread: Field<bool>,
    }
}

row! {
    /// Modules that a Linux kernel had loaded.
    KernelModuleRow {
        /// Name.
        name: String,
        /// Where its code lies.
        base: Addr,
        /// Bytes of its parts.
        size: u64,
        /// What it taints the kernel with, a bit each.
        taints: u64,
    }
}

/// The kernel, if it is a Linux machine's dump; `None` for other dumps, which have no rows.
pub(super) fn linux<'t>(target: &'t Target, sink: &mut dyn Sink) -> Option<&'t Linux> {
    let dump = target.dump();
    if dump.machine.is_none() {
        sink.note("the dump is of a process: it holds no kernel");
        return None;
    }
    match target.linux() {
        Ok(linux) => Some(linux),
        Err(why) => {
            let known = matches!(dump.os, Os::Linux | Os::Unknown);
            sink.note(if known { why } else { "the machine ran another system than Linux" });
            None
        }
    }
}

/// What a Linux kernel's log says about a panic.
#[must_use]
pub fn panic(linux: &Linux) -> Option<String> {
    let log = linux.log().ok()?;
    let line = log.iter().rev().find(|line| line.text.starts_with("Kernel panic - not syncing"))?;
    Some(line.text.clone())
}

pub(crate) fn kernel(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let dump = target.dump();
    let name = dump.machine.as_ref().and_then(|machine| machine.name.as_ref());
    let banner = linux.banner();
    let release = banner.as_deref().and_then(|text| text.split(' ').nth(2)).map(str::to_owned);
    let no_panic = Absent::because("the log has no panic");
    let row = KernelRow {
        release: said(release.or_else(|| dump.os_version.clone())),
        banner: said(banner),
        build: said(name.map(|name| name.version.clone()).filter(|text| !text.is_empty())),
        arch: dump.arch.to_string(),
        kaslr_offset: said(linux.kaslr_offset.map(Addr)),
        uptime: said(linux.uptime()),
        panic: panic(linux).ok_or(no_panic),
        command_line: said(linux.command_line()),
        boot_time: said(linux.boot_time_ns().map(|ns| Time(ns.div_euclid(1_000_000_000)))),
        taint: said(linux.taint()),
        symbols: linux.symbols.len() as u64,
        evidence: linux.evidence.join("; "),
    };
    let _ = emit(sink, row);
    Ok(())
}

pub(crate) fn log(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    match linux.log() {
        Err(why) => sink.note(&why),
        Ok(lines) => {
            for line in lines {
                let (seconds, rest) = (line.time_ns / 1_000_000_000, line.time_ns / 1000 % 1_000_000);
                let time = format!("{seconds}.{rest:06}");
                if emit(sink, KernelLogRow { time, level: line.level.into(), text: line.text }).is_break() {
                    break;
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn processes(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let (processes, remarks) = match linux.processes() {
        Ok(found) => found,
        Err(why) => {
            sink.note(&why);
            return Ok(());
        }
    };
    let not_here = || Absent::because("its task_struct is not in the dump");
    for process in processes {
        let row = ProcessRow {
            pid: process.pid,
            ppid: process.ppid.ok_or_else(not_here),
            uid: process.uid.ok_or_else(not_here),
            comm: process.comm.ok_or_else(not_here),
            state: process.state.map(String::from).ok_or_else(not_here),
            start_time: process.start_time.map(Time).ok_or_else(not_here),
            exe: process.exe.map_err(Absent::because),
            cmdline: process.command_line.map_err(Absent::because),
            kernel_thread: process.kernel_thread.ok_or_else(not_here),
        };
        if emit(sink, row).is_break() {
            return Ok(());
        }
    }
    for remark in remarks {
        sink.note(&remark);
    }
    Ok(())
}

pub(crate) fn modules(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let (modules, remarks) = match linux.modules() {
        Ok(found) => found,
        Err(why) => {
            sink.note(&why);
            return Ok(());
        }
    };
    for module in modules {
        let row =
            KernelModuleRow { name: module.name, base: Addr(module.base), size: module.size, taints: module.taints };
        if emit(sink, row).is_break() {
            return Ok(());
        }
    }
    for remark in remarks {
        sink.note(&remark);
    }
    Ok(())
}
