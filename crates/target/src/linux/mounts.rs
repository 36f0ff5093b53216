//! Mounts: what the first process sees mounted, as `/proc/1/mounts` shows it.
//!
//! *What it is not*: complete in its options. Those that a file system prints itself (`size=`, `mode=`) come out of code, not
//! out of a structure, and are left out.

use super::kernel::Linux;
use std::collections::HashSet;

/// Mounts at most (`fs.mount-max` is 100000).
const MOST: usize = 1 << 20;

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
    /// The mounts of process 1's namespace, in their order; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn mounts(&self) -> Result<(Vec<Mount>, Vec<String>), String> {
        let (processes, _) = self.processes()?;
        let first = processes.iter().find(|process| process.pid == 1).map(|process| process.task);
        self.offset("task_struct", "nsproxy").and_then(|_| self.offset("nsproxy", "mnt_ns"))?;
        let space = first
            .and_then(|task| self.pointer(task, "task_struct", "nsproxy"))
            .filter(|proxy| *proxy != 0)
            .and_then(|proxy| self.pointer(proxy, "nsproxy", "mnt_ns"))
            .filter(|space| *space != 0);
        let mut remarks = Vec::new();
        let space = match space {
            Some(space) => space,
            None => {
                remarks.push("the namespace of process 1 is not in the dump: these are the kernel's own".to_owned());
                let own = self.pointer(self.symbol("init_nsproxy")?, "nsproxy", "mnt_ns");
                own.filter(|space| *space != 0).ok_or("no namespace of mounts is in the dump")?
            }
        };
        // A tree since 6.8, a list before.
        let tree = self.offset("mnt_namespace", "mounts.rb_node");
        // Their number: a member of its own since 6.8, `mounts` before.
        let number = self.value(space, "mnt_namespace", "nr_mounts");
        let number = number.or_else(|| tree.is_err().then(|| self.value(space, "mnt_namespace", "mounts"))?);
        let mut found = match tree {
            Ok(tree) => self.mount_tree(space.wrapping_add(tree), &mut remarks)?,
            Err(_) => self.mount_list(space.wrapping_add(self.offset("mnt_namespace", "list")?), &mut remarks)?,
        };
        if let Some(number) = number.filter(|number| *number > found.len() as u64) {
            remarks.push(format!("the namespace counts {number} mounts, {} were found", found.len()));
        }
        if !remarks.is_empty() {
            let more = self.mounts_by_blocks(space).unwrap_or_default();
            let before = found.len();
            let more: Vec<u64> = more.into_iter().filter(|mount| !found.contains(mount)).collect();
            found.extend(more);
            if found.len() > before {
                remarks.push(format!("{} mounts were found by the file systems themselves", found.len() - before));
            }
        }
        let mounts: Vec<Mount> = found.into_iter().filter_map(|mount| self.mount(mount)).collect();
        let whole = |mount: &&Mount| mount.source.is_some() && mount.target.is_some() && mount.fstype.is_some();
        let partly = mounts.len() - mounts.iter().filter(whole).count();
        if partly > 0 {
            remarks.push(format!("{partly} mounts cannot be read whole"));
        }
        Ok((mounts, remarks))
    }

    fn mount_tree(&self, root: u64, remarks: &mut Vec<String>) -> Result<Vec<u64>, String> {
        let node = self.offset("mount", "mnt_node")?;
        let (left, right) = (self.offset("rb_node", "rb_left")?, self.offset("rb_node", "rb_right")?);
        let mut mounts = Vec::new();
        let mut seen = HashSet::new();
        let mut open: Vec<u64> = Vec::new();
        let mut at = self.word(root);
        loop {
            match at {
                Some(0) => {
                    let Some(parent) = open.pop() else { break };
                    mounts.push(parent - node);
                    at = self.word(parent.wrapping_add(right));
                }
                Some(own) if own > node && seen.insert(own) && seen.len() <= MOST => {
                    open.push(own);
                    at = self.word(own.wrapping_add(left));
                }
                broken => {
                    remarks.push(match broken {
                        None => "part of the tree of mounts is not in the dump".to_owned(),
                        Some(_) => "the tree of mounts runs in a circle".to_owned(),
                    });
                    at = Some(0);
                }
            }
        }
        Ok(mounts)
    }

    /// Another way where the first one breaks: every file system knows its mounts, and every mount its namespace.
    fn mounts_by_blocks(&self, space: u64) -> Result<Vec<u64>, String> {
        let mut broken = Vec::new();
        let mut found = Vec::new();
        let link = self.offset("super_block", "s_list")?;
        let mounts = self.offset("super_block", "s_mounts")?;
        let own = self.offset("mount", "mnt_instance")?;
        for block in self.list(self.symbol("super_blocks")?, &mut broken) {
            for mount in self.list(block.wrapping_sub(link).wrapping_add(mounts), &mut broken) {
                let mount = mount.wrapping_sub(own);
                if self.pointer(mount, "mount", "mnt_ns") == Some(space) {
                    found.push(mount);
                }
            }
        }
        Ok(found)
    }

    fn mount_list(&self, head: u64, remarks: &mut Vec<String>) -> Result<Vec<u64>, String> {
        let link = self.offset("mount", "mnt_list")?;
        Ok(self.list(head, remarks).into_iter().map(|at| at.wrapping_sub(link)).collect())
    }

    /// The links of a ring, its head left out.
    fn list(&self, head: u64, remarks: &mut Vec<String>) -> Vec<u64> {
        let mut links = Vec::new();
        let mut seen = HashSet::from([head]);
        let mut at = head;
        loop {
            let Some(next) = self.word(at) else {
                remarks.push(format!("the list of mounts cannot be followed behind {at:#x}"));
                break;
            };
            if next == head {
                break;
            }
            if !seen.insert(next) || links.len() >= MOST {
                remarks.push("the list of mounts runs in a circle".to_owned());
                break;
            }
            links.push(next);
            at = next;
        }
        links
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
