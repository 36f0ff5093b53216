//! Every real minidump against what minidump-stackwalk says about it: two readers that share no code.
//!
//! Where they differ, a function here says for which files, and why ours is right. Everything else must agree.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

mod minidump_support;

use afterimage_dump::{Arch, Dump, ExceptionKind, ModuleRecord, Os, Virt};
use minidump_support::{bytes, open, samples};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// A sample and the tool's answer.
struct Pair {
    name: String,
    dump: Dump,
    says: Value,
}

fn pairs() -> Vec<Pair> {
    let Some(samples) = samples() else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for group in ["windows-user", "windows-wine", "minidump-other-os"] {
        walk(&samples.join(group), &mut files);
    }
    files.sort();
    let mut pairs = Vec::new();
    for json in &files {
        let name = json.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((stem, _)) = name.split_once(".tool-stackwalk.json") else {
            continue;
        };
        let plain = json.with_file_name(stem);
        let path = if plain.exists() { plain } else { json.with_file_name(format!("{stem}.zst")) };
        let says = serde_json::from_slice(&bytes(json)).unwrap();
        pairs.push(Pair { name: stem.to_owned(), dump: open(&path), says });
    }
    assert!(pairs.len() >= 45, "only {} samples were found", pairs.len());
    pairs
}

fn hex(value: &Value) -> Option<u64> {
    let text = value.as_str()?;
    Some(u64::from_str_radix(text.strip_prefix("0x")?, 16).unwrap())
}

fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap()
}

/// The tool leaves WOW64 processes as AMD64; lldb 14 shows the same 32-bit registers as we do (tested below).
fn wow64(pair: &Pair) -> bool {
    pair.name == "fizzbuzz_wow64.dmp"
}

#[test]
fn system() {
    for pair in pairs() {
        let (name, dump, system) = (&pair.name, &pair.dump, &pair.says["system_info"]);
        let os = match system["os"].as_str().unwrap() {
            "Windows NT" => Os::Windows,
            "Linux" => Os::Linux,
            "Mac OS X" => Os::MacOs,
            "iOS" => Os::Ios,
            other => panic!("{name}: {other}"),
        };
        assert_eq!(dump.os, os, "{name}");
        let arch = match system["cpu_arch"].as_str().unwrap() {
            "amd64" if wow64(&pair) => Arch::X86,
            "amd64" => Arch::X86_64,
            "x86" => Arch::X86,
            "arm64" => Arch::Aarch64,
            "arm" => Arch::Arm,
            other => panic!("{name}: {other}"),
        };
        assert_eq!(dump.arch, arch, "{name}");
        let fact = |key: &str| dump.process.facts.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let count = system["cpu_count"].as_u64().filter(|&count| count > 0);
        assert_eq!(fact("cpu_count"), count.map(|count| count.to_string()), "{name}");

        let theirs = system["os_ver"].as_str().unwrap().trim();
        let ours = dump.os_version.clone().unwrap();
        match os {
            // Ours is the kernel's release alone. The tool prints a blank inside Crashpad's split release
            // ("5.10.28 -1rodete2-amd64 …") and 0.0.0 where the release is unknown (arm-linux.dmp).
            Os::Linux if name == "linux_inline.dmp" => assert_eq!(ours, "5.10.28-1rodete2-amd64"),
            Os::Linux if name == "arm-linux.dmp" => assert_eq!((theirs, ours.as_str()), ("0.0.0 ABC123", "ABC123")),
            Os::Linux if name == "multiple-sigsev.dmp" => assert_eq!((theirs, ours.as_str()), ("3.13", "3.13")),
            Os::Linux => assert!(theirs.starts_with(&format!("{ours} #")), "{name}: {theirs} and {ours}"),
            _ if name == "arm64-macos.dmp" => assert_eq!((theirs, ours.as_str()), ("0.0.0 15E216", "15E216")),
            _ => assert_eq!(ours, theirs, "{name}"),
        }
        assert_eq!(dump.process.pid.map(u64::from), pair.says["pid"].as_u64(), "{name}");
        let errors = pair.says["soft_errors"].as_array().map_or(0, Vec::len);
        assert_eq!(dump.soft_errors.len(), errors, "{name}");
        if let Some(maps) = pair.says["linux_memory_map_count"].as_u64() {
            assert_eq!(dump.regions.len() as u64, maps, "{name}");
        }
    }
}

