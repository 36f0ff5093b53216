//! Every real ELF core among the shared samples, against what eu-readelf, lldb's and rizin's own tests, and humility say.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::{Budget, Dump, ExceptionKind, Os, Virt, open};
use std::path::{Path, PathBuf};

fn samples() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(folder)
}

fn dump(path: &Path) -> Dump {
    open(path, &Budget::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// A thread as eu-readelf lists it.
#[derive(Default)]
struct Listed {
    pid: u64,
    cursig: u64,
    registers: Vec<(String, u64)>,
}

/// What eu-readelf says of one core.
#[derive(Default)]
struct Listing {
    threads: Vec<Listed>,
    /// PRSTATUS notes that it lists without decoding them count too.
    statuses: usize,
    owners: Vec<String>,
    info: Option<(i32, i32)>,
    fault: Option<u64>,
    files: Option<usize>,
    process: Option<(u64, u64, u64)>,
    loads: usize,
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse::<u64>().ok().or_else(|| text.parse::<i64>().ok().map(|n| n as u64)),
    }
}

fn pairs(line: &str) -> Vec<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let pair = |w: &[&str]| Some((w[0].strip_suffix(':')?.to_owned(), number(w[1].trim_end_matches(','))?));
    words.windows(2).filter_map(pair).collect()
}

fn parse(text: &str) -> Listing {
    let mut listing = Listing::default();
    let mut note = "";
    let mut in_notes = false;
    for line in text.lines() {
        listing.loads += usize::from(line.starts_with("  LOAD "));
        in_notes |= line.starts_with("Note segment");
        if !in_notes {
            continue;
        }
        if line.starts_with("  ") && !line.starts_with("   ") {
            let words: Vec<&str> = line.split_whitespace().collect();
            note = words.last().copied().unwrap_or_default();
            if note == "PRSTATUS" && words[0] != "NetBSD-CORE" {
                listing.statuses += 1;
                listing.threads.push(Listed::default());
            }
            if words[0].contains('@') && !listing.owners.contains(&words[0].to_owned()) {
                listing.owners.push(words[0].to_owned());
            }
            continue;
        }
        let found = pairs(line);
        let value = |name: &str| found.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        match note {
            "PRSTATUS" => {
                let thread = listing.threads.last_mut().unwrap();
                thread.pid = value("pid").unwrap_or(thread.pid);
                thread.cursig = value("cursig").unwrap_or(thread.cursig);
                let header = ["pid", "ppid", "pgrp", "sid", "cursig", "utime", "info.si_signo", "fpvalid"];
                if !found.iter().any(|(name, _)| header[..7].contains(&name.as_str())) {
                    thread.registers.extend(found.into_iter().filter(|(name, _)| name != "fpvalid"));
                } else {
                    let known = |n: &str| header.contains(&n) || n.starts_with("info.") || n.ends_with("time");
                    thread.registers.extend(found.into_iter().filter(|(name, _)| !known(name)));
                }
            }
            "PRPSINFO" => {
                if let (Some(uid), Some(gid), Some(pid)) = (value("uid"), value("gid"), value("pid")) {
                    listing.process = Some((uid, gid, pid));
                }
            }
            "SIGINFO" => {
                if let (Some(signo), Some(code)) = (value("si_signo"), value("si_code")) {
                    listing.info.get_or_insert((signo as i32, code as i32));
                }
                if let Some(at) = line.trim().strip_prefix("fault address: ") {
                    listing.fault = number(at);
                }
            }
            "FILE" => {
                if let Some(count) = line.trim().strip_suffix(" files:") {
                    listing.files = count.parse().ok();
                }
            }
            _ => {}
        }
    }
    listing
}

/// eu-readelf's name of a register in the terms of the processor's table.
fn our_name(arch: &str, name: &str) -> String {
    let name = match (arch, name) {
        (_, "rflags") => "eflags",
        (_, "fs.base") => "fs_base",
        (_, "gs.base") => "gs_base",
        ("aarch64", "x29") => "fp",
        ("aarch64", "x30") => "lr",
        ("aarch64", "pstate") | ("arm", "spsr") => "cpsr",
        ("ppc64", "nip") => "pc",
        ("ppc64", "orig_gpr3") => "orig_r3",
        ("sparc64", "o6") => "sp",
        ("sparc64", "i6") => "fp",
        ("sparc64", "state") => "psr",
        ("riscv64", "s0") => "fp",
        (_, name) => name,
    };
    name.to_owned()
}

