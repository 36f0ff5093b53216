//! What the numbers of sockets mean: families, types, protocols, states.

/// By include/linux/socket.h.
pub(super) fn family_name(family: u64) -> String {
    match family {
        1 => "UNIX",
        2 => "IPv4",
        10 => "IPv6",
        16 => "netlink",
        17 => "packet",
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
pub(super) fn type_name(kind: u64) -> String {
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
pub(super) fn inet_protocol(kind: u64, protocol: u64) -> String {
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
pub(super) fn netlink_protocol(protocol: u64) -> String {
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
pub(super) fn state_name(state: u64, tcp: bool) -> Option<&'static str> {
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
