//! What file this is.

use super::said;
use crate::cell::{Absent, Field, Time};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_dump::Dump;
use afterimage_target::Target;

row! {
    /// What file this is: one row.
    DumpRow {
        /// Container: `elf` or `minidump`.
        format: &'static str,
        /// What the container is packed with: `zstd`, `lz4`, `xz`, `gzip`, `bzip2`.
        compression: Field<&'static str>,
        /// How much of the process it holds: `complete`, `active` or `small`.
        r#type: &'static str,
        /// Operating system of the dumped process.
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
        /// Number of threads.
        threads: usize,
        /// Bytes of memory that the dump holds.
        present_bytes: u64,
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

/// Bytes by virtual address where there are any, else those of a machine's physical memory.
fn present_bytes(dump: &Dump) -> u64 {
    match dump.regions.iter().map(|region| region.present_bytes).fold(0, u64::saturating_add) {
        0 => dump.machine.as_ref().map_or(0, |machine| machine.sizes().present),
        bytes => bytes,
    }
}

/// The one row.
#[must_use]
pub fn row(target: &Target) -> DumpRow {
    let dump = target.dump();
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
        present_bytes: present_bytes(dump),
        file_bytes: dump.file_size,
        missing_bytes: dump.missing_bytes,
        complete: dump.complete(),
        soft_errors: dump.soft_errors.len(),
    }
}

pub(crate) fn run(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let _ = emit(sink, row(target));
    Ok(())
}