#[test]
fn every_linux_core_agrees_with_eu_readelf() {
    let Some(samples) = samples() else { return };
    let mut paths = Vec::new();
    for folder in
        ["elf-core/elfutils", "elf-core/lldb", "elf-core/drgn", "elf-core/go", "elf-core/rizin", "bsd/lldb-register"]
    {
        for entry in std::fs::read_dir(samples.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_str().unwrap().to_owned();
            if let Some(core) = name.strip_suffix(".tool-readelf.txt") {
                let packed = ["", ".bz2", ".zst", ".gz"].map(|end| PathBuf::from(format!("{core}{end}")));
                let core = packed.iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("no core for {name}"));
                paths.push((path, core.clone()));
            }
        }
    }
    assert!(paths.len() >= 45, "only {} samples", paths.len());
    let (mut registers, mut threads) = (0, 0);
    for (listing_path, path) in paths {
        let listing = parse(&std::fs::read_to_string(listing_path).unwrap());
        let dump = dump(&path);
        let what = path.display();
        if !listing.owners.is_empty() {
            assert_eq!(dump.threads.len(), listing.owners.len(), "{what}");
        } else if listing.statuses > 0 {
            assert_eq!(dump.threads.len(), listing.statuses, "{what}");
        }
        if dump.os != Os::Linux {
            continue;
        }
        if let Some((uid, gid, pid)) = listing.process {
            let ids = (dump.process.uid.unwrap(), dump.process.gid.unwrap(), dump.process.pid.unwrap());
            assert_eq!((u64::from(ids.0), u64::from(ids.1), u64::from(ids.2)), (uid, gid, pid), "{what}");
        }
        if let Some(files) = listing.files {
            assert_eq!(dump.mappings.len(), files, "{what}");
        }
        let arch = dump.arch.info().name;
        let narrow = dump.arch.info().pointer_size == 4;
        for (ours, theirs) in dump.threads.iter().zip(&listing.threads) {
            threads += 1;
            // eu-readelf has no tables for these two.
            if matches!(arch, "hppa" | "loongarch64") {
                continue;
            }
            assert_eq!(u64::from(ours.tid), theirs.pid, "{what}");
            assert_eq!(ours.signal.unwrap_or(0) as u64, theirs.cursig, "{what}");
            let mut compared = 0;
            for (name, value) in &theirs.registers {
                // eu-readelf 0.188 shows Alpha's last two registers shifted by one; the stack says which is right.
                if arch == "alpha" && matches!(name.as_str(), "pc" | "unique") {
                    continue;
                }
                let Some(own) = ours.registers.by_name(&our_name(arch, name)) else {
                    continue;
                };
                let value = if narrow { value & 0xffff_ffff } else { *value };
                assert_eq!(own, value, "{what}: thread {} register {name}", ours.tid);
                compared += 1;
            }
            assert!(compared >= 15, "{what}: only {compared} registers compared");
            registers += compared;
        }
        let own = dump.threads.iter().find_map(|thread| thread.signal_info);
        if let Some(info) = listing.info {
            let own = own.unwrap_or_else(|| panic!("{what}: no signal information"));
            assert_eq!((own.signo, own.code), info, "{what}");
            if listing.fault.is_some() {
                assert_eq!(own.address, listing.fault, "{what}");
            }
        }
        if dump.writer.as_deref() == Some("kernel") {
            let exception = dump.exception.as_ref().unwrap_or_else(|| panic!("{what}: no exception"));
            assert_eq!(exception.tid, Some(dump.threads[0].tid), "{what}");
        }
    }
    println!("{threads} threads and {registers} registers agree");
    assert!(registers > 1000);
}

