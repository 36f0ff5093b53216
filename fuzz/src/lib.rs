//! Bytes of every kind against every reader: the bodies of the fuzz targets, as ordinary functions.
//!
//! *What it is not*: it does not judge answers. An input passes if the body comes back: no panic (arithmetic is checked),
//! no more memory than [`LIMIT`], and no hang (libFuzzer's `-timeout`).
//!
//! ```
//! afterimage_fuzz::elf_core(b"\x7fELF no core");
//! ```
//!
//! *Trap*: a body must do the same for the same bytes, or libFuzzer cannot reproduce what it found: no files, no network,
//! no clock, no random numbers. `RAYON_NUM_THREADS=1` keeps the order of threads out too.

mod linux;
mod meter;
mod module;
mod windows;

pub use linux::linux_kernel;
pub use meter::LIMIT;
pub use module::{breakpad, dwarf, elf_symbols, lines_met};
pub use windows::pe;

use afterimage_dump::source::SharedSource;
use afterimage_dump::{Budget, Dump, Memory, compressed, open_source};
use afterimage_tables::{Cell, Params, Sink, TABLES};
use afterimage_target::{Options, Target};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// A target's name and its body.
pub type Body = (&'static str, fn(&[u8]));

/// All targets.
pub const BODIES: &[Body] = &[
    ("elf_core", elf_core),
    ("minidump", minidump),
    ("compressed", compressed),
    ("elf_symbols", elf_symbols),
    ("dwarf", dwarf),
    ("breakpad", breakpad),
    ("pe", pe),
    ("explain", explain),
    ("convert", convert),
    ("system_images", system_images),
    ("apple", apple),
    ("windows_kernel", windows_kernel),
    ("linux_kernel", linux_kernel),
];

/// What the program uses, but no more unpacked bytes than stay in memory: the disk is slow and the network of limits
/// around bombs has tests of its own.
fn budget() -> Budget {
    let mut budget = Budget::default();
    budget.max_expanded = 4 << 20;
    budget
}

fn open(bytes: &[u8]) -> Option<Dump> {
    let source: SharedSource = Arc::new(bytes.to_vec());
    open_source(Path::new("fuzzed"), source, &budget()).ok()
}

/// Opens a dump and reads from all that it says it has.
fn open_and_read(bytes: &[u8]) {
    meter::metered(|| {
        let Some(dump) = open(bytes) else { return };
        let mut block = [0; 64];
        for extent in dump.memory.extents().iter().take(1000) {
            let _ = dump.memory.read_at(extent.start, &mut block);
            let last = afterimage_dump::Virt(extent.end.0.saturating_sub(1));
            let _ = dump.memory.read_at(last, &mut block);
        }
        for thread in &dump.threads {
            let _ = (thread.registers.pc(), thread.registers.sp());
        }
        let _ = (dump.complete(), dump.crashed_thread().is_some());
    });
}

/// `afterimage_dump::open_source` on what may be an ELF core.
pub fn elf_core(bytes: &[u8]) {
    open_and_read(bytes);
}

/// `afterimage_dump::open_source` on what may be a minidump. It does the same as [`elf_core`] from other seeds: libFuzzer
/// keeps one corpus a target, and each reader deserves one.
pub fn minidump(bytes: &[u8]) {
    open_and_read(bytes);
}

/// `afterimage_dump::open_source` on what may be the memory of a machine, and a walk along its ranges.
pub fn system_images(bytes: &[u8]) {
    use afterimage_dump::Phys;
    meter::metered(|| {
        let Some(dump) = open(bytes) else { return };
        let Some(machine) = &dump.machine else { return };
        let mut block = [0; 64];
        let mut at = Phys(0);
        for _ in 0..1000 {
            let Some(extent) = machine.memory.next(at) else { break };
            assert!(extent.start < extent.end && extent.end > at, "{extent:?} is asked for from {at:?} on");
            let _ = machine.memory.read_at(extent.start, &mut block);
            let _ = machine.memory.read_at(Phys(extent.end.0 - 1), &mut block);
            at = extent.end;
        }
        if let Some(memory) = &machine.virtual_memory {
            for extent in memory.extents().iter().take(1000) {
                let _ = memory.read_at(extent.start, &mut block);
            }
        }
        for extent in dump.memory.extents().iter().take(1000) {
            let _ = dump.memory.read_at(extent.start, &mut block);
        }
        let _ = dump.complete();
    });
}

/// A Windows crash dump of a machine: opened, its physical memory walked and read, its drivers and its stop explained, and
/// written anew as a complete dump.
pub fn windows_kernel(bytes: &[u8]) {
    use afterimage_dump::system::windows::{Header, write_complete};
    use afterimage_dump::{Phys, Virt};
    /// Pages that may be written: a hostile header claims terabytes.
    const MOST: u64 = 8 << 20;
    open_and_read(bytes);
    meter::metered(|| {
        let Some(dump) = open(bytes) else { return };
        let Some(machine) = &dump.machine else { return };
        let mut block = [0; 64];
        let (mut at, mut present) = (Phys(0), 0u64);
        for _ in 0..1000 {
            let Some(extent) = machine.memory.next(at) else { break };
            assert!(extent.end > at, "a range that ends at {:?} was given for {at:?}", extent.end);
            let _ = machine.memory.read_at(extent.start.max(at), &mut block);
            present = present.saturating_add(if extent.absent.is_none() { extent.end.0 - extent.start.0 } else { 0 });
            at = extent.end;
        }
        if let Some(memory) = &machine.virtual_memory {
            for extent in memory.extents().iter().take(100) {
                let _ = memory.read_at(extent.start, &mut block);
            }
            let _ = memory.read_at(Virt(u64::MAX), &mut block);
        }
        if let Some(header) = Header::parse(bytes).filter(|_| present < MOST && machine.memory.next(at).is_none()) {
            let _ = write_complete(&header, &*machine.memory, &mut std::io::sink(), &mut |_, _| {});
        }
        let target = Target::new(dump, Options::default(), budget());
        let _ = target.diagnosis().headline.len();
    });
}

/// Unpacking alone, or reading in place what has a seek table.
pub fn compressed(bytes: &[u8]) {
    meter::metered(|| {
        let source: SharedSource = Arc::new(bytes.to_vec());
        let Ok(Some(unpacked)) = compressed::unpack(Path::new("fuzzed"), &source, &budget()) else { return };
        let mut block = [0; 64];
        let len = unpacked.source.len();
        for at in [0, 4096, len / 7, len / 5, len / 3, len / 2, len.saturating_sub(10), u64::MAX - 3] {
            let _ = unpacked.source.read_at(at, &mut block);
        }
    });
}

/// Any dump, laid out and written both ways and both whole and small, into nothing.
pub fn convert(bytes: &[u8]) {
    use afterimage_dump::convert::{Request, plan};
    use afterimage_dump::{DumpType, Format};
    // A conversion holds what the dump's tables hold (96 MiB at the most) again as notes, and again as the file's head.
    meter::metered_within(2 * meter::LIMIT, || {
        let Some(dump) = open(bytes) else { return };
        if dump.machine.is_some() {
            return images(&dump);
        }
        for format in [Format::ElfCore, Format::Minidump] {
            for dump_type in [None, Some(DumpType::Small)] {
                if let Ok(conversion) = plan(&dump, &Request { format: Some(format), dump_type }) {
                    let _ = conversion.write(&mut Bin(4 << 20), None);
                }
            }
        }
    });
}

/// The memory of a machine in every form, by one thread, into nothing.
fn images(dump: &Dump) {
    use afterimage_dump::write::image::{Codec, Image, ImageFormat, Options};
    let kdumps = [Codec::None, Codec::Zlib, Codec::Lzo, Codec::Snappy, Codec::Zstd].map(ImageFormat::Kdump);
    let others = [ImageFormat::Raw, ImageFormat::Lime, ImageFormat::Avml, ImageFormat::Elf, ImageFormat::Windows];
    let options = Options { threads: 1, ..Options::default() };
    for format in kdumps.into_iter().chain(others) {
        if let Ok(image) = Image::plan(dump, format, &options) {
            let _ = image.write_stream(&mut Bin(4 << 20), &options);
        }
    }
}

/// Takes so many bytes and then says that it is full.
struct Bin(u64);

impl afterimage_dump::write::layout::Output for Bin {
    fn bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.zeros(bytes.len() as u64)
    }

    fn zeros(&mut self, len: u64) -> std::io::Result<()> {
        self.0 = self.0.checked_sub(len).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(())
    }
}

