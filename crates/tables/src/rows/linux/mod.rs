//! A Linux machine's own view: its kernel, log, processes, modules.

pub mod blocked;
pub mod cache;
pub mod fault;
pub mod files;
pub mod history;
pub mod memory;
pub mod net;
pub mod sys;
pub mod threads;
pub mod user_frames;

pub use blocked::BlockedTaskRow;
pub use fault::KernelFaultRow;
pub use files::{MountRow, OpenFileRow, ProcessRegionRow, SocketRow};
pub use history::ShellHistoryRow;
pub use memory::{MemoryUsageRow, MemoryZoneRow, SlabCacheRow};
pub use net::{NeighbourRow, NetworkInterfaceRow, RouteRow};
pub use sys::{BpfMapRow, BpfProgramRow, InterruptRow, KeyringRow, TimerRow};
pub use threads::ProcessThreadRow;
pub use user_frames::UserFrameRow;

use crate::cell::{Absent, Addr, Field, Time};
use crate::declare::row;
use crate::rows::said;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_dump::Os;
use afterimage_target::Target;
use afterimage_target::linux::{Linux, taint_letters};

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
        /// Processors that the machine had.
        cpus: Field<u32>,
        /// Bytes of memory that the kernel could give away, as `MemTotal` of `/proc/meminfo`.
        memory: Field<u64>,
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
        /// Whether the file of its program was deleted.
        deleted: Field<bool>,
        /// Bytes of its memory that were in RAM, as `VmRSS` of `/proc/PID/status`.
        resident: Field<u64>,
        /// Its number in its own namespace of processes, as a program in a container sees itself.
        inner_pid: Field<u32>,
        /// Group of processes.
        pgid: Field<u32>,
        /// Session.
        sid: Field<u32>,
        /// Controlling terminal, as `pts/0`.
        tty: Field<String>,
        /// Number of its threads.
        threads: Field<u32>,
        /// Effective group id.
        gid: Field<u32>,
        /// Further groups, commas between them; empty for none.
        groups: Field<String>,
        /// Effective capabilities in hexadecimal digits, as `CapEff` of `/proc/PID/status`.
        cap_eff: Field<String>,
        /// Filter of system calls: `disabled`, `strict`, `filter`.
        seccomp: Field<&'static str>,
        /// Whether what it executes gains no rights.
        no_new_privs: Field<bool>,
        /// Policy of scheduling, as chrt(1) names it: `OTHER`, `FIFO`, `RR`, `BATCH`, `IDLE`, `DEADLINE`.
        policy: Field<&'static str>,
        /// Niceness, -20 to 19; lower comes first.
        nice: Field<i32>,
        /// Static priority, 1 to 99, of `FIFO` and `RR`; 0 for others.
        rt_priority: Field<u32>,
        /// Control group, as `/proc/PID/cgroup` has it; without version 2 `controllers:path` of each hierarchy.
        cgroup: Field<String>,
        /// Number of its namespace of control groups, as `/proc/PID/ns/cgroup` has it.
        ns_cgroup: Field<u32>,
        /// Of System V IPC and message queues.
        ns_ipc: Field<u32>,
        /// Of mounts.
        ns_mnt: Field<u32>,
        /// Of the network.
        ns_net: Field<u32>,
        /// Of processes.
        ns_pid: Field<u32>,
        /// Of clocks.
        ns_time: Field<u32>,
        /// Of users.
        ns_user: Field<u32>,
        /// Of the host's name.
        ns_uts: Field<u32>,
    }
}

row! {
    /// The processes of a Linux machine as a tree: each below its parent, children by their numbers.
    ProcessTreeRow {
        /// Process id.
        pid: u32,
        /// Parent's process id.
        ppid: Field<u32>,
        /// How many processes stand above it; 0 at the top.
        depth: u32,
        /// Short name, two blanks in front of it for each process above.
        tree: Field<String>,
        /// Short name.
        comm: Field<String>,
        /// Effective user id.
        uid: Field<u32>,
        /// State letter, as ps(1) shows it.
        state: Field<String>,
        /// Command line.
        cmdline: Field<String>,
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
        /// The same in letters, as `/proc/modules` has them: `P` proprietary, `O` out of tree, `E` unsigned; empty for none.
        taint_letters: String,
        /// State: `Live`, `Loading`, `Unloading`.
        state: Field<&'static str>,
        /// How often it is in use.
        refcount: Field<u32>,
        /// Modules that need it, commas between them; empty for none.
        used_by: Field<String>,
        /// Its version.
        version: Field<String>,
        /// Sum of its sources, as modinfo(8) shows it.
        srcversion: Field<String>,
        /// Names of its parameters, commas between them; empty for none.
        parameters: Field<String>,
        /// Where the kernel's `struct module` lies.
        address: Addr,
    }
}

row! {
    /// The sections of the modules that a Linux kernel had loaded, as `/sys/module/NAME/sections` shows them.
    KernelModuleSectionRow {
        /// Name of the module.
        module: String,
        /// Name, as `.text`.
        name: String,
        /// Where it was loaded to; memory of sections for starting (`.init.text`) is free by now.
        address: Field<Addr>,
    }
}

