//! Interfaces, routes and neighbours of real Linux machines, against `/proc/net` of each guest.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_dump::{Budget, open};
use afterimage_target::linux::Linux;
use common::{WHOLE, first_namespace, guest_file, vmcores};
use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::path::Path;

fn machine(folder: &Path, name: &str, file: &str) -> Linux {
    let dump = open(&folder.join(name).join(file), &Budget::default()).unwrap();
    Linux::open(&dump).unwrap_or_else(|why| panic!("{name}: {why}"))
}

#[test]
fn interfaces_are_those_of_proc_net() {
    let Some(folder) = vmcores() else { return };
    for (name, file) in WHOLE {
        let (linux, guest) = (machine(&folder, name, file), folder.join(name));
        let (interfaces, remarks) = linux.network_interfaces().unwrap();
        assert!(remarks.is_empty(), "{name}: {remarks:?}");
        let first = first_namespace(&guest);
        let own: Vec<_> = interfaces.iter().filter(|one| one.namespace == Some(first)).collect();
        // Name, bytes and packets received, bytes and packets sent.
        let dev = guest_file(&guest, "proc/net/dev");
        let mut names = BTreeSet::new();
        for line in dev.lines().skip(2) {
            let (interface, counts) = line.split_once(':').unwrap();
            let counts: Vec<u64> = counts.split_whitespace().map(|word| word.parse().unwrap()).collect();
            let found = own.iter().find(|one| one.name.as_deref() == Some(interface.trim())).unwrap();
            let ours: Vec<u64> = found.counts.iter().map(|count| *count.as_ref().unwrap()).collect();
            let theirs = [counts[0], counts[1], counts[8], counts[9]];
            // The guest asked for routers up to three times (RFC 4861), each as long as the other, also after it wrote
            // its list.
            assert_eq!(ours[..2], theirs[..2], "{name}: {interface}");
            assert!((theirs[3]..=3.max(theirs[3])).contains(&ours[3]), "{name}: {interface}: {ours:?} {theirs:?}");
            assert_eq!(ours[2] * theirs[3], theirs[2] * ours[3], "{name}: {interface}: {ours:?} {theirs:?}");
            names.insert(interface.trim().to_owned());
        }
        assert_eq!(own.len(), names.len(), "{name}: {own:?}");
        // Address, index, length of prefix, scope, flags, name.
        let theirs: BTreeSet<(String, u32, String)> = guest_file(&guest, "proc/net/if_inet6")
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let address = Ipv6Addr::from(u128::from_str_radix(words[0], 16).unwrap());
                let number = |word: &str| u32::from_str_radix(word, 16).unwrap();
                (format!("{address}/{}", number(words[2])), number(words[1]), words[5].to_owned())
            })
            .collect();
        let ours: BTreeSet<(String, u32, String)> = own
            .iter()
            .flat_map(|one| {
                let addresses = one.ipv6.as_deref().unwrap_or_default().split_whitespace();
                addresses.map(|address| (address.to_owned(), one.index.unwrap(), one.name.clone().unwrap()))
            })
            .collect();
        assert_eq!(ours, theirs, "{name}");
        // What the guest was told to set up (its init), and what the kernel says of such devices.
        let lo = own.iter().find(|one| one.name.as_deref() == Some("lo")).unwrap();
        assert_eq!(lo.ipv4.as_deref(), Ok("127.0.0.1/8"));
        assert_eq!(
            (lo.hardware.as_deref(), lo.mtu, lo.flags.as_deref()),
            (Some("loopback"), Some(65536), Some("UP|LOOPBACK|RUNNING|LOWER_UP"))
        );
        let dummy = own.iter().find(|one| one.name.as_deref() == Some("dummy0")).unwrap();
        assert_eq!(dummy.ipv4.as_deref(), Ok("10.77.0.1/24"));
        assert_eq!((dummy.kind.as_deref(), dummy.hardware.as_deref()), (Ok("dummy"), Some("ether")));
        // The link-local address is made of the hardware address (RFC 4291, EUI-64).
        let mac: Vec<u8> =
            dummy.mac.as_ref().unwrap().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let local: Ipv6Addr = Ipv6Addr::from([
            0xfe,
            0x80,
            0,
            0,
            0,
            0,
            0,
            0,
            mac[0] ^ 2,
            mac[1],
            mac[2],
            0xff,
            0xfe,
            mac[3],
            mac[4],
            mac[5],
        ]);
        assert!(theirs.contains(&(format!("{local}/64"), dummy.index.unwrap(), "dummy0".into())), "{name}: {local}");
        // A guest's process has a namespace of its own, in which only `lo` was set up.
        let others: Vec<_> = interfaces.iter().filter(|one| one.namespace != Some(first)).collect();
        println!("{name}: {} interfaces, {} in other namespaces", interfaces.len(), others.len());
        for one in &interfaces {
            println!("    {one:?}");
        }
        assert!(others.iter().all(|one| one.name.as_deref() == Some("lo") && one.namespace.is_some()), "{name}");
        assert_eq!(others.len(), 1, "{name}");
    }
}

