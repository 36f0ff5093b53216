//! Where a Windows module's file and its PDB may lie, in the order in which places are trusted: what the user named, the
//! sysroot, the folder of the dump, the folders of the symbol path.
//!
//! *What it is not*: it asks no server; [`crate::symsrv`] does, when the program asks it to.
//!
//! *Trap*: names come out of the dump and are written by Windows: any case, backslashes, a drive. They are joined part by
//! part, and no file is used whose identity (debug file, or link time and size) is another.

use super::search::dump_folder;
use super::{FileMatch, Finder, map};
use crate::modules::Module;
use afterimage_dump::Issue;
use afterimage_symbols::{Pdb, PeImage};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Entries of one folder that are compared regardless of case.
const MAX_FOLDER: usize = 4096;

/// A module's file and how it was matched.
pub(crate) struct Hit {
    pub(crate) matched: FileMatch,
    pub(crate) image: Option<Arc<PeImage>>,
}

/// Files by path, so that each is mapped once. `None`: it is none of this kind.
#[derive(Default)]
pub(crate) struct Opened {
    images: Mutex<HashMap<PathBuf, Option<Arc<PeImage>>>>,
    pdbs: Mutex<HashMap<PathBuf, Option<Arc<Pdb>>>>,
}

fn once<T: Clone>(
    known: &Mutex<HashMap<PathBuf, Option<T>>>,
    path: &Path,
    open: impl FnOnce() -> Option<T>,
) -> Option<T> {
    if let Some(found) = known.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
        return found.clone();
    }
    let found = open();
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), found.clone());
    found
}

impl Opened {
    pub(crate) fn image(&self, path: &Path) -> Option<Arc<PeImage>> {
        once(&self.images, path, || PeImage::of_file(map::open(path)?).ok().map(Arc::new))
    }

    pub(crate) fn pdb(&self, path: &Path) -> Option<Arc<Pdb>> {
        once(&self.pdbs, path, || Pdb::parse(map::open(path)?).ok().map(Arc::new))
    }
}

/// A name that may be joined to a folder.
pub(crate) fn safe(name: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    !name.is_empty() && name.len() < 256 && name != "." && name != ".." && !name.contains(odd)
}

/// The last part of a path of Windows.
pub(crate) fn last(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// A file or folder in a folder, whatever the case of its name.
fn entry(folder: &Path, name: &str) -> Option<PathBuf> {
    if !safe(name) {
        return None;
    }
    let exact = folder.join(name);
    if exact.exists() {
        return Some(exact);
    }
    let entries = std::fs::read_dir(folder).ok()?.flatten().take(MAX_FOLDER);
    entries.into_iter().find(|e| e.file_name().to_str().is_some_and(|n| n.eq_ignore_ascii_case(name))).map(|e| e.path())
}

/// A path of the dumped system below a folder: without its drive, regardless of case.
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let path = path.strip_prefix("\\??\\").unwrap_or(path);
    let mut parts: Vec<&str> = path.split(['\\', '/']).filter(|part| !part.is_empty()).collect();
    match parts.first_mut() {
        Some(first) if first.eq_ignore_ascii_case("SystemRoot") => *first = "Windows",
        Some(first) if first.ends_with(':') => {
            parts.remove(0);
        }
        _ => {}
    }
    if parts.is_empty() || parts.len() > 64 {
        return None;
    }
    parts.into_iter().try_fold(root.to_owned(), |folder, part| entry(&folder, part))
}

/// Whether an image is the module's; `Ok(true)` if something in it proves that.
fn judge(module: &Module, image: &PeImage) -> Result<bool, String> {
    let size = module.end.0.saturating_sub(module.base.0);
    if let Some(wanted) = &module.breakpad {
        let has = image.codeview().map(afterimage_symbols::CodeView::debug_id);
        return match has {
            Some(id) if id.eq_ignore_ascii_case(&wanted.debug_id) => Ok(true),
            Some(id) => Err(format!("its debug file is {id}, the dumped module's is {}", wanted.debug_id)),
            None => Err(format!("it names no debug file, the dumped module's is {}", wanted.debug_id)),
        };
    }
    if u64::from(image.size_of_image()) != size {
        return Err(format!("its size in memory is {:#x}, the dumped module's is {size:#x}", image.size_of_image()));
    }
    match module.timestamp {
        Some(time) if time != image.timestamp() => {
            Err(format!("its link time is {:#x}, the dumped module's is {time:#x}", image.timestamp()))
        }
        Some(_) => Ok(true),
        None => Ok(false),
    }
}

/// Names under which a store keeps the module's file: timestamp and size.
pub(crate) fn code_id(module: &Module) -> Option<String> {
    let size = module.end.0.checked_sub(module.base.0)?;
    Some(format!("{:08X}{size:x}", module.timestamp?))
}

/// `name/ID/name` in a folder, and in a store of two levels `na/name/ID/name`.
pub(crate) fn in_store(folder: &Path, name: &str, id: &str) -> Vec<PathBuf> {
    let two: String = name.chars().take(2).collect();
    let ids = [id.to_owned(), id.to_uppercase(), id.to_lowercase()];
    let mut places = Vec::new();
    for root in [folder.to_owned(), folder.join(two)] {
        for name_as in [name.to_owned(), name.to_lowercase()] {
            places.extend(ids.iter().map(|id| root.join(&name_as).join(id).join(&name_as)));
        }
    }
    places.dedup();
    places
}

