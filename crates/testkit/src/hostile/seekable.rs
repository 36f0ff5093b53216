//! Packed files with a seek table that lies: about its own size, about the frames, about what they hold.
//!
//! The frames hold a sound core, so that a reader that does not believe the table can still read the file from the front.
//! For example `compressed/seekable-count-max` says in its last nine bytes that there are 2³² − 1 frames.
//!
//! *Trap*: a table that is merely a little wrong is worse than one that is absurd; both are here.

use super::{Hostile, compressed};
use crate::build_core::pen::Pen;
use crate::build_core::sample_core;

const BLOCK: usize = 128 << 10;
const GIB: u64 = 1 << 30;

/// A packed file whose table can be told apart from the truth.
pub(super) struct Seekable {
    /// The frames, packed.
    frames: Vec<Vec<u8>>,
    /// What the table says of each: packed length, length.
    entries: Vec<(u64, u64)>,
    sums: Option<u32>,
    count: Option<u64>,
    descriptor: u8,
    magic: u64,
    table_magic: u64,
    table_length: Option<u64>,
}

impl Seekable {
    /// A sound file, cut into frames of so many bytes.
    pub(super) fn new(content: &[u8], frame: usize) -> Self {
        let mut file = Self {
            frames: Vec::new(),
            entries: Vec::new(),
            sums: None,
            count: None,
            descriptor: 0,
            magic: 0x8f92_eab1,
            table_magic: 0x184d_2a5e,
            table_length: None,
        };
        for part in content.chunks(frame.max(1)) {
            file.add(compressed::zstd(part, 0), part.len() as u64);
        }
        file
    }

    /// Adds a frame and what the table says that it holds.
    fn add(&mut self, frame: Vec<u8>, length: u64) {
        self.entries.push((frame.len() as u64, length));
        self.frames.push(frame);
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn entry(&mut self, at: usize, change: impl FnOnce(&mut (u64, u64))) {
        if let Some(entry) = self.entries.get_mut(at) {
            change(entry);
        }
    }

    /// The file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut pen = Pen::little();
        for frame in &self.frames {
            pen.bytes(frame);
        }
        let width = if self.sums.is_some() { 12 } else { 8 };
        let length = self.entries.len() as u64 * width + 9;
        pen.number(self.table_magic, 4).number(self.table_length.unwrap_or(length), 4);
        for (packed, length) in &self.entries {
            pen.number(*packed, 4).number(*length, 4);
            if let Some(sum) = self.sums {
                pen.u32(sum);
            }
        }
        let flag = if self.sums.is_some() { 0x80 } else { 0 };
        pen.number(self.count.unwrap_or(self.entries.len() as u64), 4).u8(self.descriptor | flag).number(self.magic, 4);
        pen.into_bytes()
    }
}

fn sound() -> Seekable {
    Seekable::new(&sample_core(), 1000)
}

/// A frame of one byte, repeated: 128 KiB take 4 bytes.
fn repeated(byte: u8, blocks: usize) -> Vec<u8> {
    const WINDOW_OF_128_KIB: u8 = 7 << 3;
    let mut pen = Pen::little();
    pen.u32(0xfd2f_b528).u8(0).u8(WINDOW_OF_128_KIB);
    for block in 0..blocks {
        let last = u64::from(block + 1 == blocks);
        pen.number((BLOCK as u64) << 3 | 1 << 1 | last, 3).u8(byte);
    }
    pen.into_bytes()
}

