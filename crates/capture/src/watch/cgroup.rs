//! The memory of the target's control group, against the limits that bring the out-of-memory killer.
//!
//! *Example*: a container limited to 512 MiB whose programs hold 480 MiB is at 93.8 percent.
//!
//! *Trap*: the kernel counts cached files, too, and a group that has read much stands at its limit without any need:
//! what can be dropped at once (`inactive_file`) is therefore left out, as container runtimes do.

use super::detector::{Detector, Reading};
use super::sample::Sample;
use super::{WatchError, percent_words, size_words};
use crate::sys::Tid;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// Version 1 writes "no limit" as the largest multiple of a page; nothing that large is one.
const NO_LIMIT: u64 = 1 << 60;

/// Names of the files of a version.
struct Files {
    usage: &'static str,
    limits: &'static [&'static str],
    cache: &'static str,
}

const VERSION_2: Files =
    Files { usage: "memory.current", limits: &["memory.max", "memory.high"], cache: "inactive_file " };
const VERSION_1: Files =
    Files { usage: "memory.usage_in_bytes", limits: &["memory.limit_in_bytes"], cache: "total_inactive_file " };

/// The nearest to its limit of all limited groups that the process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Nearest {
    folder: PathBuf,
    usage: u64,
    limit: u64,
}

impl Nearest {
    fn percent(&self) -> f64 {
        self.usage as f64 / self.limit.max(1) as f64 * 100.0
    }
}

/// Watches for a percentage of the limit.
pub(super) struct Memory {
    pid: Tid,
    percent: f64,
    now: Option<Nearest>,
}

impl Memory {
    pub(super) fn new(pid: Tid, percent: f64) -> Result<Self, WatchError> {
        if nearest(pid).is_none() {
            let what = "neither its control group nor one above it has a memory limit that can be read".to_owned();
            return Err(WatchError::Trigger { trigger: "cgroup-memory", what });
        }
        Ok(Self { pid, percent, now: None })
    }
}

impl Detector for Memory {
    fn sampled(&mut self, _sample: &Sample, _now: Instant) {
        // Found anew each time: limits are changed and processes moved.
        self.now = nearest(self.pid);
    }

    fn check(&mut self, _now: Instant) -> Option<Reading> {
        let nearest = self.now.as_ref().filter(|nearest| nearest.percent() > self.percent)?;
        let (value, threshold) = (percent_words(nearest.percent()), percent_words(self.percent));
        let (usage, limit) = (size_words(nearest.usage), size_words(nearest.limit));
        let folder = nearest.folder.display();
        let words =
            format!("memory of control group {folder} is {usage}, {value} of its limit of {limit}, above {threshold}");
        Some(Reading { value, threshold, words })
    }

    fn fired(&mut self, _now: Instant) {
        self.now = None;
    }
}

fn nearest(pid: Tid) -> Option<Nearest> {
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    find(&membership, Path::new(ROOT))
}

/// Looks at the groups that `membership` (the text of `/proc/PID/cgroup`) names, and all above them.
fn find(membership: &str, root: &Path) -> Option<Nearest> {
    let mut found: Option<Nearest> = None;
    for (version_2, path) in folders(membership, "memory", root) {
        let files = if version_2 { &VERSION_2 } else { &VERSION_1 };
        // Down to the mount, not beyond; in a container the mount may be the group itself.
        for folder in path.ancestors().take_while(|folder| folder.starts_with(root)) {
            let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
            let limit = files.limits.iter().filter_map(|name| number(name)).min();
            let (Some(limit), Some(usage)) = (limit.filter(|limit| *limit < NO_LIMIT), number(files.usage)) else {
                continue;
            };
            let cache = std::fs::read_to_string(folder.join("memory.stat")).ok().and_then(|text| {
                text.lines().find_map(|line| line.strip_prefix(files.cache))?.trim().parse::<u64>().ok()
            });
            let usage = usage.saturating_sub(cache.unwrap_or(0));
            let here = Nearest { folder: folder.to_owned(), usage, limit };
            if found.as_ref().is_none_or(|nearest| here.percent() > nearest.percent()) {
                found = Some(here);
            }
        }
    }
    found
}

/// The folders of the groups that a process is in, version 2 first; with version 1 that of one controller.
fn folders(membership: &str, controller: &str, root: &Path) -> Vec<(bool, PathBuf)> {
    let mut out = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        // A group outside of our namespace shows as `/../..`: its files cannot be seen from here.
        let path = path.trim_start_matches('/');
        let path = if path.split('/').any(|part| part == "..") { "" } else { path };
        if controllers.is_empty() {
            out.insert(0, (true, root.join(path)));
            out.insert(1, (true, root.join("unified").join(path)));
        } else if controllers.split(',').any(|name| name == controller) {
            // In a container the path of version 1 is often that of the host, and the mount is the group itself.
            let folder = root.join(controller).join(path);
            out.push((false, if folder.is_dir() { folder } else { root.join(controller) }));
        }
    }
    out
}

/// A file of the version 2 group of a process, if there is one.
pub(super) fn version_2_file(pid: Tid, name: &str) -> Option<PathBuf> {
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let folders = folders(&membership, "", Path::new(ROOT)).into_iter().filter(|(version_2, _)| *version_2);
    folders.map(|(_, folder)| folder.join(name)).find(|file| file.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, folder: &str, files: &[(&str, &str)]) {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn version_2_walks_up() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "a/b/c", &[("memory.current", "100\n"), ("memory.max", "max\n"), ("memory.high", "max\n")]);
        write(root, "a/b", &[("memory.current", "500\n"), ("memory.max", "1000\n"), ("memory.high", "800\n")]);
        write(
            root,
            "a",
            &[("memory.current", "1000\n"), ("memory.max", "9000\n"), ("memory.stat", "inactive_file 100\n")],
        );
        let nearest = find("0::/a/b/c\n", root).unwrap();
        assert_eq!((nearest.folder, nearest.usage, nearest.limit), (root.join("a/b"), 500, 800));
        write(root, "a", &[("memory.current", "9000\n")]);
        let nearest = find("0::/a/b/c\n", root).unwrap();
        assert_eq!((nearest.usage, nearest.limit), (8900, 9000), "without what can be dropped");
        assert_eq!(find("0::/elsewhere\n", root), None);
        assert_eq!(find("0::/../../x\n", root), None);
    }

    #[test]
    fn version_1_has_a_number_for_no_limit() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let none = "9223372036854771712\n";
        write(root, "memory/a/b", &[("memory.usage_in_bytes", "5\n"), ("memory.limit_in_bytes", none)]);
        assert_eq!(find("4:cpu,memory:/a/b\n0::/\n", root), None);
        write(root, "memory/a", &[("memory.usage_in_bytes", "50\n"), ("memory.limit_in_bytes", "100\n")]);
        let nearest = find("4:cpu,memory:/a/b\n0::/\n", root).unwrap();
        assert_eq!((nearest.usage, nearest.limit), (50, 100));
    }
}
