//! Source lines of a kernel, out of a vmlinux that somebody has: the one thing about its code that a kernel does not carry
//! in itself.
//!
//! *What it is not*: needed for anything else. Names, stacks and types come out of the image.
//!
//! *Trap*: a vmlinux of another build gives lines that look right and are wrong. Only one with the very build-id that lies
//! in the kernel's memory is used; VMCOREINFO's copy of it is garbage in some stable kernels, so the note itself is read.

use super::kernel::Linux;
use crate::files::debug::{self, DebugOf, Driver};
use crate::files::search::plain;
use crate::files::verify::hex;
use crate::files::{ElfFile, Finder};
use crate::target::{Location, Target};
use afterimage_dump::bytes::Fields;
use afterimage_dump::{Endian, Issue};
use afterimage_symbols::ModuleSymbols;
use std::path::PathBuf;
use std::sync::Arc;

/// Where addresses of kernels begin.
const KERNEL: u64 = 1 << 63;
/// Bytes of all notes of a kernel at most.
const NOTES: u64 = 64 << 10;

/// A kernel's debug information.
pub struct KernelLines {
    symbols: ModuleSymbols,
    /// Run-time addresses minus those that it was linked to.
    bias: u64,
    /// The folder that it was built in, with a slash at its end: kernels' files are known by their places below it.
    root: String,
    /// The file.
    pub path: PathBuf,
}

impl KernelLines {
    pub(crate) fn symbols(&self) -> &ModuleSymbols {
        &self.symbols
    }

    /// Run-time addresses minus those that the vmlinux was linked to.
    pub(crate) fn bias(&self) -> u64 {
        self.bias
    }

    /// The functions at an address of the kernel's own code, innermost (inlined) first; of a return address give the one
    /// before it. Only the unit that holds the address is read.
    /// Files are told by their places in the kernel's tree, as `kernel/panic.c`.
    #[must_use]
    pub fn at(&self, address: u64) -> Vec<Location> {
        let below = |file: String| file.strip_prefix(&self.root).map(str::to_owned).unwrap_or(file);
        let found = self.symbols.locate(address.wrapping_sub(self.bias)).into_iter();
        let location = found.map(|frame| Location {
            function: frame.function,
            offset: None,
            file: frame.file.map(below),
            line: frame.line,
            column: frame.column,
            inlined: frame.inlined,
            source: None,
        });
        location.collect()
    }
}

impl Linux {
    /// The build-id of the kernel, from its notes in memory.
    #[must_use]
    pub fn build_id(&self) -> Option<Vec<u8>> {
        let (start, stop) = (self.symbols.address("__start_notes")?, self.symbols.address("__stop_notes")?);
        let length = stop.checked_sub(start).filter(|length| *length <= NOTES)?;
        build_id(&self.bytes(start, usize::try_from(length).ok()?))
    }
}

/// The GNU build-id among ELF notes.
fn build_id(notes: &[u8]) -> Option<Vec<u8>> {
    const NT_GNU_BUILD_ID: u32 = 3;
    const HEADER: usize = 12;
    let fields = Fields::new(notes, Endian::Little);
    let mut at = 0usize;
    loop {
        let (name, content) = (fields.u32(at)? as usize, fields.u32(at.checked_add(4)?)? as usize);
        let kind = fields.u32(at.checked_add(8)?)?;
        let owner = at.checked_add(HEADER)?;
        let place = owner.checked_add(name.checked_next_multiple_of(4)?)?;
        if kind == NT_GNU_BUILD_ID && fields.slice(owner, name) == Some(b"GNU\0".as_slice()) {
            return fields.slice(place, content).filter(|id| !id.is_empty()).map(<[u8]>::to_vec);
        }
        at = place.checked_add(content.checked_next_multiple_of(4)?)?;
    }
}

impl Target {
    /// Lines of the Linux kernel in this dump, if its vmlinux is among the files that the user named or where such files
    /// are kept; looked for when it is first asked for.
    ///
    /// # Errors
    /// Why there are none.
    pub fn kernel_lines(&self) -> Result<&KernelLines, &str> {
        self.kernel_lines.get_or_init(|| find(self)).as_ref().map_err(String::as_str)
    }
}

