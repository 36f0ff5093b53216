//! kdump-compressed files of every version, word size and byte order; pages are plain, and those of zeros share one.

use super::{Layout, vmcore::VMCOREINFO};

struct Pen {
    bytes: Vec<u8>,
    big: bool,
}

impl Pen {
    fn put(&mut self, value: u64, size: usize) {
        let bytes = value.to_le_bytes().into_iter().take(size);
        if self.big {
            self.bytes.extend(bytes.rev());
        } else {
            self.bytes.extend(bytes);
        }
    }

    fn align(&mut self, to: usize) {
        while !self.bytes.len().is_multiple_of(to) {
            self.bytes.push(0);
        }
    }
}

/// Builds a file with pages of 4 KiB and dump level 31.
#[must_use]
pub fn build(layout: &Layout, version: u32, is_64: bool, big: bool) -> Vec<u8> {
    let long = if is_64 { 8 } else { 4 };
    let extents = layout.extents();
    let pages = extents.last().map_or(0, |(range, _)| range.end / 4096);
    let half = pages.div_ceil(8).div_ceil(4096) * 4096;
    let mut pen = Pen { bytes: b"KDUMP   ".to_vec(), big };
    pen.put(u64::from(version), 4);
    let machine = match (is_64, big) {
        (true, false) => "x86_64",
        (false, false) => "i686",
        (true, true) => "ppc64",
        (false, true) => "ppc",
    };
    for text in ["Linux", "host", "6.6.6-test", "#1 SMP", machine, "(none)"] {
        let mut field = text.as_bytes().to_vec();
        field.resize(65, 0);
        pen.bytes.extend(field);
    }
    pen.align(long);
    pen.put(1_700_000_000, long);
    pen.put(0, long);
    for value in [0, 4096, 1, 2 * half / 4096, pages, 0, 0, 0, 0, 2] {
        pen.put(value, 4);
    }
    pen.align(4096);
    // The sub-header. i386 alone puts 64-bit values at multiples of 4.
    let wide = if is_64 || big { 8 } else { 4 };
    pen.put(0, long);
    pen.put(31, 4);
    pen.put(0, 4);
    pen.put(0, long);
    pen.put(0, long);
    let info_at = 4096 + 1024;
    for (at, size) in [(info_at, VMCOREINFO.len() as u64), (0, 0), (0, 0)] {
        pen.align(wide);
        pen.put(at, 8);
        pen.put(size, long);
    }
    pen.align(wide);
    for value in [0, 0, pages] {
        pen.put(value, 8);
    }
    pen.bytes.resize(info_at as usize, 0);
    pen.bytes.extend(VMCOREINFO.as_bytes());
    pen.align(4096);
    for only_present in [false, true] {
        let mut map = vec![0u8; half as usize];
        for (range, present) in &extents {
            if *present || !only_present {
                for number in range.start / 4096..range.end / 4096 {
                    if let Some(byte) = map.get_mut((number / 8) as usize) {
                        *byte |= 1 << (number % 8);
                    }
                }
            }
        }
        pen.bytes.extend(map);
    }
    let all: Vec<u8> = layout.pieces().into_iter().flat_map(|(_, bytes)| bytes).collect();
    let count = all.len() as u64 / 4096;
    let mut data = pen.bytes.len() as u64 + 24 * count;
    let mut zero = None;
    let mut bytes = Vec::new();
    for page in all.chunks(4096) {
        let is_zero = page.iter().all(|&byte| byte == 0);
        let at = if is_zero { *zero.get_or_insert(data) } else { data };
        if at == data {
            bytes.extend_from_slice(page);
            data += 4096;
        }
        pen.put(at, 8);
        pen.put(4096, 4);
        pen.put(0, 4);
        pen.put(0, 8);
    }
    pen.bytes.extend(bytes);
    pen.bytes
}
