//! The loop: one wait point for the process, its tracer, the detectors, the clock, and those who want it to end.
//!
//! *What it is*: it decides which trigger gets a dump now. Dumps of a process that merely runs are taken by the caller's
//! thread meanwhile; a traced process is dumped here, since only the tracer's thread may.
//!
//! *Example*: a memory limit is passed during the cooldown: its detector goes on saying so, and the dump is taken when
//! the cooldown is over, if it still holds.
//!
//! *Trap*: whatever blocks in this thread holds up a traced process. Only the writing of its own dump may.

use super::detector::{self, Detector};
use super::dumps::{Dumps, Job};
use super::sample::Sampler;
use super::signals::Signals;
use super::stop::Wake;
use super::target::{self, Opened};
use super::{Outcome, TakeFailure, Target, Trigger, Watch, WatchEnd, WatchError, WatchEvent};
use crate::run::Ended;
use crate::sys::ChildSignal;
use crate::tracer::{Attached, Command, reap};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// Without news of a child of ours (SIGCHLD is ignored, say) it is looked at so often.
const CHILD_PATIENCE: Duration = Duration::from_millis(100);

/// The trigger's name, the detector.
type Detectors = Vec<(&'static str, Box<dyn Detector>)>;

/// Traced, and how news of it comes.
struct Trace {
    attached: Attached,
    news: ChildSignal,
}

/// A process under watch.
struct Started {
    target: Opened,
    trace: Option<Trace>,
    detectors: Detectors,
}

/// Watches; runs in a thread of its own, whose end lets a traced process go.
pub(super) fn watch(
    watch: &Watch,
    jobs: Sender<Job>,
    replies: Receiver<Result<(), TakeFailure>>,
) -> Result<Outcome, WatchError> {
    let deadline = watch.timeout.and_then(|time| Instant::now().checked_add(time));
    let wake = Wake::new().map_err(|source| WatchError::System { what: "make an event descriptor", source })?;
    watch.stop.connect(&wake);
    let launched = matches!(watch.target, Target::Launch(_));
    let signals = if watch.handle_signals { Some(Signals::install(launched, watch.traces())?) } else { None };
    let started = match &watch.target {
        Target::Pid(pid) => Some(found(watch, target::open(*pid)?, &wake)?),
        Target::Name { name, wait } => {
            if *wait {
                let _ = jobs.send(Job::Event(WatchEvent::Waiting { name: name.clone() }));
            }
            let pause = |time: Duration| {
                let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(&wake, PollFlags::IN)];
                fds.extend(signals.as_ref().map(|signals| PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN)));
                let _ = poll(&mut fds, Timespec::try_from(time).ok().as_ref());
                if let Some(signal) = signals.as_ref().and_then(|signals| signals.take(None)) {
                    watch.stop.set(signal);
                }
            };
            match target::find(name, *wait, watch.interval, deadline, &watch.stop, pause)? {
                Some(opened) => Some(found(watch, opened, &wake)?),
                None => None,
            }
        }
        Target::Launch(command) => Some(launch(watch, command, signals.as_ref(), &wake)?),
    };
    let Some(Started { target, trace, detectors }) = started else {
        let end = watch.stop.requested().map_or(WatchEnd::Timeout, WatchEnd::Stopped);
        return Ok(Outcome { end, dumps: 0, failure: None });
    };
    let dumps = Dumps::new(watch, target.pid as u32, jobs, replies);
    Session { watch, target, trace, signals, wake, dumps, deadline, ended: None, gone: false }.run(detectors)
}

/// Takes a running process under watch.
fn found(watch: &Watch, target: Opened, wake: &Wake) -> Result<Started, WatchError> {
    let detectors = detectors(watch, &target, wake)?;
    if !watch.traces() {
        target::may_be_read(&target)?;
        return Ok(Started { target, trace: None, detectors });
    }
    let news = child_news()?;
    let exits = watch.triggers.contains(&Trigger::Exit);
    let attached = Attached::running(target.pid, exits).map_err(|error| target::not_traced(target.pid, &error))?;
    Ok(Started { target, trace: Some(Trace { attached, news }), detectors })
}

