//! The threads of a process: by the ring that hangs on its `signal_struct`, and where that breaks, by their numbers.
//!
//! *Trap*: a filtered dump may lack the signals, and any task in the ring. Then the ring is followed from its other end,
//! and the tree of numbers has the rest.

use super::process::Process;
use crate::linux::Linux;
use std::collections::{HashMap, HashSet};

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Address of its `task_struct`.
    pub task: u64,
    /// Its number.
    pub tid: u32,
    /// Short name; `None` where the page with it is not in the dump.
    pub comm: Option<String>,
    /// State letter, as ps(1) shows it.
    pub state: Option<char>,
}

impl Linux {
    /// The threads of a process, its leader first; and what was wrong on the way.
    #[must_use]
    pub fn threads(&self, process: &Process) -> (Vec<Thread>, Option<String>) {
        let (tasks, remark) = match self.thread_ring(process.task) {
            Ok(found) => found,
            Err(why) => (Vec::new(), Some(why)),
        };
        let remark = remark.map(|why| format!("the threads of process {} may not be all: {why}", process.pid));
        let mut tasks = tasks;
        if remark.is_some() {
            let known: HashSet<u64> = tasks.iter().copied().collect();
            let more = self.groups().get(&process.pid).into_iter().flatten().filter(|task| !known.contains(task));
            let more: Vec<u64> = more.copied().collect();
            tasks.extend(more);
        }
        let mut threads: Vec<Thread> = tasks.into_iter().filter_map(|task| self.thread(task)).collect();
        if !threads.iter().any(|thread| thread.task == process.task) {
            let (task, tid) = (process.task, process.pid);
            threads.insert(0, Thread { task, tid, comm: process.comm.clone(), state: process.state });
        }
        (threads, remark)
    }

    /// The process id of a task, and the task as a thread; `None` if its `task_struct` is not in the dump.
    #[must_use]
    pub fn thread_of(&self, task: u64) -> Option<(u32, Thread)> {
        Some((self.int(task, "task_struct", "tgid")? as u32, self.thread(task)?))
    }

    pub(in crate::linux) fn thread(&self, task: u64) -> Option<Thread> {
        let tid = self.int(task, "task_struct", "pid")? as u32;
        let comm = self.offset("task_struct", "comm").ok().and_then(|offset| self.text(task.wrapping_add(offset), 16));
        Some(Thread { task, tid, comm, state: self.state(task) })
    }

    /// The tasks in the ring, and where it breaks.
    fn thread_ring(&self, leader: u64) -> Result<(Vec<u64>, Option<String>), String> {
        let node = self.offset("task_struct", "thread_node")?;
        let signal = self.pointer(leader, "task_struct", "signal").ok_or("its task_struct is not in the dump")?;
        // Up to 6.6 the tasks themselves are a ring too, which leads on where the signals are not in the dump.
        let (head, node) = match (signal, self.offset("signal_struct", "thread_head")) {
            (1.., Ok(head)) if self.word(signal.wrapping_add(head)).is_some() => (signal.wrapping_add(head), node),
            _ => match self.offset("task_struct", "thread_group") {
                Ok(group) => (leader.wrapping_add(group), group),
                Err(_) if signal == 0 => return Ok((Vec::new(), None)),
                Err(_) => return Err("its signal_struct is not in the dump".into()),
            },
        };
        let most = self.room("task_struct");
        let mut tasks = Vec::new();
        let mut seen = HashSet::from([head]);
        let mut broken = None;
        for link in [0, 8] {
            let mut at = head;
            loop {
                let Some(next) = self.word(at.wrapping_add(link)) else {
                    broken.get_or_insert_with(|| format!("their ring breaks at {at:#x}, which is not in the dump"));
                    break;
                };
                if next == head {
                    return Ok((tasks, None));
                }
                if !seen.insert(next) || tasks.len() >= most {
                    broken.get_or_insert_with(|| format!("their ring does not close behind {at:#x}"));
                    break;
                }
                tasks.push(next.wrapping_sub(node));
                at = next;
            }
        }
        Ok((tasks, broken))
    }

    /// All threads by the number of their process.
    fn groups(&self) -> &HashMap<u32, Vec<u64>> {
        const PID: u64 = 0;
        self.groups.get_or_init(|| {
            let mut groups: HashMap<u32, Vec<u64>> = HashMap::new();
            for (_, task) in self.numbers(PID).unwrap_or_default() {
                if let Some(process) = self.int(task, "task_struct", "tgid") {
                    groups.entry(process as u32).or_default().push(task);
                }
            }
            groups
        })
    }
}
