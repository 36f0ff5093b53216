//! Minidumps whose truth is known from elsewhere than another reader: what the dumped program printed about itself
//! (Wine samples), the YAML that a file was made of (lldb's tests), and files that a good tool refuses whole.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

mod minidump_support;

use afterimage_dump::{Absence, Dump, DumpType, ExceptionKind, Memory, MemoryExt, Virt};
use minidump_support::{bytes, open, open_bytes, samples};
use std::path::Path;

/// Pairs out of a `.facts.txt`.
struct Facts(Vec<(String, String)>);

impl Facts {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.all(key).next().map(number)
    }
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

fn read(dump: &Dump, at: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    dump.memory.read_exact(Virt(at), &mut bytes).ok()?;
    Some(bytes)
}

#[test]
fn wine_dumps_hold_what_the_program_printed() {
    let Some(samples) = samples() else {
        return;
    };
    let folder = samples.join("windows-wine");
    let mut seen = 0;
    let mut markers = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(stem) = file.strip_suffix(".facts.txt") else {
            continue;
        };
        let facts = Facts::read(&path);
        let plain = folder.join(format!("{stem}.dmp"));
        let dump = open(&if plain.exists() { plain } else { folder.join(format!("{stem}.dmp.zst")) });
        seen += 1;
        assert_eq!(dump.writer.as_deref(), Some("wine"), "{stem}");
        assert_eq!(dump.process.pid.map(u64::from), facts.number("pid"), "{stem}");
        let tids: Vec<u64> = dump.threads.iter().map(|thread| u64::from(thread.tid)).collect();
        for key in ["tid_main", "tid_worker0", "tid_worker1"] {
            if let Some(tid) = facts.number(key) {
                assert!(tids.contains(&tid), "{stem}: {key} {tid} is not in {tids:?}");
            }
        }
        for module in facts.all("module") {
            let mut words = module.split(' ');
            let (base, size) = (number(words.next().unwrap()), number(words.next().unwrap()));
            let name = words.next().unwrap().to_lowercase();
            let found = dump.modules.iter().find(|module| module.base == base);
            let found = found.unwrap_or_else(|| panic!("{stem}: no module at {base:#x}"));
            assert_eq!(found.end - found.base, size, "{stem}: {name}");
            assert!(found.path.to_lowercase().ends_with(&name), "{stem}: {} is not {name}", found.path);
        }
        exception_as_printed(stem, &dump, &facts);
        // A full dump has all memory; the arm64 one was killed before it could say where.
        let full = stem.contains("fullmem");
        assert_eq!(dump.dump_type, if full { DumpType::Complete } else { DumpType::Small }, "{stem}");
        if full {
            assert_eq!(dump.file_size, facts.number("size").unwrap(), "{stem}");
            let marker = read(&dump, facts.number("g_marker").unwrap(), 23).unwrap();
            assert_eq!(marker, b"MARKER-0123456789ABCDEF", "{stem}");
            let heap = read(&dump, facts.number("g_heap").unwrap(), 4096).unwrap();
            assert!(heap.starts_with(b"HEAPMARK........") && heap[16..].iter().all(|&b| b == 0xa5), "{stem}");
            markers += 1;
        } else if let Some(at) = facts.number("g_heap") {
            let fault = dump.memory.read_at(Virt(at), &mut [0; 8]).unwrap_err();
            assert_eq!(fault.why, Absence::NotInDump, "{stem}: a small dump cannot know that the heap was not mapped");
        }
        assert_eq!(dump.complete(), !stem.ends_with("-cut"), "{stem}: {:?}", dump.issues);
    }
    assert_eq!((seen, markers), (13, 2));
}

