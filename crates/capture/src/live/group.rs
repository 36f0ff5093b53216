//! Several processes at one instant: all are held, then each is copied, then all go on, then the copies are written.
//!
//! *What it is*: members that fork or are born meanwhile are held too, until a look finds none that is not.
//!
//! *What it is not*: it does not use the freezer of control groups. A frozen group stays frozen for ever if we are
//! killed before we thaw it; a process that is held by ptrace goes on by itself.
//!
//! *Trap*: a member that cannot be copied by clone is read while it stands. It is of the same instant, but for it the
//! instant is longer.

use super::before::Before;
use super::hold::Held;
use super::modes::{Failed, Snapshot, Taken};
use super::who::{self, Subject};
use super::{CaptureOptions, Destination, How, Job, LiveDump, LiveError, Progress};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Which processes.
#[derive(Clone, Debug)]
pub enum Group {
    /// A process and all that descend from it.
    Tree(i32),
    /// All processes of a control group and of those below it: a full path, or one below the mounted hierarchies.
    Cgroup(PathBuf),
}

impl Group {
    /// The members as they are now.
    fn members(&self) -> Result<Vec<i32>, LiveError> {
        match self {
            Self::Tree(root) => {
                Subject::find(*root)?;
                Ok(who::tree(*root))
            }
            Self::Cgroup(path) => {
                let folder = cgroup_folder(path).ok_or_else(|| LiveError::NoGroup {
                    path: path.clone(),
                    why: "there is no such control group".into(),
                })?;
                let mut pids = Vec::new();
                cgroup_members(&folder, 0, &mut pids)
                    .map_err(|error| LiveError::NoGroup { path: path.clone(), why: error.to_string() })?;
                let own = crate::sys::own_pid();
                pids.retain(|pid| *pid != own);
                pids.sort_unstable();
                pids.dedup();
                Ok(pids)
            }
        }
    }
}

fn cgroup_folder(path: &Path) -> Option<PathBuf> {
    let is_group = |folder: &PathBuf| folder.join("cgroup.procs").exists();
    if is_group(&path.to_owned()) {
        return Some(path.to_owned());
    }
    let below = path.strip_prefix("/").unwrap_or(path);
    let roots = ["", "unified", "memory", "pids", "systemd"];
    roots.iter().map(|root| Path::new("/sys/fs/cgroup").join(root).join(below)).find(is_group)
}

fn cgroup_members(folder: &Path, depth: u32, pids: &mut Vec<i32>) -> io::Result<()> {
    const DEEPEST: u32 = 64;
    let text = std::fs::read_to_string(folder.join("cgroup.procs"))?;
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    if depth < DEEPEST {
        for entry in
            std::fs::read_dir(folder)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        {
            // A group below may go away while we look.
            let _ = cgroup_members(&entry.path(), depth + 1, pids);
        }
    }
    Ok(())
}

/// What a member has come to.
enum State {
    Copied(Box<Snapshot>),
    Taken(How, Taken, Vec<String>),
    Failed(LiveError),
}

