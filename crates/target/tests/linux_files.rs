//! Open files, sockets, mappings, environments and mounts of real Linux machines, against what each guest said while it ran.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_dump::{Absence, Budget, Extent, Fault, Memory, Phys, PhysMemory, open};
use afterimage_target::linux::{Linux, OpenFile, Socket};
use common::{WHOLE, guests, truth, vmcores};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

fn machine(folder: &Path, name: &str, file: &str) -> (Linux, Value) {
    let dump = open(&folder.join(name).join(file), &Budget::default()).unwrap();
    let linux = Linux::open(&dump).unwrap_or_else(|why| panic!("{name}: {why}"));
    (linux, truth(&folder.join(name)))
}

#[test]
fn whole_machines_hold_what_their_guests_listed() {
    for guest in guests(&WHOLE) {
        let (linux, truth) = guest.open();
        let name = guest.name.as_str();
        open_files(name, &linux, &truth);
        sockets(name, &linux, &truth);
        regions(name, &linux, &truth);
        environment(name, &linux, &truth);
        mounts(name, &linux, &truth);
    }
}

/// Memory in which some pages are not what they were.
struct Smeared {
    inner: Arc<dyn PhysMemory>,
    seed: u64,
    whole: Vec<std::ops::Range<u64>>,
}

impl Smeared {
    fn noise(&self, page: u64) -> u64 {
        let mut x = page.wrapping_add(self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ x >> 32
    }
}

impl Memory<Phys> for Smeared {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        let page = at.0 / 4096;
        let len = buf.len().min((4096 - at.0 % 4096) as usize);
        let noise = self.noise(page);
        if !noise.is_multiple_of(24) || self.whole.iter().any(|range| range.contains(&at.0)) {
            return self.inner.read_at(at, &mut buf[..len]);
        }
        match noise / 24 % 5 {
            0 => return Err(Fault { at, why: Absence::NotInDump }),
            // Another page, zeros, ones, and words each of which leads somewhere else.
            1 => return self.inner.read_at(Phys((page ^ 1) * 4096 + at.0 % 4096), &mut buf[..len]),
            2 => buf[..len].fill(0),
            3 => buf[..len].fill(0xff),
            _ => {
                let got = self.inner.read_at(at, &mut buf[..len])?;
                for (index, byte) in buf[..got].iter_mut().enumerate() {
                    let place = at.0 + index as u64;
                    if self.noise((place / 8) ^ self.seed).is_multiple_of(4) {
                        *byte ^= self.noise(place) as u8;
                    }
                }
                return Ok(got);
            }
        }
        Ok(len)
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        self.inner.extents()
    }
}

impl PhysMemory for Smeared {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        self.inner.next(at)
    }
}

/// Every 24th page damaged: walks end, nothing panics, and what is wrong is said.
#[test]
fn smeared_machines_are_walked_to_an_end() {
    for guest in guests(&WHOLE) {
        let name = guest.name.as_str();
        let clean = guest.open().0;
        let text = clean.symbols.address("_stext").unwrap();
        let end = clean.symbols.address("_end").unwrap_or(text + (32 << 20));
        let image = text.wrapping_sub(clean.image_offset)..end.wrapping_sub(clean.image_offset);
        for seed in 0..8u64 {
            let mut dump = open(&guest.dump, &Budget::default()).unwrap();
            let known = dump.machine.as_mut().unwrap();
            let inner = known.memory.clone();
            // Most seeds leave the kernel itself whole, or there is nothing to walk.
            let whole = if seed % 4 == 0 { Vec::new() } else { vec![image.clone()] };
            known.memory = Arc::new(Smeared { inner, seed, whole });
            let Ok(linux) = Linux::open(&dump) else { continue };
            let count = |found: Result<usize, String>| found.map_or(-1, |count| count as i64);
            let files = count(linux.open_files(None).map(|found| found.0.len()));
            assert!(files < 500, "{name} {seed}: {files} open files are invented");
            let sockets = count(linux.sockets(None).map(|found| found.0.len()));
            let regions = count(linux.process_regions(None).map(|found| found.0.len()));
            let variables = count(linux.environment(None).map(|found| found.0.len()));
            let mounts = count(linux.mounts(None).map(|found| found.0.len()));
            let routes = count(linux.routes().map(|found| found.0.len()));
            let interfaces = count(linux.network_interfaces().map(|found| found.0.len()));
            let neighbours = count(linux.neighbours().map(|found| found.0.len()));
            // A whole machine has 44 sockets, 17 routes, 3 interfaces, 4 neighbours.
            assert!(sockets < 60 && routes < 40 && interfaces < 10 && neighbours < 10, "{name} {seed}: invented");
            let sections = count(linux.module_sections().map(|found| found.0.len()));
            assert!(sections < 1000, "{name} {seed}: {sections} sections are invented");
            if let (Ok((tree, _)), Ok((processes, _))) = (linux.process_tree(), linux.processes()) {
                assert_eq!(tree.len(), processes.len(), "{name} {seed}");
                for process in &processes {
                    let _ = linux.standing(process);
                }
            }
            println!(
                "{name} {seed}: {routes} routes, {interfaces} interfaces, {neighbours} neighbours, {sections} sections"
            );
            let _ = linux.log();
            let _ = (linux.memory_usage(), linux.memory_zones(), linux.slab_caches());
            let _ = linux.shell_history(None);
            let _ = (linux.interrupts(), linux.timers(), linux.bpf_programs(), linux.bpf_maps(), linux.keys());
            println!(
                "{name} {seed}: {files} files, {sockets} sockets, {regions} mappings, {variables} variables, {mounts} mounts"
            );
        }
    }
}

