//! Finding the entry (FDE) that covers an address.
//!
//! Not here: working its rules out (`step`).
//!
//! Example: a program of a million functions has a sorted `.eh_frame_hdr`: 20 looks at it, one entry parsed.
//!
//! Trap: `.debug_frame` has no such table, and neither has an `.eh_frame` linked with `--no-eh-frame-hdr`; these are
//! gone through once, on first need.

use super::header::EhFrameHdr;
use super::step;
use crate::elf::{EM_AARCH64, ElfObject, PT_GNU_EH_FRAME};
use crate::{CfiMiss, CfiSource, Machine, Step};
use gimli::{BaseAddresses, CieOrFde, DebugFrame, EhFrame, EndianSlice, RunTimeEndian, UnwindOffset, UnwindSection};
use std::sync::{Arc, OnceLock};

type Slice<'a> = EndianSlice<'a, RunTimeEndian>;

/// Start, end and place of one entry.
type Indexed = (u64, u64, u64);

/// More entries than this are not indexed (Chrome has a million).
const MAX_ENTRIES: usize = 4_000_000;

/// The unwind tables of one file.
pub(crate) struct FrameTables {
    object: Arc<ElfObject>,
    eh_index: OnceLock<Vec<Indexed>>,
    debug_index: OnceLock<Vec<Indexed>>,
}

impl FrameTables {
    pub(crate) fn new(object: Arc<ElfObject>) -> Self {
        FrameTables { object, eh_index: OnceLock::new(), debug_index: OnceLock::new() }
    }

    fn endian(&self) -> RunTimeEndian {
        if self.object.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big }
    }

    /// `.eh_frame_hdr`, by section or by program header.
    fn header(&self) -> Option<EhFrameHdr<'_>> {
        let object = &self.object;
        let address = match object.section_named(".eh_frame_hdr") {
            Some(section) => section.addr,
            None => object.program(PT_GNU_EH_FRAME)?.vaddr,
        };
        // In a debug file these bytes are not there.
        object.bytes_at(address, 4)?;
        EhFrameHdr::parse(object.rest_at(address)?, address, object.is_64(), object.is_little_endian())
    }

    /// `.eh_frame`: its bytes and their address.
    fn eh_frame(&self, header: Option<&EhFrameHdr<'_>>) -> Option<(&[u8], u64)> {
        match self.object.section_named(".eh_frame") {
            Some(section) => Some((self.object.section_bytes(".eh_frame")?, section.addr)),
            None => {
                let address = header?.eh_frame;
                Some((self.object.rest_at(address)?, address))
            }
        }
    }

    pub(crate) fn has_debug_frame(&self) -> bool {
        self.object.has_section(".debug_frame")
    }

    fn bases(&self, eh_frame: u64, header: u64) -> BaseAddresses {
        let address = |name: &str| self.object.section_named(name).map_or(0, |section| section.addr);
        BaseAddresses::default()
            .set_eh_frame(eh_frame)
            .set_eh_frame_hdr(header)
            .set_text(address(".text"))
            .set_got(address(".got"))
    }

    /// One step by `.eh_frame`.
    pub(crate) fn step_eh(&self, at: u64, machine: &dyn Machine) -> Result<Step, CfiMiss> {
        let header = self.header();
        let (bytes, address) = self.eh_frame(header.as_ref()).ok_or(CfiMiss::NoTables)?;
        let mut section = EhFrame::new(bytes, self.endian());
        section.set_address_size(self.object.address_size());
        if self.object.machine() == EM_AARCH64 {
            section.set_vendor(gimli::Vendor::AArch64);
        }
        let bases = self.bases(address, 0);
        let offset = match header.filter(EhFrameHdr::has_table) {
            Some(header) => header.lookup(at).and_then(|entry| entry.checked_sub(address)),
            None => find(self.eh_index.get_or_init(|| index(&section, &bases)), at),
        };
        self.step_at(&section, &bases, offset.ok_or(CfiMiss::NotCovered)?, at, machine, CfiSource::EhFrame)
    }

    /// One step by `.debug_frame`.
    pub(crate) fn step_debug(&self, at: u64, machine: &dyn Machine) -> Result<Step, CfiMiss> {
        if !self.has_debug_frame() {
            return Err(CfiMiss::NoTables);
        }
        let bytes = self.object.section_bytes(".debug_frame").ok_or(CfiMiss::NoTables)?;
        let mut section = DebugFrame::new(bytes, self.endian());
        section.set_address_size(self.object.address_size());
        if self.object.machine() == EM_AARCH64 {
            section.set_vendor(gimli::Vendor::AArch64);
        }
        let bases = self.bases(0, 0);
        let offset = find(self.debug_index.get_or_init(|| index(&section, &bases)), at);
        self.step_at(&section, &bases, offset.ok_or(CfiMiss::NotCovered)?, at, machine, CfiSource::DebugFrame)
    }

    fn step_at<'a, S>(
        &self,
        section: &S,
        bases: &BaseAddresses,
        offset: u64,
        at: u64,
        machine: &dyn Machine,
        source: CfiSource,
    ) -> Result<Step, CfiMiss>
    where
        S: UnwindSection<Slice<'a>>,
        S::Offset: UnwindOffset<usize>,
    {
        let broken = |error: gimli::Error| CfiMiss::Malformed(error.to_string());
        let offset = usize::try_from(offset).map_err(|_| CfiMiss::NotCovered)?;
        let fde = section.fde_from_offset(bases, S::Offset::from(offset), S::cie_from_offset).map_err(broken)?;
        if !fde.contains(at) {
            return Err(CfiMiss::NotCovered);
        }
        step::step(&self.object, section, bases, &fde, at, machine, source)
    }
}

fn find(index: &[Indexed], at: u64) -> Option<u64> {
    let after = index.partition_point(|(start, ..)| *start <= at);
    // Ranges do not overlap in a sound file; a few are looked at, for files that are not.
    index.get(..after)?.iter().rev().take(8).find(|(_, end, _)| at < *end).map(|(.., offset)| *offset)
}

/// Goes through a whole section.
fn index<'a, S>(section: &S, bases: &BaseAddresses) -> Vec<Indexed>
where
    S: UnwindSection<Slice<'a>>,
    S::Offset: UnwindOffset<usize>,
{
    let mut out = Vec::new();
    let mut entries = section.entries(bases);
    let mut last_cie = None;
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        let place = partial.offset();
        let fde = partial.parse(|section, bases, offset| match &last_cie {
            Some((known, cie)) if *known == offset => Ok(gimli::CommonInformationEntry::clone(cie)),
            _ => {
                let cie = section.cie_from_offset(bases, offset)?;
                last_cie = Some((offset, cie.clone()));
                Ok(cie)
            }
        });
        // One entry with an unknown augmentation does not hide the others.
        let Ok(fde) = fde else { continue };
        // Functions that the linker dropped leave entries at 0 (or 1) behind.
        if fde.initial_address() > 1 && fde.end_address() > fde.initial_address() {
            out.push((fde.initial_address(), fde.end_address(), place as u64));
        }
        if out.len() >= MAX_ENTRIES {
            break;
        }
    }
    out.sort_unstable();
    out
}