#[test]
fn lldb_knows_the_registers_of_the_bsds() {
    let Some(samples) = samples() else { return };
    let folder = samples.join("bsd/lldb-register");
    let cases = [
        ("x86-64-freebsd.core", "x86-64-gp-hixmm.check", Os::FreeBsd),
        ("x86-64-netbsd.core", "x86-64-gp-hixmm.check", Os::NetBsd),
        ("x86-32-freebsd.core", "x86-32-gp.check", Os::FreeBsd),
        ("x86-32-netbsd.core", "x86-32-gp.check", Os::NetBsd),
    ];
    for (core, check, os) in cases {
        let dump = dump(&folder.join(core));
        assert_eq!(dump.os, os, "{core}");
        let expected = std::fs::read_to_string(folder.join(check)).unwrap();
        let mut compared = 0;
        for line in expected.lines() {
            let Some((name, value)) = line.trim_start_matches("# CHECK-DAG: ").split_once(" = ") else { continue };
            let ours = dump.threads[0].registers.by_name(name);
            if let (Some(ours), Some(value)) = (ours, number(value)) {
                assert_eq!(ours, value, "{core}: {name}");
                compared += 1;
            }
        }
        assert!(compared >= 8, "{core}: only {compared} registers compared");
    }
}

#[test]
fn lldb_knows_who_crashed() {
    let Some(samples) = samples() else { return };
    let crashed = |path: &str, signo: i32| {
        let dump = dump(&samples.join(path));
        let exception = dump.exception.as_ref().unwrap_or_else(|| panic!("{path}: no exception"));
        assert!(matches!(exception.kind, ExceptionKind::Signal { signo: s, .. } if s == signo), "{path}");
        (exception.tid.unwrap(), dump)
    };
    assert_eq!(crashed("elf-core/lldb/thread_crash-linux-x86_64.core", 4).0, 5250);
    assert_eq!(crashed("bsd/netbsd/1lwp_SIGSEGV.amd64.core", 11).0, 1);
    assert_eq!(crashed("bsd/netbsd/2lwp_t2_SIGSEGV.amd64.core", 11).0, 2);
    assert_eq!(crashed("bsd/netbsd/2lwp_t2_SIGSEGV.aarch64.core", 11).0, 2);
    let (tid, dump) = crashed("bsd/lldb-register/aarch64-freebsd-multithread.core", 11);
    assert_eq!((tid, dump.threads.len()), (100_160, 4));
    assert_eq!(dump.exception.as_ref().unwrap().address, Some(Virt(0)));
    assert_eq!(dump.threads[0].name.as_deref(), Some("a.out"));
    assert_eq!(dump.process.executable.as_deref(), Some("/home/mgorny/a.out"));
    let (_, dump) = crashed("bsd/openbsd/core-openbsd-sparc64.zst", 11);
    assert_eq!((dump.os, dump.process.pid), (Os::OpenBsd, Some(5370)));

    // Cores of healthy processes: gdb wrote them while it held the process by SIGSTOP, or at a breakpoint.
    for path in ["elf-core/lldb/gcore-linux-x86_64.core", "elf-core/rizin/core-linux-mips32el-bin-ls.zst"] {
        let dump = self::dump(&samples.join(path));
        assert_eq!(dump.writer.as_deref(), Some("gcore"), "{path}");
        assert!(dump.exception.is_none(), "{path}: {:?}", dump.exception);
    }
    let gcore = self::dump(&samples.join("elf-core/lldb/gcore-linux-x86_64.core"));
    assert_eq!((gcore.process.pid, gcore.threads.len()), (Some(5669), 3));
}

