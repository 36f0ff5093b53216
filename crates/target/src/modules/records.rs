//! Modules as a minidump lists them: PE, ELF and Mach-O, with the identity that symbol stores know them by.
//!
//! *Trap*: the list is all that a small minidump has. Whether an ELF program was linked to a fixed address is only
//! known if its headers happen to be in the dump; else low addresses, where no loader puts a movable program, tell it.

use super::headers::{ET_EXEC, Headers};
use super::{Module, ModuleKind};
use crate::files::Finder;
use crate::files::breakpad::{Identity, debug_id};
use crate::files::verify::Expected;
use afterimage_dump::{ModuleRecord, Os, Virt};
use std::sync::{Arc, OnceLock};

/// Below this address lie only programs that were linked to it: Linux puts position-independent ones at two thirds of
/// the address space, or behind 0x55555000 on 32 bits (`ELF_ET_DYN_BASE`).
const FIXED_BELOW: u64 = 0x1000_0000;

const AT_ENTRY: u64 = 9;

/// Takes over the list of a minidump.
pub(super) fn modules(finder: &Arc<Finder>) -> Vec<Module> {
    let records = &finder.dump.modules;
    let program = program(finder);
    let mut modules: Vec<Module> = Vec::new();
    for (i, record) in records.iter().enumerate() {
        let module = module(finder, record, Some(i) == program);
        // Breakpad made a module of each mapping when there was a gap between two of one file.
        match modules.last_mut() {
            Some(last) if is_rest(last, &module) => last.end = last.end.max(module.end),
            _ => modules.push(module),
        }
    }
    modules
}

/// Whether a module is only a further mapping of the one before.
fn is_rest(last: &Module, next: &Module) -> bool {
    let same = last.path == next.path && (next.build_id.is_none() || last.build_id == next.build_id);
    same && last.is_elf && next.expected.headers.is_none() && next.base.0.saturating_sub(last.end.0) < 1 << 28
}

/// Which record is the program: the one that the process is named after, or that holds the entry point.
fn program(finder: &Finder) -> Option<usize> {
    let dump = &finder.dump;
    let entry = dump.auxv_value(AT_ENTRY);
    let by_entry = |entry| dump.modules.iter().position(|m| (m.base..m.end).contains(&entry));
    let by_name = || {
        let wanted = dump.process.executable.as_deref().or(dump.process.name.as_deref())?;
        dump.modules.iter().position(|m| name(&m.path).eq_ignore_ascii_case(name(wanted)))
    };
    let by_ending = || dump.modules.iter().position(|m| m.path.to_ascii_lowercase().ends_with(".exe"));
    entry.and_then(by_entry).or_else(by_name).or_else(by_ending)
}

fn name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// What a module's name says that it is.
pub(super) fn kind_of_name(name: &str) -> ModuleKind {
    let is = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    if is(&["linux-gate.so", "linux-vdso", "[vdso]"]) {
        ModuleKind::Vdso
    } else if is(&["ld-linux", "ld-musl-", "ld.so", "ld64.so", "ld-2.", "ld-elf.so"])
        || ["linker", "linker64", "dyld", "ntdll.dll"].contains(&name)
    {
        ModuleKind::Loader
    } else {
        ModuleKind::Library
    }
}

fn module(finder: &Arc<Finder>, record: &ModuleRecord, program: bool) -> Module {
    let headers = Headers::at(&*finder.dump.memory, record.base);
    let is_elf = headers.is_some()
        || (matches!(finder.dump.os, Os::Linux | Os::Android) && !record.path.to_ascii_lowercase().ends_with(".exe"));
    let kind = if program { ModuleKind::Program } else { kind_of_name(name(&record.path)) };
    let fixed = |headers: &Headers| headers.file_type == ET_EXEC;
    let bias = match &headers {
        Some(headers) => headers.bias(record.base, 0).unwrap_or(if fixed(headers) { 0 } else { record.base }),
        None if is_elf && program && record.base < FIXED_BELOW => 0,
        None => record.base,
    };
    let (path, deleted) = super::list::undeleted(&record.path);
    let id = record.debug_id.clone().or_else(|| is_elf.then(|| record.build_id.as_deref().map(debug_id)).flatten());
    let breakpad = id.map(|debug_id| Identity {
        debug_id,
        debug_file: record.debug_file.clone().unwrap_or_else(|| name(path).to_owned()),
    });
    Module {
        base: Virt(record.base),
        end: Virt(record.end.max(record.base.saturating_add(1))),
        bias,
        path: path.to_owned(),
        kind,
        build_id: record.build_id.clone(),
        deleted,
        version: record.version.clone(),
        timestamp: record.timestamp,
        is_elf,
        expected: Expected {
            build_id: record.build_id.clone().filter(|_| is_elf),
            headers,
            base: Some(record.base),
            ..Expected::default()
        },
        breakpad,
        finder: finder.clone(),
        found: OnceLock::new(),
        loaded: OnceLock::new(),
        fetched: OnceLock::new(),
        reloaded: OnceLock::new(),
        pe: super::pe::Slot::default(),
    }
}