fn exception_as_printed(stem: &str, dump: &Dump, facts: &Facts) {
    let Some(code) = facts.number("exception_code") else {
        assert!(dump.exception.is_none(), "{stem}");
        return;
    };
    let exception = dump.exception.as_ref().unwrap();
    assert_eq!(exception.tid.map(u64::from), facts.number("tid_main"), "{stem}");
    let numbered = ["exception_param0", "exception_param1"].into_iter().filter_map(|key| facts.number(key));
    let listed = facts.all("exception_param").map(number);
    let want: Vec<u64> = numbered.chain(listed).collect();
    let ExceptionKind::Windows { code: ours, parameters, .. } = &exception.kind else { panic!("{stem}") };
    assert_eq!((u64::from(*ours), parameters), (code, &want), "{stem}");
    assert_eq!(exception.address, Some(Virt(want[1])), "{stem}");
    let registers = exception.registers.unwrap();
    assert_eq!(registers.pc().map(|pc| pc.0), facts.number("exception_address"), "{stem}");
    let mut compared = 0;
    for (key, value) in facts.0.iter().filter_map(|(key, value)| Some((key.strip_prefix("ctx_")?, value))) {
        assert_eq!(registers.by_name(key), Some(number(value)), "{stem}: {key}");
        compared += 1;
    }
    assert!(compared >= 4, "{stem}");
}

#[test]
fn identities_as_lldbs_yaml_states_them() {
    let Some(samples) = samples() else {
        return;
    };
    let ids = |file: &str| {
        let dump = open(&samples.join("minidump-other-os/lldb-yaml").join(file));
        assert!(dump.threads.is_empty() && !dump.complete(), "{file}: a file without threads is not whole");
        let mut ids: Vec<_> = dump.modules.into_iter().map(|m| (m.path, m.build_id, m.debug_id)).collect();
        ids.sort();
        ids
    };
    let found = ids("linux-arm-uuids-elf-build-id-20.dmp");
    assert_eq!(found[0].1.as_deref(), Some(&(1..=20).collect::<Vec<u8>>()[..]));
    assert_eq!(found[0].2.as_deref(), Some("0403020106050807090A0B0C0D0E0F100"));
    assert_eq!(found[1].1.as_deref(), Some(&(1..=20).map(|i| i * 10).collect::<Vec<u8>>()[..]));
    let found = ids("linux-arm-uuids-with-age.dmp");
    assert_eq!(found[0].1.as_deref(), Some(&(1..=16).collect::<Vec<u8>>()[..]));
    assert_eq!(found[0].2.as_deref(), Some("0403020106050807090A0B0C0D0E0F1010101010"));
    // lldb: an id of zeros is none.
    for (path, build_id, debug_id) in ids("linux-arm-zero-uuids.dmp") {
        assert_eq!((build_id, debug_id), (None, None), "{path}");
    }
    assert_eq!(ids("relative_module_name.dmp").len(), 1);
}

#[test]
fn a_dump_with_nothing_but_maps() {
    let Some(samples) = samples() else {
        return;
    };
    let dump = open(&samples.join("minidump-other-os/lldb-yaml/regions-linux-map.dmp"));
    assert_eq!(dump.process.pid, Some(123));
    let bytes = bytes(&samples.join("minidump-other-os/lldb-yaml/regions-linux-map.dmp"));
    let maps = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = maps.lines().filter(|line| line.contains("p 000") || line.contains("s 000")).collect();
    assert_eq!(dump.regions.len(), lines.len());
    assert!(lines.len() >= 9, "{}", lines.len());
    for (region, line) in dump.regions.iter().zip(&lines) {
        let shown = format!("{:x}-{:x} {}", region.start.0, region.end.0, region.permissions.unwrap());
        assert!(line.contains(&shown), "{shown} is not {line}");
        assert!(region.path.as_deref().is_none_or(|path| line.ends_with(path)), "{line}");
    }
}

#[test]
fn malformed_files_open_or_fail_in_words() {
    let Some(samples) = samples() else {
        return;
    };
    let open = |file: &str| open(&samples.join("windows-user/malformed").join(file));
    // minidump-stackwalk: "missing stream directory". Nothing is left but the header.
    let dump = open("npe_r_mdmp.mdmp");
    assert!(dump.notes.is_empty() && !dump.complete());
    assert!(dump.issues.iter().any(|issue| issue.text.contains("directory")), "{:?}", dump.issues);
    // minidump-stackwalk: "thread list not found". The directories are noise; every stream stays in the notes.
    let dump = open("invalid-record-count.dmp");
    assert_eq!(dump.notes.iter().filter(|note| note.name == Some("MozMacosCrashInfoStream")).count(), 2);
    assert!(!dump.complete());
    let dump = open("invalid-range.dmp");
    assert_eq!(dump.notes.len(), 4);
    assert!(dump.notes.iter().any(|note| note.name == Some("MD_LINUX_MAPS")));
    assert!(!dump.complete());
}