fn detectors(watch: &Watch, target: &Opened, wake: &Wake) -> Result<Detectors, WatchError> {
    let mut detectors: Detectors = Vec::new();
    for trigger in &watch.triggers {
        if let Some(detector) = detector::for_trigger(trigger, target, wake, Instant::now())? {
            detectors.push((trigger.name(), detector));
        }
    }
    Ok(detectors)
}

fn child_news() -> Result<ChildSignal, WatchError> {
    ChildSignal::new().map_err(|source| WatchError::System { what: "wait for tracees", source })
}

/// Starts a program, and waits until it is the program.
fn launch(
    watch: &Watch,
    command: &[std::ffi::OsString],
    signals: Option<&Signals>,
    wake: &Wake,
) -> Result<Started, WatchError> {
    let command = Command::new(command)?;
    let handled = signals.map(Signals::handled).unwrap_or_default();
    let trace = if watch.traces() { Some(child_news()?) } else { None };
    let (mut target, mut held) = target::hold_program(&command, &handled)?;
    let exits = watch.triggers.contains(&Trigger::Exit);
    // Whatever cannot work is found out before the program does anything.
    let prepared = detectors(watch, &target, wake).and_then(|detectors| {
        let Some(news) = trace else { return Ok((detectors, None)) };
        let attached = Attached::held(target.pid, exits).map_err(|error| target::not_traced(target.pid, &error))?;
        Ok((detectors, Some(Trace { attached, news })))
    });
    let (detectors, trace) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            // Without its pipe it gives up by itself.
            drop(held);
            reap(target.pid);
            return Err(error);
        }
    };
    let system = |what| move |source| WatchError::System { what, source };
    held.release().map_err(system("start the program"))?;
    let trace = match trace {
        None => {
            // Closed by the exec.
            if let Some(error) = held.exec_error() {
                reap(target.pid);
                return Err(command.exec_error(error).into());
            }
            None
        }
        Some(mut trace) => {
            while !trace.attached.executed() {
                let mut fds = [PollFd::new(&trace.news, PollFlags::IN)];
                let _ = poll(&mut fds, Timespec::try_from(CHILD_PATIENCE).ok().as_ref());
                trace.news.clear();
                let ended = trace.attached.drain(&mut |_, _| false).map_err(system("wait for the program"))?;
                if ended.is_some()
                    && let Some(error) = held.exec_error()
                {
                    return Err(command.exec_error(error).into());
                }
                if ended.is_some() {
                    break;
                }
            }
            Some(trace)
        }
    };
    target.refresh();
    Ok(Started { target, trace, detectors })
}

struct Session<'a> {
    watch: &'a Watch,
    target: Opened,
    trace: Option<Trace>,
    signals: Option<Signals>,
    wake: Wake,
    dumps: Dumps<'a>,
    deadline: Option<Instant>,
    /// How the process ended, where the tracer saw it.
    ended: Option<Ended>,
    gone: bool,
}

