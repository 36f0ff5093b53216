//! All sockets of real Linux machines, against `/proc/net` of each guest, both ways: all of them, and no others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_dump::{Budget, open};
use afterimage_target::linux::{Linux, Socket};
use common::{DUMPS, first_namespace, guest_file, vmcores};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// `0100007F:115C`: words of the machine's order, and a port.
fn address(text: &str) -> String {
    let (host, port) = text.split_once(':').unwrap();
    let port = u16::from_str_radix(port, 16).unwrap();
    let bytes: Vec<u8> = (0..host.len() / 8)
        .flat_map(|word| u32::from_str_radix(&host[8 * word..8 * word + 8], 16).unwrap().to_le_bytes())
        .collect();
    match bytes.len() {
        4 => SocketAddr::from((Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap()), port)).to_string(),
        _ => SocketAddr::from((Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()), port)).to_string(),
    }
}

/// A line of `/proc/net/tcp` and its like: addresses, state, queues (sending, receiving), user, inode.
type Line = (String, String, String, u64, u64, u64, u64);

fn listed(text: &str, tcp: bool) -> Vec<Line> {
    text.lines()
        .skip(1)
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (sending, receiving) = words[4].split_once(':').unwrap();
            let hex = |word| u64::from_str_radix(word, 16).unwrap();
            let state = match hex(words[3]) {
                1 => "ESTABLISHED",
                3 => "SYN_RECV",
                6 => "TIME_WAIT",
                7 if !tcp => "UNCONN",
                10 => "LISTEN",
                other => panic!("{line}: state {other}"),
            };
            let number = |word: &str| word.parse().unwrap();
            (
                address(words[1]),
                address(words[2]),
                state.to_owned(),
                hex(sending),
                hex(receiving),
                number(words[7]),
                number(words[9]),
            )
        })
        .collect()
}

/// `None` where a part of it is not in the dump.
fn line(socket: &Socket) -> Option<Line> {
    Some((
        socket.local.clone().ok()?,
        socket.remote.clone().ok()?,
        socket.state?.to_owned(),
        socket.tx_queue?,
        socket.rx_queue?,
        socket.uid?.into(),
        socket.inode?,
    ))
}

/// Exactly the same; of a filtered dump nothing that is not in truth.
fn same<T: Ord + Clone + std::fmt::Debug>(shown: &str, filtered: bool, ours: Vec<Option<T>>, theirs: Vec<T>) {
    let unread = ours.iter().filter(|one| one.is_none()).count();
    let (mut ours, mut theirs): (Vec<T>, Vec<T>) = (ours.into_iter().flatten().collect(), theirs);
    ours.sort();
    theirs.sort();
    if filtered {
        let invented: Vec<&T> = ours.iter().filter(|one| !theirs.contains(one)).collect();
        println!("{shown}: {} of {}, {unread} not whole", ours.len(), theirs.len());
        assert!(invented.is_empty(), "{shown}: {invented:?}");
    } else {
        assert_eq!(unread, 0, "{shown}");
        assert_eq!(ours, theirs, "{shown}");
    }
}

