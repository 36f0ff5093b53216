//! Timers that wait: those of high resolution (`hrtimer`, a tree for each clock and processor) and the timer wheel (lists of
//! those that end in the same stretch of ticks), as `/proc/timer_list` shows the former.
//!
//! *What it is not*: timers that nobody set. What a driver keeps for later and has not started is in no tree.
//!
//! *Trap*: "now" is when the kernel last brought its clock forward, at most a tick or so before the dump (on an idle machine
//! a longer while), so a timer may be over its time by a little.

use crate::linux::Linux;
use crate::linux::walk::tell;

/// Timers of one tree or list at most are bounded by the walkers; these are the bases of one processor.
const MOST_BASES: u64 = 8;
/// Lists of one wheel at most (`WHEEL_SIZE` is 576).
const MOST_LISTS: u64 = 4096;

/// A timer that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Processor.
    pub cpu: u32,
    /// `hrtimer` or `wheel`.
    pub kind: &'static str,
    /// Clock, as `monotonic`; `jiffies` of the wheel.
    pub clock: String,
    /// Address of its `hrtimer` or `timer_list`.
    pub at: u64,
    /// When it ends: nanoseconds of its clock, or ticks.
    pub expires: Option<u64>,
    /// The earliest moment that will do, of high resolution.
    pub soft_expires: Option<u64>,
    /// Nanoseconds from the dump until then; below 0 if it is over its time.
    pub remaining: Result<i64, &'static str>,
    /// What is called.
    pub function: Option<String>,
    /// What that function then does, where it is one that calls another: the function of delayed work.
    pub work: Option<String>,
    /// Process and thread that it is for, with its short name.
    pub owner: Result<(u32, u32, Option<String>), &'static str>,
}

/// What the clocks showed.
struct Now {
    monotonic: Option<i64>,
    ticks: Option<u64>,
    tick: Option<i64>,
}

