//! Small dumps.

use super::facts::{BUILD_LAB, IDS, PROCESS};
use super::utf16;

/// A small dump of a 64-bit machine, as it is put together.
#[derive(Clone, Debug)]
pub struct Triage {
    /// Machine number of PE files: 0xaa64 or 0x8664.
    pub machine: u32,
    /// Bug check code.
    pub code: u32,
    /// Its parameters.
    pub parameters: [u64; 4],
    /// The context record's bytes.
    pub context: Vec<u8>,
    /// Address and bytes of the stack.
    pub stack: (u64, Vec<u8>),
    /// Base, size, link time and path of each driver.
    pub drivers: Vec<(u64, u32, u32, String)>,
    /// Name, start and end of each unloaded driver.
    pub unloaded: Vec<(String, u64, u64)>,
    /// Further blocks of memory.
    pub blocks: Vec<(u64, Vec<u8>)>,
}

const PRCB_LEN: usize = 0x600;
const THREAD_LEN: usize = 0x500;
const PROCESS_LEN: usize = 0x600;

impl Triage {
    /// A dump of a 64-bit Arm machine that stopped with `IRQL_NOT_LESS_OR_EQUAL` in a driver.
    #[must_use]
    pub fn arm64() -> Self {
        let (pc, sp, driver) = (0xffff_f802_0000_1000u64, 0xffff_a000_0000_2000u64, 0xffff_f802_1000_0000u64);
        let mut context = vec![0u8; 912];
        context[..4].copy_from_slice(&0x0040_000fu32.to_le_bytes());
        context[0x8..0x10].copy_from_slice(&0xau64.to_le_bytes());
        context[0xf8..0x100].copy_from_slice(&(driver + 0x444).to_le_bytes());
        context[0x100..0x108].copy_from_slice(&sp.to_le_bytes());
        context[0x108..0x110].copy_from_slice(&pc.to_le_bytes());
        let mut stack = vec![0u8; 0x200];
        stack[0x38..0x40].copy_from_slice(&(driver + 0x444).to_le_bytes());
        Self {
            machine: 0xaa64,
            code: 0xa,
            parameters: [0x18, 2, 1, driver + 0x440],
            context,
            stack: (sp, stack),
            drivers: vec![
                (0xffff_f802_0000_0000, 0x10_0000, 0x1111_1111, r"\SystemRoot\system32\ntoskrnl.exe".to_owned()),
                (driver, 0x4000, 0x2222_2222, r"\SystemRoot\system32\drivers\qcusb.sys".to_owned()),
            ],
            unloaded: vec![("gone.sys".to_owned(), 0xffff_f802_2000_0000, 0xffff_f802_2000_8000)],
            blocks: vec![
                (0xffff_f802_0003_0000, BUILD_LAB.bytes().chain([0]).collect()),
                (0xffff_b000_0000_0100, vec![7; 64]),
            ],
        }
    }

    /// The file.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut out: Vec<u8> = b"PAGE".iter().copied().cycle().take(0x2000).collect();
        let mut put =
            |at: usize, value: u64, size: usize| out[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        put(4, u64::from(u32::from_le_bytes(*b"DU64")), 4);
        put(0x08, 15, 4);
        put(0x0c, 22000, 4);
        put(0x10, 0x1_2345_6000, 8);
        put(0x30, self.machine.into(), 4);
        put(0x34, 8, 4);
        put(0x38, self.code.into(), 4);
        for (index, parameter) in self.parameters.into_iter().enumerate() {
            put(0x40 + index * 8, parameter, 8);
        }
        put(0x80, 0xffff_f802_0002_0000, 8);
        put(0xf98, 4, 4);
        put(0xfa8, (1_795_651_200 + 11_644_473_600) * 10_000_000, 8);
        put(0x1030, 36_000_000_000, 8);
        out[0x348..0x348 + self.context.len()].copy_from_slice(&self.context);

        // The table of contents is filled in at the end.
        out.resize(0x2080, 0);
        let mut words = [0u32; 32];
        (words[3], words[4]) = (0x348, 0xf00);
        words[6] = out.len() as u32;
        out.extend((self.unloaded.len() as u64).to_le_bytes());
        for (name, start, end) in &self.unloaded {
            let name = utf16(name);
            out.extend((name.len() as u64).to_le_bytes());
            out.extend([0; 8]);
            let mut place = [0; 24];
            place[..name.len()].copy_from_slice(&name);
            out.extend(place);
            out.extend(start.to_le_bytes());
            out.extend(end.to_le_bytes());
        }
        self.kernel_blocks(&mut out, &mut words);
        (words[10], words[11]) = (out.len() as u32, self.stack.1.len() as u32);
        out.extend(&self.stack.1);
        self.driver_list(&mut out, &mut words);
        self.memory_blocks(&mut out, &mut words);
        words[2] = out.len() as u32;
        out.extend(b"TRGD");
        words[1] = out.len() as u32;
        for (index, word) in words.iter().enumerate() {
            out[0x2000 + index * 4..0x2004 + index * 4].copy_from_slice(&word.to_le_bytes());
        }
        out[0x2048..0x2050].copy_from_slice(&self.stack.0.to_le_bytes());
        out
    }

