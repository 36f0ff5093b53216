//! Everything known about one module's code, from whichever files are at hand.
//!
//! Not here: finding those files, and checking that they belong to the module (by build-id): the driver does.
//!
//! ```
//! use afterimage_symbols::ModuleSymbols;
//! let sym = b"MODULE Linux x86_64 0 a.out\nFILE 0 /src/a.c\nFUNC 1130 1c 0 main\n1130 4 3 0\n".to_vec();
//! let module = ModuleSymbols::from_breakpad(std::sync::Arc::new(sym))?;
//! assert_eq!(module.function(0x1132).map(|f| f.name).as_deref(), Some("main"));
//! assert_eq!(module.locate(0x1132)[0].line, Some(3));
//! # Ok::<(), afterimage_symbols::Error>(())
//! ```
//!
//! Trap: nothing is read before it is asked for, and then it is kept: the first lookup costs more than the next.

use crate::breakpad::Breakpad;
use crate::cfi::FrameTables;
use crate::dwarf::{DwarfFile, Found};
use crate::elf::{ET_REL, SymbolTable, unpack_xz};
use crate::pdb::Pdb;
use crate::pe::{PeImage, PeSymbols};
use crate::{
    Activation, Blob, Callee, CfiMiss, ElfObject, Error, Files, MachObject, Machine, NoFiles, NoVariables, Step,
    Variable, demangle,
};
use std::sync::{Arc, OnceLock};

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

/// What is known of an ELF module.
struct Elf {
    main: Option<Arc<ElfObject>>,
    debug: Option<Arc<ElfObject>>,
    /// `.gnu_debugdata` of the main file: a little ELF file with the local functions, packed with xz.
    mini: OnceLock<Option<Arc<ElfObject>>>,
    dwarf: Option<DwarfFile>,
    frames: Vec<FrameTables>,
}

enum Source {
    None,
    Elf(Box<Elf>),
    Breakpad(Box<Breakpad>),
    Mach(Box<Mach>),
    Pe(Box<PeSymbols>),
    /// Names and frames from a symbol file; where it has no rule, the image's unwind data.
    BreakpadAndPe(Box<Breakpad>, Box<PeSymbols>),
}

/// What is known of a Mach-O module.
struct Mach {
    object: MachObject,
    dwarf: Option<DwarfFile>,
}

/// Everything known about the code of one module. All addresses are the module's own.
pub struct ModuleSymbols {
    source: Source,
}

impl std::fmt::Debug for ModuleSymbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModuleSymbols").field("sources", &self.sources()).finish()
    }
}

impl ModuleSymbols {
    /// From a loaded file (or its memory image) and its separate debug file, either of which may be missing.
    /// `files` is asked for what the debug information refers to, at the time that it is needed.
    pub fn from_elf(main: Option<ElfObject>, debug: Option<ElfObject>, files: Arc<dyn Files>) -> Self {
        let (main, debug) = (main.map(Arc::new), debug.map(Arc::new));
        // A debug file that has only symbols leaves the DWARF to the main file.
        let with_units = [&debug, &main].into_iter().flatten().find(|object| object.has_section(".debug_info"));
        let dwarf = with_units.map(|object| DwarfFile::new(Arc::clone(object), files));
        let frames = [&main, &debug].into_iter().flatten().map(|object| FrameTables::new(Arc::clone(object))).collect();
        ModuleSymbols { source: Source::Elf(Box::new(Elf { main, debug, mini: OnceLock::new(), dwarf, frames })) }
    }

    /// From a Breakpad symbol file, whose addresses count from the module's base.
    ///
    /// # Errors
    /// If the text does not begin with a MODULE record.
    pub fn from_breakpad(sym: Blob) -> Result<Self, Error> {
        Ok(ModuleSymbols { source: Source::Breakpad(Box::new(Breakpad::parse(sym)?)) })
    }

    /// From a Mach-O file: a program, a library, or the DWARF of a `.dSYM` bundle.
    pub fn from_macho(object: MachObject) -> Self {
        let dwarf = object.has_debug_info().then(|| DwarfFile::new(Arc::clone(object.object()), Arc::new(NoFiles)));
        ModuleSymbols { source: Source::Mach(Box::new(Mach { object, dwarf })) }
    }

    /// From a PE image and its PDB, either of which may be missing. Addresses count from the image's base.
    pub fn from_pe(image: Option<Arc<PeImage>>, pdb: Option<Arc<Pdb>>) -> Self {
        ModuleSymbols { source: Source::Pe(Box::new(PeSymbols::new(image, pdb))) }
    }