#[test]
fn rizin_and_humility_know_registers() {
    let Some(samples) = samples() else { return };
    for name in ["arm32", "arm64", "x86_64"] {
        let folder = samples.join("elf-core/rizin");
        let dump = dump(&folder.join(format!("core-linux-{name}")));
        let expected = std::fs::read_to_string(folder.join(format!("core-linux-{name}.expect.txt"))).unwrap();
        let mut compared = 0;
        for line in expected.lines() {
            let Some((register, value)) = line.trim().split_once(" = ") else { continue };
            let alias = match register {
                "sb" => "r9",
                "sl" => "r10",
                "ip" => "r12",
                "fp" if name == "arm32" => "r11",
                other => other,
            };
            if let (Some(own), Some(value)) = (dump.threads[0].registers.by_name(alias), number(value)) {
                assert_eq!(own, value, "{name}: {register}");
                compared += 1;
            }
        }
        assert!(compared >= 15, "{name}: only {compared}");
    }
    for (core, expected) in [("v6", "registers.v6.stdout"), ("new-sensors", "registers.new-sensors.stdout")] {
        let folder = samples.join("embedded");
        let dump = dump(&folder.join(format!("hubris.core.{core}.zst")));
        let expected = std::fs::read_to_string(folder.join("expect").join(expected)).unwrap();
        let mut compared = 0;
        for line in expected.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some("="), Some(value)) = (words.next(), words.next(), words.next()) else { continue };
            if let (Some(own), Some(value)) = (dump.threads[0].registers.by_name(&name.to_lowercase()), number(value)) {
                assert_eq!(own, value, "{core}: {name}");
                compared += 1;
            }
        }
        assert_eq!(compared, 16, "{core}");
    }
}

#[test]
fn the_start_block_is_read_on_every_processor() {
    let Some(samples) = samples() else { return };
    let expected = [
        ("elf-core/elfutils/backtrace.aarch64.core.bz2", 20, "./backtrace-child --gencore"),
        ("elf-core/elfutils/backtrace.i386.core.bz2", 52, "./backtrace.i386.exec --gencore"),
        ("elf-core/elfutils/backtrace.s390x.core.bz2", 67, "./backtrace.s390x.exec --gencore"),
        ("elf-core/elfutils/testfile66.core.bz2", 71, "./pie3"),
        ("elf-core/rizin/core-linux-alpha", 19, "./a.out"),
        ("elf-core/rizin/core-linux-arm32", 26, "./crash-linux-arm32"),
        ("elf-core/rizin/core-linux-mips32el-bin-ls.zst", 23, "/usr/bin/ls /etc"),
        ("elf-core/elfutils/testfile-x32-core.bz2", 54, "./a.out"),
    ];
    for (path, variables, line) in expected {
        let dump = dump(&samples.join(path));
        assert_eq!(dump.process.command_line.as_deref(), Some(line), "{path}");
        assert_eq!(dump.process.environment.len(), variables, "{path}");
        assert!(dump.process.environment.iter().any(|(name, _)| name == "PATH"), "{path}");
    }
}

#[test]
fn many_segments_and_whole_machines_open() {
    let Some(samples) = samples() else { return };
    let start = std::time::Instant::now();
    let dump = dump(&samples.join("elf-core/rizin/more-than-65535-segments.gz"));
    assert_eq!(dump.regions.len(), 131_070);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    for entry in std::fs::read_dir(samples.join("kdump")).unwrap() {
        let path = entry.unwrap().path();
        // Not read as what they are yet, but they may neither hang nor panic.
        let _ = open(&path, &Budget::default());
    }
}

#[test]
fn a_core_cut_anywhere_opens_or_says_why_not() {
    let Some(samples) = samples() else { return };
    let whole = std::fs::read(samples.join("elf-core/rizin/core-linux-x86_64")).unwrap();
    for cut in (0..whole.len()).step_by(4096).chain(1..2048) {
        let bytes = whole[..cut].to_vec();
        let source = std::sync::Arc::new(bytes);
        match afterimage_dump::open_source(Path::new("cut"), source, &Budget::default()) {
            Ok(dump) => {
                assert!(!dump.complete(), "{cut}");
                let lost: u64 = dump.regions.iter().map(|r| r.present_bytes).sum::<u64>() + dump.missing_bytes;
                // The segments begin at 0x2000 and hold 278 528 bytes in the whole file.
                if cut >= 4096 {
                    assert_eq!(lost, 278_528, "{cut}");
                    assert_eq!(dump.threads.len(), 1, "{cut}");
                }
            }
            Err(e) => {
                assert!(cut < 2048, "{cut}: {e}");
                assert!(e.to_string().starts_with("cut"), "{e}");
            }
        }
    }
}