#[test]
fn routes_are_those_of_proc_net() {
    let Some(folder) = vmcores() else { return };
    for (name, file) in WHOLE {
        let (linux, guest) = (machine(&folder, name, file), folder.join(name));
        let (routes, remarks) = linux.routes().unwrap();
        assert!(remarks.is_empty(), "{name}: {remarks:?}");
        let first = first_namespace(&guest);
        for route in &routes {
            println!("{name}: {route:?}");
        }
        // Interface, destination, gateway, flags, …, metric, mask: of the main table.
        let hex = |word: &str| std::net::Ipv4Addr::from(u32::from_str_radix(word, 16).unwrap().swap_bytes());
        let theirs: BTreeSet<(String, String, Option<String>, u32)> = guest_file(&guest, "proc/net/route")
            .lines()
            .skip(1)
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let prefix = u32::from_str_radix(words[7], 16).unwrap().count_ones();
                let gateway = Some(hex(words[2])).filter(|gateway| !gateway.is_unspecified());
                let destination = format!("{}/{prefix}", hex(words[1]));
                (words[0].to_owned(), destination, gateway.map(|at| at.to_string()), words[6].parse().unwrap())
            })
            .collect();
        let main = routes
            .iter()
            .filter(|route| route.namespace == Some(first) && route.family == "IPv4" && route.table == Some(254));
        let ours: BTreeSet<(String, String, Option<String>, u32)> = main
            .map(|route| {
                let interface = route.interface.clone().unwrap();
                (interface, route.destination.clone().unwrap(), route.gateway.clone().ok(), route.metric.unwrap())
            })
            .collect();
        assert_eq!(ours, theirs, "{name}");
        // The local table has each own address as a host's, and each network's broadcast.
        let (interfaces, _) = linux.network_interfaces().unwrap();
        for one in &interfaces {
            let all = [&one.ipv4, &one.ipv6];
            for address in all.into_iter().flatten().flat_map(|all| all.split_whitespace()) {
                let host = address.split('/').next().unwrap();
                let whole = if host.contains(':') { format!("{host}/128") } else { format!("{host}/32") };
                let local = routes.iter().find(|route| {
                    route.namespace == one.namespace
                        && route.kind.as_deref() == Some("local")
                        && route.destination.as_deref() == Some(&whole)
                });
                let local = local.unwrap_or_else(|| panic!("{name}: {address} has no local route"));
                assert_eq!(local.interface.as_deref().ok(), one.name.as_deref(), "{name}: {local:?}");
                assert!(matches!(local.table, Some(255 | 254)), "{name}: {local:?}");
            }
        }
        let made = |destination: &str, protocol: &str| {
            routes.iter().any(|route| {
                route.destination.as_deref() == Some(destination) && route.protocol.as_deref() == Some(protocol)
            })
        };
        assert!(made("10.77.0.0/24", "kernel") && made("10.99.0.0/16", "boot") && made("fd77::/64", "kernel"));
    }
}

#[test]
fn neighbours_are_those_of_proc_net() {
    let Some(folder) = vmcores() else { return };
    for (name, file) in WHOLE {
        let (linux, guest) = (machine(&folder, name, file), folder.join(name));
        let (neighbours, remarks) = linux.neighbours().unwrap();
        assert!(remarks.is_empty(), "{name}: {remarks:?}");
        let first = first_namespace(&guest);
        for one in &neighbours {
            println!("{name}: {one:?}");
        }
        // Address, kind of hardware, flags (4: permanent), hardware address, mask, interface.
        let theirs: BTreeSet<Vec<String>> = guest_file(&guest, "proc/net/arp")
            .lines()
            .skip(1)
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let state = if words[2] == "0x6" { "PERMANENT" } else { "" };
                [words[0], words[3], words[5], state].map(str::to_owned).to_vec()
            })
            .collect();
        // /proc/net/arp leaves out those that need no ARP.
        let shown = neighbours.iter().filter(|one| {
            one.namespace == Some(first) && one.family == "IPv4" && one.state.as_deref() != Some("NOARP")
        });
        let ours: BTreeSet<Vec<String>> = shown
            .map(|one| {
                let mac = one.mac.clone().unwrap();
                vec![one.address.clone().unwrap(), mac, one.interface.clone().unwrap(), one.state.clone().unwrap()]
            })
            .collect();
        assert_eq!(ours, theirs, "{name}");
        assert!(!theirs.is_empty());
    }
}
