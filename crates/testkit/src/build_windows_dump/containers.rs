//! The containers around a machine's pages.

use super::{Machine, PAGE};

impl Machine {
    /// Type 1: runs in the header, and all pages.
    #[must_use]
    pub fn complete(&self) -> Vec<u8> {
        let mut machine = self.clone();
        let runs = self.runs();
        let total: u64 = runs.iter().map(|run| run.1).sum();
        let (base, count_at, first, size) = if self.wide { (0x88, 0x90, 0x98, 8) } else { (0x64, 0x68, 0x6c, 4) };
        machine.put_uint(base, runs.len() as u64, 4);
        machine.put_uint(count_at, total, size);
        for (index, (page, count)) in runs.iter().enumerate() {
            machine.put_uint(first + index * 2 * size, *page, size);
            machine.put_uint(first + index * 2 * size + size, *count, size);
        }
        machine.kind(1);
        let mut out = machine.header;
        out.extend(self.pages.values().flatten());
        out
    }

    fn kind(&mut self, kind: u32) {
        let at = if self.wide { 0xf98 } else { 0xf88 };
        self.put_uint(at, kind.into(), 4);
    }

    /// Types 2, 5, 6 and 7 of the newer form: a bitmap of `bits` pages. `signature` is `SDMP` or `FDMP`.
    #[must_use]
    pub fn bitmap(&self, kind: u32, signature: &[u8; 4], bits: u64) -> Vec<u8> {
        let mut machine = self.clone();
        machine.kind(kind);
        let mut out = machine.header;
        let start = out.len() as u64;
        let bytes = self.bits(bits);
        let first_page = (start + 0x38 + bytes.len() as u64).next_multiple_of(PAGE);
        let mut head = [0u8; 0x38];
        head[..4].copy_from_slice(signature);
        head[4..8].copy_from_slice(b"DUMP");
        head[0x20..0x28].copy_from_slice(&first_page.to_le_bytes());
        head[0x28..0x30].copy_from_slice(&(self.pages.len() as u64).to_le_bytes());
        head[0x30..0x38].copy_from_slice(&bits.to_le_bytes());
        out.extend(head);
        out.extend(bytes);
        out.resize(first_page as usize, 0);
        out.extend(self.pages.values().flatten());
        out
    }

    /// Type 2 as it was before Windows 8, with 32-bit numbers. Its head is 0x20 bytes long on 32 bits and 0x28 on 64.
    #[must_use]
    pub fn old_bitmap(&self, bits: u32) -> Vec<u8> {
        let mut machine = self.clone();
        machine.kind(2);
        let mut out = machine.header;
        let start = out.len() as u64;
        let bytes = self.bits(bits.into());
        let len = if self.wide { 0x28 } else { 0x20 };
        let first_page = (start + len + bytes.len() as u64).next_multiple_of(PAGE);
        out.extend(b"SDMPDUMP");
        out.extend(1u32.to_le_bytes());
        out.extend((first_page as u32).to_le_bytes());
        out.extend(bits.to_le_bytes());
        out.extend((self.pages.len() as u32).to_le_bytes());
        out.extend(bits.to_le_bytes());
        out.resize((start + len) as usize, 0);
        out.extend(bytes);
        out.resize(first_page as usize, 0);
        out.extend(self.pages.values().flatten());
        out
    }

    fn bits(&self, bits: u64) -> Vec<u8> {
        let mut bytes = vec![0u8; bits.div_ceil(8) as usize];
        for page in self.pages.keys() {
            bytes[(page / 8) as usize] |= 1 << (page % 8);
        }
        bytes
    }

    /// Types 8, 9 and 10: a list of ranges.
    #[must_use]
    pub fn ranges(&self, kind: u32) -> Vec<u8> {
        let mut machine = self.clone();
        machine.kind(kind);
        let mut out = machine.header;
        let runs = self.runs();
        let total: u64 = runs.iter().map(|run| run.1).sum();
        // Zeros end the list of the first two kinds; the third counts its pages.
        let list = 16 * (runs.len() as u64 + 3);
        let metadata = (0x2030 + list).next_multiple_of(PAGE) - 0x2020;
        let first_page = 0x2020 + metadata;
        out.extend(0x40u32.to_le_bytes());
        out.extend(b"RDMPDUMP");
        out.extend([0; 4]);
        out.extend(metadata.to_le_bytes());
        out.extend(first_page.to_le_bytes());
        if kind == 10 {
            out.extend((runs.len() as u32).to_le_bytes());
            out.extend([0; 4]);
            out.extend(total.to_le_bytes());
        } else {
            out.extend([0; 16]);
        }
        for (page, count) in runs {
            out.extend(page.to_le_bytes());
            out.extend(count.to_le_bytes());
        }
        out.resize(first_page as usize, 0);
        out.extend(self.pages.values().flatten());
        out
    }

    /// Type 3: the header alone.
    #[must_use]
    pub fn header_only(&self) -> Vec<u8> {
        let mut machine = self.clone();
        machine.kind(3);
        machine.header
    }
}
