//! What lies in the pages: page tables, the list of drivers, and the blocks of one processor.

use super::facts::{
    ABSENT, BAD, BUILD_LAB, CODE, GUID, IDS, KERNEL, KERNEL_32, LARGE, PAGED_OUT, PARAMETERS, PROCESS, RIP, ROOT, RSP,
    TRANSITION,
};
use super::{Machine, utf16};

/// Physical place of the kernel's first page; its page `n` follows at `n * 0x1000`.
const AT: u64 = 0x10_0000;
/// Physical place of the driver's first page.
const BAD_AT: u64 = 0x20_0000;
/// Physical place of the large page.
const LARGE_AT: u64 = 0x40_0000;

/// Offsets within the kernel's mapped pages.
const LIST: u64 = 0x1000;
const ENTRIES: u64 = 0x1100;
const STRINGS: u64 = 0x1800;
const DEBUGGER_DATA: u64 = 0x2000;
const PROCESSORS: u64 = 0x2500;
const LAB: u64 = 0x2600;
const UNLOADED_POINTER: u64 = 0x2700;
const UNLOADED: u64 = 0x2780;
const STACK: u64 = 0x3000;
const PRCB: u64 = 0x6000;
const CONTEXT: u64 = 0x8000;
const THREAD: u64 = 0x9000;
const THREAD_PROCESS: u64 = 0xa000;

/// An `x64` context with the two registers that matter, in control and integer groups.
pub(super) fn context_x64() -> Vec<u8> {
    let mut context = vec![0u8; 1232];
    context[0x30..0x34].copy_from_slice(&0x0010_000fu32.to_le_bytes());
    context[0x38..0x3a].copy_from_slice(&0x10u16.to_le_bytes());
    context[0x78..0x80].copy_from_slice(&0x1122_3344_5566_7788u64.to_le_bytes());
    context[0x98..0xa0].copy_from_slice(&RSP.to_le_bytes());
    context[0xf8..0x100].copy_from_slice(&RIP.to_le_bytes());
    context
}

impl Machine {
    /// A 64-bit x86 machine of Windows 10, build 19041.
    #[must_use]
    pub fn x64() -> Self {
        let mut machine = Self::empty(true);
        machine.header_64();
        machine.tables_64();
        machine.list(
            KERNEL,
            AT,
            8,
            &[
                (KERNEL, 0x10_0000, "ntoskrnl.exe"),
                (BAD, 0x8000, "bad.sys"),
                (0xffff_f801_0080_0000, 0x1000, "hal.dll"),
            ],
        );
        machine.blocks_64();
        machine.driver(BAD_AT);
        machine.write(LARGE_AT + 0x1000, b"in a large page");
        machine
    }

    fn header_64(&mut self) {
        self.put_uint(0x08, 15, 4);
        self.put_uint(0x0c, 19041, 4);
        // CR3 with a PCID.
        self.put_uint(0x10, ROOT | 2, 8);
        self.put_uint(0x20, KERNEL + LIST, 8);
        self.put_uint(0x28, KERNEL + LIST + 0x20, 8);
        self.put_uint(0x30, 0x8664, 4);
        self.put_uint(0x34, 1, 4);
        self.put_uint(0x38, CODE.into(), 4);
        for (index, parameter) in PARAMETERS.into_iter().enumerate() {
            self.put_uint(0x40 + index * 8, parameter, 8);
        }
        self.put_uint(0x80, KERNEL + DEBUGGER_DATA, 8);
        self.put(0x348, &context_x64());
        // STATUS_BREAKPOINT, noncontinuable, at RIP, no parameters.
        self.put_uint(0xf00, 0x8000_0003, 4);
        self.put_uint(0xf04, 1, 4);
        self.put_uint(0xf10, RIP, 8);
        self.put_uint(0xf18, 0, 4);
        // 2026-11-26 00:00:00 UTC.
        self.put_uint(0xfa8, (1_795_651_200 + 11_644_473_600) * 10_000_000, 8);
        self.put(0xfb0, b"a comment\0");
        self.put_uint(0x1030, 36_000_000_000, 8);
        self.put_uint(0x1040, 3, 4);
        self.put_uint(0x1044, 0x110, 4);
        self.put_uint(0x1050, 0, 4);
    }

