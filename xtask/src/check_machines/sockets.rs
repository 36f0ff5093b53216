//! Every socket that /proc/net lists, with its owners, its ends and its state.

use super::asker::Asker;
use super::report::{Report, absent, filtered};
use super::truth::{Truth, number, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A process and its descriptor.
type Place = (u64, u64);

/// A socket as the guest lists it.
struct Socket {
    family: &'static str,
    protocol: Option<String>,
    local: Option<String>,
    remote: Option<String>,
    state: Option<&'static str>,
    inode: u64,
    owners: Vec<Place>,
    /// Further columns of /proc/net, as our table calls them.
    more: Vec<(&'static str, Value)>,
}

/// Families that /proc/net has no list of, so that the guest's lists do not know them.
const UNLISTED: [&str; 3] = ["alg", "vsock", "bluetooth"];

/// The topic.
pub fn sockets(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("sockets")?;
    report.remarks(machine, &answer);
    let mut guest = inet(truth);
    guest.extend(unix(truth));
    let holders = holders(truth);
    let by_column = |inode: u64| holders.get(&inode).cloned().unwrap_or_default();
    let netlink = truth.file("proc/net/netlink")?;
    for line in netlink.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()) {
        let inode = line.last().and_then(|word| word.parse().ok()).unwrap_or_default();
        guest.push(Socket::bare("netlink", inode, by_column(inode)));
    }
    let packet = truth.file("proc/net/packet")?;
    for line in packet.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()) {
        let inode = line.last().and_then(|word| word.parse().ok()).unwrap_or_default();
        guest.push(Socket::bare("packet", inode, by_column(inode)));
    }
    let held: BTreeMap<Place, &Value> = answer
        .rows
        .iter()
        .filter(|row| !row["pid"].is_null() && !row["fd"].is_null())
        .map(|row| ((number(&row["pid"]), number(&row["fd"])), row))
        .collect();
    for (place, row) in &held {
        if let Some(comm) = truth.comm(place.0) {
            report.cell(machine, &format!("{place:?}"), row, "comm", &comm.into());
        }
    }
    let mut checked = BTreeSet::new();
    let mut free: Vec<&Value> = answer.rows.iter().filter(|row| row["pid"].is_null()).collect();
    report.count(guest.iter().map(|socket| socket.owners.len().max(1)).sum(), answer.rows.len());
    for socket in &guest {
        if socket.owners.is_empty() {
            // Not accepted yet, or closed and not gone, or the kernel's own.
            match (take(truth, socket, &mut free), filtered(machine, &answer)) {
                (Some(row), _) => socket.check(machine, row, report),
                (None, Some(rule)) => report.excuse(rule),
                (None, None) => {
                    report.wrong(format!("missing: {} socket {}, which no process holds", socket.family, socket.inode))
                }
            }
        }
        for place in &socket.owners {
            if let Some(row) = held.get(place) {
                checked.insert(*place);
                socket.check(machine, row, report);
            } else if let Some(rule) = filtered(machine, &answer) {
                // The kernel's own tables may have it all the same.
                match take(truth, socket, &mut free) {
                    Some(row) => {
                        socket.check(machine, row, report);
                        report.excuse("a socket whose descriptor is not in the filtered dump");
                    }
                    None => report.excuse(rule),
                }
            } else {
                report.wrong(format!("missing: {} of {place:?}", socket.family));
            }
        }
    }
    // What the guest's lists have no line for; its descriptors must have the same inode there.
    for (place, row) in held.iter().filter(|(place, _)| !checked.contains(place)) {
        let listed = absent(machine, row, "inode").is_some()
            || holders.get(&number(&row["inode"])).is_some_and(|owners| owners.contains(place));
        let unbound = matches!(text(&row["local"]), "0.0.0.0:0" | "[::]:0") && row["state"] == "UNCONN";
        match text(&row["family"]) {
            _ if !listed => report.wrong(format!("not in the guest: {row}")),
            family if UNLISTED.contains(&family) => report.excuse("a socket of a kind that /proc/net does not list"),
            _ if elsewhere(truth, place.0) => report.excuse("a socket of another network namespace"),
            _ if absent(machine, row, "family").is_some() => report.excuse("a socket whose family is not in the dump"),
            "IPv4" | "IPv6" if unbound => {
                report.excuse("a socket without a port, which is in none of the kernel's tables")
            }
            _ => report.wrong(format!("not in the guest: {row}")),
        }
    }
    for row in free {
        if row["namespace"].as_u64().is_some_and(|own| Some(own) != truth.namespace(1, "net")) {
            report.excuse("a socket of another network namespace");
        } else {
            report.wrong(format!("not in the guest: {row}"));
        }
    }
    Ok(())
}

fn elsewhere(truth: &Truth, pid: u64) -> bool {
    truth.namespace(pid, "net") != truth.namespace(1, "net")
}

