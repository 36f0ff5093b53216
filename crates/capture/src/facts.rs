//! What /proc says about a process, kept word for word in the dump: it is gone when the process is.
//!
//! *Trap*: the environment may hold secrets, as the dump's memory does. A dump file is readable by its owner only.

use crate::procfs::Stat;
use crate::sys::Tid;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of one fact that are kept.
const MAX_FACT: u64 = 16 << 20;
/// Bytes of the list of mounts that are kept: a container host has thousands.
const MAX_MOUNTS: u64 = 256 << 10;
/// Open files that are listed.
const MAX_FILES: usize = 65_536;

/// Collects the facts as a thread of the process that has not ended shows them; one that cannot be read is left out.
pub(crate) fn collect(pid: Tid, stat: &Stat) -> Vec<(&'static str, Vec<u8>)> {
    let mut facts = Vec::new();
    let files = ["cmdline", "environ", "status", "limits", "cgroup", "maps", "oom_score_adj", "oom_score", "io"];
    for (key, most) in files.map(|key| (key, MAX_FACT)).into_iter().chain([("mountinfo", MAX_MOUNTS)]) {
        let mut text = Vec::new();
        let file = std::fs::File::open(format!("/proc/{pid}/{key}"));
        if file.and_then(|file| file.take(most).read_to_end(&mut text)).is_ok() {
            facts.push((key, text));
        }
    }
    let cgroup =
        facts.iter().find(|(key, _)| *key == "cgroup").map(|(_, text)| String::from_utf8_lossy(text).into_owned());
    if let Some(container) = cgroup.as_deref().and_then(container) {
        facts.push(("container", container.into_bytes()));
    }
    for key in ["exe", "cwd", "root"] {
        if let Ok(target) = std::fs::read_link(format!("/proc/{pid}/{key}")) {
            facts.push((key, target.as_os_str().as_bytes().to_vec()));
        }
    }
    facts.push(("fd", open_files(pid)));
    let uname = rustix::system::uname();
    let parts = [uname.sysname(), uname.release(), uname.version(), uname.machine()];
    facts.push(("uname", parts.map(|part| part.to_bytes()).join(&b' ')));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    facts.push(("time", now.to_string().into_bytes()));
    if let Some(boot) = boot_time() {
        let start = boot + stat.start / rustix::param::clock_ticks_per_second().max(1);
        facts.push(("start_time", start.to_string().into_bytes()));
    }
    facts
}

/// The container's id out of the paths of control groups: Docker, Podman, containerd and CRI-O name a group by 64
/// hexadecimal digits, with a prefix like `docker-` and a suffix like `.scope`.
///
/// Folklore: a host name is no identity: two pods may have the same one (core-dump-handler issue 115).
fn container(cgroup: &str) -> Option<String> {
    let of_line = |line: &str| {
        let path = line.splitn(3, ':').nth(2)?;
        let names = path.rsplit('/').map(|name| name.trim_end_matches(".scope"));
        let mut ids = names.map(|name| name.rsplit(['-', ':']).next().unwrap_or(name));
        ids.find(|id| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).map(str::to_owned)
    };
    cgroup.lines().find_map(of_line)
}

/// Lines of number, tab, target.
fn open_files(pid: Tid) -> Vec<u8> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().take(MAX_FILES) {
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            && let Ok(target) = std::fs::read_link(entry.path())
        {
            files.push((number, target));
        }
    }
    files.sort_unstable();
    let mut text = Vec::new();
    for (number, target) in files {
        text.extend_from_slice(format!("{number}\t").as_bytes());
        text.extend(target.as_os_str().as_bytes().iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }));
        text.push(b'\n');
    }
    text
}

/// Seconds since 1970 at boot.
fn boot_time() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids() {
        let id = "4f".repeat(32);
        for path in
            ["docker-ID.scope", "kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope", "docker/ID", "a:cri:ID"]
        {
            let line = format!("0::/system.slice/{}\n", path.replace("ID", &id));
            assert_eq!(container(&line), Some(id.clone()), "{line}");
        }
        assert_eq!(container("0::/user.slice/session-1.scope\n1:name=systemd:/x\n"), None);
    }
}
