//! A shell command as a probe: it has failed when it ends with anything but 0, or not in time.
//!
//! *Trap*: `sh` starts processes of its own, so the command gets a process group, and the whole group is killed at the
//! end, however it ends. That happens before the shell is reaped: afterwards its id could be another's.

use super::super::stop::Wake;
use super::super::{WatchError, time_words};
use crate::sys::Tid;
use crate::tracer::open_pidfd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsStr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs it; `Err` says in words why it counts as a failure.
pub(super) fn run(command: &OsStr, pid: Tid, timeout: Duration, stop: &Wake) -> Result<(), String> {
    let spawned = Command::new("sh")
        .arg("-c")
        .arg(command)
        .env("AFTERIMAGE_PID", pid.to_string())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = spawned.map_err(|source| WatchError::System { what: "start `sh`", source }.to_string())?;
    let id = child.id() as Tid;
    let deadline = Instant::now() + timeout;
    let ended = open_pidfd(id).map(|pidfd| {
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) | Err(_) => return false,
                Ok(_) => return fds.first().is_some_and(|pidfd| !pidfd.revents().is_empty()),
            }
        }
    });
    if let Some(group) = rustix::process::Pid::from_raw(id) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let status = child.wait().map_err(|error| format!("its end cannot be waited for: {error}"))?;
    match ended {
        Ok(true) if status.success() => Ok(()),
        Ok(true) => Err(status.code().map_or_else(
            || format!("it died of signal {}", status.signal().unwrap_or(0)),
            |code| format!("exit status {code}"),
        )),
        Ok(false) => Err(format!("no end within {}", time_words(timeout))),
        Err(error) => Err(format!("it cannot be waited for: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn exit_status_counts() {
        let stop = Wake::new().unwrap();
        let run = |text: &str| run(OsStr::new(text), 7, LONG, &stop);
        assert_eq!(run("test $AFTERIMAGE_PID = 7"), Ok(()));
        assert_eq!(run("exit 3"), Err("exit status 3".into()));
        assert_eq!(run("kill -9 $$"), Err("it died of signal 9".into()));
    }

    #[test]
    fn a_command_that_hangs_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let text = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let error = run(OsStr::new(&text), 7, Duration::from_millis(1500), &Wake::new().unwrap()).unwrap_err();
        assert_eq!(error, "no end within 1.5 s");
        let sleeper = std::fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", sleeper.trim());
        let start = Instant::now();
        while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z")) {
            assert!(start.elapsed() < LONG, "the child of the shell lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn it_ends_with_the_watch() {
        let stop = Wake::new().unwrap();
        let other = stop.clone();
        let start = Instant::now();
        let thread = std::thread::spawn(move || run(OsStr::new("sleep 1000"), 7, Duration::from_secs(500), &other));
        std::thread::sleep(Duration::from_millis(50));
        stop.wake();
        assert!(thread.join().unwrap().is_err());
        assert!(start.elapsed() < LONG);
    }
}
