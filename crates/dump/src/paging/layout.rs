//! The shapes of page tables: one constructor a processor mode.
//!
//! *Trap*: on aarch64 a block is marked by bit 1 *clear*, on x86 a large page by bit 7 *set*; and the same bit 7 is a
//! page's memory type at the last level of x86.

/// One level of a walk, from the root down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Name in the processor's manual, as `PML4E`.
    pub name: &'static str,
    /// Lowest bit of the virtual address that this level's index takes.
    pub shift: u32,
    /// Bits of the index.
    pub bits: u32,
    /// Whether an entry may be a large page or block instead of the next table. The last level always maps pages.
    pub leaf: bool,
}

/// How an entry is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Descriptor {
    /// x86, 64-bit entries.
    X86,
    /// x86 without PAE, 32-bit entries; 4 MiB pages carry address bits 32 to 39 in bits 13 to 20 (PSE-36).
    X86Legacy,
    /// aarch64: address bits as the mask says, and where bits 48 to 51 lie.
    Arm64(HighBits),
}

/// Where aarch64 keeps bits 48 to 51 of an output address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HighBits {
    /// Nowhere: 48-bit addresses.
    None,
    /// 64 KiB granule with 52 bits (LPA): bits 12 to 15.
    Low4,
    /// LPA2, 4 and 16 KiB granules: bits 49:48 in place, 51:50 in bits 9:8.
    Lpa2,
}

/// What an entry says, as far as the processor looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The processor faults here.
    NotPresent,
    /// The next table.
    Table(u64),
    /// A page or block.
    Page(u64),
    /// Bits that the processor reserves.
    Reserved,
}

/// A shape of page tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    name: &'static str,
    levels: Vec<Level>,
    entry_bytes: u64,
    va_bits: u32,
    root_align: u64,
    descriptor: Descriptor,
}

const fn level(name: &'static str, shift: u32, bits: u32, leaf: bool) -> Level {
    Level { name, shift, bits, leaf }
}

/// Address bits of a 64-bit x86 entry.
const X86_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Address bits of an aarch64 descriptor with a 4 KiB granule.
const ARM64_ADDRESS: u64 = 0x0000_ffff_ffff_f000;

impl Layout {
    /// 64-bit x86 with four levels or, as `la57`, five.
    #[must_use]
    pub fn x86_64(la57: bool) -> Self {
        let four = [
            level("PML4E", 39, 9, false),
            level("PDPTE", 30, 9, true),
            level("PDE", 21, 9, true),
            level("PTE", 12, 9, true),
        ];
        let levels = if la57 { [&[level("PML5E", 48, 9, false)], &four[..]].concat() } else { four.to_vec() };
        let (name, va_bits) = if la57 { ("x86-64, 5 levels", 57) } else { ("x86-64, 4 levels", 48) };
        Self { name, levels, entry_bytes: 8, va_bits, root_align: 0x1000, descriptor: Descriptor::X86 }
    }

    /// 32-bit x86 with PAE: three levels of 64-bit entries; the root has four entries and is aligned to 32 bytes.
    #[must_use]
    pub fn x86_pae() -> Self {
        let levels = vec![level("PDPTE", 30, 2, false), level("PDE", 21, 9, true), level("PTE", 12, 9, true)];
        Self { name: "x86, PAE", levels, entry_bytes: 8, va_bits: 32, root_align: 32, descriptor: Descriptor::X86 }
    }

    /// 32-bit x86 without PAE: two levels of 32-bit entries.
    #[must_use]
    pub fn x86() -> Self {
        let levels = vec![level("PDE", 22, 10, true), level("PTE", 12, 10, true)];
        let descriptor = Descriptor::X86Legacy;
        Self { name: "x86", levels, entry_bytes: 4, va_bits: 32, root_align: 0x1000, descriptor }
    }

    /// aarch64 with pages of `1 << page_bits` bytes (12, 14 or 16) and addresses of `va_bits` (25 to 52) in each half.
    /// `None` for anything else.
    ///
    /// The number of levels follows: `(va_bits - page_bits)` in steps of `page_bits - 3`, the first step being the rest.
    #[must_use]
    pub fn arm64(page_bits: u32, va_bits: u32) -> Option<Self> {
        if !matches!(page_bits, 12 | 14 | 16) || !(25..=52).contains(&va_bits) {
            return None;
        }
        const NAMES: [&str; 5] = ["level -1", "level 0", "level 1", "level 2", "level 3"];
        let step = page_bits - 3;
        let count = (va_bits - page_bits).div_ceil(step);
        let wide = va_bits > 48;
        let mut levels = Vec::new();
        for above in (0..count).rev() {
            let shift = page_bits + above * step;
            let bits = step.min(va_bits - shift);
            let name = NAMES.get(4usize.checked_sub(above as usize)?).copied()?;
            // Blocks of 1 GiB and 2 MiB, 32 MiB, 512 MiB; one size more with 52-bit addresses (Arm ARM, D8.3.1).
            let leaf = match (page_bits, above) {
                (_, 0) | (12, 1 | 2) | (14 | 16, 1) => true,
                (12, 3) | (14 | 16, 2) => wide,
                _ => false,
            };
            levels.push(level(name, shift, bits, leaf));
        }
        // With 64 KiB physical addresses may be wider than virtual ones (CONFIG_ARM64_PA_BITS_52 beside VA_BITS_48); where
        // they are not, the bits are 0.
        let high = match (wide, page_bits) {
            (_, 16) => HighBits::Low4,
            (false, _) => HighBits::None,
            (true, _) => HighBits::Lpa2,
        };
        let name = match page_bits {
            12 => "arm64, 4 KiB pages",
            14 => "arm64, 16 KiB pages",
            _ => "arm64, 64 KiB pages",
        };
        let descriptor = Descriptor::Arm64(high);
        Some(Self { name, levels, entry_bytes: 8, va_bits, root_align: 64, descriptor })
    }

