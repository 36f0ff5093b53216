//! Every seed, and whatever a fuzzer found before, through its body as an ordinary function.

use afterimage_fuzz::BODIES;
use std::path::Path;

#[test]
fn every_seed_passes() {
    for (name, body) in BODIES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        seeds.sort();
        assert!(seeds.len() >= 3, "{name} has only {} seeds", seeds.len());
        for seed in seeds {
            println!("{}", seed.display());
            body(&std::fs::read(&seed).unwrap());
        }
    }
}

/// Seeds that say nothing to the reader would let a fuzzer begin outside of it.
#[test]
fn dwarf_seeds_have_lines() {
    use afterimage_symbols::{ElfObject, ModuleSymbols, NoFiles};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/dwarf");
    for name in ["dwarf-2", "dwarf-3", "dwarf-4", "dwarf-5", "dwarf-64", "dwarf-compressed", "dwarf-only-debug"] {
        let object = ElfObject::parse(std::sync::Arc::new(std::fs::read(folder.join(name)).unwrap())).unwrap();
        let (start, end) = object.segments().iter().fold((u64::MAX, 0), |(start, end), segment| {
            (start.min(segment.vaddr), end.max(segment.vaddr + segment.memsz))
        });
        let symbols = ModuleSymbols::from_elf(None, Some(object), std::sync::Arc::new(NoFiles));
        let lines = (start..end).filter(|at| symbols.locate(*at).iter().any(|frame| frame.line.is_some())).count();
        assert!(lines > 20, "{name}: {lines} addresses with a line between {start:#x} and {end:#x}");
    }
}

/// The addresses that the target asks for must meet code, or it tests little.
#[test]
fn dwarf_asks_for_code() {
    for name in ["dwarf-2", "dwarf-5", "dwarf-split-4-skeleton", "dwarf-split-both"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/dwarf").join(name);
        assert!(afterimage_fuzz::lines_met(&std::fs::read(path).unwrap()) > 5, "{name}");
    }
}
