//! Where a module's program or library may lie, in the order in which places are trusted: what the user named, the
//! sysroot, the path itself, the folder of the dump, folders by build-id.
//!
//! *Trap*: paths come out of the dump, so an enemy may have written them. They are only joined when they are plain (no
//! `..`), only regular files are opened, and a file that does not agree is never used.

use super::verify::{Agreed, Expected, hex, is_debug_only};
use super::{ElfFile, FileMatch, Finder};
use afterimage_dump::Issue;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Most entries of one folder, with those of its subfolders, that are looked into for their build-ids.
const MAX_FOLDER: usize = 2048;
/// Subfolders within each other that are looked into: as deep as distributions put their debug files.
const MAX_DEPTH: usize = 8;

/// What stands at the paths that the user named.
pub(crate) struct Named {
    /// ELF files.
    pub(crate) files: Vec<Arc<ElfFile>>,
    /// Other files: `.dwo` are ELF, so these are `.sym` and what nobody knows.
    pub(crate) others: Vec<PathBuf>,
    /// Folders.
    pub(crate) folders: Vec<PathBuf>,
    /// ELF files in these folders by build-id; made when nothing else helps.
    by_id: OnceLock<HashMap<Vec<u8>, Vec<PathBuf>>>,
}

impl Named {
    pub(crate) fn new(finder: &Finder) -> Self {
        let mut named = Self { files: vec![], others: vec![], folders: vec![], by_id: OnceLock::new() };
        for path in &finder.options.debug_paths {
            if path.is_dir() {
                named.folders.push(path.clone());
            } else if let Some(file) = finder.elf(path) {
                named.files.push(file);
            } else if path.is_file() {
                named.others.push(path.clone());
            } else {
                finder.remark(Issue::remark(format!("{}: no such file or folder", path.display())));
            }
        }
        named
    }

    /// Files in the named folders with this build-id, whatever their names are.
    pub(crate) fn in_folders(&self, finder: &Finder, id: &[u8]) -> Vec<PathBuf> {
        let index = self.by_id.get_or_init(|| {
            let mut index: HashMap<Vec<u8>, Vec<PathBuf>> = HashMap::new();
            for folder in &self.folders {
                for path in files_below(folder) {
                    let file = super::map::open(&path).and_then(|blob| ElfFile::new(path, blob));
                    if let Some(file) = file
                        && let Some(id) = file.object.build_id()
                    {
                        index.entry(id.to_vec()).or_default().push(file.path.clone());
                    }
                }
            }
            let _ = finder;
            index
        });
        index.get(id).cloned().unwrap_or_default()
    }
}

/// The files in a folder and its subfolders, the nearest first. Links to folders are not followed: they may lead in circles.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut left = MAX_FOLDER;
    let mut folders = vec![folder.to_owned()];
    for _ in 0..=MAX_DEPTH {
        let mut below = Vec::new();
        for folder in folders {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if left == 0 {
                    return files;
                }
                left -= 1;
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_folder { &mut below } else { &mut files }.push(entry.path());
            }
        }
        folders = below;
    }
    files
}

/// What is known of the module whose file is wanted.
pub(crate) struct Wanted<'a> {
    /// Path as the dumped system knew it.
    pub(crate) path: &'a str,
    /// Whether it is the program itself.
    pub(crate) program: bool,
    /// What the dump tells of it.
    pub(crate) expected: &'a Expected,
}

impl Wanted<'_> {
    /// The last part of the path, for either kind of slash.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit(['/', '\\']).next().unwrap_or(self.path)
    }
}

/// A path of the dumped system as one that can be joined to a folder; `None` if it is not absolute and plain.
pub(crate) fn plain(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let mut parts = path.components();
    if parts.next() != Some(Component::RootDir) {
        return None;
    }
    let rest: PathBuf = parts
        .map(|part| if let Component::Normal(part) = part { Some(part) } else { None })
        .collect::<Option<PathBuf>>()?;
    (!rest.as_os_str().is_empty()).then_some(rest)
}

/// `xx/rest` of a build-id, as folders by build-id have it.
pub(crate) fn id_path(id: &[u8]) -> Option<String> {
    let (first, rest) = id.split_first()?;
    (!rest.is_empty()).then(|| format!("{first:02x}/{}", hex(rest)))
}

