//! Processes: by the ring of tasks that begins with the kernel's first one, and by their numbers.
//!
//! *Trap*: a ring in a dump may lead anywhere. Each task is visited once, and where the ring breaks, the tree of process
//! numbers goes on.

use crate::linux::Linux;
use afterimage_dump::{MemoryExt, Virt};
use std::collections::{BTreeMap, HashSet};

/// Longest command line that is read.
const MAX_LINE: u64 = 128 << 10;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Address of its `task_struct`.
    pub task: u64,
    /// Process id.
    pub pid: u32,
    /// Parent's process id.
    pub ppid: Option<u32>,
    /// Effective user id.
    pub uid: Option<u32>,
    /// Short name; `None` where the page with it is not in the dump.
    pub comm: Option<String>,
    /// Command line, arguments separated by blanks; why it is missing otherwise.
    pub command_line: Result<String, &'static str>,
    /// Path of the program.
    pub exe: Result<String, &'static str>,
    /// Seconds since 1970.
    pub start_time: Option<i64>,
    /// State letter, as ps(1) shows it.
    pub state: Option<char>,
    /// Whether it is a thread of the kernel; `None` where its task is not in the dump.
    pub kernel_thread: Option<bool>,
}

impl Linux {
    /// All processes, the kernel's idle task (0) left out, by their numbers; and what was wrong on the way.
    ///
    /// Two ways lead to them: the ring of tasks, and the tree of numbers (`init_pid_ns.idr`). A filtered or damaged dump
    /// breaks the ring; a process that was taken out of it to hide is still in the tree.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn processes(&self) -> Result<(Vec<Process>, Vec<String>), String> {
        for member in ["pid", "comm", "real_parent", "mm", "cred"] {
            self.offset("task_struct", member)?;
        }
        let mut remarks = Vec::new();
        let mut tasks: BTreeMap<u32, u64> = BTreeMap::new();
        let mut seen = HashSet::new();
        let ring = self.ring(&mut remarks)?;
        for task in ring {
            if let Some(pid) = self.int(task, "task_struct", "pid").map(|pid| pid as u32)
                && seen.insert(task)
            {
                tasks.insert(pid, task);
            }
        }
        match self.numbered() {
            Ok(numbered) => {
                let all = !tasks.is_empty();
                for (pid, task) in numbered {
                    if let std::collections::btree_map::Entry::Vacant(place) = tasks.entry(pid) {
                        place.insert(task);
                        if all && remarks.is_empty() {
                            remarks.push(format!("process {pid} is not in the ring of tasks, but has its number"));
                        }
                    }
                }
            }
            Err(why) => remarks.push(format!("the tree of process numbers cannot be read: {why}")),
        }
        let boot = self.boot_time_ns();
        let processes = tasks.into_iter().map(|(pid, task)| self.process(pid, task, boot)).collect();
        Ok((processes, remarks))
    }

    /// Tasks by the ring, forwards and, where that breaks, backwards.
    pub(in crate::linux) fn ring(&self, remarks: &mut Vec<String>) -> Result<Vec<u64>, String> {
        let init = self.symbol("init_task")?;
        let ring = self.offset("task_struct", "tasks")?;
        let mut tasks = Vec::new();
        let most = self.room("task_struct");
        let mut seen = HashSet::from([init]);
        for link in [0, 8] {
            let mut found = 0;
            let mut at = init;
            loop {
                let next = self.word(at.wrapping_add(ring + link)).map(|next| next.wrapping_sub(ring));
                let Some(task) = next.filter(|task| self.int(*task, "task_struct", "pid").is_some()) else {
                    let remark = format!("the ring of tasks breaks behind {at:#x}: the next one is not in the dump");
                    if !remarks.contains(&remark) {
                        remarks.push(remark);
                    }
                    break;
                };
                if task == init {
                    return Ok(tasks);
                }
                if !seen.insert(task) || found >= most {
                    // Met from the other side, or a circle.
                    if link == 0 {
                        remarks.push(format!("the ring of tasks does not close behind {at:#x}"));
                    }
                    break;
                }
                found += 1;
                tasks.push(task);
                at = task;
            }
        }
        Ok(tasks)
    }

    /// Processes by the tree of numbers.
    fn numbered(&self) -> Result<Vec<(u32, u64)>, String> {
        const TGID: u64 = 1;
        self.numbers(TGID)
    }

    /// Numbers and tasks by the tree of numbers, an xarray of `struct pid`: what has it as its number of this kind
    /// (`enum pid_type`: 0 a thread's, 1 a process's).
    pub(in crate::linux) fn numbers(&self, kind: u64) -> Result<Vec<(u32, u64)>, String> {
        const LINK: u64 = 16;
        let tree = self.symbol("init_pid_ns")?.wrapping_add(self.offset("pid_namespace", "idr.idr_rt.xa_head")?);
        let numbers = self.offset("pid", "numbers")? + self.offset("upid", "nr")?;
        let first = self.offset("pid", "tasks")? + kind * 8;
        let links = self.offset("task_struct", "pid_links")? + kind * LINK;
        let mut processes = Vec::new();
        for (index, pid) in self.xarray(self.word(tree).ok_or("its root is not in the dump")?)? {
            // What stands at another place than its own number's is no process's.
            let number = self.number(pid.wrapping_add(numbers), 4).filter(|number| *number == index);
            let number = number.and_then(|number| u32::try_from(number).ok());
            let task =
                self.word(pid.wrapping_add(first)).filter(|first| *first != 0).map(|first| first.wrapping_sub(links));
            if let (Some(number), Some(task)) = (number.filter(|number| *number > 0), task) {
                processes.push((number, task));
            }
        }
        Ok(processes)
    }

    fn process(&self, pid: u32, task: u64, boot: Option<i64>) -> Process {
        const PF_KTHREAD: u64 = 0x0020_0000;
        const NOT_HERE: &str = "its task_struct is not in the dump";
        let comm = self.offset("task_struct", "comm").ok().and_then(|offset| self.text(task.wrapping_add(offset), 16));
        let flags = self.int(task, "task_struct", "flags");
        let parent = self.pointer(task, "task_struct", "real_parent");
        let cred = self.pointer(task, "task_struct", "cred");
        let mm = self.pointer(task, "task_struct", "mm");
        let start =
            self.offset("task_struct", "start_boottime").or_else(|_| self.offset("task_struct", "real_start_time"));
        let start = start.ok().and_then(|offset| self.word(task.wrapping_add(offset))).map(|ns| ns as i64);
        Process {
            task,
            pid,
            ppid: parent.and_then(|parent| self.int(parent, "task_struct", "tgid")).map(|pid| pid as u32),
            uid: cred.and_then(|cred| self.int(cred, "cred", "euid")).map(|uid| uid as u32),
            comm,
            command_line: match mm {
                None => Err(NOT_HERE),
                Some(0) => Err("it has no memory of its own"),
                Some(mm) => self.command_line_of(mm).ok_or("its pages are not in the dump"),
            },
            exe: match mm {
                None => Err(NOT_HERE),
                Some(0) => Err("it has no memory of its own"),
                Some(mm) => self
                    .pointer(mm, "mm_struct", "exe_file")
                    .filter(|file| *file != 0)
                    .and_then(|file| self.file_path(file))
                    .ok_or("its directory entries cannot be read"),
            },
            start_time: start.zip(boot).map(|(start, boot)| start.wrapping_add(boot).div_euclid(1_000_000_000)),
            state: self.state(task),
            kernel_thread: flags.map(|flags| flags & PF_KTHREAD != 0),
        }
    }

    /// Whether the program's file has no name any more: it was deleted, or never had one (memfd). `None` for the kernel's
    /// own threads, and where it cannot be told.
    #[must_use]
    pub fn program_gone(&self, process: &Process) -> Option<bool> {
        let mm = self.pointer(process.task, "task_struct", "mm").filter(|mm| *mm != 0)?;
        let file = self.pointer(mm, "mm_struct", "exe_file").filter(|file| *file != 0)?;
        self.file_named(file).map(|named| named.deleted)
    }

    fn command_line_of(&self, mm: u64) -> Option<String> {
        let start = self.pointer(mm, "mm_struct", "arg_start")?;
        let end = self.pointer(mm, "mm_struct", "arg_end")?;
        let len = end.checked_sub(start)?.min(MAX_LINE);
        if len == 0 {
            return Some(String::new());
        }
        let memory = self.process_memory(self.pointer(mm, "mm_struct", "pgd")?)?;
        // As long as it is in memory: an honest one is, and a thousand processes may claim the same pages.
        if !self.purse.spend_bytes(len as usize) {
            return None;
        }
        let mut bytes = vec![0; len as usize];
        let got = memory.read_upto(Virt(start), &mut bytes);
        if got == 0 {
            return None;
        }
        bytes.truncate(got);
        bytes.shrink_to_fit();
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
        Some(text)
    }

    /// The task that ran on a processor: its number and short name.
    #[must_use]
    pub fn running_on(&self, cpu: u32) -> Option<(u32, String)> {
        let thread = self.thread(self.current(cpu)?)?;
        Some((thread.tid, thread.comm?))
    }

    /// Address of the task that ran on a processor.
    #[must_use]
    pub fn current(&self, cpu: u32) -> Option<u64> {
        // Of the processor's own memory: a variable of its own, from 6.2 to 6.14 a member of a structure.
        let place = match self.symbols.address("pcpu_hot") {
            Some(hot) => hot.wrapping_add(self.offset("pcpu_hot", "current_task").ok()?),
            None => self.symbols.address("current_task").or_else(|| self.symbols.address("__entry_task"))?,
        };
        self.word(self.per_cpu(cpu, place)?)
    }

    /// The bits of a task's state.
    pub(in crate::linux) fn state_bits(&self, task: u64) -> Option<u64> {
        // `__state` since 5.14, and 32 bits wide since; `state` was a long.
        match self.int(task, "task_struct", "__state") {
            Some(state) => Some(state),
            None => self.pointer(task, "task_struct", "state"),
        }
    }

    pub(in crate::linux) fn state(&self, task: u64) -> Option<char> {
        let state = self.state_bits(task)?;
        let exit = self.int(task, "task_struct", "exit_state").unwrap_or(0);
        const NOLOAD: u64 = 0x400;
        Some(match (state | exit) & 0x7f {
            _ if state & NOLOAD != 0 && state & 2 != 0 => 'I',
            0 => 'R',
            bits => *['S', 'D', 'T', 't', 'X', 'Z', 'P'].get(bits.trailing_zeros() as usize)?,
        })
    }
}
