//! How processes of real Linux machines stand among the others, their tree, and what modules say of themselves, against
//! what each guest read in its own `/proc` and `/sys`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_dump::{Budget, open};
use afterimage_target::linux::{Linux, NAMESPACES, taint_letters};
use common::{truth, vmcores};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Folder, file, and whether pages are left out.
const MACHINES: [(&str, &str, bool); 5] = [
    ("k6.1-live", "dump.elf.zst", false),
    ("k6.12-live", "kdump-zlib.flat.zst", false),
    ("k6.12-panic", "dump.elf.zst", false),
    ("k6.12-kdump", "d31-lzo.kdump.zst", true),
    ("k6.12-kdump", "d31.elf.zst", true),
];

fn machines() -> Option<Vec<(String, Linux, Value, bool)>> {
    let folder = vmcores()?;
    let machine = |(name, file, filtered): (&str, &str, bool)| {
        let dump = open(&folder.join(name).join(file), &Budget::default()).unwrap();
        let linux = Linux::open(&dump).unwrap_or_else(|why| panic!("{name}: {why}"));
        (format!("{name}/{file}"), linux, truth(&folder.join(name)), filtered)
    };
    Some(MACHINES.into_iter().map(machine).collect())
}

/// What is there equals truth; nothing is missing but from a filtered dump.
fn same<T: PartialEq + std::fmt::Debug>(shown: &str, filtered: bool, ours: Option<T>, theirs: T) -> usize {
    match ours {
        Some(ours) => {
            assert_eq!(ours, theirs, "{shown}");
            1
        }
        None => {
            assert!(filtered, "{shown}: missing, {theirs:?} in truth");
            0
        }
    }
}

/// The device number of a terminal, as `/proc/PID/stat` has it (Documentation/admin-guide/devices.txt).
fn device(tty: &str) -> u64 {
    let (major, minor) = match tty {
        "console" => (5, 1),
        _ if tty.starts_with("pts/") => (136, tty[4..].parse().unwrap()),
        _ if tty.starts_with("ttyS") => (4, 64 + tty[4..].parse::<u64>().unwrap()),
        _ => (4, tty[3..].parse().unwrap()),
    };
    major << 8 | minor
}

#[test]
fn processes_stand_as_their_guests_said() {
    let Some(machines) = machines() else { return };
    for (shown, linux, truth, filtered) in machines {
        let processes: BTreeMap<u64, _> =
            linux.processes().unwrap().0.into_iter().map(|process| (u64::from(process.pid), process)).collect();
        let (mut facts, mut terminals, mut seccomp, mut spaces) = (0, 0, BTreeSet::new(), BTreeSet::new());
        let mut groups = BTreeSet::new();
        for theirs in truth["processes"].as_array().unwrap() {
            let number = |key: &str| theirs[key].as_u64().unwrap();
            let pid = number("pid");
            let own = linux.standing(&processes[&pid]);
            let shown = format!("{shown}: process {pid}");
            let zombie = theirs["state"] == "Z";
            let mut check = |what: &str, ours: Option<u64>, theirs: u64| {
                facts += same(&format!("{shown}: {what}"), filtered, ours, theirs);
            };
            let inner = theirs["nspid"].as_array().unwrap().last().unwrap().as_u64().unwrap();
            check("inner_pid", own.inner_pid.map(u64::from), inner);
            check("pgid", own.pgid.map(u64::from), number("pgrp"));
            check("sid", own.sid.map(u64::from), number("session"));
            check("threads", own.threads.map(u64::from), number("num_threads"));
            check("gid", own.gid.map(u64::from), theirs["gid"][1].as_u64().unwrap());
            let capabilities = u64::from_str_radix(theirs["cap_eff"].as_str().unwrap(), 16).unwrap();
            check("cap_eff", own.capabilities, capabilities);
            check("no_new_privs", own.no_new_privs.map(u64::from), number("no_new_privs"));
            check("nice", own.nice.map(|nice| nice as i64 as u64), theirs["nice"].as_i64().unwrap() as u64);
            let policy = ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE", "EXT"][number("policy") as usize];
            facts += same(&format!("{shown}: policy"), filtered, own.policy, policy);
            let mode = ["disabled", "strict", "filter"][number("seccomp") as usize];
            facts += same(&format!("{shown}: seccomp"), filtered, own.seccomp, mode);
            seccomp.extend(own.seccomp);
            // /proc shows a static priority p as -1 - p.
            let priority = theirs["priority"].as_i64().unwrap();
            let realtime = u32::try_from(-1 - priority).unwrap_or(0);
            facts += same(&format!("{shown}: rt_priority"), filtered, own.realtime, realtime);
            let list: Vec<String> =
                theirs["groups"].as_array().unwrap().iter().map(|group| group.to_string()).collect();
            facts += same(&format!("{shown}: groups"), filtered, own.groups.clone(), list.join(","));
            groups.extend(own.groups.filter(|groups| !groups.is_empty()));
            match (&own.tty, number("tty_nr")) {
                (Err("it has no terminal"), 0) => facts += 1,
                (Ok(tty), there) => {
                    assert_eq!(device(tty), there, "{shown}: {tty}");
                    terminals += 1;
                }
                (Err(why), there) => assert!(filtered, "{shown}: {why}, {there} in truth"),
            }
            let path = theirs["cgroup"].as_str().unwrap().strip_prefix("0::").unwrap();
            facts += same(&format!("{shown}: cgroup"), filtered, own.cgroup.ok(), path.to_owned());
            for (kind, number) in NAMESPACES.into_iter().zip(own.namespaces) {
                match theirs["ns"][kind].as_str() {
                    Some(link) => {
                        let right = number.ok().map(|number| format!("{kind}:[{number}]"));
                        facts += same(&format!("{shown}: {kind}"), filtered, right, link.to_owned());
                        spaces.insert(link.to_owned());
                    }
                    None => assert!(zombie && number.is_err() || filtered, "{shown}: {kind} {number:?}"),
                }
            }
        }
        println!("{shown}: {facts} facts, {terminals} terminals, {} namespaces, groups {groups:?}", spaces.len());
        // The guest has two shells on terminals, a filter of system calls, and a process in namespaces of its own.
        assert!(filtered || terminals >= 2 && seccomp.contains("filter") && spaces.len() >= 13 && !groups.is_empty());
        assert!(facts > 1000, "{shown}: {facts}");
    }
}

