//! From a path and the flags to a [`Target`].

use crate::args::Common;
use crate::failure::Failure;
use afterimage_dump::{Budget, Dump};
use afterimage_target::{Options, Target};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Opens a dump.
pub fn dump(path: &Path, common: &Common) -> Result<Dump, Failure> {
    let _ = common;
    afterimage_dump::open(path, &Budget::default()).map_err(|error| Failure::open(&error))
}

/// Opens a dump and gets ready to answer questions about it.
pub fn target(path: &Path, common: &Common) -> Result<Target, Failure> {
    let dump = dump(path, common)?;
    Ok(Target::new(dump, options(path, common), Budget::default()))
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
    options
}

/// The folder that elfutils' client uses too: what it fetched serves us, and the other way round.
fn debuginfod_cache() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("DEBUGINFOD_CACHE_PATH") {
        return Some(folder.into());
    }
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    Some(base.join("debuginfod_client"))
}
