//! Tasks of a Linux machine that hang: for what, and because of whom.

use super::linux;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;
use afterimage_target::linux::Holder;

row! {
    /// Tasks of a Linux machine that sleep and no signal that they handle wakes (state D), and those that wait for a lock; the
    /// longest sleep first.
    BlockedTaskRow {
        /// Process id.
        pid: u32,
        /// Thread id.
        tid: u32,
        /// Short name.
        comm: Field<String>,
        /// State letter, as ps(1) shows it.
        state: Field<String>,
        /// Seconds since it last ran.
        seconds: Field<u64>,
        /// Whether SIGKILL wakes it all the same.
        killable: bool,
        /// Where it went to sleep: the first function that is no part of sleeping itself.
        function: Field<String>,
        /// Kind of the lock that it waits for: `mutex`, `rwsem`, `semaphore`, `rt_mutex`.
        lock: Field<&'static str>,
        /// Where the lock lies.
        lock_address: Field<Addr>,
        /// The variable that the lock is or lies in.
        lock_name: Field<String>,
        /// Of an rwsem, what it waits to do: `read` or `write`.
        wants: Field<&'static str>,
        /// Thread id of who holds the lock.
        holder_tid: Field<u32>,
        /// Short name of who holds the lock.
        holder_comm: Field<String>,
        /// Whether that is sure: of many readers, an rwsem remembers the last one only.
        holder_sure: Field<bool>,
        /// Whether it is part of a deadlock.
        deadlock: bool,
    }
}

pub(crate) fn blocked_tasks(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let (blocked, remarks) = match linux.blocked_tasks() {
        Ok(found) => found,
        Err(why) => {
            sink.note(&why);
            return Ok(());
        }
    };
    if blocked.is_empty() && remarks.is_empty() {
        sink.note("no task waits for a lock, or sleeps where no signal wakes it");
    }
    for remark in remarks {
        sink.note(&remark);
    }
    let none = || Absent::because("it waits for no lock, or for one that is not known");
    for task in &blocked {
        let lock = task.lock.as_ref();
        let holder: Field<&Holder> =
            lock.map_or(Err(none()), |lock| lock.holder.as_ref().map_err(|why| Absent::because(*why)));
        let row = BlockedTaskRow {
            pid: task.pid,
            tid: task.thread.tid,
            comm: task.thread.comm.clone().ok_or(Absent::because("its task_struct is not in the dump")),
            state: task.thread.state.map(String::from).ok_or(Absent::because("its task_struct is not in the dump")),
            seconds: task
                .since_ns
                .map(|since| since / 1_000_000_000)
                .ok_or(Absent::because("this kernel does not keep when a task last ran")),
            killable: task.killable,
            function: task
                .place
                .as_ref()
                .map(ToString::to_string)
                .ok_or(Absent::because("its stack is not in the dump")),
            lock: lock.map(|lock| lock.kind).ok_or_else(none),
            lock_address: lock.map(|lock| Addr(lock.at)).ok_or_else(none),
            lock_name: lock
                .ok_or_else(none)
                .and_then(|lock| lock.name.clone().ok_or(Absent::because("it lies in no variable of the kernel"))),
            wants: lock.ok_or_else(none).and_then(|lock| lock.wants.ok_or(Absent::because("only of an rwsem"))),
            holder_tid: holder.clone().map(|holder| holder.thread.tid),
            holder_comm: holder.clone().and_then(|holder| {
                holder.thread.comm.clone().ok_or(Absent::because("its task_struct is not in the dump"))
            }),
            holder_sure: holder.map(|holder| holder.sure),
            deadlock: task.deadlock(&blocked).is_some(),
        };
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}
