//! From a path and the flags to a [`Target`].

use crate::args::Common;
use crate::failure::{Failure, USAGE};
use crate::output::progress::{Progress, waiting};
use afterimage_dump::{Budget, Dump, ProgressHook};
use afterimage_target::{Options, Target};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Opens a dump; unpacking a large one shows how far it is.
pub fn dump(path: &Path, common: &Common) -> Result<Dump, Failure> {
    let progress = Arc::new(Progress::new("unpacking", common.quiet));
    let mut budget = Budget::default();
    budget.progress = Some(ProgressHook::new({
        let progress = progress.clone();
        move |done, total| progress.bytes(done, total)
    }));
    afterimage_dump::open(path, &budget).map_err(|error| Failure::open(&error))
}

/// Opens a dump and gets ready to answer questions about it.
pub fn target(path: &Path, common: &Common) -> Result<Target, Failure> {
    if let Some(missing) = common.debug.iter().chain(&common.sysroot).find(|path| !path.exists()) {
        return Err(Failure::new(
            USAGE,
            format!("look for files in {}: there is no such file or folder", missing.display()),
        ));
    }
    let dump = dump(path, common)?;
    Ok(Target::new(dump, options(path, common), Budget::default()))
}

/// Asks debuginfod and symbol servers, if there are any to ask, for what the stacks of all threads lack.
pub fn fetch_debug_info(target: &Target, common: &Common) {
    let (elf, windows) = (!target.options().debuginfod_urls.is_empty(), common.symbols.is_some());
    // A dump is of one system; nobody waits for the other's servers.
    let is_windows = target.dump().os == afterimage_dump::Os::Windows;
    let said = match is_windows {
        true if windows => "asking symbol servers for programs and symbols",
        false if elf => "asking debuginfod for debug information",
        _ => return,
    };
    let spinner = waiting(said, common.quiet);
    let threads: Vec<usize> = (0..target.dump().threads.len()).collect();
    if is_windows {
        target.fetch_symbols(&threads);
    } else {
        target.fetch_debug_info(&threads);
    }
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
}

/// Where to look for files, by the flags and the environment.
pub fn options(path: &Path, common: &Common) -> Options {
    let mut options = Options {
        debug_paths: common.debug.clone(),
        dump_path: Some(path.to_owned()),
        sysroot: common.sysroot.clone(),
        ..Options::default()
    };
    if !common.no_network {
        let urls = std::env::var("DEBUGINFOD_URLS").unwrap_or_default();
        options.debuginfod_urls = urls.split_whitespace().map(str::to_owned).collect();
    }
    if let Some(seconds) = std::env::var("DEBUGINFOD_TIMEOUT").ok().and_then(|text| text.parse().ok()) {
        options.debuginfod_timeout = Duration::from_secs(seconds);
    }
    options.debuginfod_cache = debuginfod_cache();
    options.symbol_path =
        common.symbols.as_deref().map(|path| if common.no_network { offline(path) } else { path.to_owned() });
    options.symbol_cache = cache_folder().map(|folder| folder.join("afterimage/symbols"));
    options
}

/// A symbol path without its servers: their folders stay.
fn offline(path: &str) -> String {
    let url = |part: &&str| {
        let part = part.trim().to_ascii_lowercase();
        part.starts_with("http://") || part.starts_with("https://")
    };
    let elements =
        path.split(';').map(|element| element.split('*').filter(|part| !url(part)).collect::<Vec<_>>().join("*"));
    elements.collect::<Vec<_>>().join(";")
}

fn cache_folder() -> Option<PathBuf> {
    match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")),
    }
}

/// The folder that elfutils' client uses too: what it fetched serves us, and the other way round.
fn debuginfod_cache() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("DEBUGINFOD_CACHE_PATH") {
        return Some(folder.into());
    }
    Some(cache_folder()?.join("debuginfod_client"))
}
