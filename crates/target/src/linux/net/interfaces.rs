//! Network interfaces: what `ip -s address` shows, for every namespace.
//!
//! *Trap*: each driver counts in its own way. Where the kernel's common code does the sums (`dev_get_stats`,
//! net/core/dev.c), they are done here; where the driver has a function of its own, the numbers lie in its private
//! structures and are missing, with that function's name.

use super::spaces::words;
use crate::linux::Linux;

/// `IFF_*` (include/uapi/linux/if.h) that are kept; those that are computed are added.
const FLAGS: [(u64, &str); 19] = [
    (1, "UP"),
    (2, "BROADCAST"),
    (4, "DEBUG"),
    (8, "LOOPBACK"),
    (0x10, "POINTOPOINT"),
    (0x20, "NOTRAILERS"),
    (0x40, "RUNNING"),
    (0x80, "NOARP"),
    (0x100, "PROMISC"),
    (0x200, "ALLMULTI"),
    (0x400, "MASTER"),
    (0x800, "SLAVE"),
    (0x1000, "MULTICAST"),
    (0x2000, "PORTSEL"),
    (0x4000, "AUTOMEDIA"),
    (0x8000, "DYNAMIC"),
    (0x1_0000, "LOWER_UP"),
    (0x2_0000, "DORMANT"),
    (0x4_0000, "ECHO"),
];
const UP: u64 = 1;
const RUNNING: u64 = 0x40;
const LOWER_UP: u64 = 0x1_0000;
const DORMANT: u64 = 0x2_0000;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInterface {
    /// Address of its `struct net_device`.
    pub device: u64,
    /// Number of its namespace, as `net:[4026531840]` has it.
    pub namespace: Option<u32>,
    /// Index.
    pub index: Option<u32>,
    /// Name.
    pub name: Option<String>,
    /// Kind of hardware, as `ether`, `loopback`.
    pub hardware: Option<String>,
    /// Kind of link, as `dummy`, `veth`, `bridge`; why there is none.
    pub kind: Result<String, &'static str>,
    /// Hardware address; why there is none.
    pub mac: Result<String, &'static str>,
    /// Longest packet.
    pub mtu: Option<u32>,
    /// Flags as words, `|` between them.
    pub flags: Option<String>,
    /// State, as `/sys/class/net/NAME/operstate` has it.
    pub state: Option<&'static str>,
    /// How often something asked to hear all packets.
    pub promiscuity: Option<u32>,
    /// Its master (bridge, bond); why there is none.
    pub master: Result<String, &'static str>,
    /// What it stands on (of a VLAN, MACVLAN, bridge, bond), blanks between them; why there is nothing.
    pub lower: Result<String, &'static str>,
    /// IPv4 addresses with the length of their prefixes, blanks between them; why there are none.
    pub ipv4: Result<String, &'static str>,
    /// IPv6 addresses.
    pub ipv6: Result<String, &'static str>,
    /// Bytes and packets received, bytes and packets sent.
    pub counts: [Result<u64, String>; 4],
}

