//! The modules of a process: its program, libraries and the vDSO, each with its identity and, on demand, its symbols.

use crate::files::FileMatch;
use crate::options::Options;
use crate::target::{Location, Target};
use afterimage_dump::{Budget, CodeAddr, Dump, Issue, ModuleOffset, Virt};

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
    /// Build-id or other identity, as bytes.
    pub build_id: Option<Vec<u8>>,
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

    /// How its file was found; looks for it at the first call.
    pub fn file(&self) -> FileMatch {
        FileMatch::NotLooked
    }
}

/// Lists the modules of a dump by base address.
pub(crate) fn list(_dump: &Dump, _options: &Options, _budget: &Budget, _issues: &mut Vec<Issue>) -> Vec<Module> {
    Vec::new()
}

/// The functions at a code address inside `module`.
pub(crate) fn locate(_target: &Target, _module: &Module, _address: CodeAddr) -> Vec<Location> {
    Vec::new()
}
