//! Keys that the kernel keeps, as `/proc/keys` shows them to root; and which keyring holds them.
//!
//! *What it is not*: what a key holds. A key's content is a secret; only its size is read.
//!
//! *Trap*: `/proc/keys` shows each reader the keys that they may see. Here are all, those of other namespaces too.

use crate::linux::Linux;
use crate::linux::walk::tell;
use std::collections::{BTreeMap, HashSet};

/// Bytes of a description at most (`KEY_MAX_DESC_SIZE`).
const MAX_DESCRIPTION: usize = 4096;
/// Nodes of one keyring at most.
const MOST_NODES: usize = 1 << 20;

/// Bits of `key.flags` (include/linux/key.h).
const DEAD: u64 = 1;
const REVOKED: u64 = 1 << 1;
const IN_QUOTA: u64 = 1 << 2;
const USER_CONSTRUCT: u64 = 1 << 3;
const INVALIDATED: u64 = 1 << 5;

/// One key or keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Serial number.
    pub serial: u32,
    /// Address of its `struct key`.
    pub at: u64,
    /// Kind, as `user`, `keyring`, `logon`.
    pub kind: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Permissions: a byte each for possessor, user, group, others.
    pub permissions: Option<u32>,
    /// Letters as in `/proc/keys`: `I` instantiated, `R` revoked, `D` dead, `Q` in quota, `U` under construction, `N`
    /// negative, `i` invalidated.
    pub flags: Option<String>,
    /// When it ends, in seconds since 1970; `Ok(None)` if never.
    pub expiry: Result<Option<i64>, &'static str>,
    /// References to it.
    pub usage: Option<u64>,
    /// Bytes of its content.
    pub payload: Option<u64>,
    /// Of a keyring: keys in it.
    pub links: Option<u64>,
    /// Serial numbers of the keyrings that hold it.
    pub keyrings: Vec<u32>,
}

impl Linux {
    /// All keys, by their serial numbers; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn keys(&self) -> Result<(Vec<Key>, Vec<String>), String> {
        let mut remarks = Vec::new();
        let root = self.symbol("key_serial_tree")?;
        let all = self.tree(root, "key", "serial_node", "the tree of keys", &mut remarks)?;
        let mut holders: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let mut keys = Vec::new();
        for at in all {
            let Some(serial) = self.int(at, "key", "serial").map(|serial| serial as u32) else {
                tell(&mut remarks, || format!("the key at {at:#x} is not in the dump"));
                continue;
            };
            let key = self.key(serial, at);
            if key.kind.as_deref() == Some("keyring") {
                match self.keys_in(at) {
                    Ok(held) => held.into_iter().for_each(|key| holders.entry(key).or_default().push(serial)),
                    Err(why) => tell(&mut remarks, || format!("keyring {serial:08x}: {why}")),
                }
            }
            keys.push(key);
        }
        for key in &mut keys {
            key.keyrings = holders.remove(&key.at).unwrap_or_default();
        }
        keys.sort_by_key(|key| key.serial);
        Ok((keys, remarks))
    }

    fn key(&self, serial: u32, at: u64) -> Key {
        let int = |member: &str| self.int(at, "key", member).map(|value| value as u32);
        let text = |at: Option<u64>, most| at.filter(|at| *at != 0).and_then(|at| self.text(at, most));
        let kind = self.pointer(at, "key", "type").filter(|kind| *kind != 0);
        let kind = text(kind.and_then(|kind| self.pointer(kind, "key_type", "name")), 64);
        let ring = kind.as_deref() == Some("keyring");
        // `state` since 4.15: above 0 is instantiated, below is the error of a negative key.
        let state = int("state").map(|state| i32::from(state as u16 as i16));
        let flags = self.pointer(at, "key", "flags").zip(state).map(|(bits, state)| letters(bits, state));
        let expiry = match self.pointer(at, "key", "expiry").map(|expiry| expiry as i64) {
            None => Err("the key is not in the dump"),
            // Never is 0, and the last second of all since 6.7.
            Some(0 | i64::MAX) => Ok(None),
            Some(expiry) => Ok(Some(expiry)),
        };
        Key {
            serial,
            at,
            description: text(self.pointer(at, "key", "description"), MAX_DESCRIPTION),
            uid: int("uid"),
            gid: int("gid"),
            permissions: int("perm"),
            flags,
            expiry,
            usage: self.int(at, "key", "usage"),
            payload: self.value(at, "key", "datalen"),
            links: if ring { self.pointer(at, "key", "keys.nr_leaves_on_tree") } else { None },
            kind,
            keyrings: Vec::new(),
        }
    }

    /// Addresses of the keys in a keyring: an associative array (lib/assoc_array.c) of nodes, and of shortcuts where a path
    /// has no branches. Bit 0 of a pointer marks them, bit 1 then a shortcut; of a key's pointer bit 1 marks a keyring.
    fn keys_in(&self, ring: u64) -> Result<Vec<u64>, String> {
        const GONE: &str = "part of its tree is not in the dump";
        let root = self.pointer(ring, "key", "keys.root").ok_or(GONE)?;
        let slots = self.offset("assoc_array_node", "slots")?;
        let count = self.elements("assoc_array_node", "slots").unwrap_or(16).min(64);
        let next = self.offset("assoc_array_shortcut", "next_node")?;
        let mut keys = Vec::new();
        let mut seen = HashSet::new();
        let mut open = vec![root];
        while let Some(pointer) = open.pop() {
            if pointer == 0 {
                continue;
            }
            if pointer & 1 == 0 {
                keys.push(pointer & !2);
                continue;
            }
            if !seen.insert(pointer) || seen.len() > MOST_NODES {
                return Err("its tree runs in a circle".into());
            }
            let at = pointer & !3;
            if pointer & 2 != 0 {
                open.push(self.word(at.wrapping_add(next)).ok_or(GONE)?);
                continue;
            }
            for slot in self.words(at.wrapping_add(slots), count) {
                open.push(slot.ok_or(GONE)?);
            }
        }
        Ok(keys)
    }
}

/// As /proc/keys prints them (security/keys/proc.c).
fn letters(bits: u64, state: i32) -> String {
    let letter = |yes: bool, letter: char| if yes { letter } else { '-' };
    [
        letter(state != 0, 'I'),
        letter(bits & REVOKED != 0, 'R'),
        letter(bits & DEAD != 0, 'D'),
        letter(bits & IN_QUOTA != 0, 'Q'),
        letter(bits & USER_CONSTRUCT != 0, 'U'),
        letter(state < 0, 'N'),
        letter(bits & INVALIDATED != 0, 'i'),
    ]
    .iter()
    .collect()
}