    /// Four levels: the kernel's first 1 MiB and three odd pages, a large page, and the driver.
    fn tables_64(&mut self) {
        let (level3, level2, kernel, driver) = (0x2000, 0x3000, 0x4000, 0x5000);
        let slot = |at: u64, shift: u32| (at >> shift & 0x1ff) * 8;
        self.write_uint(ROOT + slot(KERNEL, 39), level3 | 0x63, 8);
        // The root maps itself, as Windows has it.
        self.write_uint(ROOT + 0x1ed * 8, ROOT | 0x63, 8);
        self.write_uint(level3 + slot(KERNEL, 30), level2 | 0x63, 8);
        self.write_uint(level2 + slot(KERNEL, 21), kernel | 0x63, 8);
        self.write_uint(level2 + slot(LARGE, 21), LARGE_AT | 0xe3, 8);
        self.write_uint(level2 + slot(BAD, 21), driver | 0x63, 8);
        for page in 0..16u64 {
            self.write_uint(kernel + page * 8, (AT + page * 0x1000) | 0x8000_0000_0000_0163, 8);
        }
        // Bit 11: in transition, with a protection; page file 2, page 0x77; present and not in the dump.
        self.write_uint(kernel + slot(TRANSITION, 12), (AT + 0x2000) | 0x880, 8);
        self.write_uint(kernel + slot(PAGED_OUT, 12), 0x77_0000_0080, 8);
        self.write_uint(kernel + slot(ABSENT, 12), 0x7777_7000 | 0x63, 8);
        for page in 0..8u64 {
            self.write_uint(driver + page * 8, (BAD_AT + page * 0x1000) | 0x121, 8);
        }
    }

    /// `PsLoadedModuleList`: names behind the entries.
    fn list(&mut self, kernel: u64, at: u64, pointer: usize, drivers: &[(u64, u64, &str)]) {
        let p = pointer as u64;
        let entry = |index: usize| if index == drivers.len() { LIST } else { ENTRIES + index as u64 * 0x100 };
        self.write_uint(at + LIST, kernel + entry(0), pointer);
        self.write_uint(at + LIST + p, kernel + entry(drivers.len() - 1), pointer);
        for (index, (base, size, name)) in drivers.iter().enumerate() {
            let place = at + entry(index);
            let (base_at, size_at, full, short) =
                if pointer == 8 { (0x30, 0x40, 0x48, 0x58) } else { (0x18, 0x20, 0x24, 0x2c) };
            self.write_uint(place, kernel + entry(index + 1), pointer);
            self.write_uint(place + base_at, *base, pointer);
            self.write_uint(place + size_at, *size, 4);
            let path = format!(r"\SystemRoot\system32\drivers\{name}");
            for (field, text, string) in [
                (full, path.as_str(), STRINGS + index as u64 * 0x100),
                (short, name, STRINGS + 0x80 + index as u64 * 0x100),
            ] {
                let text = utf16(text);
                self.write_uint(place + field, text.len() as u64, 2);
                self.write_uint(place + field + 2, text.len() as u64 + 2, 2);
                self.write_uint(place + field + p, kernel + string, pointer);
                self.write(at + string, &text);
            }
        }
    }

