//! Tables of symbols as `scripts/kallsyms` of several kernels lays them out, built here.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

use super::{DIGITS, Kallsyms, KallsymsError, PhysBytes};

/// Where the tables begin in physical memory; not a multiple of anything large.
const AT: u64 = 0x123_4000;
const COUNT: usize = 4500;
/// Other parts of the kernel before the tables.
const BEFORE: usize = 256 << 10;
/// Address of the first symbol.
const BASE: u64 = 0xffff_ffff_a120_0000;

struct Image(Vec<u8>);

impl PhysBytes for Image {
    fn read(&self, at: u64, buf: &mut [u8]) -> usize {
        let Some(rest) = at.checked_sub(AT).and_then(|at| self.0.get(at as usize..)) else { return 0 };
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        len
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// Up to 6.3: offsets, base, number, names, markers, tokens, index.
    Before,
    /// Up to 6.19: number, names, markers, tokens, index, offsets, base; per-CPU symbols absolute where `percpu`.
    Behind { percpu: bool },
    /// Since 7.0: the same with distances from their own places, and no base; all aligned to 4.
    Place,
}

fn name(index: usize) -> String {
    format!("Tsymbol_{index:05}")
}

fn distance(index: usize) -> u64 {
    24 * index as u64
}

struct Pen {
    bytes: Vec<u8>,
    align: usize,
}

impl Pen {
    fn align(&mut self) {
        while !self.bytes.len().is_multiple_of(self.align) {
            self.bytes.push(0);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.align();
        self.bytes.extend_from_slice(bytes);
    }
}

/// `first` is where the kernel's text lies in physical memory, `pad` moves everything by so many bytes.
fn image(shape: Shape, first: u64, pad: usize) -> Image {
    let mut pen = Pen { bytes: vec![0; BEFORE + pad], align: if shape == Shape::Place { 4 } else { 8 } };
    let relative = |percpu: bool| -> Vec<u8> {
        let value = |index| if percpu { -1 - distance(index) as i32 } else { distance(index) as i32 };
        (0..COUNT).flat_map(|index| value(index).to_le_bytes()).collect()
    };
    if shape == Shape::Before {
        pen.put(&relative(true));
        pen.put(&BASE.to_le_bytes());
    }
    pen.put(&(COUNT as u32).to_le_bytes());
    pen.align();
    let (mut names, mut markers) = (Vec::new(), Vec::new());
    for index in 0..COUNT {
        if index % 256 == 0 {
            markers.push(names.len() as u32);
        }
        let name = name(index);
        names.push(name.len() as u8);
        names.extend_from_slice(name.as_bytes());
    }
    pen.put(&names);
    pen.put(&markers.iter().flat_map(|marker| marker.to_le_bytes()).collect::<Vec<u8>>());
    // Each byte is its own token, but the first, which stands for two letters.
    let tokens: Vec<Vec<u8>> = (0..=255u8).map(|byte| if byte == 0 { b"xy".to_vec() } else { vec![byte] }).collect();
    let (mut table, mut index) = (Vec::new(), Vec::new());
    for token in &tokens {
        index.extend_from_slice(&(table.len() as u16).to_le_bytes());
        table.extend_from_slice(token);
        table.push(0);
    }
    pen.put(&table);
    pen.put(&index);
    match shape {
        Shape::Before => {}
        Shape::Behind { percpu } => {
            pen.put(&relative(percpu));
            pen.put(&BASE.to_le_bytes());
        }
        Shape::Place => {
            let start = AT + pen.bytes.len() as u64;
            let value = |index: usize| (first + distance(index)).wrapping_sub(start + 4 * index as u64) as i32;
            let values: Vec<u8> = (0..COUNT).flat_map(|index| value(index).to_le_bytes()).collect();
            pen.put(&values);
        }
    }
    // What follows must not be taken for a part.
    pen.bytes.extend(std::iter::repeat_n(0x5a, 64));
    Image(pen.bytes)
}

fn read(image: &Image) -> Result<Kallsyms, KallsymsError> {
    let digits = memchr::memmem::find(&image.0, DIGITS).unwrap();
    Kallsyms::read(image, AT + digits as u64)
}

fn check(symbols: &Kallsyms, base: u64, shown: &str) {
    assert_eq!(symbols.len(), COUNT, "{shown}");
    for index in [0, 1, 255, 256, 257, COUNT - 1] {
        let name = name(index);
        assert_eq!(symbols.address(&name[1..]), Some(base + distance(index)), "{shown}: {name}");
    }
    let (symbol, offset) = symbols.find(base + distance(300) + 5).unwrap();
    assert_eq!((symbol.name, symbol.kind, offset), ("symbol_00300", 'T', 5), "{shown}");
}

#[test]
fn relative_addresses_before_and_behind() {
    for pad in [0, 8, 16, 24] {
        for (shape, base) in [
            // An address is base - 1 - value, and the value is below 0.
            (Shape::Before, BASE),
            (Shape::Behind { percpu: true }, BASE),
            (Shape::Behind { percpu: false }, BASE),
        ] {
            let symbols = read(&image(shape, 0, pad)).unwrap();
            assert!(!symbols.physical);
            check(&symbols, base, &format!("{shape:?} {pad}"));
        }
    }
}

/// The offsets begin at any multiple of 4; taken from the next multiple of 8, each name would have its neighbour's address.
#[test]
fn addresses_that_count_from_their_own_places() {
    for pad in [0, 4, 8, 12] {
        let first = AT + (6 << 20);
        let mut symbols = read(&image(Shape::Place, first, pad)).unwrap();
        assert!(symbols.physical);
        check(&symbols, first, &format!("{pad}"));
        symbols.shift(BASE.wrapping_sub(first));
        assert!(!symbols.physical);
        check(&symbols, BASE, &format!("{pad}"));
    }
}

/// A page of names is zeros, or something else: the names of its groups are lost, and none has another's address.
#[test]
fn damaged_names_are_lost_alone() {
    for fill in [0, 0x11, 0xee] {
        let mut image = image(Shape::Behind { percpu: true }, 0, 0);
        // 14 bytes a name; the first three groups are what the names are found by.
        let from = BEFORE + 4 + 14 * 2000;
        image.0[from..from + 4096].fill(fill);
        let symbols = read(&image).unwrap();
        assert!((256..=3 * 256).contains(&symbols.lost), "{fill:#x}: {}", symbols.lost);
        assert_eq!(symbols.len() + symbols.lost, COUNT);
        for symbol in symbols.iter() {
            let index: usize = symbol.name.strip_prefix("symbol_").unwrap().parse().unwrap();
            assert_eq!(symbol.address, BASE + distance(index), "{fill:#x}");
        }
        assert_eq!(symbols.address("symbol_04400"), Some(BASE + distance(4400)));
        assert_eq!(symbols.address("symbol_02048"), None);
    }
}

#[test]
fn names_from_elsewhere_are_found_and_not_listed() {
    let mut symbols = read(&image(Shape::Behind { percpu: false }, 0, 0)).unwrap();
    symbols.add("init_task".to_owned(), 0x1234);
    symbols.add("symbol_00001".to_owned(), 0x1234);
    assert_eq!((symbols.address("init_task"), symbols.len()), (Some(0x1234), COUNT));
    assert_eq!(symbols.address("symbol_00001"), Some(BASE + distance(1)));
    assert!(symbols.iter().all(|symbol| symbol.name != "init_task"));
}

#[test]
fn tables_without_their_other_parts_are_refused() {
    let whole = image(Shape::Behind { percpu: false }, 0, 0);
    let digits = memchr::memmem::find(&whole.0, DIGITS).unwrap();
    let cut = Image(whole.0[..digits + 900].to_vec());
    assert!(matches!(read(&cut), Err(KallsymsError::NoAddresses(COUNT) | KallsymsError::NoTokens(_))));
    let mut blank = image(Shape::Behind { percpu: false }, 0, 0);
    blank.0[BEFORE..BEFORE + 0x4000].fill(0);
    assert!(matches!(read(&blank), Err(KallsymsError::NoNames(_))));
}