#[test]
fn sockets_are_those_of_proc_net() {
    let Some(folder) = vmcores() else { return };
    for (name, file) in DUMPS {
        let shown = format!("{name}/{file}");
        let dump = open(&folder.join(name).join(file), &Budget::default()).unwrap();
        let linux = Linux::open(&dump).unwrap_or_else(|why| panic!("{shown}: {why}"));
        let guest = folder.join(name);
        let (sockets, remarks) = linux.sockets(None).unwrap();
        let filtered = name.contains("kdump");
        assert_eq!(filtered, !remarks.is_empty(), "{shown}: {remarks:?}");
        let unheld: Vec<&Socket> = sockets.iter().filter(|socket| socket.holder.is_err()).collect();
        println!("{shown}: {} sockets, {} of them held by no process; {remarks:?}", sockets.len(), unheld.len());
        for socket in &unheld {
            println!("    {socket:?}");
        }
        // Several descriptors may lead to one socket.
        let mut seen = BTreeSet::new();
        let once: Vec<&Socket> = sockets.iter().filter(|socket| socket.sock == 0 || seen.insert(socket.sock)).collect();
        let first = first_namespace(&guest);
        let of = |family: &str, protocol: &str| {
            let right = |socket: &&&Socket| {
                socket.namespace == Some(first)
                    && socket.family.as_deref() == Some(family)
                    && (protocol.is_empty() || socket.protocol.as_deref() == Some(protocol))
            };
            once.iter().filter(right).copied().collect::<Vec<_>>()
        };
        for (list, family, protocol) in [
            ("tcp", "IPv4", "TCP"),
            ("tcp6", "IPv6", "TCP"),
            ("udp", "IPv4", "UDP"),
            ("udp6", "IPv6", "UDP"),
            ("raw", "IPv4", "raw"),
            ("raw6", "IPv6", "raw"),
        ] {
            let theirs = listed(&guest_file(&guest, &format!("proc/net/{list}")), protocol == "TCP");
            // One that is made but was never bound or connected is in no table, and in no list.
            let bound = |socket: &&&Socket| {
                protocol == "raw" || !socket.local.as_ref().is_ok_and(|local| local.ends_with(":0"))
            };
            let ours = of(family, protocol).iter().filter(bound).map(|socket| line(socket)).collect();
            same(&format!("{shown}: {list}"), filtered, ours, theirs);
        }
        // Type, protocol, interface, …, user, inode.
        let theirs: Vec<(u64, u64)> = guest_file(&guest, "proc/net/packet")
            .lines()
            .skip(1)
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                assert_eq!(words[4], "0", "bound to no interface");
                (words[8].parse().unwrap(), words[7].parse().unwrap())
            })
            .collect();
        let pair = |socket: &&Socket| Some((socket.inode?, socket.uid?.into()));
        same(&format!("{shown}: packet"), filtered, of("packet", "").iter().map(pair).collect(), theirs);
        assert!(of("packet", "").iter().all(|socket| socket.interface.is_err()));
        // Protocol, port, …, inode.
        let names = [
            (0, "route"),
            (4, "sock_diag"),
            (6, "xfrm"),
            (7, "selinux"),
            (9, "audit"),
            (10, "fib_lookup"),
            (11, "connector"),
            (12, "netfilter"),
            (15, "kobject_uevent"),
            (16, "generic"),
            (21, "crypto"),
        ];
        let theirs: Vec<(String, String, u64)> = guest_file(&guest, "proc/net/netlink")
            .lines()
            .skip(1)
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let (_, name) = names.iter().find(|(number, _)| words[1] == number.to_string()).unwrap();
                ((*name).to_owned(), words[2].to_owned(), words[9].parse().unwrap())
            })
            .collect();
        let triple = |socket: &&Socket| Some((socket.protocol.clone()?, socket.local.clone().ok()?, socket.inode?));
        same(&format!("{shown}: netlink"), filtered, of("netlink", "").iter().map(triple).collect(), theirs);
        assert!(of("netlink", "").len() > 5, "{shown}");
        // Flags (4), type, state, inode, perhaps a path.
        let mut theirs: Vec<(u64, &str, bool, Option<String>)> = Vec::new();
        let text = guest_file(&guest, "proc/net/unix");
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let kind = ["", "stream", "dgram", "", "", "seqpacket"][words[4].parse::<usize>().unwrap()];
            let path = words.get(7).map(|path| (*path).to_owned());
            theirs.push((words[6].parse().unwrap(), kind, words[3] == "00010000", path));
        }
        let of_unix = of("UNIX", "");
        let ours = of_unix
            .iter()
            .map(|socket| {
                let listens = socket.state? == "LISTEN";
                let read = socket.local.is_ok() || socket.local == Err("it has no name");
                Some((socket.inode.filter(|_| read)?, socket.protocol.as_deref()?, listens, socket.local.clone().ok()))
            })
            .collect();
        same(&format!("{shown}: unix"), filtered, ours, theirs);
        // The guest leaves one connection to port 8080 unaccepted, and holds one unread.
        let waiting = unheld.iter().filter(|socket| {
            socket.local.as_deref() == Ok("127.0.0.1:8080")
                && socket.holder.as_ref().unwrap_err().contains("not yet accepted")
        });
        assert_eq!(waiting.count(), 1, "{shown}");
        assert!(unheld.iter().all(|socket| !socket.holder.as_ref().unwrap_err().is_empty()));
    }
}
