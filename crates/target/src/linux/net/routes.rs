//! Routes of IPv4: every table of every namespace, as `ip route show table all` shows them.
//!
//! They lie in a compressed trie (net/ipv4/fib_trie.c): a `key_vector` with bits is an inner node with two to the power of
//! its bits children, one without is a leaf with a list of `fib_alias`, one for each length of prefix.
//!
//! *Trap*: until somebody adds rules, the tables 254 (main) and 255 (local) share one trie; which of them a route is of
//! says its alias.

use crate::linux::Linux;
use std::collections::HashSet;

/// Nodes of one trie at most: the whole internet's table has about a million routes.
const MOST: usize = 8 << 20;
/// Children of one node at most.
const MOST_BITS: u64 = 20;

/// A route, one for each of its next hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Number of its network namespace.
    pub namespace: Option<u32>,
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
    /// Table: 254 is main, 255 local.
    pub table: Option<u32>,
    /// Where to, with the length of the prefix: `0.0.0.0/0` is the default route.
    pub destination: Option<String>,
    /// By way of; why there is none.
    pub gateway: Result<String, &'static str>,
    /// Interface; why there is none.
    pub interface: Result<String, &'static str>,
    /// Address that packets are sent from; why there is none.
    pub source: Result<String, &'static str>,
    /// Metric; the lowest is taken.
    pub metric: Option<u32>,
    /// Kind, as `unicast`, `local`, `blackhole`.
    pub kind: Option<String>,
    /// Scope, as `global`, `link`, `host`; why there is none.
    pub scope: Result<String, &'static str>,
    /// Who made it, as `kernel`, `boot`, `static`, `dhcp`.
    pub protocol: Option<String>,
    /// Flags of the next hop, as `dead`, `linkdown`, `onlink`; empty for none.
    pub flags: Option<String>,
}

/// A node that is still to be visited: where, and its number among the children of a node with this position and bits.
struct Child {
    at: Option<u64>,
    slot: Option<(u32, u64, u64)>,
}

pub(super) const NOT_HERE: &str = "the kernel's structure with it is not in the dump";

/// What a next hop says.
pub(super) struct Hop {
    pub(super) gateway: Result<String, &'static str>,
    pub(super) interface: Result<String, &'static str>,
    pub(super) flags: Option<String>,
}

impl Hop {
    pub(super) fn none(why: &'static str) -> Self {
        Self { gateway: Err(why), interface: Err(why), flags: None }
    }
}

