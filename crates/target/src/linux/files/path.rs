//! Paths: from a directory entry and its mount up to the root.

use crate::linux::Linux;

/// Directories deep.
const MOST: usize = 128;
const MAX_NAME: usize = 256;

impl Linux {
    /// The path that a `struct path` at `at` names; `None` where it cannot be read.
    pub(in crate::linux) fn path(&self, at: u64) -> Option<String> {
        let dentry = self.pointer(at, "path", "dentry")?;
        let mount = self.pointer(at, "path", "mnt")?;
        self.path_of(dentry, mount)
    }

    /// The path of an open file.
    pub(in crate::linux) fn file_path(&self, file: u64) -> Option<String> {
        // The member was renamed in 7.x.
        let offset = self.offset("file", "f_path").or_else(|_| self.offset("file", "__f_path")).ok()?;
        self.path(file.wrapping_add(offset))
    }

    pub(in crate::linux) fn path_of(&self, mut dentry: u64, mount: u64) -> Option<String> {
        let inside = self.offset("mount", "mnt").ok()?;
        let mut mount = mount.checked_sub(inside)?;
        let mut parts: Vec<String> = Vec::new();
        for _ in 0..MOST {
            let root = self.pointer(mount, "mount", "mnt.mnt_root")?;
            let parent = self.pointer(dentry, "dentry", "d_parent")?;
            if dentry == root || dentry == parent {
                let above = self.pointer(mount, "mount", "mnt_parent")?;
                if above == mount || dentry != root {
                    if dentry == parent && dentry != root && parts.is_empty() {
                        // A file system that nobody mounts: pipes, sockets.
                        let name = self.name(dentry)?;
                        return Some(if name.starts_with("memfd:") { format!("/{name}") } else { name });
                    }
                    break;
                }
                dentry = self.pointer(mount, "mount", "mnt_mountpoint")?;
                mount = above;
                continue;
            }
            parts.push(self.name(dentry)?);
            dentry = parent;
        }
        parts.reverse();
        Some(format!("/{}", parts.join("/")))
    }

    /// The name of a directory entry.
    pub(in crate::linux) fn name(&self, dentry: u64) -> Option<String> {
        self.text(self.pointer(dentry, "dentry", "d_name.name")?, MAX_NAME)
    }
}
