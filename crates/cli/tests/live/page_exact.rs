//! A dump has what there is, and no more: every kind of mapping, and a reservation of 256 GiB.

use crate::lab::{can_use, capture_by, find, folder, run, ways};
use afterimage_testkit::live::{Core, Live, Program, field, marks, zoo_faults};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Kibibytes of a field of the process's `smaps_rollup`.
fn resident(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = field(&text, name).unwrap_or_default();
    field.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What gdb finds at some addresses.
fn gdb_words(core: &Path, addresses: &[u64]) -> Vec<Option<u64>> {
    let mut gdb = Command::new(find("gdb").unwrap());
    gdb.args(["-batch", "-nx", "-ex", "set debuginfod enabled off"]);
    for address in addresses {
        gdb.arg("-ex").arg(format!("x/gx {address:#x}"));
    }
    let program = afterimage_testkit::live::program(Program::Zoo).unwrap();
    let output = run(gdb.arg("-ex").arg("info threads").arg(program).arg(core));
    let text = String::from_utf8_lossy(&output.stdout);
    let word = |address: &u64| {
        let line = text.lines().find(|line| line.starts_with(&format!("{address:#x}")))?;
        u64::from_str_radix(line.rsplit_once("0x")?.1.trim(), 16).ok()
    };
    addresses.iter().map(word).collect()
}

/// Bytes of the file that really hold data of one range of memory.
fn cost(core: &Core, start: u64, length: u64) -> u64 {
    let mut cost = 0;
    for load in &core.loads {
        for (offset, size) in core.data(load).unwrap() {
            let at = load.start + (offset - load.offset);
            cost += (at + size).min(start + length).saturating_sub(at.max(start));
        }
    }
    cost
}

#[test]
fn every_kind_of_mapping_is_treated_rightly() {
    let place = folder();
    let file = place.path().join("dump");
    for way in ways() {
        let zoo = Live::start(Program::Zoo, &[]).unwrap();
        let said = capture_by(way, zoo.pid(), &["--compress", "none"], &file);
        let core = Core::open(&file).unwrap();
        let faults = zoo_faults(&zoo.ready, &core);
        assert!(faults.is_empty(), "{way}: {faults:#?}");

        let meta = file.metadata().unwrap();
        let (disk, rss) = (meta.blocks() * 512, resident(zoo.pid(), "Rss") * 1024);
        assert!(disk <= rss + rss / 10, "{way}: {disk} bytes on disk for {rss} resident");
        // What is left out stays a hole: no more than the address space, and the headers.
        assert!(meta.size() <= (257 << 30), "{way}: {} bytes long", meta.size());
        assert_eq!(said["file_size"].as_u64(), Some(meta.size()), "{said}");

        for mapping in zoo.ready["mappings"].as_array().unwrap() {
            let (start, length) = (mapping["start"].as_u64().unwrap(), mapping["length"].as_u64().unwrap());
            let name = mapping["name"].as_str().unwrap();
            let cost = cost(&core, start, length);
            let most = match name {
                "reserve" => 256 * 4096 * 2,
                "zero page" | "written zeros" | "none untouched" => 16 * 4096,
                _ => continue,
            };
            assert!(cost <= most, "{way}: {name} takes {cost} bytes of the file");
        }
        if can_use("gdb") {
            let mut wanted = marks(&zoo.ready, "present");
            wanted.retain(|(name, at, _)| name != "reserve" || at % 7 == 0 || at / (1 << 30) % 16 == 0);
            let addresses: Vec<u64> = wanted.iter().map(|(_, at, _)| *at).collect();
            for ((name, at, value), found) in wanted.iter().zip(gdb_words(&file, &addresses)) {
                assert_eq!(found, Some(*value), "{way}: gdb at {at:#x} of {name}");
            }
        }
        assert!(zoo.quit().unwrap().success());
    }
}

/// A complete dump also has what lies in files.
#[test]
fn a_complete_dump_has_files_too() {
    let place = folder();
    let file = place.path().join("dump");
    for way in ways() {
        let zoo = Live::start(Program::Zoo, &["--reserve", "1G"]).unwrap();
        capture_by(way, zoo.pid(), &["--type", "complete", "--compress", "none"], &file);
        let core = Core::open(&file).unwrap();
        let wanted = marks(&zoo.ready, "either");
        assert!(!wanted.is_empty());
        for (name, at, value) in wanted {
            assert_eq!(core.u64_at(at), Some(value), "{way}: {at:#x} of {name}");
        }
        for (name, at, value) in marks(&zoo.ready, "present") {
            assert_eq!(core.u64_at(at), Some(value), "{way}: {at:#x} of {name}");
        }
    }
}

/// `coredump_filter` is the process's own wish.
#[test]
fn the_filter_of_the_process_is_honoured() {
    let place = folder();
    let file = place.path().join("dump");
    let zoo = Live::start(Program::Zoo, &["--reserve", "1G"]).unwrap();
    // Without bit 1: no shared anonymous memory, which memfd's is, too.
    std::fs::write(format!("/proc/{}/coredump_filter", zoo.pid()), "0x31").unwrap();
    for way in ways() {
        capture_by(way, zoo.pid(), &["--compress", "none"], &file);
        let core = Core::open(&file).unwrap();
        for (name, at, value) in marks(&zoo.ready, "present") {
            let shared = matches!(name.as_str(), "shared anonymous" | "memfd");
            assert_eq!(core.u64_at(at) == Some(value), !shared, "{way}: {at:#x} of {name}");
        }
    }
}

/// A swap device on a loop device, gone with this value; `None` where there can be none.
struct Swap {
    device: String,
    _file: tempfile::NamedTempFile,
}

impl Swap {
    fn new() -> Option<Self> {
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        file.as_file().set_len(256 << 20).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file.path()).output().ok()?;
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        if device.is_empty() {
            return None;
        }
        let swap = Self { device, _file: file };
        let done =
            |program: &str| Command::new(program).arg(&swap.device).output().is_ok_and(|out| out.status.success());
        (done("mkswap") && done("swapon")).then_some(swap)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("swapoff").arg(&self.device).output();
        let _ = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}

/// Pages that have been swapped out are read back, in every way.
#[test]
fn swapped_pages_are_in_the_dump() {
    const MADV_PAGEOUT: i32 = 21;
    if !crate::lab::is_root() {
        return;
    }
    let Some(_swap) = Swap::new() else {
        eprintln!("no swap can be had here: not tested");
        return;
    };
    let place = folder();
    let file = place.path().join("dump");
    for way in ways() {
        let zoo = Live::start(Program::Zoo, &[]).unwrap();
        // SAFETY: pidfd_open takes two numbers.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, zoo.pid(), 0) };
        assert!(pidfd >= 0);
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", zoo.pid())).unwrap();
        for line in maps.lines().filter(|line| line.contains("rw-p")) {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let (start, end) = (usize::from_str_radix(start, 16).unwrap(), usize::from_str_radix(end, 16).unwrap());
            if end - start > 1 << 30 {
                continue;
            }
            let range = libc::iovec { iov_base: start as *mut libc::c_void, iov_len: end - start };
            // SAFETY: the kernel reads one iovec of ours; the memory that it names is the other process's.
            unsafe { libc::syscall(libc::SYS_process_madvise, pidfd, &raw const range, 1, MADV_PAGEOUT, 0) };
        }
        // SAFETY: the descriptor is ours and is not used any more.
        unsafe { libc::close(i32::try_from(pidfd).unwrap()) };
        let swapped = resident(zoo.pid(), "Swap");
        assert!(swapped > 100, "{way}: only {swapped} KiB have been swapped out");
        capture_by(way, zoo.pid(), &["--compress", "none"], &file);
        let faults = zoo_faults(&zoo.ready, &Core::open(&file).unwrap());
        assert!(faults.is_empty(), "{way}: {faults:#?}");
        std::fs::remove_file(&file).unwrap();
    }
}