#[test]
fn threads() {
    for pair in pairs() {
        let (name, dump) = (&pair.name, &pair.dump);
        let theirs = pair.says["threads"].as_array().unwrap();
        assert_eq!(dump.threads.len(), theirs.len(), "{name}");
        let crashing = pair.says["crash_info"]["crashing_thread"].as_u64();
        for (index, (ours, theirs)) in dump.threads.iter().zip(theirs).enumerate() {
            assert_eq!(u64::from(ours.tid), theirs["thread_id"].as_u64().unwrap(), "{name}");
            let their_name = theirs["thread_name"].as_str().filter(|name| !name.is_empty());
            assert_eq!(ours.name.as_deref(), their_name, "{name} {}", ours.tid);
            // The tool does not walk the thread that wrote the dump.
            if ours.state.as_deref().is_some_and(|state| state.contains("wrote the dump")) {
                assert_eq!(theirs["frame_count"], 0, "{name} {}", ours.tid);
                continue;
            }
            let their_pc = theirs["frames"].get(0).and_then(|frame| hex(&frame["offset"]));
            if wow64(&pair) {
                let native = dump.process.facts.iter().find(|(name, _)| name.ends_with("wow64_rip")).unwrap();
                assert_eq!(native.1, format!("{:#x}", their_pc.unwrap()), "{name}");
                continue;
            }
            // Its frame 0 of the crashing thread is the exception's context.
            let exception = dump.exception.as_ref().filter(|_| crashing == Some(index as u64));
            let registers = exception.and_then(|exception| exception.registers).unwrap_or(ours.registers);
            assert_eq!(registers.pc(), their_pc.map(Virt), "{name} {}", ours.tid);
        }
    }
}

#[test]
fn registers_of_the_crash() {
    let mut compared = 0;
    for pair in pairs() {
        let (name, dump) = (&pair.name, &pair.dump);
        let Some(theirs) = pair.says["crashing_thread"]["frames"][0]["registers"].as_object() else {
            continue;
        };
        // lldb writes one exception for each stopped thread. The tool takes the last, we the first.
        let index = pair.says["crash_info"]["crashing_thread"].as_u64().unwrap() as usize;
        let thread = &dump.threads[index];
        let exception = dump.exception.as_ref().filter(|exception| exception.tid == Some(thread.tid));
        let registers = exception.and_then(|exception| exception.registers).unwrap_or(thread.registers);
        for (register, value) in theirs {
            let register = match register.as_str() {
                "efl" => "eflags",
                "x29" => "fp",
                "x30" => "lr",
                other => other,
            };
            let value = hex(value).unwrap();
            assert_eq!(registers.by_name(register), Some(value), "{name}: {register}");
            compared += 1;
        }
    }
    assert!(compared == 0 || compared > 500, "only {compared} registers were compared");
}