#[test]
fn the_tree_is_that_of_the_guest() {
    let Some(machines) = machines() else { return };
    for (shown, linux, truth, filtered) in machines {
        let (nodes, remarks) = linux.process_tree().unwrap();
        assert!(filtered || remarks.is_empty(), "{shown}: {remarks:?}");
        assert_eq!(nodes.len(), linux.processes().unwrap().0.len(), "{shown}");
        let parents: BTreeMap<u64, u64> = truth["processes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|process| (process["pid"].as_u64().unwrap(), process["ppid"].as_u64().unwrap()))
            .collect();
        // Whoever stands above in the order, one step to the left, is the parent.
        let mut above: Vec<u64> = Vec::new();
        let mut deepest = 0;
        for node in &nodes {
            let (pid, depth) = (u64::from(node.process.pid), node.depth as usize);
            assert!(depth <= above.len(), "{shown}: {pid} hangs on nothing");
            above.truncate(depth);
            let parent = above.last().copied().unwrap_or(0);
            // Workers of the kernel may have come since; a parent may be one that the dump lacks.
            if let Some(there) = parents.get(&pid)
                && node.process.ppid.is_some()
            {
                assert_eq!(parent, *there, "{shown}: {pid}");
            }
            above.push(pid);
            deepest = deepest.max(depth);
        }
        println!("{shown}: {} processes, {deepest} deep; {remarks:?}", nodes.len());
        assert!(deepest >= 2, "{shown}");
    }
}

#[test]
fn modules_say_what_sys_and_proc_said() {
    let Some(machines) = machines() else { return };
    for (shown, linux, truth, filtered) in machines {
        let (modules, remarks) = linux.modules().unwrap();
        assert!(remarks.is_empty() || filtered, "{shown}: {remarks:?}");
        let (sections, remarks) = linux.module_sections().unwrap();
        println!("{shown}: {} modules, {} sections; {remarks:?}", modules.len(), sections.len());
        assert!(filtered || remarks.is_empty(), "{shown}: {remarks:?}");
        let mut there = 0;
        for theirs in truth["modules"].as_array().unwrap() {
            let name = theirs["name"].as_str().unwrap();
            let own = modules.iter().find(|module| module.name == name).unwrap();
            let shown = format!("{shown}: {name}");
            same(&shown, filtered, own.state, theirs["state"].as_str().unwrap());
            // The guest sent its lists through a port of virtio_console, and closed it then.
            if name != "virtio_console" {
                same(&shown, filtered, own.references.map(u64::from), theirs["refcount"].as_u64().unwrap());
            }
            let users: BTreeSet<&str> =
                theirs["used_by"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let ours = own.used_by.as_ref().map(|users| users.split(',').filter(|user| !user.is_empty()).collect());
            same(&shown, filtered, ours, users);
            assert_eq!(
                taint_letters(own.taints),
                theirs["taint"].as_str().unwrap().trim_matches(['(', ')']),
                "{shown}"
            );
            let listed: BTreeSet<(String, String)> = theirs["sections"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, address)| (name.clone(), address.as_str().unwrap().to_owned()))
                .collect();
            there += listed.len();
            let ours: BTreeSet<(String, String)> = sections
                .iter()
                .filter(|section| section.module == name)
                .map(|section| (section.name.clone(), format!("0x{:016x}", section.address.unwrap())))
                .collect();
            if ours.is_empty() && filtered {
                continue;
            }
            if filtered {
                continue;
            }
            assert_eq!(ours, listed, "{shown}");
        }
        assert!(
            filtered || there > 100 && modules.iter().any(|module| module.used_by.as_deref() == Some("zram")),
            "{shown}"
        );
        let parameters: Vec<&str> = modules.iter().filter_map(|module| module.parameters.as_deref()).collect();
        assert!(filtered || parameters.contains(&"numdummies"), "{shown}: {parameters:?}");
    }
}