    /// From a Breakpad symbol file of a PE image, and the image for its unwind data.
    ///
    /// # Errors
    /// If the text does not begin with a MODULE record.
    pub fn from_breakpad_and_pe(sym: Blob, image: Arc<PeImage>) -> Result<Self, Error> {
        let breakpad = Box::new(Breakpad::parse(sym)?);
        Ok(ModuleSymbols { source: Source::BreakpadAndPe(breakpad, Box::new(PeSymbols::new(Some(image), None))) })
    }

    /// Nothing is known.
    pub fn none() -> Self {
        ModuleSymbols { source: Source::None }
    }

    /// Which tables there are: "symtab", "dynsym", "gnu_debugdata", "dwarf", "split dwarf", "breakpad",
    /// "pdb", "coff", "exports", "pdata".
    /// Nothing is unpacked for the answer; "split dwarf" stands there once a lookup has used it.
    pub fn sources(&self) -> Vec<&'static str> {
        let elf = match &self.source {
            Source::None => return Vec::new(),
            Source::Breakpad(_) => return vec!["breakpad"],
            Source::Mach(mach) => {
                let tables = [(mach.object.has_symbols(), "symtab"), (mach.dwarf.is_some(), "dwarf")];
                return tables.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect();
            }
            Source::Pe(pe) => return pe.sources(),
            Source::BreakpadAndPe(_, pe) => return [vec!["breakpad"], pe.sources()].concat(),
            Source::Elf(elf) => elf,
        };
        let any = |test: &dyn Fn(&ElfObject) -> bool| elf.objects().any(test);
        let mut out = Vec::new();
        let mut add = |there: bool, name| {
            if there {
                out.push(name);
            }
        };
        add(any(&|object| object.symtab().is_some()), "symtab");
        add(elf.main.as_ref().is_some_and(|main| main.dynsym().is_some()), "dynsym");
        add(elf.main.as_ref().is_some_and(|main| main.has_section(".gnu_debugdata")), "gnu_debugdata");
        add(elf.dwarf.is_some(), "dwarf");
        add(elf.dwarf.as_ref().is_some_and(DwarfFile::uses_split), "split dwarf");
        out
    }

    /// The symbol that covers an address, its name demangled. Symbol tables are asked first (so the answer is there
    /// without DWARF), then PLT stubs, then DWARF.
    pub fn function(&self, at: u64) -> Option<Function> {
        let elf = match &self.source {
            Source::None => return None,
            Source::Elf(elf) => elf,
            Source::Mach(mach) => return mach.function(at),
            Source::Pe(pe) => return pe.function(at),
            Source::Breakpad(breakpad) | Source::BreakpadAndPe(breakpad, _) => {
                let named = breakpad.function(at)?;
                return Some(Function {
                    name: demangle(&named.name),
                    raw: named.name,
                    start: named.start,
                    size: named.size,
                    exact: named.exact,
                    kind: if named.size.is_some() { FunctionKind::Function } else { FunctionKind::Label },
                    source: "breakpad",
                });
            }
        };
        elf.stub(at).or_else(|| elf.symbol(at)).or_else(|| elf.function_of_dwarf(at))
    }

    /// The data symbol that covers an address, demangled, and its start: what a program ran into that ran data.
    pub fn data(&self, at: u64) -> Option<(String, u64)> {
        let Source::Elf(elf) = &self.source else { return None };
        let full = elf.objects().map(|object| (object, object.symtab()));
        let dynamic = elf.main.as_deref().map(|object| (object, object.dynsym()));
        let (name, start) = full.chain(dynamic).find_map(|(object, table)| table?.data_at(object, at))?;
        Some((demangle(&String::from_utf8_lossy(name)), start))
    }

    /// The address of a symbol (function or data) by its linker name without version.
    pub fn symbol_by_name(&self, raw: &str) -> Option<u64> {
        self.symbol_entry_by_name(raw).map(|(address, _)| address)
    }

    /// The address and size of a symbol (function or data) by its linker name without version.
    pub fn symbol_entry_by_name(&self, raw: &str) -> Option<(u64, u64)> {
        match &self.source {
            Source::None => None,
            Source::Mach(mach) => mach.object.by_name(raw.as_bytes()),
            Source::Breakpad(breakpad) | Source::BreakpadAndPe(breakpad, _) => breakpad.address_of(raw),
            Source::Pe(pe) => pe.symbol(raw),
            Source::Elf(elf) => {
                let find = |object: &ElfObject, table: Option<&SymbolTable>| table?.by_name(object, raw.as_bytes());
                // The dynamic table is small, and has what a debugger looks for in libc and ld.so.
                let dynamic = elf.main.as_deref().and_then(|object| find(object, object.dynsym()));
                let full = || elf.objects().find_map(|object| find(object, object.symtab()));
                let mini = || elf.mini().and_then(|object| find(object, object.symtab()));
                dynamic.or_else(full).or_else(mini)
            }
        }
    }

    /// Innermost first: the functions inlined at an address, then the real one; empty if nothing is known.
    /// Names are demangled.
    pub fn locate(&self, at: u64) -> Vec<SourceFrame> {
        let found = match &self.source {
            Source::None => Vec::new(),
            Source::Breakpad(breakpad) | Source::BreakpadAndPe(breakpad, _) => breakpad.locate(at),
            Source::Pe(pe) => pe.locate(at),
            Source::Elf(elf) => elf.locate(at),
            Source::Mach(mach) => mach.dwarf.as_ref().map_or_else(Vec::new, |dwarf| dwarf.locate(at, true)),
        };
        found
            .into_iter()
            .map(|found| SourceFrame {
                function: found.raw.as_deref().map(demangle),
                file: found.file,
                line: found.line,
                column: found.column,
                inlined: found.inlined,
            })
            .collect()
    }

    /// The DWARF, if there is any.
    fn dwarf(&self) -> Option<&DwarfFile> {
        match &self.source {
            Source::Elf(elf) => elf.dwarf.as_ref(),
            Source::Mach(mach) => mach.dwarf.as_ref(),
            _ => None,
        }
    }

    /// The parameters and locals that are in scope at an address, with their values in this frame: those of the innermost
    /// inlined function first. Of a return address give the one before it.
    ///
    /// # Errors
    /// Why nothing is known.
    pub fn variables(&self, at: u64, frame: &dyn Activation) -> Result<Vec<Variable>, NoVariables> {
        let dwarf = self.dwarf().ok_or(NoVariables::NoDebugInfo)?;
        // It knows which addresses are worth to look through all units for.
        if self.locate(at).is_empty() { Err(NoVariables::NotCovered) } else { dwarf.variables(at, frame) }
    }

    /// The value that `register` had when the call was made that returns to `back`, if it was a call of `callee`; `frame`
    /// is that of the caller.
    pub fn entry_value(&self, back: u64, register: u16, callee: &Callee, frame: &dyn Activation) -> Option<u64> {
        self.dwarf()?.entry_value(back, register, callee, frame)
    }

    /// One step of call-frame information at an address. For a frame that was called, that is its return address
    /// minus one.
    ///
    /// # Errors
    /// Why no table gave the caller; the reason of the best table that there is.
    pub fn unwind(&self, at: u64, machine: &dyn Machine) -> Result<Step, CfiMiss> {
        match &self.source {
            Source::None | Source::Mach(_) => Err(CfiMiss::NoTables),
            Source::Breakpad(breakpad) => breakpad.unwind(at, machine),
            Source::Pe(pe) => pe.unwind(at, machine),
            Source::BreakpadAndPe(breakpad, pe) => {
                breakpad.unwind(at, machine).or_else(|miss| pe.unwind(at, machine).map_err(|_| miss))
            }
            Source::Elf(elf) => elf.unwind(at, machine),
        }
    }
}

