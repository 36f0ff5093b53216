//! Dumps written in another form and read again: synthetic ones, whose builders share no layout code with the writers, and
//! every real sample.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

mod minidump_support;

use afterimage_dump::convert::{Request, plan};
use afterimage_dump::write::elf_core::{Class, Core, Note, Segment};
use afterimage_dump::write::layout::{self, Pipe};
use afterimage_dump::write::{DumpMemory, minidump};
use afterimage_dump::{
    Backing, Budget, Dump, DumpType, ExceptionKind, Format, Memory, MemoryExt, Os, Permissions, Virt, open, open_source,
};
use afterimage_testkit::build_core::{CoreBuilder, Machine, VectorState, sample_core, sample_core_builder};
use minidump_support::{open_bytes, samples};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes a dump in another form, and gives its bytes and what was lost.
fn convert(dump: &Dump, format: Format, dump_type: Option<DumpType>) -> (Vec<u8>, Vec<String>) {
    let conversion = plan(dump, &Request { format: Some(format), dump_type }).unwrap_or_else(|error| panic!("{error}"));
    let mut out = Pipe(Vec::new());
    let written = conversion.write(&mut out, None).unwrap();
    assert_eq!(out.0.len() as u64, written.file_size);
    (out.0, conversion.lost)
}

fn converted(dump: &Dump, format: Format) -> (Dump, Vec<u8>) {
    let (bytes, _) = convert(dump, format, None);
    (open_bytes(Path::new("converted"), bytes.clone()), bytes)
}

/// Ranges that are there, with the hash of their bytes: neighbours as one, because containers cut them differently.
fn memory(dump: &Dump) -> Vec<(u64, u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for segment in dump.memory.segments().iter().filter(|s| !matches!(s.backing, Backing::Absent(_))) {
        match runs.last_mut() {
            Some(last) if last.1 == segment.start.0 => last.1 = segment.end.0,
            _ => runs.push((segment.start.0, segment.end.0)),
        }
    }
    let mut buf = vec![0; 1 << 16];
    let hashed = runs.into_iter().map(|(start, end)| {
        let mut hash = DefaultHasher::new();
        for at in (start..end).step_by(buf.len()) {
            let want = (end - at).min(buf.len() as u64) as usize;
            dump.memory.read_exact(Virt(at), &mut buf[..want]).unwrap();
            hash.write(&buf[..want]);
        }
        (start, end, hash.finish())
    });
    hashed.collect()
}

/// Owner, type and content of each note of an ELF core.
fn notes(dump: &Dump, bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let content = |at: u64, len: u64| bytes[at as usize..(at + len) as usize].to_vec();
    dump.notes.iter().map(|note| (note.owner.clone(), note.kind, content(note.offset, note.size))).collect()
}

/// Everything of the model that does not depend on the container.
fn model(dump: &Dump) -> String {
    let threads: Vec<_> = dump
        .threads
        .iter()
        .map(|t| (t.tid, &t.name, &t.state, t.registers, t.signal, t.signal_info, t.thread_pointer))
        .collect();
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}\n{:#?}\n{:?}\n{:?}\n{:?}\n{:#?}\n{:?}",
        dump.os,
        dump.os_version,
        dump.arch,
        dump.endian,
        dump.pointer_size,
        dump.dump_type,
        threads,
        dump.exception,
        dump.modules,
        dump.mappings,
        dump.regions,
        dump.auxv
    )
}

fn round_trip(name: &str, bytes: &[u8]) -> Dump {
    let dump = open_bytes(Path::new(name), bytes.to_vec());
    let (mini, _) = converted(&dump, Format::Minidump);
    assert_eq!(mini.format, Format::Minidump);
    assert_eq!(mini.writer.as_deref(), Some("afterimage"));
    assert_eq!(model(&mini), model(&dump), "{name}: the minidump says something else");
    assert_eq!(memory(&mini), memory(&dump), "{name}: memory of the minidump");
    let (back, back_bytes) = converted(&mini, Format::ElfCore);
    assert_eq!(notes(&back, &back_bytes), notes(&dump, bytes), "{name}: notes");
    assert_eq!(memory(&back), memory(&dump), "{name}: memory of the core");
    assert_eq!(back.memory.segments().len(), dump.memory.segments().len(), "{name}: holes");
    assert_eq!(model(&back), model(&dump), "{name}: the core says something else");
    mini
}

