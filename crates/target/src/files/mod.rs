//! Finding the files that belong to a dump, and checking that they do.
//!
//! *What it is not*: it asks no network ([`crate::debuginfod`] does), and it reads no symbols.
//!
//! *Trap*: everything here happens in the middle of a question, when a module's file is first needed. Nothing may look
//! at a path before that: a dump of a thousand libraries of which two are on a stack costs two look-ups.

pub(crate) mod breakpad;
pub(crate) mod debug;
pub(crate) mod image;
pub(crate) mod macho;
pub(crate) mod map;
pub(crate) mod own;
pub(crate) mod pe;
pub(crate) mod search;
pub(crate) mod verify;

use crate::debuginfod::Downloads;
use crate::options::Options;
use afterimage_dump::{Budget, Dump, Issue};
use afterimage_symbols::{Blob, ElfObject};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How a module's file was found, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FileMatch {
    /// Nobody has looked yet.
    #[default]
    NotLooked,
    /// The file's build-id is the dump's.
    BuildId(PathBuf),
    /// The dump holds no build-id to compare; the file's headers agree with what is mapped.
    Name(PathBuf),
    /// The file at the path is another build: it is not used.
    Mismatch {
        /// The file that was not used.
        path: PathBuf,
        /// Why: both build-ids, or the headers that differ.
        why: String,
    },
    /// The whole module lies in the dump itself (the vDSO).
    InDump,
    /// No file was found.
    NotFound,
}

impl FileMatch {
    /// The file that is used.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::BuildId(path) | Self::Name(path) => Some(path),
            _ => None,
        }
    }
}

/// A mapped ELF file with its headers parsed.
pub(crate) struct ElfFile {
    pub(crate) path: PathBuf,
    pub(crate) blob: Blob,
    pub(crate) object: ElfObject,
    /// Whether the loader changes its code; worked out when code is first read from it.
    pub(crate) text_relocations: OnceLock<bool>,
    /// Its symbols, where several processes have it.
    pub(crate) shared: OnceLock<Option<crate::modules::Assembled>>,
}

impl ElfFile {
    /// Parses the headers of bytes that came from `path`.
    pub(crate) fn new(path: PathBuf, blob: Blob) -> Option<Self> {
        let object = ElfObject::parse(blob.clone()).ok()?;
        Some(Self { path, blob, object, text_relocations: OnceLock::new(), shared: OnceLock::new() })
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        map::bytes(&self.blob)
    }

    /// A second object on the same bytes, for symbols to own.
    pub(crate) fn reopen(&self) -> Option<ElfObject> {
        ElfObject::parse(self.blob.clone()).ok()
    }
}

/// What all modules of a target share while they look for their files.
pub(crate) struct Finder {
    pub(crate) dump: Arc<Dump>,
    pub(crate) options: Options,
    pub(crate) budget: Budget,
    pub(crate) downloads: Downloads,
    /// Files out of the dumped system's own memory. A system whose memory this is need not be ours.
    pub(crate) own: Option<own::Own>,
    issues: Mutex<Vec<Issue>>,
    /// Files by path, so that a file that several modules ask for is mapped once. `None`: no ELF file is there.
    opened: Mutex<HashMap<PathBuf, Option<Arc<ElfFile>>>>,
    named: OnceLock<search::Named>,
    mach: OnceLock<macho::MachFiles>,
    /// PE images and PDBs by path.
    pub(crate) windows: pe::Opened,
    /// What [`Options::symbol_path`] says.
    pub(crate) symbol_path: crate::symsrv::SymbolPath,
    pub(crate) symbol_servers: crate::symsrv::Servers,
}

/// Most remarks that are kept: a hostile dump could make one for each of a million modules.
const MAX_ISSUES: usize = 1024;

impl Finder {
    pub(crate) fn new(dump: Arc<Dump>, options: Options, budget: Budget) -> Self {
        Self::with_own(dump, options, budget, None)
    }

    /// With files out of the dumped system's own memory.
    pub(crate) fn with_own(dump: Arc<Dump>, options: Options, budget: Budget, own: Option<own::Own>) -> Self {
        let symbol_path = crate::symsrv::SymbolPath::parse(&options);
        Self {
            dump,
            options,
            budget,
            windows: pe::Opened::default(),
            symbol_path,
            symbol_servers: crate::symsrv::Servers::default(),
            downloads: Downloads::default(),
            own,
            issues: Mutex::default(),
            opened: Mutex::default(),
            named: OnceLock::new(),
            mach: OnceLock::new(),
        }
    }

    /// Adds a remark, once.
    pub(crate) fn remark(&self, issue: Issue) {
        let mut issues = self.issues.lock().unwrap_or_else(PoisonError::into_inner);
        if issues.len() < MAX_ISSUES && !issues.contains(&issue) {
            issues.push(issue);
        }
    }

    /// All remarks so far.
    pub(crate) fn issues(&self) -> Vec<Issue> {
        self.issues.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ELF file at a path.
    pub(crate) fn elf(&self, path: &Path) -> Option<Arc<ElfFile>> {
        if let Some(own) = &self.own {
            return own.machine.elf(path);
        }
        if let Some(known) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return known.clone();
        }
        let file = map::open(path).and_then(|blob| ElfFile::new(path.to_owned(), blob)).map(Arc::new);
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), file.clone());
        file
    }

    /// Forgets that there was no file at a path: it has just been downloaded.
    pub(crate) fn forget(&self, path: &Path) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// Mach-O files that the user named, looked at once.
    pub(crate) fn mach(&self) -> &macho::MachFiles {
        self.mach.get_or_init(|| macho::MachFiles::new(self))
    }

    /// What the user named, looked at once.
    pub(crate) fn named(&self) -> &search::Named {
        match &self.own {
            Some(own) => own.machine.named(),
            None => self.named.get_or_init(|| search::Named::new(self)),
        }
    }
}
