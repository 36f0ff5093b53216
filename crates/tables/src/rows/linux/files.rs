//! What the processes of a Linux machine hold: open files, sockets, mappings, environments; and what is mounted.

use super::linux;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::rows::process::EnvironmentRow;
use crate::sink::Sink;
use crate::table::{Param, Params, Row, TableError, emit};
use afterimage_target::Target;
use afterimage_target::linux::Linux;

/// The key of tables that ask each process.
pub(crate) const PID: Param = Param { name: "pid", doc: "only this process" };
pub(crate) const MOUNTS_OF: Param = Param { name: "pid", doc: "what this process sees, instead of process 1" };

row! {
    /// Files that the processes of a Linux machine have open.
    OpenFileRow {
        /// Process id.
        pid: u32,
        /// Descriptor.
        fd: u32,
        /// Path, or the name that `/proc/PID/fd` shows, as `pipe:[123]`.
        path: Field<String>,
        /// Kind: `file`, `dir`, `socket`, `pipe`, `anon_inode`, `memfd`, `chr`, `blk`, `symlink`.
        kind: Field<&'static str>,
        /// Whether its name is gone.
        deleted: Field<bool>,
        /// Short name of the process.
        comm: Field<String>,
        /// Where the kernel's `struct file` lies.
        address: Addr,
    }
}

row! {
    /// The sockets of a Linux machine: a row for each descriptor of one, and behind them those of the kernel's own tables
    /// that no process holds (not yet accepted, ended connections, the kernel's own).
    SocketRow {
        /// Process id.
        pid: Field<u32>,
        /// Descriptor.
        fd: Field<u32>,
        /// Family, as `IPv4`, `IPv6`, `UNIX`, `netlink`, `packet`.
        family: Field<String>,
        /// Protocol, as `TCP`, `UDP`, `raw`; of UNIX and packet sockets the type, as `stream`.
        protocol: Field<String>,
        /// Local address and port, or name.
        local: Field<String>,
        /// The other side's; of a UNIX socket without a name `socket:[inode]`.
        remote: Field<String>,
        /// State, as `LISTEN` or `ESTABLISHED`.
        state: Field<&'static str>,
        /// Short name of the process.
        comm: Field<String>,
        /// Number of its inode, as `socket:[123]` has it; 0 where no process ever had a descriptor, or none any more.
        inode: Field<u64>,
        /// User id of its owner.
        uid: Field<u32>,
        /// Number of its network namespace, as `net:[4026531840]` has it.
        namespace: Field<u32>,
        /// Bytes that wait to be read; of one that listens, connections that wait to be accepted.
        rx_queue: Field<u64>,
        /// Bytes that are not sent, or not yet acknowledged.
        tx_queue: Field<u64>,
        /// Interface that it is bound to.
        interface: Field<String>,
        /// Where the kernel's `struct sock` lies.
        address: Field<Addr>,
    }
}

row! {
    /// What process 1 of a Linux machine sees mounted, or the process that is asked for.
    MountRow {
        /// Device, or a name.
        source: Field<String>,
        /// Directory.
        target: Field<String>,
        /// File system.
        fstype: Field<String>,
        /// Options, without those that a file system prints itself.
        options: Field<String>,
    }
}

row! {
    /// The mappings of the processes of a Linux machine.
    ProcessRegionRow {
        /// Process id.
        pid: u32,
        /// First address.
        start: Addr,
        /// First address behind it.
        end: Addr,
        /// Protection, and `p` for private or `s` for shared, as `r-xp`.
        perms: Field<String>,
        /// File, or the kernel's name for it, as `/proc/PID/maps` has it.
        path: Field<String>,
    }
}

/// The error of a process that is asked for and was not found.
pub(in crate::rows) fn no_process(linux: &Linux, pid: impl std::fmt::Display) -> TableError {
    // Where the lists are damaged or cut off it may have been there.
    let remark = linux.processes().map_or_else(Some, |(_, remarks)| remarks.into_iter().next());
    TableError::NoSuch(match remark {
        None => format!("the machine had no process {pid}"),
        Some(remark) => format!("no process {pid} was found: {remark}"),
    })
}

/// The process that is asked for.
pub(super) fn pid(params: &Params) -> Result<Option<u32>, TableError> {
    let Some(pid) = params.number("pid")? else { return Ok(None) };
    let too_large = |_| TableError::NoSuch(format!("the machine had no process {pid}"));
    u32::try_from(pid).map(Some).map_err(too_large)
}

/// Why a table is empty whose walk found nothing wrong.
pub(crate) const NONE: &str = "there is none: what leads to them was read without an error, and leads to nothing";

