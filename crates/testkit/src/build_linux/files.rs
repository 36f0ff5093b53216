//! File systems, mounts, directory entries, open files and sockets.

use super::memory::Memory;
use super::plan::{MOUNTS, Plan, SOCKETS};
use super::{Age, Kernel};
use std::collections::BTreeMap;

/// What is mounted, and the entries that were made so far.
pub(super) struct Files {
    age: Age,
    /// `struct mount` and root entry of each mount, in the order of the plan.
    mounts: Vec<(u64, u64)>,
    entries: BTreeMap<String, u64>,
    blocks: BTreeMap<String, u64>,
    operations: [u64; 2],
    pub(super) nsproxy: u64,
    number: u64,
}

impl Files {
    pub(super) fn new(kernel: &mut Kernel, operations: [u64; 2], super_blocks: u64) -> Self {
        let age = kernel.age;
        let memory = &mut kernel.memory;
        let nsproxy = memory.make("nsproxy");
        let mut files = Self {
            age,
            mounts: Vec::new(),
            entries: BTreeMap::new(),
            blocks: BTreeMap::new(),
            operations,
            nsproxy,
            number: 100,
        };
        let space = memory.make("mnt_namespace");
        memory.set(nsproxy, "nsproxy", "mnt_ns", space);
        for (source, target, system, options) in MOUNTS {
            let block = files.block(memory, system);
            let root = files.entry(memory, 0, "/", block, 0o040_755);
            let mount = memory.make("mount");
            let bits = [("nosuid", 1), ("nodev", 2), ("relatime", 0x20)].into_iter();
            let flags = bits.filter(|(name, _)| options.contains(name)).map(|(_, bit)| bit).sum();
            let (parent, point) = match files.mounts.first() {
                Some((first, _)) => (*first, files.walk(memory, target, true)),
                None => (mount, root),
            };
            let source = memory.text(source);
            let values = [
                ("mnt.mnt_root", root),
                ("mnt.mnt_sb", block),
                ("mnt.mnt_flags", flags),
                ("mnt_parent", parent),
                ("mnt_mountpoint", point),
                ("mnt_devname", source),
                ("mnt_ns", space),
            ];
            for (path, value) in values {
                memory.set(mount, "mount", path, value);
            }
            let links = [("super_block", "s_mounts", block), ("mount", "mnt_instance", mount)];
            let links = links.map(|(structure, member, at)| memory.at(at, structure, member));
            memory.ring(&links);
            files.mounts.push((mount, root));
        }
        files.strung(memory, space);
        let mut links = vec![super_blocks];
        links.extend(files.blocks.values().map(|block| memory.at(*block, "super_block", "s_list")));
        memory.ring(&links);
        files
    }

    /// The namespace's own list or tree.
    fn strung(&self, memory: &mut Memory, space: u64) {
        let count = self.mounts.len() as u64;
        if self.age == Age::Old {
            let mut links = vec![memory.at(space, "mnt_namespace", "list")];
            links.extend(self.mounts.iter().map(|(mount, _)| memory.at(*mount, "mount", "mnt_list")));
            memory.ring(&links);
            memory.set(space, "mnt_namespace", "mounts", count);
            return;
        }
        let nodes: Vec<u64> = self.mounts.iter().map(|(mount, _)| memory.at(*mount, "mount", "mnt_node")).collect();
        memory.set(space, "mnt_namespace", "mounts.rb_node", nodes[0]);
        memory.set(space, "mnt_namespace", "nr_mounts", count);
        for pair in nodes.windows(2) {
            memory.set(pair[0], "rb_node", "rb_right", pair[1]);
        }
    }

    fn block(&mut self, memory: &mut Memory, system: &str) -> u64 {
        if let Some(block) = self.blocks.get(system) {
            return *block;
        }
        let block = memory.make("super_block");
        let kind = memory.make("file_system_type");
        let name = memory.text(system);
        memory.set(kind, "file_system_type", "name", name);
        memory.set(block, "super_block", "s_type", kind);
        let mounts = memory.at(block, "super_block", "s_mounts");
        memory.ring(&[mounts]);
        self.blocks.insert(system.to_owned(), block);
        block
    }

    fn entry(&mut self, memory: &mut Memory, parent: u64, name: &str, block: u64, mode: u64) -> u64 {
        self.number += 1;
        let inode = memory.make("inode");
        let number = self.number;
        self.set_inode(memory, inode, block, mode, number);
        self.entry_of(memory, parent, name, block, inode)
    }

    fn set_inode(&self, memory: &mut Memory, inode: u64, block: u64, mode: u64, number: u64) {
        for (member, value) in [("i_mode", mode), ("i_ino", number), ("i_sb", block)] {
            memory.set(inode, "inode", member, value);
        }
    }

    /// An entry; without a parent it is its own.
    fn entry_of(&mut self, memory: &mut Memory, parent: u64, name: &str, block: u64, inode: u64) -> u64 {
        let entry = memory.make("dentry");
        let text = memory.text(name);
        let parent = if parent == 0 { entry } else { parent };
        // Its place among the names of its directory: any address.
        let values = [
            ("d_parent", parent),
            ("d_name.name", text),
            ("d_name.len", name.len() as u64),
            ("d_inode", inode),
            ("d_sb", block),
            ("d_hash.pprev", parent),
        ];
        for (member, value) in values {
            memory.set(entry, "dentry", member, value);
        }
        entry
    }

    /// The mount that a path is on, its number in the plan.
    fn mount_of(path: &str) -> usize {
        usize::from(path.starts_with("/run/"))
    }

