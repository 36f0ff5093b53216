//! Memory, interrupts, timers, programs of BPF and keys of real Linux machines, against what each guest said while it ran.
//!
//! The guest read its own files about a second before it was stopped, `/proc/meminfo` among the first and all of `/proc/PID`
//! behind it: counters go on, and the inodes that this reading makes are slabs that were not there before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_target::linux::Linux;
use common::{Guest, WHOLE, guests};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const FILTERED: [(&str, &str); 2] = [("k6.12-kdump", "d31-lzo.kdump.zst"), ("k6.12-kdump", "d31.elf.zst")];

/// A file as the guest read it.
fn said(guest: &Guest, path: &str) -> String {
    let archive = guest.folder.join("TRUTH/guest-files.tar.gz");
    let output = Command::new("tar").arg("-xzOf").arg(archive).args(["--wildcards", path]).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn whole_machines_say_what_they_are_busy_with() {
    for guest in guests(&WHOLE) {
        let (linux, truth) = guest.open();
        history(&guest, &linux, &truth);
        memory(&guest, &linux);
        zones(&guest, &linux);
        slabs(&guest, &linux);
        timers(&guest, &linux);
        bpf(&guest, &linux);
        keys(&guest, &linux, true);
    }
}

#[test]
fn processors_and_lines_have_their_interrupts() {
    for guest in guests(&WHOLE) {
        interrupts(&guest, &guest.open().0);
    }
}

/// The lines that the guest typed into its shells, in their order; where it had a bash, with their times.
fn history(guest: &Guest, linux: &Linux, truth: &serde_json::Value) {
    let name = &guest.name;
    let (lines, remarks) = linux.shell_history(None).unwrap();
    let typed: Vec<&str> =
        (0..5).map(|index| truth["planted_values"][format!("hist{index}")]["text"].as_str().unwrap()).collect();
    let mut shells = 0;
    for process in truth["processes"].as_array().unwrap() {
        let (pid, comm) = (process["pid"].as_u64().unwrap() as u32, process["comm"].as_str().unwrap());
        let own: Vec<_> = lines.iter().filter(|line| line.pid == pid).collect();
        let keeper = if comm == "bash" { "readline" } else { "busybox" };
        // Others are busybox's tools, and the shell that waits in a loop.
        let terminal = process["tty_nr"].as_u64().unwrap() != 0;
        if !(comm == "bash" || comm == "sh" && terminal) {
            assert!(own.is_empty(), "{name}: {pid} {comm}: {own:?}");
            continue;
        }
        shells += 1;
        assert_eq!(
            own.iter().map(|line| line.command.as_str()).collect::<Vec<_>>(),
            typed,
            "{name}: {pid}: {remarks:?}"
        );
        assert!(own.iter().all(|line| line.keeper == keeper && line.comm.as_deref() == Some(comm)), "{name}: {own:?}");
        assert_eq!(own.iter().map(|line| line.index.unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5], "{name}");
        let start = linux.boot_time_ns().unwrap() / 1_000_000_000;
        for line in own {
            let since = line.time.map(|time| time - start);
            assert_eq!(since.is_some(), keeper == "readline", "{name}: {line:?}");
            assert!(
                since.is_none_or(|since| (0..=linux.uptime().unwrap() as i64).contains(&since)),
                "{name}: {line:?}"
            );
        }
    }
    println!("{name}: {} lines of {shells} shells; {remarks:?}", lines.len());
    assert!(shells > 0, "{name}");
}

fn memory(guest: &Guest, linux: &Linux) {
    let name = &guest.name;
    let mut theirs = BTreeMap::new();
    for line in said(guest, "proc/meminfo").lines() {
        let (key, rest) = line.split_once(':').unwrap();
        let number: u64 = rest.split_whitespace().next().unwrap().parse().unwrap();
        theirs.insert(key.to_owned(), if rest.ends_with("kB") { number * 1024 } else { number });
    }
    let ours: BTreeMap<String, u64> = linux
        .memory_usage()
        .unwrap()
        .into_iter()
        .map(|row| (row.name.clone(), row.bytes.unwrap_or_else(|why| panic!("{name} {}: {why}", row.name))))
        .collect();
    // What nothing changes in a second.
    for key in [
        "MemTotal",
        "Unevictable",
        "Mlocked",
        "Shmem",
        "SwapCached",
        "SwapTotal",
        "SwapFree",
        "Bounce",
        "Hugetlb",
        "CommitLimit",
        "Percpu",
        "DirectMap4k",
        "DirectMap2M",
        "DirectMap1G",
    ] {
        // arm64 counts no such maps; kernels that have no bounces any more show a zero that stands nowhere.
        let made_up = key == "Bounce" && theirs.get(key) == Some(&0) && !ours.contains_key(key);
        if !made_up && (theirs.contains_key(key) || !key.starts_with("DirectMap")) {
            assert_eq!(ours[key], theirs[key], "{name}: {key}");
        }
    }
    // What moves: by the inodes and directory entries of /proc, and by pages that processors keep for themselves.
    for (key, most) in [
        ("MemFree", 8 << 20),
        ("MemAvailable", 8 << 20),
        ("SReclaimable", 8 << 20),
        ("KReclaimable", 8 << 20),
        ("Slab", 8 << 20),
        ("SUnreclaim", 2 << 20),
        ("Dirty", 1 << 20),
        ("Writeback", 1 << 20),
        ("Buffers", 1 << 20),
        ("Cached", 1 << 20),
        ("Active", 1 << 20),
        ("Active(anon)", 1 << 20),
        ("Active(file)", 1 << 20),
        ("Inactive", 1 << 20),
        ("Inactive(anon)", 1 << 20),
        ("Inactive(file)", 1 << 20),
        ("AnonPages", 1 << 20),
        ("Mapped", 1 << 20),
        ("KernelStack", 256 << 10),
        ("PageTables", 256 << 10),
        ("VmallocUsed", 256 << 10),
        ("Committed_AS", 1 << 20),
    ] {
        assert!(ours[key].abs_diff(theirs[key]) <= most, "{name}: {key}: {} and {}", ours[key], theirs[key]);
    }
    for row in ["Total", "Free", "Rsvd", "Surp"] {
        assert_eq!(ours[&format!("HugePages_{row}(2048kB)")], theirs[&format!("HugePages_{row}")] * (2 << 20));
    }
    println!("{name}: {} uses of memory", ours.len());
}

fn zones(guest: &Guest, linux: &Linux) {
    const PAGE: u64 = 4096;
    let name = &guest.name;
    let (zones, remarks) = linux.memory_zones().unwrap();
    assert!(remarks.is_empty(), "{name}: {remarks:?}");
    let mut theirs: Vec<BTreeMap<String, u64>> = Vec::new();
    let mut names = Vec::new();
    for line in said(guest, "proc/zoneinfo").lines() {
        if line.starts_with("Node ") {
            names.push(line.split_whitespace().last().unwrap().to_owned());
            theirs.push(BTreeMap::new());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let words = if words.first() == Some(&"pages") { &words[1..] } else { &words[..] };
        if let [key, value] = words
            && let Ok(value) = value.parse()
        {
            theirs.last_mut().unwrap().entry(key.trim_end_matches(':').to_owned()).or_insert(value);
        }
    }
    let populated: Vec<_> = names.iter().zip(&theirs).filter(|(_, zone)| zone["present"] > 0).collect();
    assert_eq!(zones.len(), populated.len(), "{name}");
    for (own, (zone, their)) in zones.iter().zip(populated) {
        assert_eq!(own.name.as_ref(), Some(zone), "{name}");
        for (value, key) in [
            (own.start, "start_pfn"),
            (own.spanned, "spanned"),
            (own.present, "present"),
            (own.managed, "managed"),
            (own.watermarks[0], "min"),
            (own.watermarks[1], "low"),
            (own.watermarks[2], "high"),
            (own.boost, "boost"),
        ] {
            assert_eq!(value, Some(their[key] * PAGE), "{name} {zone}: {key}");
        }
        assert!(own.free.unwrap().abs_diff(their["free"] * PAGE) < 8 << 20, "{name} {zone}");
    }
    // The machine's sums are counted apart from the zones', and agree.
    let usage: BTreeMap<String, u64> =
        linux.memory_usage().unwrap().into_iter().map(|row| (row.name, row.bytes.unwrap())).collect();
    assert_eq!(zones.iter().map(|zone| zone.managed.unwrap()).sum::<u64>(), usage["MemTotal"], "{name}");
    assert_eq!(zones.iter().map(|zone| zone.free.unwrap()).sum::<u64>(), usage["MemFree"], "{name}");
}

fn slabs(guest: &Guest, linux: &Linux) {
    let name = &guest.name;
    let (caches, remarks) = linux.slab_caches().unwrap();
    assert!(remarks.is_empty(), "{name}: {remarks:?}");
    let ours: BTreeMap<&str, _> = caches.iter().map(|cache| (cache.name.as_deref().unwrap(), cache)).collect();
    let text = said(guest, "proc/slabinfo");
    let (mut all, mut same) = (0, 0);
    for line in text.lines().skip(2) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        let own = ours.get(words[0]).unwrap_or_else(|| panic!("{name}: no cache {}", words[0]));
        assert_eq!((own.size, own.per_slab), (Some(number(3)), Some(number(4))), "{name}: {line}");
        let (objects, active, slabs) =
            (own.objects.clone().unwrap(), own.active.clone().unwrap(), own.slabs.clone().unwrap());
        assert!(active <= objects && own.object_size <= own.size, "{name}: {own:?}");
        assert_eq!(own.bytes.clone().unwrap(), slabs * number(5) * 4096, "{name}: {line}");
        all += 1;
        same += u32::from((objects, active, slabs) == (number(2), number(1), number(14)));
    }
    assert_eq!(ours.len(), all, "{name}");
    // Most caches stand still for a second.
    println!("{name}: {same} of {all} caches hold what they held");
    assert!(same * 10 > all as u32 * 7, "{name}");
    let of = |cache: &str, flag: &str| ours[cache].flags.as_ref().unwrap().iter().any(|own| own == flag);
    assert!(
        of("dentry", "RECLAIM_ACCOUNT") && of("dentry", "PANIC") && !of("task_struct", "RECLAIM_ACCOUNT"),
        "{name}"
    );
    // The pages of caches are counted a second time by the nodes, together with large pieces that are of no cache.
    let usage: BTreeMap<String, u64> =
        linux.memory_usage().unwrap().into_iter().map(|row| (row.name, row.bytes.unwrap())).collect();
    let sum = |reclaimable: bool| -> u64 {
        let own = caches.iter().filter(|cache| of(cache.name.as_ref().unwrap(), "RECLAIM_ACCOUNT") == reclaimable);
        own.map(|cache| cache.bytes.clone().unwrap()).sum()
    };
    let (given_back, kept) = (sum(true), sum(false));
    println!(
        "{name}: reclaimable slabs {given_back} by caches, {} by nodes; others {kept} and {}",
        usage["SReclaimable"], usage["SUnreclaim"]
    );
    assert_eq!(given_back, usage["SReclaimable"], "{name}");
    assert!((kept..kept + (2 << 20)).contains(&usage["SUnreclaim"]), "{name}");
}

fn interrupts(guest: &Guest, linux: &Linux) {
    let name = &guest.name;
    let (interrupts, remarks) = linux.interrupts().unwrap();
    assert!(remarks.is_empty(), "{name}: {remarks:?}");
    let text = said(guest, "proc/interrupts");
    let mut lines = text.lines();
    let cpus = lines.next().unwrap().split_whitespace().count();
    assert_eq!(linux.present().len(), cpus, "{name}");
    let mut known = BTreeSet::new();
    for line in lines {
        let (irq, rest) = line.trim().split_once(':').unwrap();
        let words: Vec<&str> = rest.split_whitespace().collect();
        let counts: Vec<u64> = words.iter().map_while(|word| word.parse().ok()).take(cpus).collect();
        let own = interrupts.iter().find(|own| own.irq == irq).unwrap_or_else(|| panic!("{name}: no {line}"));
        known.insert(irq.to_owned());
        let ours: Vec<u64> = own.counts.iter().map(|count| count.unwrap()).collect();
        assert_eq!(ours.len(), counts.len(), "{name}: {line}");
        assert_eq!(own.total, Ok(ours.iter().sum()), "{name}: {line}");
        assert!(ours.iter().zip(&counts).all(|(ours, theirs)| ours >= theirs), "{name}: {line}: {ours:?}");
        if irq.parse::<u32>().is_ok() {
            let (hwirq, flow) = (own.hwirq.unwrap().to_string(), own.flow.clone().unwrap());
            let handlers = own.handlers.join(", ");
            let chip = own.chip.as_deref().unwrap();
            // arm64 shows the kind of signal apart from the number.
            match &words[cpus..] {
                [own, how, last] => {
                    assert_eq!([*own, *how, *last], [chip, &format!("{hwirq}-{flow}"), &handlers], "{name}: {line}");
                }
                [theirs @ .., _] if theirs.len() == 3 => {
                    assert_eq!(words[cpus..], [chip, &hwirq, &flow, &handlers], "{name}: {line}");
                }
                _ => panic!("{line}"),
            }
            assert!(own.functions.iter().all(|function| !function.starts_with("0x")), "{name}: {own:?}");
        } else if counts.len() == cpus {
            assert_eq!(own.handlers, [words[cpus..].join(" ")], "{name}: {line}");
        }
        // Nobody presses a key.
        if ["1", "8", "9", "12", "NMI", "ERR", "MIS"].contains(&irq) {
            assert_eq!(ours, counts, "{name}: {line}");
        }
    }
    let more: Vec<_> = interrupts.iter().filter(|own| !known.contains(&own.irq)).collect();
    println!(
        "{name}: {} interrupts, and not listed {:?}",
        known.len(),
        more.iter().map(|own| &own.irq).collect::<Vec<_>>()
    );
    assert!(more.iter().all(|own| own.total == Ok(0)), "{name}: {more:?}");
}

fn timers(guest: &Guest, linux: &Linux) {
    let name = &guest.name;
    let (timers, remarks) = linux.timers().unwrap();
    assert!(remarks.is_empty(), "{name}: {remarks:?}");
    let text = said(guest, "proc/timer_list");
    let (mut cpu, mut function, mut long) = (0u32, String::new(), 0);
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("cpu: ") {
            cpu = number.trim().parse().unwrap();
        } else if line.starts_with(" #") && line.contains(": <") {
            function = line.split(", ").nth(1).unwrap().to_owned();
        } else if let Some(rest) = line.strip_prefix(" # expires at ") {
            let (range, left) = rest.split_once(" nsecs [in ").unwrap();
            let left: i64 = left.split(' ').next().unwrap().parse().unwrap();
            let (soft, hard) = range.split_once('-').unwrap();
            let (soft, hard): (u64, u64) = (soft.parse().unwrap(), hard.parse().unwrap());
            // What ends within a minute may have ended, and begun anew.
            if left < 60_000_000_000 {
                continue;
            }
            let own = timers.iter().find(|timer| timer.kind == "hrtimer" && timer.expires == Some(hard));
            let own = own.unwrap_or_else(|| panic!("{name}: no {function} {line}"));
            assert_eq!((own.cpu, own.soft_expires, own.function.as_deref()), (cpu, Some(soft), Some(&*function)));
            let passed = left - own.remaining.unwrap();
            assert!((0..20_000_000_000).contains(&passed), "{name}: {passed} ns from the truth to the dump: {own:?}");
            long += 1;
        }
    }
    assert!(long >= 3, "{name}: {long}");
    let processes = linux.processes().unwrap().0;
    let owned: Vec<_> = timers.iter().filter(|timer| timer.owner.is_ok()).collect();
    for timer in &owned {
        let (pid, tid, comm) = timer.owner.clone().unwrap();
        let process = processes.iter().find(|process| process.pid == pid).unwrap_or_else(|| panic!("{timer:?}"));
        let thread = linux.threads(process).0.into_iter().find(|thread| thread.tid == tid).unwrap();
        // Who waits for a timer does not run; who runs has its own for later.
        assert_eq!(thread.comm, comm, "{name}: {timer:?}");
    }
    let sleeper = owned.iter().find(|timer| timer.owner.as_ref().unwrap().2.as_deref() == Some("pool-1-nanosl"));
    assert_eq!(sleeper.unwrap().function.as_deref(), Some("hrtimer_wakeup"), "{name}");
    // khungtaskd looks every two minutes.
    let hung =
        timers.iter().find(|timer| matches!(&timer.owner, Ok((_, _, Some(comm))) if comm == "khungtaskd")).unwrap();
    assert_eq!((hung.kind, hung.function.as_deref()), ("wheel", Some("process_timeout")), "{name}");
    assert!((0..122_000_000_000).contains(&hung.remaining.unwrap()), "{name}: {hung:?}");
    let wheel: Vec<_> = timers.iter().filter(|timer| timer.kind == "wheel").collect();
    assert!(wheel.iter().all(|timer| timer.function.as_ref().is_some_and(|name| !name.starts_with("0x"))), "{name}");
    assert!(wheel.iter().any(|timer| timer.work.as_deref() == Some("vmstat_shepherd")), "{name}");
    // A wheel's timer is late by an eighth of its time at most, and none is lost behind its moment.
    assert!(wheel.iter().all(|timer| timer.remaining.unwrap() > -1_000_000_000), "{name}: {wheel:?}");
    println!("{name}: {} timers, {} of the wheel, {} with an owner", timers.len(), wheel.len(), owned.len());
}

