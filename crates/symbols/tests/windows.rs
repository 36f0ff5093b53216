//! PE images and PDB files against the symbol files that two other tools made of them (samples `windows-symbols`).
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use afterimage_symbols::{Machine, ModuleSymbols, Pdb, PeImage, short_name};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn sample(name: &str) -> Option<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    let path: PathBuf = root.join(name);
    let packed = root.join(format!("{name}.zst"));
    match (std::fs::read(&path), std::fs::read(&packed)) {
        (Ok(bytes), _) => Some(bytes),
        (_, Ok(bytes)) => Some(zstd::stream::decode_all(&bytes[..]).unwrap()),
        _ => {
            println!("left out: no sample {name}");
            None
        }
    }
}

fn text(name: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&sample(name)?).into_owned())
}

/// A frame whose memory holds its own addresses, so that a value tells where it was read.
struct Frame;

impl Machine for Frame {
    fn register(&self, dwarf: u16) -> Option<u64> {
        Some(0x7000_0000 + u64::from(dwarf) * 0x10_0000)
    }
    fn read(&self, address: u64, _size: usize) -> Option<u64> {
        Some(address ^ 0x5555_0000_0000)
    }
    fn bias(&self) -> u64 {
        0
    }
}

/// (start, size) of each `STACK CFI INIT`.
fn ranges(sym: &str) -> Vec<(u64, u64)> {
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    sym.lines()
        .filter_map(|line| line.strip_prefix("STACK CFI INIT "))
        .map(|line| {
            let mut words = line.split(' ');
            (hex(words.next().unwrap()), hex(words.next().unwrap()))
        })
        .collect()
}

fn compare_unwinding(image: &str, sym: &str) {
    let (Some(bytes), Some(sym_text)) = (sample(image), text(sym)) else { return };
    let image = Arc::new(PeImage::of_file(Arc::new(bytes)).unwrap());
    let ours = ModuleSymbols::from_pe(Some(image), None);
    let theirs = ModuleSymbols::from_breakpad(Arc::new(sym_text.clone().into_bytes())).unwrap();
    let (mut same, mut no_rule, mut different) = (0, 0, Vec::new());
    for (start, size) in ranges(&sym_text) {
        let at = start + size - 1;
        // All of this function is prologue, the stack pointer is moved by what is chained to it; the symbol file has the
        // state behind it everywhere.
        if (start, size) == (0x1940, 7) && sym == "windows-symbols/pe_only_symbol_test.sym" {
            continue;
        }
        // These two have a frame pointer, which our frame's memory does not know; the tool counts from `rsp` all the same.
        if sym.ends_with("breakpad.sym") && matches!(start, 0x5e68 | 0x61ec) {
            continue;
        }
        let (Ok(ours), Ok(theirs)) = (ours.unwind(at, &Frame), theirs.unwind(at, &Frame)) else {
            no_rule += 1;
            continue;
        };
        let alike = ours.cfa == theirs.cfa
            && ours.return_address() == theirs.return_address()
            // Of a register that a prologue stores with `mov` the one tool writes a place 8 bytes too low (`SAVE_NONVOL` of
            // rbx at rsp+0x48 below a frame of 0x40 is the frame's end + 8; llvm-readobj shows the record), the other
            // writes none. So the caller's stack pointer and return address are what can be compared.
            && ours.register(7) == Some(ours.cfa);
        if alike {
            same += 1;
        } else {
            different.push(format!("{start:x}: {ours:x?} {theirs:x?}"));
        }
    }
    println!("{sym}: {same} same, {no_rule} without a rule, {} different", different.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(same > 20 && no_rule == 0);
}

#[test]
fn x64_unwind_data_says_what_the_symbol_files_say() {
    compare_unwinding("windows-symbols/pe_only_symbol_test.dll", "windows-symbols/pe_only_symbol_test.sym");
    compare_unwinding("windows-symbols/dump_syms_regtest64.exe", "windows-symbols/dump_syms_regtest64.mozilla.sym");
    compare_unwinding("windows-symbols/dump_syms_regtest64.exe", "windows-symbols/dump_syms_regtest64.breakpad.sym");
}

#[test]
fn the_image_names_its_debug_file() {
    let (Some(exe), Some(pdb)) =
        (sample("windows-symbols/dump_syms_regtest64.exe"), sample("windows-symbols/dump_syms_regtest64.pdb"))
    else {
        return;
    };
    let image = PeImage::of_file(Arc::new(exe)).unwrap();
    let codeview = image.codeview().unwrap();
    assert_eq!(codeview.name(), "dump_syms_regtest64.pdb");
    assert_eq!(codeview.debug_id(), "72E103A85CB249078B76B2E7C06257B13");
    assert_eq!(image.code_id(), "589DFD111a000");
    let pdb = Pdb::parse(Arc::new(pdb)).unwrap();
    assert!(pdb.belongs_to(codeview) && pdb.has_id("72e103a85cb249078b76b2e7c06257b13"), "{pdb:?}");
}

/// Compares functions, lines and publics with those of a symbol file.
fn compare_names(pdb: &str, sym: &str, stretched: bool) -> Option<(usize, usize, usize, usize)> {
    let (bytes, sym) = (sample(pdb)?, text(sym)?);
    let symbols = ModuleSymbols::from_pe(None, Some(Arc::new(Pdb::parse(Arc::new(bytes)).unwrap())));
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let (mut functions, mut wrong, mut lines, mut wrong_lines) = (0, Vec::new(), 0, Vec::new());
    let mut files = std::collections::HashMap::new();
    for line in sym.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "FILE" => {
                files.insert(words[1], words[2..].join(" "));
            }
            "FUNC" => {
                let skip = usize::from(words[1] == "m");
                let (start, size) = (hex(words[1 + skip]), hex(words[2 + skip]));
                let name = words[4 + skip..].join(" ");
                functions += 1;
                let found = symbols.function(start);
                let good = found.as_ref().is_some_and(|found| {
                    (found.start == start || stretched && found.start < start)
                        && (stretched || found.size == Some(size))
                        && (short_name(&name).ends_with(&found.short_name())
                            || short_name(&found.name).ends_with(&short_name(&name)))
                });
                if !good {
                    wrong.push(format!("{line}: {found:?}"));
                }
            }
            "PUBLIC" | "STACK" | "INFO" | "MODULE" | "INLINE" | "INLINE_ORIGIN" => {}
            // A line of no bytes is another one's place.
            _ if words.len() == 4 && words[1] != "0" => {
                lines += 1;
                let place = symbols.locate(hex(words[0]));
                let number: u32 = words[2].parse().unwrap();
                let last = place.last();
                let good = last.is_some_and(|last| {
                    last.line == Some(number) && last.file.as_deref() == files.get(words[3]).map(String::as_str)
                });
                if !good {
                    wrong_lines.push(format!("{line}: {last:?} {:?}", files.get(words[3])));
                }
            }
            _ => {}
        }
    }
    println!("{pdb}: {functions} functions, {} wrong; {lines} lines, {} wrong", wrong.len(), wrong_lines.len());
    for line in wrong.iter().take(12).chain(wrong_lines.iter().take(12)) {
        println!("  {line}");
    }
    Some((functions, wrong.len(), lines, wrong_lines.len()))
}

