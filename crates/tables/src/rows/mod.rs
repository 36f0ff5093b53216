//! One file a question: the row struct, and the rows for a target.

pub mod dump;
pub mod exception;
pub mod findings;
pub mod frames;
pub mod issues;
pub mod kernel_frames;
pub mod linux;
pub mod machine;
pub mod memory;
pub mod modules;
pub mod notes;
pub mod process;
pub mod regions;
pub mod registers;
pub mod thread_groups;
pub mod threads;
pub mod variables;

pub use dump::DumpRow;
pub use exception::ExceptionRow;
pub use findings::FindingRow;
pub use frames::FrameRow;
pub use issues::IssueRow;
pub use kernel_frames::KernelFrameRow;
pub use linux::{
    BlockedTaskRow, KernelFaultRow, KernelLogRow, KernelModuleRow, KernelModuleSectionRow, KernelRow, MountRow,
    NeighbourRow, NetworkInterfaceRow, OpenFileRow, ProcessRegionRow, ProcessRow, ProcessThreadRow, ProcessTreeRow,
    RouteRow, SocketRow,
};
pub use machine::{CpuRow, PhysicalRegionRow};
pub use memory::MemoryRow;
pub use modules::{ModuleRow, UnloadedModuleRow};
pub use notes::NoteRow;
pub use process::{AuxvRow, EnvironmentRow, FactRow, HandleRow};
pub use regions::RegionRow;
pub use registers::RegisterRow;
pub use thread_groups::ThreadGroupRow;
pub use threads::ThreadRow;
pub use variables::VariableRow;

use crate::cell::{Absent, Field};
use crate::table::{Params, TableError};
use afterimage_target::Target;
use std::ops::Range;

/// A field that the container does not have.
pub(crate) fn said<T>(value: Option<T>) -> Field<T> {
    value.ok_or(Absent::because("the dump does not say"))
}

/// Indices of the threads that `tid=` asks for, or of all.
pub(crate) fn threads_asked(target: &Target, params: &Params) -> Result<Range<usize>, TableError> {
    let threads = &target.dump().threads;
    let Some(tid) = params.number("tid")? else { return Ok(0..threads.len()) };
    match threads.iter().position(|thread| u64::from(thread.tid) == tid) {
        Some(index) => Ok(index..index + 1),
        None => Err(TableError::NoSuch(format!("the dump has no thread {tid}"))),
    }
}
