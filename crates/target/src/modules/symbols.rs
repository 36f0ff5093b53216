//! A module's symbols: which files are put together, and what they say of a code address.

use super::{Module, ModuleKind};
use crate::debuginfod::Kind;
use crate::files::debug::{self, DebugOf, Driver};
use crate::files::{ElfFile, Finder, breakpad, image};
use crate::target::Location;
use afterimage_dump::{CodeAddr, Format};
use afterimage_symbols::{ElfObject, ModuleSymbols, short_name};
use std::path::PathBuf;
use std::sync::Arc;

/// The symbols of an ELF file with its separate debug file, wherever it lies.
#[derive(Clone)]
pub(crate) struct Assembled {
    symbols: Arc<ModuleSymbols>,
    has_debug_info: bool,
    debug: Option<PathBuf>,
}

impl Assembled {
    /// The separate debug file that `finder` finds for a module, whose own file is `main`.
    fn debug_of(module: &Module, finder: &Finder, main: Option<&Arc<ElfFile>>) -> Option<Arc<ElfFile>> {
        if module.kind == ModuleKind::Vdso || main.is_some_and(|main| main.object.has_debug_info()) {
            return None;
        }
        let id = module.identity();
        let fetched = id.as_ref().and_then(|id| finder.downloads.get(id, Kind::DebugInfo));
        let of = DebugOf { path: &module.path, build_id: id.as_deref(), main: main.map(|main| &**main) };
        fetched.or_else(|| debug::find(finder, &of))
    }

    /// Puts a module's file, or what the dump has of it, and its debug file together.
    fn of(
        module: &Module,
        finder: &Arc<Finder>,
        main: Option<&Arc<ElfFile>>,
        debug: Option<Arc<ElfFile>>,
    ) -> Option<Self> {
        let object = match main {
            Some(main) => main.reopen(),
            None => of_dump(module),
        };
        if object.is_none() && debug.is_none() {
            return None;
        }
        let has_debug_info = main.into_iter().chain(&debug).any(|file| file.object.has_debug_info());
        let driver = Driver::new(finder.clone(), module.name(), main.map(|main| &**main), debug.as_deref());
        let path = debug.as_ref().map(|debug| debug.path.clone());
        let symbols = ModuleSymbols::from_elf(object, debug.and_then(|debug| debug.reopen()), Arc::new(driver));
        Some(Self { symbols: Arc::new(symbols), has_debug_info, debug: path })
    }
}

/// Symbols, and from where their addresses count.
pub(crate) struct Loaded {
    pub(crate) symbols: Arc<ModuleSymbols>,
    pub(crate) bias: u64,
    pub(crate) has_debug_info: bool,
    pub(crate) debug: Option<PathBuf>,
}

impl Loaded {
    /// Puts together what can be found for a module; reads headers only.
    pub(crate) fn of(module: &Module) -> Self {
        let finder = &module.finder;
        if super::apple::is_apple(&finder.dump) {
            return Self::of_macho(module);
        }
        let from_minidump = matches!(finder.dump.format, Format::Minidump | Format::Windows);
        let sym = || {
            let wanted = module.breakpad.as_ref()?;
            let asked = from_minidump || !finder.options.debug_paths.is_empty();
            let (path, blob) = asked.then(|| breakpad::find(finder, wanted, module.name())).flatten()?;
            let symbols = ModuleSymbols::from_breakpad(blob).ok()?;
            Some(Self { symbols: Arc::new(symbols), bias: module.base.0, has_debug_info: true, debug: Some(path) })
        };
        let nothing =
            || Self { symbols: Arc::new(ModuleSymbols::none()), bias: module.bias, has_debug_info: false, debug: None };
        if module.is_pe() {
            return Self::of_pe(module);
        }
        if !module.is_elf {
            return sym().unwrap_or_else(nothing);
        }
        let main = module.elf_file();
        let bias = match module.fetched.get() {
            Some(_) => None,
            None => module.found().bias,
        };
        let bias = bias.unwrap_or(module.bias);
        let loaded = |Assembled { symbols, has_debug_info, debug }| Self { symbols, bias, has_debug_info, debug };
        // A file out of a machine's page cache is that of all processes that run it.
        if let (Some(file), Some(own), true) = (main, &finder.own, module.is_own_file()) {
            let assemble =
                || Assembled::of(module, &own.machine, main, Assembled::debug_of(module, &own.machine, main));
            return file.shared.get_or_init(assemble).clone().map_or_else(nothing, loaded);
        }
        let debug = Assembled::debug_of(module, finder, main);
        let has_debug_info = main.into_iter().chain(&debug).any(|file| file.object.has_debug_info());
        if !has_debug_info && let Some(loaded) = sym() {
            return loaded;
        }
        Assembled::of(module, finder, main, debug).map_or_else(nothing, loaded)
    }

