//! Open files: from each process's table of descriptors to what is behind them.
//!
//! *Trap*: pipes, sockets and the like have directory entries that hang nowhere; their names are made when somebody asks
//! (`d_dname`), so they are made here the same way.

use crate::linux::values::Missing;
use crate::linux::{Linux, Process};

/// Descriptors of a process at most: the default of `fs.nr_open`.
const MOST: u64 = 1 << 20;
/// Open files of all processes at most.
const TOTAL: usize = 8 << 20;

/// One open file of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// Process id.
    pub pid: u32,
    /// The process's short name; `None` where the page with it is not in the dump.
    pub comm: Option<String>,
    /// Descriptor.
    pub fd: u32,
    /// Address of its `struct file`.
    pub file: u64,
    /// Path, or the name that `/proc/PID/fd` shows, without ` (deleted)`.
    pub path: Option<String>,
    /// `file`, `dir`, `socket`, `pipe`, `anon_inode`, `memfd`, `chr`, `blk`, `symlink`.
    pub kind: Option<&'static str>,
    /// Whether its name is gone.
    pub deleted: Option<bool>,
}

/// What a `struct path` names.
pub(in crate::linux) struct Named {
    pub(in crate::linux) name: String,
    pub(in crate::linux) deleted: bool,
    /// Of an entry that hangs nowhere: the name of its file system.
    pub(in crate::linux) hidden: Option<String>,
}

