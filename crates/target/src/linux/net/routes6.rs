//! Routes of IPv6: a tree of bits (net/ipv6/ip6_fib.c) for each table.
//!
//! *Trap*: an inner node without a route of its own points to one of a node below it all the same; only those that are
//! marked (`RTN_RTINFO`) have their own.

use super::routes::{Hop, NOT_HERE, Route, kind, protocol};
use crate::linux::Linux;
use std::collections::HashSet;

/// Nodes of one tree at most.
const MOST: usize = 4 << 20;

impl Linux {
    pub(super) fn ipv6_routes(
        &self,
        space: u64,
        namespace: Option<u32>,
        routes: &mut Vec<Route>,
        remarks: &mut Vec<String>,
    ) -> Result<(), String> {
        // `FIB6_TABLE_HASHSZ` (include/net/ip6_fib.h): 256 with rules (CONFIG_IPV6_MULTIPLE_TABLES), else 1.
        let tables = if self.offset("net", "ipv6.fib6_rules_ops").is_ok() { 256 } else { 1 };
        let hash = self.offset("net", "ipv6.fib_table_hash")?;
        let hash = self.word(space.wrapping_add(hash)).filter(|at| *at != 0);
        let hash = hash.ok_or("the tables of IPv6 routes of a namespace are not in the dump, or IPv6 is not loaded")?;
        let root = self.offset("fib6_table", "tb6_root")?;
        // What stands where there is no route.
        let null = self.offset("net", "ipv6.fib6_null_entry").ok().and_then(|at| self.word(space.wrapping_add(at)));
        let mut seen = HashSet::new();
        for place in 0..tables {
            let head = hash.wrapping_add(8 * place);
            for table in self.hlist(head, "fib6_table", "tb6_hlist", "the list of IPv6 routing tables", remarks)? {
                let id = self.value(table, "fib6_table", "tb6_id").map(|id| id as u32);
                for first in self.fib6_leaves(table.wrapping_add(root), remarks)? {
                    for info in self.linked(first, "fib6_info", "fib6_next", "a list of IPv6 routes", remarks)? {
                        if Some(info) != null && seen.insert(info) {
                            self.ipv6_route(info, id, namespace, routes);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The first route of each node that has some, in the order of addresses.
    fn fib6_leaves(&self, root: u64, remarks: &mut Vec<String>) -> Result<Vec<u64>, String> {
        const OWN_ROUTE: u64 = 4;
        let below = ["left", "right", "subtree"].map(|member| self.offset("fib6_node", member).ok());
        self.offset("fib6_node", "leaf")?;
        let (mut leaves, mut lost) = (Vec::new(), 0u64);
        let mut seen = HashSet::new();
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            if node == 0 {
                continue;
            }
            if !seen.insert(node) || seen.len() > MOST {
                remarks.push("a tree of IPv6 routes runs in a circle".into());
                break;
            }
            let leaf = self.pointer(node, "fib6_node", "leaf");
            match self.value(node, "fib6_node", "fn_flags").zip(leaf) {
                Some((flags, leaf)) if flags & OWN_ROUTE != 0 && leaf != 0 => leaves.push(leaf),
                Some(_) => {}
                None => {
                    lost += 1;
                    continue;
                }
            }
            for offset in below.iter().rev().flatten() {
                match self.word(node.wrapping_add(*offset)) {
                    Some(next) => open.push(next),
                    None => lost += 1,
                }
            }
        }
        if lost > 0 {
            remarks.push(format!("{lost} nodes of IPv6 routes are not in the dump"));
        }
        Ok(leaves)
    }

    fn ipv6_route(&self, info: u64, table: Option<u32>, namespace: Option<u32>, routes: &mut Vec<Route>) {
        let member = |name: &str| self.value(info, "fib6_info", name);
        let network = |name: &str| {
            let address = self.ipv6_at(info.wrapping_add(self.offset("fib6_info", &format!("{name}.addr")).ok()?))?;
            let prefix = member(&format!("{name}.plen")).filter(|prefix| *prefix <= 128)?;
            Some((address, prefix))
        };
        let hops = match self.pointer(info, "fib6_info", "nh").filter(|at| *at != 0) {
            Some(shared) => self.hops_of_object(shared, 0),
            None => match self.offset("fib6_info", "fib6_nh") {
                Ok(place) => vec![self.hop(info.wrapping_add(place))],
                Err(_) => vec![Hop::none(NOT_HERE)],
            },
        };
        for hop in hops {
            routes.push(Route {
                namespace,
                family: "IPv6",
                table,
                destination: network("fib6_dst").map(|(address, prefix)| format!("{address}/{prefix}")),
                gateway: hop.gateway,
                interface: hop.interface,
                source: match network("fib6_prefsrc") {
                    None => Err(NOT_HERE),
                    Some((_, 0)) => Err("it prefers none"),
                    Some((address, _)) => Ok(address.to_string()),
                },
                metric: member("fib6_metric").map(|metric| metric as u32),
                kind: member("fib6_type").map(kind),
                scope: Err("routes of IPv6 have no scope"),
                protocol: member("fib6_protocol").map(protocol),
                flags: hop.flags,
            });
        }
    }
}