    /// Debugger data, processor, thread, process, stack.
    fn blocks_64(&mut self) {
        let data = AT + DEBUGGER_DATA;
        self.write(data + 0x10, b"KDBG");
        self.write_uint(data + 0x14, 0x380, 4);
        self.write_uint(data + 0x18, KERNEL, 8);
        self.write_uint(data + 0x208, KERNEL + LAB, 8);
        self.write_uint(data + 0x218, KERNEL + PROCESSORS, 8);
        self.write_uint(data + 0x220, KERNEL + UNLOADED_POINTER, 8);
        for (at, offset) in [
            (0x2a0, 0xb8u64),
            (0x2a8, 0xa40),
            (0x2b0, 0xaf0),
            (0x2b4, 8),
            (0x2b6, 0x44),
            (0x2ba, 0x590),
            (0x2be, 0x24),
            (0x2c0, 0x898),
            (0x338, 0x5c0),
        ] {
            self.write_uint(data + at, offset, 2);
        }
        self.write(AT + LAB, BUILD_LAB.as_bytes());
        self.write_uint(AT + PROCESSORS, KERNEL + PRCB, 8);
        self.write_uint(AT + PRCB + 8, KERNEL + THREAD, 8);
        self.write_uint(AT + PRCB + 0x44, 3600, 4);
        self.write(AT + PRCB + 0x590, b"GenuineIntel");
        self.write_uint(AT + PRCB + 0x5c0, KERNEL + CONTEXT, 8);
        self.write(AT + CONTEXT, &context_x64());
        self.write_uint(AT + THREAD + 0xb8, KERNEL + THREAD_PROCESS, 8);
        self.write_uint(AT + THREAD + 0x478, IDS.0.into(), 8);
        self.write_uint(AT + THREAD + 0x480, IDS.1.into(), 8);
        self.write_uint(AT + THREAD_PROCESS + 0x440, IDS.0.into(), 8);
        self.write(AT + THREAD_PROCESS + 0x5a8, PROCESS.as_bytes());
        self.write_uint(AT + UNLOADED_POINTER, KERNEL + UNLOADED, 8);
        let name = utf16("old.sys");
        self.write_uint(AT + UNLOADED, name.len() as u64, 2);
        self.write_uint(AT + UNLOADED + 8, KERNEL + UNLOADED_POINTER + 0x20, 8);
        self.write(AT + UNLOADED_POINTER + 0x20, &name);
        self.write_uint(AT + UNLOADED + 16, 0xffff_f801_0100_0000, 8);
        self.write_uint(AT + UNLOADED + 24, 0xffff_f801_0101_0000, 8);
        self.write_uint(AT + UNLOADED + 32, (1_795_651_000 + 11_644_473_600) * 10_000_000, 8);
        // On the stack: the kernel, then the driver, then nothing known.
        let stack = AT + STACK + (RSP & 0xfff);
        self.write_uint(stack, KERNEL + 0x5100, 8);
        self.write_uint(stack + 0x40, BAD + 0x1234, 8);
        self.write_uint(stack + 0x80, 0x1234_5678, 8);
        // The code itself.
        self.write(AT + (RIP - KERNEL), &[0x48, 0x89, 0x4c, 0x24, 0x08]);
        self.write(AT + 0xf000, b"the kernel's last page");
    }

    /// A PE file with a debug record and a version.
    fn driver(&mut self, at: u64) {
        self.write(at, b"MZ");
        self.write_uint(at + 0x3c, 0x80, 4);
        let pe = at + 0x80;
        self.write(pe, b"PE\0\0");
        self.write_uint(pe + 4, 0x8664, 2);
        self.write_uint(pe + 8, 0x5e6f_7a8b, 4);
        self.write_uint(pe + 24, 0x20b, 2);
        let directories = pe + 24 + 112;
        self.write_uint(directories + 16, 0x3000, 4);
        self.write_uint(directories + 20, 0x200, 4);
        self.write_uint(directories + 48, 0x2000, 4);
        self.write_uint(directories + 52, 28, 4);
        self.write_uint(at + 0x2000 + 12, 2, 4);
        self.write_uint(at + 0x2000 + 16, 32, 4);
        self.write_uint(at + 0x2000 + 20, 0x2100, 4);
        self.write(at + 0x2100, b"RSDS");
        self.write(at + 0x2104, &GUID);
        self.write_uint(at + 0x2114, 3, 4);
        self.write(at + 0x2118, b"bad.pdb\0");
        // Resources: type 16, name 1, language 0x409, the data.
        for (table, id, next) in [(0u64, 16u64, 0x8000_0020u64), (0x20, 1, 0x8000_0040), (0x40, 0x409, 0x60)] {
            self.write_uint(at + 0x3000 + table + 14, 1, 2);
            self.write_uint(at + 0x3000 + table + 16, id, 4);
            self.write_uint(at + 0x3000 + table + 20, next, 4);
        }
        self.write_uint(at + 0x3060, 0x3100, 4);
        self.write_uint(at + 0x3064, 0x60, 4);
        self.write(at + 0x3106, &utf16("VS_VERSION_INFO"));
        self.write_uint(at + 0x3128, 0xfeef_04bd, 4);
        self.write_uint(at + 0x3130, 0x0001_0002, 4);
        self.write_uint(at + 0x3134, 0x0003_0004, 4);
    }