impl Linux {
    /// All open files, by process and descriptor, of one process or of all; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn open_files(&self, pid: Option<u32>) -> Result<(Vec<OpenFile>, Vec<String>), String> {
        let mut files = Vec::new();
        let remarks = self.each_file(pid, |linux, process, fd, file, missing| {
            let named = linux.file_named(file);
            let kind = linux.file_kind(file, named.as_ref());
            if named.is_none() || kind.is_none() {
                missing.note("an open file cannot be read whole", process.pid);
            }
            let deleted = named.as_ref().map(|named| named.deleted);
            let (pid, comm) = (process.pid, process.comm.clone());
            files.push(OpenFile { pid, comm, fd, file, path: named.map(|named| named.name), kind, deleted });
        })?;
        Ok((files, remarks))
    }

    /// Calls `each` with process, descriptor and `struct file` of every open file.
    pub(in crate::linux) fn each_file(
        &self,
        pid: Option<u32>,
        mut each: impl FnMut(&Self, &Process, u32, u64, &mut Missing),
    ) -> Result<Vec<String>, String> {
        for (structure, member) in
            [("task_struct", "files"), ("files_struct", "fdt"), ("fdtable", "max_fds"), ("fdtable", "fd")]
        {
            self.offset(structure, member)?;
        }
        let (processes, mut remarks) = self.asked(pid)?;
        let mut missing = Missing::default();
        let mut left = TOTAL;
        'all: for process in processes {
            let (mut gap, mut damaged) = (false, false);
            let pid = process.pid;
            let Some(files) = self.pointer(process.task, "task_struct", "files") else {
                missing.note("its task_struct is not in the dump, so its open files are unknown", pid);
                continue;
            };
            // A process that has ended, but is not yet waited for.
            if files == 0 {
                continue;
            }
            let table = self.pointer(files, "files_struct", "fdt");
            let range = table.and_then(|table| {
                let most = self.int(table, "fdtable", "max_fds")?;
                Some((self.pointer(table, "fdtable", "fd")?, most))
            });
            let Some((array, most)) = range else {
                missing.note("its table of open files is not in the dump", pid);
                continue;
            };
            // A small table lies in the `files_struct` itself and has a fixed number of places.
            let inside = self.offset("files_struct", "fd_array").ok().map(|own| files.wrapping_add(own));
            let places = self.elements("files_struct", "fd_array").filter(|_| inside == Some(array)).unwrap_or(MOST);
            if most > places {
                missing.note("its table of open files claims to be larger than it can be", pid);
            }
            // The kernel keeps twice which descriptors are open: here as bits. A damaged table has other bits than places.
            let most = most.min(places);
            let bits = table.and_then(|table| self.pointer(table, "fdtable", "open_fds"));
            let bits = bits.map(|bits| self.words(bits, most.div_ceil(64))).unwrap_or_default();
            let closed = |fd: u32| {
                let word = bits.get(fd as usize / 64).copied().flatten();
                word.is_some_and(|word| word >> (fd % 64) & 1 == 0)
            };
            for (fd, file) in (0u32..).zip(self.words(array, most)) {
                match file {
                    Some(0) => {}
                    // No address of the kernel, of nothing open, or of something else.
                    Some(file) if file >> 63 == 0 || file % 8 != 0 || closed(fd) || !self.may_be_file(file) => {
                        damaged = true;
                    }
                    Some(file) => {
                        left -= 1;
                        each(self, &process, fd, file, &mut missing);
                    }
                    None => gap = true,
                }
                if left == 0 {
                    remarks.push(format!("there are more than {TOTAL} open files: those behind are not read"));
                    break 'all;
                }
            }
            if damaged {
                missing.note("its table of open files is damaged, or was being changed", pid);
            }
            if gap {
                missing.note("a page of its table of open files is not in the dump", pid);
            }
        }
        remarks.extend(missing.remarks());
        Ok(remarks)
    }

    /// Whether a `struct file` can lie there: it and its directory entry lead to the same inode, as far as can be seen.
    fn may_be_file(&self, file: u64) -> bool {
        let Some(inode) = self.pointer(file, "file", "f_inode") else { return true };
        let path = self.offset("file", "f_path").or_else(|_| self.offset("file", "__f_path"));
        let dentry = path.ok().and_then(|path| self.pointer(file.wrapping_add(path), "path", "dentry"));
        let named = dentry.and_then(|dentry| self.pointer(dentry, "dentry", "d_inode"));
        inode >> 63 == 1 && dentry.is_none_or(|dentry| dentry >> 63 == 1) && named.is_none_or(|named| named == inode)
    }

    /// What an open file is called.
    pub(in crate::linux) fn file_named(&self, file: u64) -> Option<Named> {
        // The member was renamed in 7.x.
        let offset = self.offset("file", "f_path").or_else(|_| self.offset("file", "__f_path")).ok()?;
        self.named(file.wrapping_add(offset))
    }

    /// What a `struct path` names, as `d_path` (fs/d_path.c) says it.
    pub(in crate::linux) fn named(&self, path: u64) -> Option<Named> {
        let dentry = self.pointer(path, "path", "dentry")?;
        let mount = self.pointer(path, "path", "mnt")?;
        let parent = self.pointer(dentry, "dentry", "d_parent")?;
        if dentry == parent && dentry != self.pointer(mount, "vfsmount", "mnt_root")? {
            return self.hidden(dentry);
        }
        // d_unlinked(): no longer among the names of its directory.
        let deleted = dentry != parent && self.pointer(dentry, "dentry", "d_hash.pprev")? == 0;
        Some(Named { name: self.path(path)?, deleted, hidden: None })
    }

    /// The name of an entry that hangs nowhere.
    fn hidden(&self, dentry: u64) -> Option<Named> {
        let system = self.file_system(dentry)?;
        let inode = self.pointer(dentry, "dentry", "d_inode")?;
        let number = || self.pointer(inode, "inode", "i_ino");
        let (name, deleted) = match system.as_str() {
            "pipefs" => (format!("pipe:[{}]", number()?), false),
            "sockfs" => (format!("socket:[{}]", number()?), false),
            "anon_inodefs" => (format!("anon_inode:{}", self.name(dentry)?), false),
            "pidfs" => ("anon_inode:[pidfd]".to_owned(), false),
            "nsfs" => {
                let operations = self.pointer(self.pointer(inode, "inode", "i_private")?, "ns_common", "ops")?;
                let kind = self.text(self.pointer(operations, "proc_ns_operations", "name")?, 32)?;
                (format!("{kind}:[{}]", number()?), false)
            }
            // simple_dname(): memfd, System V and anonymous shared memory.
            _ => (format!("/{}", self.name(dentry)?), true),
        };
        Some(Named { name, deleted, hidden: Some(system) })
    }

    /// What kind of thing an open file is.
    fn file_kind(&self, file: u64, named: Option<&Named>) -> Option<&'static str> {
        // The bits of `i_mode` (include/uapi/linux/stat.h).
        const FORMAT: u64 = 0o170_000;
        if let Some(hidden) = named.and_then(|named| named.hidden.as_deref()) {
            match hidden {
                "anon_inodefs" | "pidfs" => return Some("anon_inode"),
                _ if named.is_some_and(|named| named.name.starts_with("/memfd:")) => return Some("memfd"),
                _ => {}
            }
        }
        let inode = self.pointer(file, "file", "f_inode")?;
        Some(match self.value(inode, "inode", "i_mode")? & FORMAT {
            0o010_000 => "pipe",
            0o020_000 => "chr",
            0o040_000 => "dir",
            0o060_000 => "blk",
            0o120_000 => "symlink",
            0o140_000 => "socket",
            0 => "anon_inode",
            _ => "file",
        })
    }
}
