//! Tasks with what hangs on each: credentials, memory, open files, a stack.

use super::files::Files;
use super::memory::Memory;
use super::plan::Plan;
use super::{Age, Kernel};

/// A page of a process that holds arguments and environment.
const STRINGS: u64 = 0x7ffd_0000_1000;

/// Makes one task; its process's `mm`, files and signals are given to all threads.
#[derive(Clone, Copy, Default)]
pub(super) struct Shared {
    mm: u64,
    files: u64,
    signal: u64,
    nsproxy: u64,
    fs: u64,
}

pub(super) fn shared(kernel: &mut Kernel, files: &mut Files, plan: &Plan) -> Shared {
    let signal = kernel.memory.make("signal_struct");
    kernel.memory.set(signal, "signal_struct", "oom_score_adj", 0);
    let mut own = Shared { signal, nsproxy: files.nsproxy, ..Shared::default() };
    let Some(exe) = plan.exe else { return own };
    let memory = &mut kernel.memory;
    own.fs = memory.make("fs_struct");
    let path = memory.at(own.fs, "fs_struct", "root");
    files.set_path(memory, path, "/");
    own.files = files.table(kernel, plan);
    own.mm = mm(kernel, files, plan, exe);
    own
}

fn mm(kernel: &mut Kernel, files: &mut Files, plan: &Plan, exe: &str) -> u64 {
    let memory = &mut kernel.memory;
    let mm = memory.make("mm_struct");
    let pgd = memory.page();
    let strings = memory.page();
    let page = memory.physical(strings);
    memory.map(pgd, STRINGS, page, false, true);
    let arguments: String = plan.args.iter().map(|text| format!("{text}\0")).collect();
    let environment: String = plan.env.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
    memory.put(strings, arguments.as_bytes());
    memory.put(strings + arguments.len() as u64, environment.as_bytes());
    let middle = STRINGS + arguments.len() as u64;
    let file = files.open(memory, exe);
    let values = [
        ("pgd", pgd),
        ("arg_start", STRINGS),
        ("arg_end", middle),
        ("env_start", middle),
        ("env_end", middle + environment.len() as u64),
        ("exe_file", file),
        ("start_brk", 0x60_0000),
        ("brk", 0x60_4000),
        ("start_stack", 0x7ffd_0000_0f00),
        ("map_count", plan.regions.len() as u64),
        ("rss_stat.1.count", 10),
        ("rss_stat.0.count", 20),
    ];
    for (path, value) in values {
        memory.set(mm, "mm_struct", path, value);
    }
    let mut areas = Vec::new();
    for (start, end, perms, name) in plan.regions {
        let area = memory.make("vm_area_struct");
        let bits = perms.chars().zip([1u64, 2, 4, 0x80]).filter(|(letter, _)| !matches!(letter, '-' | 'p'));
        memory.set(area, "vm_area_struct", "vm_start", *start);
        memory.set(area, "vm_area_struct", "vm_end", *end);
        memory.set(area, "vm_area_struct", "vm_flags", bits.map(|(_, bit)| bit).sum());
        if let Some(path) = name.filter(|name| name.starts_with('/')) {
            let file = files.open(memory, path);
            memory.set(area, "vm_area_struct", "vm_file", file);
        }
        areas.push((*start, *end, area));
    }
    let root = tree(memory, &areas);
    memory.set(mm, "mm_struct", "mm_mt.ma_root", root);
    mm
}

/// A maple tree: one leaf, or two below a node with gaps.
fn tree(memory: &mut Memory, areas: &[(u64, u64, u64)]) -> u64 {
    const LEAF: u64 = 1;
    const ARANGE: u64 = 3;
    const NODE: u64 = 4;
    const ROOT: u64 = 2;
    let mut leaf = |areas: &[(u64, u64, u64)], min: u64, max: u64| {
        let node = memory.room(512, 256);
        let mut entries: Vec<(u64, u64)> = Vec::new();
        let mut at = min;
        for (start, end, area) in areas {
            if at < *start {
                entries.push((0, start - 1));
            }
            entries.push((*area, end - 1));
            at = *end;
        }
        if at <= max && at != 0 {
            entries.push((0, max));
        }
        for (index, (entry, last)) in entries.iter().enumerate() {
            memory.set(node, "maple_range_64", &format!("slot.{index}"), *entry);
            if *last != u64::MAX {
                memory.set(node, "maple_range_64", &format!("pivot.{index}"), *last);
            }
        }
        node | LEAF << 3 | NODE
    };
    if areas.len() < 4 {
        return leaf(areas, 0, u64::MAX) | ROOT;
    }
    let (first, second) = areas.split_at(3);
    let middle = second[0].0;
    let (first, second) = (leaf(first, 0, middle - 1), leaf(second, middle, u64::MAX));
    let node = memory.room(512, 256);
    memory.set(node, "maple_arange_64", "slot.0", first);
    memory.set(node, "maple_arange_64", "slot.1", second);
    memory.set(node, "maple_arange_64", "pivot.0", middle - 1);
    memory.set(node, "maple_arange_64", "pivot.1", u64::MAX);
    node | ARANGE << 3 | NODE | ROOT
}

