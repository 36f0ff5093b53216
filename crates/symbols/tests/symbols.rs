//! Symbol tables, PLT stubs, Breakpad files, and files made to do harm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "symbols/variables.rs"]
mod variables;

use afterimage_symbols::{
    Blob, Callee, CfiSource, ElfObject, FunctionKind, Machine, ModuleSymbols, NoFiles, build_id_of_image, short_name,
};
use common::*;
use std::process::Command;
use std::sync::Arc;
use variables::Any;

#[test]
fn every_function_of_nm_is_found_by_address_and_by_name() {
    if !have("g++") || !have("nm") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (flags, source) in [(&["-O2"][..], "symtab"), (&["-O2", "-rdynamic", "-s"], "dynsym")] {
        let path = compile(folder.path(), "g++", "shapes.cc", flags);
        let module = module(&path);
        let table: &[&str] = if source == "symtab" { &[] } else { &["-D"] };
        let text = run(Command::new("nm").args(["--print-size", "--defined-only"]).args(table).arg(&path));
        let mut count = 0;
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [start, size, kind, name] = fields[..] else { continue };
            let [start, size] = [start, size].map(|number| u64::from_str_radix(number, 16).unwrap());
            let name = name.split('@').next().unwrap();
            assert_eq!(module.symbol_entry_by_name(name), Some((start, size)), "{name}");
            if !matches!(kind, "t" | "T" | "W" | "w") {
                continue;
            }
            let found = module.function(start + size / 2).unwrap_or_else(|| panic!("{name}"));
            // Constructors and destructors have two names and one address.
            let plain = |name: &str| name.replace("C1E", "C2E").replace("D1E", "D2E");
            let same = |one: &str, other: &str| plain(one) == plain(other);
            assert!(same(&found.raw, name), "{name}: {found:?}");
            assert_eq!((found.start, found.size, found.exact, found.source), (start, Some(size), true, source));
            count += 1;
        }
        assert!(count > 5, "{count} {source}");
        assert_eq!(module.symbol_by_name("no_such_symbol"), None);
    }
}

#[test]
fn plt_stubs_as_objdump_names_them() {
    if !have("gcc") || !have("objdump") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let variants = [
        ("gcc", &["-O1"][..], "plain.c"),
        ("gcc", &["-O1", "-fcf-protection=full", "-Wl,-z,ibtplt"], "plain.c"),
        ("gcc", &["-O1", "-no-pie", "-Wl,-z,lazy"], "plain.c"),
        ("aarch64-linux-gnu-gcc", &["-O1", "-shared", "-fPIC", "-nostdlib"], "bare.c"),
    ];
    for (compiler, flags, program) in variants {
        if !have(compiler) {
            continue;
        }
        let path = compile(folder.path(), compiler, program, flags);
        let objdump = if compiler == "gcc" { "objdump" } else { "aarch64-linux-gnu-objdump" };
        if !have(objdump) {
            continue;
        }
        let module = module(&path);
        let text = run(Command::new(objdump).arg("-d").arg(&path));
        let mut count = 0;
        // "0000000000001030 <rand@plt>:"
        for line in text.lines().filter(|line| line.ends_with("@plt>:")) {
            let (at, name) = line.split_once(" <").unwrap();
            let at = u64::from_str_radix(at, 16).unwrap();
            let name = name.strip_suffix(">:").unwrap();
            // objdump calls the head of the table "*ABS*+0x…@plt", or by a function that it does not call.
            if name.contains("*ABS*") {
                continue;
            }
            let found = module.function(at + 4).unwrap_or_else(|| panic!("{name} {flags:?}"));
            assert_eq!((&*found.raw, found.start, found.kind), (name, at, FunctionKind::Plt), "{flags:?}");
            count += 1;
        }
        assert!(count >= 1, "{count} {flags:?}");
    }
}

#[test]
fn minidebuginfo_is_unpacked_when_the_other_tables_do_not_answer() {
    if !have("gcc") || !have("xz") || !have("objcopy") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "gcc", "plain.c", &["-O1"]);
    let middle = module(&path).symbol_by_name("middle").expect("a local function");
    let here =
        |program: &str, arguments: &[&str]| run(Command::new(program).current_dir(folder.path()).args(arguments));
    here("objcopy", &["--only-keep-debug", "program", "mini"]);
    here("xz", &["--keep", "mini"]);
    here("objcopy", &["--strip-all", "program", "stripped"]);
    here("objcopy", &["--add-section", ".gnu_debugdata=mini.xz", "stripped", "packed"]);
    let stripped = module(&folder.path().join("stripped"));
    assert_eq!(stripped.function(middle + 1), None);
    let packed = module(&folder.path().join("packed"));
    let found = packed.function(middle + 1).unwrap();
    assert_eq!((&*found.name, found.source), ("middle", "gnu_debugdata"));
    assert!(packed.sources().contains(&"gnu_debugdata"));
    assert_eq!(packed.symbol_by_name("middle"), Some(middle));
}