    /// The entry of a path.
    fn walk(&mut self, memory: &mut Memory, path: &str, directory: bool) -> u64 {
        let number = Self::mount_of(path);
        let root = self.mounts[number].1;
        let Some((above, name)) = path.rsplit_once('/').filter(|(_, name)| !name.is_empty()) else { return root };
        if number == 1 && above == "/run" || above.is_empty() {
            return self.below(memory, root, path, name, directory);
        }
        let parent = self.walk(memory, above, true);
        self.below(memory, parent, path, name, directory)
    }

    fn below(&mut self, memory: &mut Memory, parent: u64, path: &str, name: &str, directory: bool) -> u64 {
        if let Some(entry) = self.entries.get(path) {
            return *entry;
        }
        let system = MOUNTS[Self::mount_of(path)].2;
        let block = self.block(memory, system);
        let mode = match path {
            _ if directory => 0o040_755,
            "/dev/console" => 0o020_600,
            _ => 0o100_644,
        };
        let entry = self.entry(memory, parent, name, block, mode);
        self.entries.insert(path.to_owned(), entry);
        entry
    }

    pub(super) fn set_path(&mut self, memory: &mut Memory, at: u64, path: &str) {
        let entry = self.walk(memory, path, false);
        let mount = memory.at(self.mounts[Self::mount_of(path)].0, "mount", "mnt");
        memory.set(at, "path", "dentry", entry);
        memory.set(at, "path", "mnt", mount);
    }

    /// A `struct file` of a path.
    pub(super) fn open(&mut self, memory: &mut Memory, path: &str) -> u64 {
        let file = memory.make("file");
        let place = memory.at(file, "file", if self.age == Age::New { "__f_path" } else { "f_path" });
        self.set_path(memory, place, path);
        let entry = memory.word(memory.at(place, "path", "dentry"));
        let inode = memory.word(memory.at(entry, "dentry", "d_inode"));
        memory.set(file, "file", "f_inode", inode);
        memory.set(file, "file", "f_op", self.operations[0]);
        file
    }

    /// A process's table of open files.
    pub(super) fn table(&mut self, kernel: &mut Kernel, plan: &Plan) -> u64 {
        let memory = &mut kernel.memory;
        let files = memory.make("files_struct");
        let table = memory.at(files, "files_struct", "fdtab");
        let array = memory.at(files, "files_struct", "fd_array");
        let bits = memory.room(8, 8);
        memory.set(files, "files_struct", "fdt", table);
        memory.set(table, "fdtable", "max_fds", 64);
        memory.set(table, "fdtable", "fd", array);
        memory.set(table, "fdtable", "open_fds", bits);
        memory.put_word(bits, (1 << plan.files.len()) - 1);
        let mut sockets = SOCKETS.iter();
        for (fd, name) in plan.files.iter().enumerate() {
            let file = if name.starts_with("socket:") {
                let number = name.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(0);
                let socket = sockets.next().expect("a socket is planned");
                self.socket(memory, number, socket)
            } else {
                self.open(memory, name)
            };
            memory.put_word(array + 8 * fd as u64, file);
        }
        files
    }

    fn socket(&mut self, memory: &mut Memory, number: u64, plan: &(&str, &str, &str, &str, &str)) -> u64 {
        let block = self.block(memory, "sockfs");
        let allocated = memory.make("socket_alloc");
        let inode = memory.at(allocated, "socket_alloc", "vfs_inode");
        self.set_inode(memory, inode, block, 0o140_777, number);
        let entry = self.entry_of(memory, 0, "", block, inode);
        let file = memory.make("file");
        let place = memory.at(file, "file", if self.age == Age::New { "__f_path" } else { "f_path" });
        let mount = memory.make("mount");
        memory.set(mount, "mount", "mnt.mnt_root", block);
        memory.set(place, "path", "dentry", entry);
        let vfs = memory.at(mount, "mount", "mnt");
        memory.set(place, "path", "mnt", vfs);
        let values = [("f_inode", inode), ("f_op", self.operations[1]), ("private_data", allocated)];
        for (member, value) in values {
            memory.set(file, "file", member, value);
        }
        let sock = memory.make("unix_sock");
        memory.set(allocated, "socket", "sk", sock);
        memory.set(sock, "sock", "sk_socket", allocated);
        let (family, protocol, kind) = match plan.0 {
            "IPv4" => (2, 6, 1),
            "IPv6" => (10, 17, 2),
            _ => (1, 0, 1),
        };
        let state = if plan.4 == "LISTEN" { 10 } else { 7 };
        for (member, value) in [("skc_family", family), ("skc_state", state)] {
            memory.set(sock, "sock", &format!("__sk_common.{member}"), value);
        }
        memory.set(sock, "sock", "sk_protocol", protocol);
        memory.set(sock, "sock", "sk_type", kind);
        if let Some((_, port)) = plan.2.rsplit_once(':') {
            memory.set(sock, "sock", "__sk_common.skc_num", port.parse().unwrap_or(0));
        }
        if plan.0 == "IPv6" {
            memory.set(sock, "sock", "__sk_common.skc_v6_rcv_saddr.15", 1);
        }
        if plan.0 == "UNIX" {
            let address = memory.make("unix_address");
            memory.set(address, "unix_address", "len", plan.2.len() as u64 + 3);
            let name = memory.at(address, "unix_address", "name");
            memory.put(name, format!("\x01\0{}\0", plan.2).as_bytes());
            memory.set(sock, "unix_sock", "addr", address);
        }
        file
    }
}