#[test]
fn a_core_comes_back_note_by_note() {
    let mini = round_trip("sample", &sample_core());
    assert!(mini.notes.iter().any(|note| note.name == Some("AfterimageElfHead")));
    // The place of a note of the core is its place in the minidump.
    let status = mini.notes.iter().find(|note| note.owner == "CORE" && note.kind == 1).unwrap();
    assert_eq!(status.size, 336);
    let vectors = VectorState::new().xmm(3, 0x1122_3344).ymm_high(5, 0x55);
    let with_avx = sample_core_builder().vectors(&vectors).next_note_segment().note("GDB", 0xff00_0000, b"<target/>");
    round_trip("several note segments", &with_avx.build());
    let own: Vec<u8> = [0x7000_0000u64, 0x7000_3000].iter().flat_map(|at| at.to_le_bytes()).collect();
    let hole = afterimage_testkit::build_core::Segment::new(0x7000_0000, Vec::new()).memory_size(0x4000).access("rw-");
    let untouched = sample_core_builder().note("AFTERIMAGE", 5, &own).segment(hole);
    let mini = round_trip("untouched", &untouched.build());
    assert!(mini.memory.segments().iter().any(|segment| segment.backing == Backing::Zero));
}

#[test]
fn other_processors_come_back_too() {
    for machine in [Machine::I386, Machine::Aarch64] {
        let thread = |tid| afterimage_testkit::build_core::Thread::new(tid).signal(11);
        let core = CoreBuilder::new(machine)
            .thread(thread(7).register(machine.registers()[0], 0x1234))
            .thread(thread(8))
            .segment(afterimage_testkit::build_core::Segment::new(0x1_0000, vec![0xaa; 0x1800]).access("r-x"));
        round_trip(&format!("{machine:?}"), &core.build());
    }
}

/// What other readers see: without afterimage's own streams.
fn without_own(bytes: &[u8]) -> Dump {
    let mut bytes = bytes.to_vec();
    let count = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    for entry in 0..count {
        let at = 32 + 12 * entry;
        if bytes[at + 2..at + 4] == [0x46, 0x41] {
            bytes[at..at + 12].fill(0);
        }
    }
    open_bytes(Path::new("standard streams"), bytes)
}