impl Linux {
    /// The network interfaces of all namespaces; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn network_interfaces(&self) -> Result<(Vec<NetworkInterface>, Vec<String>), String> {
        let mut remarks = Vec::new();
        let mut interfaces = Vec::new();
        let cpus = self.possible_cpus();
        for space in self.net_spaces(&mut remarks)? {
            let namespace = self.space_number(space);
            for device in self.devices(space, &mut remarks)? {
                interfaces.push(self.interface(device, namespace, &cpus, &mut remarks));
            }
        }
        Ok((interfaces, remarks))
    }

    fn interface(
        &self,
        device: u64,
        namespace: Option<u32>,
        cpus: &[u32],
        remarks: &mut Vec<String>,
    ) -> NetworkInterface {
        let number = |member| self.value(device, "net_device", member).map(|number| number as u32);
        let (flags, state) = self.interface_flags(device);
        let (master, lower) = self.neighbours_of_device(device, remarks);
        NetworkInterface {
            device,
            namespace,
            index: number("ifindex"),
            name: self.device_name(device),
            hardware: number("type").map(hardware),
            kind: self.link_kind(device),
            mac: self.device_mac(device),
            mtu: number("mtu"),
            flags,
            state,
            promiscuity: number("promiscuity"),
            master,
            lower,
            ipv4: self.ipv4_addresses(device, remarks),
            ipv6: self.ipv6_addresses(device, remarks),
            counts: self.counts(device, cpus),
        }
    }

    /// As `dev_get_flags` gives them, but for PROMISC and ALLMULTI: here they stand whoever asked for them, a listening
    /// socket too, and not only an administrator.
    fn interface_flags(&self, device: u64) -> (Option<String>, Option<&'static str>) {
        const STATES: [&str; 7] = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"];
        const UNKNOWN_STATE: u64 = 0;
        const UP_STATE: u64 = 6;
        let operating = self.value(device, "net_device", "operstate");
        let link = self.pointer(device, "net_device", "state");
        let bit = |name: &str, number: i64| {
            let number = self.enumerator(name).unwrap_or(number);
            link.map(|link| link >> (number & 63) & 1 == 1)
        };
        let started = bit("__LINK_STATE_START", 0);
        let flags = self.int(device, "net_device", "flags").map(|flags| {
            let mut flags = flags & !(RUNNING | LOWER_UP | DORMANT);
            if started == Some(true) {
                let running = operating.is_some_and(|state| state == UNKNOWN_STATE || state == UP_STATE);
                flags |= if running { RUNNING } else { 0 };
                flags |= if bit("__LINK_STATE_NOCARRIER", 2) == Some(false) { LOWER_UP } else { 0 };
                flags |= if bit("__LINK_STATE_DORMANT", 4) == Some(true) { DORMANT } else { 0 };
            }
            flags
        });
        let state = match flags {
            Some(flags) if flags & UP == 0 => Some("down"),
            _ => operating.and_then(|state| STATES.get(state as usize).copied()),
        };
        (flags.map(|flags| words(flags, &FLAGS)), state)
    }

    fn link_kind(&self, device: u64) -> Result<String, &'static str> {
        const NOT_HERE: &str = "the driver's structure with it is not in the dump";
        match self.pointer(device, "net_device", "rtnl_link_ops").ok_or(NOT_HERE)? {
            0 => Err("its driver has no kind of link: hardware, or the kernel's own"),
            operations => {
                let name = self.pointer(operations, "rtnl_link_ops", "kind").and_then(|at| self.text(at, 32));
                name.filter(|name| !name.is_empty()).ok_or(NOT_HERE)
            }
        }
    }

    /// The hardware address: until 5.16 a pointer to bytes that might lie elsewhere, since then always to its own.
    pub(super) fn device_mac(&self, device: u64) -> Result<String, &'static str> {
        const NOT_HERE: &str = "its net_device is not in the dump";
        const LONGEST: u64 = 32;
        let len = self.value(device, "net_device", "addr_len").ok_or(NOT_HERE)?.min(LONGEST);
        if len == 0 {
            return Err("its kind of link has no addresses");
        }
        let at = self.pointer(device, "net_device", "dev_addr").ok_or(NOT_HERE)?;
        let bytes = self.bytes(at, len as usize);
        if bytes.len() as u64 == len { Ok(mac(&bytes)) } else { Err("its address is not in the dump") }
    }

    /// Its master, and what it stands on.
    fn neighbours_of_device(
        &self,
        device: u64,
        remarks: &mut Vec<String>,
    ) -> (Result<String, &'static str>, Result<String, &'static str>) {
        const NOT_HERE: &str = "the kernel's list of it cannot be read";
        let names = |list: &str, masters: bool, remarks: &mut Vec<String>| {
            let head = device.wrapping_add(self.offset("net_device", list).ok()?);
            let all = self.list(head, "netdev_adjacent", "list", "the list of stacked interfaces", remarks).ok()?;
            let wanted = |one: &u64| !masters || self.value(*one, "netdev_adjacent", "master") == Some(1);
            let names: Vec<String> = all
                .into_iter()
                .filter(wanted)
                .filter_map(|one| self.device_name(self.pointer(one, "netdev_adjacent", "dev")?))
                .collect();
            Some(names.join(" "))
        };
        let said = |names: Option<String>, none| match names {
            None => Err(NOT_HERE),
            Some(names) if names.is_empty() => Err(none),
            Some(names) => Ok(names),
        };
        let master = names("adj_list.upper", true, remarks);
        let lower = names("adj_list.lower", false, remarks);
        (said(master, "it has no master"), said(lower, "it stands on no other interface"))
    }

    fn ipv4_addresses(&self, device: u64, remarks: &mut Vec<String>) -> Result<String, &'static str> {
        const NOT_HERE: &str = "its in_device is not in the dump";
        let own = self.pointer(device, "net_device", "ip_ptr").ok_or(NOT_HERE)?;
        if own == 0 {
            return Err("IPv4 is not set up on it");
        }
        let first = self.pointer(own, "in_device", "ifa_list").ok_or(NOT_HERE)?;
        let all = self.linked(first, "in_ifaddr", "ifa_next", "a list of IPv4 addresses", remarks);
        let shown = |at: u64| {
            let address = self.ipv4_at(at.wrapping_add(self.offset("in_ifaddr", "ifa_local").ok()?))?;
            let prefix = self.value(at, "in_ifaddr", "ifa_prefixlen").filter(|prefix| *prefix <= 32)?;
            Some(format!("{address}/{prefix}"))
        };
        let texts: Vec<String> = all.map_err(|_| NOT_HERE)?.into_iter().filter_map(shown).collect();
        match (texts.is_empty(), first) {
            (false, _) => Ok(texts.join(" ")),
            (true, 0) => Err("it has no IPv4 address"),
            (true, _) => Err("its addresses cannot be read"),
        }
    }

    fn ipv6_addresses(&self, device: u64, remarks: &mut Vec<String>) -> Result<String, &'static str> {
        const NOT_HERE: &str = "its inet6_dev is not in the dump, or IPv6 was not built in";
        let own = self.pointer(device, "net_device", "ip6_ptr").ok_or(NOT_HERE)?;
        if own == 0 {
            return Err("IPv6 is not set up on it");
        }
        let head = own.wrapping_add(self.offset("inet6_dev", "addr_list").map_err(|_| NOT_HERE)?);
        let all = self.list(head, "inet6_ifaddr", "if_list", "a list of IPv6 addresses", remarks);
        let all = all.map_err(|_| NOT_HERE)?;
        let shown = |at: u64| {
            let address = self.ipv6_at(at.wrapping_add(self.offset("inet6_ifaddr", "addr").ok()?))?;
            let prefix = self.value(at, "inet6_ifaddr", "prefix_len").filter(|prefix| *prefix <= 128)?;
            Some(format!("{address}/{prefix}"))
        };
        let count = all.len();
        let texts: Vec<String> = all.into_iter().filter_map(shown).collect();
        match (texts.is_empty(), count) {
            (false, _) => Ok(texts.join(" ")),
            (true, 0) => Err("it has no IPv6 address"),
            (true, _) => Err("its addresses cannot be read"),
        }
    }

    /// Bytes and packets received and sent, as `dev_get_stats` sums them up.
    fn counts(&self, device: u64, cpus: &[u32]) -> [Result<u64, String>; 4] {
        const NOT_HERE: &str = "its counters are not in the dump";
        let all = |why: &str| [(); 4].map(|()| Err(why.to_owned()));
        let Some(operations) = self.pointer(device, "net_device", "netdev_ops").filter(|at| *at != 0) else {
            return all("its net_device is not in the dump");
        };
        let call = |member| self.pointer(operations, "net_device_ops", member).filter(|at| *at != 0);
        // Both are of the kernel, so a kernel that has not the one has the other.
        let named = call("ndo_get_stats64").or_else(|| call("ndo_get_stats"));
        let function = named.map(|at| self.function_at(at).map_or_else(|| format!("{at:#x}"), |(name, _)| name));
        let sum = |structure: &str, pointer: &str, member: &str| {
            let base = self.pointer(device, "net_device", pointer).filter(|at| *at != 0)?;
            let member = self.offset(structure, member).ok()?;
            let one = |cpu: &u32| self.word(self.per_cpu(*cpu, base)?.wrapping_add(member));
            let counts: Option<Vec<u64>> = cpus.iter().map(one).collect();
            counts.filter(|counts| !counts.is_empty()).map(|counts| counts.into_iter().fold(0, u64::wrapping_add))
        };
        let said = |count: Option<u64>| count.ok_or_else(|| NOT_HERE.to_owned());
        let own = |member: &str| self.pointer(device, "net_device", &format!("stats.{member}"));
        let both = |structure: &str, pointer: &str| {
            ["rx_bytes", "rx_packets", "tx_bytes", "tx_packets"].map(|member| {
                let sum = sum(structure, pointer, member);
                said(sum.zip(own(member)).map(|(sum, own)| sum.wrapping_add(own)))
            })
        };
        let light = |member| said(sum("pcpu_lstats", "lstats", member));
        // `enum netdev_stat_type`: what the common code adds up by itself, since 6.9.
        let kind = self.value(device, "net_device", "pcpu_stat_type").map(|kind| kind as i64);
        let is = |name: &str| kind.is_some() && kind == self.enumerator(name);
        match function.as_deref() {
            Some("loopback_get_stats64") => [light("bytes"), light("packets"), light("bytes"), light("packets")],
            // Sends only; what it is sent is dropped.
            Some("dummy_get_stats64") => {
                [said(own("rx_bytes")), said(own("rx_packets")), light("bytes"), light("packets")]
            }
            Some("dev_get_tstats64" | "ip_tunnel_get_stats64" | "tun_net_get_stats64") => {
                both("pcpu_sw_netstats", "tstats")
            }
            Some(function) => all(&format!("its driver counts in structures of its own ({function})")),
            None if is("NETDEV_PCPU_STAT_TSTATS") => both("pcpu_sw_netstats", "tstats"),
            None if is("NETDEV_PCPU_STAT_DSTATS") => both("pcpu_dstats", "dstats"),
            None => ["rx_bytes", "rx_packets", "tx_bytes", "tx_packets"].map(|member| said(own(member))),
        }
    }
}

/// Bytes with colons.
pub(super) fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// By include/uapi/linux/if_arp.h.
fn hardware(kind: u32) -> String {
    match kind {
        1 => "ether",
        24 => "ieee1394",
        32 => "infiniband",
        256 => "slip",
        280 => "can",
        512 => "ppp",
        768 => "ipip",
        769 => "ip6tnl",
        772 => "loopback",
        776 => "sit",
        778 => "gre",
        801 => "ieee80211",
        803 => "ieee80211_radiotap",
        823 => "gre6",
        824 => "netlink",
        825 => "6lowpan",
        65534 => "none",
        65535 => "void",
        other => return other.to_string(),
    }
    .to_owned()
}
