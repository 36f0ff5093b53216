//! How much memory a process uses, by the kernel's own counters.
//!
//! *Trap*: since 6.2 each counter is kept apart on each processor and gathered now and then (`percpu_counter`); the
//! part that is not yet gathered is added here, so the sum is exact. Before, each thread held up to 64 pages back.

use crate::linux::Linux;
use crate::linux::tasks::Process;

/// Bytes of memory that a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Pages of its own: heap, stacks.
    pub anonymous: u64,
    /// Pages of files.
    pub file: u64,
    /// Shared memory and tmpfs.
    pub shared: u64,
    /// What lies in swap.
    pub swap: u64,
}

impl MemoryUse {
    /// What of it is in memory: `VmRSS` of `/proc/PID/status`.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.anonymous.saturating_add(self.file).saturating_add(self.shared)
    }
}

impl Linux {
    /// Memory that a process uses; `None` for those without memory of their own, and where it cannot be read.
    #[must_use]
    pub fn memory_use(&self, process: &Process) -> Option<MemoryUse> {
        let mm = self.pointer(process.task, "task_struct", "mm").filter(|mm| *mm != 0)?;
        let bytes = |name| self.mm_counter(mm, name).map(|pages| pages.saturating_mul(self.page_bytes()));
        Some(MemoryUse {
            anonymous: bytes("MM_ANONPAGES")?,
            file: bytes("MM_FILEPAGES")?,
            shared: bytes("MM_SHMEMPAGES")?,
            swap: bytes("MM_SWAPENTS")?,
        })
    }

    /// One of a process's counters in pages. A counter that is below nothing for a moment counts as nothing, as the
    /// kernel has it.
    fn mm_counter(&self, mm: u64, name: &str) -> Option<u64> {
        let index = self.enumerator(name).filter(|index| (0..16).contains(index))? as u64;
        let at = mm.wrapping_add(self.offset("mm_struct", "rss_stat").ok()?);
        if let Ok(count) = self.offset("mm_struct", "rss_stat.count") {
            // An array of atomic_long_t.
            let value = self.word(mm.wrapping_add(count + 8 * index))? as i64;
            return Some(value.max(0) as u64);
        }
        let each = self.size("percpu_counter").ok()?;
        let counter = at.wrapping_add(each.wrapping_mul(index));
        let mut sum = self.value(counter, "percpu_counter", "count")? as i64;
        let parts = self.pointer(counter, "percpu_counter", "counters").unwrap_or(0);
        if parts != 0 {
            for cpu in self.online_cpus() {
                let part = self.per_cpu(cpu, parts).and_then(|at| self.number(at, 4));
                sum = sum.saturating_add(i64::from(part.unwrap_or(0) as i32));
            }
        }
        Some(sum.max(0) as u64)
    }

    /// What the kernel's out-of-memory killer adds to a process's score, -1000 to 1000.
    #[must_use]
    pub fn oom_score_adjust(&self, process: &Process) -> Option<i32> {
        let signal = self.pointer(process.task, "task_struct", "signal").filter(|signal| *signal != 0)?;
        self.value(signal, "signal_struct", "oom_score_adj").map(|score| i32::from(score as i16))
    }
}
