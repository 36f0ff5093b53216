//! The fault of a Linux kernel's own code, which ended it or the task.

use super::linux;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;

row! {
    /// The fault (oops) of a Linux kernel for which the machine stopped: one row, or none if there was no fault.
    KernelFaultRow {
        /// Processor.
        cpu: u32,
        /// Process id of the task that it ran.
        pid: u32,
        /// Thread id.
        tid: u32,
        /// Short name.
        comm: Field<String>,
        /// The exception's name in entry code, as `page_fault`, `invalid_op`; of arm64 `abort`, `undef`, `dbg`.
        exception: String,
        /// Code address of the fault.
        pc: Field<Addr>,
        /// Function, distance and module, as `crash+0x12 [bad]`.
        function: Field<String>,
        /// The exception's error code; of arm64 its syndrome.
        error_code: Field<Addr>,
        /// The address that could not be used, of a page fault.
        address: Field<Addr>,
        /// The registers as the exception saved them: `rax=0x1 rbx=0x2 …`.
        registers: String,
    }
}

pub(crate) fn kernel_fault(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let Some(oops) = linux.oops() else {
        sink.note("no processor stands in the handling of a fault of the kernel");
        return Ok(());
    };
    let frame = oops.stack.frames.get(oops.frame);
    let no_frame = || Absent::because("its place on the stack is not known");
    let registers: Vec<String> =
        oops.registers.iter().map(|(info, value)| format!("{}={value:#x}", info.name)).collect();
    let not_told = || Absent::because("the kernel's log does not tell it");
    let row = KernelFaultRow {
        cpu: oops.cpu,
        pid: oops.pid,
        tid: oops.thread.tid,
        comm: oops.thread.comm.ok_or(Absent::because("its task_struct is not in the dump")),
        exception: oops.exception,
        pc: frame.map(|frame| Addr(frame.pc)).ok_or_else(no_frame),
        function: frame.map(ToString::to_string).ok_or_else(no_frame),
        error_code: oops.error_code.map(Addr).ok_or_else(not_told),
        address: oops.address.map(Addr).ok_or_else(not_told),
        registers: registers.join(" "),
    };
    let _ = emit(sink, row);
    Ok(())
}
