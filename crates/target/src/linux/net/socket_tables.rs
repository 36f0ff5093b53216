//! The kernel's own tables of sockets: what `/proc/net/tcp` and its like list, whether a process holds it or not.
//!
//! *Trap*: not everything in the table of TCP connections is a `struct sock`. A connection that is just being made is a
//! `request_sock`, one that has ended an `inet_timewait_sock`; only their heads (`sock_common`) are alike.

use crate::linux::Linux;
use std::collections::HashSet;

/// Places of a table at most.
const MOST_PLACES: u64 = 4 << 20;
/// Sockets of all tables at most.
const MOST: usize = 8 << 20;

/// A walk through one kind of table; what breaks on the way goes to the last one.
type Walk = fn(&Linux, &mut Found, &mut Vec<String>) -> Result<(), String>;

/// What has been found so far.
struct Found {
    /// Addresses of `sock_common`, in the order of the tables.
    sockets: Vec<u64>,
    seen: HashSet<u64>,
    spaces: Vec<u64>,
    /// The same, to look them up: there may be tens of thousands.
    known: HashSet<u64>,
    lost: Vec<(&'static str, u64)>,
    wrong: Vec<(&'static str, u64)>,
}

impl Linux {
    /// All sockets in the kernel's tables.
    pub(super) fn sockets_of_tables(&self, spaces: &[u64], remarks: &mut Vec<String>) -> Vec<u64> {
        let mut found = Found {
            sockets: Vec::new(),
            seen: HashSet::new(),
            spaces: spaces.to_vec(),
            known: spaces.iter().copied().collect(),
            lost: Vec::new(),
            wrong: Vec::new(),
        };
        let mut walks = Vec::new();
        let steps: [(&str, Walk); 6] = [
            ("TCP", Self::tcp_sockets),
            ("UDP", Self::udp_sockets),
            ("raw sockets", Self::raw_sockets),
            ("UNIX sockets", Self::unix_sockets),
            ("netlink", Self::netlink_sockets),
            ("packet sockets", Self::packet_sockets),
        ];
        for (name, step) in steps {
            if let Err(why) = step(self, &mut found, &mut walks) {
                remarks.push(format!("the kernel's table of {name} is not read: {why}"));
            }
        }
        // Many short lists may break in the same way.
        const SHOWN: usize = 4;
        let more = walks.len().saturating_sub(SHOWN);
        remarks.extend(walks.into_iter().take(SHOWN));
        if more > 0 {
            remarks.push(format!("{more} more lists of sockets break"));
        }
        remarks.extend(
            found.lost.iter().map(|(what, count)| format!("places of {what} that are not in the dump: {count}")),
        );
        let wrong = found.wrong.iter();
        remarks.extend(
            wrong.map(|(what, count)| {
                format!("entries of {what} that are left out, since they are no sockets: {count}")
            }),
        );
        found.sockets
    }

    /// Takes what a table holds, if it can be a socket of one of `families` in a known namespace.
    fn take(&self, found: &mut Found, what: &'static str, sockets: Vec<u64>, families: &[u64]) {
        let spaces = self.offset("sock_common", "skc_net.net").is_ok();
        for at in sockets {
            let family = self.value(at, "sock_common", "skc_family");
            let space = self.pointer(at, "sock_common", "skc_net.net");
            let right = family.is_some_and(|family| families.contains(&family))
                && (!spaces || space.is_some_and(|space| found.known.contains(&space)));
            if !right {
                count(&mut found.wrong, what, 1);
            } else if found.sockets.len() < MOST && found.seen.insert(at) {
                found.sockets.push(at);
            }
        }
    }

    /// Addresses of the heads of lists that are not empty, in an array of `places` elements of `each` bytes.
    fn heads(&self, found: &mut Found, what: &'static str, at: u64, places: u64, each: u64) -> Vec<u64> {
        const BLOCK: u64 = 1 << 16;
        if places > MOST_PLACES || each == 0 || !each.is_multiple_of(8) || each > 256 {
            count(&mut found.wrong, what, places);
            return Vec::new();
        }
        let (mut heads, mut lost) = (Vec::new(), 0);
        let step = each / 8;
        let mut place = 0;
        while place < places {
            let here = BLOCK.min(places - place);
            let start = at.wrapping_add(place.wrapping_mul(each));
            let firsts = self.words(start, here.saturating_sub(1).saturating_mul(step) + 1);
            for (index, first) in firsts.into_iter().step_by(step as usize).enumerate() {
                match first {
                    None => lost += 1,
                    // The end of a list is 0, or odd.
                    Some(first) if first == 0 || first & 1 == 1 => {}
                    Some(_) => heads.push(start.wrapping_add(each.wrapping_mul(index as u64))),
                }
            }
            place += here;
        }
        if lost > 0 {
            count(&mut found.lost, what, lost);
        }
        heads
    }

    fn tcp_sockets(&self, found: &mut Found, walks: &mut Vec<String>) -> Result<(), String> {
        const WHAT: &str = "the table of TCP connections";
        // One for all namespaces, and since 6.1 perhaps one for each.
        let mut tables: Vec<u64> = self.symbols.address("tcp_hashinfo").into_iter().collect();
        if let Ok(place) = self.offset("net", "ipv4.tcp_death_row.hashinfo") {
            let own = found.spaces.iter().filter_map(|space| self.word(space.wrapping_add(place)));
            tables.extend(own.filter(|table| *table != 0));
        }
        tables.sort_unstable();
        tables.dedup();
        if tables.is_empty() {
            return Err("kallsyms has no symbol tcp_hashinfo".into());
        }
        let each = self.size("inet_ehash_bucket")?;
        for table in tables {
            self.tcp_listeners(found, table, walks)?;
            let at = self.pointer(table, "inet_hashinfo", "ehash").filter(|at| *at != 0);
            let mask = self.int(table, "inet_hashinfo", "ehash_mask");
            let (at, mask) = at.zip(mask).ok_or("its place is not in the dump")?;
            for head in self.heads(found, WHAT, at, mask.saturating_add(1), each) {
                let place = head.wrapping_sub(at) / each;
                let chain = self.hlist(head, "sock_common", "skc_nulls_node", "a list of TCP connections", walks)?;
                // Each has the hash of its place.
                let (right, wrong): (Vec<u64>, Vec<u64>) = chain.into_iter().partition(|socket| {
                    self.int(*socket, "sock_common", "skc_hash").is_some_and(|hash| hash & mask == place)
                });
                if !wrong.is_empty() {
                    count(&mut found.wrong, WHAT, wrong.len() as u64);
                }
                self.take(found, WHAT, right, &[2, 10]);
            }
        }
        Ok(())
    }

    fn tcp_listeners(&self, found: &mut Found, table: u64, walks: &mut Vec<String>) -> Result<(), String> {
        const WHAT: &str = "the table of TCP listeners";
        let each = self.size("inet_listen_hashbucket")?;
        let head = self.offset("inet_listen_hashbucket", "nulls_head");
        let head = head.or_else(|_| self.offset("inet_listen_hashbucket", "head"))?;
        // Up to 5.17 there were two tables; this one had all listeners.
        let (at, places) = match self.offset("inet_hashinfo", "listening_hash") {
            Ok(inside) => {
                let places = self.elements("inet_hashinfo", "listening_hash").unwrap_or(32);
                (table.wrapping_add(inside), places)
            }
            Err(_) => {
                let at = self.pointer(table, "inet_hashinfo", "lhash2").filter(|at| *at != 0);
                let mask = self.int(table, "inet_hashinfo", "lhash2_mask");
                let (at, mask) = at.zip(mask).ok_or("its place is not in the dump")?;
                (at, mask.saturating_add(1))
            }
        };
        for head in self.heads(found, WHAT, at.wrapping_add(head), places, each) {
            let chain = self.hlist(head, "sock_common", "skc_nulls_node", "a list of TCP listeners", walks)?;
            self.take(found, WHAT, chain, &[2, 10]);
        }
        Ok(())
    }

    fn udp_sockets(&self, found: &mut Found, walks: &mut Vec<String>) -> Result<(), String> {
        const WHAT: &str = "the table of UDP";
        let known = ["udp_table", "udplite_table"].into_iter().filter_map(|name| self.symbols.address(name));
        let mut tables: Vec<u64> = known.collect();
        // Since 6.2 a namespace may have its own.
        if let Ok(place) = self.offset("net", "ipv4.udp_table") {
            let own = found.spaces.iter().filter_map(|space| self.word(space.wrapping_add(place)));
            tables.extend(own.filter(|table| *table != 0));
        }
        tables.sort_unstable();
        tables.dedup();
        let (each, head) = (self.size("udp_hslot")?, self.offset("udp_hslot", "head")?);
        if tables.is_empty() {
            return Err("kallsyms has no symbol udp_table".into());
        }
        for table in tables {
            let at = self.pointer(table, "udp_table", "hash").filter(|at| *at != 0);
            let mask = self.int(table, "udp_table", "mask");
            let (at, mask) = at.zip(mask).ok_or("its place is not in the dump")?;
            for head in self.heads(found, WHAT, at.wrapping_add(head), mask.saturating_add(1), each) {
                let chain = self.hlist(head, "sock_common", "skc_node", "a list of UDP sockets", walks)?;
                self.take(found, WHAT, chain, &[2, 10]);
            }
        }
        Ok(())
    }

    /// Raw sockets, and those of ping(8) that need no privilege.
    fn raw_sockets(&self, found: &mut Found, walks: &mut Vec<String>) -> Result<(), String> {
        const WHAT: &str = "the table of raw sockets";
        let tables = [
            ("raw_v4_hashinfo", "raw_hashinfo", "ht"),
            ("raw_v6_hashinfo", "raw_hashinfo", "ht"),
            ("ping_table", "ping_table", "hash"),
        ];
        let mut last = Ok(());
        for (symbol, structure, member) in tables {
            let place = self.symbol(symbol).and_then(|at| Ok(at.wrapping_add(self.offset(structure, member)?)));
            let (at, places) = match place.map(|at| (at, self.elements(structure, member))) {
                Ok((at, Some(places))) => (at, places),
                // A kernel without IPv6 has but one, and what is in a module has no symbol here.
                Ok((_, None)) => continue,
                Err(why) => {
                    last = if symbol == "raw_v4_hashinfo" { Err(why) } else { last };
                    continue;
                }
            };
            for head in self.heads(found, WHAT, at, places, 8) {
                let chain = self.hlist(head, "sock_common", "skc_node", "a list of raw sockets", walks)?;
                self.take(found, WHAT, chain, &[2, 10]);
            }
        }
        last
    }

    fn unix_sockets(&self, found: &mut Found, walks: &mut Vec<String>) -> Result<(), String> {
        const WHAT: &str = "the table of UNIX sockets";
        /// Twice `UNIX_HASH_SIZE` of 256: those with a name, then those without; a table a namespace has as many.
        const PLACES: u64 = 512;
        let mut tables = Vec::new();
        match self.offset("net", "unx.table.buckets") {
            Ok(place) => {
                let own = found.spaces.iter().filter_map(|space| self.word(space.wrapping_add(place)));
                tables.extend(own.filter(|table| *table != 0));
            }
            Err(_) => tables.push(self.symbol("unix_socket_table")?),
        }
        for at in tables {
            for head in self.heads(found, WHAT, at, PLACES, 8) {
                let chain = self.hlist(head, "sock_common", "skc_node", "a list of UNIX sockets", walks)?;
                self.take(found, WHAT, chain, &[1]);
            }
        }
        Ok(())
    }

    fn netlink_sockets(&self, found: &mut Found, walks: &mut Vec<String>) -> Result<(), String> {
        const WHAT: &str = "a table of netlink";
        /// `MAX_LINKS` (include/uapi/linux/netlink.h).
        const PROTOCOLS: u64 = 32;
        let tables = self.symbol("nl_table").and_then(|at| self.word(at).ok_or("it is not in the dump".into()))?;
        let (each, hash) = (self.size("netlink_table")?, self.offset("netlink_table", "hash")?);
        let node = self.offset("netlink_sock", "node")?;
        for protocol in 0..PROTOCOLS {
            let table = tables.wrapping_add(each.wrapping_mul(protocol)).wrapping_add(hash);
            let sockets = self.rhashtable(found, WHAT, table, walks)?;
            self.take(found, WHAT, sockets.into_iter().map(|at| at.wrapping_sub(node)).collect(), &[16]);
        }
        Ok(())
    }

    /// The `rhash_head`s in a table that grows by itself (lib/rhashtable.c).
    fn rhashtable(
        &self,
        found: &mut Found,
        what: &'static str,
        table: u64,
        walks: &mut Vec<String>,
    ) -> Result<Vec<u64>, String> {
        let start = self.offset("bucket_table", "buckets")?;
        let mut heads = Vec::new();
        let mut next = self.pointer(table, "rhashtable", "tbl").unwrap_or(0);
        // While it grows there is a second one.
        for _ in 0..4 {
            if next == 0 {
                break;
            }
            let buckets = next;
            let size = self.value(buckets, "bucket_table", "size");
            let nested = self.value(buckets, "bucket_table", "nest").unwrap_or(0);
            let Some(size) = size.filter(|size| *size <= MOST_PLACES && nested == 0) else {
                count(&mut found.lost, what, 1);
                break;
            };
            for first in self.words(buckets.wrapping_add(start), size) {
                // The lowest bit is a lock.
                match first.map(|first| first & !1) {
                    None => count(&mut found.lost, what, 1),
                    Some(0) => {}
                    Some(first) => {
                        heads.push(first);
                        heads.extend(self.hlist(first, "rhash_head", "next", "a list of netlink sockets", walks)?);
                    }
                }
            }
            next = self.pointer(buckets, "bucket_table", "future_tbl").unwrap_or(0);
        }
        Ok(heads)
    }

    fn packet_sockets(&self, found: &mut Found, walks: &mut Vec<String>) -> Result<(), String> {
        let place = self.offset("net", "packet.sklist")?;
        for space in found.spaces.clone() {
            let head = space.wrapping_add(place);
            let chain = self.hlist(head, "sock_common", "skc_node", "the list of packet sockets", walks)?;
            self.take(found, "the list of packet sockets", chain, &[17]);
        }
        Ok(())
    }

    /// Sockets that a listener has, but that nobody accepted yet.
    pub(super) fn not_accepted(&self, listener: u64) -> Vec<u64> {
        const MOST_WAITING: usize = 1 << 20;
        let path = "icsk_accept_queue.rskq_accept_head";
        let mut waiting = Vec::new();
        let mut seen = HashSet::new();
        let mut at = self.pointer(listener, "inet_connection_sock", path).unwrap_or(0);
        while at != 0 && seen.insert(at) && waiting.len() < MOST_WAITING {
            waiting.extend(self.pointer(at, "request_sock", "sk").filter(|socket| *socket != 0));
            at = self.pointer(at, "request_sock", "dl_next").unwrap_or(0);
        }
        waiting
    }
}

fn count(counts: &mut Vec<(&'static str, u64)>, what: &'static str, more: u64) {
    match counts.iter_mut().find(|(own, _)| *own == what) {
        Some((_, count)) => *count = count.saturating_add(more),
        None => counts.push((what, more)),
    }
}
