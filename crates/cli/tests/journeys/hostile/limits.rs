//! Running the program and knowing what it cost: the processor's time, and the most memory that was resident.
//!
//! What it is not: a limit that the program feels. It is judged afterwards, so that a number stands in the message.
//!
//! For example `measured(afterimage().args(["info", "core"]), Duration::from_secs(10)).peak` is in bytes.
//!
//! *Trap*: Linux counts the memory of the process that called `exec` into the child's peak. So this process must stay
//! small itself: it has large files written by another one ([`super::make`]).

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// What a run gave and cost.
#[derive(Debug)]
pub struct Measured {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
    /// Time of the processor, on all its cores.
    pub work: Duration,
    /// Bytes.
    pub peak: u64,
    /// It was killed because it did not end in time.
    pub hung: bool,
}

/// Runs to the end, or until it has taken this long.
pub fn measured(command: &mut Command, limit: Duration) -> Measured {
    // Files and not pipes: nobody has to read while it runs.
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let start = Instant::now();
    let pid = libc::pid_t::try_from(command.spawn().unwrap().id()).unwrap();
    let mut hung = false;
    let (status, usage) = loop {
        let mut status = 0;
        // SAFETY: rusage is plain numbers, for which zeros are a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to locals of the types that wait4 writes; the process is our child, and nobody else
        // waits for it.
        let got = unsafe { libc::wait4(pid, &mut status, libc::WNOHANG, &mut usage) };
        assert!(got >= 0, "wait4: {}", std::io::Error::last_os_error());
        if got == pid {
            break (ExitStatus::from_raw(status), usage);
        }
        if !hung && start.elapsed() > limit {
            hung = true;
            // SAFETY: a system call on a child that was not waited for, so the number is still its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let stderr = String::from_utf8_lossy(&content(&mut err)).into_owned();
    let work = duration(usage.ru_utime) + duration(usage.ru_stime);
    let peak = u64::try_from(usage.ru_maxrss).unwrap() << 10;
    Measured { status, stdout: content(&mut out), stderr, work, peak, hung }
}

fn duration(time: libc::timeval) -> Duration {
    let (seconds, micros) = (u64::try_from(time.tv_sec).unwrap(), u64::try_from(time.tv_usec).unwrap());
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}
