//! Registers, memory and cached files of real Linux machines' processes, against what each machine said of itself while it
//! ran.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_dump::{MemoryExt, Virt};
use afterimage_target::linux::{CachedFile, Linux, PageState, PieceState, Process, ProcessRegion, RegisterSource};
use common::{DUMPS, guests};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::process::{Command, Stdio};

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

fn filtered(name: &str) -> bool {
    name.contains("d31")
}

fn processes(linux: &Linux) -> HashMap<u64, Process> {
    let (processes, _) = linux.processes().unwrap();
    processes.into_iter().map(|process| (u64::from(process.pid), process)).collect()
}

/// `/proc/PID/task/TID/syscall` ends with the stack pointer and the program counter of user mode.
#[test]
fn sleeping_threads_have_the_registers_that_the_kernel_showed() {
    for guest in guests(&DUMPS) {
        let (linux, truth) = guest.open();
        let ours = processes(&linux);
        let (mut agreed, mut missing, mut kernel) = (0, 0, 0);
        let mut wrong = Vec::new();
        for process in truth["processes"].as_array().unwrap() {
            let Some(own) = ours.get(&process["pid"].as_u64().unwrap()) else { continue };
            let (threads, _) = linux.threads(own);
            for thread in process["threads"].as_array().unwrap() {
                let tid = thread["tid"].as_u64().unwrap() as u32;
                let Some(found) = threads.iter().find(|own| own.tid == tid) else {
                    assert!(filtered(&guest.name), "{}: thread {tid} is missing", guest.name);
                    missing += 1;
                    continue;
                };
                let registers = linux.user_registers(found.task);
                if process["kernel_thread"] == true {
                    assert!(registers.is_err(), "{}: {tid} is of the kernel, and has {registers:?}", guest.name);
                    kernel += 1;
                    continue;
                }
                let Some(call) = thread["syscall"].as_str().filter(|call| call.split(' ').count() == 9) else {
                    continue;
                };
                // It ran on, after it had been asked.
                if thread["state"] == "R" {
                    continue;
                }
                let registers = match registers {
                    Ok(registers) => registers,
                    Err(_) if filtered(&guest.name) => {
                        missing += 1;
                        continue;
                    }
                    Err(why) => panic!("{}: {tid}: {why}", guest.name),
                };
                let words: Vec<&str> = call.split(' ').collect();
                let theirs = (words[0].parse::<i64>().unwrap(), hex(words[7]), hex(words[8]));
                let number = registers.registers.by_name("orig_rax").map(|number| number as i64);
                let own = &registers.registers;
                let ours = (number.unwrap_or(theirs.0), own.sp().unwrap().0, own.pc().unwrap().0);
                assert_eq!(registers.source, RegisterSource::Kernel, "{}: {tid}", guest.name);
                if ours == theirs {
                    agreed += 1;
                } else {
                    wrong.push((tid, process["comm"].clone(), format!("{ours:x?}"), format!("{theirs:x?}")));
                }
            }
        }
        println!("{}: {agreed} threads agree, {missing} missing, {kernel} of the kernel", guest.name);
        assert!(wrong.is_empty(), "{}: {wrong:#?}", guest.name);
        assert!(agreed > 20, "{}: only {agreed}", guest.name);
    }
}

