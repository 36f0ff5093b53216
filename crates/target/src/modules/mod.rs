//! The modules of a process: its program, libraries and the vDSO, each with its identity and, on demand, its symbols.
//!
//! *Trap*: [`Module::bias`] is what the dump says when it is opened. Symbols may count from somewhere else (a Breakpad
//! file counts from the module's base), so whoever asks [`Module::symbols`] subtracts [`Module::symbol_bias`].

pub(crate) mod apple;
pub(crate) mod headers;
mod linkmap;
mod links;
mod list;
pub(crate) mod pe;
mod records;
mod symbols;

pub(crate) use list::list;
pub(crate) use symbols::{Assembled, locate};

use crate::files::breakpad::Identity;
use crate::files::own::OwnFile;
use crate::files::search::{self, Hit, Wanted};
use crate::files::verify::Expected;
use crate::files::{ElfFile, FileMatch, Finder, image};
use afterimage_dump::{ModuleOffset, Virt};
use afterimage_symbols::ModuleSymbols;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use symbols::Loaded;

/// What a module is to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// The program itself.
    Program,
    /// A shared library.
    Library,
    /// The dynamic loader.
    Loader,
    /// Code that the kernel lends to every process.
    Vdso,
}

/// A module as it lay in memory.
pub struct Module {
    /// Lowest address.
    pub base: Virt,
    /// First address behind its last mapping.
    pub end: Virt,
    /// Run-time address minus the module's own address.
    pub bias: u64,
    /// Path as the dumped system knew it.
    pub path: String,
    /// What it is.
    pub kind: ModuleKind,
    /// Build-id or other identity, as bytes, as the dump has it; see [`Module::identity`].
    pub build_id: Option<Vec<u8>>,
    /// Whether the file had been deleted, or replaced, when the dump was made.
    pub deleted: bool,
    /// Version as text, where the dump has it.
    pub version: Option<String>,
    /// Link time (PE) in seconds since 1970, where the dump has it.
    pub timestamp: Option<u32>,
    pub(crate) is_elf: bool,
    pub(crate) expected: Expected,
    pub(crate) breakpad: Option<Identity>,
    pub(crate) finder: Arc<Finder>,
    pub(crate) found: OnceLock<Hit>,
    pub(crate) loaded: OnceLock<Loaded>,
    /// What debuginfod gave; stands before `found` and `loaded` as soon as it is there.
    pub(crate) fetched: OnceLock<Arc<ElfFile>>,
    pub(crate) reloaded: OnceLock<Loaded>,
    /// Its PE file or image, and what a symbol server gave.
    pub(crate) pe: pe::Slot,
}

impl Module {
    /// The last part of the path, for either kind of slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit(['/', '\\']).next().unwrap_or(&self.path)
    }

    /// The module's own address of a run-time address.
    #[must_use]
    pub fn own_address(&self, at: Virt) -> ModuleOffset {
        ModuleOffset(at.0.wrapping_sub(self.bias))
    }

    /// Whether the address lies in the module.
    #[must_use]
    pub fn contains(&self, at: Virt) -> bool {
        (self.base..self.end).contains(&at)
    }

    /// How its file was found; looks for it at the first call.
    pub fn file(&self) -> FileMatch {
        match self.fetched.get() {
            Some(file) => FileMatch::BuildId(file.path.clone()),
            None if self.is_pe() => self.pe_match(),
            None => self.found().matched.clone(),
        }
    }

    /// The build-id that the dump holds or, only if it holds none, the one of the file that matched otherwise. Looks
    /// for the file in the second case.
    pub fn identity(&self) -> Option<Vec<u8>> {
        let of_file = || self.elf_file()?.object.build_id().map(<[u8]>::to_vec);
        self.build_id.clone().or_else(of_file)
    }

    /// Everything known about its code; reads the file's headers at the first call, and its tables as they are needed.
    pub fn symbols(&self) -> &ModuleSymbols {
        &self.loaded().symbols
    }

    /// Run-time address minus the address that [`Module::symbols`] knows.
    pub fn symbol_bias(&self) -> u64 {
        self.loaded().bias
    }

    /// The address that [`Module::symbols`] knows for a run-time address.
    pub fn symbol_address(&self, at: Virt) -> u64 {
        at.0.wrapping_sub(self.symbol_bias())
    }

    /// The file that debug information was read from, if that is another one than [`Module::file`].
    pub fn debug_file(&self) -> Option<PathBuf> {
        self.loaded().debug.clone()
    }

    /// Whether source lines can be had.
    pub fn has_debug_info(&self) -> bool {
        self.loaded().has_debug_info
    }

    /// Where its file is, looked for once.
    pub(crate) fn found(&self) -> &Hit {
        self.found.get_or_init(|| self.find())
    }

    fn find(&self) -> Hit {
        if self.kind == ModuleKind::Vdso {
            return Hit { matched: FileMatch::InDump, file: None, bias: None };
        }
        if apple::is_apple(&self.finder.dump) {
            let path = self.build_id.as_deref().and_then(|uuid| self.finder.mach().path(uuid));
            let matched = path.map_or(FileMatch::NotFound, |path| FileMatch::BuildId(path.to_owned()));
            return Hit { matched, file: None, bias: None };
        }
        if !self.is_elf || self.path.is_empty() {
            return Hit { matched: FileMatch::NotFound, file: None, bias: None };
        }
        // Its own file is the best one, if all of it is there; else one that agrees and is whole is better.
        let own = self.finder.own.as_ref().and_then(|own| own.files.at(self.base));
        let of_own = |file| Hit { matched: FileMatch::InDump, file: Some(file), bias: None };
        let own = match own {
            Some(OwnFile { file, whole: true }) => return of_own(file),
            own => own,
        };
        let program = self.kind == ModuleKind::Program;
        let mut hit = search::find(&self.finder, &Wanted { path: &self.path, program, expected: &self.expected });
        if hit.file.is_none()
            && let Some(own) = own
        {
            return of_own(own.file);
        }
        if hit.matched == FileMatch::NotFound && image::holds_code(&self.finder, self.base.0, self.bias) {
            hit.matched = FileMatch::InDump;
        }
        hit
    }

    /// Whether its file is out of the dumped system's own memory, and may have holes.
    pub(crate) fn is_own_file(&self) -> bool {
        self.fetched.get().is_none() && self.found().matched == FileMatch::InDump
    }

    /// Its file, if one agreed.
    pub(crate) fn elf_file(&self) -> Option<&Arc<ElfFile>> {
        self.fetched.get().or_else(|| self.found().file.as_ref())
    }

    /// Puts its symbols together once more: debuginfod gave something.
    pub(crate) fn reload(&self) {
        let _ = self.reloaded.set(Loaded::of(self));
    }

    pub(crate) fn loaded(&self) -> &Loaded {
        self.reloaded.get().unwrap_or_else(|| self.loaded.get_or_init(|| Loaded::of(self)))
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:#x}..{:#x} {}", self.kind, self.base, self.end, self.path)
    }
}