/// The folder in which the dump lies.
pub(crate) fn dump_folder(finder: &Finder) -> Option<PathBuf> {
    let parent = finder.options.dump_path.as_ref()?.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// All places, in order. Each is only looked at if those before it gave nothing.
fn places(finder: &Finder, wanted: &Wanted<'_>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let (name, path, id) = (wanted.name(), plain(wanted.path), wanted.expected.build_id.as_deref());
    let plain_name = !name.is_empty() && name != "." && name != "..";
    let by_id = id.and_then(id_path);
    for folder in &finder.named().folders {
        if let Some(by_id) = &by_id {
            places.push(folder.join(".build-id").join(by_id));
            places.push(folder.join(by_id));
        }
        places.extend(id.map(|id| folder.join(hex(id)).join("executable")));
        places.extend(path.as_ref().map(|path| folder.join(path)));
        places.extend(plain_name.then(|| folder.join(name)));
    }
    if let (Some(root), Some(path)) = (&finder.options.sysroot, &path) {
        places.push(root.join(path));
    }
    // Another machine's paths mean nothing here unless a build-id decides.
    if finder.options.use_system_files && path.is_some() && (id.is_some() || finder.own.is_none()) {
        places.push(PathBuf::from(wanted.path));
    }
    if let Some(folder) = dump_folder(finder).filter(|_| plain_name) {
        places.push(folder.join(name));
    }
    for folder in &finder.options.debug_dirs {
        places.extend(by_id.as_ref().map(|by_id| folder.join(".build-id").join(by_id)));
    }
    if let (Some(cache), Some(id)) = (&finder.options.debuginfod_cache, id) {
        places.push(cache.join(hex(id)).join("executable"));
    }
    places
}

/// A module's file, how it was matched, and the bias that follows from it.
pub(crate) struct Hit {
    pub(crate) matched: FileMatch,
    pub(crate) file: Option<Arc<ElfFile>>,
    pub(crate) bias: Option<u64>,
}

/// Looks for the file of a module; the first that agrees wins. A file under the module's own path that does not agree
/// is remarked.
pub(crate) fn find(finder: &Finder, wanted: &Wanted<'_>) -> Hit {
    let mut refused: Option<(PathBuf, String)> = None;
    let try_file = |file: &Arc<ElfFile>| -> Result<Agreed, String> {
        if is_debug_only(file.bytes()) {
            return Err("it holds only debug information".to_owned());
        }
        wanted.expected.judge(finder.dump.arch, &*finder.dump.memory, file.bytes(), file.object.build_id())
    };
    let hit = |file: Arc<ElfFile>, agreed: Agreed| {
        let path = file.path.clone();
        let matched = if agreed.by_build_id { FileMatch::BuildId(path) } else { FileMatch::Name(path) };
        Hit { matched, file: Some(file), bias: agreed.bias }
    };
    // A file that the user named may have any name if the build-id agrees; else it must be called like the module, or
    // be meant for the program.
    for file in &finder.named().files {
        let same_name = file.path.file_name().and_then(|name| name.to_str()) == Some(wanted.name());
        match try_file(file) {
            Ok(agreed) if agreed.by_build_id || same_name || wanted.program => return hit(file.clone(), agreed),
            Err(why) if same_name && !is_debug_only(file.bytes()) => {
                refused.get_or_insert((file.path.clone(), why));
            }
            Ok(_) | Err(_) => {}
        }
    }
    for place in places(finder, wanted) {
        let Some(file) = finder.elf(&place) else { continue };
        match try_file(&file) {
            Ok(agreed) => return hit(file, agreed),
            Err(why) => {
                refused.get_or_insert((place, why));
            }
        }
    }
    if let Some(id) = &wanted.expected.build_id {
        for path in finder.named().in_folders(finder, id) {
            if let Some(file) = finder.elf(&path)
                && let Ok(agreed) = try_file(&file)
            {
                return hit(file, agreed);
            }
        }
    }
    let Some((path, why)) = refused else {
        return Hit { matched: FileMatch::NotFound, file: None, bias: None };
    };
    finder.remark(Issue::remark(format!("{} is not used for {}: {why}", path.display(), wanted.path)));
    Hit { matched: FileMatch::Mismatch { path, why }, file: None, bias: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_absolute_paths_are_joined() {
        assert_eq!(plain("/usr/lib/libc.so.6"), Some(PathBuf::from("usr/lib/libc.so.6")));
        assert_eq!(plain("/usr/../etc/shadow"), None);
        assert_eq!(plain("lib/x"), None);
        assert_eq!(plain("/"), None);
        assert_eq!(plain(""), None);
        assert_eq!(id_path(&[0xab, 0xcd, 0x01]).as_deref(), Some("ab/cd01"));
        assert_eq!(id_path(&[0xab]), None);
    }
}