#[test]
fn the_standard_streams_say_the_same() {
    let dump = open_bytes(Path::new("sample"), sample_core());
    let (_, bytes) = converted(&dump, Format::Minidump);
    let plain = without_own(&bytes);
    assert!(plain.notes.iter().all(|note| note.owner != "CORE"));
    assert_eq!((plain.os, plain.arch), (dump.os, dump.arch));
    assert_eq!(plain.threads.len(), dump.threads.len());
    for (ours, theirs) in plain.threads.iter().zip(&dump.threads) {
        assert_eq!((ours.tid, ours.registers.pc()), (theirs.tid, theirs.registers.pc()));
        for (register, value) in ours.registers.iter() {
            // Segment registers have 16 bits, the flags 32.
            assert_eq!(Some(value), theirs.registers.by_name(register.name), "{}", register.name);
        }
        assert!(ours.registers.iter().count() >= 23);
    }
    let exception = plain.exception.as_ref().unwrap();
    let expected = dump.exception.as_ref().unwrap();
    assert_eq!((exception.tid, exception.address), (expected.tid, expected.address));
    let ExceptionKind::Signal { signo, code, .. } = exception.kind else { panic!("{exception:?}") };
    let ExceptionKind::Signal { signo: signo_before, code: code_before, .. } = expected.kind else { panic!() };
    assert_eq!((signo, code), (signo_before, code_before));
    assert_eq!(memory(&plain), memory(&dump));
    assert_eq!(plain.auxv, dump.auxv);
    assert_eq!(plain.process.pid, dump.process.pid);
    assert_eq!(plain.mappings, dump.mappings);
    for (ours, theirs) in plain.regions.iter().zip(&dump.regions) {
        assert_eq!((ours.start, ours.end, ours.permissions), (theirs.start, theirs.end, theirs.permissions));
        assert_eq!(ours.present_bytes, theirs.present_bytes);
    }
    assert_eq!(plain.regions.len(), dump.regions.len());
    // And with nothing but the standard streams, a core can be made up that says the same again.
    let (core, _) = converted(&plain, Format::ElfCore);
    assert_eq!(memory(&core), memory(&dump));
    assert_eq!(core.mappings, dump.mappings);
    assert_eq!(core.process.pid, dump.process.pid);
    assert_eq!(core.exception.as_ref().unwrap().address, expected.address);
    for (ours, theirs) in core.threads.iter().zip(&dump.threads) {
        assert_eq!(
            (ours.tid, ours.registers.pc(), ours.registers.sp()),
            (theirs.tid, theirs.registers.pc(), theirs.registers.sp())
        );
    }
}

#[test]
fn a_small_dump_keeps_stacks_and_names() {
    let dump = open_bytes(Path::new("sample"), sample_core());
    for format in [Format::ElfCore, Format::Minidump] {
        let (bytes, _) = convert(&dump, format, Some(DumpType::Small));
        let small = open_bytes(Path::new("small"), bytes);
        let sp = small.threads[0].registers.sp().unwrap();
        let mut word = [0; 8];
        let mut before = [0; 8];
        small.memory.read_at(sp, &mut word).unwrap();
        dump.memory.read_at(sp, &mut before).unwrap();
        assert_eq!(word, before);
        assert_eq!(small.exception.as_ref().unwrap().address, dump.exception.as_ref().unwrap().address);
    }
    let active = Request { format: None, dump_type: Some(DumpType::Complete) };
    let error = plan(&dump, &active).err().map(|error| error.to_string());
    if dump.dump_type != DumpType::Complete {
        assert!(error.unwrap().contains("does not hold"));
    }
}

#[test]
fn what_is_cut_off_is_left_out() {
    let whole = sample_core();
    let cut = open_bytes(Path::new("cut"), whole[..whole.len() - 0x1800].to_vec());
    assert!(cut.missing_bytes > 0);
    for format in [Format::ElfCore, Format::Minidump] {
        let (bytes, lost) = convert(&cut, format, None);
        let again = open_bytes(Path::new("again"), bytes);
        assert!(lost.iter().any(|line| line.contains("cut off")), "{lost:?}");
        assert_eq!(again.missing_bytes, 0);
        assert!(again.complete(), "{:?}", again.issues);
        assert_eq!(memory(&again), memory(&cut));
    }
}

#[test]
fn a_form_that_is_kept_is_copied() {
    let core = sample_core();
    let dump = open_bytes(Path::new("sample"), core.clone());
    assert_eq!(convert(&dump, Format::ElfCore, None).0, core);
    let mini = convert(&dump, Format::Minidump, None).0;
    let dump = open_bytes(Path::new("mini"), mini.clone());
    assert_eq!(convert(&dump, Format::Minidump, None).0, mini);
}