/// Takes dumps of several processes at one instant, into a folder. One result for each process.
///
/// # Errors
/// When there is no such group, or no member, or the output is no folder. What befalls one member is in its result.
pub fn capture_group(
    group: &Group,
    options: &CaptureOptions,
    progress: &dyn Progress,
) -> Result<Vec<Result<LiveDump, LiveError>>, LiveError> {
    let start = Instant::now();
    if !matches!(options.destination, Destination::Folder(_)) {
        return Err(LiveError::NeedsFolder);
    }
    // Everything that need not be of the instant is read first, as far as the members are known.
    let mut subjects = Vec::new();
    let mut results = Vec::new();
    for pid in group.members()? {
        match Subject::find(pid) {
            Ok(subject) => subjects.push(subject),
            Err(LiveError::NoProcess { .. } | LiveError::Zombie { .. }) => {}
            Err(error) => results.push(Err(error)),
        }
    }
    let mut ready = Vec::new();
    for subject in &subjects {
        let mut job = Job::new(subject, options, progress)?;
        match Before::read(subject, &job.reader) {
            Ok(before) => {
                job.choose_reader(&before);
                ready.push((job, before));
            }
            Err(error) => results.push(Err(error)),
        }
    }
    let mut held: Vec<(usize, Held)> = Vec::new();
    for (index, (job, _)) in ready.iter().enumerate() {
        match job.hold() {
            Ok(one) => held.push((index, one)),
            Err(error) => results.push(Err(error)),
        }
    }
    // Members that are new since: what they need is read while all stand.
    let late = late_members(group, &subjects);
    for subject in &late {
        let mut job = Job::new(subject, options, progress)?;
        if let Ok(one) = job.hold()
            && let Ok(before) = Before::read(subject, &job.reader)
        {
            job.choose_reader(&before);
            held.push((ready.len(), one));
            ready.push((job, before));
        }
    }
    let states = take_all(ready, held);
    for (job, state, pause) in states {
        results.push(match state {
            State::Failed(error) => Err(job.subject.at_its_end(error)),
            State::Taken(how, mut taken, fallback) => {
                taken.pauses.push(pause);
                job.finish(how, taken, fallback, start)
            }
            State::Copied(snapshot) => job
                .write_snapshot(*snapshot, pause)
                .and_then(|taken| job.finish(How::Snapshot, taken, Vec::new(), start)),
        });
    }
    if results.is_empty() {
        return Err(LiveError::NoGroup { path: group.path(), why: "it has no process".into() });
    }
    Ok(results)
}

impl Group {
    fn path(&self) -> PathBuf {
        match self {
            Self::Tree(pid) => pid.to_string().into(),
            Self::Cgroup(path) => path.clone(),
        }
    }
}

/// Members that no subject is, found by looking again.
fn late_members(group: &Group, subjects: &[Subject]) -> Vec<Subject> {
    let members = group.members().unwrap_or_default();
    let new = members.into_iter().filter(|pid| subjects.iter().all(|subject| subject.pid != *pid));
    new.filter_map(|pid| Subject::find(pid).ok()).collect()
}

/// Copies all that can be copied, reads the others while they stand, and lets all go.
fn take_all<'a>(ready: Vec<(Job<'a>, Before)>, held: Vec<(usize, Held)>) -> Vec<(Job<'a>, State, Duration)> {
    let held: Vec<Option<Held>> = {
        let mut by_index: Vec<Option<Held>> = ready.iter().map(|_| None).collect();
        for (index, one) in held {
            if let Some(place) = by_index.get_mut(index) {
                *place = Some(one);
            }
        }
        by_index
    };
    let mut copied = Vec::new();
    for ((job, before), held) in ready.into_iter().zip(&held) {
        let Some(held) = held else { continue };
        // Small dumps are read at once.
        let state = if job.small() || held.was_stopped() || job.options.how == Some(How::Stop) {
            Err((None, before))
        } else {
            let again = before.clone();
            job.snap(before, held).map_err(|failed| (Some(failed), again))
        };
        copied.push((job, state));
    }
    // What cannot be copied is read now. All go on only after that: they may share memory.
    let mut out = Vec::new();
    for ((job, state), held) in copied.into_iter().zip(held.iter().flatten()) {
        let state = match state {
            Ok(snapshot) => State::Copied(Box::new(snapshot)),
            Err((Some(Failed::Other(error)), _)) => State::Failed(error),
            Err((refused, before)) => {
                let fallback = match refused {
                    Some(Failed::Refused(refusal)) => vec![format!("no snapshot: {refusal}")],
                    _ => Vec::new(),
                };
                match job.by_stop(before, held) {
                    Ok(taken) => State::Taken(How::Stop, taken, fallback),
                    Err(error) => State::Failed(error),
                }
            }
        };
        out.push((job, state));
    }
    let pauses: Vec<Duration> = held.into_iter().flatten().map(Held::release).collect();
    out.into_iter().zip(pauses).map(|((job, state), pause)| (job, state, pause)).collect()
}