    fn kernel_blocks(&self, out: &mut Vec<u8>, words: &mut [u32; 32]) {
        let put = |bytes: &mut [u8], at: usize, value: u64, size: usize| {
            bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        };
        words[7] = out.len() as u32;
        let mut prcb = vec![0; PRCB_LEN];
        put(&mut prcb, 8, 0xffff_c000_0000_1000, 8);
        put(&mut prcb, 0x24, 5, 4);
        out.extend(prcb);
        words[8] = out.len() as u32;
        let mut process = vec![0; PROCESS_LEN];
        put(&mut process, 0x3f8, IDS.0.into(), 8);
        process[0x560..0x560 + PROCESS.len()].copy_from_slice(PROCESS.as_bytes());
        out.extend(process);
        words[9] = out.len() as u32;
        let mut thread = vec![0; THREAD_LEN];
        put(&mut thread, 0xb8, 0xffff_c000_0000_2000, 8);
        put(&mut thread, 0x4e8, IDS.0.into(), 8);
        put(&mut thread, 0x4f0, IDS.1.into(), 8);
        out.extend(thread);
        (words[28], words[29]) = (out.len() as u32, 0x380);
        let mut data = vec![0; 0x380];
        data[0x10..0x14].copy_from_slice(b"KDBG");
        put(&mut data, 0x208, 0xffff_f802_0003_0000, 8);
        for (at, offset) in [
            (0x2a0, 0xb8u64),
            (0x2a8, PROCESS_LEN as u64),
            (0x2b0, PRCB_LEN as u64),
            (0x2b4, 8),
            (0x2be, 0x24),
            (0x2c0, THREAD_LEN as u64),
        ] {
            put(&mut data, at, offset, 2);
        }
        out.extend(data);
    }

    fn driver_list(&self, out: &mut Vec<u8>, words: &mut [u32; 32]) {
        (words[12], words[13]) = (out.len() as u32, self.drivers.len() as u32);
        let pool_at = out.len() + self.drivers.len() * 0x90;
        let mut pool = Vec::new();
        for (base, size, time, path) in &self.drivers {
            let mut entry = [0u8; 0x90];
            entry[..4].copy_from_slice(&((pool_at + pool.len()) as u32).to_le_bytes());
            entry[0x38..0x40].copy_from_slice(&base.to_le_bytes());
            entry[0x48..0x4c].copy_from_slice(&size.to_le_bytes());
            entry[0x88..0x8c].copy_from_slice(&time.to_le_bytes());
            out.extend(entry);
            pool.extend((path.len() as u32).to_le_bytes());
            pool.extend(utf16(path));
            pool.extend([0, 0]);
        }
        (words[14], words[15]) = (out.len() as u32, pool.len() as u32);
        out.extend(pool);
    }

    fn memory_blocks(&self, out: &mut Vec<u8>, words: &mut [u32; 32]) {
        (words[30], words[31]) = (out.len() as u32, self.blocks.len() as u32);
        let mut at = out.len() + self.blocks.len() * 16;
        for (address, bytes) in &self.blocks {
            out.extend(address.to_le_bytes());
            out.extend((at as u32).to_le_bytes());
            out.extend((bytes.len() as u32).to_le_bytes());
            at += bytes.len();
        }
        out.extend(self.blocks.iter().flat_map(|(_, bytes)| bytes));
    }
}
