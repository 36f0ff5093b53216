//! The smallest user of `run`: `supervise [--type small|complete] DIR COMMAND ARGS…` tells each death in one line on
//! standard error and ends as the command did.

use afterimage_capture::{DumpType, RunOptions, run};
use std::io::Write;

fn main() {
    let mut arguments: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let mut dump_type = DumpType::Active;
    if arguments.first().is_some_and(|argument| argument == "--type") {
        let name = arguments.drain(..2).nth(1);
        dump_type = match name.as_deref().and_then(std::ffi::OsStr::to_str) {
            Some("small") => DumpType::Small,
            Some("complete") => DumpType::Complete,
            _ => DumpType::Active,
        };
    }
    let command = arguments.split_off(arguments.len().min(1));
    let output_dir = arguments.pop().unwrap_or_default().into();
    let ended = run(&RunOptions { command, output_dir, dump_type }, &mut |death| {
        let sender = death.info.and_then(|info| info.pid).map_or(String::new(), |pid| format!(" sender={pid}"));
        let kind = if death.main { "main" } else { "child" };
        let outcome = match &death.dump {
            Ok(dump) => format!(
                "dump={} threads={} took={:?} peak={} soft={:?}",
                dump.path.display(),
                dump.threads,
                dump.took,
                peak_kib(),
                dump.soft_errors
            ),
            Err(error) => format!("error={error}"),
        };
        // The program shares our standard error: `eprintln!` writes piece by piece, and its words would come in between.
        let line = format!(
            "death: {kind} pid={} tid={} comm={} signal={}{sender} {outcome}\n",
            death.pid, death.tid, death.comm, death.signal
        );
        let _ = std::io::stderr().write_all(line.as_bytes());
    });
    std::process::exit(match ended {
        Ok(ended) => ended.status(),
        Err(error) => {
            eprintln!("error: {error}");
            error.status()
        }
    });
}

/// Most memory that this process has had, in KiB.
fn peak_kib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or_default().trim().trim_end_matches(" kB").to_owned()
}
