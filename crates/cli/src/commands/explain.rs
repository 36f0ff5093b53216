//! `explain`: what happened, where, and why.

use crate::args::Common;
use crate::failure::{Failure, USAGE};
use crate::{open, output, report};
use std::io::Write;
use std::path::Path;

pub fn explain(path: &Path, locals: bool, common: &Common) -> Result<u8, Failure> {
    if common.csv {
        return Err(Failure::new(USAGE, "explain: a report is more than one table")
            .advise("--json gives all its rows, `show DUMP TABLE --csv` one table"));
    }
    let target = open::target(path, common)?;
    open::fetch_debug_info(&target, common);
    if !common.debug.is_empty() && target.dump().machine.is_some() {
        // A vmlinux of another build is remarked on even where no stack asks for lines.
        let _ = target.kernel_lines();
    }
    let mut out = output::stdout();
    if common.json {
        report::json::write(&target, locals, &mut *out)?;
    } else {
        report::text::write(&target, locals, common, &mut *out)?;
    }
    out.flush()?;
    // The process ends here, and the kernel frees faster: no list is walked, no file unmapped by hand.
    std::mem::forget(target);
    Ok(0)
}
