//! Programs built in the test, and other people's tools asked about them.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use afterimage_symbols::{Blob, ElfObject, Files, ModuleSymbols};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Whether a tool is here. In CI a missing one is a failure; elsewhere it is said and skipped.
pub fn have(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{tool} is not installed");
        println!("skipped: {tool} is not installed");
    }
    found
}

/// Runs a command that must succeed, and gives its output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    assert!(output.status.success(), "{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A source file of the tests.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

/// Compiles one program with `compiler` and `flags`, in `folder`, and gives its path.
pub fn compile(folder: &Path, compiler: &str, program: &str, flags: &[&str]) -> PathBuf {
    let out = folder.join("program");
    run(Command::new(compiler).current_dir(folder).args(flags).arg(source(program)).arg("-o").arg(&out));
    out
}

pub fn blob(path: &Path) -> Blob {
    Arc::new(std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The driver of the tests: looks beside the program.
pub struct Beside(pub PathBuf);

impl Files for Beside {
    fn split_dwarf(&self, comp_dir: Option<&str>, name: &str, _dwo_id: u64) -> Option<Blob> {
        let path = Path::new(comp_dir.unwrap_or(".")).join(name);
        path.exists().then(|| blob(&path))
    }
    fn package(&self) -> Option<Blob> {
        let mut path = self.0.clone().into_os_string();
        path.push(".dwp");
        Path::new(&path).exists().then(|| blob(path.as_ref()))
    }
    fn supplementary(&self, name: &str, _build_id: &[u8]) -> Option<Blob> {
        let path = self.0.parent()?.join(name);
        path.exists().then(|| blob(&path))
    }
}

pub fn module(path: &Path) -> ModuleSymbols {
    let elf = ElfObject::parse(blob(path)).unwrap();
    ModuleSymbols::from_elf(Some(elf), None, Arc::new(Beside(path.to_owned())))
}

/// Addresses spread over every function of a program, by nm.
pub fn addresses(path: &Path, step: usize) -> Vec<u64> {
    let text = run(Command::new("nm").args(["--print-size", "--defined-only"]).arg(path));
    let mut out = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [start, size, kind, _name] = fields[..] else { continue };
        if !matches!(kind, "t" | "T" | "W" | "w") {
            continue;
        }
        let start = u64::from_str_radix(start, 16).unwrap();
        let size = u64::from_str_radix(size, 16).unwrap();
        out.extend((start..start + size).step_by(step));
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// One answer of addr2line: function, path, line.
pub type Answer = (String, String, u32);

/// What a tool of the addr2line family says of addresses, innermost first; `None` if it fails on the file (elfutils 0.188
/// does on zstd, and on some of clang's line tables).
pub fn addr2line(tool: &str, path: &Path, addresses: &[u64]) -> Option<Vec<Vec<Answer>>> {
    let mut command = Command::new(tool);
    command.args(["-a", "-f", "-i", "-C", "-e"]).arg(path);
    command.args(addresses.iter().map(|at| format!("{at:#x}")));
    let output = command.output().unwrap();
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut out: Vec<Vec<Answer>> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") && !line.contains(' ') {
            out.push(Vec::new());
            continue;
        }
        // "path:12", "path:12 (discriminator 3)", and from elfutils "path:12:5".
        let place = lines.next().unwrap_or("??:0");
        let mut parts: Vec<&str> = place.split(" (").next().unwrap().split(':').collect();
        let mut number = parts.pop().unwrap();
        if tool.starts_with("eu-") && parts.len() > 1 {
            number = parts.pop().unwrap();
        }
        // elfutils: "inner inlined at path:3:4 in outer".
        let name = line.split(" inlined at ").next().unwrap();
        out.last_mut().unwrap().push((name.to_owned(), parts.join(":"), number.parse().unwrap_or(0)));
    }
    Some(out)
}

/// A folder of samples beside the workspace; `None` (and a line that says so) where they are not.
pub fn samples(group: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples").join(group);
    if !path.exists() {
        println!("skipped: no samples of {group}");
        return None;
    }
    Some(path)
}