impl Session<'_> {
    fn run(mut self, mut detectors: Detectors) -> Result<Outcome, WatchError> {
        let start = Instant::now();
        for remark in detectors.iter_mut().filter_map(|(_, detector)| detector.remark()) {
            self.dumps.tell(WatchEvent::Remark(remark));
        }
        self.dumps.tell(WatchEvent::Started {
            pid: self.dumps.pid,
            comm: self.target.comm.clone(),
            triggers: self.watch.triggers.iter().map(Trigger::to_string).collect(),
            traced: self.trace.is_some(),
        });
        let hang = self.watch.triggers.iter().any(|trigger| matches!(trigger, Trigger::Hang(_)));
        let mut sampler = Sampler::new(self.target.pid, self.target.start, hang);
        let mut next_sample = start;
        // Once set, no trigger counts any more.
        let mut end: Option<WatchEnd> = None;
        loop {
            let now = Instant::now();
            self.trace(end.is_none())?;
            self.replies(&mut detectors);
            if end.is_none() {
                end = self.ending(now);
                if matches!(end, Some(WatchEnd::Count | WatchEnd::Timeout))
                    && self.stays(end.as_ref())
                    && !self.gone
                    && !self.dumps.death
                {
                    let text = "watching is over; waiting for the program to end";
                    self.dumps.tell(WatchEvent::Remark(text.to_owned()));
                }
            }
            if end.is_some() && self.dumps.under_way == 0 && (self.gone || !self.stays(end.as_ref())) {
                break;
            }
            if end.is_none() && now >= next_sample {
                next_sample = (next_sample + self.watch.interval).max(now);
                self.sample(&mut sampler, &mut detectors, now);
            }
            if end.is_none() && !self.gone {
                self.fire(&mut detectors, now);
            }
            self.wait(&mut detectors, end.is_none().then_some(next_sample))?;
        }
        if self.gone {
            if self.target.launched && self.trace.is_none() {
                self.ended = reap(self.target.pid);
            }
            self.dumps.tell(WatchEvent::TargetEnded { pid: self.dumps.pid, how: self.ended });
        }
        let end = end.unwrap_or(WatchEnd::TargetEnded);
        Ok(Outcome { end, dumps: self.dumps.taken, failure: self.dumps.failure })
    }

    /// Why the watch should end now.
    fn ending(&self, now: Instant) -> Option<WatchEnd> {
        if let Some(signal) = self.watch.stop.requested() {
            Some(WatchEnd::Stopped(signal))
        } else if self.dumps.taken >= self.watch.count {
            Some(WatchEnd::Count)
        } else if self.gone && self.dumps.under_way == 0 {
            Some(WatchEnd::TargetEnded)
        } else if self.dumps.failing() {
            Some(WatchEnd::GaveUp)
        } else {
            self.deadline.filter(|deadline| now >= *deadline).map(|_| WatchEnd::Timeout)
        }
    }

    /// Whether to wait for the program although the watch is over.
    fn stays(&self, end: Option<&WatchEnd>) -> bool {
        self.target.launched && !matches!(end, Some(WatchEnd::Stopped(_))) && self.watch.stop.requested().is_none()
    }

    /// Handles what the traced process has come to. `wanted` tells whether a death may still be dumped.
    fn trace(&mut self, wanted: bool) -> Result<(), WatchError> {
        if let Some(trace) = &mut self.trace {
            trace.news.clear();
            self.ended = drain(&mut trace.attached, &mut self.dumps, wanted)?;
            self.gone |= self.ended.is_some();
        }
        Ok(())
    }

    fn replies(&mut self, detectors: &mut Detectors) {
        while self.dumps.take_reply() {
            for (_, detector) in &mut *detectors {
                detector.disturbed();
            }
        }
    }

    fn sample(&mut self, sampler: &mut Sampler, detectors: &mut Detectors, now: Instant) {
        let sample = sampler.take(now);
        // What was read may be about another process with the same id, unless ours lives.
        let Some(sample) = sample.filter(|_| self.target.lives()) else { return };
        for (_, detector) in &mut *detectors {
            detector.sampled(&sample, now);
        }
        self.dumps.tell(WatchEvent::Sampled(sample));
    }

    /// Gives the first trigger that holds a dump, if one may be taken now.
    fn fire(&mut self, detectors: &mut Detectors, now: Instant) {
        if self.dumps.under_way > 0 || self.dumps.remaining() == 0 || self.dumps.cooling(now).is_some() {
            return;
        }
        for (name, detector) in detectors {
            let Some(reading) = detector.check(now) else { continue };
            if !self.target.lives() {
                return;
            }
            detector.fired(now);
            let firing = self.dumps.firing(name, reading);
            self.dumps.tell(WatchEvent::Fired(firing.clone()));
            let job = match &mut self.trace {
                Some(trace) => Job::Finish(firing, trace.attached.dump_now(&self.dumps.settings())),
                None => Job::Take(firing),
            };
            return self.dumps.begin(job);
        }
    }

    /// Waits for anything; the only place that does.
    fn wait(&mut self, detectors: &mut Detectors, next_sample: Option<Instant>) -> Result<(), WatchError> {
        let now = Instant::now();
        let mut wakes: Vec<Instant> = self.deadline.filter(|deadline| *deadline > now).into_iter().collect();
        if let Some(next_sample) = next_sample {
            wakes.push(next_sample);
            wakes.extend(self.dumps.cooling(now));
            // One that is due already waits for the cooldown or for a dump.
            wakes.extend(detectors.iter().filter_map(|(_, detector)| detector.wake_at()).filter(|at| *at > now));
        }
        let mut timeout = wakes.into_iter().min().map(|at| at.saturating_duration_since(now));
        if let Some(trace) = &self.trace {
            let patience = if trace.attached.more() { Duration::ZERO } else { CHILD_PATIENCE };
            timeout = Some(timeout.map_or(patience, |timeout| timeout.min(patience)));
        }
        let until = timeout.and_then(|timeout| now.checked_add(timeout));
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        fds.extend(self.signals.iter().map(|signals| PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN)));
        if !self.gone {
            fds.push(PollFd::from_borrowed_fd(self.target.pidfd.as_fd(), PollFlags::IN));
        }
        let fixed = fds.len();
        let polled: Vec<usize> = if next_sample.is_some() {
            let with_fd = detectors.iter().enumerate().filter(|(_, (_, detector))| detector.descriptor().is_some());
            with_fd.map(|(at, _)| at).collect()
        } else {
            Vec::new()
        };
        for (_, detector) in polled.iter().filter_map(|at| detectors.get(*at)) {
            fds.extend(detector.descriptor().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::PRI)));
        }
        let (mut attached, news) = match &mut self.trace {
            Some(trace) => (Some(&mut trace.attached), Some(&trace.news)),
            None => (None, None),
        };
        let others = fds.len();
        fds.extend(news.map(|news| PollFd::new(news, PollFlags::IN)));
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let ready = match poll(&mut fds, left.and_then(|left| Timespec::try_from(left).ok()).as_ref()) {
                Ok(ready) => ready,
                // A signal: its handler has written into a pipe, or made something readable.
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(WatchError::System { what: "wait", source: errno.into() }),
            };
            let only_news = ready == 1 && fds.get(others).is_some_and(|news| !news.revents().is_empty());
            let (true, Some(attached), Some(news)) = (only_news, &mut attached, news) else { break };
            // A short way for the thousands of signals that mean nothing to us: the process waits for each.
            news.clear();
            let under_way = self.dumps.under_way;
            self.ended = drain(attached, &mut self.dumps, next_sample.is_some())?;
            self.gone |= self.ended.is_some();
            let late = until.is_some_and(|until| Instant::now() >= until);
            if self.gone || late || attached.more() || self.dumps.under_way != under_way {
                return Ok(());
            }
        }
        let ready: Vec<PollFlags> = fds.iter().skip(fixed).take(polled.len()).map(PollFd::revents).collect();
        let ended = !self.gone && fds.get(fixed - 1).is_some_and(|pidfd| !pidfd.revents().is_empty());
        drop(fds);
        self.wake.clear();
        let now = Instant::now();
        for (at, flags) in polled.into_iter().zip(ready) {
            let Some((_, detector)) = detectors.get_mut(at) else { continue };
            if flags.contains(PollFlags::ERR) {
                detector.failed();
            } else if flags.contains(PollFlags::PRI) {
                detector.ready(now);
            }
        }
        if let Some(signal) = self.signals.as_ref().and_then(|signals| signals.take(Some(&self.target))) {
            self.watch.stop.set(signal);
        }
        if ended {
            // The tracer may have something to say about it first.
            self.trace(next_sample.is_some())?;
            self.gone = true;
        }
        Ok(())
    }
}

/// Handles what the traced process has come to, and has its death dumped if that is `wanted`.
fn drain(attached: &mut Attached, dumps: &mut Dumps<'_>, wanted: bool) -> Result<Option<Ended>, WatchError> {
    let ended = attached.drain(&mut |moment, take| {
        if !wanted || dumps.remaining() == 0 {
            return false;
        }
        let Some(firing) = dumps.death(moment) else { return false };
        dumps.tell(WatchEvent::Fired(firing.clone()));
        let written = take(&dumps.settings());
        dumps.begin(Job::Finish(firing, written));
        dumps.death = true;
        true
    });
    ended.map_err(|source| WatchError::System { what: "wait for the process", source })
}
