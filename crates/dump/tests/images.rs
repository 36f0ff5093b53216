//! Images of machines: the samples of other people's tools, and every form there and back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use afterimage_dump::source::SharedSource;
use afterimage_dump::write::image::{Codec, Image, ImageFormat, Options, Written};
use afterimage_dump::write::layout::Pipe;
use afterimage_dump::{Absence, Budget, Dump, Format, Machine, MemoryExt, Phys, open, open_source};
use afterimage_testkit::build_image::{self, Hole, Layout};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of samples, where it lies beside the clone.
fn samples(group: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples").join(group);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("no samples of {group} here: not tested");
    None
}

fn machine(dump: &Dump) -> &Machine {
    dump.machine.as_deref().expect("it is of a machine")
}

/// Ranges with their state; equal neighbours joined.
fn extents(dump: &Dump) -> Vec<(u64, u64, Option<Absence>)> {
    machine(dump).memory.extents().into_iter().map(|extent| (extent.start.0, extent.end.0, extent.absent)).collect()
}

/// Hexadecimal bytes of a `.result.txt`; `??` is a byte that cannot be read.
fn hex(path: &Path) -> Vec<Option<u8>> {
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

fn same(bytes: &[u8], expected: &[Option<u8>]) -> bool {
    bytes.len() == expected.len() && bytes.iter().zip(expected).all(|(byte, expected)| Some(*byte) == *expected)
}

#[test]
fn pages_that_libkdumpfile_reads() {
    let Some(folder) = samples("kdump") else { return };
    // From address 0 on: what is present must be these bytes.
    for name in [
        "diskdump-basic-raw",
        "diskdump-basic-snappy",
        "diskdump-basic-zlib",
        "diskdump-basic-zstd",
        "diskdump-basic-vmcoreinfo",
        "diskdump-excluded",
        "diskdump-flat-raw",
        "diskdump-v6-ia32",
        "elf-basic",
        "elf-basic-flat",
        "elf-partial",
    ] {
        let dump = open(&folder.join(format!("{name}.dump")), &Budget::default()).unwrap();
        let expected = hex(&folder.join(format!("{name}.result.txt")));
        let mut present = 0;
        for (start, end, absent) in extents(&dump).into_iter().filter(|(start, ..)| *start < expected.len() as u64) {
            let end = end.min(expected.len() as u64);
            let mut bytes = vec![0; (end - start) as usize];
            let read = machine(&dump).memory.read_exact(Phys(start), &mut bytes);
            assert_eq!(read.is_err(), absent.is_some(), "{name} at {start:#x}: {absent:?}");
            if absent.is_none() {
                assert!(same(&bytes, &expected[start as usize..end as usize]), "{name} at {start:#x}");
                present += bytes.len();
            }
        }
        assert!(present >= 1024, "{name}: only {present} bytes");
    }
}

#[test]
fn facts_that_libkdumpfile_tells() {
    let Some(folder) = samples("kdump") else { return };
    let dump = |name: &str| open(&folder.join(name), &Budget::default()).unwrap();
    let ia32 = dump("diskdump-v6-ia32.dump");
    assert_eq!(machine(&ia32).cpus.len(), 1);
    let cpu = &machine(&ia32).cpus[0];
    assert_eq!((cpu.pid, cpu.registers.by_name("eip")), (Some(3539), Some(0xc04b_0b5f)));
    assert_eq!((ia32.os_version.as_deref(), ia32.time), (Some("6.4.3-1-pae"), Some(1_689_098_337)));
    let name = machine(&ia32).name.clone().unwrap();
    assert_eq!((name.node.as_str(), name.machine.as_str()), ("kdump", "i686"));
    let ppc = dump("diskdump-empty-ppc64.dump");
    assert_eq!((machine(&ppc).page_size, ppc.arch.to_string()), (65_536, "ppc64".to_owned()));
    assert_eq!(machine(&ppc).name.clone().unwrap().release, "3.4.5-test");
    assert_eq!(machine(&dump("diskdump-empty-i386.dump")).name.clone().unwrap().machine, "i686");
    let registers = [
        ("x86_64", "r15", 0x3531_7220_2020_2020u64),
        ("i386", "ebx", 0x7862_6520),
        ("aarch64", "x0", 0x3078_2020_2020_2020),
        ("ppc64", "r0", 0x2020_2020_2020_7230),
    ];
    for (arch, register, value) in registers {
        let dump = dump(&format!("elf-prstatus-{arch}.dump"));
        // The one of i386 could be of a process as well.
        let registers = &dump.threads[0].registers;
        assert_eq!(registers.by_name(register), Some(value), "{arch} {register}: {registers:?}");
    }
    let clash = dump("elf-virt-phys-clash.dump");
    let expected = hex(&folder.join("elf-virt-phys-clash.result.txt"));
    let mut bytes = [0; 16];
    machine(&clash).memory.read_exact(Phys(0x200), &mut bytes).unwrap();
    assert!(expected.windows(16).any(|window| same(&bytes, window)), "{bytes:x?}");
    let info = dump("elf-vmcoreinfo.dump");
    let expected = hex(&folder.join("elf-vmcoreinfo.result.txt"));
    let found = [0x191_8000u64, 0x200_0000, 0x2e1_0000, 0x300_0000].iter().any(|at| {
        let mut bytes = [0; 8];
        machine(&info).memory.read_exact(Phys(*at), &mut bytes).is_ok() && same(&bytes, &expected)
    });
    assert!(found && machine(&info).vmcoreinfo.is_some());
    let erased = dump("elf-eraseinfo.dump");
    assert!(erased.issues.iter().any(|issue| issue.text.contains("erased")));
    let xen = dump("elf-xen_prstatus.dump");
    assert_eq!(xen.writer.as_deref(), Some("xen"));
    assert_eq!(extents(&xen).len(), 3);
}

#[test]
fn a_split_set_is_one_dump() {
    let Some(folder) = samples("kdump") else { return };
    for part in 1..=3 {
        let dump = open(&folder.join(format!("diskdump-split.dump.{part}")), &Budget::default()).unwrap();
        // Four lines of its result are the ends and beginnings of the pages at 0x1000 to 0x4fff.
        for page in 1..=4u8 {
            let mut bytes = [0; 4096];
            machine(&dump).memory.read_exact(Phys(u64::from(page) << 12), &mut bytes).unwrap();
            assert!(bytes.iter().all(|&byte| byte == page << 4), "page {page} of part {part}");
        }
    }
    // One alone says so.
    let alone = tempfile::tempdir().unwrap();
    let copy = alone.path().join("diskdump-split.dump.2");
    std::fs::copy(folder.join("diskdump-split.dump.2"), &copy).unwrap();
    let dump = open(&copy, &Budget::default()).unwrap();
    assert!(!dump.complete());
    let present = extents(&dump).into_iter().filter(|(.., absent)| absent.is_none()).count();
    assert_eq!(present, 1);
}

/// A machine of some mebibytes with every kind of hole.
fn layout() -> Layout {
    let mut layout = Layout::new();
    layout.present(0..0x9_f000);
    layout.hole(0x9_f000..0xa_0000, Hole::LeftOut);
    // Nothing up to 1 MiB.
    layout.present(0x10_0000..0x30_0000);
    layout.hole(0x30_0000..0x30_4000, Hole::LeftOut);
    layout.present(0x30_4000..0x30_5000);
    layout.zeros(0x30_5000..0x34_0000);
    layout.present(0x34_0000..0x42_3000);
    // Far above.
    layout.present(0x400_0000..0x400_3000);
    layout.hole(0x400_3000..0x401_0000, Hole::LeftOut);
    layout.present(0x401_0000..0x413_4000);
    layout
}

fn reopened(bytes: Vec<u8>, raw: bool) -> Dump {
    let source: SharedSource = Arc::new(bytes);
    if raw {
        afterimage_dump::system::open_raw(source)
    } else {
        open_source(Path::new("it"), source, &Budget::default()).unwrap()
    }
}

fn written(dump: &Dump, format: ImageFormat, threads: usize) -> (Vec<u8>, Image<'_>, Written) {
    let options = Options { threads, ..Options::default() };
    let mut image = Image::plan(dump, format, &options).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let written = image.write_file(file.as_file(), &options).unwrap();
    (std::fs::read(file.path()).unwrap(), image, written)
}

const FORMATS: [ImageFormat; 9] = [
    ImageFormat::Raw,
    ImageFormat::Lime,
    ImageFormat::Avml,
    ImageFormat::Elf,
    ImageFormat::Kdump(Codec::None),
    ImageFormat::Kdump(Codec::Zlib),
    ImageFormat::Kdump(Codec::Lzo),
    ImageFormat::Kdump(Codec::Snappy),
    ImageFormat::Kdump(Codec::Zstd),
];

/// Every present byte is where it was, and every hole is one.
#[track_caller]
fn same_as(layout: &Layout, dump: &Dump, format: ImageFormat) {
    let memory = &machine(dump).memory;
    for (range, bytes) in layout.pieces() {
        let mut read = vec![0xee; bytes.len()];
        memory.read_exact(Phys(range.start), &mut read).unwrap_or_else(|fault| panic!("{format:?}: {fault}"));
        assert!(read == bytes, "{format:?}: bytes at {range:x?} differ");
    }
    let knows_holes = matches!(format, ImageFormat::Elf | ImageFormat::Kdump(_));
    for hole in layout.holes() {
        let mut byte = [0];
        let read = memory.read_exact(Phys(hole.start), &mut byte);
        match format {
            ImageFormat::Raw => assert_eq!((read, byte), (Ok(()), [0])),
            _ => assert_eq!(read.unwrap_err().why, Absence::NotInDump, "{format:?} at {hole:x?}"),
        }
    }
    if knows_holes {
        let expected = layout.extents();
        let found: Vec<_> =
            extents(dump).into_iter().map(|(start, end, absent)| (start..end, absent.is_none())).collect();
        assert_eq!(found, expected, "{format:?}");
    }
}

#[test]
fn any_form_to_any_form_keeps_every_byte_and_every_hole() {
    let layout = layout();
    for (name, bytes, holes) in [
        ("lime", build_image::lime::build(&layout), false),
        ("avml", build_image::avml::build(&layout), false),
        ("elf", build_image::vmcore::build(&layout), true),
    ] {
        let first = reopened(bytes, false);
        assert_eq!(first.format.name(), name);
        let expected = if holes { layout.clone() } else { layout.without_holes() };
        same_as(&expected, &first, if holes { ImageFormat::Elf } else { ImageFormat::Lime });
        for through in FORMATS {
            let (bytes, image, done) = written(&first, through, 2);
            let raw = through == ImageFormat::Raw;
            let second = reopened(bytes, raw);
            image.verify(&done, &second, &Options::default()).unwrap();
            same_as(&expected, &second, if raw || holes { through } else { ImageFormat::Lime });
            if raw {
                continue;
            }
            for to in FORMATS {
                let (bytes, ..) = written(&second, to, 1);
                let keeps = matches!(through, ImageFormat::Elf | ImageFormat::Kdump(_));
                let expected = if keeps { expected.clone() } else { expected.without_holes() };
                same_as(&expected, &reopened(bytes, to == ImageFormat::Raw), to);
            }
        }
    }
}

#[test]
fn threads_do_not_change_the_file() {
    let bytes = build_image::vmcore::build(&layout());
    let dump = reopened(bytes, false);
    for format in FORMATS {
        let (one, ..) = written(&dump, format, 1);
        let (three, ..) = written(&dump, format, 3);
        assert!(one == three, "{format:?}");
    }
}

#[test]
fn a_pipe_gets_the_same() {
    let bytes = build_image::vmcore::build(&layout());
    let dump = reopened(bytes, false);
    let options = Options::default();
    for format in FORMATS {
        let image = Image::plan(&dump, format, &options).unwrap();
        let mut piped = Vec::new();
        image.write_stream(&mut Pipe(&mut piped), &options).unwrap();
        let flat = matches!(format, ImageFormat::Kdump(_));
        assert_eq!(piped.starts_with(b"makedumpfile\0"), flat);
        if !flat {
            assert!(piped == written(&dump, format, 2).0, "{format:?}");
        }
        same_as(&layout(), &reopened(piped, format == ImageFormat::Raw), if flat { ImageFormat::Elf } else { format });
    }
}

#[test]
fn a_difference_is_found() {
    let dump = reopened(build_image::vmcore::build(&layout()), false);
    let options = Options::default();
    for format in FORMATS {
        let (mut bytes, image, done) = written(&dump, format, 2);
        // Somewhere in the last page of memory.
        let at = bytes.len() - 100;
        bytes[at] ^= 0x40;
        let again = reopened(bytes, format == ImageFormat::Raw);
        assert!(image.verify(&done, &again, &options).is_err(), "{format:?}");
    }
}

#[test]
fn every_version_of_kdump_headers() {
    let layout = layout();
    for version in 1..=6 {
        for (is_64, big) in [(true, false), (false, false), (true, true), (false, true)] {
            let bytes = build_image::kdump::build(&layout, version, is_64, big);
            let dump = reopened(bytes, false);
            assert_eq!(dump.format, Format::Kdump);
            same_as(&layout, &dump, ImageFormat::Elf);
            let level = machine(&dump).dump_level;
            assert_eq!(level, Some(31), "version {version}");
            assert_eq!(machine(&dump).vmcoreinfo.is_some(), version >= 3, "version {version}");
        }
    }
}

/// Cut off anywhere: an error, or what is there with a word about the rest; never a wrong byte.
#[test]
fn cut_at_every_page() {
    let mut small = Layout::new();
    small.present(0x1000..0x2_0000);
    small.hole(0x2_0000..0x2_2000, Hole::LeftOut);
    small.present(0x10_0000..0x10_8000);
    let files = [
        ("lime", build_image::lime::build(&small)),
        ("avml", build_image::avml::build(&small)),
        ("elf", build_image::vmcore::build(&small)),
        ("kdump", build_image::kdump::build(&small, 6, true, false)),
    ];
    for (name, bytes) in files {
        for cut in (1..bytes.len()).step_by(512).chain([bytes.len() - 1]) {
            let source: SharedSource = Arc::new(bytes[..cut].to_vec());
            let Ok(dump) = open_source(Path::new("cut"), source, &Budget::default()) else { continue };
            let Some(machine) = dump.machine.as_deref() else { continue };
            let mut lost = false;
            for (range, expected) in small.pieces() {
                for (page, expected) in expected.chunks(4096).enumerate() {
                    let mut read = vec![0; expected.len()];
                    match machine.memory.read_exact(Phys(range.start + (page as u64) * 4096), &mut read) {
                        Ok(()) => assert!(read == expected, "{name} cut at {cut}: page {page} of {range:x?}"),
                        Err(_) => lost = true,
                    }
                }
            }
            assert!(!lost || !dump.complete(), "{name} cut at {cut}: nothing is said");
        }
    }
}

/// Where a built file's descriptors begin.
fn descriptors(kdump: &[u8]) -> usize {
    let blocks = u32::from_le_bytes(kdump[436..440].try_into().unwrap());
    4096 * (2 + blocks as usize)
}

/// What is lost of a file that is cut off is no memory that the dump has; pages of zeros behind the cut are.
#[test]
fn a_cut_kdump_says_what_is_lost() {
    let mut layout = layout();
    // As most machines end: the last page shares its bytes with a page before the cut.
    layout.zeros(0x413_4000..0x420_0000);
    let whole = build_image::kdump::build(&layout, 6, true, false);
    assert!(reopened(whole.clone(), false).complete());
    let all: u64 = layout.pieces().iter().map(|(range, _)| range.end - range.start).sum();
    let table = descriptors(&whole);
    for length in [whole.len() - 1, whole.len() / 2, whole.len() / 5, table + 24 * 100 + 7, table - 5000] {
        let dump = reopened(whole[..length].to_vec(), false);
        let sizes = machine(&dump).sizes();
        let cut = sizes.absent.iter().find(|(why, _)| *why == Absence::Truncated).map_or(0, |(_, bytes)| *bytes);
        let issue = dump.issues.iter().find(|issue| issue.text.starts_with("the file is cut off: ")).unwrap();
        assert!(issue.loses_data && dump.missing_bytes > 0, "{length}: {issue:?}");
        let mut first = None;
        for extent in extents(&dump) {
            let (start, end, absent) = extent;
            if absent == Some(Absence::Truncated) {
                first.get_or_insert(start);
            }
            for at in (start..end).step_by(4096) {
                let mut page = [0; 4096];
                let read = machine(&dump).memory.read_exact(Phys(at), &mut page);
                assert_eq!(read.err().map(|fault| fault.why), absent, "{length}: {at:#x}");
            }
        }
        if length < table {
            assert!(issue.text.contains("is not known in full"), "{}", issue.text);
            continue;
        }
        assert_eq!((sizes.present + cut, cut), (all, dump.missing_bytes), "{length}: {sizes:?}");
        let place = format!("the first at physical address {:#x}", first.unwrap());
        assert!(issue.text.ends_with(&place), "{length}: {} and not {place}", issue.text);
    }
}

/// A flattened file has its descriptors in pieces between the pages: those that were not written read as zeros.
#[test]
fn a_cut_flattened_kdump_says_what_is_lost() {
    let layout = layout();
    let whole = build_image::kdump::build(&layout, 6, true, false);
    let count: usize = layout.pieces().iter().map(|(_, bytes)| bytes.len() / 4096).sum();
    let (table, data) = (descriptors(&whole), descriptors(&whole) + 24 * count);
    let mut flat = b"makedumpfile\0\0\0\0".to_vec();
    flat.extend([1u64.to_be_bytes(), 1u64.to_be_bytes()].concat());
    flat.resize(4096, 0);
    let mut put = |range: std::ops::Range<usize>| {
        flat.extend([range.start.to_be_bytes(), range.len().to_be_bytes()].concat());
        flat.extend(&whole[range]);
    };
    put(0..table);
    let pages = (whole.len() - data) / 4096;
    for step in 0..count.div_ceil(64) {
        let of = |step: usize| data + 4096 * (64 * step).min(pages);
        if of(step) < of(step + 1) {
            put(of(step)..of(step + 1));
        }
        put(table + 24 * 64 * step..table + 24 * (64 * (step + 1)).min(count));
    }
    flat.extend([0xff; 16]);
    assert!(reopened(flat.clone(), false).complete());
    let dump = reopened(flat[..flat.len() / 4].to_vec(), false);
    let sizes = machine(&dump).sizes();
    let all = count as u64 * 4096;
    assert!(!dump.complete() && dump.missing_bytes > all / 2, "{} of {all}", dump.missing_bytes);
    assert_eq!(sizes.present + dump.missing_bytes, all, "{sizes:?}");
    let mut page = [0; 4096];
    let last = machine(&dump).memory.read_exact(Phys(0x413_3000), &mut page);
    assert_eq!(last.unwrap_err().why, Absence::Truncated);
}

/// A Windows machine's dump of any kind becomes a complete one, and images of every other form.
#[test]
fn windows_dumps_become_complete_ones() {
    let built = afterimage_testkit::build_windows_dump::Machine::x64();
    for bytes in [built.complete(), built.bitmap(6, b"SDMP", 0x403), built.ranges(8)] {
        let first = reopened(bytes, false);
        assert_eq!(first.format, Format::Windows);
        let options = Options::default();
        for format in FORMATS.into_iter().chain([ImageFormat::Windows]) {
            let (bytes, image, done) = written(&first, format, 2);
            let again = reopened(bytes, format == ImageFormat::Raw);
            image.verify(&done, &again, &options).unwrap();
            if format == ImageFormat::Windows {
                assert_eq!(again.dump_type.name(), "complete");
                let stop = |dump: &Dump| machine(dump).stop.as_ref().map(|stop| (stop.code, stop.parameters));
                assert_eq!(stop(&again), stop(&first));
                assert_eq!(again.modules.len(), first.modules.len());
            }
        }
    }
    let linux = reopened(build_image::vmcore::build(&layout()), false);
    assert!(Image::plan(&linux, ImageFormat::Windows, &Options::default()).is_err());
}

#[test]
fn virtualbox_writes_an_elf_version_of_zero() {
    let dump = reopened(build_image::vmcore::virtualbox(&layout()), false);
    assert_eq!(dump.writer.as_deref(), Some("virtualbox"));
    same_as(&layout(), &dump, ImageFormat::Elf);
}

/// Every container in every packing; a raw image is known by its name alone.
#[test]
fn packed_images() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout();
    let plain = [
        ("a.lime", build_image::lime::build(&layout)),
        ("a.avml", build_image::avml::build(&layout)),
        ("vmcore", build_image::vmcore::build(&layout)),
        ("a.kdump", build_image::kdump::build(&layout, 6, true, false)),
        ("a.raw", written(&reopened(build_image::vmcore::build(&layout), false), ImageFormat::Raw, 2).0),
    ];
    for (name, bytes) in plain {
        for (tool, end) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst"), ("lz4", "lz4")] {
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            let packed = folder.path().join(format!("{name}.{end}"));
            let file = std::fs::File::create(&packed).unwrap();
            let done = std::process::Command::new(tool).args(["-1", "-c"]).arg(&path).stdout(file).status();
            if !done.is_ok_and(|status| status.success()) {
                eprintln!("no {tool} here: not tested");
                continue;
            }
            let dump = open(&packed, &Budget::default()).unwrap_or_else(|error| panic!("{error}"));
            let raw = name == "a.raw";
            let holes = matches!(name, "vmcore" | "a.kdump");
            let expected = if holes || raw { layout.clone() } else { layout.without_holes() };
            same_as(
                &expected,
                &dump,
                if raw {
                    ImageFormat::Raw
                } else if holes {
                    ImageFormat::Elf
                } else {
                    ImageFormat::Lime
                },
            );
            assert!(dump.compression.is_some());
        }
    }
}

