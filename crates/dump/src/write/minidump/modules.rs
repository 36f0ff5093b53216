//! Modules: name, place, version, and the record that says which debug file belongs to it.
//!
//! *What it is not*: a core lists every mapped file; only those that hold code, or are known to be ELF files, are modules.
//!
//! *Trap*: readers take the first module for the program itself.

use super::{File, elf_id};
use crate::minidump::{codeview_bytes, raw};
use crate::{Dump, Format, ModuleRecord, Os};

/// What Breakpad calls the page of code that the kernel maps into every process.
const VDSO: &str = "linux-gate.so";
/// Shape of a `VS_FIXEDFILEINFO`, in 32-bit numbers.
const VERSION_NUMBERS: usize = 13;

/// Writes `ModuleListStream`.
pub(super) fn module_list(file: &mut File<'_>) {
    let modules = modules(file.dump);
    let mut places = Vec::with_capacity(modules.len());
    for module in &modules {
        let name = file.pen.utf16(&module.path);
        file.pen.align(4);
        let record = codeview_bytes(module, file.dump.os, file.dump.endian);
        let rva = file.pen.rva();
        file.pen.bytes(&record);
        places.push((name, record.len() as u32, if record.is_empty() { 0 } else { rva }));
    }
    let os = file.dump.os;
    file.stream(raw::MODULE_LIST_STREAM, |pen| {
        pen.u32(modules.len() as u32);
        for (module, (name, len, rva)) in modules.iter().zip(places) {
            pen.u64(module.base);
            pen.u32(u32::try_from(module.end.saturating_sub(module.base)).unwrap_or(u32::MAX));
            pen.u32(0);
            pen.u32(module.timestamp.unwrap_or(0));
            pen.u32(name);
            for number in version(module, os) {
                pen.u32(number);
            }
            pen.u32(len);
            pen.u32(rva);
            pen.zeros(8 + 16); // MiscRecord and two reserved fields
        }
    });
}

/// Writes `UnloadedModuleListStream`, if there are any.
pub(super) fn unloaded(file: &mut File<'_>) {
    let modules = &file.dump.unloaded_modules;
    if modules.is_empty() {
        return;
    }
    let names: Vec<u32> = modules.iter().map(|module| file.pen.utf16(&module.path)).collect();
    file.stream(raw::UNLOADED_MODULE_LIST_STREAM, |pen| {
        pen.u32(12);
        pen.u32(24);
        pen.u32(modules.len() as u32);
        for (module, name) in modules.iter().zip(names) {
            pen.u64(module.base);
            pen.u32(u32::try_from(module.end.saturating_sub(module.base)).unwrap_or(u32::MAX));
            pen.u32(0);
            pen.u32(module.timestamp.unwrap_or(0));
            pen.u32(name);
        }
    });
}

/// The modules as a minidump lists them: the program first.
fn modules(dump: &Dump) -> Vec<ModuleRecord> {
    let mut modules = dump.modules.clone();
    let from_mappings = dump.format == Format::ElfCore || super::minidump::elf_head(dump).is_some();
    if from_mappings {
        let code = |module: &ModuleRecord| {
            let first = dump.regions.partition_point(|region| region.end.0 <= module.base);
            let inside = dump.regions.iter().skip(first).take_while(|region| region.start.0 < module.end);
            inside.into_iter().any(|region| region.permissions.is_some_and(|may| may.execute))
        };
        modules.retain(|module| module.build_id.is_some() || code(module) || elf_id::is_elf(dump, module.base));
        for module in modules.iter_mut().filter(|module| module.build_id.is_none()) {
            module.build_id = elf_id::build_id(dump, module.base);
        }
        modules.extend(vdso(dump));
        modules.sort_by_key(|module| module.base);
    }
    let program = dump.process.executable.as_deref();
    if let Some(place) = modules.iter().position(|module| Some(module.path.as_str()) == program) {
        let program = modules.remove(place);
        modules.insert(0, program);
    }
    modules
}

/// The page of code that the kernel maps, which no list of files names.
fn vdso(dump: &Dump) -> Option<ModuleRecord> {
    const AT_SYSINFO_EHDR: u64 = 33;
    let base = dump.auxv_value(AT_SYSINFO_EHDR).filter(|&base| base != 0 && dump.os == Os::Linux)?;
    let region = dump.region(crate::Virt(base)).filter(|region| region.start.0 == base)?;
    let build_id = elf_id::build_id(dump, base);
    Some(ModuleRecord { base, end: region.end.0, path: VDSO.to_owned(), build_id, ..ModuleRecord::default() })
}

/// `VS_FIXEDFILEINFO`, from the text that the reader made of it.
fn version(module: &ModuleRecord, os: Os) -> [u32; VERSION_NUMBERS] {
    let mut out = [0; VERSION_NUMBERS];
    let mut numbers = [0u32; 4];
    let packed = matches!(os, Os::Windows | Os::MacOs | Os::Ios);
    if module.version.is_none() && packed {
        // With the signature, the zeros would be a version.
        return out;
    }
    if let Some(text) = &module.version {
        for (place, word) in numbers.iter_mut().zip(text.split('.')) {
            *place = word.parse().unwrap_or(0);
        }
    }
    let [a, b, c, d] = numbers;
    // Folklore: see the reader. Windows and macOS pack four 16-bit numbers; Mozilla's writer spreads an ELF's over four
    // 32-bit fields.
    let fields = if packed { [a << 16 | b & 0xffff, c << 16 | d & 0xffff, 0, 0] } else { [a, b, c, d] };
    for (place, value) in out.iter_mut().zip([raw::VS_FFI_SIGNATURE, 0x1_0000].into_iter().chain(fields)) {
        *place = value;
    }
    out
}
