//! The threads of a Linux machine's processes: one row a thread, its process's leader first.
//!
//! *What it is not*: `threads`, which are the processors of a machine's dump; their stacks are in `kernel_frames`.

use super::files::{NONE, no_process};
use super::linux;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;
use afterimage_target::linux::{Linux, Process, RegisterSource};

row! {
    /// The threads of a Linux machine's processes, those of the kernel too.
    ProcessThreadRow {
        /// Process id.
        pid: u32,
        /// Thread id.
        tid: u32,
        /// Short name.
        comm: Field<String>,
        /// State letter, as ps(1) shows it.
        state: Field<String>,
        /// Where its `task_struct` lies.
        task: Addr,
        /// Where it goes on in its program: the program counter in user mode.
        pc: Field<Addr>,
        /// Its stack pointer in user mode.
        sp: Field<Addr>,
        /// Number of the system call that it is in.
        syscall: Field<u64>,
        /// Name of the system call.
        syscall_name: Field<String>,
        /// Where its registers are from: `kernel` (saved when it entered the kernel, where it still is), `processor` (it ran
        /// its program), `last_entry` (it was running, and the dump has only what the kernel saved before).
        registers: Field<&'static str>,
    }
}

/// What is known of a thread in user mode.
struct User {
    pc: Field<Addr>,
    sp: Field<Addr>,
    syscall: Field<u64>,
    syscall_name: Field<String>,
    registers: Field<&'static str>,
}

fn user(linux: &Linux, process: &Process, task: u64) -> User {
    let known = match process.kernel_thread {
        Some(true) => Err("it is a thread of the kernel".to_owned()),
        _ => linux.user_registers(task),
    };
    let known = match known {
        Ok(known) => known,
        Err(why) => {
            let why = Absent::because(why);
            return User {
                pc: Err(why.clone()),
                sp: Err(why.clone()),
                syscall: Err(why.clone()),
                syscall_name: Err(why.clone()),
                registers: Err(why),
            };
        }
    };
    let not_saved = || Absent::because("the dump has not this register of its processor");
    let no_call = || match known.source {
        RegisterSource::LastEntry => Absent::because("it was running, and may have left it"),
        _ => Absent::because("it was in none"),
    };
    let name = known.call.map(|call| linux.call_name(call, known.registers.arch()));
    User {
        pc: known.registers.pc().map(|pc| Addr(pc.0)).ok_or_else(not_saved),
        sp: known.registers.sp().map(|sp| Addr(sp.0)).ok_or_else(not_saved),
        syscall: known.call.ok_or_else(no_call),
        syscall_name: match name {
            None => Err(no_call()),
            Some(name) => name.ok_or(Absent::because("the kernel has no call of this number, or no table with names")),
        },
        registers: Ok(known.source.word()),
    }
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let pid = params.number("pid")?;
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let (processes, remarks) = match linux.processes() {
        Ok(found) => found,
        Err(why) => {
            sink.note(&why);
            return Ok(());
        }
    };
    let asked = |own: u32| pid.is_none_or(|pid| pid == u64::from(own));
    if let Some(pid) = pid
        && !processes.iter().any(|process| asked(process.pid))
    {
        return Err(no_process(linux, pid));
    }
    if processes.is_empty() && remarks.is_empty() {
        sink.note(NONE);
    }
    let not_here = || Absent::because("the kernel's structure with it is not in the dump");
    for process in processes.iter().filter(|process| asked(process.pid)) {
        let (threads, remark) = linux.threads(process);
        for thread in threads {
            let user = user(linux, process, thread.task);
            let row = ProcessThreadRow {
                pid: process.pid,
                tid: thread.tid,
                comm: thread.comm.ok_or_else(not_here),
                state: thread.state.map(String::from).ok_or_else(not_here),
                task: Addr(thread.task),
                pc: user.pc,
                sp: user.sp,
                syscall: user.syscall,
                syscall_name: user.syscall_name,
                registers: user.registers,
            };
            if emit(sink, row).is_break() {
                return Ok(());
            }
        }
        if let Some(remark) = remark {
            sink.note(&remark);
        }
    }
    if pid.is_none() {
        for remark in remarks {
            sink.note(&remark);
        }
    }
    Ok(())
}