/// Every mapping begins and ends, and begins in its file, where `/proc/PID/maps` said; and what is planted in a process is
/// read through its memory.
#[test]
fn mappings_lie_in_their_files_as_the_kernel_showed() {
    for guest in guests(&DUMPS) {
        let (linux, truth) = guest.open();
        let ours = processes(&linux);
        let (mut agreed, mut mapped) = (0, 0);
        for process in truth["processes"].as_array().unwrap() {
            let maps = process["maps"].as_array().map(Vec::as_slice).unwrap_or_default();
            let Some(own) = ours.get(&process["pid"].as_u64().unwrap()).filter(|_| !maps.is_empty()) else { continue };
            let memory = match linux.memory_of(own) {
                Ok((memory, _)) => memory,
                Err(_) if filtered(&guest.name) => continue,
                Err(why) => panic!("{}: {why}", guest.name),
            };
            let shown: BTreeMap<u64, (u64, u64, bool)> = memory
                .regions()
                .map(|region| (region.start, (region.end, region.offset.unwrap_or(0), region.file != Some(0))))
                .collect();
            for map in maps.iter().filter(|map| map["path"] != "[vsyscall]") {
                let start = hex(map["start"].as_str().unwrap());
                let Some((end, offset, file)) = shown.get(&start) else {
                    assert!(filtered(&guest.name), "{}: {map} is missing", guest.name);
                    continue;
                };
                assert_eq!(*end, hex(map["end"].as_str().unwrap()), "{}: {map}", guest.name);
                // The first segment of System V's shared memory has inode 0.
                let sysv = map["path"].as_str().is_some_and(|path| path.starts_with("/SYSV"));
                let with_file = sysv || map["inode"].as_u64().is_some_and(|inode| inode != 0);
                assert_eq!(*file, with_file, "{}: {map}", guest.name);
                if with_file {
                    assert_eq!(*offset, map["offset"].as_u64().unwrap(), "{}: {map}", guest.name);
                    mapped += 1;
                }
                agreed += 1;
            }
        }
        println!("{}: {agreed} mappings agree, {mapped} of files", guest.name);
        assert!(agreed > 100, "{}: only {agreed}", guest.name);
        planted(&guest.name, &linux, &ours, &truth);
    }
}

/// A shared library's text, the vdso and the heap of a dynamically linked program begin as such things do.
fn planted(name: &str, linux: &Linux, ours: &HashMap<u64, Process>, truth: &Value) {
    let all = truth["processes"].as_array().unwrap();
    let Some(process) = all.iter().find(|process| process["comm"] == "labdyn") else { return };
    let Some(own) = ours.get(&process["pid"].as_u64().unwrap()) else { return };
    let Ok((memory, _)) = linux.memory_of(own) else {
        assert!(filtered(name));
        return;
    };
    let mut elves = 0;
    for map in process["maps"].as_array().unwrap() {
        let path = map["path"].as_str().unwrap_or_default();
        if (path.starts_with('/') && map["offset"] == 0 && map["perms"] != "rw-p") || path == "[vdso]" {
            let mut head = [0; 4];
            match memory.read_exact(Virt(hex(map["start"].as_str().unwrap())), &mut head) {
                Ok(()) => {
                    assert_eq!(&head, b"\x7fELF", "{name}: {map}");
                    elves += 1;
                }
                Err(fault) => assert!(filtered(name), "{name}: {map}: {fault}"),
            }
        }
    }
    assert!(elves >= 4 || filtered(name), "{name}: {elves} files and a vdso");
}

/// A file's bytes, and which of them are missing.
fn content(linux: &Linux, file: &CachedFile) -> (Vec<u8>, u64) {
    let runs = linux.file_content(file).unwrap();
    let mut bytes = vec![0; file.size.unwrap() as usize];
    let mut missing = 0;
    for run in runs {
        let range = run.offset as usize..(run.offset + run.length) as usize;
        if run.state.absence().is_some() {
            missing += run.length;
        } else {
            let len = run.length as usize;
            assert_eq!(linux.read_run(&run, run.offset, &mut bytes[range]), len);
        }
    }
    (bytes, missing)
}

