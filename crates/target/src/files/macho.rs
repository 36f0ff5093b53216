//! Mach-O files by UUID: dSYM bundles, programs and libraries that the user named or that lie beside the dump.
//!
//! *What it is not*: it reads no symbols, and asks neither Spotlight nor a server.
//!
//! *Example*: `--debug App.dSYM` finds `App.dSYM/Contents/Resources/DWARF/App`; so does a folder with such bundles in it.
//!
//! *Trap*: one bundle has a slice for each processor, each with a UUID of its own; only the one that agrees is used. A name
//! never is enough: the same name is built again and again.

use super::{Finder, map};
use afterimage_dump::Issue;
use afterimage_symbols::MachObject;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Most files of one folder that are looked at.
const MAX_FOLDER: usize = 2048;

/// Files by the UUID of a slice.
#[derive(Default)]
pub(crate) struct MachFiles {
    by_uuid: HashMap<Vec<u8>, PathBuf>,
}

/// Entries of a folder, in an order that does not depend on the file system.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_FOLDER).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("dSYM")) && path.is_dir()
}

/// The files with DWARF in a bundle.
fn in_bundle(bundle: &Path) -> Vec<PathBuf> {
    entries(&bundle.join("Contents/Resources/DWARF"))
}

fn slices(path: &Path) -> Vec<MachObject> {
    map::open(path).and_then(|blob| MachObject::slices(&blob).ok()).unwrap_or_default()
}

impl MachFiles {
    /// Looks at all that the user named, and at the bundles beside the dump.
    pub(crate) fn new(finder: &Finder) -> Self {
        let mut files = Self::default();
        let wanted = |uuid: &[u8]| finder.dump.modules.iter().any(|module| module.build_id.as_deref() == Some(uuid));
        for named in &finder.options.debug_paths {
            let mut paths = Vec::new();
            if is_bundle(named) {
                paths = in_bundle(named);
            } else if named.is_dir() {
                for path in entries(named) {
                    match is_bundle(&path) {
                        true => paths.extend(in_bundle(&path)),
                        false => paths.push(path),
                    }
                }
                // Xcode's archives keep their bundles one floor down.
                paths.extend(
                    entries(&named.join("dSYMs")).iter().filter(|path| is_bundle(path)).flat_map(|p| in_bundle(p)),
                );
            } else {
                paths.push(named.clone());
            }
            let (mut any, mut used) = (false, false);
            for path in paths {
                for uuid in files.take(&path) {
                    any = true;
                    used |= wanted(&uuid);
                }
            }
            if any && !used {
                let text = format!("{} is not used: no image of the dump has its UUID", named.display());
                finder.remark(Issue::remark(text));
            }
        }
        if let Some(folder) = super::search::dump_folder(finder) {
            for bundle in entries(&folder).iter().filter(|path| is_bundle(path)) {
                for path in in_bundle(bundle) {
                    files.take(&path);
                }
            }
        }
        files
    }

    fn take(&mut self, path: &Path) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for slice in slices(path) {
            if let Some(uuid) = slice.uuid() {
                found.push(uuid.to_vec());
                let place = self.by_uuid.entry(uuid.to_vec()).or_insert_with(|| path.to_owned());
                // Of a program and its bundle, the one with DWARF.
                if slice.has_debug_info() {
                    *place = path.to_owned();
                }
            }
        }
        found
    }

    /// The file of an image.
    pub(crate) fn path(&self, uuid: &[u8]) -> Option<&Path> {
        self.by_uuid.get(uuid).map(PathBuf::as_path)
    }

    /// The slice of an image.
    pub(crate) fn open(&self, uuid: &[u8]) -> Option<(PathBuf, MachObject)> {
        let path = self.path(uuid)?;
        let slice = slices(path).into_iter().find(|slice| slice.uuid().is_some_and(|own| own.as_slice() == uuid))?;
        Some((path.to_owned(), slice))
    }
}
