//! Mounts: what a process sees mounted, as `/proc/PID/mounts` shows it.
//!
//! *What it is not*: complete in its options. Those that a file system prints itself (`size=`, `mode=`) come out of code, not
//! out of a structure, and are left out.

use crate::linux::Linux;
use std::collections::HashSet;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted: a device, or a name.
    pub source: Option<String>,
    /// Where.
    pub target: Option<String>,
    /// File system.
    pub fstype: Option<String>,
    /// Options of the mount, and those that all file systems have.
    pub options: Option<String>,
}

impl Linux {
    /// The mounts of a process's namespace, in their order; of process 1's if none is named; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all, or that there is no such process.
    pub fn mounts(&self, pid: Option<u32>) -> Result<(Vec<Mount>, Vec<String>), String> {
        let (processes, _) = self.processes()?;
        let first = processes.iter().find(|process| process.pid == pid.unwrap_or(1)).map(|process| process.task);
        if let Some(pid) = pid.filter(|_| first.is_none()) {
            return Err(format!("the machine has no process {pid}"));
        }
        self.offset("task_struct", "nsproxy").and_then(|_| self.offset("nsproxy", "mnt_ns"))?;
        let space = first.and_then(|task| self.mount_space(task));
        let mut remarks = Vec::new();
        let space = match (space, pid) {
            (Some(space), _) => space,
            (None, Some(_)) => return Err("the process's namespace of mounts is not in the dump".into()),
            (None, None) => {
                remarks.push("the namespace of process 1 is not in the dump: these are the kernel's own".to_owned());
                let own = self.pointer(self.symbol("init_nsproxy")?, "nsproxy", "mnt_ns");
                own.filter(|space| *space != 0).ok_or("no namespace of mounts is in the dump")?
            }
        };
        // Their number: a member of its own since 6.8, `mounts` before.
        let tree = self.offset("mnt_namespace", "mounts.rb_node");
        let number = self.value(space, "mnt_namespace", "nr_mounts");
        let number = number.or_else(|| tree.is_err().then(|| self.value(space, "mnt_namespace", "mounts"))?);
        let mut found = self.mounts_of(space, &mut remarks)?;
        if let Some(number) = number.filter(|number| *number > found.len() as u64) {
            remarks.push(format!("the namespace counts {number} mounts, {} were found", found.len()));
        }
        if !remarks.is_empty() {
            let more = self.mounts_by_blocks(space).unwrap_or_default();
            let before = found.len();
            let known: HashSet<u64> = found.iter().copied().collect();
            let more: Vec<u64> = more.into_iter().filter(|mount| !known.contains(mount)).collect();
            found.extend(more);
            if found.len() > before {
                remarks.push(format!("{} mounts were found by the file systems themselves", found.len() - before));
            }
        }
        // Since 7.0 there is a file system below the root (`nullfs`), and nobody sees it.
        let hidden = first.map(|task| self.above_root(task)).unwrap_or_default();
        let mounts: Vec<Mount> =
            found.into_iter().filter(|at| !hidden.contains(at)).filter_map(|at| self.mount(at)).collect();
        let whole = |mount: &&Mount| mount.source.is_some() && mount.target.is_some() && mount.fstype.is_some();
        let partly = mounts.len() - mounts.iter().filter(whole).count();
        if partly > 0 {
            remarks.push(format!("{partly} mounts cannot be read whole"));
        }
        Ok((mounts, remarks))
    }

    /// The namespace of mounts that a task lives in.
    fn mount_space(&self, task: u64) -> Option<u64> {
        let proxy = self.pointer(task, "task_struct", "nsproxy").filter(|proxy| *proxy != 0)?;
        self.pointer(proxy, "nsproxy", "mnt_ns").filter(|space| *space != 0)
    }

    /// All mounts of a namespace: a tree since 6.8, a list before.
    fn mounts_of(&self, space: u64, remarks: &mut Vec<String>) -> Result<Vec<u64>, String> {
        if let Ok(tree) = self.offset("mnt_namespace", "mounts.rb_node") {
            return self.tree(space.wrapping_add(tree), "mount", "mnt_node", "the tree of mounts", remarks);
        }
        let head = space.wrapping_add(self.offset("mnt_namespace", "list")?);
        self.list(head, "mount", "mnt_list", "the list of mounts", remarks)
    }

    /// Addresses of the mounts in the namespace of the kernel's first task.
    pub(in crate::linux) fn mounts_seen(&self) -> Vec<u64> {
        let space = self.symbols.address("init_task").and_then(|task| self.mount_space(task));
        space.and_then(|space| self.mounts_of(space, &mut Vec::new()).ok()).unwrap_or_default()
    }