/// A core as live capture has it, before its memory is read, and the same core out of its file.
#[test]
fn a_core_that_is_not_written_yet_is_laid_out_alike() {
    let dump = open_bytes(Path::new("sample"), sample_core());
    let mut core = Core::new(Class::Bits64, 62, 4096);
    let owner = |owner: &str| ["CORE", "LINUX", "AFTERIMAGE"].into_iter().find(|known| *known == owner).unwrap();
    for (name, kind, content) in notes(&dump, &sample_core()) {
        core.notes.push(Note { owner: owner(&name), kind, content });
    }
    for region in &dump.regions {
        core.segments.push(Segment {
            start: region.start.0,
            memory_size: region.end.0 - region.start.0,
            file_size: region.present_bytes,
            permissions: region.permissions.unwrap(),
        });
    }
    let layout = minidump::lay_out_core(&core).unwrap();
    let mut out = Pipe(Vec::new());
    let mut memory_of_dump = DumpMemory::new(&dump);
    layout::write(&layout, &mut memory_of_dump, &mut out).unwrap();
    let mini = open_bytes(Path::new("live"), out.0.clone());
    assert_eq!(memory(&mini), memory(&dump));
    assert_eq!(model(&mini), model(&dump));
    let plain = without_own(&out.0);
    assert_eq!(plain.threads.len(), dump.threads.len());
    assert_eq!(plain.exception.as_ref().unwrap().address, dump.exception.as_ref().unwrap().address);
}

/// A core with so many threads, segments and gigabytes, not written yet.
fn big(threads: u32, segments: u64, size: u64) -> Core {
    let mut core = Core::new(Class::Bits64, 62, 4096);
    for tid in 1..=threads {
        let mut content = vec![0; 336];
        content[32..36].copy_from_slice(&tid.to_le_bytes());
        core.notes.push(Note { owner: "CORE", kind: 1, content });
    }
    let permissions = Permissions { read: true, write: true, execute: false };
    for n in 0..segments {
        core.segments.push(Segment {
            start: 0x10_0000 + n * 2 * size,
            memory_size: size,
            file_size: size,
            permissions,
        });
    }
    core
}

#[test]
fn near_the_limits_of_the_format() {
    let core = big(20_000, 70_000, 0x1000);
    let layout = minidump::lay_out_core(&core).unwrap();
    assert_eq!(layout.memory.len(), 70_000);
    let mut file = layout.head.clone();
    file.resize(layout.tail_at as usize, 0);
    file.extend(layout.tail(&["one \"thing\"".to_owned()]));
    assert_eq!(file.len() as u64, layout.len());
    let dump = open_bytes(Path::new("big"), file);
    assert_eq!(dump.threads.len(), 20_000);
    assert_eq!(dump.regions.len(), 70_000);
    assert_eq!(dump.missing_bytes, 0);
    assert_eq!(dump.soft_errors, ["one \"thing\""]);

    // 96 GiB: places of 64 bits, and soft errors where no 32-bit place reaches.
    let core = big(3, 3, 32 << 30);
    let layout = minidump::lay_out_core(&core).unwrap();
    assert!(layout.tail_at > 96 << 30);
    assert!(layout.head.len() < 1 << 20);
    let source = Sparse { head: layout.head.clone(), tail: layout.tail(&["late".to_owned()]), tail_at: layout.tail_at };
    let dump = open_source(Path::new("huge"), Arc::new(source), &Budget::default()).unwrap();
    assert_eq!((dump.missing_bytes, dump.threads.len()), (0, 3));
    assert_eq!(dump.soft_errors, ["late"]);
    for (segment, placed) in
        dump.memory.segments().iter().filter(|s| matches!(s.backing, Backing::File(_))).zip(&layout.memory)
    {
        let Backing::File(offset) = segment.backing else { panic!() };
        assert_eq!((segment.start.0, offset.0), (placed.start, placed.offset));
    }
}

/// A file whose memory is zeros.
struct Sparse {
    head: Vec<u8>,
    tail: Vec<u8>,
    tail_at: u64,
}

