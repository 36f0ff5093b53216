//! `run`: a program under watch. Healthy, it is not disturbed; dying of a signal, it is captured and explained.
//!
//! *Trap*: standard output belongs to the program. All that we say goes to standard error, and only after a death.

use crate::args::{Common, Run, Type};
use crate::failure::Failure;
use crate::output::clean;
use crate::output::style::{DIM, paint, prefix};
use crate::report::text::{bytes, write};
use crate::{open, report};
use afterimage_capture::{CaptureError, Captured, Death, DumpType, RunOptions};
use std::io::Write;

pub fn run(arguments: &Run, common: &Common) -> Result<u8, Failure> {
    let options = RunOptions {
        command: arguments.command.clone(),
        output_dir: arguments.output.clone(),
        dump_type: match arguments.dump_type {
            Type::Complete => DumpType::Complete,
            Type::Active => DumpType::Active,
            Type::Small => DumpType::Small,
        },
    };
    let ended = afterimage_capture::run(&options, &mut |death| tell(death, common));
    match ended {
        Ok(ended) => Ok(ended.status() as u8),
        Err(error) => Err(Failure::new(error.status() as u8, format!("run: {error}"))),
    }
}

/// Tells about a death: the whole explanation if there is a dump, else one line.
fn tell(death: &Death, common: &Common) {
    let mut err = crate::output::stderr();
    let told = match &death.dump {
        Ok(captured) => explain(captured, common, &mut *err),
        Err(error) => {
            let who = format!("{} (process {}) died of signal {}", clean(&death.comm), death.pid, death.signal);
            let quiet = matches!(error, CaptureError::NotTaken(_)) && common.quiet;
            if quiet { Ok(()) } else { writeln!(err, "{}{who}; {error}", prefix()).map_err(Failure::from) }
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
        report::json::write(&target, err)?;
    } else {
        writeln!(err)?;
        write(&target, common, err)?;
        let took = format!(
            "{} and {} of memory in {} ms",
            if captured.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", captured.threads) },
            bytes(captured.stored),
            captured.took.as_millis()
        );
        writeln!(
            err,
            "\n{}{} {}",
            prefix(),
            clean(&captured.path.display().to_string()),
            paint(DIM, &format!("({took})"))
        )?;
    }
    Ok(())
}
