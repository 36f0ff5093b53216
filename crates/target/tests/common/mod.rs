//! Programs built and crashed by the tests themselves, and the tools that say what is true.
#![allow(dead_code, missing_docs, reason = "each test file uses a part of it")]

pub mod server;

use afterimage_dump::{Budget, open};
use afterimage_target::{Options, Target};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether all tools are there. In CI a missing tool is a failure.
pub fn have(tools: &[&str]) -> bool {
    let missing: Vec<_> = tools
        .iter()
        .filter(|tool| !std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|dir| dir.join(tool).exists()))
        .collect();
    if !missing.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "needed in CI and not installed: {missing:?}");
        eprintln!("skipped: not installed: {missing:?}");
    }
    missing.is_empty()
}

/// Runs a command and gives its output.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A shell line in a folder, that must succeed.
pub fn sh(folder: &Path, line: &str) -> String {
    run(Command::new("sh").args(["-ec", line]).current_dir(folder))
}

pub const LIBRARY: &str = "
    int limit = 3;
    __attribute__((noinline)) static int inner(volatile int *p) { return *p + limit; }
    __attribute__((noinline)) int crash_here(int *p) { return inner(p) * 2; }
";

pub const PROGRAM: &str = "
    #include <stdlib.h>
    int crash_here(int *);
    int global_of_program = 42;
    int main(int argc, char **argv) { return crash_here((int *)(long)(argc == 1 ? 16 : 32)) + global_of_program; }
";

/// A folder with a crashed program `prog` and its core; `how` are gcc's flags for the program.
pub struct Crash {
    pub folder: tempfile::TempDir,
}

impl Crash {
    /// Builds program and library; `how` are the flags of both.
    pub fn build(how: &str, shared: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::write(at.join("lib.c"), LIBRARY).unwrap();
        std::fs::write(at.join("prog.c"), PROGRAM).unwrap();
        if shared {
            sh(at, &format!("gcc -g -O1 {how} -shared -fPIC -o libcrash.so lib.c"));
            sh(at, &format!("gcc -g -O1 {how} -o prog prog.c ./libcrash.so"));
        } else {
            sh(at, &format!("gcc -g -O1 {how} -o prog prog.c lib.c"));
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets it crash and gives the core that the kernel wrote, with its usual filter.
    pub fn kernel_core(&self) -> Option<PathBuf> {
        self.kernel_core_of("0x33")
    }

    /// The same with any filter of what memory to write.
    pub fn kernel_core_of(&self, filter: &str) -> Option<PathBuf> {
        let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        if pattern.trim() != "core" {
            assert!(std::env::var_os("CI").is_none(), "core_pattern must be `core` in CI, not {pattern}");
            eprintln!("skipped: core_pattern is {pattern}");
            return None;
        }
        let command = format!("ulimit -c unlimited; echo {filter} > /proc/self/coredump_filter; exec ./prog");
        let _ = Command::new("sh").args(["-c", &command]).current_dir(self.folder.path()).status().unwrap();
        let written = std::fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.path());
        let core = written
            .into_iter()
            .find(|path| path.file_name().unwrap().to_str().unwrap().split('.').next() == Some("core"));
        Some(core.expect("the kernel wrote no core"))
    }
}

/// Options that look at the system's files and at no network.
pub fn options(dump: &Path) -> Options {
    Options { dump_path: Some(dump.to_owned()), ..Options::default() }
}

pub fn target_with(dump: &Path, options: Options) -> Target {
    let budget = Budget::default();
    let opened = open(dump, &budget).unwrap_or_else(|error| panic!("{error}"));
    Target::new(opened, options, budget)
}

pub fn target(dump: &Path) -> Target {
    target_with(dump, options(dump))
}

/// The folder with samples, where it exists.
pub fn samples() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let samples = root.join("../shared/samples");
    if !samples.is_dir() {
        eprintln!("skipped: no samples beside the workspace");
        return None;
    }
    Some(samples)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The machines there: folder and dump.
pub const DUMPS: [(&str, &str); 5] = [
    ("k6.1-live", "dump.elf.zst"),
    ("k6.12-live", "kdump-zlib.flat.zst"),
    ("k6.12-panic", "dump.elf.zst"),
    ("k6.12-kdump", "d31-lzo.kdump.zst"),
    ("k6.12-kdump", "d31.elf.zst"),
];
/// Those whose dumps have all memory.
pub const WHOLE: [(&str, &str); 3] =
    [("k6.1-live", "dump.elf.zst"), ("k6.12-live", "kdump-zlib.flat.zst"), ("k6.12-panic", "dump.elf.zst")];

/// The folder of real machines, where it lies beside the clone.
pub fn vmcores() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vmcores");
    if !folder.is_dir() {
        eprintln!("no real machines here: not tested");
    }
    Some(folder).filter(|folder| folder.is_dir())
}

/// A machine: its folder with TRUTH, and its dump.
pub struct Guest {
    pub name: String,
    pub folder: PathBuf,
    pub dump: PathBuf,
}

impl Guest {
    /// What the guest said of itself.
    pub fn truth(&self) -> serde_json::Value {
        truth(&self.folder)
    }

    pub fn open(&self) -> (afterimage_target::linux::Linux, serde_json::Value) {
        let dump = open(&self.dump, &Budget::default()).unwrap();
        let linux = afterimage_target::linux::Linux::open(&dump).unwrap_or_else(|why| panic!("{}: {why}", self.name));
        (linux, self.truth())
    }
}

/// The machines of `own` beside the clone and, where `AFTERIMAGE_MACHINES` names a folder, those in it: each a folder with
/// `TRUTH` and a file `dump.…`.
pub fn guests(own: &[(&str, &str)]) -> Vec<Guest> {
    let mut guests = Vec::new();
    if let Some(folder) = std::env::var_os("AFTERIMAGE_MACHINES").map(PathBuf::from) {
        let entries = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
        for folder in entries.chain([folder]).filter(|folder| folder.join("TRUTH/truth.json").is_file()) {
            let files = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
            let dump = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("dump.")).min();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            guests.push(Guest { name, folder, dump: dump.expect("no dump beside TRUTH") });
        }
        return guests;
    }
    let Some(folder) = vmcores() else { return guests };
    for (name, file) in own {
        guests.push(Guest {
            name: format!("{name}/{file}"),
            folder: folder.join(name),
            dump: folder.join(name).join(file),
        });
    }
    guests
}

/// What the guest said of itself.
pub fn truth(machine: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(machine.join("TRUTH/truth.json")).unwrap()).unwrap()
}

/// A file as the guest read it, as `proc/net/tcp`.
pub fn guest_file(machine: &Path, path: &str) -> String {
    run(Command::new("tar").arg("-xzOf").arg(machine.join("TRUTH/guest-files.tar.gz")).arg(path))
}

/// Number of the guest's first network namespace, as its process 1 had it.
pub fn first_namespace(machine: &Path) -> u32 {
    let truth = truth(machine);
    let processes = truth["processes"].as_array().unwrap();
    let one = processes.iter().find(|process| process["pid"] == 1).unwrap();
    one["ns"]["net"].as_str().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}