/// The lines `key: value` of all fdinfo files that have `wanted`.
fn fdinfo(guest: &Guest, wanted: &str) -> Vec<BTreeMap<String, String>> {
    let text = said(guest, "proc/[0-9]*/fdinfo/*");
    // Each begins with its position.
    let files = text.split("pos:\t").filter(|file| file.contains(wanted));
    let pairs = |file: &str| -> BTreeMap<String, String> {
        let lines = file.lines().filter_map(|line| line.split_once(":\t"));
        lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    files.map(pairs).collect()
}

fn bpf(guest: &Guest, linux: &Linux) {
    let name = &guest.name;
    let (programs, remarks) = linux.bpf_programs().unwrap();
    let (maps, more) = linux.bpf_maps().unwrap();
    assert!(remarks.is_empty() && more.is_empty(), "{name}: {remarks:?} {more:?}");
    let (mut tags, mut tables) = (0, 0);
    for theirs in fdinfo(guest, "prog_tag:") {
        let own = programs.iter().find(|own| own.id.to_string() == theirs["prog_id"]).unwrap();
        let tag: String = own.tag.unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(tag, theirs["prog_tag"], "{name}");
        assert_eq!(own.jited.unwrap() > 0, theirs["prog_jited"] == "1", "{name}");
        assert_eq!(own.runs.unwrap().to_string(), theirs["run_cnt"], "{name}");
        // Kind 1 of the kernel's interface; two instructions of 8 bytes.
        assert_eq!((own.kind.as_deref(), theirs["prog_type"].as_str()), (Some("socket_filter"), "1"), "{name}");
        assert_eq!((own.name.as_deref(), own.xlated, own.uid), (Some("lab_prog"), Some(16), Some(0)), "{name}");
        tags += 1;
    }
    for theirs in fdinfo(guest, "map_type:") {
        let own = maps.iter().find(|own| own.id.to_string() == theirs["map_id"]).unwrap();
        let shown = [("key_size", own.key_size), ("value_size", own.value_size), ("max_entries", own.max_entries)];
        for (key, value) in shown {
            assert_eq!(value.unwrap().to_string(), theirs[key], "{name}");
        }
        assert_eq!((own.kind.as_deref(), theirs["map_type"].as_str()), (Some("array"), "2"), "{name}");
        assert_eq!((own.name.as_deref(), own.frozen), (Some("lab_map"), Some(false)), "{name}");
        tables += 1;
    }
    assert!(tags > 0 && tables > 0 && programs.len() == tags && maps.len() == tables, "{name}");
    // Loaded while the guest ran.
    let uptime = linux.uptime().unwrap();
    assert!(programs.iter().all(|own| (1..uptime).contains(&(own.loaded_ns.unwrap() / 1_000_000_000))), "{name}");
}

fn keys(guest: &Guest, linux: &Linux, whole: bool) {
    let name = &guest.name;
    let (keys, remarks) = linux.keys().unwrap();
    assert!(remarks.is_empty() || !whole, "{name}: {remarks:?}");
    let text = said(guest, "proc/keys");
    let lines: BTreeMap<u32, Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|words| (u32::from_str_radix(words[0], 16).unwrap(), words))
        .collect();
    let id = |id: Option<u32>| if id == Some(u32::MAX) { 65534 } else { id.unwrap() };
    for own in &keys {
        let words = lines.get(&own.serial).unwrap_or_else(|| panic!("{name}: {own:?} is invented"));
        assert_eq!(own.flags.as_deref(), Some(words[1]), "{name}: {words:?}");
        assert_eq!(own.usage.unwrap().to_string(), words[2], "{name}: {words:?}");
        assert_eq!((own.expiry, words[3]), (Ok(None), "perm"), "{name}: {words:?}");
        assert_eq!(format!("{:08x}", own.permissions.unwrap()), words[4], "{name}: {words:?}");
        assert_eq!([id(own.uid).to_string(), id(own.gid).to_string()], words[5..7], "{name}: {words:?}");
        let (Some(kind), Some(description)) = (own.kind.as_deref(), own.description.as_deref()) else {
            assert!(!whole, "{name}: {own:?}");
            continue;
        };
        // Nine letters of the kind.
        assert_eq!(kind.chars().take(9).collect::<String>(), words[7], "{name}: {words:?}");
        let rest = words[8..].join(" ");
        let rest = rest.strip_prefix(description).unwrap_or_else(|| panic!("{name}: {words:?}"));
        match (kind, own.links) {
            ("keyring", Some(0)) => assert_eq!(rest, ": empty", "{name}: {words:?}"),
            ("keyring", links) => {
                assert_eq!(rest, format!(": {}", links.unwrap()), "{name}: {words:?}");
                // It counts its keys, and each of them was reached through it.
                let held = keys.iter().filter(|key| key.keyrings.contains(&own.serial)).count() as u64;
                assert!(Some(held) == links || !whole, "{name}: {own:?}");
            }
            ("user", _) => assert_eq!(rest, format!(": {}", own.payload.unwrap()), "{name}: {words:?}"),
            _ => {}
        }
    }
    println!("{name}: {} of {} keys; {remarks:?}", keys.len(), lines.len());
    // What is missing is said.
    assert!(keys.len() == lines.len() || !whole && !remarks.is_empty(), "{name}");
}