#[test]
fn headers_say_what_readelf_says() {
    if !have("gcc") || !have("readelf") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "gcc", "plain.c", &["-O1", "-Wl,--build-id=0x0102030405060708"]);
    let elf = ElfObject::parse(blob(&path)).unwrap();
    assert_eq!(elf.build_id(), Some(&[1, 2, 3, 4, 5, 6, 7, 8][..]));
    let file = std::fs::read(&path).unwrap();
    let image = build_id_of_image(&mut |offset, buffer| {
        let Some(part) = file.get(offset as usize..offset as usize + buffer.len()) else { return false };
        buffer.copy_from_slice(part);
        true
    });
    assert_eq!(image.as_deref(), elf.build_id());
    let text = run(Command::new("readelf").args(["-l", "-d", "-W"]).arg(&path));
    assert!(text.contains(&format!("interpreter: {}]", elf.interpreter().unwrap())));
    for needed in elf.needed() {
        assert!(text.contains(&format!("[{needed}]")));
    }
    assert!(elf.needed().iter().any(|name| name.starts_with("libc.so")));
    assert_eq!(elf.segments().len(), text.lines().filter(|line| line.trim_start().starts_with("LOAD ")).count());
    assert_eq!(elf.section_of(elf.entry()), Some(".text"));
}

#[test]
fn several_threads_ask_at_once() {
    fn shared<T: Send + Sync>() {}
    shared::<ModuleSymbols>();
    if !have("g++") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "g++", "shapes.cc", &["-g", "-O2"]);
    let at = addresses(&path, 7);
    let alone: Vec<_> = at.iter().map(|at| module(&path).locate(*at)).collect();
    let module = module(&path);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (at, alone) in at.iter().zip(&alone) {
                    assert_eq!(&module.locate(*at), alone);
                    assert!(module.function(*at).is_some());
                }
            });
        }
    });
}

#[test]
fn names_are_shortened_for_comparing() {
    for (name, short) in [
        ("main", "main"),
        ("ns::f(int, std::vector<int, std::allocator<int> >)", "ns::f"),
        ("(anonymous namespace)::hidden(int)", "(anonymous namespace)::hidden"),
        ("std::vector<int>::operator[](unsigned long) const", "std::vector::operator[]"),
        ("Box<int>::operator()(int)", "Box::operator()"),
        ("operator<<(std::ostream&, Box<int> const&)", "operator<<"),
        ("Box<int>::operator->() const", "Box::operator->"),
        ("foo() [clone .cold]", "foo"),
        ("abort@plt", "abort"),
        ("alloc::vec::Vec<T,A>::push", "alloc::vec::Vec::push"),
        ("core::ptr::drop_in_place<alloc::string::String>", "core::ptr::drop_in_place"),
        ("<alloc::vec::Vec<T> as core::ops::drop::Drop>::drop", "alloc::vec::Vec::drop"),
        (
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
        ),
    ] {
        assert_eq!(short_name(name), short, "{name}");
    }
}

/// A thread of 32-bit Windows whose stack is a list of words.
struct Stack(Vec<(u16, u64)>, u64, Vec<u32>);

impl Machine for Stack {
    fn register(&self, dwarf: u16) -> Option<u64> {
        self.0.iter().find(|(number, _)| *number == dwarf).map(|(_, value)| *value)
    }
    fn read(&self, address: u64, _size: usize) -> Option<u64> {
        self.2.get(usize::try_from(address.checked_sub(self.1)? / 4).ok()?).copied().map(u64::from)
    }
    fn bias(&self) -> u64 {
        0
    }
}

#[test]
fn breakpad_lines_inlines_and_stack_rules() {
    let sym = "MODULE windows x86 0 test.pdb\r\nFILE 1 c:\\src\\a.cc\r\nFILE 2 c:\\src\\b.h\r\nINLINE_ORIGIN 7 ns::inner(int)\r\n\
        FUNC m 1000 40 8 ns::outer(int)\r\nINLINE 0 12 1 7 1010 8 1030 4\r\n1000 10 10 1\r\n1010 8 99 2\r\n1018 28 13 1\r\n\
        PUBLIC 2000 4 exported\r\nSTACK WIN 4 1000 40 3 0 8 4 c 0 1 $T0 $ebp = $eip $T0 4 + ^ =$ebp $T0 ^ = $esp $T0 8 + = \r\n\
        STACK WIN 0 3000 10 0 0 0 4 8 0 0 1\r\nSTACK CFI INIT 4000 20 .cfa: $esp 4 + .ra: .cfa 4 - ^\r\nSTACK CFI 4001 .cfa: $esp 8 + $ebp: .cfa 8 - ^\r\n";
    let module = ModuleSymbols::from_breakpad(Arc::new(sym.as_bytes().to_vec())).unwrap();
    let frames = module.locate(0x1012);
    let names: Vec<_> = frames
        .iter()
        .map(|f| (f.function.as_deref().unwrap(), f.file.as_deref().unwrap(), f.line, f.inlined))
        .collect();
    assert_eq!(
        names,
        [("ns::inner(int)", "c:\\src\\b.h", Some(99), true), ("ns::outer(int)", "c:\\src\\a.cc", Some(12), false)]
    );
    assert_eq!(module.locate(0x1018)[0].line, Some(13));
    assert!(module.locate(0x1040).is_empty());
    let public = module.function(0x2010).unwrap();
    assert_eq!((&*public.name, public.exact), ("exported", false));
    assert_eq!(module.symbol_entry_by_name("ns::outer(int)"), Some((0x1000, 0x40)));

    // esp, ebp, and words from 0x8000 on.
    let thread = Stack(vec![(4, 0x8000), (5, 0x8008), (3, 1)], 0x8000, vec![11, 12, 0x9000, 0x401000, 14, 15]);
    let step = module.unwind(0x1010, &thread).unwrap();
    assert_eq!((step.source, step.cfa, step.return_address()), (CfiSource::BreakpadWin, 0x8010, Some(0x401000)));
    assert_eq!((step.register(5), step.register(4), step.parameter_size), (Some(0x9000), Some(0x8010), 8));
    // FPO: 8 bytes of locals, 4 saved: the return address is the fourth word.
    let step = module.unwind(0x3004, &thread).unwrap();
    assert_eq!((step.return_address(), step.register(4)), (Some(0x401000), Some(0x8010)));
    let step = module.unwind(0x4001, &thread).unwrap();
    assert_eq!((step.source, step.cfa, step.return_address()), (CfiSource::Breakpad, 0x8008, Some(12)));
    assert_eq!(step.register(5), Some(11));
}

