//! Putting the list of modules together: file mappings, the kernel's auxiliary vector, the loader's own list, and
//! where all that fails, ELF headers anywhere in memory.
//!
//! *What it is not*: it looks for no file, except where the dump does not even hold the program's headers; then the
//! program's file must say where the dynamic section lies.
//!
//! *Trap*: a file that is mapped is no module yet. Locale archives are not ELF, and a debugger maps libraries as data:
//! a module has code, or stands in the loader's list.

use super::headers::{ET_EXEC, Headers, PAGE, PF_X, PT_INTERP};
use super::linkmap::{self, LinkEntry};
use super::records::kind_of_name;
use super::{Module, ModuleKind, apple, links, records};
use crate::files::Finder;
use crate::files::breakpad::{Identity, debug_id};
use crate::files::search::{self, Hit, Wanted};
use crate::files::verify::Expected;
use afterimage_dump::{Dump, Format, Issue, MemoryExt, Virt};
use afterimage_symbols::build_id_of_image;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;
const AT_BASE: u64 = 7;
const AT_ENTRY: u64 = 9;
const AT_EXECFN: u64 = 31;
const AT_SYSINFO_EHDR: u64 = 33;

/// Most modules; a process has at most 65 530 mappings unless its system was told otherwise.
const MAX_MODULES: usize = 65_536;
/// Mappings of one module that are kept for comparing it with a file.
const MAX_MAPPINGS: usize = 32;
/// Below this address Linux puts only programs that were linked to it.
const FIXED_BELOW: u64 = 0x1000_0000;

/// A module in the making.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) base: u64,
    pub(super) end: u64,
    pub(super) path: String,
    pub(super) deleted: bool,
    pub(super) headers: Option<Headers>,
    pub(super) bias: Option<u64>,
    /// Address and file offset of its mappings.
    pub(super) mappings: Vec<(u64, u64)>,
    /// Some mapping may be executed.
    pub(super) code: bool,
    /// The kernel or the loader names it.
    pub(super) sure: bool,
    pub(super) dynamic: Option<u64>,
    pub(super) kind: Option<ModuleKind>,
    pub(super) hit: Option<Hit>,
}

impl Draft {
    pub(super) fn contains(&self, at: u64) -> bool {
        (self.base..self.end).contains(&at)
    }

    /// Works out bias and end from the headers.
    fn place(&mut self) {
        let Some(headers) = &self.headers else { return };
        let offset = self.mappings.first().map_or(0, |&(_, offset)| offset);
        self.bias = headers.bias(self.base, offset).or((headers.file_type == ET_EXEC).then_some(0));
        if let (Some(bias), Some((low, high))) = (self.bias, headers.span()) {
            let end = bias.wrapping_add(high);
            // OpenBSD's linker puts code in front of the segment with the headers.
            let lowest = bias.wrapping_add(low);
            if lowest < self.base && self.base - lowest < 1 << 32 && self.kind != Some(ModuleKind::Vdso) {
                self.base = lowest;
            }
            // Headers are untrusted: an end that wraps round, or lies terabytes on, tells nothing.
            if end > self.base && high.saturating_sub(low) < 1 << 40 {
                self.end = self.end.max(end);
            }
        }
    }
}

/// A path without the mark that the kernel puts behind the name of a file that was deleted or replaced.
pub(super) fn undeleted(path: &str) -> (&str, bool) {
    match path.strip_suffix(" (deleted)") {
        Some(rest) => (rest, true),
        None => (path, false),
    }
}

/// Lists the modules of a dump by base address.
pub(crate) fn list(finder: &Arc<Finder>) -> Vec<Module> {
    let dump = &*finder.dump;
    let mut modules = if apple::is_apple(dump) {
        apple::modules(finder)
    } else if matches!(dump.format, Format::Minidump | Format::Windows) && !dump.modules.is_empty() {
        records::modules(finder)
    } else {
        from_elf_core(finder)
    };
    modules.sort_by_key(|module| (module.base, module.end));
    modules.dedup_by_key(|module| module.base);
    let following: Vec<(Virt, Virt)> = modules.iter().map(|module| (module.base, module.end)).skip(1).collect();
    for (module, (base, end)) in modules.iter_mut().zip(following) {
        // A module may lie in a gap of another (arm64's vDSO in the loader); one that runs on into the next may not.
        if end >= module.end {
            module.end = module.end.min(base);
        }
    }
    modules
}

