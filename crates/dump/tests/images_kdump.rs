//! What QEMU writes of machines whose processor it does not name: all but x86 and s390.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::{Arch, Budget, Dump, open_source};
use afterimage_testkit::build_image::{self, Layout};
use std::path::Path;
use std::sync::Arc;

/// Where the processor's name stands, the region of the notes, and room for a note.
const NAME: usize = 12 + 4 * 65;
const REGION: usize = 4096 + 48;
const NOTE: usize = 4096 + 2048;

/// A file without a processor's name, with a status note of this many bytes for each of two processors.
fn unnamed(status: usize) -> Dump {
    let mut layout = Layout::new();
    layout.present(0x1000..0x4000);
    let mut file = build_image::kdump::build(&layout, 6, true, false);
    file[NAME..NAME + 8].copy_from_slice(b"Unknown\0");
    let mut notes = Vec::new();
    for cpu in 0..2u8 {
        for word in [5, status as u32, 1] {
            notes.extend_from_slice(&word.to_le_bytes());
        }
        notes.extend_from_slice(b"CORE\0\0\0\0");
        notes.extend(vec![cpu + 1; status]);
    }
    file[REGION..REGION + 8].copy_from_slice(&(NOTE as u64).to_le_bytes());
    file[REGION + 8..REGION + 16].copy_from_slice(&(notes.len() as u64).to_le_bytes());
    file[NOTE..NOTE + notes.len()].copy_from_slice(&notes);
    open_source(Path::new("unnamed"), Arc::new(file), &Budget::default()).unwrap()
}

#[test]
fn the_length_of_its_notes_tells_a_processor() {
    for (status, arch) in [(392, Arch::Aarch64), (376, Arch::Riscv64), (504, Arch::Ppc64)] {
        let dump = unnamed(status);
        assert_eq!((dump.arch, dump.pointer_size), (arch, 8));
        let pcs: Vec<_> = dump.threads.iter().map(|thread| thread.registers.pc().map(|pc| pc.0)).collect();
        assert_eq!(pcs, [Some(0x0101_0101_0101_0101), Some(0x0202_0202_0202_0202)], "{arch:?}");
    }
    // Two have this one, and none has the other.
    for status in [336, 400] {
        assert_eq!(unnamed(status).arch, Arch::Other(0));
    }
}
