//! Changes of tracees: taken from the kernel in the order in which they happened, and kept until they are looked at.
//!
//! *What it is not*: it lets no tracee go on; whoever takes a change out of the queue does.
//!
//! *Example*: `changes.stop_threads(pid, Some(crashed))` makes a whole process stand; the stops that this brought are in
//! the queue afterwards, and signals among them are still to be delivered.
//!
//! *Trap*: a stop that is taken from the queue and not continued leaves its thread standing for ever.

use crate::procfs::{self, Status};
use crate::snapshot::ThreadRef;
use crate::sys::{self, Event, Tid};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

/// How long the threads of a dying process may take to stop. One that waits for a vfork child cannot.
const STOP_PATIENCE: Duration = Duration::from_millis(300);

/// What can be seen of a killed process only until it is reaped.
pub(crate) struct Killed {
    pub(crate) leader: bool,
    pub(crate) comm: String,
}

/// Changes that have been taken but not looked at.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) queue: VecDeque<(Tid, Event, Option<Killed>)>,
    /// A child of the host program, whose end is only looked at: the host wants to wait for it, too.
    ///
    /// Folklore: the kernel keeps a tracee's end for its parent, unless parent and tracer are threads of one process;
    /// then whoever waits first takes it (`wait_task_zombie`).
    pub(crate) left_to_host: Option<Tid>,
}

impl Changes {
    /// Takes all changes there are; waits for the first unless `now`. Taking many before letting any tracee go on
    /// keeps a busy one from starving the others.
    pub(crate) fn collect(&mut self, now: bool) -> io::Result<()> {
        let mut now = now || !self.queue.is_empty();
        loop {
            let peeked = match sys::peek_event(now) {
                Ok(Some(peeked)) => peeked,
                Ok(None) => return Ok(()),
                // No children: cannot be before the main program's end has been handled.
                Err(_) if now => return Ok(()),
                Err(source) => return Err(source),
            };
            if Some(peeked.tid) == self.left_to_host && !peeked.stopped {
                // A leader's end comes last, so nothing is behind it.
                let end = if peeked.killed { Event::Killed(peeked.status) } else { Event::Exited(peeked.status) };
                self.queue.push_back((peeked.tid, end, None));
                return Ok(());
            }
            let killed = peeked.killed.then(|| {
                let status = Status::read(peeked.tid).unwrap_or_default();
                Killed { leader: status.tgid == peeked.tid, comm: status.name }
            });
            let taken = if peeked.stopped { sys::take_stop(peeked.tid) } else { sys::take_event(peeked.tid) };
            // Nothing to take: it was killed since, and that is what comes next.
            if let Ok(Some(event)) = taken {
                self.queue.push_back((peeked.tid, event, killed));
            }
            now = true;
        }
    }

    /// Whether the others live on: a seccomp filter can end a single thread. Otherwise each has been sent SIGKILL, and
    /// is at its own exit event or on the way there.
    pub(crate) fn ends_alone(&self, others: &[ThreadRef]) -> bool {
        let kill = 1 << (libc::SIGKILL - 1);
        others.iter().any(|other| {
            let exits = |(tid, event, _): &(Tid, Event, Option<Killed>)| {
                *tid == other.tid && !matches!(event, Event::Stopped(_, event) if *event != libc::PTRACE_EVENT_EXIT)
            };
            let lives = |status: Status| status.pending & kill == 0 && !matches!(status.state, b'Z' | b'X');
            !self.queue.iter().any(exits) && Status::read(other.tid).is_ok_and(lives)
        })
    }

    /// Stops all threads of a process; tells of all but the one that stands already, if there is one.
    pub(crate) fn stop_threads(&mut self, pid: Tid, standing: Option<Tid>) -> Vec<ThreadRef> {
        let first = standing;
        let mut standing: HashSet<Tid> = self
            .queue
            .iter()
            .filter(|(_, event, _)| matches!(event, Event::Stopped(..)))
            .map(|(tid, ..)| *tid)
            .collect();
        standing.extend(first);
        let mut asked: HashSet<Tid> = HashSet::new();
        let mut ended: HashSet<Tid> = HashSet::new();
        let deadline = Instant::now() + STOP_PATIENCE;
        let mut pause = Duration::from_micros(20);
        loop {
            // A thread may have been born meanwhile; it stops by itself, but its event may not have come yet.
            let tids = procfs::threads(pid).unwrap_or_default();
            let mut waiting = false;
            for &tid in &tids {
                if standing.contains(&tid) || ended.contains(&tid) {
                    continue;
                }
                if asked.insert(tid) {
                    let _ = sys::interrupt(tid);
                }
                let taken = if Some(tid) == self.left_to_host { sys::take_stop(tid) } else { sys::take_event(tid) };
                match taken {
                    Ok(Some(event)) => {
                        if matches!(event, Event::Stopped(..)) {
                            standing.insert(tid);
                        }
                        let killed = Killed { leader: tid == pid, comm: String::new() };
                        let killed = matches!(event, Event::Killed(_)).then_some(killed);
                        self.queue.push_back((tid, event, killed));
                    }
                    // A leader that has ended before its threads stays as a zombie and cannot stop any more.
                    Ok(None) if Status::read(tid).is_ok_and(|status| matches!(status.state, b'Z' | b'X')) => {
                        ended.insert(tid);
                    }
                    Ok(None) => waiting = true,
                    // Not ours: cloned with CLONE_UNTRACED.
                    Err(_) => {}
                }
            }
            if !waiting || Instant::now() > deadline {
                let others = tids.into_iter().filter(|&tid| Some(tid) != first && !ended.contains(&tid));
                return others.map(|tid| ThreadRef { tid, stopped: standing.contains(&tid) }).collect();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
    }
}