/// A task that sleeps with these functions on its stack, or runs.
pub(super) struct Task<'t> {
    pub(super) tid: u32,
    pub(super) comm: &'t str,
    pub(super) stack: &'t [&'t str],
    pub(super) state: char,
}

/// Gives the `task_struct`, and where each frame of its stack begins.
pub(super) fn task(kernel: &mut Kernel, own: Shared, plan: &Plan, task: &Task<'_>) -> (u64, Vec<u64>) {
    const PF_KTHREAD: u64 = 0x0020_0000;
    let frames: Vec<_> = task.stack.iter().map(|name| kernel.function(name)).collect();
    let memory = &mut kernel.memory;
    let at = memory.make("task_struct");
    let cred = memory.make("cred");
    memory.set(cred, "cred", "euid", plan.uid.into());
    let stack = memory.page();
    let mut begins = Vec::new();
    if !frames.is_empty() {
        let sp;
        (sp, begins) = super::code::sleep(memory, stack, &frames);
        memory.set(at, "task_struct", "thread.sp", sp);
    }
    let state = match task.state {
        'S' => 1,
        'D' => 2,
        _ => 0,
    };
    let values = [
        ("pid", task.tid.into()),
        ("tgid", plan.pid.into()),
        ("__state", state),
        ("on_cpu", u64::from(task.state == 'R')),
        ("stack", stack),
        ("flags", if plan.exe.is_none() { PF_KTHREAD } else { 0 }),
        ("cred", cred),
        ("mm", own.mm),
        ("files", own.files),
        ("fs", own.fs),
        ("signal", own.signal),
        ("nsproxy", own.nsproxy),
        ("start_boottime", u64::from(task.tid) * 1_000_000_000),
        ("sched_info.last_arrival", 20_000_000_000),
    ];
    for (path, value) in values {
        memory.set(at, "task_struct", path, value);
    }
    memory.set_text(at, "task_struct", "comm", task.comm);
    (at, begins)
}

/// Numbers: the tree of `struct pid` whose root is at `head`, with the tasks that have each.
pub(super) fn numbers(memory: &mut Memory, head: u64, tasks: &[(u32, u64, bool)]) {
    const NODE: u64 = 2;
    let lower = [memory.make("xa_node"), memory.make("xa_node")];
    let root = memory.make("xa_node");
    memory.set(root, "xa_node", "shift", 6);
    for (index, node) in lower.iter().enumerate() {
        memory.set(root, "xa_node", &format!("slots.{index}"), node | NODE);
    }
    for (number, task, leader) in tasks {
        let pid = memory.make("pid");
        memory.set(pid, "pid", "numbers.0.nr", (*number).into());
        for kind in if *leader { &[0, 1][..] } else { &[0] } {
            let link = memory.at(*task, "task_struct", &format!("pid_links.{kind}"));
            memory.set(pid, "pid", &format!("tasks.{kind}.first"), link);
        }
        memory.set(lower[*number as usize / 64], "xa_node", &format!("slots.{}", number % 64), pid);
    }
    memory.put_word(head, root | NODE);
}

/// The ring of a process's threads.
pub(super) fn ring(memory: &mut Memory, own: Shared, tasks: &[u64], age: Age) {
    let mut links = vec![memory.at(own.signal, "signal_struct", "thread_head")];
    links.extend(tasks.iter().map(|task| memory.at(*task, "task_struct", "thread_node")));
    memory.ring(&links);
    if age == Age::Old {
        let links: Vec<u64> = tasks.iter().map(|task| memory.at(*task, "task_struct", "thread_group")).collect();
        memory.ring(&links);
    }
}