impl Mach {
    fn function(&self, at: u64) -> Option<Function> {
        let ((start, end, raw), source) = match self.object.function(at) {
            Some((start, end, name)) => ((start, end, String::from_utf8_lossy(name).into_owned()), "symtab"),
            None => {
                let found = self.dwarf.as_ref()?.locate(at, true).pop()?;
                let ((start, end), raw) = (found.range?, found.raw?);
                ((start, end, raw), "dwarf")
            }
        };
        Some(Function {
            name: demangle(&raw),
            raw,
            start,
            size: Some(end - start),
            exact: true,
            kind: FunctionKind::Function,
            source,
        })
    }
}

impl Elf {
    fn objects(&self) -> impl Iterator<Item = &ElfObject> {
        [&self.debug, &self.main].into_iter().flatten().map(|object| &**object)
    }

    fn mini(&self) -> Option<&ElfObject> {
        let mini = self.mini.get_or_init(|| {
            let unpacked = unpack_xz(self.main.as_ref()?.section_bytes(".gnu_debugdata")?)?;
            ElfObject::parse(Arc::new(unpacked)).ok().map(Arc::new)
        });
        mini.as_deref()
    }

    fn stub(&self, at: u64) -> Option<Function> {
        let (start, size, name) = self.main.as_ref()?.plt_stub(at)?;
        let raw = format!("{}@plt", String::from_utf8_lossy(name));
        Some(Function {
            name: demangle_stub(&raw),
            raw,
            start,
            size: Some(size),
            exact: true,
            kind: FunctionKind::Plt,
            source: "plt",
        })
    }

