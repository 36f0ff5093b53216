//! What a PE module says of its code: names from its PDB, its COFF symbols or its exports, lines from the PDB, and the way
//! to the caller by unwind data.
//!
//! Trap: addresses here are relative to the image's base (RVAs), whatever base the image was linked for.

use super::{MACHINE_AMD64, MACHINE_ARM64, PeImage, arm64, coff, exports, x64};
use crate::dwarf::Found;
use crate::pdb::Pdb;
use crate::{CfiMiss, Function, FunctionKind, Machine, Step, demangle};
use std::sync::{Arc, OnceLock};

/// Names by relative address, sorted.
type Names = Vec<(u32, String)>;

/// An image, its PDB, or both.
pub(crate) struct PeSymbols {
    image: Option<Arc<PeImage>>,
    pdb: Option<Arc<Pdb>>,
    coff: OnceLock<Names>,
    exports: OnceLock<Names>,
}

fn rva(at: u64) -> Option<u32> {
    u32::try_from(at).ok()
}

/// The last name at or before an address.
fn last(names: &Names, at: u32) -> Option<(u32, &str)> {
    let after = names.partition_point(|(start, _)| *start <= at);
    names.get(after.checked_sub(1)?).map(|(start, name)| (*start, name.as_str()))
}

impl PeSymbols {
    pub(crate) fn new(image: Option<Arc<PeImage>>, pdb: Option<Arc<Pdb>>) -> Self {
        Self { image, pdb, coff: OnceLock::new(), exports: OnceLock::new() }
    }

    pub(crate) fn sources(&self) -> Vec<&'static str> {
        let mut sources = Vec::new();
        if self.pdb.is_some() {
            sources.push("pdb");
        }
        if !self.coff().is_empty() {
            sources.push("coff");
        }
        if !self.exports().is_empty() {
            sources.push("exports");
        }
        if self.image.as_ref().is_some_and(|image| image.directory(super::DIRECTORY_EXCEPTION).is_some()) {
            sources.push("pdata");
        }
        sources
    }

    fn coff(&self) -> &Names {
        self.coff.get_or_init(|| self.image.as_ref().map(|image| coff::read(image)).unwrap_or_default())
    }

    fn exports(&self) -> &Names {
        self.exports.get_or_init(|| self.image.as_ref().map(|image| exports::read(image)).unwrap_or_default())
    }

    /// Where the function that holds an address begins and ends, by the unwind data: of a piece that was moved away, the
    /// function that it is a piece of.
    fn bounds(&self, at: u32) -> Option<(u32, u32)> {
        let image = self.image.as_ref()?;
        match image.machine() {
            MACHINE_AMD64 => {
                let piece = x64::find(image, at).ok()??;
                let whole = x64::primary(image, piece);
                Some((whole.begin, whole.end))
            }
            MACHINE_ARM64 => arm64::bounds(image, at).ok()?,
            _ => None,
        }
    }

    pub(crate) fn function(&self, at: u64) -> Option<Function> {
        let at = rva(at)?;
        if let Some(found) = self.pdb.as_ref().and_then(|pdb| pdb.function(at)) {
            return Some(found);
        }
        let label = |names: &Names, source: [&'static str; 2]| {
            let (start, name) = last(names, at)?;
            let label = self.labelled(at, start, name, source);
            // Another entry may be the function's own: its beginning is known better than the last label.
            label.or_else(|| {
                let (begin, _) = self.bounds(at)?;
                let (start, name) = last(names, begin).filter(|(start, _)| *start == begin)?;
                self.labelled(at, start, name, source)
            })
        };
        let public = self.pdb.as_ref().and_then(|pdb| pdb.public(at));
        let public =
            public.and_then(|(start, name)| self.labelled(at, start, &name, ["pdb public", "nearest pdb public"]));
        public
            .or_else(|| label(self.coff(), ["coff", "nearest coff"]))
            .or_else(|| label(self.exports(), ["export", "nearest export"]))
    }

    /// A label as a function: with bounds if the unwind data has them, not at all if that shows another function between.
    /// The sources are the words for a name that the bounds prove, and for one that only stands before the address.
    fn labelled(&self, at: u32, start: u32, name: &str, [sure, nearest]: [&'static str; 2]) -> Option<Function> {
        let mut size = None;
        let mut exact = false;
        if let Some((begin, end)) = self.bounds(at) {
            // A second entry in the middle of a function is a name for what follows.
            let inside = begin < start && start < end && at < end;
            if begin != start && !inside {
                return None;
            }
            exact = begin == start;
            size = (exact && at < end).then(|| u64::from(end.saturating_sub(begin)));
        }
        if at < start {
            return None;
        }
        Some(Function {
            name: demangle(name),
            raw: name.to_owned(),
            start: u64::from(start),
            size,
            exact,
            kind: if exact { FunctionKind::Function } else { FunctionKind::Label },
            source: if exact { sure } else { nearest },
        })
    }

    pub(crate) fn locate(&self, at: u64) -> Vec<Found> {
        let at = rva(at);
        at.zip(self.pdb.as_ref()).map(|(at, pdb)| pdb.locate(at)).unwrap_or_default()
    }

    pub(crate) fn symbol(&self, name: &str) -> Option<(u64, u64)> {
        let by_name = |names: &Names| names.iter().find(|(_, known)| known == name).map(|(at, _)| (u64::from(*at), 0));
        let pdb = self.pdb.as_ref().and_then(|pdb| pdb.address_of(name)).map(|at| (u64::from(at), 0));
        pdb.or_else(|| by_name(self.coff())).or_else(|| by_name(self.exports()))
    }

    pub(crate) fn unwind(&self, at: u64, machine: &dyn Machine) -> Result<Step, CfiMiss> {
        let at = rva(at).ok_or(CfiMiss::NotCovered)?;
        match &self.image {
            Some(image) if image.machine() == MACHINE_AMD64 => x64::step(image, at, machine),
            Some(image) if image.machine() == MACHINE_ARM64 => arm64::step(image, at, machine),
            // 32-bit programs describe their frames in the PDB only.
            _ => match &self.pdb {
                Some(pdb) => pdb.unwind(at, machine),
                None => Err(CfiMiss::NoTables),
            },
        }
    }
}
