//! Sockets: those that processes hold a descriptor of, and those that only the kernel's own tables know, with their
//! addresses, states and queues.
//!
//! *Trap*: `skc_state` means what it says for TCP only. Other protocols borrow its numbers: a bound UDP socket is in TCP's
//! state "close", which ss(8) calls UNCONN.

use super::socket_names::{family_name, inet_protocol, netlink_protocol, state_name, type_name};
use super::spaces::DeviceNames;
use crate::linux::{Linux, Process};
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

const UNIX: u64 = 1;
const INET: u64 = 2;
const INET6: u64 = 10;
const NETLINK: u64 = 16;
const PACKET: u64 = 17;
const NOT_HERE: &str = "its struct sock is not in the dump";

/// A socket: one for each descriptor of it, and one where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Who has a descriptor of it; why nobody has.
    pub holder: Result<SocketHolder, &'static str>,
    /// Address of its `struct sock`; 0 where it has none any more.
    pub sock: u64,
    /// Number of its inode, as `socket:[123]` has it.
    pub inode: Option<u64>,
    /// Family: `IPv4`, `IPv6`, `UNIX`, `netlink`, `packet`, …
    pub family: Option<String>,
    /// Protocol: `TCP`, `UDP`, `raw`; of UNIX and packet sockets their type, as `stream`; of netlink its own, as `route`.
    pub protocol: Option<String>,
    /// Local address; why there is none.
    pub local: Result<String, &'static str>,
    /// The other side's address; why there is none.
    pub remote: Result<String, &'static str>,
    /// State, as `LISTEN`.
    pub state: Option<&'static str>,
    /// User id of its inode's owner, and without an inode of who made it.
    pub uid: Option<u32>,
    /// Number of its network namespace, as `net:[4026531840]` has it.
    pub namespace: Option<u32>,
    /// Bytes that wait to be read; of one that listens, connections that wait to be accepted.
    pub rx_queue: Option<u64>,
    /// Bytes that are not sent, or not yet acknowledged.
    pub tx_queue: Option<u64>,
    /// Interface that it is bound to; why there is none.
    pub interface: Result<String, &'static str>,
}

/// Who has a descriptor of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketHolder {
    /// Process id.
    pub pid: u32,
    /// The process's short name; `None` where the page with it is not in the dump.
    pub comm: Option<String>,
    /// Descriptor.
    pub fd: u32,
}

const TIME_WAIT: u64 = 6;
const LISTEN: u64 = 10;
const NEW_SYN_RECV: u64 = 12;

/// What is looked up for many sockets.
#[derive(Default)]
struct Known {
    names: DeviceNames,
    not_accepted: HashSet<u64>,
}

impl Socket {
    /// One of which nothing is known.
    fn unread() -> Self {
        Self {
            holder: Err(NOT_HERE),
            sock: 0,
            inode: None,
            family: None,
            protocol: None,
            local: Err(NOT_HERE),
            remote: Err(NOT_HERE),
            state: None,
            uid: None,
            namespace: None,
            rx_queue: None,
            tx_queue: None,
            interface: Err(NOT_HERE),
        }
    }
}

