//! Threads with the same stack, counted: four thousand threads are seven groups.

use crate::cell::{Absent, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;
use std::collections::HashMap;

row! {
    /// Threads whose stacks are the same, the crashed thread's group first, then the largest.
    ThreadGroupRow {
        /// How many threads.
        count: usize,
        /// Whether the crashed thread is among them.
        crashed: bool,
        /// Their ids, at most sixteen.
        tids: String,
        /// Their names.
        names: Field<String>,
        /// Functions of the stack, innermost first, joined by ` < `.
        stack: Field<String>,
    }
}

/// Threads with the same stack: indices in the dump's thread list.
#[derive(Clone, Debug)]
pub struct Group {
    /// Members in the dump's order.
    pub threads: Vec<usize>,
    /// Whether the crashed thread is among them.
    pub crashed: bool,
}

/// Groups the threads by the addresses on their stacks.
#[must_use]
pub fn groups(target: &Target) -> Vec<Group> {
    let mut places: HashMap<Vec<u64>, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    target.prepare_stacks();
    for thread in 0..target.dump().threads.len() {
        let addresses: Vec<u64> = target.stack(thread).frames.iter().map(|frame| frame.address.address().0).collect();
        let crashed = target.crashed_thread() == Some(thread);
        // The crashed thread stands alone even if others wait at the same place.
        if crashed {
            groups.push(Group { threads: vec![thread], crashed });
            continue;
        }
        let place = *places.entry(addresses).or_insert_with(|| {
            groups.push(Group { threads: Vec::new(), crashed });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.threads.push(thread);
        }
    }
    groups.sort_by_key(|group| (!group.crashed, std::cmp::Reverse(group.threads.len())));
    groups
}

/// The names of functions on a thread's stack, innermost first.
#[must_use]
pub fn functions(target: &Target, thread: usize, limit: usize) -> Vec<String> {
    let frames = &target.stack(thread).frames;
    let mut names = Vec::new();
    for frame in frames.iter().take(limit) {
        let places = target.locate(frame.address);
        for place in places.iter() {
            names.extend(place.function.clone());
        }
        if places.is_empty()
            && let Some(module) = target.module_at(frame.address.lookup())
        {
            names.push(format!("{}+{:#x}", module.name(), frame.address.address().0.wrapping_sub(module.base.0)));
        }
    }
    names
}

/// Names of a group's threads, each once, at most four.
#[must_use]
pub fn names(target: &Target, group: &Group) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in group.threads.iter().filter_map(|&t| target.dump().threads.get(t)?.name.clone()) {
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() == 4 {
            break;
        }
    }
    names
}

pub(crate) fn run(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    for group in groups(target) {
        let tids: Vec<String> = group
            .threads
            .iter()
            .take(16)
            .filter_map(|&t| target.dump().threads.get(t).map(|thread| thread.tid.to_string()))
            .collect();
        let more = if group.threads.len() > tids.len() { " …" } else { "" };
        let names = names(target, &group);
        let stack = group.threads.first().map(|&t| functions(target, t, 32)).unwrap_or_default();
        let row = ThreadGroupRow {
            count: group.threads.len(),
            crashed: group.crashed,
            tids: tids.join(" ") + more,
            names: if names.is_empty() {
                Err(Absent::because("the dump does not name threads"))
            } else {
                Ok(names.join(" "))
            },
            stack: if stack.is_empty() {
                Err(Absent::because("no symbol covers the stack"))
            } else {
                Ok(stack.join(" < "))
            },
        };
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}
