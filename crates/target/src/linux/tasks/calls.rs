//! Names of system calls, by the kernel's own table of them.
//!
//! *Trap*: the table's functions have the kernel's names for calls, which for a few are not those of the manual.

use crate::linux::Linux;
use afterimage_dump::Arch;

/// System calls at most; kernels have some 470.
const MOST: u64 = 4096;

/// Calls whose function has another name than the manual's page (include/linux/syscalls.h).
const RENAMED: [(&str, &str); 7] = [
    ("newstat", "stat"),
    ("newlstat", "lstat"),
    ("newfstat", "fstat"),
    ("newuname", "uname"),
    ("sendfile64", "sendfile"),
    ("umount", "umount2"),
    ("mmap_pgoff", "mmap"),
];

impl Linux {
    /// The name of a system call as programs for `arch` number them; `None` where the kernel has no table of them with
    /// names, or no such call.
    #[must_use]
    pub fn call_name(&self, number: u64, arch: Arch) -> Option<String> {
        let table = match (arch, self.arch) {
            (Arch::X86, Arch::X86_64) => "ia32_sys_call_table",
            (Arch::Arm, Arch::Aarch64) => "compat_sys_call_table",
            _ => "sys_call_table",
        };
        let table = self.symbols.address(table).filter(|_| number < MOST)?;
        let function = self.word(table.wrapping_add(8 * number))?;
        let (symbol, distance) = self.symbols.find(function)?;
        let (_, name) = symbol.name.split_once("sys_").filter(|_| distance == 0)?;
        let renamed = RENAMED.iter().find(|(own, _)| *own == name);
        // What is not built in goes to one function for all.
        (name != "ni_syscall").then(|| renamed.map_or(name, |(_, manual)| manual).to_owned())
    }
}
