//! `run`: a program under watch. Healthy, it is not disturbed; dying of a signal, it is captured and explained.
//!
//! *Trap*: standard output belongs to the program. All that we say goes to standard error, and only after a death.

use crate::args::{Common, Run};
use crate::failure::{Failure, OUTPUT};
use crate::output::clean;
use crate::output::style::{DIM, HEADING, paint, prefix};
use crate::report::text::write;
use crate::{open, report};
use afterimage_capture::{CaptureError, Captured, Death, NotTaken, RunOptions};
use std::io::Write;
use std::path::Path;

pub fn run(arguments: &Run, common: &Common) -> Result<u8, Failure> {
    let options = RunOptions {
        command: arguments.command.clone(),
        output_dir: arguments.output.clone(),
        dump_type: arguments.dump_type.into(),
    };
    writable("run", &arguments.output)?;
    let ended = afterimage_capture::run(&options, &mut |death| tell(death, common));
    match ended {
        Ok(ended) => Ok(ended.status() as u8),
        Err(error) => Err(Failure::new(error.status() as u8, format!("run: {error}"))),
    }
}

/// Finds out before the program starts, not when it has died, that no dump could be written there.
pub(super) fn writable(verb: &str, folder: &Path) -> Result<(), Failure> {
    // What does not exist yet is made when it is needed: then its nearest parent counts.
    let existing =
        folder.ancestors().find(|path| path.exists() || path.as_os_str().is_empty()).unwrap_or(Path::new("/"));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let refused = |why: String| {
        Failure::new(OUTPUT, format!("{verb}: cannot write dumps into {}: {why}", folder.display()))
            .advise("name another folder with -o")
    };
    if !existing.is_dir() {
        return Err(refused("it is no folder".to_owned()));
    }
    rustix::fs::access(existing, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| refused(error.to_string()))
}

/// Tells about a death: the whole explanation if there is a dump, else one line.
fn tell(death: &Death, common: &Common) {
    let mut err = crate::output::stderr();
    let told = match &death.dump {
        Ok(captured) => explain(captured, common, &mut *err),
        Err(error) => {
            // The reader of a pipe went away, or somebody pressed Ctrl-C: whoever did it knows.
            let known = matches!(
                error,
                CaptureError::NotTaken(NotTaken::BrokenPipe | NotTaken::Terminal(_) | NotTaken::OwnInterrupt)
            );
            let signal = afterimage_target::signal_name(death.signal);
            let who = format!("{} (process {}) died of {signal}", clean(&death.comm), death.pid);
            let silent = known || common.quiet && matches!(error, CaptureError::NotTaken(_));
            if silent { Ok(()) } else { writeln!(err, "{}{who}; {error}", prefix()).map_err(Failure::from) }
        }
    };
    // Standard error may be closed; the program's own exit status is still what counts.
    if let Err(failure) = told {
        let _ = writeln!(err, "{}{failure}", prefix());
    }
    let _ = err.flush();
}

fn explain(captured: &Captured, common: &Common, err: &mut dyn Write) -> Result<(), Failure> {
    let target = open::target(&captured.path, common)?;
    open::fetch_debug_info(&target, common);
    if common.json {
        report::json::write(&target, false, err)?;
    } else {
        writeln!(err)?;
        write(&target, false, common, err)?;
        let path = clean(&captured.path.display().to_string());
        writeln!(err, "\n{} {path}", paint(HEADING, "Dump:"))?;
        let held =
            format!("taken in {} ms; `afterimage explain {path}` shows this again", captured.took.as_millis().max(1));
        writeln!(err, "  {}", paint(DIM, &held))?;
    }
    Ok(())
}