fn from_elf_core(finder: &Arc<Finder>) -> Vec<Module> {
    let dump = &*finder.dump;
    let mut drafts = mapped(dump);
    named_by_kernel(dump, &mut drafts);
    scan(finder, &mut drafts);
    drafts.iter_mut().for_each(Draft::place);
    let program = program(finder, &mut drafts);
    let mut issues = Vec::new();
    let links = match program.and_then(|i| drafts.get(i)) {
        Some(Draft { headers: Some(headers), bias: Some(bias), .. }) => {
            linkmap::of_program(dump, headers, *bias, &mut issues)
        }
        _ => any_program(dump, &drafts, &mut issues),
    };
    issues.into_iter().for_each(|issue| finder.remark(issue));
    let index = links::Index::new(&drafts);
    let loader = interpreter(dump, &drafts);
    for mut link in links {
        // The loader takes its own name from the program's PT_INTERP, a page that qemu-user leaves out of its cores.
        if link.name.is_empty() && Some(link.address) == dump.auxv_value(AT_BASE) {
            link.name = loader.clone().unwrap_or_default();
        }
        links::join(finder, &mut drafts, &index, link);
    }
    drafts.retain(|draft| draft.sure || draft.code);
    name_the_rest(dump, &mut drafts);
    drafts.truncate(MAX_MODULES);
    let ids: HashMap<u64, &Vec<u8>> =
        dump.modules.iter().filter_map(|record| Some((record.base, record.build_id.as_ref()?))).collect();
    drafts.into_iter().map(|draft| finish(finder, draft, &ids)).collect()
}

fn executable(dump: &Dump, at: u64) -> bool {
    dump.region(Virt(at)).is_none_or(|region| region.permissions.is_none_or(|perms| perms.execute))
}

/// Groups of file mappings that start with the file's first byte, or with ELF headers (a library inside an archive).
fn mapped(dump: &Dump) -> Vec<Draft> {
    let mut order: Vec<_> = dump.mappings.iter().filter(|mapping| mapping.start < mapping.end).collect();
    order.sort_by_key(|mapping| mapping.start);
    let mut drafts: Vec<Draft> = Vec::new();
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for mapping in order {
        let (start, end) = (mapping.start.0, mapping.end.0);
        if drafts.len() >= MAX_MODULES {
            break;
        }
        let headers = Headers::at(&*dump.memory, start);
        // A small library's first page may be all that the dump has of it in its second place, the relocated one.
        let again = |draft: &Draft, headers: &Headers| {
            let low = headers.span().map_or(0, |(low, _)| low);
            let mut loads = headers.loads().map(|load| (load.vaddr & !(PAGE - 1), load.offset & !(PAGE - 1)));
            loads.any(|(vaddr, offset)| {
                vaddr > low && offset == mapping.offset && draft.base.wrapping_add(vaddr - low) == start
            })
        };
        let current = latest.get(mapping.path.as_str()).and_then(|&i| drafts.get_mut(i));
        // Small programs map their first page twice, once for each of two segments: that is no second module.
        let belongs = |draft: &Draft| match (&draft.headers, mapping.offset) {
            (Some(known), _) => known.span().is_some_and(|(low, high)| start - draft.base < high - low),
            (None, 0) if headers.as_ref().is_some_and(|headers| again(draft, headers)) => true,
            (None, 0) => draft.end == start && draft.mappings.len() == 1,
            (None, _) => true,
        };
        match current {
            Some(draft) if belongs(draft) => {
                draft.end = draft.end.max(end);
                draft.code |= executable(dump, start);
                if draft.headers.is_none() && mapping.offset == 0 {
                    draft.headers = headers;
                }
                if draft.mappings.len() < MAX_MAPPINGS {
                    draft.mappings.push((start, mapping.offset));
                }
            }
            _ => {
                let (path, deleted) = undeleted(&mapping.path);
                latest.insert(&mapping.path, drafts.len());
                drafts.push(Draft {
                    base: start,
                    end,
                    path: path.to_owned(),
                    deleted,
                    headers,
                    mappings: vec![(start, mapping.offset)],
                    code: executable(dump, start),
                    ..Draft::default()
                });
            }
        }
    }
    // What is readable and has no ELF headers is data, executable or not.
    let mut byte = [0u8; 4];
    drafts.retain(|draft| draft.headers.is_some() || dump.memory.read_exact(Virt(draft.base), &mut byte).is_err());
    drafts
}