/// Looks for the file of a module.
pub(crate) fn find(module: &Module) -> Hit {
    let finder = &*module.finder;
    let name = module.name();
    let mut refused: Option<(PathBuf, String)> = None;
    let try_path = |path: PathBuf, refused: &mut Option<(PathBuf, String)>| {
        let image = finder.windows.image(&path)?;
        match judge(module, &image) {
            Ok(proved) => {
                let matched = if proved { FileMatch::BuildId(path) } else { FileMatch::Name(path) };
                Some(Hit { matched, image: Some(image) })
            }
            Err(why) => {
                refused.get_or_insert((path, why));
                None
            }
        }
    };
    let same = |path: &Path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.eq_ignore_ascii_case(name));
    for path in &finder.named().others {
        // A file of another name must prove that it is the one.
        let image = finder.windows.image(path);
        let fits = same(path) || image.is_some_and(|image| judge(module, &image) == Ok(true));
        if fits && let Some(hit) = try_path(path.clone(), &mut refused) {
            return hit;
        }
    }
    if safe(name) {
        for place in places(finder, module, name) {
            if let Some(hit) = try_path(place, &mut refused) {
                return hit;
            }
        }
    }
    let Some((path, why)) = refused else { return Hit { matched: FileMatch::NotFound, image: None } };
    finder.remark(Issue::remark(format!("{} is not used for {}: {why}", path.display(), module.path)));
    Hit { matched: FileMatch::Mismatch { path, why }, image: None }
}

fn places(finder: &Finder, module: &Module, name: &str) -> impl Iterator<Item = PathBuf> {
    let id = code_id(module);
    let mut places = Vec::new();
    for folder in &finder.named().folders {
        places.extend(below(folder, &module.path));
        places.extend(entry(folder, name));
        places.extend(id.iter().flat_map(|id| in_store(folder, name, id)));
    }
    if let Some(root) = &finder.options.sysroot {
        places.extend(below(root, &module.path));
    }
    if cfg!(windows) && finder.options.use_system_files {
        places.push(PathBuf::from(&module.path));
    }
    places.extend(dump_folder(finder).and_then(|folder| entry(&folder, name)));
    for folder in finder.symbol_path.folders() {
        places.extend(entry(folder, name));
        places.extend(id.iter().flat_map(|id| in_store(folder, name, id)));
    }
    places.into_iter().filter(|path| path.is_file())
}

/// Looks for the PDB of a module.
pub(crate) fn find_pdb(module: &Module) -> Option<(PathBuf, Arc<Pdb>)> {
    let finder = &*module.finder;
    let wanted = module.debug_identity()?;
    let name = last(&wanted.debug_file).to_owned();
    let open = |path: PathBuf| {
        let pdb = finder.windows.pdb(&path)?;
        if pdb.has_id(&wanted.debug_id) {
            return Some((path, pdb));
        }
        finder.remark(Issue::remark(format!(
            "{} is not used for {}: it is {}, the dumped module's is {}",
            path.display(),
            module.path,
            pdb.debug_id(),
            wanted.debug_id
        )));
        None
    };
    // What has another identity and another name was named for another module.
    let named = finder.named().others.iter().filter(|path| {
        let same = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.eq_ignore_ascii_case(&name));
        same || finder.windows.pdb(path).is_some_and(|pdb| pdb.has_id(&wanted.debug_id))
    });
    if let Some(found) = named.cloned().find_map(open) {
        return Some(found);
    }
    if !safe(&name) {
        return None;
    }
    let mut places = Vec::new();
    for folder in &finder.named().folders {
        places.extend(entry(folder, &name));
        places.extend(in_store(folder, &name, &wanted.debug_id));
    }
    let beside = module.pe_path().and_then(|path| path.parent().map(Path::to_owned));
    for folder in beside.into_iter().chain(dump_folder(finder)) {
        places.extend(entry(&folder, &name));
    }
    for folder in finder.symbol_path.folders() {
        places.extend(entry(folder, &name));
        places.extend(in_store(folder, &name, &wanted.debug_id));
        crate::symsrv::remark_packed(finder, folder, &name, &wanted.debug_id);
    }
    places.into_iter().filter(|path| path.is_file()).find_map(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_windows_below_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("Windows/System32");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("NTDLL.dll"), b"x").unwrap();
        for path in [
            "C:\\WINDOWS\\system32\\ntdll.dll",
            "\\SystemRoot\\System32\\ntdll.dll",
            "\\??\\C:\\Windows\\System32\\ntdll.dll",
        ] {
            assert_eq!(below(root.path(), path), Some(folder.join("NTDLL.dll")), "{path}");
        }
        assert_eq!(below(root.path(), "C:\\..\\..\\etc\\passwd"), None);
        assert!(!safe("a/b") && !safe("..") && !safe("a:b") && safe("my app.pdb"));
    }
}
