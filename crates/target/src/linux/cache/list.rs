//! All files that have pages in memory: by the file systems' own lists of their inodes, and by what processes hold.
//!
//! *Trap*: an inode has no path. Its first directory entry has, as long as the kernel keeps it; a file without one is told
//! by its device and inode number. That of a block device has an empty one since 6.9, and the device a name of its own.

use super::file::{FileRun, PageState};
use crate::linux::Linux;
use std::collections::{HashMap, HashSet};

const NAMELESS: &str = "the kernel keeps no name of it";
/// Directories deep.
const DEEP: usize = 128;

/// A file of which something is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedFile {
    /// Address of its inode.
    pub address: u64,
    /// Address of its pages' `address_space`.
    pub mapping: u64,
    /// Number of its inode.
    pub inode: Option<u64>,
    /// Device of its file system: major and minor number.
    pub device: Option<(u32, u32)>,
    /// Its file system.
    pub filesystem: Option<String>,
    /// Path, without ` (deleted)`; why there is none otherwise. Of a block device's pages the node that the kernel names.
    pub path: Result<String, &'static str>,
    /// Whether its name is gone.
    pub deleted: Option<bool>,
    /// Bytes of the file.
    pub size: Option<u64>,
    /// When it was changed, in nanoseconds since 1970.
    pub mtime_ns: Option<i128>,
    /// Pages that the kernel counts in memory.
    pub pages: Option<u64>,
}

/// A file system's mounts, by which its paths are made.
struct Mounts {
    root: u64,
    /// What is mounted of it, where, and whether process 1 sees it there.
    places: Vec<(u64, u64, bool)>,
}