    /// The mounts above a task's root, which it cannot see (fs/proc_namespace.c leaves them out).
    fn above_root(&self, task: u64) -> Vec<u64> {
        const DEEP: usize = 64;
        let mut above = Vec::new();
        let root = || {
            let fs = self.pointer(task, "task_struct", "fs").filter(|fs| *fs != 0)?;
            let mount = self.pointer(fs, "fs_struct", "root.mnt")?;
            Some(mount.wrapping_sub(self.offset("mount", "mnt").ok()?))
        };
        let Some(mut at) = root() else { return above };
        while let Some(next) = self.pointer(at, "mount", "mnt_parent")
            && next != at
            && above.len() < DEEP
        {
            above.push(next);
            at = next;
        }
        above
    }

    /// The head of the list of all file systems.
    pub(in crate::linux) fn super_blocks(&self) -> Result<u64, String> {
        // A kernel without names of its data: the ring that the first task's file system hangs in.
        let ring = || {
            let files = self.pointer(self.symbols.address("init_task")?, "task_struct", "fs")?;
            let mount = self.pointer(files, "fs_struct", "root.mnt")?;
            let block = self.pointer(mount, "vfsmount", "mnt_sb")?;
            self.head_of(block.wrapping_add(self.offset("super_block", "s_list").ok()?))
        };
        self.symbol("super_blocks").or_else(|why| ring().ok_or(why))
    }

    /// Another way where the first one breaks: every file system knows its mounts, and every mount its namespace.
    fn mounts_by_blocks(&self, space: u64) -> Result<Vec<u64>, String> {
        let mut broken = Vec::new();
        let mut found = Vec::new();
        let mounts = self.offset("super_block", "s_mounts")?;
        let blocks = self.super_blocks()?;
        for block in self.list(blocks, "super_block", "s_list", "the list of file systems", &mut broken)? {
            let head = block.wrapping_add(mounts);
            for mount in self.list(head, "mount", "mnt_instance", "a file system's list of mounts", &mut broken)? {
                if self.pointer(mount, "mount", "mnt_ns") == Some(space) {
                    found.push(mount);
                }
            }
        }
        Ok(found)
    }

    /// `None` for the place that a reader of `/proc/mounts` keeps in the list (5.8 to 6.7).
    fn mount(&self, mount: u64) -> Option<Mount> {
        const CURSOR: u64 = 0x1000_0000;
        let flags = self.int(mount, "mount", "mnt.mnt_flags");
        if flags.is_some_and(|flags| flags & CURSOR != 0) {
            return None;
        }
        let block = self.pointer(mount, "mount", "mnt.mnt_sb");
        let subtype = block.and_then(|block| self.pointer(block, "super_block", "s_subtype"));
        let subtype = subtype.filter(|at| *at != 0).and_then(|at| self.text(at, 64));
        let fstype = block.and_then(|block| self.file_system_of(block)).map(|name| match subtype {
            Some(subtype) => format!("{name}.{subtype}"),
            None => name,
        });
        let root = self.pointer(mount, "mount", "mnt.mnt_root");
        let inside = self.offset("mount", "mnt").ok()?;
        Some(Mount {
            source: self
                .pointer(mount, "mount", "mnt_devname")
                .filter(|at| *at != 0)
                .and_then(|at| self.text(at, 4096)),
            target: root.and_then(|root| self.path_of(root, mount.wrapping_add(inside))),
            fstype,
            options: flags
                .zip(block.and_then(|block| self.pointer(block, "super_block", "s_flags")))
                .map(|(flags, block)| options(flags, block)),
        })
    }
}

/// In the order of fs/proc_namespace.c; bits of include/linux/mount.h and include/linux/fs.h.
fn options(mount: u64, block: u64) -> String {
    let read_only = mount & 0x40 != 0 || block & 1 != 0;
    let mut text = if read_only { "ro" } else { "rw" }.to_owned();
    let of_block = [(0x10, "sync"), (0x80, "dirsync"), (0x40, "mand"), (0x200_0000, "lazytime")];
    let of_mount = [
        (1, "nosuid"),
        (2, "nodev"),
        (4, "noexec"),
        (8, "noatime"),
        (0x10, "nodiratime"),
        (0x20, "relatime"),
        (0x80, "nosymfollow"),
    ];
    let all =
        of_block.iter().filter(|(bit, _)| block & bit != 0).chain(of_mount.iter().filter(|(bit, _)| mount & bit != 0));
    for (_, name) in all {
        text.push(',');
        text.push_str(name);
    }
    text
}
