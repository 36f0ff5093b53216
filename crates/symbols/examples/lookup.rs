//! Looks addresses up in an ELF file: `lookup FILE [--debug FILE] < addresses`. For trying the crate out by hand.
//!
//! Each line of input is a hexadecimal address; each answer is the symbol, then one line for every inlined call.

use afterimage_symbols::{Blob, ElfObject, Files, ModuleSymbols};
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;

struct Beside(PathBuf);

fn read(path: &std::path::Path) -> Option<Blob> {
    Some(Arc::new(std::fs::read(path).ok()?))
}

impl Files for Beside {
    fn split_dwarf(&self, comp_dir: Option<&str>, name: &str, _dwo_id: u64) -> Option<Blob> {
        read(&PathBuf::from(comp_dir.unwrap_or(".")).join(name))
    }
    fn package(&self) -> Option<Blob> {
        let mut path = self.0.clone().into_os_string();
        path.push(".dwp");
        read(path.as_ref())
    }
    fn supplementary(&self, name: &str, _build_id: &[u8]) -> Option<Blob> {
        read(&self.0.parent()?.join(name))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("which file?")?);
    let debug = match arguments.next().as_deref() {
        Some("--debug") => arguments.next().map(PathBuf::from),
        _ => None,
    };
    let begin = std::time::Instant::now();
    let elf = ElfObject::parse(read(&path).ok_or("cannot read the file")?)?;
    let debug = debug.and_then(|path| read(&path)).map(ElfObject::parse).transpose()?;
    let module = ModuleSymbols::from_elf(Some(elf), debug, Arc::new(Beside(path)));
    eprintln!("{:?} after {:?}", module.sources(), begin.elapsed());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let at = u64::from_str_radix(line.trim().trim_start_matches("0x"), 16)?;
        let begin = std::time::Instant::now();
        let symbol = module.function(at);
        let middle = begin.elapsed();
        let frames = module.locate(at);
        if std::env::var_os("TIMES").is_some() {
            eprintln!("{at:#x}: symbol {middle:?}, lines {:?}", begin.elapsed() - middle);
        }
        match symbol {
            Some(symbol) => println!("{at:#x} {} +{:#x} {}", symbol.name, at - symbol.start, symbol.source),
            None => println!("{at:#x} ??"),
        }
        for frame in frames {
            let inlined = if frame.inlined { " (inlined)" } else { "" };
            println!(
                "    {}{inlined} at {}:{}:{}",
                frame.function.as_deref().unwrap_or("??"),
                frame.file.as_deref().unwrap_or("??"),
                frame.line.unwrap_or(0),
                frame.column.unwrap_or(0)
            );
        }
    }
    Ok(())
}
