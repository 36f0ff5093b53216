//! How a process stands among the others: session, terminal, groups, rights, scheduling, control group, namespaces; what
//! `ps` and `/proc/PID/status` show.
//!
//! *Trap*: numbers of processes are those of the first namespace, as a process outside of all containers sees them.
//! `inner_pid` is what the process itself believes.

use super::process::Process;
use crate::linux::Linux;

const NOT_HERE: &str = "the kernel's structure with it is not in the dump";
const ENDED: &str = "it has ended, and holds none any more";

/// What `enum pid_type` counts up to.
const PGID: u64 = 2;
const SID: u64 = 3;

/// A process among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number in its own namespace of processes.
    pub inner_pid: Option<u32>,
    /// Group of processes.
    pub pgid: Option<u32>,
    /// Session.
    pub sid: Option<u32>,
    /// Controlling terminal, as `pts/0`; why there is none.
    pub tty: Result<String, &'static str>,
    /// Number of its threads.
    pub threads: Option<u32>,
    /// Effective group id.
    pub gid: Option<u32>,
    /// Further groups, commas between them; empty for none.
    pub groups: Option<String>,
    /// Effective capabilities, a bit each.
    pub capabilities: Option<u64>,
    /// `disabled`, `strict`, `filter`.
    pub seccomp: Option<&'static str>,
    /// Whether what it executes gains no rights.
    pub no_new_privs: Option<bool>,
    /// Policy of scheduling, as chrt(1) names it: `OTHER`, `FIFO`.
    pub policy: Option<&'static str>,
    /// Niceness.
    pub nice: Option<i32>,
    /// Static priority, of FIFO and RR.
    pub realtime: Option<u32>,
    /// Control group, as `/proc/PID/cgroup` has it behind `0::`; without version 2 `controller:path` of each hierarchy.
    pub cgroup: Result<String, &'static str>,
    /// Numbers of its namespaces, in the order of [`NAMESPACES`]; why one is missing.
    pub namespaces: [Result<u32, &'static str>; 8],
}

/// Kinds of namespaces, as `/proc/PID/ns` names them.
pub const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