pub(super) fn inputs() -> Vec<Hostile> {
    type Change = fn(&mut Seekable);
    let changes: [(&str, Change); 27] = [
        ("sound", |_| {}),
        ("with-wrong-sums", |file| file.sums = Some(0x1234_5678)),
        ("count-zero", |file| file.count = Some(0)),
        ("count-one-less", |file| file.count = Some(file.entries.len() as u64 - 1)),
        ("count-one-more", |file| file.count = Some(file.entries.len() as u64 + 1)),
        ("count-2-27", |file| file.count = Some(1 << 27)),
        ("count-max", |file| file.count = Some(u64::MAX)),
        ("descriptor-of-the-future", |file| file.descriptor = 4),
        ("descriptor-with-unused-bits", |file| file.descriptor = 3),
        ("flag-of-sums-without-sums", |file| file.descriptor = 0x80),
        ("wrong-magic", |file| file.magic += 1),
        ("table-in-another-frame", |file| file.table_magic -= 1),
        ("table-length-zero", |file| file.table_length = Some(0)),
        ("table-length-max", |file| file.table_length = Some(u64::MAX)),
        ("table-only", |file| {
            file.frames.clear();
            file.entries.clear();
        }),
        ("table-of-frames-that-are-not-there", |file| file.frames.clear()),
        ("frames-without-entries", |file| file.entries.truncate(1)),
        ("entries-exchanged", |file| file.entries.reverse()),
        ("all-packed-lengths-max", |file| file.entries.iter_mut().for_each(|entry| entry.0 = u64::MAX)),
        ("all-lengths-max", |file| file.entries.iter_mut().for_each(|entry| entry.1 = u64::MAX)),
        ("all-lengths-64-mib", |file| file.entries.iter_mut().for_each(|entry| entry.1 = 64 << 20)),
        ("all-lengths-zero", |file| file.entries.iter_mut().for_each(|entry| entry.1 = 0)),
        ("packed-length-zero", |file| file.entry(1, |entry| entry.0 = 0)),
        ("frame-longer-than-said", |file| file.entry(0, |entry| entry.1 -= 1)),
        ("frame-shorter-than-said", |file| file.entry(1, |entry| entry.1 += 1)),
        ("one-byte-goes-to-the-neighbour", |file| {
            file.entry(0, |entry| entry.0 += 1);
            file.entry(1, |entry| entry.0 -= 1);
        }),
        ("skippable-frame-with-content", |file| {
            file.add(Pen::little().u32(0x184d_2a50).u32(100).zeros(100).clone().into_bytes(), 1000);
        }),
    ];
    let mut inputs: Vec<_> = changes
        .into_iter()
        .map(|(name, change)| Hostile::new(format!("compressed/seekable-{name}"), move || sound().with(change).bytes()))
        .collect();
    inputs.extend(larger());
    inputs
}

/// Those that grow.
fn larger() -> Vec<Hostile> {
    // A core that says it has 64 GiB more, and then that many bytes, which are the truth.
    let bomb = |byte: u8, blocks: usize, total: u64| {
        let mut file = Seekable::new(&compressed::front(), 1000);
        let length = (blocks * BLOCK) as u64;
        for _ in 0..total / length {
            file.add(repeated(byte, blocks), length);
        }
        file.bytes()
    };
    vec![
        Hostile::new("compressed/seekable-64-gib-of-zeros", move || bomb(0, 512, 64 * GIB)),
        Hostile::new("compressed/seekable-64-gib-of-ones", move || bomb(1, 512, 64 * GIB)),
        Hostile::new("compressed/seekable-frames-of-16-mib", move || bomb(1, 128, 16 * GIB)),
        Hostile::new("compressed/seekable-frames-of-80-mib", move || bomb(1, 640, 5 * GIB)),
        Hostile::new("compressed/seekable-many-small-frames", || {
            // A byte each, and many without any.
            let mut file = Seekable::new(&sample_core(), 1);
            (0..500_000).for_each(|_| file.add(compressed::zstd(&[], 0), 0));
            file.bytes()
        }),
        Hostile::new("compressed/seekable-first-frame-damaged", || {
            sound().with(|file| file.frames.iter_mut().take(1).for_each(|frame| frame.fill(0x55))).bytes()
        }),
        Hostile::new("compressed/seekable-other-frames-damaged", || {
            sound().with(|file| file.frames.iter_mut().skip(1).for_each(|frame| frame.fill(0x55))).bytes()
        }),
        Hostile::new("compressed/seekable-in-seekable", || Seekable::new(&sound().bytes(), 1000).bytes()),
        Hostile::new("compressed/seekable-footer-on-a-text", || {
            let mut file = b"no dump at all ".repeat(1000);
            file.extend(sound().bytes().split_off(100));
            file
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the frames hold is the core, whatever the table says: the program unpacks it.
    #[test]
    fn the_program_unpacks_what_the_table_lies_about() {
        use std::io::Write;
        use std::process::{Command, Stdio};
        for file in [sound(), sound().with(|file| file.entries.reverse())] {
            let child = Command::new("zstd").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut child = match child {
                Ok(child) => child,
                Err(cause) => {
                    assert!(std::env::var_os("CI").is_none(), "zstd is needed: {cause}");
                    eprintln!("not checked, zstd is missing: {cause}");
                    return;
                }
            };
            child.stdin.take().expect("piped").write_all(&file.bytes()).expect("written");
            let output = child.wait_with_output().expect("ends");
            assert!(output.status.success() && output.stdout == sample_core());
        }
    }
}
