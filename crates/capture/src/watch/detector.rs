//! What all detectors have in common: each watches for one trigger and says whether it holds now.
//!
//! *What it is not*: a detector decides nothing about dumps. Whether one may be taken now (count, cooldown, another one
//! under way) is the session's affair; until then a detector goes on saying that its trigger holds, so nothing is lost.
//!
//! *Trap*: [`Detector::check`] must stay cheap; it is called at every turn of the loop.

use super::sample::Sample;
use super::stop::Wake;
use super::target::Opened;
use super::{Trigger, WatchError, cgroup, clock, hang, log, pressure, probe, usage};
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// A trigger that holds: measured, threshold, and both in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) value: String,
    pub(super) threshold: String,
    pub(super) words: String,
}

/// Watches for one trigger.
pub(super) trait Detector {
    /// The process has been looked at.
    fn sampled(&mut self, _sample: &Sample, _now: Instant) {}

    /// Whether the trigger holds.
    fn check(&mut self, now: Instant) -> Option<Reading>;

    /// A dump is being taken for it: once more only if it happens once more.
    fn fired(&mut self, now: Instant);

    /// When it wants to be asked again, besides after each sample.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// A descriptor that is polled for urgent data (POLLPRI) on its behalf.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Its descriptor has urgent data.
    fn ready(&mut self, _now: Instant) {}

    /// Its descriptor has failed and must not be polled any more.
    fn failed(&mut self) {}

    /// A dump has held the process: what was noticed meanwhile says nothing about it.
    fn disturbed(&mut self) {}

    /// Something for the user to know, once.
    fn remark(&mut self) -> Option<String> {
        None
    }
}

/// The detector for a trigger; `None` for those that the tracer sees.
pub(super) fn for_trigger(
    trigger: &Trigger,
    target: &Opened,
    wake: &Wake,
    now: Instant,
) -> Result<Option<Box<dyn Detector>>, WatchError> {
    Ok(Some(match trigger {
        Trigger::Signal(_) | Trigger::Exit => return Ok(None),
        Trigger::CpuAbove { percent, lasting } => Box::new(usage::Cpu::new(true, *percent, *lasting)),
        Trigger::CpuBelow { percent, lasting } => Box::new(usage::Cpu::new(false, *percent, *lasting)),
        Trigger::MemoryAbove(sizes) => Box::new(usage::MemoryAbove::new(sizes)),
        Trigger::MemoryBelow(size) => Box::new(usage::MemoryBelow::new(*size)),
        Trigger::MemoryStep(size) => Box::new(usage::MemoryStep::new(*size)),
        Trigger::ThreadsAbove(limit) => Box::new(usage::Number::threads(*limit)),
        Trigger::FdsAbove(limit) => {
            if std::fs::read_dir(format!("/proc/{}/fd", target.pid)).is_err() {
                let what = "its file descriptors may not be counted; be its user, or root".to_owned();
                return Err(WatchError::NotPermitted { pid: target.pid as u32, what });
            }
            Box::new(usage::Number::fds(*limit))
        }
        Trigger::Hang(time) => Box::new(hang::Hang::new(*time)),
        Trigger::ProbeHttp { url, pace } => Box::new(probe::http(url.clone(), *pace, wake)?),
        Trigger::ProbeCommand { command, pace } => Box::new(probe::command(command.clone(), target.pid, *pace, wake)?),
        Trigger::Pressure { resource, stall, percent, window } => {
            Box::new(pressure::Pressure::new(target.pid, *resource, *stall, *percent, *window)?)
        }
        Trigger::CgroupMemory { percent } => Box::new(cgroup::Memory::new(target.pid, *percent)?),
        Trigger::Log { file, pattern } => Box::new(log::Log::new(file, pattern)?),
        Trigger::At { hour, minute, second } => Box::new(clock::At::new((*hour, *minute, *second))?),
        Trigger::Every(time) => Box::new(clock::Every::new(*time, now)),
    }))
}
