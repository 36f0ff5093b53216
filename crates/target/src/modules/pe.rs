//! A Windows module: its image out of a file or out of the dump, and its PDB.
//!
//! *Trap*: what the dump holds of an image is what the loader made of it, and in a small dump only some pages. So a file
//! that agrees comes first; the dump's own memory is used where there is none.

use super::Module;
use crate::files::FileMatch;
use crate::files::breakpad::Identity;
use crate::files::pe;
use afterimage_dump::{MemoryExt, Os, SegmentMemory, Virt};
use afterimage_symbols::{ImageBytes, Pdb, PeImage};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// What was found of a PE module.
#[derive(Default)]
pub(crate) struct Slot {
    found: OnceLock<pe::Hit>,
    in_dump: OnceLock<Option<Arc<PeImage>>>,
    /// What a symbol server gave.
    pub(crate) fetched: OnceLock<Fetched>,
}

/// Files of a symbol server.
#[derive(Default)]
pub(crate) struct Fetched {
    pub(crate) image: Option<(PathBuf, Arc<PeImage>)>,
    pub(crate) pdb: Option<(PathBuf, Arc<Pdb>)>,
}

/// An image in the dump's memory.
struct InDump {
    memory: Arc<SegmentMemory<Virt>>,
    base: u64,
    size: u64,
}

impl ImageBytes for InDump {
    fn read(&self, rva: u32, buf: &mut [u8]) -> usize {
        let left = self.size.saturating_sub(u64::from(rva));
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (Some(at), Some(buf)) = (self.base.checked_add(u64::from(rva)), buf.get_mut(..len)) else { return 0 };
        self.memory.read_upto(Virt(at), buf)
    }
}

impl Module {
    /// Whether it is one of Windows' own format.
    pub(crate) fn is_pe(&self) -> bool {
        !self.is_elf && self.finder.dump.os == Os::Windows
    }

    /// Whether neither a file nor the dump shows its headers.
    pub(crate) fn lacks_image(&self) -> bool {
        self.is_pe() && self.pe_image().is_none()
    }

    fn pe_hit(&self) -> &pe::Hit {
        self.pe.found.get_or_init(|| pe::find(self))
    }

    pub(super) fn pe_match(&self) -> FileMatch {
        if let Some((path, _)) = self.pe.fetched.get().and_then(|fetched| fetched.image.as_ref()) {
            return FileMatch::BuildId(path.clone());
        }
        match &self.pe_hit().matched {
            FileMatch::NotFound if self.holds_code() => FileMatch::InDump,
            other => other.clone(),
        }
    }

    /// Whether the dump holds the image's headers and the code at its entry point.
    fn holds_code(&self) -> bool {
        let mut byte = [0u8];
        self.image_in_dump().is_some_and(|image| image.entry() != 0 && image.read(image.entry(), &mut byte) == 1)
    }

    /// Its file, if one agreed.
    pub(crate) fn pe_file(&self) -> Option<&Arc<PeImage>> {
        let fetched = self.pe.fetched.get().and_then(|fetched| fetched.image.as_ref());
        fetched.map(|(_, image)| image).or_else(|| self.pe_hit().image.as_ref())
    }

    fn image_in_dump(&self) -> Option<&Arc<PeImage>> {
        let image = self.pe.in_dump.get_or_init(|| {
            let bytes = InDump {
                memory: self.finder.dump.memory.clone(),
                base: self.base.0,
                size: self.end.0.saturating_sub(self.base.0),
            };
            PeImage::of_memory(Arc::new(bytes)).ok().map(Arc::new)
        });
        image.as_ref()
    }

    /// Its file, else the image that the dump holds.
    pub(crate) fn pe_image(&self) -> Option<&Arc<PeImage>> {
        self.pe_file().or_else(|| self.image_in_dump())
    }

    /// Which debug file belongs to it: as the dump lists it, else as the image says.
    pub(crate) fn debug_identity(&self) -> Option<Identity> {
        self.breakpad.clone().or_else(|| {
            let codeview = self.pe_image()?.codeview()?;
            Some(Identity { debug_id: codeview.debug_id(), debug_file: codeview.path.clone() })
        })
    }

    /// Its PDB, if one agrees.
    pub(crate) fn pdb(&self) -> Option<(PathBuf, Arc<Pdb>)> {
        let fetched = self.pe.fetched.get().and_then(|fetched| fetched.pdb.clone());
        fetched.or_else(|| pe::find_pdb(self))
    }

    /// Path of its file, if one agreed.
    pub(crate) fn pe_path(&self) -> Option<PathBuf> {
        self.pe_match().path().map(std::path::Path::to_owned)
    }
}
