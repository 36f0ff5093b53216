//! Call-frame information, row by row, compared with what readelf prints of the same tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use afterimage_symbols::{CfiMiss, CfiSource, ElfObject, Machine, ModuleSymbols, NoFiles};
use common::*;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// A thread whose registers and memory are easily foretold.
struct Foretold;

impl Foretold {
    fn memory(address: u64) -> u64 {
        address.wrapping_mul(3) ^ 0x5555
    }
}

const BIAS: u64 = 0x10_0000;

impl Machine for Foretold {
    fn register(&self, dwarf: u16) -> Option<u64> {
        (dwarf < 200).then_some(0x7000_0000 + u64::from(dwarf) * 0x1_0000)
    }
    fn read(&self, address: u64, _size: usize) -> Option<u64> {
        Some(Self::memory(address))
    }
    fn bias(&self) -> u64 {
        BIAS
    }
}

const X86_64: [&str; 17] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
];

fn number(name: &str, aarch64: bool) -> u16 {
    match name {
        "ra" if aarch64 => 30,
        "ra" => 16,
        "sp" => 31,
        _ if aarch64 => name
            .trim_start_matches('x')
            .parse()
            .unwrap_or_else(|_| 64 + name.trim_start_matches(['d', 'v']).parse::<u16>().unwrap()),
        _ => X86_64.iter().position(|known| *known == name).unwrap() as u16,
    }
}

/// Checks every row of every entry; gives how many.
fn compare(path: &Path, module: &ModuleSymbols, section: &str, source: CfiSource, aarch64: bool) -> usize {
    // It complains of debug files, whose program headers point at nothing, and prints the tables all the same.
    let output = Command::new("readelf").arg("--debug-dump=frames-interp").arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut wanted = false;
    let mut columns: Vec<String> = Vec::new();
    let mut in_fde = false;
    let mut rows = 0;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Contents of the ") {
            wanted = name.starts_with(section);
        } else if line.contains(" FDE ") || line.contains(" CIE ") {
            in_fde = line.contains(" FDE ");
        } else if line.trim_start().starts_with("LOC") {
            columns = line.split_whitespace().skip(2).map(str::to_owned).collect();
        } else if wanted && in_fde && line.len() > 16 && line.starts_with('0') && !line.contains("ZERO") {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let at = u64::from_str_radix(fields[0], 16).unwrap();
            let step = module.unwind(at, &Foretold).unwrap_or_else(|error| panic!("{at:#x}: {error}: {line}"));
            assert_eq!(step.source, source, "{line}");
            let cfa = match fields[1].split_once('+') {
                Some((register, offset)) => {
                    let offset: u64 = offset.parse().unwrap();
                    Foretold.register(number(register, aarch64)).unwrap() + offset
                }
                None => {
                    assert_eq!(fields[1], "exp");
                    // The PLT's rule, by hand: rsp + 8 + (((rip & 15) >= 11) << 3).
                    let rip = Foretold.register(16).unwrap();
                    Foretold.register(7).unwrap() + 8 + (u64::from((rip & 15) >= 11) << 3)
                }
            };
            assert_eq!(step.cfa, cfa, "{line}");
            for (column, rule) in columns.iter().zip(&fields[2..]) {
                let number = number(column, aarch64);
                let value = step.registers.iter().find(|(register, _)| *register == number).map(|(_, value)| *value);
                match *rule {
                    "u" if column == "ra" && value.is_some() => {
                        assert!(step.outermost || aarch64, "{line}");
                    }
                    // readelf says u for a register without any rule, too.
                    "u" | "s" => assert!(value.flatten().is_none() || *rule == "s", "{column}: {line}"),
                    "exp" | "vexp" => {}
                    rule => {
                        let offset: i64 = rule.strip_prefix('c').unwrap().parse().unwrap();
                        let slot = cfa.wrapping_add_signed(offset);
                        assert_eq!(value, Some(Some(Foretold::memory(slot))), "{column}: {line}");
                    }
                }
            }
            rows += 1;
        }
    }
    rows
}