    /// A 32-bit machine of Windows 7 with PAE, or without it.
    #[must_use]
    pub fn x86(pae: bool) -> Self {
        let mut machine = Self::empty(false);
        machine.put_uint(0x08, 15, 4);
        machine.put_uint(0x0c, 7601, 4);
        machine.put_uint(0x10, 0x1020 & if pae { !0 } else { !0xfff }, 4);
        machine.put_uint(0x18, KERNEL_32 + LIST, 4);
        machine.put_uint(0x1c, KERNEL_32 + LIST + 0x20, 4);
        machine.put_uint(0x20, 0x14c, 4);
        machine.put_uint(0x24, 2, 4);
        machine.put_uint(0x28, 0xa, 4);
        for (index, parameter) in [0x20u64, 0xff, 1, KERNEL_32 + 0x5123].into_iter().enumerate() {
            machine.put_uint(0x2c + index * 4, parameter, 4);
        }
        machine.put(0x5c, &[u8::from(pae)]);
        machine.put_uint(0x60, KERNEL_32 + DEBUGGER_DATA, 4);
        let mut context = vec![0u8; 716];
        context[..4].copy_from_slice(&0x0001_0007u32.to_le_bytes());
        context[0xb8..0xbc].copy_from_slice(&(KERNEL_32 as u32 + 0x5123).to_le_bytes());
        context[0xc4..0xc8].copy_from_slice(&(KERNEL_32 as u32 + 0x3f00).to_le_bytes());
        machine.put(0x320, &context);
        machine.put_uint(0x7d0, 0xc000_0005, 4);
        machine.put_uint(0x7d4, 0, 4);
        machine.put_uint(0x7dc, KERNEL_32 + 0x5123, 4);
        machine.put_uint(0x7e0, 2, 4);
        machine.put_uint(0x7e4, 1, 4);
        machine.put_uint(0x7e8, 0x20, 4);
        machine.put_uint(0xfb8, 600_000_000, 8);
        machine.put_uint(0xfc0, (1_300_000_000 + 11_644_473_600) * 10_000_000, 8);
        machine.put_uint(0xf94, 1, 4);
        if pae {
            machine.write_uint(0x1020 + (KERNEL_32 >> 30) * 8, 0x2001, 8);
            machine.write_uint(0x2000 + (KERNEL_32 >> 21 & 0x1ff) * 8, 0x3063, 8);
            for page in 0..16u64 {
                machine.write_uint(0x3000 + page * 8, (AT + page * 0x1000) | 0x63, 8);
            }
        } else {
            machine.write_uint(0x1000 + (KERNEL_32 >> 22) * 4, 0x3063, 4);
            for page in 0..16u64 {
                machine.write_uint(0x3000 + page * 4, (AT + page * 0x1000) | 0x63, 4);
            }
        }
        machine.list(KERNEL_32, AT, 4, &[(KERNEL_32, 0x10_0000, "ntkrnlpa.exe"), (0x8060_0000, 0x2000, "bad.sys")]);
        machine.write(AT + 0xf000, b"the kernel's last page");
        machine
    }
}
