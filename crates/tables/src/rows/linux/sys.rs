//! What a Linux kernel does and keeps by itself: interrupts, timers, programs of BPF, keys.

use super::files::{not_here, rows};
use super::linux;
use crate::cell::{Absent, Addr, Field, HexBytes, Time};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError};
use afterimage_target::Target;

row! {
    /// Interrupts of a Linux machine and how often each processor took them, as `/proc/interrupts` has them.
    InterruptRow {
        /// Number, or the name of a processor's own, as `LOC`.
        irq: String,
        /// How often it was taken in all.
        total: Field<u64>,
        /// How often each processor took it, those that the machine has in their order, separated by blanks; `-` where it is not
        /// known. One number where it is not counted by processors.
        counts: String,
        /// What it is reached through, as `IO-APIC`.
        chip: Field<String>,
        /// Its number there.
        hwirq: Field<u64>,
        /// How it is handled, as `edge`.
        flow: Field<String>,
        /// Who handles it, separated by commas; of a processor's own what it is for.
        handlers: Field<String>,
        /// Functions that handle it, separated by commas.
        functions: Field<String>,
        /// Where its `irq_desc` lies.
        address: Field<Addr>,
    }
}

row! {
    /// Timers of a Linux kernel that wait, by processor.
    TimerRow {
        /// Processor.
        cpu: u32,
        /// `hrtimer` (nanoseconds), or `wheel` (ticks).
        kind: &'static str,
        /// Clock: `monotonic`, `realtime`, `boottime`, `tai`; `jiffies` of the wheel.
        clock: String,
        /// When it ends: nanoseconds of its clock, or ticks.
        expires: Field<u64>,
        /// Nanoseconds from the dump until then; below 0 if it is over its time.
        remaining_ns: Field<i64>,
        /// What is called.
        function: Field<String>,
        /// Of delayed work the function that does it.
        work: Field<String>,
        /// Process that it is for: who sleeps, or who set it.
        pid: Field<u32>,
        /// Its thread.
        tid: Field<u32>,
        /// Short name of that thread.
        comm: Field<String>,
        /// Where the timer lies.
        address: Addr,
    }
}

row! {
    /// Programs of BPF that a Linux kernel has loaded.
    BpfProgramRow {
        /// Number.
        id: u32,
        /// Kind, as `socket_filter`, `kprobe`, `xdp`.
        kind: Field<String>,
        /// Name that its loader gave; may be empty.
        name: Field<String>,
        /// Tag: the first 8 bytes of the SHA-1 of its instructions.
        tag: Field<HexBytes>,
        /// User id of who loaded it.
        uid: Field<u32>,
        /// When it was loaded.
        load_time: Field<Time>,
        /// Bytes of its instructions, as the verifier left them.
        xlated_bytes: Field<u64>,
        /// Bytes of its machine code; 0 if it is interpreted.
        jited_bytes: Field<u64>,
        /// How often it ran; 0 unless the machine counts that (`kernel.bpf_stats_enabled`).
        runs: Field<u64>,
        /// Numbers of the maps that it uses, separated by commas.
        maps: Field<String>,
        /// Where its `struct bpf_prog` lies.
        address: Addr,
    }
}

row! {
    /// Maps of BPF of a Linux kernel; what they hold is not shown.
    BpfMapRow {
        /// Number.
        id: u32,
        /// Kind, as `array`, `hash`, `ringbuf`.
        kind: Field<String>,
        /// Name that its maker gave; may be empty.
        name: Field<String>,
        /// Bytes of a key.
        key_size: Field<u64>,
        /// Bytes of a value.
        value_size: Field<u64>,
        /// Entries at most.
        max_entries: Field<u64>,
        /// Flags, a bit each (`BPF_F_…`).
        flags: Field<u64>,
        /// Whether processes may no longer write to it.
        frozen: Field<bool>,
        /// Where its `struct bpf_map` lies.
        address: Addr,
    }
}

row! {
    /// Keys and keyrings of a Linux kernel, as root sees them in `/proc/keys`; of what they hold the size alone.
    KeyringRow {
        /// Serial number in hexadecimal, as `/proc/keys` shows it.
        serial: String,
        /// Kind, as `user`, `logon`, `keyring`, `asymmetric`.
        kind: Field<String>,
        /// Description.
        description: Field<String>,
        /// Owner.
        uid: Field<u32>,
        /// Group.
        gid: Field<u32>,
        /// Permissions in hexadecimal: a byte each for possessor, user, group, others.
        permissions: Field<String>,
        /// As `I--Q---`: `I` instantiated, `R` revoked, `D` dead, `Q` in quota, `U` under construction, `N` negative, `i`
        /// invalidated.
        flags: Field<String>,
        /// When it ends.
        expiry: Field<Time>,
        /// References to it.
        usage: Field<u64>,
        /// Bytes of its content.
        payload_bytes: Field<u64>,
        /// Of a keyring: keys in it.
        keys: Field<u64>,
        /// Serial numbers of the keyrings that hold it, separated by commas.
        keyrings: Field<String>,
        /// Where its `struct key` lies.
        address: Addr,
    }
}