impl Linux {
    /// How a process stands among the others.
    #[must_use]
    pub fn standing(&self, process: &Process) -> Standing {
        let task = process.task;
        let signal = self.pointer(task, "task_struct", "signal").filter(|at| *at != 0);
        let cred = self.pointer(task, "task_struct", "cred").filter(|at| *at != 0);
        let number = |kind| signal.and_then(|signal| self.number_of_kind(signal, kind));
        let of_cred = |member| cred.and_then(|cred| self.value(cred, "cred", member));
        // `enum` values of linux/sched.h and linux/seccomp.h, which no type carries.
        const POLICIES: [&str; 8] = ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE", "EXT"];
        const SECCOMP: [&str; 3] = ["disabled", "strict", "filter"];
        const NO_NEW_PRIVS: u64 = 1;
        const NICE_0: i32 = 120;
        let word = |names: &[&'static str], number: Option<u64>| names.get(usize::try_from(number?).ok()?).copied();
        Standing {
            inner_pid: self.inner_number(task),
            pgid: number(PGID),
            sid: number(SID),
            tty: signal.ok_or(NOT_HERE).and_then(|signal| self.terminal(signal)),
            threads: signal.and_then(|signal| self.int(signal, "signal_struct", "nr_threads")).map(|n| n as u32),
            gid: of_cred("egid").map(|gid| gid as u32),
            groups: cred.and_then(|cred| self.groups_of(cred)),
            // A pair of words up to 6.2, one number since.
            capabilities: cred.and_then(|cred| self.pointer(cred, "cred", "cap_effective")),
            seccomp: word(&SECCOMP, self.value(task, "task_struct", "seccomp.mode")),
            no_new_privs: self.pointer(task, "task_struct", "atomic_flags").map(|flags| flags & NO_NEW_PRIVS != 0),
            policy: word(&POLICIES, self.value(task, "task_struct", "policy")),
            nice: self.int(task, "task_struct", "static_prio").map(|own| (own as u32 as i32).wrapping_sub(NICE_0)),
            realtime: self.int(task, "task_struct", "rt_priority").map(|priority| priority as u32),
            cgroup: self.control_group(task),
            namespaces: self.namespaces(task),
        }
    }

    /// A number of the process's group or session, as the first namespace has it.
    fn number_of_kind(&self, signal: u64, kind: u64) -> Option<u32> {
        let place = self.offset("signal_struct", "pids").ok()?.wrapping_add(8 * kind);
        let pid = self.word(signal.wrapping_add(place)).filter(|pid| *pid != 0)?;
        self.int(pid.wrapping_add(self.offset("pid", "numbers").ok()?), "upid", "nr").map(|number| number as u32)
    }

    /// The number in the innermost namespace, and that namespace.
    fn innermost(&self, task: u64) -> Option<(u64, u64)> {
        /// `MAX_PID_NS_LEVEL`.
        const DEEPEST: u64 = 32;
        let pid = self.pointer(task, "task_struct", "thread_pid").filter(|pid| *pid != 0)?;
        let level = self.value(pid, "pid", "level").filter(|level| *level <= DEEPEST)?;
        let own = self.offset("pid", "numbers").ok()?.wrapping_add(level.wrapping_mul(self.size("upid").ok()?));
        let own = pid.wrapping_add(own);
        Some((self.int(own, "upid", "nr")?, self.pointer(own, "upid", "ns")?))
    }

    fn inner_number(&self, task: u64) -> Option<u32> {
        self.innermost(task).map(|(number, _)| number as u32)
    }

    /// As ps(1) names it: the kernel's `pts0` is the file `/dev/pts/0`.
    fn terminal(&self, signal: u64) -> Result<String, &'static str> {
        let tty = self.pointer(signal, "signal_struct", "tty").ok_or(NOT_HERE)?;
        if tty == 0 {
            return Err("it has no terminal");
        }
        let name = self.offset("tty_struct", "name").ok().and_then(|offset| self.text(tty.wrapping_add(offset), 64));
        let name = name.filter(|name| !name.is_empty()).ok_or(NOT_HERE)?;
        let slave = name.strip_prefix("pts").filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        Ok(slave.map_or_else(|| name.clone(), |number| format!("pts/{number}")))
    }

    fn groups_of(&self, cred: u64) -> Option<String> {
        /// `NGROUPS_MAX`.
        const MOST: u64 = 65_536;
        let info = self.pointer(cred, "cred", "group_info").filter(|info| *info != 0)?;
        let count = self.value(info, "group_info", "ngroups").filter(|count| *count <= MOST)?;
        let first = info.wrapping_add(self.offset("group_info", "gid").ok()?);
        let bytes = self.bytes(first, 4 * count as usize);
        let ids = bytes.chunks_exact(4).filter_map(|id| id.try_into().ok()).map(u32::from_le_bytes);
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        (ids.len() as u64 == count).then(|| ids.join(","))
    }

    fn namespaces(&self, task: u64) -> [Result<u32, &'static str>; 8] {
        let proxy = self.pointer(task, "task_struct", "nsproxy");
        let number = |at: Option<u64>, structure: &str| match at {
            None => Err(NOT_HERE),
            Some(0) => Err(ENDED),
            Some(at) => self.int(at, structure, "ns.inum").map(|number| number as u32).ok_or(NOT_HERE),
        };
        let of_proxy = |member: &str, structure: &str| match proxy {
            Some(0) => Err(ENDED),
            Some(proxy) if self.offset("nsproxy", member).is_ok() => {
                number(self.pointer(proxy, "nsproxy", member), structure)
            }
            Some(_) => Err("this kernel has no such namespaces"),
            None => Err(NOT_HERE),
        };
        let pid = match self.pointer(task, "task_struct", "thread_pid") {
            Some(0) => Err(ENDED),
            _ => number(self.innermost(task).map(|(_, space)| space), "pid_namespace"),
        };
        let cred = self.pointer(task, "task_struct", "real_cred").filter(|cred| *cred != 0);
        NAMESPACES.map(|kind| match kind {
            "cgroup" => of_proxy("cgroup_ns", "cgroup_namespace"),
            "ipc" => of_proxy("ipc_ns", "ipc_namespace"),
            "mnt" => of_proxy("mnt_ns", "mnt_namespace"),
            "net" => of_proxy("net_ns", "net"),
            "pid" => pid,
            "time" => of_proxy("time_ns", "time_namespace"),
            "user" => number(cred.and_then(|cred| self.pointer(cred, "cred", "user_ns")), "user_namespace"),
            _ => of_proxy("uts_ns", "uts_namespace"),
        })
    }

