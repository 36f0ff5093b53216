//! Files that want to hurt: each is made from a few lines, has a name, and is never stored in the repository.
//!
//! A reader passes if it ends within its limits with one clear error or with a partial answer; what the answer is, is
//! not said here.
//!
//! ```
//! use afterimage_testkit::hostile;
//! let (name, bytes) = hostile::hostile_inputs().next().expect("there are many");
//! assert_eq!((name.as_str(), bytes.len()), ("not-a-dump/empty", 0));
//!
//! let core = b"any file";
//! assert_eq!(hostile::prefixes(core, 4096).count(), 2); // nothing, and all of it
//! ```
//!
//! *Trap*: inputs are made one by one while the iterator runs, so do not collect them; [`large_inputs`] are up to half a
//! gigabyte each.

mod bzip2_blocks;
mod compressed;
mod cores;
mod memory;
mod minidump_lists;
mod minidumps;
mod notes;
mod seekable;
mod stacks;
#[cfg(test)]
mod tests;
mod xz_blocks;

use std::path::{Path, PathBuf};

/// One hostile input: a name, and how to make it.
pub struct Hostile {
    name: String,
    large: bool,
    make: Box<dyn Fn() -> Vec<u8>>,
}

impl Hostile {
    fn new(name: impl Into<String>, make: impl Fn() -> Vec<u8> + 'static) -> Self {
        Self { name: name.into(), large: false, make: Box::new(make) }
    }

    fn large(name: impl Into<String>, make: impl Fn() -> Vec<u8> + 'static) -> Self {
        Self { large: true, ..Self::new(name, make) }
    }

    /// The name: a group (`not-a-dump`, `core`, `stack`, `minidump`, `compressed`), a slash, and what is wrong.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the file is larger than 20 MiB.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.large
    }

    /// Makes the file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        (self.make)()
    }
}

/// All of them, not yet made.
#[must_use]
pub fn all() -> Vec<Hostile> {
    let mut inputs = no_dumps();
    inputs.extend(cores::inputs());
    inputs.extend(notes::inputs());
    inputs.extend(memory::inputs());
    inputs.extend(stacks::inputs());
    inputs.extend(minidumps::inputs());
    inputs.extend(minidump_lists::inputs());
    inputs.extend(compressed::inputs());
    inputs.extend(seekable::inputs());
    inputs
}

/// Name and bytes of each input of at most 20 MiB.
pub fn hostile_inputs() -> impl Iterator<Item = (String, Vec<u8>)> {
    all().into_iter().filter(|input| !input.large).map(|input| (input.name.clone(), input.bytes()))
}

/// Name and bytes of each larger input.
pub fn large_inputs() -> impl Iterator<Item = (String, Vec<u8>)> {
    all().into_iter().filter(|input| input.large).map(|input| (input.name.clone(), input.bytes()))
}

/// Writes inputs into a folder, one file each (the slash of the name becomes `--`), and gives their paths.
///
/// # Errors
/// As the file system has them.
pub fn write_hostile(folder: &Path, with_large: bool) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for input in all() {
        if input.large && !with_large {
            continue;
        }
        let path = folder.join(input.name.replace('/', "--"));
        std::fs::write(&path, input.bytes())?;
        paths.push(path);
    }
    Ok(paths)
}

/// What is left of a file that was cut at 0, `step`, 2 × `step` … bytes; the last one is the whole file.
pub fn prefixes(bytes: &[u8], step: usize) -> impl Iterator<Item = &[u8]> {
    let cuts = (0..bytes.len()).step_by(step.max(1)).chain([bytes.len()]);
    cuts.filter_map(|cut| bytes.get(..cut))
}

/// Files that are no dumps at all.
fn no_dumps() -> Vec<Hostile> {
    use crate::build_core::{CoreBuilder, ElfImage, Machine};
    let program = || ElfImage::new(0x40_0000).build_id(&[1; 20]).code(vec![0xf4; 64]).file();
    vec![
        Hostile::new("not-a-dump/empty", Vec::new),
        Hostile::new("not-a-dump/one-byte", || vec![0x7f]),
        Hostile::new("not-a-dump/text", || b"Segmentation fault (core dumped)\n".repeat(100)),
        Hostile::new("not-a-dump/zeros", || vec![0; 1 << 20]),
        Hostile::new("not-a-dump/ones", || vec![0xff; 1 << 20]),
        Hostile::new("not-a-dump/elf-magic-only", || b"\x7fELF".to_vec()),
        Hostile::new("not-a-dump/minidump-magic-only", || b"MDMP".to_vec()),
        Hostile::new("not-a-dump/elf-program", program),
        Hostile::new("not-a-dump/elf-shared-object", move || {
            let mut file = program();
            set_bytes(&mut file, 16, &[3]);
            file
        }),
        Hostile::new("core/header-only", || CoreBuilder::new(Machine::X86_64).build()),
        Hostile::new("core/header-cut", || CoreBuilder::new(Machine::X86_64).build().into_iter().take(40).collect()),
    ]
}

/// Overwrites bytes of a file; what would lie outside is left.
fn set_bytes(file: &mut [u8], offset: usize, bytes: &[u8]) {
    for (place, byte) in file.iter_mut().skip(offset).zip(bytes) {
        *place = *byte;
    }
}

/// A file that lost its end.
fn cut(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes.iter().copied().take(length).collect()
}