#[test]
fn streams_of_real_writers() {
    let Some(samples) = samples() else {
        return;
    };
    let open = |file: &str| open(&samples.join(file));
    let fact = |dump: &Dump, name: &str| {
        dump.process.facts.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };

    let dump = open("minidump-other-os/breakpad/linux_null_read_av.dmp");
    assert_eq!((dump.writer.as_deref(), dump.process.name.as_deref()), (Some("breakpad"), Some("null_read_av")));
    assert!(dump.process.environment.iter().any(|(name, _)| name == "PATH"));
    assert_eq!(dump.auxv_value(6), Some(4096), "AT_PAGESZ");
    assert!(dump.process.executable.as_deref().unwrap().ends_with("/null_read_av"));
    assert!(fact(&dump, "cpu_info").contains("model name"));
    assert!(dump.process.facts.iter().any(|(key, value)| key == "link_map" && value.contains("libc")));
    let stack = dump.crashed_thread().unwrap().registers.sp().unwrap();
    assert_eq!(dump.region(stack).unwrap().path.as_deref(), Some("[stack]"));
    assert!(dump.memory.read_at(stack, &mut [0; 8]).is_ok());
    assert_eq!(dump.memory.read_at(Virt(0), &mut [0; 8]).unwrap_err().why, Absence::NotMapped);

    let dump = open("minidump-other-os/crashpad/simple-crashpad.dmp");
    assert_eq!(dump.writer.as_deref(), Some("crashpad"));
    assert_eq!(fact(&dump, "crashpad.annotation.hello"), "world");
    assert_eq!(fact(&dump, "crashpad.report_id"), "42f9de72-518a-43dd-97d7-8ddc328d3662");
    // libsystem_c's and dyld's crash information, which Crashpad keeps as lists.
    let has = |value: &str| dump.process.facts.iter().any(|(k, v)| k.starts_with("crashpad.module.") && v == value);
    assert!(has("abort() called") && has("dyld2 mode"), "{:?}", dump.process.facts);
    assert_eq!(dump.crashed_thread().unwrap().signal, Some(6));

    let dump = open("windows-user/rust-minidump/invalid-parameter.dmp");
    assert_eq!(fact(&dump, "assertion.expression"), "format != nullptr");
    assert_eq!(fact(&dump, "assertion.kind"), "invalid parameter");
    assert_eq!(dump.threads[1].state.as_deref(), Some("wrote the dump"));

    let dump = open("windows-user/lldb-fizzbuzz/fizzbuzz_no_heap.dmp");
    assert!(fact(&dump, "thread.8992.start_address").starts_with("0x"));

    // Eight bytes of zeros as a context: no registers, and one issue that says so.
    let dump = open("windows-user/lldb-yaml/arm-fp-unwind.dmp");
    assert_eq!(dump.threads[0].registers.iter().count(), 0);
    assert!(dump.issues.iter().any(|issue| issue.text.contains("registers of thread 16436")), "{:?}", dump.issues);
}

/// Real files, cut: whatever is left is read, nothing panics, and less never claims to be whole.
#[test]
fn real_files_cut_anywhere() {
    let Some(samples) = samples() else {
        return;
    };
    for file in [
        "minidump-other-os/breakpad/linux_stacksmash.dmp",
        "windows-user/breakpad/thread_name_list.dmp",
        "minidump-other-os/crashpad/simple-crashpad.dmp",
        "windows-wine/crash-arm64.dmp",
    ] {
        let path = samples.join(file);
        let whole = bytes(&path);
        let full = open_bytes(&path, whole.clone());
        for len in (32..whole.len()).step_by(97) {
            let dump = open_bytes(&path, whole[..len].to_vec());
            assert!(
                dump.threads.len() <= full.threads.len() && dump.modules.len() <= full.modules.len(),
                "{file} {len}"
            );
            assert_eq!(dump.file_size, len as u64);
            // All of these have a stack, or a stream, at their very end.
            assert!(!dump.complete(), "{file} cut to {len} of {} bytes claims to be whole", whole.len());
        }
    }
}
