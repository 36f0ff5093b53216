//! The processes as a tree: each below the one that made it, or that took it over when its parent ended.

use super::process::Process;
use crate::linux::Linux;
use std::collections::{BTreeMap, HashSet};

/// A process in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// The process.
    pub process: Process,
    /// How many stand above it.
    pub depth: u32,
}

impl Linux {
    /// All processes in the order of the tree, children by their numbers; and what was wrong on the way. Process 0, above
    /// all others, is left out, as everywhere.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn process_tree(&self) -> Result<(Vec<TreeNode>, Vec<String>), String> {
        let (processes, mut remarks) = self.processes()?;
        let (nodes, more) = tree(processes);
        remarks.extend(more);
        Ok((nodes, remarks))
    }
}

/// Those whose parent is not there, or not known, stand at the top, and a remark says so; a circle is cut at its lowest
/// number.
fn tree(processes: Vec<Process>) -> (Vec<TreeNode>, Vec<String>) {
    let mut remarks = Vec::new();
    let pids: HashSet<u32> = processes.iter().map(|process| process.pid).collect();
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut tops = Vec::new();
    let mut orphans = Vec::new();
    for process in &processes {
        match process.ppid {
            Some(0) => tops.push(process.pid),
            Some(parent) if pids.contains(&parent) => {
                children.entry(parent).or_default().push(process.pid);
            }
            _ => orphans.push(process.pid),
        }
    }
    if let Some(first) = orphans.first() {
        let more = if orphans.len() > 1 { format!("; {} more like it", orphans.len() - 1) } else { String::new() };
        remarks.push(format!("process {first}: its parent is not there, so it stands at the top{more}"));
    }
    tops.extend(orphans);
    tops.sort_unstable();
    let mut by_pid: BTreeMap<u32, Process> = processes.into_iter().map(|process| (process.pid, process)).collect();
    let mut nodes = Vec::new();
    let mut walk = |top: u32, by_pid: &mut BTreeMap<u32, Process>| {
        let mut open = vec![(top, 0u32)];
        while let Some((pid, depth)) = open.pop() {
            let Some(process) = by_pid.remove(&pid) else { continue };
            nodes.push(TreeNode { process, depth });
            let below = children.get(&pid).into_iter().flatten().rev();
            open.extend(below.map(|child| (*child, depth.saturating_add(1))));
        }
    };
    for top in tops {
        walk(top, &mut by_pid);
    }
    // What no top leads to are circles, and what hangs on them.
    while let Some(first) = by_pid.keys().next().copied() {
        let above = |pid: u32| by_pid.get(&pid).and_then(|process| process.ppid).unwrap_or(pid);
        let mut seen = HashSet::new();
        let mut at = first;
        while seen.insert(at) {
            at = above(at);
        }
        let (mut lowest, mut next) = (at, above(at));
        while next != at {
            lowest = lowest.min(next);
            next = above(next);
        }
        remarks.push(format!("process {lowest} is its own ancestor: its memory was being changed, or is damaged"));
        walk(lowest, &mut by_pid);
    }
    (nodes, remarks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, ppid: Option<u32>) -> Process {
        Process {
            task: 0,
            pid,
            ppid,
            uid: None,
            comm: None,
            command_line: Err(""),
            exe: Err(""),
            start_time: None,
            state: None,
            kernel_thread: None,
        }
    }

    fn order(processes: &[(u32, Option<u32>)]) -> (Vec<(u32, u32)>, Vec<String>) {
        let (nodes, remarks) = tree(processes.iter().map(|(pid, ppid)| process(*pid, *ppid)).collect());
        (nodes.into_iter().map(|node| (node.process.pid, node.depth)).collect(), remarks)
    }

    #[test]
    fn children_stand_below_their_parents() {
        let (nodes, remarks) =
            order(&[(1, Some(0)), (2, Some(0)), (3, Some(1)), (4, Some(2)), (5, Some(3)), (6, Some(1))]);
        assert_eq!(nodes, [(1, 0), (3, 1), (5, 2), (6, 1), (2, 0), (4, 1)]);
        assert!(remarks.is_empty());
    }

    #[test]
    fn orphans_and_circles_are_told() {
        let (nodes, remarks) = order(&[(1, Some(0)), (7, Some(99)), (8, None), (9, Some(7))]);
        assert_eq!(nodes, [(1, 0), (7, 0), (9, 1), (8, 0)]);
        assert_eq!(remarks, ["process 7: its parent is not there, so it stands at the top; 1 more like it"]);
        let (nodes, remarks) = order(&[(1, Some(0)), (5, Some(6)), (6, Some(5)), (4, Some(6)), (10, Some(10))]);
        assert_eq!(nodes, [(1, 0), (5, 0), (6, 1), (4, 2), (10, 0)]);
        assert_eq!(remarks.len(), 2);
        assert!(remarks[0].starts_with("process 5 is its own ancestor"), "{remarks:?}");
        assert!(remarks[1].starts_with("process 10 is its own ancestor"), "{remarks:?}");
    }
}
