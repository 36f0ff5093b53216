//! What the processes of a Linux machine hold: open files, sockets, mappings, environments; and what is mounted.

use super::linux::linux;
use super::process::EnvironmentRow;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Param, Params, Row, TableError, emit};
use afterimage_target::Target;
use afterimage_target::linux::Linux;

/// The key of tables that ask each process.
pub(crate) const PID: Param = Param { name: "pid", doc: "only this process" };

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
        /// Where the kernel's `struct file` lies.
        address: Addr,
    }
}

row! {
    /// Sockets that the processes of a Linux machine hold.
    SocketRow {
        /// Process id.
        pid: u32,
        /// Descriptor.
        fd: u32,
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
        /// Number of its inode, as `socket:[123]` has it.
        inode: Field<u64>,
    }
}

row! {
    /// What process 1 of a Linux machine sees mounted.
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

/// The process that is asked for.
fn pid(params: &Params) -> Result<Option<u32>, TableError> {
    let Some(pid) = params.number("pid")? else { return Ok(None) };
    let wanted = || TableError::NoSuch(format!("the machine has no process {pid}"));
    u32::try_from(pid).map(Some).map_err(|_| wanted())
}

/// Hands over what a walk found, and what was wrong on the way.
fn rows<T, R: Row>(found: Result<(Vec<T>, Vec<String>), String>, sink: &mut dyn Sink, row: impl Fn(T) -> R) {
    match found {
        Err(why) => sink.note(&why),
        Ok((found, remarks)) => {
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

fn not_here() -> Absent {
    Absent::because("the kernel's structure with it is not in the dump")
}

pub(crate) fn open_files(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = pid(params)?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.open_files(pid), sink, |file| OpenFileRow {
        pid: file.pid,
        fd: file.fd,
        path: file.path.ok_or_else(not_here),
        kind: file.kind.ok_or_else(not_here),
        deleted: file.deleted.ok_or_else(not_here),
        address: Addr(file.file),
    });
    Ok(())
}

pub(crate) fn sockets(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = pid(params)?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.sockets(pid), sink, |socket| SocketRow {
        pid: socket.pid,
        fd: socket.fd,
        family: socket.family.ok_or_else(not_here),
        protocol: socket.protocol.ok_or_else(not_here),
        local: socket.local.map_err(Absent::because),
        remote: socket.remote.map_err(Absent::because),
        state: socket.state.ok_or_else(not_here),
        inode: socket.inode.ok_or_else(not_here),
    });
    Ok(())
}

pub(crate) fn mounts(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.mounts(), sink, |mount| MountRow {
        source: mount.source.ok_or_else(not_here),
        target: mount.target.ok_or_else(not_here),
        fstype: mount.fstype.ok_or_else(not_here),
        options: mount.options.ok_or_else(not_here),
    });
    Ok(())
}

pub(crate) fn process_regions(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = pid(params)?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.process_regions(pid), sink, |region| ProcessRegionRow {
        pid: region.pid,
        start: Addr(region.start),
        end: Addr(region.end),
        perms: region.perms.ok_or_else(not_here),
        path: match region.path {
            Ok(path) => path.ok_or(Absent::because("no file is mapped there, and it has no name")),
            Err(why) => Err(Absent::because(why)),
        },
    });
    Ok(())
}

/// The environments of a machine's processes; those of a process's dump are in `process`.
pub(crate) fn environment(linux: &Linux, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    rows(linux.environment(pid(params)?), sink, |variable| EnvironmentRow {
        pid: Ok(variable.pid),
        name: variable.name,
        value: variable.value,
    });
    Ok(())
}
