//! Real Linux machines, understood from their memory alone, against what each said of itself while it ran.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_dump::system::vmcoreinfo;
use afterimage_dump::{Budget, Extent, Fault, Memory, Phys, PhysMemory, open};
use afterimage_target::linux::Linux;
use common::{DUMPS, guests, vmcores};
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

#[test]
fn machines_say_the_same_of_themselves() {
    for guest in guests(&DUMPS) {
        let (linux, truth) = guest.open();
        let shown = &guest.name;
        println!("{shown}: {:?}", linux.evidence);
        kallsyms(shown, &linux, &guest.folder);
        let release = truth["osrelease"].as_str().unwrap();
        assert!(linux.banner().unwrap().starts_with(&format!("Linux version {release}")));
        assert_eq!(linux.command_line().unwrap().trim(), truth["cmdline"].as_str().unwrap().trim(), "{shown}");
        if let Some(offset) = truth["kaslr"]["offset"].as_str() {
            assert_eq!(format!("{:#x}", linux.kaslr_offset.unwrap()), offset, "{shown}");
        }
        // Some kernels have no names for what is not code and not exported.
        let named = linux.symbols.address("saved_command_line").is_some();
        let started = linux.boot_time_ns();
        assert!(started.is_some() || !named, "{shown}");
        assert!(started.is_none_or(|ns| ns > 1_700_000_000_000_000_000), "{shown}");
        processes(shown, &linux, &truth);
        modules(shown, &linux, &truth);
        log(shown, &linux, &guest.folder);
    }
}

/// Every symbol of the kernel itself, with its address and type.
fn kallsyms(shown: &str, linux: &Linux, folder: &Path) {
    let text = Command::new("zcat").arg(folder.join("TRUTH/kallsyms.gz")).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    let mut theirs: Vec<(u64, String, String)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (address, kind, name, module) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap(), words.next());
        if module.is_none() {
            theirs.push((u64::from_str_radix(address, 16).unwrap(), kind.to_owned(), name.to_owned()));
        }
    }
    let mut ours: Vec<(u64, String, String)> =
        linux.symbols.iter().map(|symbol| (symbol.address, symbol.kind.to_string(), symbol.name.to_owned())).collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours.len(), theirs.len(), "{shown}: number of symbols");
    let wrong = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).take(3).collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{shown}: {wrong:x?}");
}

fn processes(shown: &str, linux: &Linux, truth: &Value) {
    let (ours, remarks) = linux.processes().unwrap();
    let filtered = shown.contains("d31");
    assert!(remarks.is_empty() || filtered, "{shown}: {remarks:?}");
    let ours: HashMap<u64, _> = ours.iter().map(|process| (u64::from(process.pid), process)).collect();
    let theirs = truth["processes"].as_array().unwrap();
    let (mut lines, mut unreadable) = (0, 0);
    for process in theirs {
        let pid = process["pid"].as_u64().unwrap();
        let Some(own) = ours.get(&pid) else { panic!("{shown}: process {pid} ({}) is missing", process["comm"]) };
        let Some(own_comm) = &own.comm else {
            unreadable += 1;
            continue;
        };
        assert_eq!(own.kernel_thread, process["kernel_thread"].as_bool(), "{shown}: {pid}");
        // What a worker of the kernel is called changes with its work.
        if !process["comm"].as_str().unwrap().starts_with("kworker") {
            let comm = process["comm"].as_str().unwrap();
            assert_eq!(*own_comm, comm.chars().take(15).collect::<String>(), "{shown}: {pid}");
        }
        if let Some(ppid) = own.ppid {
            assert_eq!(Some(u64::from(ppid)), process["ppid"].as_u64(), "{shown}: {pid}");
        }
        if let Some(uid) = own.uid {
            assert_eq!(Some(u64::from(uid)), process["uid"][1].as_u64(), "{shown}: {pid}");
        }
        let words: Vec<&str> = process["cmdline"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        if let Ok(line) = &own.command_line
            && !words.is_empty()
        {
            assert_eq!(line.trim_end(), words.join(" ").trim_end(), "{shown}: {pid}");
            lines += 1;
        }
        if let (Ok(exe), Some(path)) = (&own.exe, process["exe"].as_str()) {
            assert_eq!(exe, path.trim_end_matches(" (deleted)"), "{shown}: {pid}");
        }
    }
    let extra: Vec<_> =
        ours.keys().filter(|pid| !theirs.iter().any(|process| process["pid"].as_u64() == Some(**pid))).collect();
    // Workers of the kernel may have come since.
    let worker = |pid: &&u64| ours[*pid].comm.as_ref().is_none_or(|comm| comm.starts_with("kworker"));
    assert!(extra.iter().all(worker), "{shown}: {extra:?}");
    println!("{shown}: {} processes, {lines} command lines, {unreadable} not in the dump; {remarks:?}", ours.len());
    // Whoever filters leaves out the pages of processes.
    assert!(filtered || lines > 5 && unreadable == 0, "{shown}: {lines} command lines");
}

fn modules(shown: &str, linux: &Linux, truth: &Value) {
    let (ours, remarks) = linux.modules().unwrap();
    // Whoever filters may leave out pages with lists of users.
    assert!(remarks.is_empty() || shown.contains("d31"), "{shown}: {remarks:?}");
    let theirs = truth["modules"].as_array().unwrap();
    assert_eq!(ours.len(), theirs.len(), "{shown}");
    for module in theirs {
        let own = ours.iter().find(|own| own.name == module["name"].as_str().unwrap());
        let own = own.unwrap_or_else(|| panic!("{shown}: {} is missing", module["name"]));
        assert_eq!(format!("{:#x}", own.base), module["address"].as_str().unwrap(), "{shown}: {}", own.name);
        assert_eq!(Some(own.size), module["size"].as_u64(), "{shown}: {}", own.name);
    }
}

/// Every line that the guest's own dmesg had.
fn log(shown: &str, linux: &Linux, folder: &Path) {
    let lines = linux.log().unwrap();
    let theirs = String::from_utf8_lossy(&std::fs::read(folder.join("TRUTH/dmesg.txt")).unwrap()).into_owned();
    let mut missing = Vec::new();
    for line in theirs.lines() {
        let Some((_, text)) = line.split_once("] ") else { continue };
        if !lines.iter().any(|own| own.text.lines().any(|own| own.trim_end() == text.trim_end())) {
            missing.push(text.to_owned());
        }
    }
    println!(
        "{shown}: {} lines of log, {} of the guest's are missing: {:?}",
        lines.len(),
        missing.len(),
        missing.iter().take(3).collect::<Vec<_>>()
    );
    assert!(missing.is_empty(), "{shown}: {missing:#?}");
}

/// Memory in which one page reads as zeros.
struct Hidden {
    inner: Arc<dyn PhysMemory>,
    page: Range<u64>,
}

impl Memory<Phys> for Hidden {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        let got = self.inner.read_at(at, buf)?;
        for (place, byte) in (at.0..).zip(buf.iter_mut().take(got)) {
            if self.page.contains(&place) {
                *byte = 0;
            }
        }
        Ok(got)
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        self.inner.extents()
    }
}

