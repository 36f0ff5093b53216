//! Judgements about the whole file, made when all streams are read: who wrote it, how much it holds, which program it was.

use super::draft::Draft;
use super::input::Input;
use super::raw;
use crate::{DumpType, Os, Region};

/// Sets writer, dump type and executable.
pub(super) fn apply(input: &Input<'_>, draft: &mut Draft) {
    draft.dump.writer = writer(draft).map(str::to_owned);
    draft.dump.dump_type = dump_type(input, draft);
    executable(draft);
}

/// The program or library that wrote the file, where its streams tell.
fn writer(draft: &Draft) -> Option<&'static str> {
    let any = |low: u32, high: u32| draft.dump.notes.iter().any(|note| (low..=high).contains(&note.kind));
    // Crashpad without annotations has no stream of its own, but signs where dbghelp puts its build.
    let build = draft.dump.process.facts.iter().find(|(name, _)| name == "dbghelp_build");
    if draft.has_stream(super::INFO) {
        Some("afterimage")
    } else if draft.has_stream(raw::MD_CRASHPAD_INFO_STREAM)
        || build.is_some_and(|(_, build)| build.starts_with("crashpad"))
    {
        Some("crashpad")
    } else if draft.has_stream(raw::LLDB_GENERATED_STREAM) {
        Some("lldb")
    } else if draft.has_stream(raw::WINE_HOST_MODULES_STREAM) {
        Some("wine")
    } else if any(0x4d7a_0001, 0x4d7a_000f) {
        Some("minidump-writer")
    } else if any(raw::MD_BREAKPAD_INFO_STREAM, 0x4767_00ff) {
        // On Windows, Breakpad has dbghelp write and adds its own stream.
        Some("breakpad")
    } else if draft.dump.os == Os::Windows && draft.platform.is_some() && draft.version >> 16 != 0 {
        // dbghelp puts its build into the upper half of the version; nobody else does.
        Some("windows")
    } else {
        None
    }
}

/// What the flags promise, if the content keeps it; else what the content is.
fn dump_type(input: &Input<'_>, draft: &Draft) -> DumpType {
    let full = draft.flags & raw::MINI_DUMP_WITH_FULL_MEMORY != 0;
    let memory64 = draft.has_stream(raw::MEMORY64_LIST_STREAM);
    if full && memory64 {
        return DumpType::Complete;
    }
    if !full && draft.has_stream(super::INFO) {
        // What afterimage wrote, it wrote on purpose.
        let active = draft.flags & raw::MINI_DUMP_WITH_PRIVATE_READ_WRITE_MEMORY != 0;
        return if active { DumpType::Active } else { DumpType::Small };
    }
    if full {
        input.loss(
            "the header says that all memory is here, but there is no Memory64ListStream: the writer did not finish",
        );
    }
    // Whether there are regions with this protection, and every byte of them is here.
    let holds_all = |write: bool| {
        let wanted = |region: &&Region| region.permissions.is_some_and(|may| may.read && (may.write || !write));
        let mut wanted = draft.dump.regions.iter().filter(wanted).peekable();
        wanted.peek().is_some() && wanted.all(|region| region.present_bytes >= region.end.0 - region.start.0)
    };
    if draft.all_regions && holds_all(false) {
        DumpType::Complete
    } else if draft.flags & raw::MINI_DUMP_WITH_PRIVATE_READ_WRITE_MEMORY != 0 || draft.all_regions && holds_all(true) {
        DumpType::Active
    } else {
        DumpType::Small
    }
}

/// The program itself: the module that holds `AT_ENTRY` on Linux, else the one that every writer lists first.
fn executable(draft: &mut Draft) {
    const AT_ENTRY: u64 = 9;
    let entry = draft.dump.auxv_value(AT_ENTRY);
    let holds = |entry: u64| draft.dump.modules.iter().find(|module| (module.base..module.end).contains(&entry));
    let by_entry = entry.and_then(holds).map(|module| module.path.clone());
    let path = by_entry.or_else(|| draft.module_order.first().cloned()).filter(|path| !path.is_empty());
    let process = &mut draft.dump.process;
    if process.name.is_none() {
        process.name = path.as_deref().and_then(|path| path.rsplit(['/', '\\']).next()).map(str::to_owned);
    }
    process.executable = path;
}