#[test]
fn breakpad_samples_are_read_whole() {
    let Some(folder) = samples("minidump-other-os/breakpad/symbols") else { return };
    let path = folder.join("libc-2.13.so/F4F8DFCD5A5FB5A7CE64717E9E6AE3890/libc-2.13.so.sym");
    let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
    let module = ModuleSymbols::from_breakpad(blob(&path)).unwrap();
    let mut count = 0;
    for line in text.lines().filter(|line| line.starts_with("PUBLIC ")) {
        let fields: Vec<&str> = line.split(' ').collect();
        let at = u64::from_str_radix(fields[1], 16).unwrap();
        let found = module.function(at).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(found.start, at);
        count += 1;
    }
    assert!(count > 1000, "{count}");
}

/// Asks everything that can be asked. It must come back, whatever the file says.
fn exercise(bytes: Vec<u8>, addresses: &[u64]) {
    let blob: Blob = Arc::new(bytes);
    let mut modules = Vec::new();
    for elf in [ElfObject::parse(blob.clone()), ElfObject::parse_image_at(blob.clone(), 0x7000)].into_iter().flatten() {
        let _ = (elf.build_id().map(<[u8]>::len), elf.debuglink(), elf.alt_debuglink(), elf.interpreter());
        let _ = (elf.soname(), elf.needed(), elf.dynamic(), elf.has_symtab());
        modules.push(ModuleSymbols::from_elf(Some(elf), None, Arc::new(NoFiles)));
    }
    modules.extend(ModuleSymbols::from_breakpad(blob));
    for module in modules {
        for at in addresses.iter().copied().chain([0, u64::MAX]) {
            let _ = (module.function(at), module.locate(at), module.unwind(at, &Any).map_err(|miss| miss.to_string()));
            let _ = module.variables(at, &Any);
            let _ = module.entry_value(at, 5, &Callee { name: None, start: at }, &Any);
        }
        let _ = (module.symbol_by_name("main"), module.sources());
    }
}

#[test]
fn broken_files_are_survived() {
    if !have("gcc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut files: Vec<Vec<u8>> = Vec::new();
    for flags in [&["-g", "-O2"][..], &["-g", "-gdwarf-4", "-gz", "-O2"]] {
        files.push(std::fs::read(compile(folder.path(), "gcc", "plain.c", flags)).unwrap());
    }
    let at = addresses(&folder.path().join("program"), 16);
    for file in &files {
        for cut in (0..file.len()).step_by(1024) {
            exercise(file[..cut].to_vec(), &at[..4]);
        }
        // A plain generator: the same bytes are broken on every run.
        let mut state = 0x1234_5678_9abc_def1u64;
        let mut random = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % limit
        };
        for turn in 0..300 {
            let mut broken = file.clone();
            for _ in 0..1 + random(12) {
                let place = if turn % 3 == 0 { random(64.min(broken.len())) } else { random(broken.len()) };
                broken[place] = [0, 0xff, 0x7f, 0x80, random(256) as u8][random(5)];
            }
            exercise(broken, &at[..at.len().min(12)]);
        }
    }
    let sym = "MODULE Linux x86_64 0 a\nFILE 0 a\nFUNC ffffffffffffff00 ff 0 f\nffffffffffffff00 ff 4294967295 0\nINLINE 0 1 0 0 0\n\
        STACK CFI INIT 0 ffffffffffffffff .cfa: $rsp 0 / .ra: 1 0 % ^ ^ ^\nSTACK WIN 4 0 ffffffff 0 0 0 0 0 0 1 = = ^\nPUBLIC 0 0 \n";
    for cut in 0..sym.len() {
        exercise(sym.as_bytes()[..cut].to_vec(), &[1, 0xffff_ffff_ffff_ff10]);
    }
}