#[test]
fn names_and_lines_of_a_pdb_are_those_of_its_symbol_file() {
    if let Some((functions, wrong, lines, wrong_lines)) = compare_names(
        "windows-symbols/dump_syms_regtest64.pdb",
        "windows-symbols/dump_syms_regtest64.mozilla.sym",
        false,
    ) {
        assert!(functions > 200 && lines > 1000);
        assert!(wrong * 100 <= functions && wrong_lines * 100 <= lines);
    }
    if let Some((functions, wrong, lines, wrong_lines)) =
        compare_names("windows-symbols/omap_stretched.pdb", "windows-symbols/omap_stretched.sym", true)
    {
        assert!(functions > 100);
        assert!(wrong * 20 <= functions && wrong_lines * 20 <= lines);
    }
}

/// `llvm-pdbutil dump -id-index` and the crash site's own text say what was inlined into `main`.
#[test]
fn inlined_functions_have_their_names() {
    let Some(pdb) = sample("windows-user/sentry-crash/crash.pdb") else { return };
    let symbols = ModuleSymbols::from_pe(None, Some(Arc::new(Pdb::parse(Arc::new(pdb)).unwrap())));
    let names = |at: u64| -> Vec<String> {
        symbols.locate(at).iter().map(|frame| frame.function.clone().unwrap_or_else(|| "?".to_owned())).collect()
    };
    assert_eq!(names(0x2a3d), ["`anonymous namespace'::crash", "`anonymous namespace'::start", "main"]);
    let main = symbols.function(0x2a3d).unwrap();
    let all: Vec<Vec<String>> = (main.start..main.start + main.size.unwrap()).map(names).collect();
    let named = all.iter().flatten().filter(|name| *name != "?").count();
    let nameless = all.iter().flatten().filter(|name| *name == "?").count();
    println!("{named} named, {nameless} nameless: {:?}", all.iter().max_by_key(|one| one.len()));
    assert_eq!(nameless, 0);
}