/// The vDSO, the loader and the program, by what the kernel told the process.
fn named_by_kernel(dump: &Dump, drafts: &mut Vec<Draft>) {
    let kinds = [(AT_SYSINFO_EHDR, ModuleKind::Vdso), (AT_BASE, ModuleKind::Loader), (AT_PHDR, ModuleKind::Program)];
    for (entry, kind) in kinds {
        let Some(at) = dump.auxv_value(entry).filter(|&at| at != 0) else { continue };
        // On arm64 the vDSO lies in the gap between the loader's segments: only a draft that starts there is its.
        let is_it = |draft: &Draft| if kind == ModuleKind::Vdso { draft.base == at } else { draft.contains(at) };
        let found = match drafts.iter_mut().find(|draft| is_it(draft)) {
            Some(draft) => Some(draft),
            None => {
                // Program headers stand right behind the ELF header, in the first page.
                let base = at & !(PAGE - 1);
                Headers::at(&*dump.memory, base).and_then(|headers| {
                    let end = dump.region(Virt(base)).map_or(base.saturating_add(PAGE), |region| region.end.0);
                    drafts.push(Draft { base, end, headers: Some(headers), ..Draft::default() });
                    drafts.last_mut()
                })
            }
        };
        if let Some(draft) = found {
            draft.sure = true;
            draft.kind.get_or_insert(kind);
            if kind == ModuleKind::Vdso && draft.path.is_empty() {
                draft.path = "[vdso]".to_owned();
            }
        }
    }
}

/// ELF headers at the start of a region that nothing has explained yet.
fn scan(finder: &Finder, drafts: &mut Vec<Draft>) {
    let dump = &*finder.dump;
    let mut known: Vec<(u64, u64)> = drafts
        .iter_mut()
        .map(|draft| {
            draft.place();
            (draft.base, draft.end)
        })
        .collect();
    known.sort_unstable();
    let explained = |known: &[(u64, u64)], at: u64| {
        let next = known.partition_point(|&(start, _)| start <= at);
        next.checked_sub(1).and_then(|i| known.get(i)).is_some_and(|&(_, end)| at < end)
    };
    let mappings: Vec<(u64, u64)> = {
        let mut all: Vec<_> = dump.mappings.iter().map(|mapping| (mapping.start.0, mapping.end.0)).collect();
        all.sort_unstable();
        all
    };
    let mut covered = 0u64;
    for region in &dump.regions {
        let start = region.start.0;
        if drafts.len() >= MAX_MODULES || finder.budget.in_time().is_err() {
            finder.remark(Issue::remark("the search for modules was cut short: too many, or out of time"));
            return;
        }
        if region.present_bytes == 0 || start < covered || explained(&known, start) || explained(&mappings, start) {
            continue;
        }
        let Some(headers) = Headers::at(&*dump.memory, start) else { continue };
        let mut draft = Draft { base: start, end: region.end.0, headers: Some(headers), ..Draft::default() };
        draft.path = region.path.as_deref().map(|path| undeleted(path).0.to_owned()).unwrap_or_default();
        draft.place();
        covered = draft.end;
        draft.code = draft.headers.as_ref().is_some_and(|headers| {
            let bias = draft.bias.unwrap_or(start);
            let mut code = headers.loads().filter(|load| load.flags & PF_X != 0);
            code.any(|load| {
                let region = dump.region(Virt(bias.wrapping_add(load.vaddr)));
                region.is_some_and(|region| region.permissions.is_none_or(|perms| perms.execute))
            })
        });
        drafts.push(draft);
    }
}

