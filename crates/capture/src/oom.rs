//! Whether the kernel's out-of-memory killer was at work: its counters before and after.
//!
//! *Trap*: the counters do not name the victim. A rise says that *some* process of the group, or of the machine, was
//! killed meanwhile; [`crate::OutOfMemory`] says which of the two is known.

use crate::run::OutOfMemory;
use std::path::PathBuf;

/// The counters at one moment.
pub(crate) struct Counters {
    file: Option<PathBuf>,
    group: Option<u64>,
    machine: Option<u64>,
}

impl Counters {
    /// Reads them for our own control group, which children inherit.
    pub(crate) fn now() -> Self {
        let file = group_file();
        Self { group: file.as_ref().and_then(count), machine: machine_count(), file }
    }

    /// What has happened since.
    pub(crate) fn since(&self) -> OutOfMemory {
        let group = self.file.as_ref().and_then(count);
        if let (Some(before), Some(after)) = (self.group, group)
            && after > before
        {
            return OutOfMemory::CgroupCounted;
        }
        match (self.machine, machine_count()) {
            (Some(before), Some(after)) if after > before => OutOfMemory::MachineCounted,
            (Some(_), Some(_)) => OutOfMemory::No,
            _ => OutOfMemory::Unknown,
        }
    }
}

fn machine_count() -> Option<u64> {
    count(&PathBuf::from("/proc/vmstat"))
}

/// The value of the line `oom_kill N`.
fn count(file: &PathBuf) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// The file with our control group's counter: version 2 first, then version 1's memory controller.
fn group_file() -> Option<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut candidates = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?.trim_start_matches('/'));
        if controllers.is_empty() {
            candidates.push(PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events"));
        } else if controllers.split(',').any(|name| name == "memory") {
            candidates.push(PathBuf::from("/sys/fs/cgroup/memory").join(path).join("memory.oom_control"));
        }
    }
    candidates.into_iter().find(|file| file.exists())
}