    fn of_macho(module: &Module) -> Self {
        let found = module.build_id.as_deref().and_then(|uuid| module.finder.mach().open(uuid));
        match found {
            Some((path, object)) => Self {
                bias: module.base.0.wrapping_sub(object.image_base()),
                has_debug_info: object.has_debug_info(),
                symbols: Arc::new(ModuleSymbols::from_macho(object)),
                debug: Some(path),
            },
            None => {
                Self { symbols: Arc::new(ModuleSymbols::none()), bias: module.bias, has_debug_info: false, debug: None }
            }
        }
    }
}

impl Loaded {
    /// A PE module: its PDB, else a Breakpad symbol file, and the image with its exports and unwind data.
    fn of_pe(module: &Module) -> Self {
        let finder = &module.finder;
        let image = module.pe_image().cloned();
        let bias = module.base.0;
        let done = |symbols: ModuleSymbols, debug: Option<PathBuf>| Self {
            symbols: Arc::new(symbols),
            bias,
            has_debug_info: debug.is_some(),
            debug,
        };
        if let Some((path, pdb)) = module.pdb() {
            return done(ModuleSymbols::from_pe(image, Some(pdb)), Some(path));
        }
        let wanted = module.debug_identity();
        if let Some((path, blob)) = wanted.and_then(|wanted| breakpad::find(finder, &wanted, module.name())) {
            let symbols = match &image {
                Some(image) => ModuleSymbols::from_breakpad_and_pe(blob, image.clone()),
                None => ModuleSymbols::from_breakpad(blob),
            };
            if let Ok(symbols) = symbols {
                return done(symbols, Some(path));
            }
        }
        done(ModuleSymbols::from_pe(image, None), None)
    }
}

/// The module as it lies in the dump.
fn of_dump(module: &Module) -> Option<ElfObject> {
    let blob = image::of_memory(&module.finder, module.base.0, module.bias, module.end.0)?;
    // The vDSO is mapped as the file that it is, sections and all.
    if module.kind == ModuleKind::Vdso
        && let Ok(object) = ElfObject::parse(blob.clone())
    {
        return Some(object);
    }
    if let Some(file) = image::whole_file(&module.finder, module.base.0)
        && let Ok(object) = ElfObject::parse(file)
    {
        return Some(object);
    }
    ElfObject::parse_image_at(blob, module.base.0).ok()
}

/// The functions at a code address inside `module`, innermost first.
pub(crate) fn locate(module: &Module, address: CodeAddr) -> Vec<Location> {
    let symbols = module.symbols();
    let own = module.symbol_address(address.lookup());
    // A name whose size is known and that ends before the address is another function's.
    let function = symbols.function(own).filter(|function| function.exact || function.size.is_none());
    let mut locations: Vec<Location> = symbols
        .locate(own)
        .into_iter()
        .map(|frame| Location {
            function: frame.function,
            offset: None,
            file: frame.file,
            line: frame.line,
            column: frame.column,
            inlined: frame.inlined,
            source: None,
        })
        .collect();
    let exact = module.symbol_address(address.address());
    let Some(function) = function else {
        // Only a jump into data gets there; a return address that is data is no frame's.
        let data = || symbols.data(own).filter(|_| matches!(address, CodeAddr::Exact(_)));
        if locations.is_empty()
            && let Some((name, start)) = data()
        {
            let offset = Some(exact.wrapping_sub(start));
            locations.push(Location { function: Some(name), offset, ..Location::default() });
        }
        return locations;
    };
    if locations.last().is_none_or(|last| last.inlined) {
        locations.push(Location::default());
    }
    if let Some(outermost) = locations.last_mut() {
        outermost.offset = Some(exact.wrapping_sub(function.start));
        outermost.source = Some(function.source);
        // Debug information with line tables only knows bare names; the symbol has the path before it.
        let fuller = outermost.function.as_ref().is_none_or(|bare| {
            let bare = short_name(bare);
            short_name(&function.name).strip_suffix(&bare).is_some_and(|path| path.ends_with("::"))
        });
        if fuller {
            outermost.function = Some(function.name);
        }
    }
    locations
}