/// Pages that a cut-off container promises become holes in the new form, never zeros.
#[test]
fn what_is_lost_becomes_a_hole() {
    let layout = layout();
    let whole = build_image::kdump::build(&layout, 6, true, false);
    let cut = reopened(whole[..whole.len() - 100 * 4096].to_vec(), false);
    assert_eq!(machine(&cut).sizes().absent.last(), Some(&(Absence::Truncated, 100 * 4096)));
    let options = Options::default();
    for format in FORMATS {
        let (bytes, image, done) = written(&cut, format, 2);
        // They are known before they are read.
        assert!(done.unreadable.is_empty(), "{format:?}: {:?}", done.unreadable);
        let raw = format == ImageFormat::Raw;
        let again = reopened(bytes, raw);
        image.verify(&done, &again, &options).unwrap();
        let (mut there, mut lost) = (0, 0);
        for (range, expected) in layout.pieces() {
            for (page, expected) in expected.chunks(4096).enumerate() {
                let mut read = vec![0; expected.len()];
                let at = Phys(range.start + page as u64 * 4096);
                match machine(&again).memory.read_exact(at, &mut read) {
                    Ok(()) if read == expected => there += 1,
                    Ok(()) => assert!(raw && read.iter().all(|&byte| byte == 0), "{format:?}: wrong bytes at {at}"),
                    Err(_) => lost += 1,
                }
            }
        }
        assert!(there > 100 && (raw || lost >= 100), "{format:?}: {there} pages there, {lost} lost");
    }
}