    /// The best symbol of all tables: one that covers the address, from the fullest table that has one; else the label
    /// nearest before it.
    fn symbol(&self, at: u64) -> Option<Function> {
        let mut label: Option<Function> = None;
        let full = self.objects().map(|object| (object, object.symtab(), "symtab"));
        let dynamic = self.main.as_deref().map(|object| (object, object.dynsym(), "dynsym"));
        // Unpacked only if the others do not cover the address.
        let mini = std::iter::once_with(|| self.mini().map(|object| (object, object.symtab(), "gnu_debugdata")));
        for (object, table, source) in full.chain(dynamic).chain(mini.flatten()) {
            let Some(found) = table.and_then(|table| table.find(object, at)) else { continue };
            let raw = String::from_utf8_lossy(found.name).into_owned();
            let function = Function {
                name: demangle(&raw),
                raw,
                start: found.start,
                size: (found.size != 0).then_some(found.size),
                exact: found.exact,
                kind: if found.function { FunctionKind::Function } else { FunctionKind::Label },
                source,
            };
            if function.exact {
                return Some(function);
            }
            if label.as_ref().is_none_or(|known| known.start < function.start) {
                label = Some(function);
            }
        }
        label
    }

    fn function_of_dwarf(&self, at: u64) -> Option<Function> {
        let found = self.dwarf.as_ref()?.locate(at, true).pop()?;
        let ((start, end), raw) = (found.range?, found.raw?);
        Some(Function {
            name: demangle(&raw),
            raw,
            start,
            size: Some(end - start),
            exact: true,
            kind: FunctionKind::Function,
            source: "dwarf",
        })
    }

    fn locate(&self, at: u64) -> Vec<Found> {
        let Some(dwarf) = &self.dwarf else { return Vec::new() };
        let found = dwarf.locate(at, false);
        if !found.is_empty() {
            return self.with_symbol(found);
        }
        // The address is in no unit that the tables know. Start-up code and PLT stubs, which stand at the end of nearly
        // every stack, never are; looking through all units for them would be the costliest part of a report.
        let idle = |function: &Function| {
            function.kind == FunctionKind::Plt
                || matches!(
                    &*function.raw,
                    "_start" | "_init" | "_fini" | "deregister_tm_clones" | "register_tm_clones"
                )
        };
        if self.relocatable() || !self.stub(at).or_else(|| self.symbol(at)).as_ref().is_some_and(idle) {
            return self.with_symbol(dwarf.locate(at, true));
        }
        found
    }

    /// Takes the linker's name for a function whose DWARF has only pieces of one (methods of local classes in C++).
    fn with_symbol(&self, mut found: Vec<Found>) -> Vec<Found> {
        if let Some(last) = found.last_mut().filter(|last| last.pieced || last.raw.is_none())
            && let Some((start, _)) = last.range
            && let Some(symbol) =
                self.symbol(start).filter(|symbol| symbol.exact && symbol.start == start && !symbol.raw.contains('.'))
        {
            last.raw = Some(symbol.raw);
        }
        found
    }

    fn relocatable(&self) -> bool {
        self.objects().any(|object| object.file_type() == ET_REL)
    }

    fn unwind(&self, at: u64, machine: &dyn Machine) -> Result<Step, CfiMiss> {
        let mut miss = CfiMiss::NoTables;
        let eh = self.frames.iter().map(|frames| frames.step_eh(at, machine));
        let debug = self.frames.iter().map(|frames| frames.step_debug(at, machine));
        for result in eh.chain(debug) {
            match result {
                Ok(step) => return Ok(step),
                // A rule that was there and failed says more than a table without one.
                Err(CfiMiss::NoTables) => {}
                Err(CfiMiss::NotCovered) if miss != CfiMiss::NoTables => {}
                Err(new) if matches!(miss, CfiMiss::NoTables | CfiMiss::NotCovered) => miss = new,
                Err(_) => {}
            }
        }
        Err(miss)
    }
}

/// `_ZN1a1bEv@plt` as `a::b()@plt`: `demangle` would take the ending for a symbol version.
fn demangle_stub(raw: &str) -> String {
    let name = raw.strip_suffix("@plt").unwrap_or(raw);
    format!("{}@plt", demangle(name))
}