/// Marks the program among the drafts, or makes it from its file where the dump has none of its headers.
fn program(finder: &Finder, drafts: &mut Vec<Draft>) -> Option<usize> {
    let dump = &*finder.dump;
    let value = |kind| dump.auxv_value(kind).filter(|&value| value != 0);
    let (phdr, entry) = (value(AT_PHDR), value(AT_ENTRY));
    let by_kind = |drafts: &[Draft]| drafts.iter().position(|draft| draft.kind == Some(ModuleKind::Program));
    let holds =
        |at: Option<u64>, drafts: &[Draft]| at.and_then(|at| drafts.iter().position(|draft| draft.contains(at)));
    let by_interpreter = |drafts: &[Draft]| {
        let has = |draft: &Draft| draft.headers.as_ref().is_some_and(|headers| headers.program(PT_INTERP).is_some());
        // libc.so.6 and the loader can be run as programs too, but only a program has no other name.
        let named = |draft: &Draft| Some(draft.path.as_str()) == dump.process.executable.as_deref();
        let main = drafts.iter().position(|draft| has(draft) && named(draft));
        let fixed = |draft: &Draft| draft.headers.as_ref().is_some_and(|headers| headers.file_type == ET_EXEC);
        main.or_else(|| drafts.iter().position(fixed)).or_else(|| drafts.iter().position(has))
    };
    let found = by_kind(drafts)
        .or_else(|| holds(phdr, drafts))
        .or_else(|| holds(entry, drafts))
        .or_else(|| if phdr.is_none() { by_interpreter(drafts) } else { None });
    if let Some(draft) = found.and_then(|i| drafts.get_mut(i)) {
        draft.kind.get_or_insert(ModuleKind::Program);
        draft.sure = true;
        if draft.headers.is_some() {
            return found;
        }
    }
    // No headers in the dump: the file must tell where its dynamic section lies.
    let path = match found.and_then(|i| drafts.get(i)).map(|draft| draft.path.clone()) {
        Some(path) if !path.is_empty() => path,
        _ => program_path(dump)?,
    };
    let expected = Expected {
        mappings: found.and_then(|i| drafts.get(i)).map(|draft| draft.mappings.clone()).unwrap_or_default(),
        entry,
        phdr,
        phnum: value(AT_PHNUM),
        ..Expected::default()
    };
    let hit = search::find(finder, &Wanted { path: &path, program: true, expected: &expected });
    let headers = hit.file.as_ref().and_then(|file| Headers::of_file(file.bytes()));
    let index = match found {
        Some(index) => index,
        None => {
            let at = phdr.or(entry)?;
            let region = dump.region(Virt(at));
            let base = region.map_or(at & !(PAGE - 1), |region| region.start.0);
            let end = region.map_or(base.saturating_add(PAGE), |region| region.end.0);
            drafts.push(Draft { base, end, path, sure: true, kind: Some(ModuleKind::Program), ..Draft::default() });
            drafts.len() - 1
        }
    };
    let draft = drafts.get_mut(index)?;
    adopt(draft, headers, hit);
    Some(index)
}

/// Places a draft by the file that was found for it.
pub(super) fn adopt(draft: &mut Draft, headers: Option<Headers>, hit: Hit) {
    if let (Some(headers), Some(bias)) = (headers, hit.bias) {
        if let Some((low, high)) = headers.span() {
            draft.base = bias.wrapping_add(low);
            draft.end = draft.end.max(bias.wrapping_add(high)).max(draft.base.saturating_add(1));
        }
        draft.bias = Some(bias);
        draft.headers = Some(headers);
    }
    draft.hit = Some(hit);
}

/// The program's path as the kernel or the container knew it.
fn program_path(dump: &Dump) -> Option<String> {
    let of_kernel = || {
        let at = dump.auxv_value(AT_EXECFN).filter(|&at| at != 0)?;
        let name = dump.memory.read_cstr(Virt(at), 4096).ok()?;
        String::from_utf8(name).ok().filter(|name| !name.is_empty())
    };
    dump.process.executable.clone().or_else(of_kernel).or_else(|| dump.process.name.clone())
}

/// The loader's list without an auxiliary vector: only a program has the pointer to it.
fn any_program(dump: &Dump, drafts: &[Draft], issues: &mut Vec<Issue>) -> Vec<LinkEntry> {
    let lists = drafts.iter().filter_map(|draft| {
        let list = linkmap::of_program(dump, draft.headers.as_ref()?, draft.bias?, issues);
        (!list.is_empty()).then_some(list)
    });
    lists.take(1).next().unwrap_or_default()
}

/// The loader that the program asks for.
fn interpreter(dump: &Dump, drafts: &[Draft]) -> Option<String> {
    let program = drafts.iter().find(|draft| draft.kind == Some(ModuleKind::Program))?;
    let of_memory = || {
        let vaddr = program.headers.as_ref()?.program(PT_INTERP)?.vaddr;
        let path = dump.memory.read_cstr(Virt(program.bias?.wrapping_add(vaddr)), 4096).ok()?;
        String::from_utf8(path).ok().filter(|path| !path.is_empty())
    };
    let of_file = || program.hit.as_ref()?.file.as_ref()?.object.interpreter();
    of_memory().or_else(of_file)
}

/// Gives a name and a kind to what still has none.
fn name_the_rest(dump: &Dump, drafts: &mut [Draft]) {
    let interpreter = interpreter(dump, drafts);
    for draft in drafts {
        if draft.path.is_empty() {
            let of_itself = || linkmap::soname(dump, draft.headers.as_ref()?, draft.bias?);
            let name = match draft.kind {
                Some(ModuleKind::Program) => program_path(dump),
                Some(ModuleKind::Loader) => interpreter.clone(),
                _ => None,
            };
            draft.path = name.or_else(of_itself).unwrap_or_default();
        }
        if draft.kind.is_none() {
            draft.kind = Some(kind_of_name(draft.path.rsplit('/').next().unwrap_or_default()));
        }
    }
}

