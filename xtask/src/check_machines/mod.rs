//! Whole machines against what each said of itself: every table of a dump, row for row and cell for cell, both ways.
//!
//! *What it is not*: the tests of the crates ask the library and look at single cases; this task asks the program, as
//! people do, and wants all of it. What differs needs a rule that is printed and counted, or the task fails.
//!
//! *Example*: `cargo xtask check-vmcores k6.1-live`. *Trap*: a guest is read about a second before it is stopped, so what
//! runs may have moved on; what waits has not.
//!
//! To add a topic: a file with one function, and one line in [`TOPICS`].

mod asker;
mod blocked;
mod bpf;
mod console;
mod cores;
mod environment;
mod history;
mod interfaces;
mod interrupts;
mod kernel;
mod keyrings;
mod lab;
mod log;
mod mappings;
mod memory;
mod modules;
mod mounts;
mod neighbours;
mod open_files;
mod page_cache;
mod panic;
mod processes;
mod report;
mod routes;
mod sections;
mod slabs;
mod sockets;
mod stacks;
mod symbols;
mod threads;
mod time;
mod timers;
mod tree;
mod trouble;
mod truth;

pub use lab::lab;

use crate::tools;
use anyhow::{Context, bail, ensure};
use asker::Asker;
use report::Report;
use std::path::{Path, PathBuf};
use std::process::Command;
use truth::Truth;

/// Compares one thing that a machine tells with what its guest said.
type Topic = fn(&Asker, &Truth, &mut Report) -> anyhow::Result<()>;

/// Everything that is compared, in the order in which it is printed.
const TOPICS: &[(&str, Topic)] = &[
    ("kernel", kernel::kernel),
    ("symbols", symbols::symbols),
    ("processes", processes::processes),
    ("threads", threads::threads),
    ("modules", modules::modules),
    ("sockets", sockets::sockets),
    ("mounts", mounts::mounts),
    ("open files", open_files::open_files),
    ("mappings", mappings::mappings),
    ("environment", environment::environment),
    ("log", log::log),
    ("stacks", stacks::stacks),
    ("panic", panic::panic),
    ("process tree", tree::tree),
    ("blocked tasks", blocked::blocked),
    ("module sections", sections::sections),
    ("interfaces", interfaces::interfaces),
    ("routes", routes::routes),
    ("neighbours", neighbours::neighbours),
    ("memory usage", memory::usage),
    ("memory zones", memory::zones),
    ("slab caches", slabs::slabs),
    ("interrupts", interrupts::interrupts),
    ("timers", timers::timers),
    ("keyrings", keyrings::keyrings),
    ("bpf programs", bpf::programs),
    ("bpf maps", bpf::maps),
    ("shell history", history::history),
    ("page cache", page_cache::files),
    ("cores", cores::cores),
];

/// `check-vmcores`: the stored machines, or those of the folder in `AFTERIMAGE_MACHINES`.
pub fn check_vmcores(arguments: &[String]) -> anyhow::Result<()> {
    if let Some(folder) = std::env::var_os("AFTERIMAGE_MACHINES") {
        return check_folder(Path::new(&folder), arguments);
    }
    let folder = tools::shared().context("../shared with real machines is needed")?.join("vmcores");
    for tool in ["zstd", "tar", "gzip"] {
        ensure!(tools::has(tool), "{tool} is needed: apt-get install {tool}");
    }
    let (program, arguments) = program(arguments)?;
    let place = tempfile::Builder::new().prefix("afterimage-vmcores").tempdir()?;
    let mut failed = Vec::new();
    let mut dumps = 0;
    for packed in packed(&folder)? {
        let machine = packed.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let file = packed.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let shown = format!("{machine}/{file}");
        if !arguments.is_empty() && !arguments.iter().any(|wanted| shown.starts_with(wanted)) {
            continue;
        }
        let plain = place.path().join(&file);
        tools::run_with(Command::new("zstd").args(["-dqf"]).arg(&packed).arg("-o").arg(&plain))?;
        let truth = Truth::open(&folder.join(&machine).join("TRUTH"), Some((folder.join("PEERS"), machine)))?;
        failed.extend(check(&program, &plain, &truth, &shown)?);
        std::fs::remove_file(&plain)?;
        dumps += 1;
    }
    ensure!(dumps > 0, "no dump in {} is called {}", folder.display(), arguments.join(" or "));
    finish(dumps, &failed)
}

/// Machines that lie unpacked in a folder, each a folder with `TRUTH` and files `dump.…`.
fn check_folder(folder: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = program(arguments)?;
    let (mut failed, mut dumps) = (Vec::new(), 0);
    let files = |folder: &Path| -> anyhow::Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
        files.sort();
        Ok(files)
    };
    for machine in files(folder)?.iter().filter(|machine| machine.join("TRUTH/truth.json").is_file()) {
        let truth = Truth::open(&machine.join("TRUTH"), None)?;
        for dump in files(machine)?.iter().filter(|dump| dump.file_stem().is_some_and(|name| name == "dump")) {
            let shown = dump.strip_prefix(folder)?.display().to_string();
            if arguments.is_empty() || arguments.iter().any(|wanted| shown.starts_with(wanted)) {
                failed.extend(check(&program, dump, &truth, &shown)?);
                dumps += 1;
            }
        }
    }
    ensure!(dumps > 0, "no machine in {}", folder.display());
    finish(dumps, &failed)
}

/// The program to check, this tree's in release or what `--program FILE` names; and the other arguments.
pub fn program(arguments: &[String]) -> anyhow::Result<(PathBuf, Vec<String>)> {
    let mut rest = arguments.to_vec();
    match rest.iter().position(|argument| argument == "--program") {
        None => Ok((tools::program(true)?, rest)),
        Some(at) => {
            rest.remove(at);
            ensure!(at < rest.len(), "--program wants a file");
            Ok((PathBuf::from(rest.remove(at)).canonicalize()?, rest))
        }
    }
}

/// The dumps that are stored, packed.
fn packed(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for machine in std::fs::read_dir(folder)? {
        let machine = machine?.path();
        if machine.join("TRUTH/truth.json").exists() {
            let files = std::fs::read_dir(&machine)?.filter_map(|entry| Some(entry.ok()?.path()));
            found.extend(files.filter(|path| path.extension().is_some_and(|end| end == "zst")));
        }
    }
    found.sort();
    Ok(found)
}

/// All topics on one dump; gives those that fail.
pub fn check(program: &Path, dump: &Path, truth: &Truth, shown: &str) -> anyhow::Result<Vec<String>> {
    let machine = Asker::new(program, dump)?;
    println!("{shown}{}", if machine.filtered { " (filtered: pages may be missing)" } else { "" });
    report::head();
    let mut failed = Vec::new();
    for (name, topic) in TOPICS {
        let mut report = Report::default();
        if let Err(error) = topic(&machine, truth, &mut report) {
            report.wrong(format!("{error:#}"));
        }
        report.print(name);
        if !report.holds() {
            failed.push(format!("{shown}: {name}"));
        }
    }
    Ok(failed)
}

/// The last line, and the task's end.
pub fn finish(dumps: usize, failed: &[String]) -> anyhow::Result<()> {
    if !failed.is_empty() {
        bail!("of {dumps} dumps, {} topics differ: {}", failed.len(), failed.join(", "));
    }
    println!(
        "{dumps} dumps, each in all topics ({} of a healthy one): what their guests said, and nothing invented",
        TOPICS.len()
    );
    Ok(())
}