#[test]
fn exceptions() {
    for pair in pairs() {
        let (name, dump) = (&pair.name, &pair.dump);
        let info = &pair.says["crash_info"];
        let Some(kind) = info["type"].as_str() else {
            assert!(dump.exception.is_none(), "{name}: {:?}", dump.exception);
            continue;
        };
        let exception = dump.exception.as_ref().unwrap_or_else(|| panic!("{name}: no exception"));
        let tid = |index: u64| dump.threads[index as usize].tid;
        let theirs = info["crashing_thread"].as_u64().map(tid);
        if name == "multiple-sigsev.dmp" {
            // Two threads, two exception streams: the tool's map keeps the last, we keep the first and mark both.
            assert_eq!((exception.tid, theirs), (Some(1_789_731), Some(1_797_410)));
            assert!(dump.threads.iter().all(|thread| thread.signal == Some(11)), "{name}");
        } else {
            assert_eq!(exception.tid, theirs, "{name}");
        }
        assert_kind(name, &exception.kind, kind);
        let theirs = hex(&info["address"]).map(Virt);
        match name.as_str() {
            // SIGABRT touches no memory. What the tool prints as an address is the union's other member: the sender's
            // pid (0x5be6 = 23526, the process itself) and above it its uid.
            "linux_raise_sigabrt.dmp" => {
                assert_eq!(theirs, Some(Virt(0x0004_d144_0000_5be6)));
                assert_eq!(exception.address, None);
                let ExceptionKind::Signal { info: Some(info), .. } = &exception.kind else { panic!("{name}") };
                assert_eq!((info.pid, info.uid), (Some(23526), Some(0x4_d144)));
                assert_eq!(dump.process.uid, info.uid);
            }
            // The tool takes the second parameter for an access violation only. For a stack overflow it is the touched
            // address too (inside the guard page, just below the stack pointer); the tool gives the instruction's.
            "stack_exhaustion.dmp" => {
                assert_eq!(theirs, Some(Virt(0xde_a637)));
                assert_eq!(exception.address, Some(Virt(0x10_2000)));
            }
            _ => assert_eq!(exception.address, theirs, "{name}"),
        }
    }
}