fn finish(finder: &Arc<Finder>, mut draft: Draft, ids: &HashMap<u64, &Vec<u8>>) -> Module {
    let dump = &*finder.dump;
    let kind = draft.kind.unwrap_or(ModuleKind::Library);
    let program = kind == ModuleKind::Program;
    let base = draft.base;
    let from_pages = build_id_of_image(&mut |offset, buf: &mut [u8]| {
        base.checked_add(offset).is_some_and(|at| dump.memory.read_exact(Virt(at), buf).is_ok())
    });
    let build_id = from_pages.or_else(|| ids.get(&base).map(|id| (*id).clone()));
    let value = |kind| dump.auxv_value(kind).filter(|&value| value != 0 && program);
    // Headers that came from the file itself prove nothing about it.
    let headers = if draft.hit.is_some() { None } else { draft.headers.take() };
    let fallback = if program && base < FIXED_BELOW { 0 } else { base };
    let found = OnceLock::new();
    if let Some(hit) = draft.hit {
        let _ = found.set(hit);
    }
    Module {
        base: Virt(base),
        end: Virt(draft.end.max(base.saturating_add(1))),
        bias: draft.bias.unwrap_or(fallback),
        kind,
        breakpad: build_id.as_deref().map(|id| Identity {
            debug_id: debug_id(id),
            debug_file: draft.path.rsplit('/').next().unwrap_or_default().to_owned(),
        }),
        path: draft.path,
        deleted: draft.deleted,
        version: None,
        timestamp: None,
        is_elf: true,
        expected: Expected {
            build_id: build_id.clone(),
            headers,
            mappings: draft.mappings,
            entry: value(AT_ENTRY),
            phdr: value(AT_PHDR),
            phnum: value(AT_PHNUM),
            dynamic: draft.dynamic,
            base: Some(base),
        },
        build_id,
        finder: finder.clone(),
        found,
        loaded: OnceLock::new(),
        fetched: OnceLock::new(),
        reloaded: OnceLock::new(),
        pe: super::pe::Slot::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::testing;
    use afterimage_dump::{Backing, Budget, FileOffset, Mapping, Segment, SegmentMemory};

    /// A page that is an ELF header and as many program headers as are looked at.
    fn page() -> Vec<u8> {
        let mut page = vec![0u8; 0x2000];
        page[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
        page[16] = 3;
        page[18] = 62;
        page[32] = 64;
        page[54] = 56;
        page[56] = 255;
        for i in 0..128 {
            page[64 + 56 * i] = 1;
            page[64 + 56 * i + 4] = 5;
            page[64 + 56 * i + 40] = 255;
        }
        page
    }

    #[test]
    fn more_modules_than_any_process_has() {
        let mut dump = testing::dump(vec![]);
        let source = Arc::new(page());
        let count = 150_000u64;
        let address = |i: u64| 0x10_0000 + i * 0x3000;
        let segment = |i| Segment {
            start: Virt(address(i)),
            end: Virt(address(i) + 0x2000),
            backing: Backing::File(FileOffset(0)),
        };
        dump.memory = Arc::new(SegmentMemory::new(source, (0..count).map(segment).collect()));
        dump.mappings = (0..count)
            .map(|i| Mapping {
                start: Virt(address(i)),
                end: Virt(address(i) + 0x2000),
                offset: 0,
                path: format!("/lib/{i}"),
            })
            .collect();
        let start = std::time::Instant::now();
        let finder = Arc::new(Finder::new(Arc::new(dump), Options::default(), Budget::default()));
        let modules = list(&finder);
        assert_eq!(modules.len(), MAX_MODULES);
        assert!(start.elapsed() < std::time::Duration::from_secs(8), "{:?}", start.elapsed());
        println!("{:?}", start.elapsed());
    }

    #[test]
    fn a_data_file_is_no_module() {
        let mut dump = testing::dump(vec![(0x10_0000, vec![7; 0x1000]), (0x20_0000, page())]);
        let mapping = |start: u64, path: &str| Mapping {
            start: Virt(start),
            end: Virt(start + 0x1000),
            offset: 0,
            path: path.to_owned(),
        };
        dump.mappings = vec![mapping(0x10_0000, "/locale-archive"), mapping(0x20_0000, "/mapped/as/data.so")];
        let finder = Arc::new(Finder::new(Arc::new(dump), Options::default(), Budget::default()));
        assert!(list(&finder).is_empty(), "{:?}", list(&finder));
    }
}
