//! Raw images: the byte at place N is the byte of physical address N, or N behind where an arm64 machine's memory begins.
//!
//! *What it is not*: a container. Nothing in such a file says what it is, so all other readers are asked first, and then
//! the content must look like the memory of a machine.
//!
//! *Trap*: memory-mapped devices lie below 4 GiB, so an image of more than some 3 GiB that has no hole there (Firecracker,
//! VMware's `.vmem`) is no raw image: its upper part belongs elsewhere. Files beside it say where.

use super::{machine_dump, raw_base};
use crate::machine::Machine;
use crate::source::{SharedSource, Source, read_vec};
use crate::{
    Arch, Backing, Budget, Dump, Endian, Error, FileOffset, Format, FormatReader, Issue, Os, Phys, Segment,
    SegmentMemory,
};
use std::path::Path;
use std::sync::Arc;

/// The reader; its probe never agrees, since no magic does: [`looks_like_memory`] is asked when all others refuse.
pub const READER: FormatReader = FormatReader { name: "raw image", probe: |_| false, open };

/// Smallest machine.
const LEAST: u64 = 1 << 20;

/// Names that people give to raw images.
const EXTENSIONS: [&str; 8] = ["raw", "mem", "vmem", "dd", "img", "bin", "dump", "memory"];

/// Opens the dump as a raw image, whatever it looks like.
pub(crate) fn open(_path: &Path, source: SharedSource, _budget: &Budget) -> Result<Dump, Error> {
    let mut dump = image(source.clone());
    // No machine of another kind has its memory elsewhere.
    if dump.arch == Arch::Aarch64
        && dump.os == Os::Linux
        && let Some(base) = raw_base::of(&source).filter(|base| base.0 != 0)
        && let Some(machine) = &mut dump.machine
    {
        machine.memory = Arc::new(memory(&source, base.0));
        dump.issues.push(Issue::remark(format!(
            "the image begins at physical address {base:#x}: only so the kernel's page tables lead to the kernel"
        )));
    }
    Ok(dump)
}

/// All of a source as memory that begins at a physical address.
pub(super) fn memory(source: &SharedSource, base: u64) -> SegmentMemory<Phys> {
    let (start, end) = (Phys(base), Phys(base.saturating_add(source.len())));
    SegmentMemory::new(source.clone(), vec![Segment { start, end, backing: Backing::File(FileOffset(0)) }])
}

/// A source as a raw image that begins at 0.
pub(crate) fn image(source: SharedSource) -> Dump {
    let machine = Machine::new(Arc::new(memory(&source, 0)));
    let mut dump = machine_dump(Format::Raw, &source, (Arch::Other(0), Endian::Little), machine);
    dump.issues.push(Issue::remark("a raw image does not say which of its zeros were memory and which were holes"));
    if !source.len().is_multiple_of(4096) {
        dump.issues.push(Issue::remark("its length is no multiple of a page: its end may have been cut off"));
    }
    super::look_into(&mut dump);
    dump
}

/// Whether a file that no reader knows seems to be the memory of a machine: large, and with something in it that only
/// memory has.
pub(crate) fn looks_like_memory(path: &Path, source: &dyn Source, head: &[u8]) -> bool {
    if source.len() < LEAST {
        return false;
    }
    interrupt_vectors(head)
        || (named_like_memory(path) && source.len().is_multiple_of(512) && !is_text(head))
        || super::signs::of_a_kernel(source)
}

/// Whether a file's name says that it is a raw image, packed or not: `host.raw`, `host.mem.gz`.
pub(crate) fn named_like_memory(path: &Path) -> bool {
    const PACKED: [&str; 6] = ["gz", "xz", "zst", "lz4", "bz2", "zstd"];
    let extension =
        |path: &Path| path.extension().and_then(|text| text.to_str()).unwrap_or_default().to_ascii_lowercase();
    let last = extension(path);
    if PACKED.contains(&last.as_str()) {
        let inner = path.file_stem().map(Path::new).map(extension).unwrap_or_default();
        return EXTENSIONS.contains(&inner.as_str());
    }
    EXTENSIONS.contains(&last.as_str())
}

/// Page 0 of a PC: vectors of the BIOS, each a far address in its segment 0xf000 or 0xc000, or zero.
pub(super) fn interrupt_vectors(head: &[u8]) -> bool {
    let vectors = head.get(..0x80).unwrap_or_default().as_chunks::<4>().0;
    let bios = vectors.iter().filter(|[_, _, low, high]| *low == 0 && (*high & 0xf0 == 0xf0 || *high & 0xf0 == 0xc0));
    bios.count() * 4 > vectors.len() * 3 && !vectors.is_empty()
}

fn is_text(head: &[u8]) -> bool {
    head.get(..256).is_some_and(|head| std::str::from_utf8(head).is_ok() && !head.contains(&0))
}

/// The part of a packed image that is looked at before all of it is unpacked.
pub(crate) fn may_be_memory(head: &dyn Source) -> bool {
    let first = read_vec(head, 0, 4096).unwrap_or_default();
    interrupt_vectors(&first)
}
