//! Bodies for symbols: ELF objects and images, DWARF, Breakpad symbol files.
//!
//! What it is not: a debugger. Addresses to ask for are taken from the file itself, some at its edges.
//!
//! For example [`breakpad`] asks for every number that the text names, and unwinds from there.
//!
//! *Trap*: symbols are lazy. What is not asked for here is not tested here.

use crate::meter;
use afterimage_symbols::{
    Activation, Blob, Callee, CfiMiss, ElfObject, Files, Machine, ModuleSymbols, NoFiles, Step, build_id_of_image,
};
use std::sync::Arc;

const STACK: u64 = 0x7ffd_0000_0000;
const BIAS: u64 = 0x5555_5555_4000;
const FRAMES: usize = 8;

/// ELF objects and images: headers, notes, symbols, PLT, call-frame information.
pub fn elf_symbols(bytes: &[u8]) {
    meter::metered(|| {
        let blob: Blob = Arc::new(bytes.to_vec());
        let _ = build_id_of_image(&mut |at, buffer| {
            let from =
                usize::try_from(at).ok().and_then(|at| bytes.get(at..)).and_then(|from| from.get(..buffer.len()));
            from.map(|from| buffer.copy_from_slice(from)).is_some()
        });
        let places = places(&blob);
        let parsed = [
            ElfObject::parse(blob.clone()),
            ElfObject::parse_image(blob.clone()),
            ElfObject::parse_image_at(blob.clone(), BIAS),
        ];
        for object in parsed.into_iter().flatten() {
            let _ = (object.build_id().map(<[u8]>::len), object.bytes_at(object.entry(), 16).map(<[u8]>::len));
            let symbols = ModuleSymbols::from_elf(Some(object), None, Arc::new(NoFiles));
            let _ = (symbols.symbol_by_name("main"), symbols.symbol_entry_by_name("__abort_msg"));
            for &at in &places {
                let _ = symbols.function(at);
                unwind(&symbols, at, bytes);
            }
            let _ = symbols.sources();
        }
    });
}

/// DWARF of an object that is program, debug file, package, split unit and supplementary file at once.
pub fn dwarf(bytes: &[u8]) {
    meter::metered(|| {
        let blob: Blob = Arc::new(bytes.to_vec());
        let places = places(&blob);
        let files: [Arc<dyn Files>; 2] = [Arc::new(NoFiles), Arc::new(Itself(blob.clone()))];
        for files in files {
            let Ok(object) = ElfObject::parse(blob.clone()) else { return };
            let symbols = ModuleSymbols::from_elf(None, Some(object), files);
            for &at in &places {
                let _ = symbols.locate(at);
                let _ = symbols.function(at);
                let _ = symbols.variables(at, &Frame { bytes, cfa: STACK });
                let _ = symbols.entry_value(at, 5, &Callee { name: None, start: at }, &Frame { bytes, cfa: STACK });
            }
            let _ = symbols.sources();
        }
    });
}

/// How many of the addresses that [`dwarf`] asks for have a line: for the test of that target.
pub fn lines_met(bytes: &[u8]) -> usize {
    let blob: Blob = Arc::new(bytes.to_vec());
    let Ok(object) = ElfObject::parse(blob.clone()) else { return 0 };
    let places = places(&blob);
    let symbols = ModuleSymbols::from_elf(None, Some(object), Arc::new(NoFiles));
    places.iter().filter(|at| symbols.locate(**at).iter().any(|frame| frame.line.is_some())).count()
}

/// Breakpad symbol files.
pub fn breakpad(bytes: &[u8]) {
    meter::metered(|| {
        let Ok(symbols) = ModuleSymbols::from_breakpad(Arc::new(bytes.to_vec())) else { return };
        let text = String::from_utf8_lossy(bytes);
        let words = text.split_ascii_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok());
        for at in words.take(64).flat_map(|word| [word, word.wrapping_sub(1), word.wrapping_add(4)]) {
            let _ = symbols.function(at);
            let _ = symbols.locate(at);
            unwind(&symbols, at, bytes);
        }
        let _ = (symbols.symbol_by_name("main"), symbols.sources());
    });
}

/// Addresses worth asking for: the entry, the edges and insides of segments, and the functions that the seeds have; for an
/// object file the first bytes.
fn places(blob: &Blob) -> Vec<u64> {
    let Ok(object) = ElfObject::parse(blob.clone()) else { return Vec::new() };
    let mut places = vec![object.entry(), u64::MAX, u64::MAX >> 1];
    if object.segments().is_empty() {
        places.extend((0..32).map(|step| step * 4));
    }
    for segment in object.segments().iter().take(4) {
        let end = segment.vaddr.wrapping_add(segment.memsz);
        places.extend([segment.vaddr, end, end.wrapping_sub(1)]);
        let steps = if segment.flags & 1 != 0 { 24 } else { 2 };
        places.extend((1..steps).map(|step| segment.vaddr.wrapping_add(segment.memsz / steps * step)));
    }
    let symbols = ModuleSymbols::from_elf(Some(object), None, Arc::new(NoFiles));
    for start in ["one", "two", "local"].into_iter().filter_map(|name| symbols.symbol_by_name(name)) {
        places.extend((0..7).map(|step| start.wrapping_add(step * 4)));
    }
    places.truncate(96);
    places
}

/// A few steps from an address, over a stack that holds the file's own bytes.
fn unwind(symbols: &ModuleSymbols, at: u64, bytes: &[u8]) {
    let mut frame = Frame { bytes, cfa: STACK };
    let mut at = at;
    for _ in 0..FRAMES {
        let step: Result<Step, CfiMiss> = symbols.unwind(at, &frame);
        let step = match step {
            Ok(step) => step,
            Err(miss) => {
                std::hint::black_box(miss.to_string());
                return;
            }
        };
        frame.cfa = step.cfa;
        let Some(back) = step.return_address() else { return };
        at = back.wrapping_sub(BIAS).wrapping_sub(1);
    }
}

struct Frame<'a> {
    bytes: &'a [u8],
    cfa: u64,
}

impl Machine for Frame<'_> {
    fn register(&self, dwarf: u16) -> Option<u64> {
        match dwarf {
            4..=7 | 29..=31 => Some(self.cfa),
            0..=32 => Some(STACK + u64::from(dwarf) * 8),
            _ => None,
        }
    }

    fn read(&self, address: u64, size: usize) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(STACK)?).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn bias(&self) -> u64 {
        BIAS
    }
}

impl Activation for Frame<'_> {
    fn cfa(&self) -> Option<u64> {
        Some(self.cfa)
    }

    fn entry_value(&self, register: u16, _callee: &Callee) -> Option<u64> {
        self.register(register)
    }
}

/// Every file that is asked for is the same file again.
struct Itself(Blob);

impl Files for Itself {
    fn split_dwarf(&self, _comp_dir: Option<&str>, _name: &str, _dwo_id: u64) -> Option<Blob> {
        Some(self.0.clone())
    }

    fn package(&self) -> Option<Blob> {
        Some(self.0.clone())
    }

    fn supplementary(&self, _name: &str, _build_id: &[u8]) -> Option<Blob> {
        Some(self.0.clone())
    }
}