/// Damage inside of a packed page is told, never papered over.
#[test]
fn damaged_pages_are_told() {
    let mut small = Layout::new();
    small.present(0x1000..0x3000);
    let mut avml = build_image::avml::build(&small);
    let at = avml.len() - 5000;
    avml[at] ^= 1;
    let dump = reopened(avml, false);
    let mut page = [0; 4096];
    assert_eq!(machine(&dump).memory.read_exact(Phys(0x1000), &mut page).unwrap_err().why, Absence::Corrupt);
    for codec in [Codec::Zlib, Codec::Lzo, Codec::Snappy, Codec::Zstd] {
        let whole = reopened(build_image::vmcore::build(&small), false);
        let (mut bytes, ..) = written(&whole, ImageFormat::Kdump(codec), 1);
        // The first descriptor says that its page is shorter than it is.
        let place = bytes.windows(16).position(|window| {
            let size = u32::from_le_bytes(window[8..12].try_into().unwrap());
            let flags = u32::from_le_bytes(window[12..16].try_into().unwrap());
            (100..4000).contains(&size) && [1, 2, 4, 0x20].contains(&flags) && window[..8] != [0; 8]
        });
        let place = place.unwrap();
        let size = u32::from_le_bytes(bytes[place + 8..place + 12].try_into().unwrap());
        bytes[place + 8..place + 12].copy_from_slice(&(size - 40).to_le_bytes());
        let dump = reopened(bytes, false);
        let why = machine(&dump).memory.read_exact(Phys(0x1000), &mut page).map_err(|fault| fault.why);
        assert_eq!(why, Err(Absence::Corrupt), "{codec:?}");
    }
}
