//! The network of a Linux machine: interfaces, routes, neighbours.

use super::files::{not_here, rows};
use super::linux;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError};
use afterimage_target::Target;

row! {
    /// The network interfaces of a Linux machine, of every network namespace, as `ip -s address` shows them.
    NetworkInterfaceRow {
        /// Number of its network namespace, as `net:[4026531840]` has it.
        namespace: Field<u32>,
        /// Index; each namespace counts for itself.
        index: Field<u32>,
        /// Name.
        name: Field<String>,
        /// Kind of hardware, as `ether`, `loopback`, `none`.
        hardware: Field<String>,
        /// Kind of link, as `dummy`, `veth`, `bridge`, `vlan`.
        kind: Field<String>,
        /// Hardware address.
        mac: Field<String>,
        /// Longest packet, in bytes.
        mtu: Field<u32>,
        /// Flags, as `UP|BROADCAST|RUNNING`; `PROMISC` whoever asked for it, a listening program too.
        flags: Field<String>,
        /// State, as `/sys/class/net/NAME/operstate` has it: `up`, `down`, `unknown`.
        state: Field<&'static str>,
        /// How often something asked to hear all packets, also those to others.
        promiscuity: Field<u32>,
        /// The bridge or bond that it belongs to.
        master: Field<String>,
        /// The interfaces that it stands on (VLAN, MACVLAN, bridge, bond), blanks between them.
        lower: Field<String>,
        /// IPv4 addresses with the length of their prefixes, blanks between them.
        ipv4: Field<String>,
        /// IPv6 addresses with the length of their prefixes, blanks between them.
        ipv6: Field<String>,
        /// Bytes received.
        rx_bytes: Field<u64>,
        /// Packets received.
        rx_packets: Field<u64>,
        /// Bytes sent.
        tx_bytes: Field<u64>,
        /// Packets sent.
        tx_packets: Field<u64>,
        /// Where the kernel's `struct net_device` lies.
        address: Addr,
    }
}

row! {
    /// The routes of a Linux machine, of every network namespace and table, a row for each next hop.
    RouteRow {
        /// Number of its network namespace.
        namespace: Field<u32>,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Table: 254 is main, 255 local.
        table: Field<u32>,
        /// Where to, with the length of the prefix; `0.0.0.0/0` and `::/0` are default routes.
        destination: Field<String>,
        /// By way of.
        gateway: Field<String>,
        /// Interface.
        interface: Field<String>,
        /// Address that packets are sent from.
        source: Field<String>,
        /// Metric; the lowest is taken.
        metric: Field<u32>,
        /// Kind: `unicast`, `local`, `broadcast`, `multicast`, `blackhole`, `unreachable`, `prohibit`.
        kind: Field<String>,
        /// Scope: `global`, `link`, `host`.
        scope: Field<String>,
        /// Who made it: `kernel`, `boot` (by hand), `static`, `dhcp`, `ra`, `bird`.
        protocol: Field<String>,
        /// Flags of the next hop: `dead`, `linkdown`, `onlink`; empty for none.
        flags: Field<String>,
    }
}

row! {
    /// The neighbours of a Linux machine: hardware addresses of IP addresses on its links (ARP, NDP).
    NeighbourRow {
        /// Number of its network namespace.
        namespace: Field<u32>,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Its address.
        address: Field<String>,
        /// Its hardware address.
        mac: Field<String>,
        /// Interface that it is seen on.
        interface: Field<String>,
        /// What the kernel knows of it: `REACHABLE`, `STALE`, `FAILED`, `PERMANENT`, `NOARP`.
        state: Field<String>,
    }
}

pub(crate) fn network_interfaces(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.network_interfaces(), sink, |one| {
        let [rx_bytes, rx_packets, tx_bytes, tx_packets] = one.counts.map(|count| count.map_err(Absent::because));
        NetworkInterfaceRow {
            namespace: one.namespace.ok_or_else(not_here),
            index: one.index.ok_or_else(not_here),
            name: one.name.ok_or_else(not_here),
            hardware: one.hardware.ok_or_else(not_here),
            kind: one.kind.map_err(Absent::because),
            mac: one.mac.map_err(Absent::because),
            mtu: one.mtu.ok_or_else(not_here),
            flags: one.flags.ok_or_else(not_here),
            state: one.state.ok_or_else(not_here),
            promiscuity: one.promiscuity.ok_or_else(not_here),
            master: one.master.map_err(Absent::because),
            lower: one.lower.map_err(Absent::because),
            ipv4: one.ipv4.map_err(Absent::because),
            ipv6: one.ipv6.map_err(Absent::because),
            rx_bytes,
            rx_packets,
            tx_bytes,
            tx_packets,
            address: Addr(one.device),
        }
    });
    Ok(())
}

pub(crate) fn routes(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.routes(), sink, |route| RouteRow {
        namespace: route.namespace.ok_or_else(not_here),
        family: route.family,
        table: route.table.ok_or_else(not_here),
        destination: route.destination.ok_or_else(not_here),
        gateway: route.gateway.map_err(Absent::because),
        interface: route.interface.map_err(Absent::because),
        source: route.source.map_err(Absent::because),
        metric: route.metric.ok_or_else(not_here),
        kind: route.kind.ok_or_else(not_here),
        scope: route.scope.map_err(Absent::because),
        protocol: route.protocol.ok_or_else(not_here),
        flags: route.flags.ok_or_else(not_here),
    });
    Ok(())
}

pub(crate) fn neighbours(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows(linux.neighbours(), sink, |one| NeighbourRow {
        namespace: one.namespace.ok_or_else(not_here),
        family: one.family,
        address: one.address.ok_or_else(not_here),
        mac: one.mac.map_err(Absent::because),
        interface: one.interface.ok_or_else(not_here),
        state: one.state.ok_or_else(not_here),
    });
    Ok(())
}
