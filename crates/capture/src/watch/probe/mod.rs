//! Probes: asking from outside whether a service still does its work, by HTTP or by a command.
//!
//! *What it is*: a thread for each probe, which sleeps most of the time, and the detector that counts its failures.
//!
//! *Trap*: while a dump holds the process it cannot answer. Failures are therefore forgotten after each dump
//! ([`Detector::disturbed`]), those of a probe that is under way included.

mod command;
mod http;

use super::detector::{Detector, Reading};
use super::stop::Wake;
use super::{HttpUrl, Pace, WatchError};
use crate::sys::Tid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The detector of a probe's failures.
pub(super) struct Prober {
    what: String,
    pace: Pace,
    state: Arc<Mutex<State>>,
    /// Readable, and never cleared, when the thread shall end.
    stop: Wake,
    thread: Option<JoinHandle<()>>,
    /// Whether the thread can be waited for: one that looks up a name may take long, and leaves nothing behind.
    prompt: bool,
}

#[derive(Default)]
struct State {
    failures: u32,
    last: String,
    /// Counts disturbances: a result of an earlier round is void.
    round: u64,
}

/// Asks with `GET`.
pub(super) fn http(url: HttpUrl, pace: Pace, wake: &Wake) -> Result<Prober, WatchError> {
    let what = url.to_string();
    Prober::start(what, pace, wake, false, move |_| http::get(&url, pace.timeout))
}

/// Runs a command.
pub(super) fn command(command: OsString, pid: Tid, pace: Pace, wake: &Wake) -> Result<Prober, WatchError> {
    let what = format!("`{}`", command.display());
    Prober::start(what, pace, wake, true, move |stop| command::run(&command, pid, pace.timeout, stop))
}

impl Prober {
    fn start(
        what: String,
        pace: Pace,
        wake: &Wake,
        prompt: bool,
        mut probe: impl FnMut(&Wake) -> Result<(), String> + Send + 'static,
    ) -> Result<Self, WatchError> {
        let system = |what| move |source| WatchError::System { what, source };
        let stop = Wake::new().map_err(system("make an event descriptor"))?;
        let state = Arc::new(Mutex::new(State::default()));
        let (stopped, shared, wake) = (stop.clone(), state.clone(), wake.clone());
        let body = move || {
            loop {
                let round = lock(&shared).round;
                let result = probe(&stopped);
                {
                    let mut state = lock(&shared);
                    if state.round == round {
                        match result {
                            Ok(()) => state.failures = 0,
                            Err(why) => {
                                state.failures += 1;
                                state.last = why;
                            }
                        }
                    }
                }
                wake.wake();
                if pause(&stopped, pace.every) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("probe".into()).spawn(body).map_err(system("start a thread"))?;
        Ok(Self { what, pace, state, stop, thread: Some(thread), prompt })
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps; gives whether it was to end instead.
fn pause(stop: &Wake, time: Duration) -> bool {
    let mut fds = [PollFd::new(stop, PollFlags::IN)];
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

impl Detector for Prober {
    fn check(&mut self, _now: Instant) -> Option<Reading> {
        let state = lock(&self.state);
        (state.failures >= self.pace.failures).then(|| Reading {
            value: format!("{} failures in a row; the last: {}", state.failures, state.last),
            threshold: format!("{} failures in a row", self.pace.failures),
            words: format!("probe {} failed {} times in a row; the last: {}", self.what, state.failures, state.last),
        })
    }

    fn fired(&mut self, _now: Instant) {
        self.disturbed();
    }

    fn disturbed(&mut self) {
        let mut state = lock(&self.state);
        state.failures = 0;
        state.round += 1;
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.wake();
        if let Some(thread) = self.thread.take().filter(|_| self.prompt) {
            let _ = thread.join();
        }
    }
}
