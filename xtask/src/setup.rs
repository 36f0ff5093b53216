//! What the tests need from the system: installed when we may, else named in one line.

use crate::tools::{has, root, run_with, target};
use anyhow::bail;
use std::process::{Command, Stdio};

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
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("qemu-aarch64", "qemu-user"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkswap", "util-linux"),
    ("losetup", "mount"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

/// Files, not programs, that tests need: path below `/`, and the package.
const NEEDED_FILES: &[(&str, &str)] = &[
    ("/usr/include/stdio.h", "libc6-dev"),
    ("/usr/lib/debug/.build-id", "libc6-dbg"),
    ("/usr/lib/x86_64-linux-gnu/libc.a", "libc6-dev"),
    ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
];

/// Readers of minidumps that no distribution packages, each with the file that says it is there.
const MINIDUMP_STACKWALK: (&str, &str) = ("minidump-stackwalk@0.27.0", "tools/bin/minidump-stackwalk");
const PYTHON_MINIDUMP: (&str, &str) = ("minidump==0.0.24", "tools/python/bin/minidump");

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
    packages()?;
    readers()
}

/// Installs into the target folder what reads minidumps, once.
fn readers() -> anyhow::Result<()> {
    let target = target();
    let (package, file) = MINIDUMP_STACKWALK;
    if !target.join(file).is_file() && !has("minidump-stackwalk") {
        let mut install = Command::new("cargo");
        install.args(["install", "--quiet", "--locked", package, "--root"]).arg(target.join("tools"));
        eprintln!("xtask setup: cargo install {package}");
        run_with(install.arg("--target-dir").arg(target.join("tools/build")))?;
        // A gigabyte that nobody needs again.
        let _ = std::fs::remove_dir_all(target.join("tools/build"));
    }
    let (package, file) = PYTHON_MINIDUMP;
    let import = Command::new("python3").args(["-c", "import minidump"]).stderr(Stdio::null()).status();
    if !target.join(file).is_file() && !import.is_ok_and(|status| status.success()) {
        let folder = target.join("tools/python");
        eprintln!("xtask setup: pip install {package}");
        let venv = || run_with(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        if venv().is_err() {
            // Debian's python3 has the module in a package of its own.
            install(&["python3-venv"])?;
            venv()?;
        }
        run_with(Command::new(folder.join("bin/python3")).args(["-m", "pip", "install", "--quiet", package]))?;
    }
    Ok(())
}

fn packages() -> anyhow::Result<()> {
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install {}", wanted.join(" "));
    let root_user = std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if !root_user || !has("apt-get") {
        bail!("the tests need programs that are missing here: as root, {line}");
    }
    install(&wanted)?;
    let still = missing();
    if !still.is_empty() {
        bail!("these packages did not bring what is needed: {}", still.join(" "));
    }
    Ok(())
}

/// Installs Debian's packages.
fn install(wanted: &[&str]) -> anyhow::Result<()> {
    eprintln!("xtask setup: apt-get install {}", wanted.join(" "));
    let apt = |arguments: &[&str]| {
        run_with(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").current_dir(root()))
    };
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(wanted);
    apt(&arguments)
}