/// `/proc/keys` shows 65534 for it.
fn known_id(id: u32) -> Field<u32> {
    if id == u32::MAX { Err(Absent::because("it belongs to nobody")) } else { Ok(id) }
}

fn listed(list: &[String], none: &'static str) -> Field<String> {
    if list.is_empty() { Err(Absent::because(none)) } else { Ok(list.join(",")) }
}

pub(crate) fn interrupts(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.interrupts(), sink, |one| {
        let counts: Vec<String> =
            one.counts.iter().map(|count| count.map_or("-".to_owned(), |count| count.to_string())).collect();
        InterruptRow {
            irq: one.irq,
            total: one.total.map_err(Absent::because),
            counts: counts.join(" "),
            chip: one.chip.map_err(Absent::because),
            hwirq: one.hwirq.map_err(Absent::because),
            flow: one.flow.map_err(Absent::because),
            handlers: listed(&one.handlers, "it has no handler"),
            functions: listed(&one.functions, "it has no handler of a driver"),
            address: one.address.map(Addr).map_err(Absent::because),
        }
    });
    Ok(())
}

pub(crate) fn timers(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.timers(), sink, |timer| {
        let owner = timer.owner.map_err(Absent::because);
        TimerRow {
            cpu: timer.cpu,
            kind: timer.kind,
            clock: timer.clock,
            expires: timer.expires.ok_or_else(not_here),
            remaining_ns: timer.remaining.map_err(Absent::because),
            function: timer.function.ok_or_else(not_here),
            work: timer.work.ok_or(Absent::because("it is not delayed work")),
            pid: owner.as_ref().map(|owner| owner.0).map_err(Clone::clone),
            tid: owner.as_ref().map(|owner| owner.1).map_err(Clone::clone),
            comm: owner.and_then(|owner| owner.2.ok_or_else(not_here)),
            address: Addr(timer.at),
        }
    });
    Ok(())
}

pub(crate) fn bpf_programs(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let boot = linux.boot_time_ns();
    rows(linux.bpf_programs(), sink, |program| {
        let loaded = program.loaded_ns.ok_or_else(not_here).and_then(|ns| {
            let boot = boot.ok_or(Absent::because("the machine's clock is not in the dump"))?;
            Ok(Time(boot.wrapping_add(ns as i64).div_euclid(1_000_000_000)))
        });
        let maps = program.maps.ok_or_else(not_here).and_then(|maps| {
            let maps: Vec<String> = maps.iter().map(u32::to_string).collect();
            listed(&maps, "it uses none")
        });
        BpfProgramRow {
            id: program.id,
            kind: program.kind.ok_or_else(not_here),
            name: program.name.ok_or_else(not_here),
            tag: program.tag.map(|tag| HexBytes(tag.to_vec())).ok_or_else(not_here),
            uid: program.uid.ok_or_else(not_here),
            load_time: loaded,
            xlated_bytes: program.xlated.ok_or_else(not_here),
            jited_bytes: program.jited.ok_or_else(not_here),
            runs: program.runs.ok_or_else(not_here),
            maps,
            address: Addr(program.at),
        }
    });
    Ok(())
}

pub(crate) fn bpf_maps(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.bpf_maps(), sink, |map| BpfMapRow {
        id: map.id,
        kind: map.kind.ok_or_else(not_here),
        name: map.name.ok_or_else(not_here),
        key_size: map.key_size.ok_or_else(not_here),
        value_size: map.value_size.ok_or_else(not_here),
        max_entries: map.max_entries.ok_or_else(not_here),
        flags: map.flags.ok_or_else(not_here),
        frozen: map.frozen.ok_or_else(not_here),
        address: Addr(map.at),
    });
    Ok(())
}

pub(crate) fn keyrings(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.keys(), sink, |key| {
        let held: Vec<String> = key.keyrings.iter().map(|ring| format!("{ring:08x}")).collect();
        let ring = key.kind.as_deref() == Some("keyring");
        KeyringRow {
            serial: format!("{:08x}", key.serial),
            description: key.description.ok_or_else(not_here),
            uid: key.uid.ok_or_else(not_here).and_then(known_id),
            gid: key.gid.ok_or_else(not_here).and_then(known_id),
            permissions: key.permissions.map(|bits| format!("{bits:08x}")).ok_or_else(not_here),
            flags: key.flags.ok_or_else(not_here),
            expiry: match key.expiry {
                Ok(end) => end.map(Time).ok_or(Absent::because("it does not end")),
                Err(why) => Err(Absent::because(why)),
            },
            usage: key.usage.ok_or_else(not_here),
            payload_bytes: key.payload.ok_or_else(not_here),
            keys: if ring { key.links.ok_or_else(not_here) } else { Err(Absent::because("it is no keyring")) },
            keyrings: listed(&held, "no keyring holds it"),
            kind: key.kind.ok_or_else(not_here),
            address: Addr(key.at),
        }
    });
    Ok(())
}
