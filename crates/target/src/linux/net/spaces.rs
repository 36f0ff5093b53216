//! Network namespaces and the devices in them: what all questions to the network begin with.
//!
//! *Trap*: the number of a namespace (`net:[4026531840]`) is of its inode in nsfs; containers have each their own, and the
//! same interface name may stand in all of them.

use crate::linux::Linux;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Namespaces, and devices of one, at most.
const MOST: usize = 1 << 16;

/// Names of devices by namespace and index.
pub(in crate::linux) type DeviceNames = HashMap<(u64, u32), String>;

impl Linux {
    /// Addresses of all `struct net`, the first one (`init_net`) first.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub(in crate::linux) fn net_spaces(&self, remarks: &mut Vec<String>) -> Result<Vec<u64>, String> {
        let first = self.symbol("init_net")?;
        let mut spaces = vec![first];
        match self.symbol("net_namespace_list") {
            Ok(head) => spaces.extend(self.list(head, "net", "list", "the list of network namespaces", remarks)?),
            Err(why) => remarks.push(format!("only the first network namespace is read: {why}")),
        }
        if spaces.iter().skip(1).any(|space| *space == first) {
            spaces.remove(0);
        }
        // Every namespace of this kind has the same operations.
        let operations = self.symbols.address("netns_operations");
        let before = spaces.len();
        spaces.retain(|space| {
            let own = self.pointer(*space, "net", "ns.ops");
            *space == first || operations.is_none() || own == operations
        });
        if spaces.len() < before {
            remarks.push(format!("{} network namespaces make no sense and are left out", before - spaces.len()));
        }
        if spaces.len() > MOST {
            spaces.truncate(MOST);
            remarks.push(format!("there are more than {MOST} network namespaces: those behind are not read"));
        }
        Ok(spaces)
    }

    /// The number of a network namespace, as `net:[4026531840]` has it.
    pub(in crate::linux) fn space_number(&self, space: u64) -> Option<u32> {
        self.int(space, "net", "ns.inum").map(|number| number as u32).filter(|number| *number != 0)
    }

    /// The `struct net_device`s of a namespace, in its order.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub(in crate::linux) fn devices(&self, space: u64, remarks: &mut Vec<String>) -> Result<Vec<u64>, String> {
        let head = space.wrapping_add(self.offset("net", "dev_base_head")?);
        let mut devices = self.list(head, "net_device", "dev_list", "the list of network devices", remarks)?;
        // A kernel without namespaces (CONFIG_NET_NS) has no such member.
        if self.offset("net_device", "nd_net.net").is_ok() {
            let before = devices.len();
            devices.retain(|device| self.pointer(*device, "net_device", "nd_net.net") == Some(space));
            if devices.len() < before {
                let lost = before - devices.len();
                remarks.push(format!("{lost} network devices make no sense in their namespace and are left out"));
            }
        }
        if devices.len() > MOST {
            devices.truncate(MOST);
            remarks.push(format!("there are more than {MOST} network devices: those behind are not read"));
        }
        Ok(devices)
    }

    /// The name of a network device.
    pub(in crate::linux) fn device_name(&self, device: u64) -> Option<String> {
        let name = self.text(device.wrapping_add(self.offset("net_device", "name").ok()?), 16)?;
        Some(name).filter(|name| !name.is_empty())
    }

    /// The names of all devices.
    pub(in crate::linux) fn device_names(&self, spaces: &[u64], remarks: &mut Vec<String>) -> DeviceNames {
        let mut names = DeviceNames::new();
        for space in spaces {
            match self.devices(*space, remarks) {
                Ok(devices) => {
                    for device in devices {
                        let index = self.int(device, "net_device", "ifindex").map(|index| index as u32);
                        if let Some((index, name)) = index.zip(self.device_name(device)) {
                            names.insert((*space, index), name);
                        }
                    }
                }
                Err(why) => {
                    remarks.push(format!("interfaces have no names: {why}"));
                    break;
                }
            }
        }
        names
    }

    /// The four bytes of an address at a place.
    pub(in crate::linux) fn ipv4_at(&self, at: u64) -> Option<Ipv4Addr> {
        let bytes: [u8; 4] = self.bytes(at, 4).try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    }

    /// The sixteen bytes of an address at a place.
    pub(in crate::linux) fn ipv6_at(&self, at: u64) -> Option<Ipv6Addr> {
        let bytes: [u8; 16] = self.bytes(at, 16).try_into().ok()?;
        Some(Ipv6Addr::from(bytes))
    }
}

/// The names of the bits that are set, `|` between them, a number for those without a name.
pub(super) fn words(bits: u64, names: &[(u64, &str)]) -> String {
    let mut text: Vec<String> =
        names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
    let rest = names.iter().fold(bits, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        text.push(format!("{rest:#x}"));
    }
    text.join("|")
}