impl Linux {
    /// The routes of all namespaces; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn routes(&self) -> Result<(Vec<Route>, Vec<String>), String> {
        let mut remarks = Vec::new();
        let mut routes = Vec::new();
        for space in self.net_spaces(&mut remarks)? {
            let namespace = self.space_number(space);
            for found in [
                self.ipv4_routes(space, namespace, &mut routes, &mut remarks),
                self.ipv6_routes(space, namespace, &mut routes, &mut remarks),
            ] {
                if let Err(why) = found
                    && !remarks.contains(&why)
                {
                    remarks.push(why);
                }
            }
        }
        Ok((routes, remarks))
    }

    fn ipv4_routes(
        &self,
        space: u64,
        namespace: Option<u32>,
        routes: &mut Vec<Route>,
        remarks: &mut Vec<String>,
    ) -> Result<(), String> {
        // `FIB_TABLE_HASHSZ` (include/net/ip_fib.h): 256 with rules (CONFIG_IP_MULTIPLE_TABLES), else 2.
        let tables = if self.offset("net", "ipv4.rules_ops").is_ok() { 256 } else { 2 };
        let hash = self.offset("net", "ipv4.fib_table_hash")?;
        let hash = self.word(space.wrapping_add(hash)).filter(|at| *at != 0);
        let hash = hash.ok_or("the tables of IPv4 routes of a namespace are not in the dump")?;
        let (root, child) = (self.offset("trie", "kv")?, self.offset("key_vector", "tnode")?);
        let mut tries = HashSet::new();
        for place in 0..tables {
            let head = hash.wrapping_add(8 * place);
            for table in self.hlist(head, "fib_table", "tb_hlist", "the list of IPv4 routing tables", remarks)? {
                let Some(trie) = self.pointer(table, "fib_table", "tb_data").filter(|at| *at != 0) else {
                    remarks.push(format!("the IPv4 routing table at {table:#x} is not in the dump"));
                    continue;
                };
                if tries.insert(trie) {
                    let first = self.word(trie.wrapping_add(root).wrapping_add(child));
                    for (leaf, key) in self.trie(first, remarks)? {
                        self.leaf(leaf, key, namespace, routes, remarks)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The leaves of a trie with their keys, in the order of addresses.
    fn trie(&self, first: Option<u64>, remarks: &mut Vec<String>) -> Result<Vec<(u64, u32)>, String> {
        let child = self.offset("key_vector", "tnode")?;
        let mut leaves = Vec::new();
        let (mut lost, mut wrong) = (0u64, 0u64);
        let mut seen = HashSet::new();
        // Each has to be where its key says.
        let mut open = vec![Child { at: first, slot: None }];
        while let Some(Child { at, slot }) = open.pop() {
            let Some(at) = at else {
                lost += 1;
                continue;
            };
            if at == 0 {
                continue;
            }
            let member = |name| self.value(at, "key_vector", name);
            let Some(((key, position), bits)) = member("key").zip(member("pos")).zip(member("bits")) else {
                lost += 1;
                continue;
            };
            let key = key as u32;
            let right = slot.is_none_or(|(index, position, bits)| {
                u64::from(key) >> position & ((1 << bits) - 1) == u64::from(index)
            });
            if !right || position > 32 || bits > MOST_BITS || position + bits > 32 || !seen.insert(at) {
                wrong += 1;
                continue;
            }
            if seen.len() > MOST {
                remarks.push(format!("there are more than {MOST} nodes of IPv4 routes: those behind are not read"));
                break;
            }
            if bits == 0 {
                leaves.push((at, key));
                continue;
            }
            let children = self.words(at.wrapping_add(child), 1 << bits);
            let slots = children.into_iter().enumerate().rev();
            open.extend(slots.map(|(index, at)| Child { at, slot: Some((index as u32, position, bits)) }));
        }
        if lost > 0 {
            remarks.push(format!("{lost} nodes of IPv4 routes are not in the dump"));
        }
        if wrong > 0 {
            remarks.push(format!("{wrong} nodes of IPv4 routes make no sense and are left out"));
        }
        Ok(leaves)
    }

    fn leaf(
        &self,
        leaf: u64,
        key: u32,
        namespace: Option<u32>,
        routes: &mut Vec<Route>,
        remarks: &mut Vec<String>,
    ) -> Result<(), String> {
        let head = leaf.wrapping_add(self.offset("key_vector", "leaf")?);
        for alias in self.hlist(head, "fib_alias", "fa_list", "a list of IPv4 routes", remarks)? {
            let member = |name| self.value(alias, "fib_alias", name);
            let prefix = member("fa_slen").filter(|suffix| *suffix <= 32).map(|suffix| 32 - suffix);
            let info = self.pointer(alias, "fib_alias", "fa_info").filter(|at| *at != 0);
            let of_info = |name| info.and_then(|info| self.value(info, "fib_info", name));
            let source =
                info.and_then(|info| self.ipv4_at(info.wrapping_add(self.offset("fib_info", "fib_prefsrc").ok()?)));
            let route = Route {
                namespace,
                family: "IPv4",
                table: member("tb_id").map(|id| id as u32),
                destination: prefix.map(|prefix| format!("{}/{prefix}", std::net::Ipv4Addr::from(key))),
                gateway: Err(NOT_HERE),
                interface: Err(NOT_HERE),
                source: match source {
                    None => Err(NOT_HERE),
                    Some(source) if source.is_unspecified() => Err("it prefers none"),
                    Some(source) => Ok(source.to_string()),
                },
                metric: of_info("fib_priority").map(|metric| metric as u32),
                kind: member("fa_type").map(kind),
                scope: of_info("fib_scope").map(scope).ok_or(NOT_HERE),
                protocol: of_info("fib_protocol").map(protocol),
                flags: None,
            };
            let hops = info.map(|info| self.hops_of_info(info)).unwrap_or_default();
            if hops.is_empty() {
                routes.push(route);
                continue;
            }
            for hop in hops {
                let (gateway, interface, flags) = (hop.gateway, hop.interface, hop.flags);
                routes.push(Route { gateway, interface, flags, ..route.clone() });
            }
        }
        Ok(())
    }

    /// The next hops of an IPv4 route: its own, or those of an object that several routes share (since 5.3).
    fn hops_of_info(&self, info: u64) -> Vec<Hop> {
        const MOST_HOPS: u64 = 256;
        if let Some(shared) = self.pointer(info, "fib_info", "nh").filter(|at| *at != 0) {
            return self.hops_of_object(shared, 0);
        }
        let place = self.offset("fib_info", "fib_nh").ok().zip(self.size("fib_nh").ok());
        let Some(((place, each), count)) = place.zip(self.value(info, "fib_info", "fib_nhs")) else {
            return Vec::new();
        };
        let one = |index: u64| self.hop(info.wrapping_add(place).wrapping_add(each.wrapping_mul(index)));
        (0..count.min(MOST_HOPS)).map(one).collect()
    }

    /// The next hops of a `struct nexthop`, which may be a group of others.
    pub(super) fn hops_of_object(&self, object: u64, depth: u32) -> Vec<Hop> {
        const MOST_HOPS: u64 = 256;
        let lost = || vec![Hop::none(NOT_HERE)];
        let Some(group) = self.value(object, "nexthop", "is_group") else { return lost() };
        let Some(inside) = self.pointer(object, "nexthop", "nh_info").filter(|at| *at != 0) else { return lost() };
        if group == 0 {
            let Ok(common) = self.offset("nh_info", "fib_nhc") else { return lost() };
            return vec![self.hop(inside.wrapping_add(common))];
        }
        let place = self.offset("nh_group", "nh_entries").ok().zip(self.size("nh_grp_entry").ok());
        let Some(((place, each), count)) = place.zip(self.value(inside, "nh_group", "num_nh")) else { return lost() };
        if depth > 1 {
            // Groups hold no groups.
            return vec![Hop::none("its group of next hops makes no sense")];
        }
        let entry = |index: u64| inside.wrapping_add(place).wrapping_add(each.wrapping_mul(index));
        let objects = (0..count.min(MOST_HOPS)).filter_map(|index| self.pointer(entry(index), "nh_grp_entry", "nh"));
        objects.flat_map(|object| self.hops_of_object(object, depth + 1)).collect()
    }

    /// One `struct fib_nh_common`, with which `fib_nh` and `fib6_nh` begin.
    pub(super) fn hop(&self, at: u64) -> Hop {
        const INET: u64 = 2;
        const INET6: u64 = 10;
        let gateway = |at: u64| self.offset("fib_nh_common", "nhc_gw").ok().map(|offset| at.wrapping_add(offset));
        let gateway = match self.value(at, "fib_nh_common", "nhc_gw_family") {
            None => Err(NOT_HERE),
            Some(0) => Err("what it leads to is reached directly"),
            Some(INET) => gateway(at).and_then(|at| self.ipv4_at(at)).map(|at| at.to_string()).ok_or(NOT_HERE),
            Some(INET6) => gateway(at).and_then(|at| self.ipv6_at(at)).map(|at| at.to_string()).ok_or(NOT_HERE),
            Some(_) => Err("its gateway is of an unknown family"),
        };
        let interface = match self.pointer(at, "fib_nh_common", "nhc_dev") {
            None => Err(NOT_HERE),
            Some(0) => Err("it leads to no interface"),
            Some(device) => self.device_name(device).ok_or(NOT_HERE),
        };
        // `RTNH_F_*` (include/uapi/linux/rtnetlink.h).
        const FLAGS: [(u64, &str); 7] = [
            (1, "dead"),
            (2, "pervasive"),
            (4, "onlink"),
            (8, "offload"),
            (16, "linkdown"),
            (32, "unresolved"),
            (64, "trap"),
        ];
        let flags = self.value(at, "fib_nh_common", "nhc_flags").map(|flags| super::spaces::words(flags, &FLAGS));
        Hop { gateway, interface, flags }
    }
}

/// `RTN_*` (include/uapi/linux/rtnetlink.h).
pub(super) fn kind(kind: u64) -> String {
    let names = [
        "unspec",
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
        "nat",
        "xresolve",
    ];
    names.get(kind as usize).map_or_else(|| kind.to_string(), |name| (*name).to_owned())
}

/// `RT_SCOPE_*`, as ip(8) names them.
fn scope(scope: u64) -> String {
    match scope {
        0 => "global".into(),
        200 => "site".into(),
        253 => "link".into(),
        254 => "host".into(),
        255 => "nowhere".into(),
        other => other.to_string(),
    }
}

/// `RTPROT_*`, as ip(8) names them.
pub(super) fn protocol(protocol: u64) -> String {
    match protocol {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        17 => "mrouted",
        18 => "keepalived",
        42 => "babel",
        99 => "openr",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        other => return other.to_string(),
    }
    .to_owned()
}
