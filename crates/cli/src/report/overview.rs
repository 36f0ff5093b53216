//! What a Linux machine was doing: the biggest programs, who listened, who talked to whom, programs without a file.

use super::text::{bytes, fitted, heading, room};
use crate::args::Common;
use crate::output::clean;
use crate::output::style::{DIM, paint};
use afterimage_tables::{Params, Rows, find};
use afterimage_target::Target;
use afterimage_target::linux::{Linux, Process};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Lines of a section without `--verbose`.
const LINES: usize = 8;
/// Columns of an address with its port.
const ADDRESS: usize = 28;

pub fn write(target: &Target, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let Ok(linux) = target.linux() else { return Ok(()) };
    let Ok((processes, _)) = linux.processes() else { return Ok(()) };
    programs(linux, &processes, common, out)?;
    sockets(target, linux, &processes, common, out)
}

/// The processes with the most memory.
fn programs(linux: &Linux, processes: &[Process], common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let mut users: Vec<_> = processes
        .iter()
        .filter(|process| process.kernel_thread == Some(false))
        .filter_map(|process| Some((linux.memory_use(process)?.resident(), process)))
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    users.sort_by_key(|(used, process)| (std::cmp::Reverse(*used), process.pid));
    heading(out, "What ran")?;
    let most = if common.verbose { usize::MAX } else { LINES };
    for (used, process) in users.iter().take(most) {
        let exe = clean(process.exe.as_deref().unwrap_or_default());
        let comm = clean(process.comm.as_deref().unwrap_or("?"));
        let uid = process.uid.map_or_else(|| "?".to_owned(), |uid| uid.to_string());
        let text = format!("{:>7}  {comm:15}  uid {uid:5}  {:>10}  ", process.pid, bytes(*used));
        writeln!(out, "  {}", fitted(&text, &exe, room(common)))?;
    }
    more(users.len(), most, "processes", out)?;
    let gone: Vec<&Process> = processes.iter().filter(|process| linux.program_gone(process) == Some(true)).collect();
    if gone.is_empty() {
        return Ok(());
    }
    heading(out, "Programs whose file is gone")?;
    for process in gone.iter().take(most) {
        let exe = clean(process.exe.as_deref().unwrap_or("?"));
        let comm = clean(process.comm.as_deref().unwrap_or("?"));
        // Arguments may hold what nobody should read in passing; the name that a process gives itself does not.
        let line = process.command_line.as_deref().unwrap_or_default();
        let called = clean(line.split(' ').next().unwrap_or_default());
        let called = if called.is_empty() { String::new() } else { format!("  calls itself {called}") };
        let text = format!("{:>7}  {comm:15}  {exe}", process.pid);
        writeln!(out, "  {}", fitted(&text, &called, room(common)))?;
    }
    more(gone.len(), most, "processes", out)
}

/// Who listened, and who was connected with whom, over the network; and who sees all that passes an interface.
fn sockets(
    target: &Target,
    linux: &Linux,
    processes: &[Process],
    common: &Common,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(table) = find("sockets") else { return Ok(()) };
    let mut rows = Rows::default();
    if table.run(target, &Params::default(), &mut rows).is_err() {
        return Ok(());
    }
    let column = |name: &str| table.columns.iter().position(|column| column.name == name);
    let places = ["pid", "family", "protocol", "local", "remote", "state", "namespace", "interface"].map(column);
    let names: BTreeMap<String, &str> =
        processes.iter().map(|process| (process.pid.to_string(), process.comm.as_deref().unwrap_or("?"))).collect();
    let first = processes.iter().find(|process| process.pid == 1).map(|process| linux.standing(process));
    let [_, _, _, own, ..] = first.map_or([const { Err("") }; 8], |standing| standing.namespaces);
    let own = own.ok().map(|number| number.to_string());
    // In the order of addresses, those of other namespaces behind; each with all that hold it.
    let (mut listening, mut connected) = (BTreeMap::new(), BTreeMap::new());
    for row in &rows.rows {
        let cell = |place: Option<usize>| row.get(place?)?.as_ref().ok().map(ToString::to_string);
        let [pid, family, protocol, local, remote, state, namespace, interface] = places.map(cell);
        let protocol = protocol.unwrap_or_default();
        let sniffs = family.as_deref() == Some("packet");
        if !matches!(family.as_deref(), Some("IPv4" | "IPv6")) && !sniffs {
            continue;
        }
        let other = namespace.filter(|number| own.as_ref().is_some_and(|own| own != number));
        let who = match &pid {
            Some(pid) => format!("{} ({pid})", clean(names.get(pid).copied().unwrap_or("?"))),
            None => {
                let why = column("pid").and_then(|place| row.get(place)?.as_ref().err().map(|why| why.0.to_string()));
                let why = why.unwrap_or_default();
                why.strip_prefix("no process holds it: ").map_or(why.clone(), |why| format!("no process: {why}"))
            }
        };
        if sniffs {
            let place = interface.unwrap_or_else(|| "all interfaces".to_owned());
            listening.entry((other, "packet".to_owned(), clean(&place))).or_insert_with(Vec::new).push(who);
            continue;
        }
        let local = local.unwrap_or_else(|| "?".to_owned());
        match state.as_deref() {
            Some("LISTEN") => listening.entry((other, protocol, local)).or_insert_with(Vec::new).push(who),
            // Without a port it hears nothing.
            Some("UNCONN") if protocol == "UDP" && !local.ends_with(":0") => {
                listening.entry((other, protocol, local)).or_insert_with(Vec::new).push(who);
            }
            Some(state) if remote.as_deref().is_some_and(|remote| !remote.ends_with(":0")) => {
                let remote = remote.unwrap_or_default();
                let place = (other, protocol, local, remote);
                connected.entry(place).or_insert_with(|| (state.to_owned(), Vec::new())).1.push(who);
            }
            _ => {}
        }
    }
    let most = if common.verbose { usize::MAX } else { LINES };
    let space = |other: &Option<String>| other.as_ref().map(|number| format!("  network namespace {number}"));
    if !listening.is_empty() {
        heading(out, "Who listened")?;
        for ((other, protocol, local), who) in listening.iter().take(most) {
            let text = format!("{protocol:7} {local:28} {}", who.join(", "));
            writeln!(out, "  {}", fitted(&text, &space(other).unwrap_or_default(), room(common)))?;
        }
        more(listening.len(), most, "sockets", out)?;
    }
    if !connected.is_empty() {
        heading(out, "Who talked to whom")?;
        // Where there is not much room, columns are as wide as what stands in them.
        let narrow = room(common).is_some_and(|room| room < 110);
        let longest = connected.keys().take(most).map(|(_, _, local, remote)| local.len().max(remote.len())).max();
        let width = if narrow { longest.unwrap_or(0).min(ADDRESS) } else { ADDRESS };
        for ((other, protocol, local, remote), (state, who)) in connected.iter().take(most) {
            let text = format!("{protocol:7} {local:width$} {remote:width$} {state:12} {}", who.join(", "));
            writeln!(out, "  {}", fitted(&text, &space(other).unwrap_or_default(), room(common)))?;
        }
        more(connected.len(), most, "sockets", out)?;
    }
    Ok(())
}

fn more(all: usize, most: usize, what: &str, out: &mut dyn Write) -> io::Result<()> {
    if all > most {
        writeln!(out, "  {}", paint(DIM, &format!("and {} more {what} (--verbose shows all)", all - most)))?;
    }
    Ok(())
}
