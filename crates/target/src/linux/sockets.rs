//! Sockets: those that processes hold a descriptor of, with their addresses and states.
//!
//! *Trap*: `skc_state` means what it says for TCP only. Other protocols borrow its numbers: a bound UDP socket is in TCP's
//! state "close", which ss(8) calls UNCONN.

use super::kernel::Linux;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

const UNIX: u64 = 1;
const INET: u64 = 2;
const INET6: u64 = 10;
const NETLINK: u64 = 16;
const PACKET: u64 = 17;

/// A socket of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Process id.
    pub pid: u32,
    /// Descriptor.
    pub fd: u32,
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
}

impl Linux {
    /// All sockets that processes (or one process) hold, by process and descriptor; and what was wrong on the way.
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
        let mut sockets = Vec::new();
        let remarks = self.each_file(pid, |linux, pid, fd, file, missing| {
            let Some(own) = linux.pointer(file, "file", "f_op") else {
                missing.note("an open file is not in the dump; it may be a socket", pid);
                return;
            };
            let is_socket = match operations {
                Some(operations) => own == operations,
                None => linux.is_socket(file) == Some(true),
            };
            if is_socket {
                let socket = linux.socket(pid, fd, file);
                if socket.family.is_none() {
                    missing.note("a socket cannot be read", pid);
                }
                sockets.push(socket);
            }
        })?;
        Ok((sockets, remarks))
    }

    fn is_socket(&self, file: u64) -> Option<bool> {
        let block = self.pointer(self.pointer(file, "file", "f_inode")?, "inode", "i_sb")?;
        Some(self.file_system_of(block)? == "sockfs")
    }

    fn socket(&self, pid: u32, fd: u32, file: u64) -> Socket {
        const NOT_HERE: &str = "its struct sock is not in the dump";
        let inode = self.pointer(file, "file", "f_inode").and_then(|inode| self.pointer(inode, "inode", "i_ino"));
        let mut socket = Socket {
            pid,
            fd,
            sock: 0,
            inode,
            family: None,
            protocol: None,
            local: Err(NOT_HERE),
            remote: Err(NOT_HERE),
            state: None,
        };
        let sock = self.pointer(file, "file", "private_data").and_then(|socket| self.pointer(socket, "socket", "sk"));
        let Some(sock) = sock.filter(|sock| *sock != 0) else { return socket };
        socket.sock = sock;
        let Some(family) = self.value(sock, "sock", "__sk_common.skc_family") else { return socket };
        let protocol = self.value(sock, "sock", "sk_protocol");
        let kind = self.value(sock, "sock", "sk_type");
        let state = self.value(sock, "sock", "__sk_common.skc_state");
        let tcp = matches!(family, INET | INET6) && kind == Some(1);
        socket.family = Some(family_name(family));
        socket.state = state.and_then(|state| state_name(state, tcp));
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

/// By include/linux/socket.h.
fn family_name(family: u64) -> String {
    match family {
        UNIX => "UNIX",
        INET => "IPv4",
        INET6 => "IPv6",
        NETLINK => "netlink",
        PACKET => "packet",
        15 => "key",
        21 => "rds",
        29 => "can",
        30 => "tipc",
        31 => "bluetooth",
        38 => "alg",
        40 => "vsock",
        44 => "xdp",
        other => return other.to_string(),
    }
    .to_owned()
}

/// By include/linux/net.h.
fn type_name(kind: u64) -> String {
    match kind {
        1 => "stream",
        2 => "dgram",
        3 => "raw",
        4 => "rdm",
        5 => "seqpacket",
        other => return other.to_string(),
    }
    .to_owned()
}

/// By include/uapi/linux/in.h.
fn inet_protocol(kind: u64, protocol: u64) -> String {
    match (kind, protocol) {
        (3, _) => "raw",
        (_, 1) => "ICMP",
        (_, 6) => "TCP",
        (_, 17) => "UDP",
        (_, 33) => "DCCP",
        (_, 58) => "ICMPv6",
        (_, 132) => "SCTP",
        (_, 136) => "UDPLITE",
        (_, 262) => "MPTCP",
        (_, other) => return other.to_string(),
    }
    .to_owned()
}

/// By include/uapi/linux/netlink.h.
fn netlink_protocol(protocol: u64) -> String {
    match protocol {
        0 => "route",
        2 => "usersock",
        4 => "sock_diag",
        5 => "nflog",
        6 => "xfrm",
        7 => "selinux",
        8 => "iscsi",
        9 => "audit",
        10 => "fib_lookup",
        11 => "connector",
        12 => "netfilter",
        15 => "kobject_uevent",
        16 => "generic",
        18 => "scsitransport",
        20 => "rdma",
        21 => "crypto",
        other => return other.to_string(),
    }
    .to_owned()
}

/// By include/net/tcp_states.h.
fn state_name(state: u64, tcp: bool) -> Option<&'static str> {
    Some(match state {
        1 => "ESTABLISHED",
        2 => "SYN_SENT",
        3 => "SYN_RECV",
        4 => "FIN_WAIT1",
        5 => "FIN_WAIT2",
        6 => "TIME_WAIT",
        7 if tcp => "CLOSE",
        8 => "CLOSE_WAIT",
        9 => "LAST_ACK",
        10 => "LISTEN",
        11 => "CLOSING",
        12 => "NEW_SYN_RECV",
        13 => "BOUND_INACTIVE",
        0 | 7 => "UNCONN",
        _ => return None,
    })
}
