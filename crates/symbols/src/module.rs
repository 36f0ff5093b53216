//! Being written.
use crate::{Blob, CfiMiss, ElfObject, Error, Files, Machine, Step};
use std::sync::Arc;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FunctionKind {
    /// A function.
    Function,
    /// A label without type or size (assembly).
    Label,
    /// A stub of the procedure linkage table; its name ends in `@plt`.
    Plt,
}

/// The symbol that covers an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Demangled, without a hash; C++ with parameters.
    pub name: String,
    /// As the linker knows it, without symbol version.
    pub raw: String,
    /// Where it begins (the module's own address).
    pub start: u64,
    /// How long it is, if that is known.
    pub size: Option<u64>,
    /// The address lies inside its size; false: it is only the last label before the address.
    pub exact: bool,
    /// What the name stands for.
    pub kind: FunctionKind,
    /// Which table it came from, as in [`ModuleSymbols::sources`].
    pub source: &'static str,
}

impl Function {
    /// The name without parameters and template arguments, for comparing.
    pub fn short_name(&self) -> String {
        crate::short_name(&self.name)
    }
}

/// One source position at an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceFrame {
    /// Demangled name of the function, if its unit says it.
    pub function: Option<String>,
    /// Path of the source file, absolute if it can be made so.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// The function was inlined into the next frame of the list.
    pub inlined: bool,
}

/// Everything known about the code of one module.
pub struct ModuleSymbols;

impl ModuleSymbols {
    /// From a loaded file and its debug file.
    pub fn from_elf(_main: Option<ElfObject>, _debug: Option<ElfObject>, _files: Arc<dyn Files>) -> Self {
        ModuleSymbols
    }
    /// From a Breakpad symbol file. Its addresses count from the module's base.
    pub fn from_breakpad(_sym: Blob) -> Result<Self, Error> {
        Err(Error::NotBreakpad)
    }
    /// Nothing is known.
    pub fn none() -> Self {
        ModuleSymbols
    }
    /// Which tables there are.
    pub fn sources(&self) -> Vec<&'static str> {
        Vec::new()
    }
    /// The symbol that covers an address (the module's own).
    pub fn function(&self, _at: u64) -> Option<Function> {
        None
    }
    /// The address of a symbol (function or data) by its linker name.
    pub fn symbol_by_name(&self, raw: &str) -> Option<u64> {
        self.symbol_entry_by_name(raw).map(|(address, _)| address)
    }
    /// The address and size of a symbol (function or data) by its linker name.
    pub fn symbol_entry_by_name(&self, _raw: &str) -> Option<(u64, u64)> {
        None
    }
    /// Innermost first: inlined functions, then the real one; empty if nothing is known.
    pub fn locate(&self, _at: u64) -> Vec<SourceFrame> {
        Vec::new()
    }
    /// One step of call-frame information at an address (the module's own).
    pub fn unwind(&self, _at: u64, _machine: &dyn Machine) -> Result<Step, CfiMiss> {
        Err(CfiMiss::NoTables)
    }
}
