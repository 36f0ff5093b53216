//! Neighbours: which hardware address an IP address had on its link, as `ip neighbour` shows it (ARP and NDP).

use super::interfaces::mac;
use super::spaces::words;
use crate::linux::Linux;

/// Places of a table at most.
const MOST_BITS: u64 = 20;

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Address of its `struct neighbour`.
    pub at: u64,
    /// Number of its network namespace.
    pub namespace: Option<u32>,
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
    /// Its address.
    pub address: Option<String>,
    /// Its hardware address; why there is none.
    pub mac: Result<String, &'static str>,
    /// Interface that it is seen on.
    pub interface: Option<String>,
    /// What the kernel knows of it, as `REACHABLE`, `STALE`, `PERMANENT`.
    pub state: Option<String>,
}

impl Linux {
    /// The neighbours of all namespaces; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn neighbours(&self) -> Result<(Vec<Neighbour>, Vec<String>), String> {
        self.offset("neigh_table", "nht")?;
        let mut remarks = Vec::new();
        let mut neighbours = Vec::new();
        for (name, family) in [("arp_tbl", "IPv4"), ("nd_tbl", "IPv6")] {
            let found = self.symbol(name).and_then(|table| self.neighbours_of(table, family, &mut remarks));
            match found {
                Ok(found) => neighbours.extend(found),
                Err(why) => remarks.push(format!("neighbours of {family} are not read: {why}")),
            }
        }
        Ok((neighbours, remarks))
    }

    fn neighbours_of(
        &self,
        table: u64,
        family: &'static str,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<Neighbour>, String> {
        let hash = self.pointer(table, "neigh_table", "nht").filter(|at| *at != 0);
        let hash = hash.ok_or("their table is not in the dump")?;
        let bits = self.value(hash, "neigh_hash_table", "hash_shift").ok_or("their table is not in the dump")?;
        if bits > MOST_BITS {
            return Err("their table makes no sense".into());
        }
        let what = format!("a list of {family} neighbours");
        let mut found = Vec::new();
        // Lists with a bare next pointer up to 6.12, of the usual kind since.
        let own = self.pointer(hash, "neigh_hash_table", "hash_buckets");
        let usual = own.or_else(|| self.pointer(hash, "neigh_hash_table", "hash_heads"));
        let places = usual.filter(|at| *at != 0).ok_or("their table is not in the dump")?;
        for (index, first) in (0u64..).zip(self.words(places, 1 << bits)) {
            match (first, own.is_some()) {
                (None, _) => {
                    let text = format!("part of the table of {family} neighbours is not in the dump");
                    if remarks.last() != Some(&text) {
                        remarks.push(text);
                    }
                }
                (Some(0), _) => {}
                (Some(first), true) => found.extend(self.linked(first, "neighbour", "next", &what, remarks)?),
                (Some(_), false) => {
                    let head = places.wrapping_add(8 * index);
                    found.extend(self.hlist(head, "neighbour", "hash", &what, remarks)?);
                }
            }
        }
        // Each leads back to its table.
        let before = found.len();
        found.retain(|at| self.pointer(*at, "neighbour", "tbl") == Some(table));
        if found.len() < before {
            remarks.push(format!("{} {family} neighbours make no sense and are left out", before - found.len()));
        }
        Ok(found.into_iter().map(|at| self.neighbour(at, family)).collect())
    }

    fn neighbour(&self, at: u64, family: &'static str) -> Neighbour {
        /// `NUD_*` (include/uapi/linux/neighbour.h).
        const STATES: [(u64, &str); 8] = [
            (1, "INCOMPLETE"),
            (2, "REACHABLE"),
            (4, "STALE"),
            (8, "DELAY"),
            (16, "PROBE"),
            (32, "FAILED"),
            (64, "NOARP"),
            (128, "PERMANENT"),
        ];
        /// `NUD_VALID`: states in which the hardware address counts.
        const VALID: u64 = 0xde;
        const NOT_HERE: &str = "its structure is not in the dump";
        let key = self.offset("neighbour", "primary_key").ok().map(|offset| at.wrapping_add(offset));
        let address = key.and_then(|key| {
            Some(if family == "IPv4" { self.ipv4_at(key)?.to_string() } else { self.ipv6_at(key)?.to_string() })
        });
        let device = self.pointer(at, "neighbour", "dev").filter(|at| *at != 0);
        let state = self.value(at, "neighbour", "nud_state");
        let len = device.and_then(|device| self.value(device, "net_device", "addr_len"));
        let mac = match (state, len) {
            (None, _) | (_, None) => Err(NOT_HERE),
            (_, Some(0)) => Err("its kind of link has no addresses"),
            (Some(state), _) if state & VALID == 0 => Err("it is not known (yet)"),
            (_, Some(len)) => {
                let len = len.min(self.elements("neighbour", "ha").unwrap_or(32)) as usize;
                let bytes = self.offset("neighbour", "ha").ok().map(|offset| self.bytes(at.wrapping_add(offset), len));
                bytes.filter(|bytes| bytes.len() == len).map(|bytes| mac(&bytes)).ok_or(NOT_HERE)
            }
        };
        let space = device.and_then(|device| self.pointer(device, "net_device", "nd_net.net"));
        Neighbour {
            at,
            namespace: space.and_then(|space| self.space_number(space)),
            family,
            address,
            mac,
            interface: device.and_then(|device| self.device_name(device)),
            state: state.map(|state| if state == 0 { "NONE".to_owned() } else { words(state, &STATES) }),
        }
    }
}
