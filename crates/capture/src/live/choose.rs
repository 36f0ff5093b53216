//! Which way is gone: by the pause that each would make, as far as that can be told before.
//!
//! *What it is*: figures measured on ordinary machines, on the careful side. *What it is not*: a promise. What a
//! capture really cost is measured and told.

use super::who::Subject;
use super::{CaptureOptions, Destination, How, LiveError};
use crate::DumpType;
use std::path::Path;
use std::time::Duration;

/// Memory is read and written at some 2.5 GiB a second.
const NANOS_PER_READ_MIB: u64 = 400_000;
/// Page tables of 4 KiB pages are copied at some 25 ms a GiB.
const NANOS_PER_FORK_MIB: u64 = 25_000;
/// Write-protected page tables are looked through at some 1 ms a GiB.
const NANOS_PER_SCAN_MIB: u64 = 1_000;
/// Stopping, registers, borrowed calls.
const OVERHEAD: Duration = Duration::from_millis(1);
/// Up to this pause the simplest way is the best, without any call in the process.
const UNNOTICED: Duration = Duration::from_millis(5);

/// The ways to try, in this order.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) ways: Vec<How>,
    /// Why others are not among them.
    pub(super) passed_over: Vec<String>,
    /// The fastest way, and the pause that is to be expected of it.
    pub(super) fastest: (How, Duration),
}

/// Pauses to be expected.
#[derive(Clone, Copy, Debug)]
struct Predicted {
    stop: Duration,
    snapshot: Duration,
    precopy: Duration,
}

impl Predicted {
    fn of(subject: &Subject, options: &CaptureOptions) -> Self {
        let status = &subject.status;
        let mib = |bytes: u64| bytes >> 20;
        let anonymous = status.resident.saturating_sub(status.shared_resident + status.file_resident);
        let files = if options.dump_type == DumpType::Complete { status.file_resident } else { 0 };
        let nanos = |count: u64, each: u64| Duration::from_nanos(count.saturating_mul(each));
        let (read, shared) = match options.dump_type {
            // A stack and a few pages a thread.
            DumpType::Small => (0, 0),
            _ => (anonymous + status.shared_resident + files, status.shared_resident),
        };
        let most = options.max_size.unwrap_or(u64::MAX);
        let (read, shared) = (read.min(most), shared.min(most));
        let shared = nanos(mib(shared), NANOS_PER_READ_MIB);
        Self {
            stop: OVERHEAD + nanos(mib(read), NANOS_PER_READ_MIB),
            snapshot: 2 * OVERHEAD + nanos(mib(anonymous), NANOS_PER_FORK_MIB) + shared,
            precopy: OVERHEAD + nanos(mib(anonymous), NANOS_PER_SCAN_MIB) + shared,
        }
    }

    fn get(&self, how: How) -> Duration {
        match how {
            How::Stop => self.stop,
            How::Snapshot => self.snapshot,
            How::Precopy => self.precopy,
        }
    }
}

/// Options for a dump that fits its disk, if those given are to be changed so.
pub(super) fn fit(subject: &Subject, options: &CaptureOptions) -> Option<CaptureOptions> {
    /// What stays free: production writes to the disk, too.
    const KEEP_FREE: u64 = 1 << 30;
    const LEAST: u64 = 16 << 20;
    let folder = match &options.destination {
        _ if !options.fit_disk => return None,
        Destination::Folder(folder) => folder.as_path(),
        Destination::File { path, .. } => path.parent().filter(|parent| !parent.as_os_str().is_empty())?,
        Destination::Stdout => return None,
    };
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let keep = KEEP_FREE.max(disk.f_blocks.saturating_mul(disk.f_frsize) / 20);
    let room = free.saturating_sub(keep);
    // Headers, notes and what grows meanwhile.
    let need = subject.status.resident + subject.status.resident / 8 + (16 << 20);
    if need <= room {
        return None;
    }
    let mut fitted = options.clone();
    if room < LEAST {
        fitted.dump_type = DumpType::Small;
    } else {
        fitted.max_size = Some(options.max_size.map_or(room, |most| most.min(room)));
    }
    Some(fitted)
}

/// Whether a control group has room for the pages that a process writes to while its copy is read.
pub(super) fn room_for_copy(subject: &Subject) -> Result<(), String> {
    let anonymous =
        subject.status.resident.saturating_sub(subject.status.file_resident + subject.status.shared_resident);
    // A process that writes to half of its memory within seconds is rare.
    let need = (anonymous / 2).max(16 << 20).min(anonymous);
    match memory_left(subject.pid) {
        Some(left) if left < need => {
            Err(format!("its control group has only {} MiB left for pages written to meanwhile", left >> 20))
        }
        _ => Ok(()),
    }
}

/// Bytes that the control groups of a process may still take; `None` without a limit.
fn memory_left(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mut least: Option<u64> = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, most, used) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max", "memory.current")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            continue;
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let folder = Path::new(root).join(group);
            let number = |name| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
            // Folklore: v1 says "no limit" as the largest multiple of a page in 63 bits.
            if let (Some(most), Some(used)) = (number(most).filter(|most| *most < 1 << 62), number(used)) {
                let left = most.saturating_sub(used).saturating_add(inactive_file(&folder) / 2);
                least = Some(least.map_or(left, |least| least.min(left)));
            }
        }
    }
    least
}

/// Cached file pages that a group gives up without ado.
fn inactive_file(folder: &Path) -> u64 {
    let text = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    value("total_inactive_file ").or_else(|| value("inactive_file ")).unwrap_or(0)
}

/// Chooses.
pub(super) fn choose(subject: &Subject, options: &CaptureOptions) -> Result<Choice, LiveError> {
    let predicted = Predicted::of(subject, options);
    let mut ways = [How::Precopy, How::Snapshot, How::Stop];
    ways.sort_by_key(|how| predicted.get(*how));
    let [fastest, ..] = ways;
    let fastest = (fastest, predicted.get(fastest));
    let mut choice = Choice { ways: Vec::new(), passed_over: Vec::new(), fastest };
    if let Some(how) = options.how {
        let expected = predicted.get(how);
        if options.max_pause.is_some_and(|longest| expected > longest) {
            return Err(LiveError::TooSlow { pid: subject.pid, how, predicted: expected });
        }
        choice.ways.push(how);
        return Ok(choice);
    }
    if subject.status.state == b'T' {
        // Nobody waits for it.
        choice.passed_over.push("no precopy and no snapshot: it is stopped already".into());
        choice.ways.push(How::Stop);
        return Ok(choice);
    }
    if predicted.stop <= UNNOTICED.min(options.max_pause.unwrap_or(UNNOTICED)) || options.dump_type == DumpType::Small {
        choice.ways.push(How::Stop);
        return Ok(choice);
    }
    if let Some(longest) = options.max_pause {
        // Any that is fast enough will do; the one that burdens the process least comes first.
        ways.sort_by_key(|how| (predicted.get(*how) > longest, *how == How::Precopy));
        let too_slow = |how: &&How| predicted.get(**how) > longest;
        for how in ways.iter().filter(too_slow) {
            let pause = predicted.get(*how);
            choice.passed_over.push(format!("no {}: it would hold the process for some {pause:.1?}", how.name()));
        }
        choice.ways.extend(ways.iter().filter(|how| !too_slow(how)));
    } else {
        choice.ways.extend(ways);
    }
    if choice.ways.is_empty() {
        let (how, predicted) = choice.fastest;
        return Err(LiveError::TooSlow { pid: subject.pid, how, predicted });
    }
    Ok(choice)
}