impl Linux {
    /// All sockets: those that processes (or one process) hold, by process and descriptor, and behind them, if all are
    /// asked for, those of the kernel's tables that no descriptor leads to; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn sockets(&self, pid: Option<u32>) -> Result<(Vec<Socket>, Vec<String>), String> {
        for member in ["__sk_common.skc_family", "__sk_common.skc_state", "sk_protocol", "sk_type"] {
            self.offset("sock", member)?;
        }
        self.offset("socket", "sk")?;
        // A kernel without the names of its data (arm64 before 6.4) knows sockets by their file system.
        let operations = self.symbols.address("socket_file_ops");
        let mut net_remarks = Vec::new();
        let spaces = self.net_spaces(&mut net_remarks).unwrap_or_else(|why| {
            net_remarks.push(format!("sockets that no process holds are not read: {why}"));
            Vec::new()
        });
        let names = self.device_names(&spaces, &mut net_remarks);
        let mut known = Known { names, ..Known::default() };
        let mut sockets = Vec::new();
        let mut remarks = self.each_file(pid, |linux, process, fd, file, missing| {
            let Some(own) = linux.pointer(file, "file", "f_op") else {
                missing.note("an open file is not in the dump; it may be a socket", process.pid);
                return;
            };
            let is_socket = match operations {
                Some(operations) => own == operations,
                None => linux.is_socket(file) == Some(true),
            };
            if is_socket {
                let socket = linux.socket_of_file(process, fd, file, &known);
                if socket.family.is_none() {
                    missing.note("a socket cannot be read", process.pid);
                }
                sockets.push(socket);
            }
        })?;
        if pid.is_none() && !spaces.is_empty() {
            let held: HashSet<u64> = sockets.iter().map(|socket| socket.sock).collect();
            let tables = self.sockets_of_tables(&spaces, &mut net_remarks);
            let listens = |at: &&u64| self.value(**at, "sock_common", "skc_state") == Some(LISTEN);
            let families = |at: &&u64| self.value(**at, "sock_common", "skc_family").is_some_and(|own| own != UNIX);
            let listeners = tables.iter().filter(listens).filter(families);
            known.not_accepted = listeners.flat_map(|at| self.not_accepted(*at)).collect();
            let others = tables.into_iter().filter(|at| !held.contains(at));
            sockets.extend(others.map(|at| self.socket_of_table(at, &known)));
        }
        remarks.extend(net_remarks);
        Ok((sockets, remarks))
    }

    pub(in crate::linux) fn is_socket(&self, file: u64) -> Option<bool> {
        let block = self.pointer(self.pointer(file, "file", "f_inode")?, "inode", "i_sb")?;
        Some(self.file_system_of(block)? == "sockfs")
    }

    fn socket_of_file(&self, process: &Process, fd: u32, file: u64, known: &Known) -> Socket {
        let sock = self.pointer(file, "file", "private_data").and_then(|socket| self.pointer(socket, "socket", "sk"));
        let mut socket = self.socket(sock.filter(|sock| *sock != 0), known);
        socket.holder = Ok(SocketHolder { pid: process.pid, comm: process.comm.clone(), fd });
        let inode = self.pointer(file, "file", "f_inode");
        socket.inode = inode.and_then(|inode| self.pointer(inode, "inode", "i_ino"));
        let owner = inode.and_then(|inode| self.int(inode, "inode", "i_uid"));
        socket.uid = owner.map(|uid| uid as u32).or(socket.uid);
        socket
    }

    /// A socket that no descriptor leads to, and why.
    fn socket_of_table(&self, at: u64, known: &Known) -> Socket {
        match self.value(at, "sock_common", "skc_state") {
            Some(TIME_WAIT) => return self.ended_connection(at, known),
            Some(NEW_SYN_RECV) => return self.new_connection(at, known),
            _ => {}
        }
        let mut socket = self.socket(Some(at), known);
        let behind = self.pointer(at, "sock", "sk_socket");
        let dead = self.enumerator("SOCK_DEAD").zip(self.pointer(at, "sock_common", "skc_flags"));
        let dead = dead.is_some_and(|(bit, flags)| flags >> (bit & 63) & 1 == 1);
        socket.holder = Err(match behind {
            None => NOT_HERE,
            Some(0) if known.not_accepted.contains(&at) => "no process holds it: it is not yet accepted",
            Some(0) if dead => "no process holds it any more: it is being closed",
            Some(0) => "no process holds it: not yet accepted, or the kernel's own",
            // Of a process it would be a file, and no process has that.
            Some(behind) => match self.pointer(behind, "socket", "file") {
                Some(0) => "no process holds it: it is the kernel's own",
                _ => "no descriptor of it was found: it is on its way in a message, or its process cannot be read",
            },
        });
        if let Some(behind) = behind.filter(|behind| *behind != 0) {
            socket.inode = self.pointer(behind, "socket_alloc", "vfs_inode.i_ino");
            let owner = self.int(behind, "socket_alloc", "vfs_inode.i_uid");
            socket.uid = owner.map(|uid| uid as u32).or(socket.uid);
        } else if behind == Some(0) {
            // As /proc/net has it.
            socket.inode = Some(0);
        }
        socket
    }

    /// What is left of a connection that has ended: no `struct sock`, only its head.
    fn ended_connection(&self, at: u64, known: &Known) -> Socket {
        let mut socket = self.head_of_socket(at, known);
        socket.holder = Err("no process holds it: the connection has ended, and its ports wait to be used again");
        let state = self.value(at, "inet_timewait_sock", "tw_substate");
        socket.state = state.and_then(|state| state_name(state, true));
        (socket.rx_queue, socket.tx_queue) = (Some(0), Some(0));
        socket
    }

    /// A connection that is just being made. /proc/net/tcp and ss(8) call its state SYN_RECV.
    fn new_connection(&self, at: u64, known: &Known) -> Socket {
        let mut socket = self.head_of_socket(at, known);
        socket.holder = Err("no process holds it: the other side asked for a connection and has not yet confirmed");
        socket.state = Some("SYN_RECV");
        let listener = self.pointer(at, "sock_common", "skc_listener").filter(|at| *at != 0);
        socket.uid = listener.and_then(|at| self.int(at, "sock", "sk_uid")).map(|uid| uid as u32);
        (socket.rx_queue, socket.tx_queue) = (Some(0), Some(0));
        socket
    }

    /// What `sock_common` says, with which all kinds of TCP's sockets begin.
    fn head_of_socket(&self, at: u64, known: &Known) -> Socket {
        let family = self.value(at, "sock_common", "skc_family");
        let (local, remote) = self.inet_addresses(at, family == Some(INET6));
        Socket {
            sock: at,
            inode: Some(0),
            family: family.map(family_name),
            protocol: Some("TCP".into()),
            local: local.ok_or(NOT_HERE),
            remote: remote.ok_or(NOT_HERE),
            namespace: self.space_of(at).and_then(|space| self.space_number(space)),
            interface: self.bound_interface(at, None, known),
            ..Socket::unread()
        }
    }

    fn space_of(&self, sock: u64) -> Option<u64> {
        match self.offset("sock_common", "skc_net.net") {
            Ok(offset) => self.word(sock.wrapping_add(offset)).filter(|space| *space != 0),
            // A kernel without namespaces has one network.
            Err(_) => self.symbols.address("init_net"),
        }
    }

    /// Of packet sockets their own; others by `SO_BINDTODEVICE`, or a scope.
    fn bound_interface(&self, sock: u64, family: Option<u64>, known: &Known) -> Result<String, &'static str> {
        let index = match family {
            Some(PACKET) => self.int(sock, "packet_sock", "ifindex"),
            _ => self.value(sock, "sock_common", "skc_bound_dev_if"),
        };
        let space = self.space_of(sock).ok_or(NOT_HERE)?;
        match index.ok_or(NOT_HERE)? {
            0 if family == Some(PACKET) => Err("it is bound to no interface: it hears all of its namespace"),
            0 => Err("it is bound to no interface"),
            index => known.names.get(&(space, index as u32)).cloned().ok_or("its namespace has no such interface"),
        }
    }

    fn socket(&self, sock: Option<u64>, known: &Known) -> Socket {
        let Some(sock) = sock else { return Socket::unread() };
        let mut socket = Socket { sock, ..Socket::unread() };
        let Some(family) = self.value(sock, "sock", "__sk_common.skc_family") else { return socket };
        let protocol = self.value(sock, "sock", "sk_protocol");
        let kind = self.value(sock, "sock", "sk_type");
        let state = self.value(sock, "sock", "__sk_common.skc_state");
        let tcp = matches!(family, INET | INET6) && kind == Some(1);
        socket.family = Some(family_name(family));
        socket.state = state.and_then(|state| state_name(state, tcp));
        socket.uid = self.int(sock, "sock", "sk_uid").map(|uid| uid as u32);
        socket.namespace = self.space_of(sock).and_then(|space| self.space_number(space));
        socket.interface = self.bound_interface(sock, Some(family), known);
        (socket.rx_queue, socket.tx_queue) = self.queues(sock, family, tcp, state);
        let kind_name = kind.map(type_name);
        match family {
            INET | INET6 => {
                socket.protocol = kind.zip(protocol).map(|(kind, protocol)| inet_protocol(kind, protocol));
                let (local, remote) = self.inet_addresses(sock, family == INET6);
                (socket.local, socket.remote) = (local.ok_or(NOT_HERE), remote.ok_or(NOT_HERE));
            }
            UNIX => {
                socket.protocol = kind_name;
                (socket.local, socket.remote) = (self.unix_address(sock), self.unix_peer(sock));
            }
            NETLINK => {
                socket.protocol = protocol.map(netlink_protocol);
                let port = |member| self.int(sock, "netlink_sock", member).map(|port| port.to_string());
                socket.local = port("portid").ok_or(NOT_HERE);
                socket.remote = port("dst_portid").ok_or(NOT_HERE);
            }
            PACKET => {
                socket.protocol = kind_name;
                (socket.local, socket.remote) = (Err("it has no address"), Err("it has no address"));
            }
            _ => {
                socket.protocol = kind_name;
                let why = "addresses of its family are not read";
                (socket.local, socket.remote) = (Err(why), Err(why));
            }
        }
        socket
    }

    /// Bytes that wait to be read and to be sent, as /proc/net/tcp and ss(8) count them.
    fn queues(&self, sock: u64, family: u64, tcp: bool, state: Option<u64>) -> (Option<u64>, Option<u64>) {
        // Memory of what is on its way out; the socket itself counts as one.
        let sending = || self.int(sock, "sock", "sk_wmem_alloc").map(|bytes| bytes.saturating_sub(1));
        match (family, state) {
            (INET | INET6, Some(LISTEN)) if tcp => (self.value(sock, "sock", "sk_ack_backlog"), Some(0)),
            (INET | INET6, _) if tcp => {
                // Numbers of bytes, which begin again at 0 behind 4 GiB.
                let between = |last: &str, first: &str| {
                    let (last, first) = (self.int(sock, "tcp_sock", last)?, self.int(sock, "tcp_sock", first)?);
                    let bytes = (last as u32).wrapping_sub(first as u32) as i32;
                    Some(u64::try_from(bytes).unwrap_or(0))
                };
                (between("rcv_nxt", "copied_seq"), between("write_seq", "snd_una"))
            }
            (UNIX, Some(LISTEN)) => (self.int(sock, "sock", "sk_receive_queue.qlen"), Some(0)),
            // What lies there counts for who sent it.
            (UNIX, _) => (self.queued(sock), sending()),
            (_, _) => {
                let waiting = self.int(sock, "sock", "sk_backlog.rmem_alloc").map(|bytes| bytes as u32 as i32);
                // UDP counts in steps what it has already handed over.
                let udp = self.value(sock, "sock", "sk_protocol") == Some(17) && matches!(family, INET | INET6);
                let over =
                    if udp { self.int(sock, "udp_sock", "forward_deficit").unwrap_or(0) as u32 as i32 } else { 0 };
                let waiting = waiting.map(|bytes| u64::try_from(bytes.saturating_sub(over)).unwrap_or(0));
                (waiting, sending())
            }
        }
    }

    /// Bytes in all packets that a socket has received.
    fn queued(&self, sock: u64) -> Option<u64> {
        const MOST_PACKETS: usize = 1 << 16;
        let head = sock.wrapping_add(self.offset("sock", "sk_receive_queue").ok()?);
        let len = self.offset("sk_buff", "len").ok()?;
        let mut bytes = 0u64;
        let mut seen = HashSet::new();
        let mut at = self.word(head)?;
        while at != head && seen.len() < MOST_PACKETS && seen.insert(at) {
            bytes = bytes.saturating_add(self.number(at.wrapping_add(len), 4)?);
            at = self.word(at)?;
        }
        (at == head).then_some(bytes)
    }

    /// Address and port of both sides. A raw socket's local port is its protocol's number, as in `/proc/net/raw`.
    fn inet_addresses(&self, sock: u64, six: bool) -> (Option<String>, Option<String>) {
        let side = |address: &str, address6: &str, port: Option<u64>| {
            let port = u16::try_from(port?).ok()?;
            let at = |member| self.offset("sock_common", member).ok().map(|offset| sock.wrapping_add(offset));
            Some(if six {
                let bytes: [u8; 16] = self.bytes(at(address6)?, 16).try_into().ok()?;
                // Without the scope: `[fe80::1]:22`.
                SocketAddr::from((Ipv6Addr::from(bytes), port)).to_string()
            } else {
                let bytes: [u8; 4] = self.bytes(at(address)?, 4).try_into().ok()?;
                SocketAddrV4::new(Ipv4Addr::from(bytes), port).to_string()
            })
        };
        // The local port is kept in the machine's order, the other one in the network's.
        let own = self.value(sock, "sock_common", "skc_num");
        let other = self.value(sock, "sock_common", "skc_dport").map(|port| u64::from((port as u16).swap_bytes()));
        (side("skc_rcv_saddr", "skc_v6_rcv_saddr", own), side("skc_daddr", "skc_v6_daddr", other))
    }

    /// A UNIX socket's name: a path, or `@name` of an abstract one.
    fn unix_address(&self, sock: u64) -> Result<String, &'static str> {
        const NOT_HERE: &str = "its address is not in the dump";
        const FAMILY: u64 = 2;
        /// `UNIX_PATH_MAX`.
        const LONGEST: u64 = 108;
        let address = self.pointer(sock, "unix_sock", "addr").ok_or(NOT_HERE)?;
        if address == 0 {
            return Err("it has no name");
        }
        let len = self.int(address, "unix_address", "len").ok_or(NOT_HERE)?;
        let name = address.wrapping_add(self.offset("unix_address", "name").map_err(|_| NOT_HERE)? + FAMILY);
        let len = len.checked_sub(FAMILY).filter(|len| *len <= LONGEST + 1).ok_or("its address makes no sense")?;
        let bytes = self.bytes(name, len as usize);
        if bytes.len() as u64 != len {
            return Err(NOT_HERE);
        }
        // An abstract name begins with a zero and may hold more of them; a path ends with one.
        let text = match bytes.split_first() {
            None => return Err("it has no name"),
            Some((0, rest)) => format!("@{}", String::from_utf8_lossy(rest).replace('\0', "@")),
            Some(_) => String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned(),
        };
        Ok(text)
    }

    /// The name of the other side, or `socket:[inode]` where it has none.
    fn unix_peer(&self, sock: u64) -> Result<String, &'static str> {
        const NOT_HERE: &str = "the other side is not in the dump";
        let peer = self.pointer(sock, "unix_sock", "peer").ok_or(NOT_HERE)?;
        if peer == 0 {
            return Err("it is not connected");
        }
        if let Ok(name) = self.unix_address(peer) {
            return Ok(name);
        }
        let socket = self.pointer(peer, "sock", "sk_socket").ok_or(NOT_HERE)?;
        if socket == 0 {
            return Err("the other side has no name, and no process has accepted or still holds it");
        }
        let inode = self.pointer(socket, "socket_alloc", "vfs_inode.i_ino").ok_or(NOT_HERE)?;
        Ok(format!("socket:[{inode}]"))
    }
}
