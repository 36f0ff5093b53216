//! Debug information that lies apart from the program: separate debug files, dwz's supplementary files, `.dwo`, `.dwp`.
//!
//! *Trap*: `.gnu_debuglink` names a file by CRC, and a CRC over a gigabyte costs a second. It is only worked out where
//! there is no build-id to compare.

use super::search::{dump_folder, id_path, plain};
use super::verify::{crc32, hex};
use super::{ElfFile, Finder, map};
use crate::debuginfod::Kind;
use afterimage_dump::Issue;
use afterimage_symbols::{Blob, Files};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a debug file must agree with.
pub(crate) struct DebugOf<'a> {
    /// Path as the dumped system knew it.
    pub(crate) path: &'a str,
    /// The module's build-id, from the dump or from its file.
    pub(crate) build_id: Option<&'a [u8]>,
    /// The module's own file.
    pub(crate) main: Option<&'a ElfFile>,
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The separate debug file of a module.
pub(crate) fn find(finder: &Finder, of: &DebugOf<'_>) -> Option<Arc<ElfFile>> {
    let link = of.main.and_then(|main| main.object.debuglink());
    let agrees = |file: &ElfFile| match (of.build_id, file.object.build_id()) {
        (Some(known), Some(id)) => known == id,
        (None, None) => link.as_ref().is_some_and(|(_, crc)| crc32(file.bytes()) == *crc),
        _ => false,
    };
    let useful = |file: &ElfFile| file.object.has_debug_info() || file.object.has_symtab();
    let is_main = |file: &ElfFile| of.main.is_some_and(|main| main.path == file.path);
    for file in &finder.named().files {
        if !is_main(file) && useful(file) && agrees(file) {
            return Some(file.clone());
        }
    }
    let mut refused: Option<PathBuf> = None;
    for place in places(finder, of, link.as_ref().map(|(name, _)| name.as_str())) {
        let Some(file) = finder.elf(&place) else { continue };
        if is_main(&file) || !useful(&file) {
            continue;
        }
        if agrees(&file) {
            return Some(file);
        }
        refused.get_or_insert(place);
    }
    if let Some(id) = of.build_id {
        for path in finder.named().in_folders(finder, id) {
            if let Some(file) = finder.elf(&path).filter(|file| !is_main(file) && useful(file) && agrees(file)) {
                return Some(file);
            }
        }
    }
    if let Some(path) = refused {
        let what = if of.build_id.is_some() { "build-id" } else { "checksum" };
        finder.remark(Issue::remark(format!(
            "{} is not used as debug information of {}: its {what} is another",
            path.display(),
            of.path
        )));
    }
    None
}

fn places(finder: &Finder, of: &DebugOf<'_>, link: Option<&str>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let by_id = of.build_id.and_then(id_path);
    // A debuglink is a file name; one with a slash in it was made by an enemy.
    let link = link.filter(|link| !link.is_empty() && !link.contains('/') && *link != "..");
    let name = name_of(of.path);
    for folder in &finder.named().folders {
        if let Some(by_id) = &by_id {
            places.push(folder.join(".build-id").join(format!("{by_id}.debug")));
            places.push(folder.join(format!("{by_id}.debug")));
        }
        places.extend(of.build_id.map(|id| folder.join(hex(id)).join("debuginfo")));
        places.extend(link.map(|link| folder.join(link)));
        if !name.is_empty() && name != ".." {
            places.push(folder.join(format!("{name}.debug")));
            places.push(folder.join(name));
        }
    }
    let dirs = |root: Option<&PathBuf>| -> Vec<PathBuf> {
        let dirs = finder.options.debug_dirs.iter();
        match root {
            Some(root) => dirs.filter_map(|dir| Some(root.join(plain(dir.to_str()?)?))).collect(),
            None => dirs.cloned().collect(),
        }
    };
    let debug_dirs: Vec<PathBuf> =
        finder.options.sysroot.as_ref().map(|root| dirs(Some(root))).into_iter().flatten().chain(dirs(None)).collect();
    if let Some(by_id) = &by_id {
        places.extend(debug_dirs.iter().map(|dir| dir.join(".build-id").join(format!("{by_id}.debug"))));
    }
    if let Some(link) = link {
        if let Some(folder) = of.main.and_then(|main| main.path.parent()) {
            places.push(folder.join(link));
            places.push(folder.join(".debug").join(link));
        }
        let folder = plain(of.path).and_then(|path| Some(path.parent()?.to_owned()));
        for dir in &debug_dirs {
            places.extend(folder.as_ref().map(|folder| dir.join(folder).join(link)));
        }
        places.extend(dump_folder(finder).map(|folder| folder.join(link)));
    }
    if let Some(folder) = dump_folder(finder).filter(|_| !name.is_empty() && name != "..") {
        places.push(folder.join(format!("{name}.debug")));
    }
    if let (Some(cache), Some(id)) = (&finder.options.debuginfod_cache, of.build_id) {
        places.push(cache.join(hex(id)).join("debuginfo"));
    }
    places
}

