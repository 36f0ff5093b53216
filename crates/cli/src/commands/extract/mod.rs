//! `extract`: a process, a program or a file out of a machine's image.
//!
//! *Trap*: with `-o -` standard output is the file's, so nothing else may go there.

mod files;
mod kernel;
mod process;

use crate::args::{Common, Extract};
use crate::failure::{Failure, INPUT, USAGE};
use crate::open;
use crate::output::file;
use afterimage_target::linux::{Linux, Process};
use std::io::{self, IsTerminal};
use std::path::Path;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

pub fn extract(arguments: &Extract, common: &Common) -> Result<u8, Failure> {
    let to_stdout = arguments.output == Path::new("-");
    refuse(arguments, common, to_stdout)?;
    afterimage_capture::survive_file_size_limit();
    let target = open::target(&arguments.dump, common)?;
    let job = Job { arguments, common, to_stdout };
    if target.dump().machine.is_none() {
        return Err(job.wrong("the dump is of a process").advise("convert writes it in another form"));
    }
    let linux = target.linux().map_err(|why| job.lost(why))?;
    if let Some(done) = kernel::extract(linux, arguments, common) {
        return done;
    }
    match (arguments.process, arguments.executable, &arguments.file) {
        (Some(pid), _, _) => process::extract(&job, linux, &job.process(linux, pid)?)?,
        (_, Some(pid), _) => files::executable(&job, linux, &job.process(linux, pid)?)?,
        (_, _, Some(file)) => files::file(&job, linux, file)?,
        _ => return Err(Failure::new(USAGE, "extract: say what to extract")),
    }
    Ok(0)
}

/// What was asked for.
struct Job<'a> {
    arguments: &'a Extract,
    common: &'a Common,
    to_stdout: bool,
}

impl Job<'_> {
    /// The dump has not what was asked for.
    fn lost(&self, why: impl std::fmt::Display) -> Failure {
        Failure::new(INPUT, format!("extract {}: {why}", self.arguments.dump.display()))
    }

    /// What was asked for makes no sense with this dump.
    fn wrong(&self, why: impl std::fmt::Display) -> Failure {
        Failure::new(USAGE, format!("extract {}: {why}", self.arguments.dump.display()))
    }

    /// The process with this number.
    fn process(&self, linux: &Linux, pid: u32) -> Result<Process, Failure> {
        let (processes, remarks) = linux.processes().map_err(|why| self.lost(why))?;
        let found = processes.into_iter().find(|process| process.pid == pid);
        found.ok_or_else(|| {
            let more = remarks.first().map(|remark| format!("; {remark}")).unwrap_or_default();
            self.lost(format_args!("the machine has no process {pid}{more}"))
                .advise("show processes lists all; of a thread name the process")
        })
    }

    /// Where the output goes, for people.
    fn output(&self) -> String {
        match self.to_stdout {
            true => "standard output".to_owned(),
            false => crate::output::clean(&self.arguments.output.display().to_string()),
        }
    }
}

/// Finds wrong use before a large dump is opened.
fn refuse(arguments: &Extract, common: &Common, to_stdout: bool) -> Result<(), Failure> {
    let wrong = |what: &str| Failure::new(USAGE, format!("extract: {what}"));
    if common.csv {
        return Err(wrong("there is no table to show as CSV").advise("--json gives one object"));
    }
    if to_stdout && common.json {
        return Err(wrong("standard output cannot have both the file and JSON").advise("name a file with -o"));
    }
    if to_stdout && io::stdout().is_terminal() {
        return Err(wrong("what comes out is not for a terminal").advise("name a file with -o, or redirect the output"));
    }
    if !to_stdout && file::is_same(&arguments.dump, &arguments.output) {
        return Err(wrong(&format!("{} is the dump that is to be read", arguments.output.display()))
            .advise("name another file with -o"));
    }
    kernel::refuse(arguments)
}