fn find(target: &Target) -> Result<KernelLines, String> {
    let linux = target.linux()?;
    let finder = target.finder();
    let id = linux.build_id();
    let file = id.as_deref().and_then(|id| vmlinux(linux, finder, id));
    let Some(file) = file else { return Err(refusal(finder, id.as_deref())) };
    let driver = Driver::new(target.shared_finder().clone(), "vmlinux", Some(&file), None);
    let symbols = ModuleSymbols::from_elf(file.reopen(), None, Arc::new(driver));
    let by_symbol = ["_text", "_stext"].into_iter().find_map(|name| {
        let here = linux.symbols.address(name)?;
        Some(here.wrapping_sub(symbols.symbol_by_name(name)?))
    });
    // Without symbols: its first segment begins with its code.
    let by_segment = || {
        let addresses = file.object.segments().iter().map(|segment| segment.vaddr);
        Some(linux.symbols.address("_text")?.wrapping_sub(addresses.filter(|at| *at >= KERNEL).min()?))
    };
    let bias = by_symbol.or_else(by_segment);
    let bias = bias.ok_or_else(|| format!("{}: where its code lies in memory is not known", file.path.display()))?;
    let root = linux.symbols.address("panic").and_then(|panic| {
        let place = symbols.locate(panic.wrapping_sub(bias)).pop()?;
        Some(place.file?.strip_suffix("kernel/panic.c")?.to_owned())
    });
    Ok(KernelLines { symbols, bias, root: root.unwrap_or_default(), path: file.path.clone() })
}

/// The vmlinux with this build-id and with debug information.
fn vmlinux(linux: &Linux, finder: &Finder, id: &[u8]) -> Option<Arc<ElfFile>> {
    let good = |file: &Arc<ElfFile>| file.object.build_id() == Some(id) && file.object.has_debug_info();
    let of = DebugOf { path: "vmlinux", build_id: Some(id), main: None };
    if let Some(file) = debug::find(finder, &of).filter(good) {
        return Some(file);
    }
    // Distributions name it by the release. That comes out of the image, and must not lead elsewhere.
    let release = linux.release()?;
    plain(&format!("/{release}"))?;
    let places = [
        format!("vmlinux-{release}"),
        format!("boot/vmlinux-{release}"),
        format!("lib/modules/{release}/vmlinux"),
        format!("usr/lib/debug/boot/vmlinux-{release}"),
        format!("usr/lib/debug/lib/modules/{release}/vmlinux"),
    ];
    let folders = finder.named().folders.iter().chain(&finder.options.debug_dirs);
    let mut paths = folders.flat_map(|folder| places.iter().map(|place| folder.join(place)));
    paths.find_map(|path| finder.elf(&path).filter(good))
}

/// Why none is used: a kernel's file that was named is told with what is wrong about it.
fn refusal(finder: &Finder, id: Option<&[u8]>) -> String {
    let is_kernel = |file: &&Arc<ElfFile>| file.object.segments().iter().any(|segment| segment.vaddr >= KERNEL);
    let Some(named) = finder.named().files.iter().find(is_kernel) else {
        return match (finder.named().folders.is_empty(), id) {
            (true, _) => "no vmlinux was given".into(),
            (false, None) => "no vmlinux is looked for: the kernel's build-id is not in the dump".into(),
            (false, Some(id)) => format!("no vmlinux with the kernel's build-id {} lies in the folders given", hex(id)),
        };
    };
    let path = named.path.display();
    let why = match (id, named.object.build_id()) {
        (None, _) => format!("{path} is not used: the kernel's build-id is not in the dump"),
        (Some(id), Some(own)) if own == id => format!("{path} has no debug information"),
        (Some(id), Some(own)) => {
            format!("{path} is not used: its build-id is {}, the kernel's is {}", hex(own), hex(id))
        }
        (Some(id), None) => format!("{path} is not used: it has no build-id, the kernel's is {}", hex(id)),
    };
    finder.remark(Issue::remark(why.clone()));
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, owner: &[u8], content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [owner.len() as u32, content.len() as u32, kind] {
            out.extend(number.to_le_bytes());
        }
        for part in [owner, content] {
            out.extend(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let mut notes = note(0x100, b"Linux\0", &[0]);
        notes.extend(note(3, b"Xen\0", b"no"));
        assert_eq!(build_id(&notes), None);
        notes.extend(note(3, b"GNU\0", &[1, 2, 3, 4, 5]));
        notes.extend(note(3, b"GNU\0", &[9]));
        assert_eq!(build_id(&notes), Some(vec![1, 2, 3, 4, 5]));
        for cut in 0..notes.len() {
            let _ = build_id(&notes[..cut]);
        }
        assert_eq!(build_id(&[0xff; 64]), None);
    }
}