    /// Its name for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Levels from the root down.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Bytes of an entry.
    #[must_use]
    pub fn entry_bytes(&self) -> u64 {
        self.entry_bytes
    }

    /// Bits of a virtual address that the tables look at.
    #[must_use]
    pub fn va_bits(&self) -> u32 {
        self.va_bits
    }

    /// Bytes of the smallest page.
    #[must_use]
    pub fn page_bytes(&self) -> u64 {
        self.levels.last().map_or(4096, |level| 1 << level.shift)
    }

    /// The address of the root table in a control register's value, without the bits beside it (PCID, ASID, flags).
    ///
    /// On aarch64 with 52-bit addresses bits 2 to 5 of the register are bits 48 to 51 of the address.
    #[must_use]
    pub fn root(&self, register: u64) -> u64 {
        let address = register & 0x000f_ffff_ffff_ffff & !(self.root_align - 1);
        match self.descriptor {
            Descriptor::X86Legacy => address & 0xffff_ffff,
            Descriptor::X86 if self.va_bits == 32 => address & 0xffff_ffff,
            Descriptor::X86 => address,
            Descriptor::Arm64(HighBits::None) => address & 0x0000_ffff_ffff_ffff,
            Descriptor::Arm64(_) => address & 0x0000_ffff_ffff_ffff | (register >> 2 & 0xf) << 48,
        }
    }

    /// Whether the bits above those that the tables look at are as the processor wants them, and the address lies in
    /// the upper half.
    pub(super) fn half(&self, at: u64) -> Option<bool> {
        if self.va_bits == 32 {
            return (at >> 32 == 0).then_some(at >> 31 == 1);
        }
        let above = match self.descriptor {
            // The top byte may be a tag.
            Descriptor::Arm64(_) => (at as i64) << 8 >> 8 >> self.va_bits.min(55),
            _ => at as i64 >> (self.va_bits - 1),
        };
        match above {
            0 => Some(false),
            -1 => Some(true),
            _ => None,
        }
    }

    /// Reads an entry of the level with this index.
    pub(super) fn entry(&self, index: usize, raw: u64) -> Entry {
        let Some(level) = self.levels.get(index) else { return Entry::Reserved };
        let last = index + 1 == self.levels.len();
        let block = (1u64 << level.shift) - 1;
        match self.descriptor {
            Descriptor::X86 | Descriptor::X86Legacy if raw & 1 == 0 => Entry::NotPresent,
            Descriptor::X86 => match (last, raw >> 7 & 1 == 1 && level.leaf) {
                (true, _) | (_, true) => Entry::Page(raw & X86_ADDRESS & !block),
                _ => Entry::Table(raw & X86_ADDRESS),
            },
            Descriptor::X86Legacy => match (last, raw >> 7 & 1 == 1) {
                (true, _) => Entry::Page(raw & 0xffff_f000),
                (_, true) => Entry::Page(raw & 0xffc0_0000 | (raw >> 13 & 0xff) << 32),
                _ => Entry::Table(raw & 0xffff_f000),
            },
            Descriptor::Arm64(_) => match raw & 3 {
                3 if last => Entry::Page(self.address(raw) & !block),
                3 => Entry::Table(self.address(raw)),
                1 if level.leaf && !last => Entry::Page(self.address(raw) & !block),
                1 => Entry::Reserved,
                _ => Entry::NotPresent,
            },
        }
    }

    /// The address that an entry carries, whether or not it is present.
    pub(super) fn address(&self, raw: u64) -> u64 {
        match self.descriptor {
            Descriptor::X86 => raw & X86_ADDRESS,
            Descriptor::X86Legacy => raw & 0xffff_f000,
            Descriptor::Arm64(high) => {
                let low = raw & ARM64_ADDRESS & !(self.page_bytes() - 1);
                match high {
                    HighBits::None => low,
                    HighBits::Low4 => low | (raw >> 12 & 0xf) << 48,
                    HighBits::Lpa2 => low | (raw >> 48 & 3) << 48 | (raw >> 8 & 3) << 50,
                }
            }
        }
    }

    /// Whether an entry allows writing, execution in the kernel, and access from user mode.
    pub(super) fn rights(&self, raw: u64) -> (bool, bool, bool) {
        match self.descriptor {
            Descriptor::X86 => (raw >> 1 & 1 == 1, raw >> 63 == 0, raw >> 2 & 1 == 1),
            Descriptor::X86Legacy => (raw >> 1 & 1 == 1, true, raw >> 2 & 1 == 1),
            // AP[2] read only, PXN, AP[1] user.
            Descriptor::Arm64(_) => (raw >> 7 & 1 == 0, raw >> 53 & 1 == 0, raw >> 6 & 1 == 1),
        }
    }

    /// Whether rights of upper levels take effect too. On aarch64 the upper levels' limits stand in other bits, which
    /// kernels leave clear.
    pub(super) fn rights_add_up(&self) -> bool {
        matches!(self.descriptor, Descriptor::X86 | Descriptor::X86Legacy) && self.name != "x86, PAE"
    }

    pub(super) fn is_arm64(&self) -> bool {
        matches!(self.descriptor, Descriptor::Arm64(_))
    }
}
