//! The dump's memory with the mapped files behind it: code and read-only data that the dump left out are read from a
//! file that agrees.
//!
//! *Trap*: only ranges that the process could not have changed may come from a file: a page that the dump holds always
//! wins, and a writable mapping is never filled from its file. Pages that are read-only *now* may have been written
//! before (`PT_GNU_RELRO`, text relocations): the segment's own flags count too.

use crate::files::ElfFile;
use crate::modules::Module;
use crate::modules::headers::PF_W;
use afterimage_dump::{Absence, Extent, Fault, Memory, SegmentMemory, Virt};
use std::sync::Arc;

const DT_TEXTREL: u64 = 22;
const DT_FLAGS: u64 = 30;
const DF_TEXTREL: u64 = 4;

/// Memory of the dumped process.
pub struct TargetMemory {
    dump: Arc<SegmentMemory<Virt>>,
    /// A machine's own page tables.
    kernel: Option<Arc<dyn Memory<Virt>>>,
    modules: Arc<[Module]>,
}

/// How many modules may lie in the gaps of one other.
const NESTED: usize = 3;

/// The module whose address range holds `at`.
pub(crate) fn module_index(modules: &[Module], at: Virt) -> Option<usize> {
    let next = modules.partition_point(|module| module.base <= at);
    // Where a module lies in a gap of another, the one that starts later is the one that is meant.
    let mut near = modules.get(next.saturating_sub(NESTED)..next).unwrap_or_default().iter().rev();
    let back = near.position(|module| at < module.end)?;
    next.checked_sub(back + 1)
}

impl TargetMemory {
    pub(crate) fn new(dump: Arc<SegmentMemory<Virt>>, modules: Arc<[Module]>) -> Self {
        Self { dump, kernel: None, modules }
    }

    /// With the kernel's virtual memory of a machine's dump behind it.
    pub(crate) fn with_kernel(mut self, kernel: Option<Arc<dyn Memory<Virt>>>) -> Self {
        self.kernel = kernel;
        self
    }

    /// Reads from the file that was mapped at `at`; `None` where there is none, or where it may have been changed.
    fn read_file(&self, at: Virt, buf: &mut [u8]) -> Option<usize> {
        let module = module_index(&self.modules, at).and_then(|i| self.modules.get(i))?;
        let region = module.finder.dump.region(at);
        if module.is_pe() {
            return self.read_pe(module, at, buf);
        }
        if !module.is_elf || region.is_some_and(|region| region.permissions.is_some_and(|perms| perms.write)) {
            return None;
        }
        let file = module.elf_file().filter(|_| !module.is_own_file())?;
        let own = at.0.wrapping_sub(module.found().bias.unwrap_or(module.bias));
        let segment = file.object.segments().iter().find(|segment| {
            segment.flags & PF_W == 0 && own.checked_sub(segment.vaddr).is_some_and(|skip| skip < segment.filesz)
        })?;
        if relocates_text(file) {
            return None;
        }
        let skip = own - segment.vaddr;
        let mut len = (segment.filesz - skip).min(buf.len() as u64);
        if let Some(region) = region {
            len = len.min(region.end.0 - at.0);
        }
        let from = usize::try_from(segment.offset.checked_add(skip)?).ok()?;
        let len = usize::try_from(len).ok()?;
        // Stop where the dump takes over again: what it holds was really there.
        let len = self.until_present(at, len);
        let rest = file.bytes().get(from..)?;
        let len = len.min(rest.len());
        buf.get_mut(..len)?.copy_from_slice(rest.get(..len)?);
        (len > 0).then_some(len)
    }

    /// Code out of a PE file, with the addresses in it as the loader left them. Other read-only data is not taken: the
    /// loader writes imports into it.
    fn read_pe(&self, module: &Module, at: Virt, buf: &mut [u8]) -> Option<usize> {
        let image = module.pe_file()?;
        let rva = u32::try_from(at.0.checked_sub(module.base.0)?).ok()?;
        if !image.is_fixed_code(rva) {
            return None;
        }
        let len = self.until_present(at, buf.len());
        let have = image.read_relocated(rva, buf.get_mut(..len)?, module.base.0);
        (have > 0).then_some(have)
    }

    fn until_present(&self, at: Virt, len: usize) -> usize {
        // Where a segment is read page by page out of a machine's memory, a fault is of this one page.
        const PAGE: u64 = 4096;
        let segments = self.dump.segments();
        let present = |backing| !matches!(backing, afterimage_dump::Backing::Absent(_));
        let mut first = segments.partition_point(|segment| segment.end <= at);
        let mut len = len;
        if segments.get(first).is_some_and(|segment| segment.start <= at && present(segment.backing)) {
            len = len.min((PAGE - at.0 % PAGE) as usize);
            first += 1;
        }
        let next = segments.get(first..).unwrap_or_default().iter().find(|segment| present(segment.backing));
        next.map_or(len, |segment| len.min(segment.start.0.saturating_sub(at.0).min(usize::MAX as u64) as usize))
    }
}

/// Whether the loader writes into the module's code (old 32-bit libraries that were built without `-fPIC`).
fn relocates_text(file: &ElfFile) -> bool {
    let told = |&(tag, value): &(u64, u64)| tag == DT_TEXTREL || (tag == DT_FLAGS && value & DF_TEXTREL != 0);
    *file.text_relocations.get_or_init(|| file.object.dynamic().iter().any(told))
}

impl Memory<Virt> for TargetMemory {
    fn read_at(&self, at: Virt, buf: &mut [u8]) -> Result<usize, Fault<Virt>> {
        match self.dump.read_at(at, buf) {
            Err(fault) if matches!(fault.why, Absence::NotInDump | Absence::NotMapped | Absence::Truncated) => {
                match &self.kernel {
                    // Its reason is the better one: it knows what was mapped.
                    Some(kernel) => kernel.read_at(at, buf),
                    None => self.read_file(at, buf).ok_or(fault),
                }
            }
            read => read,
        }
    }

    fn extents(&self) -> Vec<Extent<Virt>> {
        match &self.kernel {
            Some(kernel) => kernel.extents(),
            None => self.dump.extents(),
        }
    }
}