#[test]
fn eh_frame_of_x86_64() {
    if !have("g++") || !have("readelf") {
        return;
    }
    for flags in [
        &["-O2", "-fno-omit-frame-pointer"][..],
        &["-O2"],
        &["-O0"],
        &["-O2", "-Wl,--no-eh-frame-hdr", "-Wl,-z,norelro"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = compile(folder.path(), "g++", "shapes.cc", flags);
        let rows = compare(&path, &module(&path), ".eh_frame", CfiSource::EhFrame, false);
        assert!(rows > 30, "{rows}");
    }
}

#[test]
fn debug_frame_alone() {
    if !have("gcc") || !have("readelf") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-g", "-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"];
    let path = compile(folder.path(), "gcc", "plain.c", &flags);
    let rows = compare(&path, &module(&path), ".debug_frame", CfiSource::DebugFrame, false);
    assert!(rows > 8, "{rows}");
    // The same, from the debug file beside a stripped program.
    run(Command::new("objcopy").current_dir(folder.path()).args(["--only-keep-debug", "program", "program.debug"]));
    run(Command::new("strip").current_dir(folder.path()).arg("program"));
    let [main, debug] =
        ["program", "program.debug"].map(|name| ElfObject::parse(blob(&folder.path().join(name))).unwrap());
    let debug_path = folder.path().join("program.debug");
    let split = ModuleSymbols::from_elf(Some(main), Some(debug), Arc::new(NoFiles));
    assert_eq!(compare(&debug_path, &split, ".debug_frame", CfiSource::DebugFrame, false), rows);
}

#[test]
fn aarch64_with_signed_return_addresses() {
    if !have("aarch64-linux-gnu-gcc") || !have("readelf") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-O2", "-nostdlib", "-shared", "-fPIC", "-mbranch-protection=pac-ret"];
    let path = compile(folder.path(), "aarch64-linux-gnu-gcc", "bare.c", &flags);
    let module = module(&path);
    let rows = compare(&path, &module, ".eh_frame", CfiSource::EhFrame, true);
    assert!(rows > 5, "{rows}");

    /// Takes the signature off, as hardware would.
    struct Signed;
    impl Machine for Signed {
        fn register(&self, dwarf: u16) -> Option<u64> {
            Foretold.register(dwarf)
        }
        fn read(&self, _address: u64, _size: usize) -> Option<u64> {
            Some(0x00aa_ffff_1234_5678)
        }
        fn bias(&self) -> u64 {
            0
        }
        fn strip_pointer(&self, value: u64) -> u64 {
            value & 0x0000_ffff_ffff_ffff
        }
    }
    let at = module.symbol_by_name("outer").unwrap();
    let (_, size) = module.symbol_entry_by_name("outer").unwrap();
    let stripped = (at..at + size).step_by(4).filter_map(|at| module.unwind(at, &Signed).ok());
    let stripped = stripped.filter(|step| step.return_address() == Some(0xffff_1234_5678)).count();
    assert!(stripped > 2, "{stripped}");
}

#[test]
fn reasons_are_told() {
    if !have("gcc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "gcc", "plain.c", &["-O2"]);
    let module = module(&path);
    let main = module.symbol_by_name("main").unwrap();

    struct NoMemory;
    impl Machine for NoMemory {
        fn register(&self, dwarf: u16) -> Option<u64> {
            Foretold.register(dwarf)
        }
        fn read(&self, _address: u64, _size: usize) -> Option<u64> {
            None
        }
        fn bias(&self) -> u64 {
            0
        }
    }
    struct NoRegisters;
    impl Machine for NoRegisters {
        fn register(&self, _dwarf: u16) -> Option<u64> {
            None
        }
        fn read(&self, _address: u64, _size: usize) -> Option<u64> {
            Some(0)
        }
        fn bias(&self) -> u64 {
            0
        }
    }
    assert_eq!(module.unwind(main, &NoMemory), Err(CfiMiss::Unreadable { address: 0x7007_0000 }));
    assert_eq!(module.unwind(main, &NoRegisters), Err(CfiMiss::UnknownRegister { dwarf: 7 }));
    assert_eq!(module.unwind(1, &Foretold), Err(CfiMiss::NotCovered));
    assert_eq!(ModuleSymbols::none().unwind(1, &Foretold), Err(CfiMiss::NoTables));
    let start = module.symbol_by_name("_start").unwrap();
    assert!(module.unwind(start, &Foretold).unwrap().outermost, "_start has no caller");
}

#[test]
fn libc_signal_trampoline_and_vdso_image() {
    // This process's own vDSO: no section headers are used, only what is mapped.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Some(line) = maps.lines().find(|line| line.ends_with("[vdso]")) else {
        println!("skipped: no vDSO here");
        return;
    };
    let range = line.split(' ').next().unwrap();
    let (start, end) = range.split_once('-').unwrap();
    let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16).unwrap());
    let mut bytes = vec![0; (end - start) as usize];
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, start).unwrap();
    let image = bytes.clone();
    let id = afterimage_symbols::build_id_of_image(&mut |offset, buffer| {
        let Some(part) = image.get(offset as usize..offset as usize + buffer.len()) else { return false };
        buffer.copy_from_slice(part);
        true
    });
    let elf = ElfObject::parse_image_at(Arc::new(bytes), start).unwrap();
    assert_eq!(elf.build_id(), id.as_deref());
    assert!(elf.soname().is_some_and(|name| name.starts_with("linux-")), "{:?}", elf.soname());
    let module = ModuleSymbols::from_elf(Some(elf), None, Arc::new(NoFiles));
    let names = ["__vdso_clock_gettime", "__kernel_clock_gettime"];
    let at = names.iter().find_map(|name| module.symbol_by_name(name)).unwrap();
    let function = module.function(at + 1).unwrap();
    assert!(function.raw.contains("clock_gettime") && function.exact, "{function:?}");
    let step = module.unwind(at, &Foretold).unwrap();
    assert_eq!(step.source, CfiSource::EhFrame);
    assert_eq!(step.function_start, Some(at));
}