fn assert_kind(name: &str, ours: &ExceptionKind, theirs: &str) {
    let signo = |theirs: &str| match theirs.split(' ').next().unwrap() {
        "SIGILL" => 4,
        "SIGABRT" => 6,
        "SIGFPE" => 8,
        "SIGSEGV" => 11,
        other => panic!("{name}: {other}"),
    };
    match ours {
        ExceptionKind::Signal { signo: ours, code, .. } => {
            assert_eq!(*ours, signo(theirs), "{name}");
            // ILL_ILLOPN is 2; only this sample's writer, Crashpad, kept the code.
            assert_eq!(*code, (name == "linux_inline.dmp").then_some(2), "{name}");
        }
        ExceptionKind::Windows { code, parameters, .. } => {
            let (their_code, access) = match theirs {
                "EXCEPTION_ACCESS_VIOLATION_READ" => (0xc000_0005, Some(0)),
                "EXCEPTION_ACCESS_VIOLATION_WRITE" => (0xc000_0005, Some(1)),
                "EXCEPTION_STACK_OVERFLOW" => (0xc000_00fd, None),
                "EXCEPTION_BREAKPOINT" => (0x8000_0003, None),
                "STATUS_INVALID_PARAMETER" => (0xc000_000d, None),
                other => panic!("{name}: {other}"),
            };
            assert_eq!(*code, their_code, "{name}");
            assert!(access.is_none() || parameters.first().copied() == access, "{name}: {parameters:x?}");
        }
        ExceptionKind::Mach { exception, code, .. } => {
            let want = match theirs {
                "EXC_BAD_ACCESS / KERN_INVALID_ADDRESS" => (1, 1),
                "EXC_BAD_INSTRUCTION / EXC_I386_INVOP" => (2, 1),
                // Crashpad unpacked an EXC_CRASH that held no exception but a SIGABRT: the tool is at a loss.
                "unknown 0x00000000 / 0x00000000" if name == "simple-crashpad.dmp" => (10, 0x0600_0000),
                // 'CPnx': an uncaught Objective-C exception, Crashpad's own number.
                "unknown 0x43506e78 / 0x00000000" => (0x4350_6e78, 0),
                other => panic!("{name}: {other} for {exception} {code:#x}"),
            };
            assert_eq!((*exception, *code), want, "{name}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn modules() {
    for pair in pairs() {
        let (name, dump) = (&pair.name, &pair.dump);
        let theirs = pair.says["modules"].as_array().unwrap();
        assert_eq!(dump.modules.len(), theirs.len(), "{name}");
        let key = |module: &Value| (hex(&module["base_addr"]).unwrap(), hex(&module["end_addr"]).unwrap());
        for their in theirs {
            let (base, end) = key(their);
            let file = base_name(their["filename"].as_str().unwrap());
            let same = |ours: &&ModuleRecord| ours.base == base && base_name(&ours.path) == file;
            let ours = dump.modules.iter().find(same).unwrap_or_else(|| panic!("{name}: no {file} at {base:#x}"));
            assert_eq!(ours.end, end, "{name} {file}");
            assert_ids(name, dump.os, ours, their);
        }
        let theirs = pair.says["unloaded_modules"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(dump.unloaded_modules.len(), theirs.len(), "{name}");
        for their in theirs {
            let (base, end) = key(their);
            let file = their["filename"].as_str().unwrap();
            let ours = dump.unloaded_modules.iter().find(|ours| ours.base == base && base_name(&ours.path) == file);
            assert_eq!(ours.map(|ours| ours.end), Some(end), "{name} {file}");
        }
        let handles = pair.says["handles"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(dump.handles.len(), handles.len(), "{name}");
        for (ours, their) in dump.handles.iter().zip(handles) {
            assert_eq!(ours.handle, their["handle"].as_u64().unwrap(), "{name}");
            assert_eq!(ours.kind.as_deref(), their["type_name"].as_str(), "{name}");
            assert_eq!(ours.name.as_deref(), their["object_name"].as_str(), "{name}");
        }
    }
}

fn assert_ids(name: &str, os: Os, ours: &ModuleRecord, their: &Value) {
    let place = format!("{name} {}", ours.path);
    let id = their["debug_id"].as_str().filter(|id| !id.trim_matches('0').is_empty());
    assert_eq!(ours.debug_id.as_deref(), id, "{place}");
    // For an ELF build id the record has no file name; the tool repeats the module's.
    if let Some(file) = &ours.debug_file {
        assert_eq!(base_name(file), base_name(their["debug_file"].as_str().unwrap()), "{place}");
    }
    // Crashpad leaves an empty version for ELF files; 0.0.0.0 is no version of anything there.
    let version = their["version"].as_str().filter(|&version| os != Os::Linux || version != "0.0.0.0");
    assert_eq!(ours.version.as_deref(), version, "{place}");
    let code_id = their["code_id"].as_str().unwrap().to_lowercase();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    match os {
        Os::Windows => {
            let image = format!("{:x}{:x}", ours.timestamp.unwrap_or(0), ours.end - ours.base);
            assert_eq!(image.trim_start_matches('0'), code_id.trim_start_matches('0'), "{place}");
        }
        _ => {
            let build_id = ours.build_id.as_deref().map(hex).unwrap_or_default();
            // Old Breakpad put the first 16 bytes of the build id into a PDB's GUID. The tool takes that for a Windows
            // module and makes up a code id of time and size; with the debug id it agrees.
            let image = format!("{:08x}{:x}", ours.timestamp.unwrap_or(0), ours.end - ours.base);
            if code_id != image {
                assert_eq!(build_id, code_id, "{place}");
            }
        }
    }
}

#[test]
fn wow64_registers_as_lldb_shows_them() {
    for pair in pairs().into_iter().filter(wow64) {
        let registers = pair.dump.threads[0].registers;
        // lldb 14, `register read`.
        let lldb = [
            ("eax", 0),
            ("ebx", 0x0037_f608),
            ("ecx", 0x00e6_1578),
            ("edx", 8),
            ("edi", 0),
            ("esi", 2),
            ("ebp", 0x0037_f654),
            ("esp", 0x0037_f5b8),
            ("eip", 0x77ce_01fd),
            ("eflags", 0x246),
            ("cs", 0x23),
            ("fs", 0x53),
        ];
        for (register, value) in lldb {
            assert_eq!(registers.by_name(register), Some(value), "{register}");
        }
        let esp = registers.sp().unwrap();
        let (start, size) = pair.dump.threads[0].stack.unwrap();
        assert!((start.0..start.0 + size).contains(&esp.0), "the 32-bit stack pointer is outside {start:?}+{size:#x}");
        assert_eq!(pair.dump.pointer_size, 4);
    }
}
