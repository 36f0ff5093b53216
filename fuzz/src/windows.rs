//! Bodies for Windows' symbols: PE images as files and as memory, their unwind data, PDB files, decorated names.
//!
//! What it is not: a loader. What is asked for is taken from the headers and spread over the image.
//!
//! For example [`pe`] walks a stack that holds the image's own bytes, by the image's own unwind data.
//!
//! *Trap*: a PDB in the input stands alone; one input is either an image or a PDB.

use crate::meter;
use afterimage_symbols::{Blob, ImageBytes, Machine, ModuleSymbols, Pdb, PeImage, demangle, msvc_type_name};
use std::sync::Arc;

const STACK: u64 = 0x7000_0000;
const FRAMES: usize = 8;

struct Mapped(Vec<u8>);

impl ImageBytes for Mapped {
    fn read(&self, rva: u32, buf: &mut [u8]) -> usize {
        let rest = self.0.get(rva as usize..).unwrap_or_default();
        let have = rest.len().min(buf.len());
        buf[..have].copy_from_slice(&rest[..have]);
        have
    }
}

struct Frame<'a> {
    bytes: &'a [u8],
    sp: u64,
    innermost: bool,
}

impl Machine for Frame<'_> {
    fn register(&self, dwarf: u16) -> Option<u64> {
        match dwarf {
            4..=7 | 29 | 31 => Some(self.sp),
            0..=30 => Some(STACK + u64::from(dwarf) * 8),
            _ => None,
        }
    }

    fn read(&self, address: u64, size: usize) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(STACK)?).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn bias(&self) -> u64 {
        0
    }

    fn is_innermost(&self) -> bool {
        self.innermost
    }
}

fn ask(symbols: &ModuleSymbols, bytes: &[u8], places: &[u64]) {
    for &at in places {
        let _ = (symbols.function(at), symbols.locate(at));
        for innermost in [true, false] {
            let mut frame = Frame { bytes, sp: STACK, innermost };
            let mut at = at;
            for _ in 0..FRAMES {
                let Ok(step) = symbols.unwind(at, &frame) else { break };
                frame = Frame { bytes, sp: step.cfa, innermost: false };
                let Some(back) = step.return_address() else { break };
                at = back.wrapping_sub(1);
            }
        }
    }
    let _ = (symbols.symbol_by_name("main"), symbols.sources());
}

/// PE images, by file and by memory, and PDBs.
pub fn pe(bytes: &[u8]) {
    meter::metered(|| {
        let blob: Blob = Arc::new(bytes.to_vec());
        let pdb = Pdb::parse(blob.clone()).ok().map(Arc::new);
        if let Some(pdb) = &pdb {
            let _ = (pdb.debug_id(), pdb.has_id("0"));
            let symbols = ModuleSymbols::from_pe(None, Some(pdb.clone()));
            ask(&symbols, bytes, &(0..96).map(|step| 0x1000 + step * 0x23).collect::<Vec<_>>());
        }
        let images = [PeImage::of_file(blob), PeImage::of_memory(Arc::new(Mapped(bytes.to_vec())))];
        for image in images.into_iter().flatten().map(Arc::new) {
            let _ = (image.codeview().map(|id| id.debug_id()), image.code_id(), image.preferred_base());
            let mut code = [0u8; 64];
            let _ = image.read_relocated(image.entry(), &mut code, 0x7ff6_0000_0000);
            let size = u64::from(image.size_of_image()).clamp(1, 1 << 24);
            let mut places: Vec<u64> = (0..64).map(|step| size / 64 * step).collect();
            places.extend([u64::from(image.entry()), u64::from(u32::MAX), u64::MAX, size]);
            places.extend((0..32).map(|step| 0x1000 + step * 0x31));
            ask(&ModuleSymbols::from_pe(Some(image), pdb.clone()), bytes, &places);
        }
        let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(4096)).unwrap_or_default());
        for word in text.split('\n').take(64) {
            let _ = (demangle(word), msvc_type_name(word));
        }
    });
}