/// The row without a process that is this socket: the one with its inode, or, where it never had one, with its ends.
fn take<'r>(truth: &Truth, socket: &Socket, free: &mut Vec<&'r Value>) -> Option<&'r Value> {
    let same = |row: &&Value| {
        let end = |column: &str, guest: &Option<String>| guest.as_deref() == row[column].as_str();
        let ends = || end("local", &socket.local) && end("remote", &socket.remote);
        let here = row["namespace"].is_null() || row["namespace"].as_u64() == truth.namespace(1, "net");
        let inode = row["inode"].as_u64();
        row["family"] == socket.family && here && inode == Some(socket.inode) && (socket.inode != 0 || ends())
    };
    free.iter().position(same).map(|found| free.remove(found))
}

impl Socket {
    fn bare(family: &'static str, inode: u64, owners: Vec<Place>) -> Self {
        Self { family, protocol: None, local: None, remote: None, state: None, inode, owners, more: Vec::new() }
    }

    fn check(&self, machine: &Asker, row: &Value, report: &mut Report) {
        let before = report.failures();
        let what = format!("{} socket {} of {}", self.family, self.inode, row["pid"]);
        report.cell(machine, &what, row, "family", &json!(self.family));
        report.cell(machine, &what, row, "inode", &json!(self.inode));
        if let Some(protocol) = &self.protocol
            && !text(&row["protocol"]).eq_ignore_ascii_case(protocol)
        {
            report.cell(machine, &what, row, "protocol", &json!(protocol));
        }
        if let Some(state) = self.state {
            report.cell(machine, &what, row, "state", &json!(state));
        }
        if let Some(local) = &self.local {
            report.cell(machine, &what, row, "local", &json!(local));
        } else if self.family == "UNIX" {
            report.same(&format!("{what}: local"), &row["local"].as_str(), &None);
        }
        match &self.remote {
            Some(remote) => _ = report.cell(machine, &what, row, "remote", &json!(remote)),
            // /proc/net/unix does not tell the other side, but whether there is one.
            None if self.family == "UNIX" && self.state == Some("ESTABLISHED") && row["remote"].is_null() => {
                report.cell(machine, &what, row, "remote", &json!("the other side"));
            }
            None if self.family == "UNIX" && self.state != Some("ESTABLISHED") => {
                report.same(&format!("{what}: remote"), &row["remote"].as_str(), &None);
            }
            None => {}
        }
        // Columns that the table has not are not compared.
        for (column, value) in self.more.iter().filter(|(column, _)| row.get(*column).is_some()) {
            report.cell(machine, &what, row, column, value);
        }
        if report.failures() == before {
            report.found();
        }
    }
}

fn owners(socket: &Value) -> Vec<Place> {
    socket["owners"].as_array().into_iter().flatten().map(|pair| (number(&pair[0]), number(&pair[1]))).collect()
}

/// Who holds the inode of a socket.
fn holders(truth: &Truth) -> BTreeMap<u64, Vec<Place>> {
    let mut all: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
    for process in truth.processes() {
        for file in process["fds"].as_array().into_iter().flatten() {
            let inode = text(&file["target"]).strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            if let Some(inode) = inode.and_then(|inode| inode.parse().ok()) {
                all.entry(inode).or_default().push((number(&process["pid"]), number(&file["fd"])));
            }
        }
    }
    all
}

/// tcp, udp and raw, of both families.
fn inet(truth: &Truth) -> Vec<Socket> {
    let one = |socket: &Value| {
        let proto = text(&socket["proto"]);
        let six = proto.ends_with('6');
        let end = |address: &str, port: &str| {
            let (address, port) = (text(&socket[address]), number(&socket[port]));
            Some(if six { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
        };
        let state = match (socket["state"].as_str(), socket["state"].as_u64()) {
            (Some(state), _) => STATES.iter().find(|known| **known == state).copied().unwrap_or("?"),
            (_, Some(1)) => "ESTABLISHED",
            (_, Some(7)) => "UNCONN",
            _ => "?",
        };
        Socket {
            family: if six { "IPv6" } else { "IPv4" },
            protocol: Some(proto.trim_end_matches('6').to_owned()),
            local: end("local", "lport"),
            remote: end("remote", "rport"),
            state: Some(state),
            inode: number(&socket["inode"]),
            owners: owners(socket),
            more: ["uid", "rx_queue", "tx_queue"].map(|column| (column, socket[column].clone())).into(),
        }
    };
    truth.list("sockets").map(one).collect()
}

/// Names of TCP's states, as ss(8) and netstat(8) have them.
const STATES: [&str; 12] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
];

fn unix(truth: &Truth) -> Vec<Socket> {
    let one = |socket: &Value| {
        // SO_ACCEPTCON; then the state of `struct socket`: SS_CONNECTED is 3.
        let state = match (text(&socket["flags"]), socket["state"].as_u64()) {
            ("00010000", _) => "LISTEN",
            (_, Some(3)) => "ESTABLISHED",
            _ => "UNCONN",
        };
        Socket {
            family: "UNIX",
            protocol: Some(text(&socket["type"]).to_owned()),
            local: socket["path"].as_str().map(str::to_owned),
            remote: None,
            state: Some(state),
            inode: number(&socket["inode"]),
            owners: owners(socket),
            more: Vec::new(),
        }
    };
    truth.list("unix_sockets").map(one).collect()
}