impl PhysMemory for Hidden {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        self.inner.next(at)
    }
}

/// Without any hint: no note, no VMCOREINFO in memory, no registers. The kernel's own tables are enough.
#[test]
fn a_kernel_is_found_without_any_hint() {
    for guest in guests(&[DUMPS[0], DUMPS[2], DUMPS[3]]) {
        let shown = &guest.name;
        let mut dump = open(&guest.dump, &Budget::default()).unwrap();
        let machine = dump.machine.as_mut().unwrap();
        let page_bytes = if guest.name.ends_with("16k") { 0x4000 } else { 0x1000 };
        // Some kernels have none without a crash kernel.
        if let Some(found) = vmcoreinfo::find(&*machine.memory, page_bytes, &mut |_| true) {
            let page = found.at.0 & !0xfff;
            machine.memory = Arc::new(Hidden { inner: machine.memory.clone(), page: page..page + 0x2000 });
        }
        assert_eq!(vmcoreinfo::find(&*machine.memory, 4096, &mut |_| true), None);
        machine.vmcoreinfo = None;
        machine.page_table = None;
        machine.cpus.clear();
        let linux = Linux::open(&dump).unwrap_or_else(|why| panic!("{shown}: {why}"));
        println!("{shown}: {:?}", linux.evidence);
        assert_eq!(linux.vmcoreinfo, None);
        kallsyms(shown, &linux, &guest.folder);
        processes(shown, &linux, &guest.truth());
    }
}

/// No kernel at all, half of one, and none where one should be: a reason each time, and no panic.
#[test]
fn no_kernel_has_a_reason() {
    let Some(folder) = vmcores() else { return };
    let (name, file) = DUMPS[2];
    for keep in [0u64, 1 << 20, 64 << 20, 160 << 20] {
        let mut dump = open(&folder.join(name).join(file), &Budget::default()).unwrap();
        let machine = dump.machine.as_mut().unwrap();
        machine.memory = Arc::new(Hidden { inner: machine.memory.clone(), page: keep..u64::MAX });
        let why = Linux::open(&dump).err();
        assert!(why.as_ref().is_none_or(|why| why.len() > 20), "{keep:#x}: {why:?}");
    }
}

/// A kernel for a processor that is not understood is said to be one, and not searched for.
#[test]
fn narrow_kernels_are_refused_by_name() {
    let mut file = tempfile::NamedTempFile::with_suffix(".raw").unwrap();
    std::io::Write::write_all(&mut file, &vec![0; 2 << 20]).unwrap();
    let mut dump = open(file.path(), &Budget::default()).unwrap();
    dump.arch = afterimage_dump::Arch::X86;
    let why = Linux::open(&dump).err().unwrap();
    assert!(why.contains("x86") && why.contains("only those for x86-64 and arm64"), "{why}");
}
