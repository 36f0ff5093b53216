//! PE and PDB files with wrong bytes: whatever is changed, the readers come back, and quickly.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use afterimage_symbols::{Machine, ModuleSymbols, Pdb, PeImage};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Frame {
    sp: u64,
    innermost: bool,
}

impl Machine for Frame {
    fn register(&self, dwarf: u16) -> Option<u64> {
        Some(self.sp.wrapping_add(u64::from(dwarf) * 8))
    }
    fn read(&self, address: u64, _size: usize) -> Option<u64> {
        (address & 0x800 == 0).then_some(address.rotate_left(7) & 0xffff)
    }
    fn bias(&self) -> u64 {
        0
    }
    fn is_innermost(&self) -> bool {
        self.innermost
    }
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn ask(bytes: Vec<u8>) {
    let blob: afterimage_symbols::Blob = Arc::new(bytes);
    let pdb = Pdb::parse(blob.clone()).ok().map(Arc::new);
    let image = PeImage::of_file(blob).ok().map(Arc::new);
    if pdb.is_none() && image.is_none() {
        return;
    }
    if let Some(image) = &image {
        let mut code = [0u8; 40];
        let _ = (image.codeview(), image.read_relocated(image.entry(), &mut code, 0x7000_0000));
    }
    let symbols = ModuleSymbols::from_pe(image, pdb);
    for at in (0..24u64).map(|step| 0x1000 + step * 0x91).chain([u64::MAX, 0xffff_ffff, 0]) {
        let _ = (symbols.function(at), symbols.locate(at));
        for innermost in [true, false] {
            let _ = symbols.unwind(at, &Frame { sp: 0x10_0000, innermost });
        }
    }
    let _ = (symbols.symbol_by_name("main"), symbols.sources());
}

#[test]
fn any_bytes_may_be_wrong() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    let seeds = [
        "windows-wine/bin/dumpme_arm64.exe",
        "windows-wine/bin/dumpme_arm64.pdb",
        "windows-symbols/pe_only_symbol_test.dll",
        "windows-user/sentry-crash/crash.exe",
        "windows-user/sentry-crash/crash.pdb.zst",
    ];
    let mut numbers = Numbers(7);
    let mut slowest = Duration::ZERO;
    for seed in seeds {
        let Ok(bytes) = std::fs::read(root.join(seed)) else {
            println!("left out: no sample {seed}");
            continue;
        };
        let bytes = if seed.ends_with(".zst") { zstd::stream::decode_all(&bytes[..]).unwrap() } else { bytes };
        let rounds = if bytes.len() > 500_000 { 150 } else { 800 };
        for round in 0..rounds {
            let mut bytes = bytes.clone();
            // Headers and tables of PDBs stand in the first and last pages; hits there count for more.
            let near = if round % 2 == 0 { 0x600.min(bytes.len()) } else { bytes.len() };
            for _ in 0..1 + numbers.next() % 12 {
                let at = numbers.next() as usize % near;
                let wide = numbers.next() as usize % 4 + 1;
                let value = [0u8, 0xff, 0x7f, numbers.next() as u8][numbers.next() as usize % 4];
                for byte in bytes.iter_mut().skip(at).take(wide) {
                    *byte = value;
                }
            }
            if round % 7 == 0 {
                let keep = numbers.next() as usize % bytes.len();
                bytes.truncate(keep);
            }
            let start = Instant::now();
            ask(bytes);
            slowest = slowest.max(start.elapsed());
        }
    }
    println!("slowest: {slowest:?}");
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
}
