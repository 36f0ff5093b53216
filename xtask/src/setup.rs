//! What the tests need from the system: installed when we may, else named in one line.

use crate::tools::{has, root, run_with};
use anyhow::bail;
use std::process::Command;

/// A program that tests or comparisons call, and Debian's package that brings it.
const NEEDED: &[(&str, &str)] = &[
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("ld", "binutils"),
    ("clang", "clang"),
    ("llvm-dwp", "llvm"),
    ("gdb", "gdb"),
    ("lldb", "lldb"),
    ("eu-stack", "elfutils"),
    ("dwz", "dwz"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("lz4", "lz4"),
    ("bzip2", "bzip2"),
    ("gzip", "gzip"),
    ("python3", "python3"),
    ("strace", "strace"),
    ("make", "make"),
];

/// Files, not programs, that tests need: path below `/`, and the package.
const NEEDED_FILES: &[(&str, &str)] = &[
    ("/usr/include/stdio.h", "libc6-dev"),
    ("/usr/lib/debug/.build-id", "libc6-dbg"),
    ("/usr/lib/x86_64-linux-gnu/libc.a", "libc6-dev"),
];

/// The packages that are missing, each once.
fn missing() -> Vec<&'static str> {
    let programs = NEEDED.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package);
    let files =
        NEEDED_FILES.iter().filter(|(path, _)| !std::path::Path::new(path).exists()).map(|(_, package)| *package);
    let mut packages: Vec<&str> = programs.chain(files).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs what is missing, or fails with its names.
pub fn setup(_arguments: &[String]) -> anyhow::Result<()> {
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install {}", wanted.join(" "));
    let root_user = std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if !root_user || !has("apt-get") {
        bail!("the tests need programs that are missing here: as root, {line}");
    }
    eprintln!("xtask setup: {line}");
    let apt = |arguments: &[&str]| {
        run_with(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").current_dir(root()))
    };
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&wanted);
    apt(&arguments)?;
    let still = missing();
    if !still.is_empty() {
        bail!("these packages did not bring what is needed: {}", still.join(" "));
    }
    Ok(())
}