impl afterimage_dump::source::Source for Sparse {
    fn len(&self) -> u64 {
        self.tail_at + self.tail.len() as u64
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        for (place, byte) in buf.iter_mut().enumerate() {
            let at = at + place as u64;
            *byte = match self.head.get(at as usize) {
                Some(&byte) => byte,
                None => at.checked_sub(self.tail_at).and_then(|at| self.tail.get(at as usize)).copied().unwrap_or(0),
            };
        }
        Ok(buf.len().min((self.len() - at) as usize))
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

#[test]
fn every_sample_goes_both_ways() {
    let Some(folder) = samples() else { return };
    let mut files = Vec::new();
    walk(&folder, &mut files);
    files.sort();
    let (mut cores, mut minidumps) = (0, 0);
    for path in files {
        let Ok(dump) = open(&path, &Budget::default()) else { continue };
        // A report has no memory that could be written.
        if dump.report.is_some() {
            let request = Request { format: Some(Format::ElfCore), dump_type: None };
            assert!(plan(&dump, &request).is_err(), "{}", path.display());
            continue;
        }
        // What overlaps is cut by whoever reads it; what is missing is left out. Machines go other ways (tests/images.rs).
        if dump.memory.overlaps() > 0 || dump.machine.is_some() {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if dump.memory.segments().iter().map(|s| s.end.0 - s.start.0).sum::<u64>() > 1 << 40 {
            println!("{name}: skipped, its address space is too large to be hashed");
        }
        // Firmware has no system that a minidump could name: `convert` writes Linux, which is not checked here.
        if dump.format == Format::MachO && dump.os == Os::Unknown {
            println!("{name}: skipped, its system is not known");
            continue;
        }
        let before = memory(&dump);
        let (mini, _) = converted(&dump, Format::Minidump);
        assert_eq!(memory(&mini), before, "{name} as a minidump");
        assert_eq!(mini.threads.len(), dump.threads.len(), "{name}");
        assert_eq!(mini.exception.is_some(), dump.exception.is_some(), "{name}");
        let (core, core_bytes) = converted(&mini, Format::ElfCore);
        assert_eq!(memory(&core), before, "{name} as a core again");
        let told = |dump: &Dump| dump.exception.as_ref().map(|e| (e.tid, e.address));
        if dump.format == Format::ElfCore {
            assert_eq!(told(&core), told(&dump), "{name}: exception");
            // What was cut off counts for its type, what was left out does not.
            assert!(core.dump_type == dump.dump_type || dump.missing_bytes > 0, "{name}: type");
        }
        match dump.format {
            Format::ElfCore => {
                cores += 1;
                if dump.missing_bytes == 0 && dump.complete() {
                    let tail = |note: &&(String, u32, Vec<u8>)| (note.0.as_str(), note.1 & 0xffff) != ("AFTERIMAGE", 1);
                    let (ours, theirs) = (notes(&core, &core_bytes), notes(&dump, &unpacked(&dump)));
                    let ours: Vec<_> = ours.iter().filter(tail).collect();
                    assert_eq!(ours, theirs.iter().filter(tail).collect::<Vec<_>>(), "{name}: notes");
                }
                assert_eq!(
                    format!("{:?}", core.threads.iter().map(|t| t.registers).collect::<Vec<_>>()),
                    format!("{:?}", dump.threads.iter().map(|t| t.registers).collect::<Vec<_>>()),
                    "{name}: registers"
                );
            }
            _ => {
                minidumps += 1;
                let (core, _) = converted(&dump, Format::ElfCore);
                assert_eq!(memory(&core), before, "{name} as a core");
                if dump.arch.elf_machine() != 0 {
                    assert_eq!(core.os, dump.os, "{name}");
                    assert_eq!(core.threads.len(), dump.threads.len(), "{name}");
                }
                if dump.arch.elf_machine() != 0 {
                    assert_eq!(told(&core), told(&dump), "{name}: exception");
                    let kind = |dump: &Dump| dump.exception.as_ref().map(|exception| exception.kind.clone());
                    let coded = !matches!(kind(&dump), Some(ExceptionKind::Signal { code: None, .. }));
                    assert!(!coded || kind(&core) == kind(&dump), "{name}: {:?} {:?}", kind(&core), kind(&dump));
                }
            }
        }
    }
    println!("{cores} cores and {minidumps} minidumps");
    assert!(cores > 40 && minidumps > 40, "{cores} cores and {minidumps} minidumps");
}

/// A minidump that is laid out anew says what it said before, in the same words.
#[test]
fn minidumps_of_every_system_are_written_anew() {
    let Some(folder) = samples() else { return };
    let mut files = Vec::new();
    walk(&folder, &mut files);
    files.sort();
    let mut written = 0;
    for path in files {
        let Ok(dump) = open(&path, &Budget::default()) else { continue };
        if dump.format != Format::Minidump {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let layout = minidump::lay_out(&dump, &DumpMemory::stored(&dump), dump.dump_type).unwrap();
        let mut out = Pipe(Vec::new());
        layout::write(&layout, &mut DumpMemory::new(&dump), &mut out).unwrap();
        let anew = open_bytes(&path, out.0);
        written += 1;
        assert_eq!(memory(&anew), memory(&dump), "{name}");
        assert_eq!((anew.os, anew.arch, anew.time), (dump.os, dump.arch, dump.time), "{name}");
        assert_eq!(anew.os_version, dump.os_version, "{name}");
        assert_eq!(anew.process.pid, dump.process.pid, "{name}");
        assert_eq!(anew.process.command_line, dump.process.command_line, "{name}");
        assert_eq!(anew.process.environment, dump.process.environment, "{name}");
        assert_eq!(anew.handles.len(), dump.handles.len(), "{name}");
        assert_eq!(anew.mappings, dump.mappings, "{name}");
        assert_eq!(anew.auxv, dump.auxv, "{name}");
        let modules = |dump: &Dump| format!("{:#?}", dump.modules);
        assert_eq!(modules(&anew), modules(&dump), "{name}");
        assert_eq!(format!("{:?}", anew.unloaded_modules), format!("{:?}", dump.unloaded_modules), "{name}");
        let threads = |dump: &Dump| -> Vec<String> {
            dump.threads.iter().map(|t| format!("{} {:?} {:?}", t.tid, t.name, t.registers)).collect()
        };
        assert_eq!(threads(&anew), threads(&dump), "{name}");
        // A crash without registers of its own gets those of its thread.
        let exception = |dump: &Dump| {
            let registers = |e: &afterimage_dump::Exception| e.registers.or(dump.crashed_thread().map(|t| t.registers));
            dump.exception.as_ref().map(|e| format!("{:?} {:?} {:?} {:?}", e.tid, e.kind, e.address, registers(e)))
        };
        assert_eq!(exception(&anew), exception(&dump), "{name}");
    }
    assert!(written > 40, "{written}");
}

/// All bytes of a dump's container.
fn unpacked(dump: &Dump) -> Vec<u8> {
    convert(dump, dump.format, None).0
}

/// Counts what is written, and refuses more than so much.
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

#[test]
fn hostile_dumps_are_converted_or_refused() {
    let mut planned = 0;
    for (name, bytes) in afterimage_testkit::hostile::hostile_inputs() {
        // Unpacking has tests of its own.
        if name.starts_with("compressed/") {
            continue;
        }
        let len = bytes.len() as u64;
        let Ok(dump) = open_source(Path::new(&name), Arc::new(bytes), &Budget::default()) else { continue };
        for format in [Format::ElfCore, Format::Minidump] {
            for dump_type in [None, Some(DumpType::Small)] {
                let Ok(conversion) = plan(&dump, &Request { format: Some(format), dump_type }) else { continue };
                planned += 1;
                assert!(conversion.file_size() <= 4 * len.max(dump.file_size) + (2 << 30), "{name}");
                let _ = conversion.write(&mut Bin(64 << 20), None);
            }
        }
    }
    assert!(planned > 50, "{planned} conversions");
}