/// Hands over what a walk found, and what was wrong on the way.
pub(super) fn rows<T, R: Row>(found: Result<(Vec<T>, Vec<String>), String>, sink: &mut dyn Sink, row: impl Fn(T) -> R) {
    match found {
        Err(why) => sink.note(&why),
        Ok((found, remarks)) => {
            if found.is_empty() && remarks.is_empty() {
                sink.note(NONE);
            }
            for one in found {
                if emit(sink, row(one)).is_break() {
                    return;
                }
            }
            for remark in remarks {
                sink.note(&remark);
            }
        }
    }
}

/// The same for one process, which must be there, or for all.
pub(super) fn rows_of<T, R: Row>(
    (linux, pid): (&Linux, Option<u32>),
    found: Result<(Vec<T>, Vec<String>), String>,
    sink: &mut dyn Sink,
    row: impl Fn(T) -> R,
) -> Result<(), TableError> {
    if let (Err(_), Some(pid)) = (&found, pid)
        && linux.processes().is_ok_and(|(all, _)| all.iter().all(|process| process.pid != pid))
    {
        return Err(no_process(linux, pid));
    }
    let empty = found.as_ref().is_ok_and(|(found, remarks)| found.is_empty() && remarks.is_empty());
    let kernel = |pid| {
        let all = linux.processes().map(|(all, _)| all).unwrap_or_default();
        all.iter().any(|process| process.pid == pid && process.kernel_thread == Some(true))
    };
    match pid.filter(|pid| empty && kernel(*pid)) {
        Some(pid) => sink.note(&format!("there is none: {pid} is a thread of the kernel")),
        None => rows(found, sink, row),
    }
    Ok(())
}

pub(super) fn not_here() -> Absent {
    Absent::because("the kernel's structure with it is not in the dump")
}

pub(crate) fn open_files(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = pid(params)?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows_of((linux, pid), linux.open_files(pid), sink, |file| OpenFileRow {
        pid: file.pid,
        fd: file.fd,
        path: file.path.ok_or_else(not_here),
        kind: file.kind.ok_or_else(not_here),
        deleted: file.deleted.ok_or_else(not_here),
        comm: file.comm.ok_or_else(not_here),
        address: Addr(file.file),
    })
}

pub(crate) fn sockets(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = pid(params)?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows_of((linux, pid), linux.sockets(pid), sink, |socket| SocketRow {
        pid: socket.holder.as_ref().map(|holder| holder.pid).map_err(|why| Absent::because(*why)),
        fd: socket.holder.as_ref().map(|holder| holder.fd).map_err(|why| Absent::because(*why)),
        family: socket.family.ok_or_else(not_here),
        protocol: socket.protocol.ok_or_else(not_here),
        local: socket.local.map_err(Absent::because),
        remote: socket.remote.map_err(Absent::because),
        state: socket.state.ok_or_else(not_here),
        comm: match socket.holder {
            Ok(holder) => holder.comm.ok_or_else(not_here),
            Err(why) => Err(Absent::because(why)),
        },
        inode: socket.inode.ok_or_else(not_here),
        uid: socket.uid.ok_or_else(not_here),
        namespace: socket.namespace.ok_or_else(not_here),
        rx_queue: socket.rx_queue.ok_or_else(not_here),
        tx_queue: socket.tx_queue.ok_or_else(not_here),
        interface: socket.interface.map_err(Absent::because),
        address: Some(socket.sock).filter(|at| *at != 0).map(Addr).ok_or_else(not_here),
    })
}

pub(crate) fn mounts(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = pid(params)?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows_of((linux, pid), linux.mounts(pid), sink, |mount| MountRow {
        source: mount.source.ok_or_else(not_here),
        target: mount.target.ok_or_else(not_here),
        fstype: mount.fstype.ok_or_else(not_here),
        options: mount.options.ok_or_else(not_here),
    })
}

pub(crate) fn process_regions(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = pid(params)?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows_of((linux, pid), linux.process_regions(pid), sink, |region| ProcessRegionRow {
        pid: region.pid,
        start: Addr(region.start),
        end: Addr(region.end),
        perms: region.perms.ok_or_else(not_here),
        path: match region.path {
            Ok(path) => path.ok_or(Absent::because("no file is mapped there, and it has no name")),
            Err(why) => Err(Absent::because(why)),
        },
    })
}

/// The environments of a machine's processes; those of a process's dump are in `process`.
pub(crate) fn environment(linux: &Linux, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = pid(params)?;
    rows_of((linux, pid), linux.environment(pid), sink, |variable| EnvironmentRow {
        pid: Ok(variable.pid),
        name: variable.name,
        value: variable.value,
    })
}