    fn control_group(&self, task: u64) -> Result<String, &'static str> {
        let set = self.offset("task_struct", "cgroups").map_err(|_| "this kernel has no control groups")?;
        let set = self.word(task.wrapping_add(set)).filter(|set| *set != 0).ok_or(NOT_HERE)?;
        // Version 2 is there from the start, and visible from when it is first mounted.
        let visible = self.symbols.address("cgrp_dfl_visible").and_then(|at| self.number(at, 1));
        if visible == Some(0) {
            let old = self.old_control_groups(set);
            if !old.is_empty() {
                return Ok(old.join(" "));
            }
        }
        let group = self.pointer(set, "css_set", "dfl_cgrp").filter(|group| *group != 0).ok_or(NOT_HERE)?;
        self.group_path(group).ok_or("the names of its control group are not in the dump")
    }

    /// `controllers:path` of each hierarchy of version 1.
    fn old_control_groups(&self, set: u64) -> Vec<String> {
        const MOST: usize = 64;
        let Ok(links) = self.offset("css_set", "cgrp_links") else { return Vec::new() };
        let mut broken = Vec::new();
        let links = self.list(set.wrapping_add(links), "cgrp_cset_link", "cgrp_link", "", &mut broken);
        let shown = |link: u64| {
            let group = self.pointer(link, "cgrp_cset_link", "cgrp").filter(|group| *group != 0)?;
            let root = self.pointer(group, "cgroup", "root").filter(|root| *root != 0)?;
            // Number 0 is version 2.
            self.int(root, "cgroup_root", "hierarchy_id").filter(|id| *id != 0)?;
            let name = self.text(root.wrapping_add(self.offset("cgroup_root", "name").ok()?), 64)?;
            let mut names: Vec<String> = self.controllers(set, self.value(root, "cgroup_root", "subsys_mask")?);
            if !name.is_empty() {
                names.push(format!("name={name}"));
            }
            Some(format!("{}:{}", names.join(","), self.group_path(group)?))
        };
        links.unwrap_or_default().into_iter().take(MOST).filter_map(shown).collect()
    }

    /// Names of the controllers whose bits are set.
    fn controllers(&self, set: u64, mask: u64) -> Vec<String> {
        let states = self.offset("css_set", "subsys").unwrap_or(0);
        let count = self.elements("css_set", "subsys").unwrap_or(0).min(64);
        let name = |number: u64| {
            let state = self.word(set.wrapping_add(states).wrapping_add(8 * number)).filter(|state| *state != 0)?;
            let kind = self.pointer(state, "cgroup_subsys_state", "ss").filter(|kind| *kind != 0)?;
            let old = self.pointer(kind, "cgroup_subsys", "legacy_name").filter(|name| *name != 0);
            self.text(old.or_else(|| self.pointer(kind, "cgroup_subsys", "name"))?, 32)
        };
        (0..count).filter(|number| mask >> number & 1 == 1).filter_map(name).collect()
    }

    /// The path of a control group below its hierarchy's root.
    fn group_path(&self, group: u64) -> Option<String> {
        const DEEPEST: usize = 256;
        // Renamed in 6.15.
        let parent = self.offset("kernfs_node", "parent").or_else(|_| self.offset("kernfs_node", "__parent")).ok()?;
        let mut node = self.pointer(group, "cgroup", "kn").filter(|node| *node != 0)?;
        let mut names = Vec::new();
        for _ in 0..DEEPEST {
            let above = self.word(node.wrapping_add(parent))?;
            if above == 0 {
                names.reverse();
                return Some(format!("/{}", names.join("/")));
            }
            names.push(self.text(self.pointer(node, "kernfs_node", "name")?, 256)?);
            node = above;
        }
        None
    }
}