/// The driver that a module's debug information asks for further files.
pub(crate) struct Driver {
    finder: Arc<Finder>,
    /// The files whose neighbours may be asked for.
    beside: Vec<PathBuf>,
    name: String,
}

impl Driver {
    pub(crate) fn new(finder: Arc<Finder>, name: &str, main: Option<&ElfFile>, debug: Option<&ElfFile>) -> Self {
        let beside = main.into_iter().chain(debug).map(|file| file.path.clone()).collect();
        Self { finder, beside, name: name.to_owned() }
    }

    fn named_files(&self, name: &str) -> Vec<PathBuf> {
        let named = self.finder.named();
        let files = named.files.iter().map(|file| file.path.clone());
        let files = files.filter(|path| path.file_name().and_then(|n| n.to_str()) == Some(name));
        files.chain(named.folders.iter().map(|folder| folder.join(name))).collect()
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        self.beside.iter().filter_map(|path| path.parent())
    }
}

/// The first path that holds an ELF file.
fn first_elf(places: Vec<PathBuf>) -> Option<Blob> {
    places.iter().find_map(|path| map::open(path).filter(|blob| map::bytes(blob).starts_with(b"\x7fELF")))
}

impl Files for Driver {
    fn split_dwarf(&self, comp_dir: Option<&str>, name: &str, _dwo_id: u64) -> Option<Blob> {
        let last = name_of(name);
        if last.is_empty() || last == ".." {
            return None;
        }
        let mut places = self.named_files(last);
        let full = match (name.starts_with('/'), comp_dir) {
            (true, _) => name.to_owned(),
            (false, Some(dir)) => format!("{}/{}", dir.trim_end_matches('/'), name.trim_start_matches("./")),
            (false, None) => name.to_owned(),
        };
        if let (Some(root), Some(path)) = (&self.finder.options.sysroot, plain(&full)) {
            places.push(root.join(path));
        }
        if self.finder.options.use_system_files && full.starts_with('/') {
            places.push(PathBuf::from(&full));
        }
        for folder in self.folders() {
            if !name.starts_with('/') && !name.contains("..") {
                places.push(folder.join(name));
            }
            places.push(folder.join(last));
        }
        first_elf(places)
    }

    fn package(&self) -> Option<Blob> {
        let file = format!("{}.dwp", self.name);
        let mut places = self.named_files(&file);
        for path in &self.beside {
            let mut with = path.clone().into_os_string();
            with.push(".dwp");
            places.push(with.into());
        }
        places.extend(dump_folder(&self.finder).map(|folder| folder.join(&file)));
        first_elf(places)
    }

    fn supplementary(&self, name: &str, build_id: &[u8]) -> Option<Blob> {
        let file = find_supplementary(&self.finder, name, build_id, &self.beside)?;
        Some(file.blob.clone())
    }
}

/// The file that `.gnu_debugaltlink` names; its build-id must agree.
pub(crate) fn find_supplementary(
    finder: &Finder,
    name: &str,
    build_id: &[u8],
    beside: &[PathBuf],
) -> Option<Arc<ElfFile>> {
    let last = name_of(name);
    let mut places: Vec<PathBuf> = Vec::new();
    if let Some(file) = finder.downloads.get(build_id, Kind::DebugInfo) {
        return Some(file);
    }
    for file in &finder.named().files {
        if file.object.build_id() == Some(build_id) {
            return Some(file.clone());
        }
    }
    let by_id = id_path(build_id);
    for folder in &finder.named().folders {
        places.push(folder.join(last));
        places.extend(by_id.as_ref().map(|id| folder.join(".build-id").join(format!("{id}.debug"))));
        places.push(folder.join(".dwz").join(last));
    }
    match plain(name) {
        Some(path) => {
            places.extend(finder.options.sysroot.as_ref().map(|root| root.join(path)));
            places.push(PathBuf::from(name));
        }
        // Folklore: dwz -M writes any name it is told to; Debian and Fedora have paths relative to the debug file.
        None => places.extend(beside.iter().filter_map(|path| Some(path.parent()?.join(name)))),
    }
    places.extend(beside.iter().filter_map(|path| Some(path.parent()?.join(last))));
    for dir in &finder.options.debug_dirs {
        places.extend(by_id.as_ref().map(|id| dir.join(".build-id").join(format!("{id}.debug"))));
        places.push(dir.join(".dwz").join(last));
    }
    places.extend(dump_folder(finder).map(|folder| folder.join(last)));
    places.extend(finder.options.debuginfod_cache.as_ref().map(|cache| cache.join(hex(build_id)).join("debuginfo")));
    places.iter().filter_map(|path| finder.elf(path)).find(|file| file.object.build_id() == Some(build_id))
}
