//! What file this is.

use super::said;
use crate::cell::{Absent, Field, Time};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_dump::Absence;
use afterimage_target::Target;

row! {
    /// What file this is: one row.
    DumpRow {
        /// Container: `elf`, `minidump`, `kdump`, `lime`, `avml`, `raw`, `windows`, `mach-o`, `apple-report` …
        format: &'static str,
        /// What the container is packed with: `zstd`, `lz4`, `xz`, `gzip`, `bzip2`.
        compression: Field<&'static str>,
        /// How much of the process or machine it holds: `complete`, `kernel`, `active`, `automatic` or `small`.
        r#type: &'static str,
        /// Operating system.
        os: &'static str,
        /// Version of the operating system.
        os_version: Field<String>,
        /// Processor.
        arch: String,
        /// Process id.
        pid: Field<u32>,
        /// Name of the process as the kernel kept it.
        name: Field<String>,
        /// Command line.
        command_line: Field<String>,
        /// Path of the program.
        executable: Field<String>,
        /// When the dump was made.
        time: Field<Time>,
        /// What wrote the dump.
        writer: Field<String>,
        /// Number of threads; of a machine, as many as processors whose registers are there.
        threads: usize,
        /// Number of processors, of a machine.
        processors: Field<usize>,
        /// Host name, of a machine.
        host: Field<String>,
        /// Seconds since the machine was started.
        uptime: Field<u64>,
        /// Bytes of memory that the dump holds: physical memory of a machine.
        present_bytes: u64,
        /// Bytes that the dump says were memory and does not hold, of a machine.
        absent_bytes: Field<u64>,
        /// Bytes of the container (unpacked).
        file_bytes: u64,
        /// Bytes that the container promises but that are lost because the file is cut off.
        missing_bytes: u64,
        /// Whether nothing that the container promises is missing.
        complete: bool,
        /// Number of things that the writer could not read (see `issues`).
        soft_errors: usize,
    }
}

/// The one row.
#[must_use]
pub fn row(target: &Target) -> DumpRow {
    let dump = target.dump();
    let machine = dump.machine.as_deref();
    let sizes = machine.map(afterimage_dump::Machine::sizes);
    let cut = sizes.as_ref().is_some_and(|sizes| sizes.absent.iter().any(|(why, _)| *why == Absence::Truncated));
    let of_machine = || Absent::because("the dump is of a process");
    let virtual_bytes = || dump.regions.iter().map(|region| region.present_bytes).fold(0, u64::saturating_add);
    DumpRow {
        format: dump.format.name(),
        compression: dump.compression.map(|packed| packed.name()).ok_or(Absent::because("not packed")),
        r#type: dump.dump_type.name(),
        os: dump.os.name(),
        os_version: said(dump.os_version.clone()),
        arch: dump.arch.to_string(),
        pid: said(dump.process.pid),
        name: said(dump.process.name.clone()),
        command_line: said(dump.process.command_line.clone()),
        executable: said(dump.process.executable.clone()),
        time: said(dump.time.map(Time)),
        writer: said(dump.writer.clone()),
        threads: dump.threads.len(),
        processors: machine.map(|machine| machine.cpus.len()).ok_or_else(of_machine),
        host: machine.map_or_else(
            || Err(of_machine()),
            |machine| said(machine.name.as_ref().map(|name| name.node.clone()).filter(|node| !node.is_empty())),
        ),
        uptime: machine
            .map_or_else(|| Err(of_machine()), |machine| said(machine.uptime.map(|seconds| seconds.max(0.0) as u64))),
        present_bytes: sizes
            .as_ref()
            .map(|sizes| sizes.present)
            .filter(|bytes| *bytes > 0)
            .unwrap_or_else(virtual_bytes),
        absent_bytes: sizes.map(|sizes| sizes.absent.iter().map(|(_, bytes)| bytes).sum()).ok_or_else(of_machine),
        file_bytes: dump.file_size,
        missing_bytes: dump.missing_bytes,
        complete: dump.complete() && !cut,
        soft_errors: dump.soft_errors.len(),
    }
}

pub(crate) fn run(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let _ = emit(sink, row(target));
    Ok(())
}
