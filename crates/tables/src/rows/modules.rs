//! The program, its libraries, and whether their files were found.

use super::said;
use crate::cell::{Absent, Addr, Field, HexBytes, Time};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::{FileMatch, ModuleKind, Target};

row! {
    /// The program and its libraries, by base address, and whether their files were found here.
    ModuleRow {
        /// Lowest address.
        base: Addr,
        /// First address behind it.
        end: Addr,
        /// Path as the dumped system knew it.
        path: String,
        /// `program`, `library`, `loader` or `vdso`.
        kind: &'static str,
        /// Build-id, UUID, or GUID of the debug file.
        build_id: Field<HexBytes>,
        /// Name of the separate debug file (PDB), where the dump has it.
        debug_file: Field<String>,
        /// Identity of the debug file as symbol stores write it: GUID or build-id, and age.
        debug_id: Field<String>,
        /// How a file on this machine was matched: `build_id`, `name`, `in_dump`.
        matched: Field<&'static str>,
        /// The matched file on this machine.
        file: Field<String>,
        /// Version.
        version: Field<String>,
        /// Link time as a Windows file has it; of a build that can be repeated it is a hash instead.
        timestamp: Field<Time>,
    }
}

row! {
    /// Modules that had been unloaded before the dump was made.
    UnloadedModuleRow {
        /// Lowest address.
        base: Addr,
        /// First address behind it.
        end: Addr,
        /// Path or name.
        path: String,
        /// Link time.
        timestamp: Field<Time>,
    }
}

/// All modules.
#[must_use]
pub fn rows(target: &Target) -> Vec<ModuleRow> {
    let versions = &target.dump().modules;
    target
        .modules()
        .iter()
        .map(|module| {
            let (matched, file) = match module.file() {
                FileMatch::BuildId(path) => (Ok("build_id"), Ok(path.display().to_string())),
                FileMatch::Name(path) => (Ok("name"), Ok(path.display().to_string())),
                FileMatch::InDump => (Ok("in_dump"), Err(Absent::because("the dump itself holds it"))),
                FileMatch::Mismatch { path, why } => {
                    let absent = Absent::because(format!("{} is another build: {why}", path.display()));
                    (Err(absent.clone()), Err(absent))
                }
                _ => (Err(Absent::because("no file found")), Err(Absent::because("no file found"))),
            };
            let record = versions.iter().find(|record| record.base == module.base.0);
            ModuleRow {
                base: Addr(module.base.0),
                end: Addr(module.end.0),
                path: module.path.clone(),
                kind: match module.kind {
                    ModuleKind::Program => "program",
                    ModuleKind::Library => "library",
                    ModuleKind::Loader => "loader",
                    ModuleKind::Vdso => "vdso",
                },
                build_id: module
                    .build_id
                    .clone()
                    .map(HexBytes)
                    .ok_or(Absent::because("the dump holds no build-id of it")),
                debug_file: said(record.and_then(|record| record.debug_file.clone())),
                debug_id: said(record.and_then(|record| record.debug_id.clone())),
                matched,
                file,
                version: said(record.and_then(|record| record.version.clone())),
                timestamp: said(record.and_then(|record| record.timestamp).map(|seconds| Time(seconds.into()))),
            }
        })
        .collect()
}

pub(crate) fn run(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let all = rows(target);
    if all.is_empty() && target.dump().machine.is_some() {
        sink.note(
            "this is the memory of a machine: its kernel's are in kernel_modules, a process's in process_regions",
        );
    }
    for row in all {
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}

pub(crate) fn run_unloaded(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    for module in &target.dump().unloaded_modules {
        let row = UnloadedModuleRow {
            base: Addr(module.base),
            end: Addr(module.end),
            path: module.path.clone(),
            timestamp: said(module.timestamp.map(|seconds| Time(seconds.into()))),
        };
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}
