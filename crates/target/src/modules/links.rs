//! Joining the loader's own list with what the mappings tell: names for what has none, and modules of which the dump
//! holds neither a mapping nor a header.
//!
//! *Trap*: the list is the process's own memory, and a crash may have been what broke it. It adds and names modules,
//! and takes none away.

use super::ModuleKind;
use super::headers::{Headers, PT_DYNAMIC};
use super::linkmap::LinkEntry;
use super::list::{Draft, adopt, undeleted};
use super::records::kind_of_name;
use crate::files::Finder;
use crate::files::search::{self, Wanted};
use crate::files::verify::Expected;
use afterimage_dump::Dump;
use std::collections::{BTreeMap, HashMap};

/// Most modules that only the loader's list knows: each is looked for in the file system at once.
const MAX_FROM_LIST: usize = 4096;

/// Drafts by what an entry of the loader's list knows, so that a hostile list costs no more than it is long.
pub(super) struct Index {
    by_dynamic: HashMap<u64, usize>,
    by_base: BTreeMap<u64, usize>,
}

impl Index {
    pub(super) fn new(drafts: &[Draft]) -> Self {
        let dynamic_of = |draft: &Draft| {
            let program = draft.headers.as_ref()?.program(PT_DYNAMIC)?;
            Some(draft.bias?.wrapping_add(program.vaddr))
        };
        Self {
            by_dynamic: drafts.iter().enumerate().filter_map(|(i, draft)| Some((dynamic_of(draft)?, i))).collect(),
            by_base: drafts.iter().enumerate().map(|(i, draft)| (draft.base, i)).collect(),
        }
    }

    fn find(&self, drafts: &[Draft], dynamic: u64) -> Option<usize> {
        let around = || {
            let (_, &index) = self.by_base.range(..=dynamic).next_back()?;
            drafts.get(index).filter(|draft| draft.contains(dynamic)).map(|_| index)
        };
        self.by_dynamic.get(&dynamic).copied().or_else(around)
    }
}

/// Joins an entry of the loader's list with the draft that it is about, or makes one.
pub(super) fn join(finder: &Finder, drafts: &mut Vec<Draft>, index: &Index, link: LinkEntry) {
    let dump = &*finder.dump;
    let (path, deleted) = undeleted(&link.name);
    if let Some(draft) = index.find(drafts, link.dynamic).and_then(|i| drafts.get_mut(i)) {
        draft.sure = true;
        draft.dynamic = Some(link.dynamic);
        if draft.path.is_empty() {
            draft.path = path.to_owned();
            draft.deleted = deleted;
        }
        return;
    }
    // The vDSO has a name but no file; the program has a file but no name. Neither is new.
    let made = drafts.len().saturating_sub(index.by_base.len());
    if path.is_empty() || link.dynamic == 0 || kind_of_name(path) == ModuleKind::Vdso || made >= MAX_FROM_LIST {
        return;
    }
    let mut draft =
        Draft { path: path.to_owned(), deleted, sure: true, dynamic: Some(link.dynamic), ..Draft::default() };
    (draft.base, draft.end) = guess_range(dump, drafts, &link);
    let expected = Expected { dynamic: Some(link.dynamic), ..Expected::default() };
    let hit = search::find(finder, &Wanted { path, program: false, expected: &expected });
    let headers = hit.file.as_ref().and_then(|file| Headers::of_file(file.bytes()));
    draft.bias = Some(link.address);
    adopt(&mut draft, headers, hit);
    drafts.push(draft);
}

/// Where a library lies of which only the dynamic section's address is known: the regions in front of that, down to
/// its code and the read-only pages right before it.
fn guess_range(dump: &Dump, drafts: &[Draft], link: &LinkEntry) -> (u64, u64) {
    let last = dump.regions.partition_point(|region| region.start.0 <= link.dynamic);
    let Some(own) = last.checked_sub(1).and_then(|i| dump.regions.get(i)) else {
        return (link.dynamic, link.dynamic.saturating_add(1));
    };
    let (mut base, end) = (own.start.0, own.end.0.max(link.dynamic.saturating_add(1)));
    let mut seen_code = false;
    for region in dump.regions.get(..last - 1).unwrap_or_default().iter().rev().take(8) {
        let perms = region.permissions.unwrap_or_default();
        let foreign = region.end.0 != base || drafts.iter().any(|draft| draft.contains(region.start.0));
        if foreign || (seen_code && (perms.execute || perms.write)) {
            break;
        }
        base = region.start.0;
        if seen_code {
            break;
        }
        seen_code = perms.execute;
    }
    (base, end)
}
