//! A process as an ELF core.

use super::{BUFFER, Job};
use crate::commands::capture::bytes;
use crate::failure::Failure;
use crate::output::file::{self, NewFile};
use crate::output::{clean, json_line};
use afterimage_dump::write::layout::{self, Pipe, Sparse, Written};
use afterimage_dump::write::{WriteError, elf_core};
use afterimage_target::linux::{Linux, Process, ProcessCore};
use serde_json::json;
use std::io::{self, BufWriter, Write};

pub(super) fn extract(job: &Job<'_>, linux: &Linux, process: &Process) -> Result<(), Failure> {
    let mut core = linux.core_of(process).map_err(|why| job.lost(why))?;
    let layout = elf_core::lay_out(&core.core).map_err(|error| job.lost(error))?;
    let written = if job.to_stdout {
        let mut out = Pipe(BufWriter::with_capacity(BUFFER, io::stdout().lock()));
        let written = layout::write(&layout, &mut core, &mut out).map_err(|error| failed(job, error))?;
        out.0.flush()?;
        written
    } else {
        let new = NewFile::create("extract", &job.arguments.output, job.arguments.force)?;
        let mut out = Sparse::new(BufWriter::with_capacity(BUFFER, new.file()));
        let written = layout::write(&layout, &mut core, &mut out).map_err(|error| failed(job, error))?;
        out.finish().map_err(|error| file::failure("extract", &job.arguments.output, &error))?;
        new.finish()?;
        written
    };
    tell(job, process, &core, &written)
}

fn failed(job: &Job<'_>, error: WriteError) -> Failure {
    match error {
        WriteError::Output { source, .. } if job.to_stdout => Failure::output(&source),
        WriteError::Output { source, .. } => file::failure("extract", &job.arguments.output, &source),
        other => job.lost(other),
    }
}

fn tell(job: &Job<'_>, process: &Process, core: &ProcessCore<'_>, written: &Written) -> Result<(), Failure> {
    if job.common.json {
        let absent = core.absent.iter().map(|(why, bytes)| json!({ "why": why.to_string(), "bytes": bytes }));
        let line = json!({
            "output": job.arguments.output.to_string_lossy(),
            "what": "process",
            "pid": process.pid,
            "comm": process.comm,
            "threads": core.threads,
            "mappings": core.regions,
            "file_bytes": written.file_size,
            "memory_bytes": core.stored,
            "untouched_bytes": core.zeros,
            "absent": absent.collect::<Vec<_>>(),
            "remarks": written.soft_errors,
        });
        let mut out = io::stdout().lock();
        writeln!(out, "{}", json_line(&line))?;
        out.flush()?;
    }
    if job.common.quiet {
        return Ok(());
    }
    for remark in &written.soft_errors {
        anstream::eprintln!("! {}", clean(remark));
    }
    let plural = if core.threads == 1 { "" } else { "s" };
    anstream::eprintln!(
        "{}: ELF core of {} ({}), {} thread{plural}, {} mappings; {} of memory, {} never touched, {} missing",
        job.output(),
        clean(process.comm.as_deref().unwrap_or("?")),
        process.pid,
        core.threads,
        core.regions,
        bytes(core.stored),
        bytes(core.zeros),
        bytes(core.absent.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes))),
    );
    Ok(())
}