fn sha256(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut child =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum is missing");
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

#[test]
fn cached_files_have_the_content_that_was_written() {
    for guest in guests(&DUMPS) {
        let (linux, truth) = guest.open();
        let (files, remarks) = linux.page_cache_files().unwrap();
        assert!(remarks.is_empty() || filtered(&guest.name), "{}: {remarks:?}", guest.name);
        let find = |path: &str| {
            let found: Vec<&CachedFile> = files.iter().filter(|file| file.path.as_deref() == Ok(path)).collect();
            assert!(found.len() == 1, "{}: {path}: {found:?}", guest.name);
            found[0]
        };
        let value = |name: &str| {
            let value = &truth["planted_values"][name];
            value.as_str().or_else(|| value["text"].as_str()).unwrap_or_else(|| panic!("{name} is {value}")).to_owned()
        };
        // An ext4 file, read whole.
        let known = find("/data/known.txt");
        assert_eq!(known.filesystem.as_deref(), Some("ext4"));
        assert_eq!(known.deleted, Some(false));
        let (bytes, missing) = content(&linux, known);
        let mut whole = 0;
        if missing == 0 {
            assert_eq!(sha256(&bytes), truth["known_txt_sha256"].as_str().unwrap(), "{}", guest.name);
            whole += 1;
        }
        // Never written to the disk: one block of a page that is not up to date as a whole.
        let dirty = find("/data/dirty.txt");
        let (bytes, missing) = content(&linux, dirty);
        if missing == 0 {
            let told = format!("appended by {}\n", truth["hostname"].as_str().unwrap());
            assert_eq!(String::from_utf8_lossy(&bytes), told, "{}", guest.name);
            whole += 1;
        }
        // The disk of that file system: its second KiB is the super block, with its magic number at 0x38.
        let disk = find("/dev/vda");
        assert_eq!(disk.filesystem.as_deref(), Some("bdev"));
        let runs = linux.file_content(disk).unwrap();
        let run = runs.iter().find(|run| (run.offset..run.offset + run.length).contains(&1024)).unwrap();
        let mut block = [0; 1024];
        if run.state.absence().is_none() {
            assert_eq!(linux.read_run(run, 1024, &mut block), 1024, "{}: {run:?}", guest.name);
            assert_eq!(block[0x38..0x3a], [0x53, 0xef], "{}", guest.name);
            whole += 1;
        }
        let sum: u64 = runs.iter().map(|run| run.length).sum();
        assert_eq!(Some(sum), disk.size, "{}: {runs:?}", guest.name);
        // Three pages and a bit, each 16 bytes of which say where they are.
        let cached = find("/tmp/lab/pagecache.dat");
        assert_eq!(cached.size, Some(3 * 4096 + 160));
        let (bytes, missing) = content(&linux, cached);
        if missing == 0 {
            let tag = value("tmpfs_tag");
            for (index, bytes) in bytes.chunks(16).enumerate() {
                let told = format!("{}{:08x}", &tag[..8], index * 16);
                assert_eq!(String::from_utf8_lossy(bytes), told, "{}", guest.name);
            }
            let pages = truth["planted"].as_array().unwrap().iter().find(|one| one["name"] == "pagecache.dat").unwrap();
            let runs = linux.file_content(cached).unwrap();
            for (index, page) in pages["pages"].as_array().unwrap().iter().enumerate() {
                let at = 4096 * index as u64;
                let run = runs.iter().find(|run| run.offset <= at && at < run.offset + run.length).unwrap();
                let PageState::Cached(first) = run.state else { panic!("{}: {run:?}", guest.name) };
                assert_eq!(first.0 + (at - run.offset), hex(page.as_str().unwrap()), "{}: page {index}", guest.name);
            }
            whole += 1;
        }
        // Deleted, and open still.
        let gone = find("/tmp/lab/deleted.txt");
        assert_eq!(gone.deleted, Some(true));
        let (bytes, missing) = content(&linux, gone);
        if missing == 0 {
            assert!(bytes == value("deleted_file").as_bytes(), "{}: the deleted file differs", guest.name);
            whole += 1;
        }
        // Its first 5 MiB were never written.
        let sparse = find("/tmp/lab/sparse.dat");
        let runs = linux.file_content(sparse).unwrap();
        assert_eq!((runs[0].offset, runs[0].length, runs[0].state), (0, 5 << 20, PageState::Hole));
        let (bytes, missing) = content(&linux, sparse);
        if missing == 0 {
            assert_eq!(&bytes[5 << 20..], b"sparse-tail");
            whole += 1;
        }
        println!("{}: {} files, {whole} of 6 planted ones are whole", guest.name, files.len());
        assert!(whole == 6 || filtered(&guest.name), "{}: only {whole} whole", guest.name);
        // All names that processes have open on file systems with files are among them.
        let (open, _) = linux.open_files(None).unwrap();
        let names: Vec<_> = open.iter().filter(|file| file.kind == Some("memfd")).collect();
        for name in names {
            assert!(files.iter().any(|file| file.path.as_deref().ok() == name.path.as_deref()), "{name:?}");
        }
    }
}

/// What the kernel shows of its own to every program is not lost: no core has it.
#[test]
fn cores_do_not_miss_what_none_ever_has() {
    for guest in guests(&DUMPS) {
        let (linux, _) = guest.open();
        let mut checked = 0;
        for process in processes(&linux).values() {
            let (Ok(core), Ok((memory, _))) = (linux.core_of(process), linux.memory_of(process)) else { continue };
            let named = |region: &&ProcessRegion| matches!(&region.path, Ok(Some(name)) if name.starts_with("[vvar"));
            let own: Vec<&ProcessRegion> = memory.regions().filter(named).collect();
            assert!(!own.is_empty() || filtered(&guest.name), "{}: {}", guest.name, process.pid);
            assert_eq!(core.regions, memory.regions().count());
            assert!(!core.remarks.iter().any(|remark| remark.contains("[vvar")), "{}: {:?}", guest.name, core.remarks);
            let absent: u64 = memory
                .regions()
                .filter(|region| !named(region))
                .flat_map(|region| memory.pieces(region))
                .filter(|piece| matches!(piece.state, PieceState::Absent(_)))
                .map(|piece| piece.end - piece.start)
                .sum();
            assert_eq!(core.absent.iter().map(|(_, bytes)| bytes).sum::<u64>(), absent, "{}", guest.name);
            checked += usize::from(!own.is_empty());
        }
        println!("{}: {checked} processes", guest.name);
        assert!(checked > 0 || filtered(&guest.name), "{}", guest.name);
    }
}

/// The programs of deleted files and of memfds are whole, and the same as the file that was copied.
#[test]
fn programs_come_out_of_memory() {
    for guest in guests(&DUMPS) {
        let (linux, truth) = guest.open();
        let ours = processes(&linux);
        let (mut whole, mut partly) = (BTreeMap::new(), 0);
        for process in truth["processes"].as_array().unwrap() {
            let Some(exe) = process["exe"].as_str().filter(|exe| exe.starts_with('/')) else { continue };
            let Some(own) = ours.get(&process["pid"].as_u64().unwrap()) else { continue };
            let (file, runs) = match linux.executable_of(own) {
                Ok(found) => found,
                // A zombie has no memory any more.
                Err(why) if filtered(&guest.name) || process["state"] == "Z" => {
                    println!("{}: {why}", guest.name);
                    continue;
                }
                Err(why) => panic!("{}: {why}", guest.name),
            };
            let name = exe.trim_end_matches(" (deleted)");
            if filtered(&guest.name) && file.path.is_err() {
                continue;
            }
            assert_eq!(file.path.as_deref(), Ok(name), "{}", guest.name);
            assert_eq!(file.deleted, Some(exe.ends_with(" (deleted)")), "{}: {exe}", guest.name);
            if runs.iter().any(|run| run.state.absence().is_some()) {
                partly += 1;
                continue;
            }
            let (bytes, _) = content(&linux, &file);
            assert!(bytes.starts_with(b"\x7fELF"), "{}: {exe}", guest.name);
            whole.insert(exe.to_owned(), sha256(&bytes));
        }
        println!("{}: {} programs are whole, {partly} processes' are not", guest.name, whole.len());
        if filtered(&guest.name) {
            continue;
        }
        assert!(partly == 0 && whole.len() > 5, "{}: {partly} partly, whole: {whole:?}", guest.name);
        // They are one program by many names.
        for copy in ["/tmp/labdeleted (deleted)", "/memfd:labmemfd (deleted)"] {
            let Some(own) = whole.get(copy) else { continue };
            assert_eq!(Some(own), whole.get("/lab/bin/labthreads"), "{}: {copy}", guest.name);
        }
    }
}
