//! What was typed into the shells of a Linux machine.

use super::files::{not_here, pid, rows_of};
use super::linux;
use crate::cell::{Absent, Addr, Field, Time};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError};
use afterimage_target::Target;

row! {
    /// Lines that were typed into shells and other programs that keep a history in memory, by process.
    ///
    /// Asked are bash, busybox's shell and some other programs with readline by their names; `pid=` asks any process. What
    /// was typed is shown as it is: command lines may hold passwords.
    ShellHistoryRow {
        /// Process id.
        pid: u32,
        /// Short name.
        comm: Field<String>,
        /// What keeps the lines: `readline` or `busybox`.
        keeper: &'static str,
        /// Place in the list, the oldest line is 1.
        index: Field<u32>,
        /// When it was entered; of lines from a file without times when that was read.
        time: Field<Time>,
        /// The line.
        command: String,
        /// Where the line lies in the process.
        address: Addr,
    }
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = pid(params)?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    rows_of((linux, pid), linux.shell_history(pid), sink, |line| ShellHistoryRow {
        pid: line.pid,
        comm: line.comm.ok_or_else(not_here),
        keeper: line.keeper,
        index: line
            .index
            .ok_or(Absent::because("the list does not lead to it: it was taken out, or only looks like one")),
        time: line.time.map(Time).ok_or(Absent::because("this shell keeps no times")),
        command: line.command,
        address: Addr(line.at),
    })
}