/// The kernel, if it is a Linux machine's dump; `None` for other dumps, which have no rows.
pub(in crate::rows) fn linux<'t>(target: &'t Target, sink: &mut dyn Sink) -> Option<&'t Linux> {
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
    let cpus = u32::try_from(linux.present_cpus().len()).ok().filter(|count| *count > 0);
    let row = KernelRow {
        release: said(release.or_else(|| dump.os_version.clone())),
        banner: said(banner),
        build: said(name.map(|name| name.version.clone()).filter(|text| !text.is_empty()).or_else(|| linux.build())),
        arch: dump.arch.to_string(),
        kaslr_offset: said(linux.kaslr_offset.map(Addr)),
        uptime: said(linux.uptime()),
        panic: panic(linux).ok_or(no_panic),
        command_line: said(linux.command_line()),
        boot_time: said(linux.boot_time_ns().map(|ns| Time(ns.div_euclid(1_000_000_000)))),
        taint: said(linux.taint()),
        cpus: said(cpus),
        memory: linux.total_memory().map_err(Absent::because),
        symbols: linux.symbols.len() as u64,
        evidence: linux.evidence.join("; "),
    };
    let _ = emit(sink, row);
    Ok(())
}

pub(crate) fn log(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    match linux.log_and_lost() {
        Err(why) => sink.note(&why),
        Ok((lines, lost)) => {
            if lost > 0 {
                sink.note(&format!("the text of {lost} lines is not in the dump"));
            } else if lines.is_empty() {
                sink.note("the log's ring holds no record that is whole: it is empty, or its pages are damaged or not in the dump");
            }
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

pub(crate) fn processes(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = params.number("pid")?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let (mut processes, mut remarks) = match linux.processes() {
        Ok(found) => found,
        Err(why) => {
            sink.note(&why);
            return Ok(());
        }
    };
    if let Some(pid) = pid {
        processes.retain(|process| u64::from(process.pid) == pid);
        if processes.is_empty() {
            return Err(files::no_process(linux, pid));
        }
        remarks.clear();
    }
    let no_program = || Absent::because("it has no program of its own, or it is not in the dump");
    let not_here = || Absent::because("its task_struct is not in the dump");
    let no_more = files::not_here;
    if processes.is_empty() && remarks.is_empty() {
        sink.note(files::NONE);
    }
    for process in processes {
        let standing = linux.standing(&process);
        let deleted = linux.program_gone(&process).ok_or_else(no_program);
        let resident = linux.memory_use(&process).map(|used| used.resident()).ok_or_else(no_program);
        // In the order of `NAMESPACES`.
        let [ns_cgroup, ns_ipc, ns_mnt, ns_net, ns_pid, ns_time, ns_user, ns_uts] =
            standing.namespaces.map(|number| number.map_err(Absent::because));
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
            deleted,
            resident,
            inner_pid: standing.inner_pid.ok_or_else(no_more),
            pgid: standing.pgid.ok_or_else(no_more),
            sid: standing.sid.ok_or_else(no_more),
            tty: standing.tty.map_err(Absent::because),
            threads: standing.threads.ok_or_else(no_more),
            gid: standing.gid.ok_or_else(no_more),
            groups: standing.groups.ok_or_else(no_more),
            cap_eff: standing.capabilities.map(|bits| format!("{bits:016x}")).ok_or_else(no_more),
            seccomp: standing.seccomp.ok_or_else(no_more),
            no_new_privs: standing.no_new_privs.ok_or_else(no_more),
            policy: standing.policy.ok_or_else(no_more),
            nice: standing.nice.ok_or_else(no_more),
            rt_priority: standing.realtime.ok_or_else(no_more),
            cgroup: standing.cgroup.map_err(Absent::because),
            ns_cgroup,
            ns_ipc,
            ns_mnt,
            ns_net,
            ns_pid,
            ns_time,
            ns_user,
            ns_uts,
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

pub(crate) fn process_tree(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    files::rows(linux.process_tree(), sink, |node| {
        let (process, blanks) = (node.process, "  ".repeat(node.depth.min(64) as usize));
        ProcessTreeRow {
            pid: process.pid,
            ppid: process.ppid.ok_or_else(files::not_here),
            depth: node.depth,
            tree: process.comm.as_ref().map(|comm| format!("{blanks}{comm}")).ok_or_else(files::not_here),
            comm: process.comm.ok_or_else(files::not_here),
            uid: process.uid.ok_or_else(files::not_here),
            state: process.state.map(String::from).ok_or_else(files::not_here),
            cmdline: process.command_line.map_err(Absent::because),
        }
    });
    Ok(())
}

pub(crate) fn modules(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    files::rows(linux.modules(), sink, |module| KernelModuleRow {
        name: module.name,
        base: Addr(module.base),
        size: module.size,
        taints: module.taints,
        taint_letters: taint_letters(module.taints),
        state: module.state.ok_or_else(files::not_here),
        refcount: module.references.ok_or_else(files::not_here),
        used_by: module.used_by.ok_or_else(files::not_here),
        version: module.version.map_err(Absent::because),
        srcversion: module.srcversion.map_err(Absent::because),
        parameters: module.parameters.ok_or_else(files::not_here),
        address: Addr(module.at),
    });
    Ok(())
}

pub(crate) fn module_sections(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    files::rows(linux.module_sections(), sink, |section| KernelModuleSectionRow {
        module: section.module,
        name: section.name,
        address: section.address.map(Addr).ok_or_else(files::not_here),
    });
    Ok(())
}