/// A dump without the pages of processes: what lies in the kernel's own memory is there all the same.
#[test]
fn filtered_machines_hold_what_is_the_kernels() {
    let Some(folder) = vmcores() else { return };
    for file in ["d31-lzo.kdump.zst", "d31.elf.zst"] {
        let (linux, truth) = machine(&folder, "k6.12-kdump", file);
        let (files, remarks) = linux.open_files(None).unwrap();
        let (sockets, more) = linux.sockets(None).unwrap();
        let (regions, still) = linux.process_regions(None).unwrap();
        let (mounts, last) = linux.mounts(None).unwrap();
        println!(
            "{file}: {} files, {} sockets, {} regions, {} mounts; {remarks:?} {more:?} {still:?} {last:?}",
            files.len(),
            sockets.len(),
            regions.len(),
            mounts.len()
        );
        // What is there is right, and what is not there is said.
        let theirs = listed_files(&truth);
        let ours: BTreeSet<_> = files.iter().filter_map(listed).collect();
        let (missing, invented) = difference(&ours, &theirs);
        println!("    missing {}, not in truth {invented:?}", missing.len());
        assert!(ours.len() > 80 && invented.iter().all(|(pid, ..)| *pid == 1), "{file}: {invented:?}");
        let listed: Vec<(u64, &str)> = truth["sockets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|socket| (socket["inode"].as_u64().unwrap(), socket["local"].as_str().unwrap()))
            .collect();
        for socket in &sockets {
            if let Some((_, local)) = listed.iter().find(|(inode, _)| Some(*inode) == socket.inode)
                && let Ok(own) = &socket.local
            {
                assert!(own.contains(local), "{file}: {socket:?}");
            }
        }
        let maps = listed_maps(&truth);
        let there = |pid: u32, start: u64, end: u64| maps.iter().any(|map| (map.0, map.1, map.2) == (pid, start, end));
        for region in &regions {
            assert!(region.pid == 1 || there(region.pid, region.start, region.end), "{file}: {region:x?}");
        }
        // Each mount is there; of some the names are not.
        let listed = truth["mounts"].as_array().unwrap();
        assert_eq!(mounts.len(), listed.len(), "{file}");
        for mount in &mounts {
            let same = |own: &Option<String>, theirs: &Value| own.is_none() || own.as_deref() == theirs.as_str();
            let found = listed.iter().any(|theirs| {
                same(&mount.source, &theirs[0]) && same(&mount.target, &theirs[1]) && same(&mount.fstype, &theirs[2])
            });
            assert!(found, "{file}: {mount:?}");
        }
        assert!(!remarks.is_empty() && !more.is_empty() && !still.is_empty(), "{file}");
    }
}

fn pid_of(process: &Value) -> u32 {
    process["pid"].as_u64().unwrap() as u32
}

fn difference<T: Ord + Clone>(ours: &BTreeSet<T>, theirs: &BTreeSet<T>) -> (Vec<T>, Vec<T>) {
    (theirs.difference(ours).cloned().collect(), ours.difference(theirs).cloned().collect())
}

/// As `/proc/PID/fd` shows it; `None` where it could not be read.
fn listed(file: &OpenFile) -> Option<(u32, u32, String)> {
    let deleted = if file.deleted? { " (deleted)" } else { "" };
    Some((file.pid, file.fd, format!("{}{deleted}", file.path.as_ref()?)))
}

fn listed_files(truth: &Value) -> BTreeSet<(u32, u32, String)> {
    let mut all = BTreeSet::new();
    for process in truth["processes"].as_array().unwrap() {
        for file in process["fds"].as_array().unwrap() {
            let target = file["target"].as_str().unwrap().to_owned();
            all.insert((pid_of(process), file["fd"].as_u64().unwrap() as u32, target));
        }
    }
    all
}

fn open_files(name: &str, linux: &Linux, truth: &Value) {
    let (files, remarks) = linux.open_files(None).unwrap();
    assert!(remarks.is_empty(), "{name}: {remarks:?}");
    let ours: BTreeSet<_> = files.iter().filter_map(listed).collect();
    assert_eq!(ours.len(), files.len());
    let theirs = listed_files(truth);
    let (missing, invented) = difference(&ours, &theirs);
    // Process 1 was reading /proc itself when it made the list, and went on to write it out.
    let missing: Vec<_> = missing.iter().filter(|(pid, ..)| *pid != 1).collect();
    println!("{name}: {} open files; not in truth: {invented:?}", files.len());
    assert!(missing.is_empty(), "{name}: {missing:#?}");
    assert!(invented.iter().all(|(pid, ..)| *pid == 1) && invented.len() <= 2, "{name}: {invented:#?}");
    for file in &files {
        let path = file.path.as_deref().unwrap();
        let kind = match path {
            _ if path.starts_with("pipe:[") => "pipe",
            _ if path.starts_with("socket:[") => "socket",
            _ if path.starts_with("anon_inode:") => "anon_inode",
            _ if path.starts_with("/memfd:") => "memfd",
            _ if path.starts_with("/dev/shm/") => "file",
            _ if path.starts_with("/dev/") => "chr",
            _ if path == "/proc" || path == "/run/lab/planted" || path.ends_with("/fd") => "dir",
            _ => "file",
        };
        assert_eq!(file.kind, Some(kind), "{name}: {file:?}");
    }
}

fn sockets(name: &str, linux: &Linux, truth: &Value) {
    let (sockets, remarks) = linux.sockets(None).unwrap();
    assert!(remarks.is_empty(), "{name}: {remarks:?}");
    // Those that no process holds: `linux_sockets`.
    let sockets: Vec<Socket> = sockets.into_iter().filter(|socket| socket.holder.is_ok()).collect();
    let place = |socket: &Socket| socket.holder.as_ref().map(|holder| (holder.pid, holder.fd)).unwrap();
    let by_place: BTreeMap<(u32, u32), &Socket> = sockets.iter().map(|socket| (place(socket), socket)).collect();
    let owners = |socket: &Value| -> Vec<(u32, u32)> {
        let owners = socket["owners"].as_array().unwrap().iter();
        owners.map(|pair| (pair[0].as_u64().unwrap() as u32, pair[1].as_u64().unwrap() as u32)).collect()
    };
    let mut checked = BTreeSet::new();
    for theirs in truth["sockets"].as_array().unwrap() {
        for place in owners(theirs) {
            let own = by_place.get(&place).unwrap_or_else(|| panic!("{name}: {theirs} is missing"));
            let proto = theirs["proto"].as_str().unwrap();
            let six = proto.ends_with('6');
            let text = |address: &str, port: &str| {
                let (address, port) = (theirs[address].as_str().unwrap(), theirs[port].as_u64().unwrap());
                if six { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
            };
            assert_eq!(own.family.as_deref(), Some(if six { "IPv6" } else { "IPv4" }), "{name}: {own:?}");
            let ours = own.protocol.as_deref().unwrap().to_lowercase();
            assert_eq!(ours, proto.trim_end_matches('6'), "{name}: {own:?}");
            assert_eq!(own.local.as_deref(), Ok(text("local", "lport").as_str()), "{name}: {theirs}");
            assert_eq!(own.remote.as_deref(), Ok(text("remote", "rport").as_str()), "{name}: {theirs}");
            let state = match (&theirs["state"], theirs["state"].as_u64()) {
                (Value::String(state), _) => state.as_str(),
                (_, Some(1)) => "ESTABLISHED",
                (_, Some(7)) => "UNCONN",
                other => panic!("{other:?}"),
            };
            assert_eq!(own.state, Some(state), "{name}: {theirs}");
            assert_eq!(own.inode, theirs["inode"].as_u64(), "{name}: {theirs}");
            checked.insert(place);
        }
    }
    for theirs in truth["unix_sockets"].as_array().unwrap() {
        for place in owners(theirs) {
            let own = by_place.get(&place).unwrap_or_else(|| panic!("{name}: {theirs} is missing"));
            assert_eq!(own.family.as_deref(), Some("UNIX"), "{name}: {own:?}");
            assert_eq!(own.protocol.as_deref().unwrap().to_uppercase(), theirs["type"].as_str().unwrap());
            assert_eq!(own.local.as_deref().ok(), theirs["path"].as_str(), "{name}: {own:?}");
            assert_eq!(own.inode, theirs["inode"].as_u64(), "{name}: {theirs}");
            let listens = theirs["flags"].as_str().unwrap() == "00010000";
            let connected = theirs["state"].as_u64() == Some(3);
            let state = if listens {
                "LISTEN"
            } else if connected {
                "ESTABLISHED"
            } else {
                "UNCONN"
            };
            assert_eq!(own.state, Some(state), "{name}: {theirs}");
            assert_eq!(own.remote.is_ok(), connected, "{name}: {own:?}");
            checked.insert(place);
        }
    }
    // Exactly the descriptors that are sockets; those that /proc/net has no line for are of few kinds.
    let files = linux.open_files(None).unwrap().0;
    let all: BTreeSet<_> =
        files.iter().filter(|file| file.kind == Some("socket")).map(|file| (file.pid, file.fd)).collect();
    assert_eq!(all, by_place.keys().copied().collect::<BTreeSet<_>>());
    let others: Vec<_> = sockets.iter().filter(|socket| !checked.contains(&place(socket))).collect();
    println!("{name}: {} sockets, {} as the guest has them", sockets.len(), checked.len());
    for other in others {
        println!("    {other:?}");
    }
    let of = |family: &str| sockets.iter().filter(|socket| socket.family.as_deref() == Some(family)).count();
    // Of kernels whose modules were not at hand, some families are not there.
    let whole = truth["modules"].as_array().is_some_and(|modules| !modules.is_empty());
    assert!(of("netlink") >= 1 && (!whole || of("packet") == 1 && of("alg") >= 1), "{name}");
}

fn listed_maps(truth: &Value) -> BTreeSet<(u32, u64, u64, String, String)> {
    let hex = |value: &Value| u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let mut theirs = BTreeSet::new();
    for process in truth["processes"].as_array().unwrap() {
        for map in process["maps"].as_array().into_iter().flatten() {
            let text = |key: &str| map[key].as_str().unwrap().to_owned();
            theirs.insert((pid_of(process), hex(&map["start"]), hex(&map["end"]), text("perms"), text("path")));
        }
    }
    theirs
}

fn regions(name: &str, linux: &Linux, truth: &Value) {
    let (regions, remarks) = linux.process_regions(None).unwrap();
    assert!(remarks.is_empty(), "{name}: {remarks:?}");
    let ours: BTreeSet<_> = regions
        .iter()
        .map(|region| {
            let path = region.path.clone().unwrap().unwrap_or_default();
            (region.pid, region.start, region.end, region.perms.clone().unwrap(), path)
        })
        .collect();
    let theirs = listed_maps(truth);
    let (missing, invented) = difference(&ours, &theirs);
    println!("{name}: {} mappings, the guest listed {}", ours.len(), theirs.len());
    println!("    missing {missing:x?}\n    not in truth {invented:x?}");
    // Process 1 goes on after its list: its heap and its buffers may grow.
    let others = |all: &[(u32, u64, u64, String, String)]| all.iter().any(|region| region.0 != 1);
    assert!(!others(&missing) && !others(&invented), "{name}");
    assert!(missing.len() <= 2 && invented.len() <= 2, "{name}");
    let one = linux.process_regions(Some(1)).unwrap().0;
    assert_eq!(one.len(), regions.iter().filter(|region| region.pid == 1).count());
    assert!(linux.process_regions(Some(4_000_000)).is_err());
}

fn environment(name: &str, linux: &Linux, truth: &Value) {
    let (variables, remarks) = linux.environment(None).unwrap();
    let ours: BTreeSet<_> =
        variables.iter().map(|variable| (variable.pid, format!("{}={}", variable.name, variable.value))).collect();
    let mut theirs = BTreeSet::new();
    for process in truth["processes"].as_array().unwrap() {
        for line in process["environ"].as_array().into_iter().flatten() {
            theirs.insert((pid_of(process), line.as_str().unwrap().to_owned()));
        }
    }
    let (missing, invented) = difference(&ours, &theirs);
    println!("{name}: {} variables; {remarks:?}; missing {missing:?}, not in truth {invented:?}", ours.len());
    assert!(invented.is_empty(), "{name}: {invented:?}");
    assert!(missing.is_empty(), "{name}: {missing:?}");
}

fn mounts(name: &str, linux: &Linux, truth: &Value) {
    let (mounts, remarks) = linux.mounts(None).unwrap();
    assert!(remarks.is_empty(), "{name}: {remarks:?}");
    let theirs = truth["mounts"].as_array().unwrap();
    assert_eq!(mounts.len(), theirs.len(), "{name}: {mounts:#?}");
    for (own, theirs) in mounts.iter().zip(theirs) {
        assert_eq!(own.source.as_deref(), theirs[0].as_str(), "{name}");
        assert_eq!(own.target.as_deref(), theirs[1].as_str(), "{name}");
        assert_eq!(own.fstype.as_deref(), theirs[2].as_str(), "{name}");
        // The file system's own options stand behind.
        let (own, all) = (own.options.clone().unwrap(), theirs[3].as_str().unwrap());
        assert!(format!("{all},").starts_with(&format!("{own},")), "{name}: {own} {all}");
    }
    println!("{name}: {} mounts", mounts.len());
}
