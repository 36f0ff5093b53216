//! QEMU's migration stream, and the form with fixed places, written as migration/savevm.c and migration/ram.c write them.
//!
//! *Trap*: the first page of a block carries its name, the others do not; real QEMU writes the name again after it has
//! written a page of another block.

use super::numbered::PAGE;
use crate::build_core::pen::{ByteOrder, Pen};
use std::io::Write;

const NAMED: u64 = 0;
const SAME_BLOCK: u64 = 0x20;

/// A stream in the making.
pub struct Stream {
    pen: Pen,
    last: Option<String>,
    section: u32,
}

impl Stream {
    /// Begins a stream of a machine of this type, with RAM blocks in this order.
    #[must_use]
    pub fn new(machine: &str, blocks: &[(&str, u64)]) -> Self {
        let mut stream = Self { pen: Pen::new(ByteOrder::Big), last: None, section: 3 };
        stream.head(machine);
        let total: u64 = blocks.iter().map(|(_, length)| length).sum();
        stream.pen.u64(total | 4);
        for (name, length) in blocks {
            stream.name(name);
            stream.pen.u64(*length);
        }
        stream.pause();
        stream
    }

    fn head(&mut self, machine: &str) {
        self.pen.bytes(b"QEVM");
        self.pen.u32(3);
        self.pen.u8(7);
        self.pen.u32(machine.len() as u32);
        self.pen.bytes(machine.as_bytes());
        self.pen.u8(1);
        self.pen.u32(self.section);
        self.name("ram");
        self.pen.u32(0);
        self.pen.u32(4);
    }

    fn name(&mut self, name: &str) {
        self.pen.u8(name.len() as u8);
        self.pen.bytes(name.as_bytes());
    }

    /// Ends this part of the section and begins the next.
    pub fn pause(&mut self) {
        self.end_part();
        self.pen.u8(2);
        self.pen.u32(self.section);
    }

    fn end_part(&mut self) {
        self.pen.u64(0x10);
        self.pen.u8(0x7e);
        self.pen.u32(self.section);
    }

    fn record(&mut self, block: &str, page: u64, flags: u64) {
        let same = self.last.as_deref() == Some(block);
        self.pen.u64((page * PAGE as u64) | flags | if same { SAME_BLOCK } else { NAMED });
        if !same {
            self.name(block);
            self.last = Some(block.to_owned());
        }
    }

    /// A page.
    pub fn page(&mut self, block: &str, page: u64, content: &[u8]) {
        self.record(block, page, 8);
        self.pen.bytes(content);
    }

    /// A page of one byte's value.
    pub fn fill(&mut self, block: &str, page: u64, byte: u8) {
        self.record(block, page, 2);
        self.pen.u8(byte);
    }

    /// A page packed with zlib.
    pub fn zlib(&mut self, block: &str, page: u64, content: &[u8]) {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        // A vector takes every byte.
        let packed = encoder.write_all(content).and_then(|()| encoder.finish()).unwrap_or_default();
        self.record(block, page, 0x100);
        self.pen.u32(packed.len() as u32);
        self.pen.bytes(&packed);
    }

    /// The difference to what the page was: `at` and the new bytes there.
    pub fn difference(&mut self, block: &str, page: u64, at: u16, new: &[u8]) {
        let mut delta = Vec::new();
        for number in [at, new.len() as u16] {
            match number {
                0..0x80 => delta.push(number as u8),
                _ => delta.extend([number as u8 | 0x80, (number >> 7) as u8]),
            }
        }
        delta.extend(new);
        self.record(block, page, 0x40);
        self.pen.u8(1);
        self.pen.u16(delta.len() as u16);
        self.pen.bytes(&delta);
    }

    /// What multifd leaves in the main stream.
    pub fn flush(&mut self) {
        self.pen.u64(0x200);
    }

    /// Bytes so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.pen.position()
    }

    /// Ends the RAM and writes processors with `state` and the end.
    #[must_use]
    pub fn finish(mut self, states: &[Vec<u8>]) -> Vec<u8> {
        self.end_part();
        self.pen.u8(3);
        self.pen.u32(self.section);
        self.end_part();
        devices(&mut self.pen, states);
        self.pen.into_bytes()
    }
}

fn devices(pen: &mut Pen, states: &[Vec<u8>]) {
    for (number, state) in states.iter().enumerate() {
        let section = 10 + number as u32;
        pen.u8(4);
        pen.u32(section);
        pen.u8(3);
        pen.bytes(b"cpu");
        pen.u32(number as u32);
        pen.u32(12);
        pen.bytes(state);
        pen.u8(0x7e);
        pen.u32(section);
    }
    pen.u8(0);
}

/// The state of an x86_64 processor: registers hold `seed` + their number, CR3 is `cr3`, the rest is zero.
#[must_use]
pub fn processor(seed: u64, cr3: u64) -> Vec<u8> {
    let mut pen = Pen::new(ByteOrder::Big);
    for number in 0..18 {
        pen.u64(seed + number);
    }
    // hflags, x87.
    pen.bytes(&[0; 4 + 8 + 80]);
    for number in 0..10u32 {
        pen.u32(number * 8);
        pen.u64(seed + 0x1000 * u64::from(number));
        pen.u32(0xffff);
        pen.u32(0);
    }
    pen.bytes(&[0; 20]);
    for value in [0x8005_0033, 0xdead, cr3, 0x6f0] {
        pen.u64(value);
    }
    pen.bytes(&[0; 64 + 8 + 256]);
    pen.u64(0xd01);
    pen.bytes(&[0; 2000]);
    pen.into_bytes()
}

/// A file with fixed places: `pages` gives a page's content, or `None` for one that was zero.
#[must_use]
pub fn mapped(
    machine: &str,
    blocks: &[(&str, u64)],
    pages: &dyn Fn(&str, u64) -> Option<Vec<u8>>,
    states: &[Vec<u8>],
) -> Vec<u8> {
    let mut stream = Stream { pen: Pen::new(ByteOrder::Big), last: None, section: 2 };
    stream.head(machine);
    let total: u64 = blocks.iter().map(|(_, length)| length).sum();
    stream.pen.u64(total | 4);
    for (name, length) in blocks {
        stream.name(name);
        stream.pen.u64(*length);
        let count = length / PAGE as u64;
        let bitmap_at = stream.pen.position() + 28;
        let bitmap_bytes = count.div_ceil(64) * 8;
        let pages_at = (bitmap_at + bitmap_bytes).next_multiple_of(1 << 20);
        stream.pen.u32(1);
        stream.pen.u64(PAGE as u64);
        stream.pen.u64(bitmap_at);
        stream.pen.u64(pages_at);
        let contents: Vec<Option<Vec<u8>>> = (0..count).map(|number| pages(name, number)).collect();
        let mut bitmap = vec![0u8; bitmap_bytes as usize];
        for (number, content) in contents.iter().enumerate() {
            if let Some(byte) = bitmap.get_mut(number / 8) {
                *byte |= u8::from(content.is_some()) << (number % 8);
            }
        }
        stream.pen.bytes(&bitmap);
        let padding = pages_at - stream.pen.position();
        stream.pen.bytes(&vec![0; padding as usize]);
        for content in contents {
            stream.pen.bytes(&content.unwrap_or_else(|| vec![0; PAGE]));
        }
    }
    stream.finish(states)
}
