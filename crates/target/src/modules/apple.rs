//! Images of Apple's reports and cores, as the dump lists them.
//!
//! *What it is not*: it looks for no file.
//!
//! *Trap*: the list of a report holds what the stacks touch, and the program may not be among it.

use super::{Module, ModuleKind};
use crate::files::Finder;
use crate::files::verify::Expected;
use afterimage_dump::{Dump, Format, Virt};
use std::sync::{Arc, OnceLock};

/// Most images; a process has some hundreds.
const MAX_IMAGES: usize = 65_536;

/// Whether the images of a dump are Mach-O, and are known only by what the dump lists.
pub(crate) fn is_apple(dump: &Dump) -> bool {
    matches!(dump.format, Format::AppleReport | Format::MachO)
}

/// Whether an image belongs to the system.
pub(crate) fn is_system(path: &str) -> bool {
    // Folklore: text reports shorten paths to `/System/*/UIKitCore`, and older ones have no path but the bundle's name.
    ["/usr/lib/", "/System/", "/private/preboot/", "/Library/Apple/", "com.apple.", "/usr/libexec/"]
        .iter()
        .any(|start| path.starts_with(start))
        || matches!(path, "dyld" | "kernel")
}

/// Takes over the list.
pub(super) fn modules(finder: &Arc<Finder>) -> Vec<Module> {
    let dump = &finder.dump;
    let program = dump.process.executable.as_deref();
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let is_program = |path: &str| match program {
        // Reports hide parts of a path, not always the same ones.
        Some(program) => path == program || name(path) == name(program) && !is_system(path),
        None => dump.process.name.as_deref() == Some(&name(path)),
    };
    let records = dump.modules.iter().take(MAX_IMAGES);
    let modules = records.map(|record| Module {
        base: Virt(record.base),
        end: Virt(record.end.max(record.base.saturating_add(1))),
        bias: record.base,
        path: record.path.clone(),
        kind: match name(&record.path).as_str() {
            "dyld" => ModuleKind::Loader,
            _ if is_program(&record.path) => ModuleKind::Program,
            _ => ModuleKind::Library,
        },
        build_id: record.build_id.clone(),
        deleted: false,
        version: record.version.clone(),
        timestamp: record.timestamp,
        is_elf: false,
        expected: Expected::default(),
        breakpad: None,
        finder: finder.clone(),
        found: OnceLock::new(),
        loaded: OnceLock::new(),
        fetched: OnceLock::new(),
        reloaded: OnceLock::new(),
        pe: super::pe::Slot::default(),
    });
    modules.collect()
}