impl Linux {
    /// All timers that wait, by processor; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn timers(&self) -> Result<(Vec<Timer>, Vec<String>), String> {
        let mut remarks = Vec::new();
        let now = Now { monotonic: self.monotonic(), ticks: self.ticks(), tick: self.tick_ns() };
        let mut timers = Vec::new();
        let hrtimers = self.symbol("hrtimer_bases").and_then(|bases| {
            for cpu in self.possible_cpus() {
                match self.per_cpu(cpu, bases) {
                    Some(base) => self.hrtimers(cpu, base, &now, &mut timers, &mut remarks)?,
                    None => remarks.push(format!("the memory of processor {cpu} is not in the dump")),
                }
            }
            Ok(())
        });
        let wheel = self.symbol("timer_bases").and_then(|bases| {
            for cpu in self.possible_cpus() {
                if let Some(base) = self.per_cpu(cpu, bases) {
                    self.wheels(cpu, base, &now, &mut timers, &mut remarks)?;
                }
            }
            Ok(())
        });
        match (hrtimers, wheel) {
            (Err(why), Err(_)) => return Err(why),
            (Err(why), Ok(())) => remarks.push(format!("timers of high resolution are not read: {why}")),
            (Ok(()), Err(why)) => remarks.push(format!("the timer wheel is not read: {why}")),
            (Ok(()), Ok(())) => {}
        }
        timers.sort_by_key(|timer| timer.cpu);
        Ok((timers, remarks))
    }

    /// The monotonic clock when it was last brought forward.
    fn monotonic(&self) -> Option<i64> {
        let keeper = self.timekeeper()?;
        let base = self.pointer(keeper, "timekeeper", "tkr_mono.base")? as i64;
        let shift = self.int(keeper, "timekeeper", "tkr_mono.shift").filter(|shift| *shift < 64)?;
        let more = self.pointer(keeper, "timekeeper", "tkr_mono.xtime_nsec")? >> shift;
        base.checked_add(i64::try_from(more).ok()?)
    }

    fn ticks(&self) -> Option<u64> {
        self.word(self.symbols.address("jiffies_64").or_else(|| self.symbols.address("jiffies"))?)
    }

    /// Nanoseconds of a tick. No type tells `HZ`; the clock's steering keeps its length, with a correction far below 1 %.
    fn tick_ns(&self) -> Option<i64> {
        let length = match self.symbols.address("tick_nsec") {
            Some(at) => self.word(at)?,
            // Since 6.13 in microseconds.
            None => self
                .pointer(self.symbols.address("tk_ntp_data")?, "ntp_data", "tick_usec")
                .and_then(|us| us.checked_mul(1000))?,
        };
        // From 24 to 1200 ticks a second there are kernels.
        let length = i64::try_from(length).ok().filter(|length| (500_000..50_000_000).contains(length))?;
        let hz = (1_000_000_000 + length / 2) / length;
        (hz > 0).then(|| 1_000_000_000 / hz)
    }

    fn hrtimers(
        &self,
        cpu: u32,
        base: u64,
        now: &Now,
        timers: &mut Vec<Timer>,
        remarks: &mut Vec<String>,
    ) -> Result<(), String> {
        let first = self.offset("hrtimer_cpu_base", "clock_base")?;
        let count = self.elements("hrtimer_cpu_base", "clock_base").unwrap_or(0).min(MOST_BASES);
        let each = self.size("hrtimer_clock_base")?;
        // With its leftmost node since 5.4.
        let root = self
            .offset("hrtimer_clock_base", "active.rb_root.rb_root.rb_node")
            .or_else(|_| self.offset("hrtimer_clock_base", "active.rb_root.rb_node"))
            .or_else(|_| self.offset("hrtimer_clock_base", "active.head.rb_node"))?;
        for clock in 0..count {
            let at = base.wrapping_add(first).wrapping_add(clock.wrapping_mul(each));
            let id = self.int(at, "hrtimer_clock_base", "clockid");
            let offset = self.pointer(at, "hrtimer_clock_base", "offset").map(|offset| offset as i64);
            let what = format!("the timers of processor {cpu}");
            for timer in self.tree(at.wrapping_add(root), "hrtimer", "node.node", &what, remarks)? {
                if self.pointer(timer, "hrtimer", "base") != Some(at) {
                    tell(remarks, || format!("{what}: the one at {timer:#x} is of another clock, or not in the dump"));
                    continue;
                }
                let expires = self.pointer(timer, "hrtimer", "node.expires");
                let left = expires.and_then(|end| {
                    let now = now.monotonic?.checked_add(offset?)?;
                    (end as i64).checked_sub(now)
                });
                let function = self.pointer(timer, "hrtimer", "function").map(|at| self.named_place(at));
                timers.push(Timer {
                    cpu,
                    kind: "hrtimer",
                    clock: id.map_or_else(|| "unknown".to_owned(), clock_name),
                    at: timer,
                    expires,
                    soft_expires: self.pointer(timer, "hrtimer", "_softexpires"),
                    remaining: left.ok_or("the clock is not in the dump"),
                    work: None,
                    owner: self.timer_owner(timer, function.as_deref().unwrap_or_default()),
                    function,
                });
            }
        }
        Ok(())
    }

    /// The wheels of a processor: one, or two or three since kernels keep apart what can wait while it is idle.
    fn wheels(
        &self,
        cpu: u32,
        bases: u64,
        now: &Now,
        timers: &mut Vec<Timer>,
        remarks: &mut Vec<String>,
    ) -> Result<(), String> {
        let lists = self.offset("timer_base", "vectors")?;
        let count = self.elements("timer_base", "vectors").unwrap_or(0).min(MOST_LISTS);
        let each = self.size("timer_base")?;
        let what = format!("the timer wheel of processor {cpu}");
        for base in (0..self.wheel_count(each)).map(|base| bases.wrapping_add(base.wrapping_mul(each))) {
            let at = base.wrapping_add(lists);
            for (place, head) in (0u64..).zip(self.words(at, count)) {
                match head {
                    Some(0) => continue,
                    Some(_) => {}
                    None => {
                        tell(remarks, || format!("{what}: part of it is not in the dump"));
                        break;
                    }
                }
                let head = at.wrapping_add(8 * place);
                for timer in self.hlist(head, "timer_list", "entry", &what, remarks)? {
                    let Some(expires) = self.pointer(timer, "timer_list", "expires") else { continue };
                    let left = now.ticks.zip(now.tick).and_then(|(ticks, tick)| {
                        i64::try_from(i128::from(expires.wrapping_sub(ticks) as i64) * i128::from(tick)).ok()
                    });
                    let function = self.pointer(timer, "timer_list", "function").map(|at| self.named_place(at));
                    let name = function.as_deref().unwrap_or_default();
                    timers.push(Timer {
                        cpu,
                        kind: "wheel",
                        clock: "jiffies".to_owned(),
                        at: timer,
                        expires: Some(expires),
                        soft_expires: None,
                        remaining: left.ok_or("the length of a tick is not known"),
                        work: self.delayed_work(timer, name),
                        owner: self.timer_owner(timer, name),
                        function,
                    });
                }
            }
        }
        Ok(())
    }

    /// How many wheels a processor has (`NR_BASES`): by the type of the variable, or by the room until the next one.
    fn wheel_count(&self, each: u64) -> u64 {
        let typed = self.types.as_ref().ok().and_then(|types| Some(types.array(types.variable("timer_bases")?)?.1));
        if let Some(count) = typed {
            return u64::from(count).min(MOST_BASES);
        }
        let Some(own) = self.symbols.address("timer_bases") else { return 0 };
        let next = self.symbols.iter().map(|symbol| symbol.address).filter(|address| *address > own).min();
        next.map_or(1, |next| ((next - own) / each.max(1)).clamp(1, 4))
    }

    /// The function of work that is put off: the timer is a part of it.
    fn delayed_work(&self, timer: u64, function: &str) -> Option<String> {
        if function != "delayed_work_timer_fn" {
            return None;
        }
        let work = timer.wrapping_sub(self.offset("delayed_work", "timer").ok()?);
        self.pointer(work, "delayed_work", "work.func").map(|at| self.named_place(at))
    }

    /// Who a timer is for, by the structure that it is a part of, and that by its function.
    fn timer_owner(&self, timer: u64, function: &str) -> Result<(u32, u32, Option<String>), &'static str> {
        let around = |structure: &str, member: &str| {
            self.offset(structure, member).ok().map(|offset| timer.wrapping_sub(offset))
        };
        let task = match function {
            // Sleeps of high resolution (nanosleep, poll, futex), and sleeps by ticks.
            "hrtimer_wakeup" => {
                around("hrtimer_sleeper", "timer").map(|own| self.pointer(own, "hrtimer_sleeper", "task"))
            }
            "process_timeout" => around("process_timer", "timer").map(|own| self.pointer(own, "process_timer", "task")),
            // timer_create(2), and alarm(2) or setitimer(2).
            "posix_timer_fn" => around("k_itimer", "it.real.timer")
                .map(|own| self.pointer(own, "k_itimer", "it_pid").and_then(|pid| self.task_with(pid))),
            "it_real_fn" => around("signal_struct", "real_timer").map(|own| {
                let pids = own.wrapping_add(self.offset("signal_struct", "pids").ok()?);
                self.task_with(self.word(pids.wrapping_add(8))?)
            }),
            _ => return Err("it is not a process's own timer"),
        };
        const NOT_HERE: &str = "its task_struct is not in the dump";
        let task = task.ok_or("this kernel's types do not say where its process stands")?;
        let task = task.ok_or(NOT_HERE)?;
        if task == 0 {
            return Err("it has woken its process");
        }
        let (pid, thread) = self.thread_of(task).ok_or(NOT_HERE)?;
        Ok((pid, thread.tid, thread.comm))
    }

    /// The task of a `struct pid`: a process's first, or a thread.
    fn task_with(&self, pid: u64) -> Option<u64> {
        const LINK: u64 = 16;
        let (tasks, links) = (self.offset("pid", "tasks").ok()?, self.offset("task_struct", "pid_links").ok()?);
        // `enum pid_type`: 1 a process's number, 0 a thread's.
        [1u64, 0].into_iter().find_map(|kind| {
            let first = self.word(pid.wrapping_add(tasks).wrapping_add(8 * kind)).filter(|first| *first != 0)?;
            Some(first.wrapping_sub(links).wrapping_sub(kind * LINK))
        })
    }
}

/// include/uapi/linux/time.h
fn clock_name(id: u64) -> String {
    match id {
        0 => "realtime".to_owned(),
        1 => "monotonic".to_owned(),
        7 => "boottime".to_owned(),
        11 => "tai".to_owned(),
        other => format!("clock {other}"),
    }
}
