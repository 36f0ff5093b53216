//! Arguments of `extract`.

use clap::Args;
use std::path::PathBuf;

/// `extract`.
#[derive(Args, Debug)]
#[command(after_help = "\
Out of the image of a Linux machine, with nothing but what the kernel says of itself. \
A process becomes an ELF core: its mappings, the registers that all its threads have in user mode, its mapped files as far as \
they were in memory. What is not in the image is left out and said, and never made up. \
A file is written as far as the page cache held it; what is missing becomes a hole, and each hole is listed.

Examples:
  afterimage extract vmcore --process 1234 -o core        for gdb and explain
  afterimage extract vmcore --executable 1234 -o prog     even if it was deleted
  afterimage extract vmcore --file /etc/passwd -o passwd
  afterimage extract vmcore --file 254:0:1311 -o found    by device and inode
  afterimage show vmcore page_cache_files                 what there is
  afterimage extract vmcore --system-map -o System.map    for crash and others
  afterimage extract vmcore --btf -o vmlinux.btf          for pahole, bpftool
  afterimage extract vmcore --isf -o symbols/linux.json.xz
  vol -s symbols -f image.lime linux.pslist               volatility3 with it")]
#[command(group = clap::ArgGroup::new("what").required(true).args([
    "process", "executable", "file", "system_map", "btf", "isf",
]))]
pub struct Extract {
    /// The dump, packed or not.
    pub dump: PathBuf,
    /// This process, as an ELF core.
    #[arg(long, value_name = "PID", value_parser = pid)]
    pub process: Option<u32>,
    /// The program that this process runs, as a file.
    #[arg(long, value_name = "PID", value_parser = pid)]
    pub executable: Option<u32>,
    /// This file out of the page cache: its path, its inode number, or MAJOR:MINOR:INODE.
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,
    /// The kernel's symbols with their addresses as linked, as System.map has them.
    #[arg(long)]
    pub system_map: bool,
    /// With --system-map: all symbols where they ran, as /proc/kallsyms has them, those of modules and BPF programs too.
    #[arg(long)]
    pub running: bool,
    /// The kernel's types as it carries them (BTF), as /sys/kernel/btf/vmlinux has them.
    #[arg(long)]
    pub btf: bool,
    /// With --btf: those of this module instead, which go on where the kernel's end.
    #[arg(long, value_name = "NAME")]
    pub module: Option<String>,
    /// The kernel's types and symbols for volatility3 (ISF, JSON); packed if the new file is called .xz or .gz.
    #[arg(long)]
    pub isf: bool,
    /// The new file; `-` is standard output, which must not be a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// A process by its number: names are many processes'.
fn pid(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "that is no process id; `afterimage show DUMP processes` lists them".to_owned())
}