impl Linux {
    /// All files that have pages in memory, and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn page_cache_files(&self) -> Result<(Vec<CachedFile>, Vec<String>), String> {
        for (structure, member) in [
            ("super_block", "s_inodes"),
            ("inode", "i_sb_list"),
            ("inode", "i_mapping"),
            ("inode", "i_data"),
            ("address_space", "i_pages.xa_head"),
        ] {
            self.offset(structure, member)?;
        }
        let mut remarks = Vec::new();
        let mut files = Vec::new();
        let mut seen = HashSet::new();
        let mut blocks: HashMap<u64, Mounts> = HashMap::new();
        let systems =
            self.list(self.super_blocks()?, "super_block", "s_list", "the list of file systems", &mut remarks)?;
        for block in systems {
            let Ok(inodes) = self.offset("super_block", "s_inodes") else { continue };
            let head = block.wrapping_add(inodes);
            for inode in self.list(head, "inode", "i_sb_list", "a file system's list of inodes", &mut remarks)? {
                if seen.insert(inode)
                    && let Some(file) = self.cached_file(inode, &mut blocks)
                {
                    files.push(file);
                }
            }
        }
        // What is open is found by its descriptor too, should a list break.
        let open = self.each_file(None, |linux, _, _, file, _| {
            if let Some(inode) = linux.pointer(file, "file", "f_inode").filter(|inode| inode >> 63 == 1)
                && seen.insert(inode)
                && let Some(file) = linux.cached_file(inode, &mut blocks)
            {
                files.push(file);
            }
        });
        remarks.extend(open.unwrap_or_else(|why| vec![why]));
        Ok((files, remarks))
    }

    /// The file with this inode, whether or not anything of it is in memory.
    pub(in crate::linux) fn file_of_inode(&self, inode: u64) -> Option<CachedFile> {
        self.describe(inode, &mut HashMap::new())
    }

    /// The file, if something of it is in memory.
    fn cached_file(&self, inode: u64, blocks: &mut HashMap<u64, Mounts>) -> Option<CachedFile> {
        let data = inode.wrapping_add(self.offset("inode", "i_data").ok()?);
        // An inode of a device or of a layered file system leads to another one's pages, which are found there.
        let own = self.pointer(inode, "inode", "i_mapping").is_none_or(|mapping| mapping == data);
        if !own {
            return None;
        }
        let head = self.pointer(data, "address_space", "i_pages.xa_head");
        if head == Some(0) {
            return None;
        }
        self.describe(inode, blocks)
    }

    fn describe(&self, inode: u64, blocks: &mut HashMap<u64, Mounts>) -> Option<CachedFile> {
        let data = inode.wrapping_add(self.offset("inode", "i_data").ok()?);
        let mapping = self.pointer(inode, "inode", "i_mapping").filter(|mapping| mapping >> 63 == 1).unwrap_or(data);
        let block = self.pointer(inode, "inode", "i_sb").filter(|block| *block != 0);
        let dentry = self.first_name(inode);
        let filesystem = block.and_then(|block| self.file_system_of(block));
        let node = if filesystem.as_deref() == Some("bdev") { self.device_node(inode) } else { None };
        let (path, unhashed) = match (dentry, block) {
            _ if node.is_some() => (node.ok_or(NAMELESS), None),
            (None, _) => (Err("its inode is not in the dump"), None),
            (Some(0), _) => (Err(NAMELESS), None),
            (Some(dentry), Some(block)) => {
                let mounts = blocks.entry(block).or_insert_with(|| self.mounts_of_block(block));
                (self.name_in(dentry, mounts), self.pointer(dentry, "dentry", "d_hash.pprev").map(|hash| hash == 0))
            }
            (Some(_), None) => (Err("its file system is not in the dump"), None),
        };
        let links = self.value(inode, "inode", "i_nlink");
        Some(CachedFile {
            address: inode,
            mapping,
            inode: self.value(inode, "inode", "i_ino"),
            device: block.and_then(|block| self.int(block, "super_block", "s_dev")).map(device),
            filesystem,
            path,
            deleted: links.map(|links| links == 0).or(unhashed),
            size: self.value(inode, "inode", "i_size"),
            mtime_ns: self.changed(inode),
            pages: self.pointer(mapping, "address_space", "nrpages"),
        })
    }

    /// A block device by the inode that has its pages, which has no name or an empty one: as the kernel calls its node.
    fn device_node(&self, inode: u64) -> Option<String> {
        const LONGEST: usize = 64;
        let device = inode.wrapping_sub(self.offset("bdev_inode", "vfs_inode").ok()?);
        let device = device.wrapping_add(self.offset("bdev_inode", "bdev").ok()?);
        let name = if self.offset("block_device", "bd_device.kobj.name").is_ok() {
            let name = self.pointer(device, "block_device", "bd_device.kobj.name").filter(|name| *name != 0)?;
            self.text(name, LONGEST)?
        } else {
            // It is no device of its own before 5.11.
            let disk = self.pointer(device, "block_device", "bd_disk").filter(|disk| *disk != 0)?;
            let disk = self.text(disk.wrapping_add(self.offset("gendisk", "disk_name").ok()?), LONGEST)?;
            match self.value(device, "block_device", "bd_partno")? {
                0 => disk,
                part if disk.ends_with(|last: char| last.is_ascii_digit()) => format!("{disk}p{part}"),
                part => format!("{disk}{part}"),
            }
        };
        // A slash cannot be in the name of a kobject.
        (!name.is_empty()).then(|| format!("/dev/{}", name.replace('!', "/")))
    }

    /// The first directory entry of an inode; 0 for none.
    fn first_name(&self, inode: u64) -> Option<u64> {
        let first = self.pointer(inode, "inode", "i_dentry.first")?;
        if first == 0 {
            return Some(0);
        }
        let link = self.offset("dentry", "d_u.d_alias").or_else(|_| self.offset("dentry", "d_alias")).ok()?;
        Some(first.wrapping_sub(link))
    }

    fn mounts_of_block(&self, block: u64) -> Mounts {
        let mut remarks = Vec::new();
        let root = self.pointer(block, "super_block", "s_root").unwrap_or(0);
        let head = self.offset("super_block", "s_mounts").map(|mounts| block.wrapping_add(mounts));
        let found = head.and_then(|head| match self.offset("mount", "mnt_next_for_sb") {
            // A list without a head since 6.18.
            Ok(next) => Ok(self.mount_chain(head, next)),
            Err(_) => self.list(head, "mount", "mnt_instance", "a file system's list of mounts", &mut remarks),
        });
        let first = self.first_space();
        let inside = self.offset("mount", "mnt").unwrap_or(0);
        let place = |mount: u64| {
            let root = self.pointer(mount, "mount", "mnt.mnt_root")?;
            let space = self.pointer(mount, "mount", "mnt_ns");
            Some((root, mount.wrapping_add(inside), space.is_some() && space == first))
        };
        let mut places: Vec<_> = found.unwrap_or_default().into_iter().filter_map(place).collect();
        places.sort_by_key(|(_, _, first)| !first);
        Mounts { root, places }
    }

    /// Mounts that each point to the next.
    fn mount_chain(&self, head: u64, next: u64) -> Vec<u64> {
        let most = self.room("mount");
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut at = self.word(head);
        while let Some(mount) = at.filter(|mount| *mount != 0 && seen.insert(*mount) && seen.len() <= most) {
            found.push(mount);
            at = self.word(mount.wrapping_add(next));
        }
        found
    }

    /// The namespace of mounts that process 1 has.
    fn first_space(&self) -> Option<u64> {
        let init = self.symbols.address("init_nsproxy")?;
        self.pointer(init, "nsproxy", "mnt_ns")
    }

    /// The path of a directory entry by the mounts of its file system.
    fn name_in(&self, dentry: u64, mounts: &Mounts) -> Result<String, &'static str> {
        const LOST: &str = "its directory entries cannot be read";
        let parent = self.pointer(dentry, "dentry", "d_parent").ok_or(LOST)?;
        if parent == dentry && dentry != mounts.root {
            // As memfd and System V shared memory have it (simple_dname()).
            let name = self.name(dentry).ok_or(LOST)?;
            return if name.is_empty() { Err(NAMELESS) } else { Ok(format!("/{name}")) };
        }
        let mut above = HashSet::from([dentry]);
        let mut at = dentry;
        while above.len() < DEEP {
            at = self.pointer(at, "dentry", "d_parent").ok_or(LOST)?;
            if !above.insert(at) {
                break;
            }
        }
        let place = mounts.places.iter().find(|(root, _, _)| above.contains(root));
        let (_, mount, _) = place.ok_or("it is not below any mount")?;
        self.path_of(dentry, *mount).ok_or(LOST)
    }

    /// When a file's content was changed, in nanoseconds since 1970.
    fn changed(&self, inode: u64) -> Option<i128> {
        // One member with two parts up to 6.6, renamed in 6.7, two members since 6.11.
        let ways = [
            ("i_mtime_sec", "i_mtime_nsec"),
            ("__i_mtime.tv_sec", "__i_mtime.tv_nsec"),
            ("i_mtime.tv_sec", "i_mtime.tv_nsec"),
        ];
        let (seconds, rest) = ways.into_iter().find_map(|(seconds, rest)| {
            Some((self.value(inode, "inode", seconds)? as i64, self.value(inode, "inode", rest)?))
        })?;
        Some(i128::from(seconds) * 1_000_000_000 + i128::from(rest.min(999_999_999)))
    }

    /// What has become of each part of a file.
    ///
    /// # Errors
    /// Why the tree of its pages cannot be read.
    pub fn file_content(&self, file: &CachedFile) -> Result<Vec<FileRun>, String> {
        let size = file.size.ok_or("the size of the file is not in the dump")?;
        Ok(self.file_runs(&self.file_pages(file.mapping, size)?))
    }

    /// Bytes of a file that can be read.
    #[must_use]
    pub fn cached_bytes(runs: &[FileRun]) -> u64 {
        let present = runs.iter().filter(|run| matches!(run.state, PageState::Cached(_) | PageState::Mapped(_)));
        present.fold(0, |sum, run| sum.saturating_add(run.length))
    }
}

/// `dev_t` inside the kernel (include/linux/kdev_t.h).
fn device(number: u64) -> (u32, u32) {
    const MINOR_BITS: u32 = 20;
    (number as u32 >> MINOR_BITS, number as u32 & ((1 << MINOR_BITS) - 1))
}