/// Reports of Apple's systems and Mach-O cores, as far as [`explain`] goes.
pub fn apple(bytes: &[u8]) {
    explain(bytes);
}

/// Everything that `explain` and `show` do, from bytes to rows, without files and network.
pub fn explain(bytes: &[u8]) {
    meter::metered(|| {
        let Some(dump) = open(bytes) else { return };
        let options = Options {
            use_system_files: false,
            debug_dirs: Vec::new(),
            debuginfod_timeout: std::time::Duration::ZERO,
            ..Options::default()
        };
        let target = Target::new(dump, options, budget());
        target.prepare_stacks();
        let _ = target.diagnosis();
        let start = target.dump().threads.first().and_then(|thread| thread.registers.sp()).map_or(0, |sp| sp.0);
        for table in TABLES {
            let mut params = Params::default();
            if table.name == "memory" {
                params.0.insert("start".into(), start.to_string());
            }
            let _ = table.run(&target, &params, &mut Shredder);
        }
        let _ = target.issues();
    });
}

/// Shows every cell and forgets it.
struct Shredder;

impl Sink for Shredder {
    fn row(&mut self, cells: Vec<Cell>) -> ControlFlow<()> {
        for cell in cells {
            std::hint::black_box(format!("{cell:?}"));
        }
        ControlFlow::Continue(())
    }

    fn note(&mut self, note: &str) {
        std::hint::black_box(note.len());
    }
}
