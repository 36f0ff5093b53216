//! Dumps of one watch: which may be taken now, who takes them, and what came of them.
//!
//! *What it is*: the watching thread's side of its talk with the caller's thread, which runs all callbacks.
//!
//! *Trap*: a dump that is under way counts as taken, or two triggers at once would get one more than was asked for.

use super::detector::Reading;
use super::trigger::signal_words;
use super::{FailureKind, Firing, TakeFailure, Trigger, Watch, WatchEvent};
use crate::output::{Settings, Unfinished};
use crate::run::{CaptureError, Ended};
use crate::tracer::Moment;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

/// So many failed dumps in a row end a watch.
const MAX_FAILURES: u32 = 3;
/// Work for the caller's thread.
pub(super) enum Job {
    /// Tell it.
    Event(WatchEvent),
    /// Take a dump, then answer.
    Take(Firing),
    /// Finish a dump that is written, then answer.
    Finish(Firing, Result<Unfinished, CaptureError>),
}

/// What is told to the caller, and what has come of it.
pub(super) struct Dumps<'a> {
    watch: &'a Watch,
    pub(super) pid: u32,
    jobs: Sender<Job>,
    replies: Receiver<Result<(), TakeFailure>>,
    pub(super) under_way: u32,
    pub(super) taken: u32,
    failures: u32,
    pub(super) failure: Option<TakeFailure>,
    last: Option<Instant>,
    /// Its death has been dumped, so that it will have ended in a moment.
    pub(super) death: bool,
}

impl<'a> Dumps<'a> {
    pub(super) fn new(
        watch: &'a Watch,
        pid: u32,
        jobs: Sender<Job>,
        replies: Receiver<Result<(), TakeFailure>>,
    ) -> Self {
        Self { watch, pid, jobs, replies, under_way: 0, taken: 0, failures: 0, failure: None, last: None, death: false }
    }

    /// Whether so many dumps in a row have failed that the next would, too.
    pub(super) fn failing(&self) -> bool {
        self.failures >= MAX_FAILURES
    }

    /// Takes one answer of the caller's thread, if there is one.
    pub(super) fn take_reply(&mut self) -> bool {
        let reply = self.replies.try_recv();
        reply.map(|reply| self.answered(reply)).is_ok()
    }

    pub(super) fn tell(&self, event: WatchEvent) {
        // The caller has gone only if it panicked.
        let _ = self.jobs.send(Job::Event(event));
    }

    pub(super) fn settings(&self) -> Settings {
        Settings { dir: self.watch.output_dir.clone(), dump_type: self.watch.dump_type }
    }

    /// Dumps that may still be begun.
    pub(super) fn remaining(&self) -> u32 {
        self.watch.count.saturating_sub(self.taken + self.under_way)
    }

    /// The end of the cooldown, if it lasts.
    pub(super) fn cooling(&self, now: Instant) -> Option<Instant> {
        self.last?.checked_add(self.watch.cooldown).filter(|until| *until > now)
    }

    pub(super) fn firing(&self, trigger: &'static str, reading: Reading) -> Firing {
        let Reading { value, threshold, words } = reading;
        Firing { pid: self.pid, trigger, value, threshold, words }
    }

    /// The firing for a last moment, if a trigger asks for it.
    pub(super) fn death(&self, moment: Moment) -> Option<Firing> {
        let triggers = &self.watch.triggers;
        let reading = |value: String, words: String, trigger: &Trigger| {
            let reading = Reading { value, threshold: trigger.to_string(), words };
            self.firing(trigger.name(), reading)
        };
        match moment {
            Moment::Signal { signal } => {
                let wants = |trigger: &&Trigger| matches!(trigger, Trigger::Signal(set) if set.contains(signal));
                let trigger = triggers.iter().find(wants)?;
                let name = signal_words(signal);
                Some(reading(name.clone(), format!("{name} is about to kill it"), trigger))
            }
            Moment::Exit(ended) => {
                let trigger = triggers.iter().find(|trigger| **trigger == Trigger::Exit)?;
                let (value, words) = match ended {
                    Ended::Exited(status) => {
                        (format!("exit status {status}"), format!("it is about to end with status {status}"))
                    }
                    Ended::Signaled(signal) => {
                        let name = signal_words(signal);
                        (name.clone(), format!("it is about to end by {name}"))
                    }
                };
                Some(reading(value, words, trigger))
            }
        }
    }

    pub(super) fn begin(&mut self, job: Job) {
        self.under_way += 1;
        self.last = Some(Instant::now());
        let _ = self.jobs.send(job);
    }

    fn answered(&mut self, reply: Result<(), TakeFailure>) {
        self.under_way = self.under_way.saturating_sub(1);
        match reply {
            Ok(()) => {
                self.taken += 1;
                self.failures = 0;
            }
            Err(failure) => {
                // A process that went away is no reason to give up: that it has ended will be seen.
                self.failures += u32::from(failure.kind != FailureKind::Vanished);
                self.failure = Some(failure);
            }
        }
    }
}