/// A dump without the pages of processes and of caches: what lies in the kernel's own memory is there all the same.
#[test]
fn filtered_machines_hold_what_the_kernel_counts() {
    for guest in guests(&FILTERED) {
        let name = &guest.name;
        let (linux, _) = guest.open();
        let usage = linux.memory_usage().unwrap();
        let total = usage.iter().find(|row| row.name == "MemTotal").unwrap().bytes.clone().unwrap();
        let said_total = said(&guest, "proc/meminfo");
        let said_total: u64 = said_total.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(total, said_total * 1024, "{name}");
        let failed: Vec<_> = usage.iter().filter(|row| row.bytes.is_err()).collect();
        println!("{name}: {} uses of memory, without {failed:?}", usage.len());
        zones(&guest, &linux);
        let caches = linux.slab_caches().unwrap();
        let (interrupts, timers) = (linux.interrupts().unwrap(), linux.timers().unwrap());
        println!(
            "{name}: {} caches {:?}, {} interrupts {:?}, {} timers {:?}",
            caches.0.len(),
            caches.1,
            interrupts.0.len(),
            interrupts.1,
            timers.0.len(),
            timers.1
        );
        keys(&guest, &linux, false);
        let (programs, maps) = (linux.bpf_programs().unwrap(), linux.bpf_maps().unwrap());
        println!("{name}: programs {:?} {:?}, maps {:?} {:?}", programs.0, programs.1, maps.0, maps.1);
        assert!(programs.0.iter().all(|own| own.id == 1 && own.kind.as_deref() == Some("socket_filter")), "{name}");
        // Nothing is left out without a word.
        assert!(!programs.0.is_empty() || !programs.1.is_empty(), "{name}");
        assert!(!maps.0.is_empty() || !maps.1.is_empty(), "{name}");
    }
}
