//! Where to look for the files that belong to a dump.

use std::path::PathBuf;
use std::time::Duration;

/// Where to look for programs, libraries and debug information, and whether to ask the network.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files and folders that the user named: programs, libraries, `.debug`, `.dwp`, `.sym` files, symbol stores.
    pub debug_paths: Vec<PathBuf>,
    /// The dump's own path, if it has one: files beside it are looked at too (and used only if they agree).
    pub dump_path: Option<PathBuf>,
    /// Root under which the dumped system's paths are looked up first (a container's or another machine's file system).
    pub sysroot: Option<PathBuf>,
    /// Folders with separate debug files (`.build-id/xx/rest.debug`, and the paths of `.gnu_debuglink`).
    pub debug_dirs: Vec<PathBuf>,
    /// debuginfod servers, in the order in which they are preferred; none: the network is not used.
    pub debuginfod_urls: Vec<String>,
    /// The most that all questions to debuginfod together may delay an answer.
    pub debuginfod_timeout: Duration,
    /// Folder where files from debuginfod, and failures, are kept; `None`: nothing is kept. It has the layout of
    /// elfutils' client, so both share what either has fetched. Files in it are used even if no server is named.
    pub debuginfod_cache: Option<PathBuf>,
    /// Where symbols of Windows' programs are: `srv*CACHE*URL`, folders, several with `;` between them. Its servers are
    /// asked by [`crate::Target::fetch_symbols`] only; its folders whenever a file is looked for.
    pub symbol_path: Option<String>,
    /// Where files of symbol servers are kept for which the path names no folder; `None`: they are not kept.
    pub symbol_cache: Option<PathBuf>,
    /// The most that all questions to symbol servers together may delay an answer.
    pub symbol_timeout: Duration,
    /// Whether files at the paths that the dump names may be used (off: only what the user named, and what lies beside
    /// the dump or in `debug_dirs`).
    pub use_system_files: bool,
}

impl Default for Options {
    /// The system's files and `/usr/lib/debug`, no network.
    fn default() -> Self {
        Self {
            debug_paths: Vec::new(),
            dump_path: None,
            sysroot: None,
            debug_dirs: vec![PathBuf::from("/usr/lib/debug")],
            debuginfod_urls: Vec::new(),
            debuginfod_timeout: Duration::from_secs(2),
            debuginfod_cache: None,
            symbol_path: None,
            symbol_cache: None,
            symbol_timeout: Duration::from_secs(120),
            use_system_files: true,
        }
    }
}
