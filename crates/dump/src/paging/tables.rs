//! The walk: one address down the levels, and all mapped ranges.

use super::layout::{Entry, Layout};
use crate::machine::PhysMemory;
use crate::memory::{Absence, Extent, Fault, Memory};
use crate::{Endian, MemoryExt, Phys, Virt};
use std::fmt;
use std::sync::Arc;

/// Ranges that [`Memory::extents`] gives at most.
const MAX_EXTENTS: usize = 1 << 16;
/// Tables that [`Memory::extents`] reads at most: 256 MiB of them map 64 GiB in small pages.
const MAX_TABLES: usize = 1 << 16;

/// What an operating system keeps in entries that the processor takes for not present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Software {
    /// Not known: such pages are not mapped.
    #[default]
    None,
    /// Linux: a page without any access (`PROT_NONE`) is there and has this bit set; everything else is swapped.
    ///
    /// The bit is 8 on x86, 58 on aarch64 before Linux 6.12, 11 since. On x86 the address bits of every entry that is
    /// not present are stored inverted since 4.19, against the processors' L1TF fault (`pgtable-invert.h`).
    Linux {
        /// Bit that marks a page without access.
        prot_none: u8,
    },
    /// Windows: bit 11 set and bit 10 clear is a page *in transition*, on its way out and still whole; bit 10 leads to a
    /// prototype entry elsewhere; other numbers name a place in a page file (Windows Internals, 7th edition, part 1,
    /// "invalid PTEs").
    Windows,
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Physical address.
    pub physical: Phys,
    /// Bytes of the page or block that holds it.
    pub page_bytes: u64,
    /// Index of the level that maps it, from 0 at the root.
    pub level: usize,
    /// The entry that maps it.
    pub entry: u64,
    /// Whether it may be written.
    pub write: bool,
    /// Whether the kernel may execute it.
    pub execute: bool,
    /// Whether user mode may touch it.
    pub user: bool,
    /// Whether the processor itself would fault here, because the page is kept by the system only.
    pub kept: bool,
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissReason {
    /// The upper bits are no sign extension, or there is no root for this half.
    NotCanonical,
    /// The entry is not present.
    NotPresent,
    /// The page is in a swap or page file.
    Swapped,
    /// The page is shared, and its entry leads to another one (Windows' prototype entries).
    Prototype,
    /// The entry has bits that the processor reserves.
    Reserved,
    /// The table itself cannot be read.
    Table(Absence),
}

/// A walk that did not reach a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The address.
    pub at: Virt,
    /// Name of the level at which it failed.
    pub level: &'static str,
    /// Physical address of the entry there.
    pub entry_at: Option<Phys>,
    /// The entry, if it could be read.
    pub entry: Option<u64>,
    /// What was wrong.
    pub reason: MissReason,
}

impl Miss {
    /// In the words of a failed read.
    #[must_use]
    pub fn absence(&self) -> Absence {
        match self.reason {
            MissReason::NotCanonical | MissReason::NotPresent => Absence::NotMapped,
            MissReason::Swapped => Absence::Swapped,
            MissReason::Prototype => Absence::NotInDump,
            MissReason::Reserved => Absence::Corrupt,
            MissReason::Table(why) => why,
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} at the {}: ", self.at, self.level)?;
        match (self.reason, self.entry) {
            (MissReason::NotCanonical, _) => f.write_str("no address of this processor"),
            (MissReason::NotPresent, Some(entry)) => write!(f, "the entry {entry:#x} is not present"),
            (MissReason::NotPresent, None) => f.write_str("not present"),
            (MissReason::Swapped, _) => f.write_str("the page is swapped out"),
            (MissReason::Prototype, _) => f.write_str("the page is shared, and its own entry leads elsewhere"),
            (MissReason::Reserved, _) => f.write_str("the entry has reserved bits"),
            (MissReason::Table(why), _) => write!(f, "the table is {why}"),
        }
    }
}

/// Virtual memory through page tables.
#[derive(Clone)]
pub struct PageTables {
    memory: Arc<dyn PhysMemory>,
    layout: Layout,
    lower: Option<Phys>,
    upper: Option<Phys>,
    software: Software,
}

impl PageTables {
    /// Tables with one root for the whole address space, given as the control register has it (CR3 with its flags).
    #[must_use]
    pub fn new(memory: Arc<dyn PhysMemory>, layout: Layout, root: u64) -> Self {
        let root = Some(Phys(layout.root(root)));
        Self { memory, layout, lower: root, upper: root, software: Software::None }
    }

    /// Tables with a root for each half, as `ttbr0` and `ttbr1` have them; a half without one has no memory.
    #[must_use]
    pub fn with_halves(memory: Arc<dyn PhysMemory>, layout: Layout, lower: Option<u64>, upper: Option<u64>) -> Self {
        let root = |register: Option<u64>| register.map(|register| Phys(layout.root(register)));
        let (lower, upper) = (root(lower), root(upper));
        Self::with_roots(memory, layout, lower, upper)
    }

    /// The same with the roots' addresses.
    ///
    /// *Trap*: an address is no register's value. On aarch64 a register has an ASID in bits 48 to 63, and bits 48 to 51
    /// of the address elsewhere ([`Layout::root`]): a root above 256 TiB that is taken for one is lost.
    #[must_use]
    pub fn with_roots(memory: Arc<dyn PhysMemory>, layout: Layout, lower: Option<Phys>, upper: Option<Phys>) -> Self {
        Self { memory, layout, lower, upper, software: Software::None }
    }

    /// Follows what this system keeps in entries that are not present.
    #[must_use]
    pub fn with_software(mut self, software: Software) -> Self {
        self.software = software;
        self
    }

    /// The shape.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn memory(&self) -> &dyn PhysMemory {
        &*self.memory
    }

    /// The root table of a half.
    pub(super) fn root(&self, upper: bool) -> Option<Phys> {
        if upper { self.upper } else { self.lower }
    }

    /// Walks to one address.
    ///
    /// # Errors
    /// The level at which the walk ended, and why.
    pub fn translate(&self, at: Virt) -> Result<Translation, Miss> {
        let first = self.layout.levels().first().map_or("root", |level| level.name);
        let lost = Miss { at, level: first, entry_at: None, entry: None, reason: MissReason::NotCanonical };
        let root = match self.layout.half(at.0) {
            Some(true) => self.upper,
            Some(false) => self.lower,
            None => None,
        };
        let mut table = root.ok_or(lost)?.0;
        let (mut write, mut execute, mut user) = (true, true, true);
        for (index, level) in self.layout.levels().iter().enumerate() {
            let slot = at.0 >> level.shift & ((1 << level.bits) - 1);
            let entry_at = Phys(table.wrapping_add(slot * self.layout.entry_bytes()));
            let miss = |entry, reason| Miss { at, level: level.name, entry_at: Some(entry_at), entry, reason };
            let raw = self
                .memory
                .read_uint(entry_at, self.layout.entry_bytes() as usize, Endian::Little)
                .map_err(|fault| miss(None, MissReason::Table(fault.why)))?;
            let last = index + 1 == self.layout.levels().len();
            let (page, kept) = match self.layout.entry(index, raw) {
                Entry::Table(next) => {
                    if self.layout.rights_add_up() {
                        let own = self.layout.rights(raw);
                        (write, execute, user) = (write && own.0, execute && own.1, user && own.2);
                    }
                    table = next;
                    continue;
                }
                Entry::Page(page) => (page, false),
                Entry::Reserved => return Err(miss(Some(raw), MissReason::Reserved)),
                Entry::NotPresent => match self.kept(raw, last || level.leaf && self.is_large(raw)) {
                    Ok(page) => (page & !((1 << level.shift) - 1), true),
                    Err(reason) => return Err(miss(Some(raw), reason)),
                },
            };
            let own = self.layout.rights(raw);
            return Ok(Translation {
                physical: Phys(page | at.0 & ((1 << level.shift) - 1)),
                page_bytes: 1 << level.shift,
                level: index,
                entry: raw,
                write: write && own.0 && !kept,
                execute: execute && own.1 && !kept,
                user: user && own.2,
                kept,
            });
        }
        Err(lost)
    }

    /// Whether an entry of an upper level that is not present would be a large page.
    fn is_large(&self, raw: u64) -> bool {
        !self.layout.is_arm64() && raw >> 7 & 1 == 1
    }

    /// The page that the system keeps behind an entry that is not present.
    fn kept(&self, raw: u64, page: bool) -> Result<u64, MissReason> {
        if raw == 0 {
            return Err(MissReason::NotPresent);
        }
        match self.software {
            Software::None => Err(MissReason::NotPresent),
            _ if !page => Err(MissReason::NotPresent),
            Software::Linux { prot_none } if raw >> prot_none & 1 == 1 => {
                Ok(self.layout.address(if self.layout.is_arm64() { raw } else { !raw }))
            }
            Software::Linux { .. } => Err(MissReason::Swapped),
            Software::Windows => match (raw >> 10 & 1, raw >> 11 & 1) {
                (0, 1) => Ok(self.layout.address(raw) & 0x0000_ffff_ffff_f000),
                (1, _) => Err(MissReason::Prototype),
                // The protection alone, and no place in a page file: a page of zeros that nobody has touched yet.
                _ if raw >> 12 == 0 => Err(MissReason::NotPresent),
                _ => Err(MissReason::Swapped),
            },
        }
    }
}

impl Memory<Virt> for PageTables {
    fn read_at(&self, at: Virt, buf: &mut [u8]) -> Result<usize, Fault<Virt>> {
        if buf.is_empty() {
            return Ok(0);
        }
        let found = self.translate(at).map_err(|miss| Fault { at, why: miss.absence() })?;
        let room = found.page_bytes - (at.0 & (found.page_bytes - 1));
        let len = (buf.len() as u64).min(room) as usize;
        let buf = buf.get_mut(..len).unwrap_or_default();
        self.memory.read_at(found.physical, buf).map_err(|fault| Fault { at, why: fault.why })
    }

    /// Mapped ranges; whether their pages are in the dump is not looked at. At most 65 536 of them, out of as many tables.
    fn extents(&self) -> Vec<Extent<Virt>> {
        let mut walk = Walk { tables: self, extents: Vec::new(), left: MAX_TABLES, path: Vec::new() };
        let upper_base = if self.layout.va_bits() == 32 { 0 } else { u64::MAX << (self.layout.va_bits() - 1) };
        match (self.lower, self.upper) {
            (Some(lower), Some(upper)) if lower == upper => walk.table(lower.0, 0, 0, None),
            (lower, upper) => {
                if let Some(root) = lower {
                    walk.table(root.0, 0, 0, Some(0));
                }
                if let Some(root) = upper {
                    walk.table(root.0, 0, 0, Some(upper_base << 1));
                }
            }
        }
        walk.extents
    }
}

/// All mapped ranges, depth first.
struct Walk<'a> {
    tables: &'a PageTables,
    extents: Vec<Extent<Virt>>,
    left: usize,
    /// Tables that the walk stands in.
    path: Vec<u64>,
}

impl Walk<'_> {
    /// One table. `base` is where it begins; `half` is what to set in the upper bits, or `None` for sign extension.
    fn table(&mut self, table: u64, index: usize, base: u64, half: Option<u64>) {
        let layout = self.tables.layout.clone();
        let Some(level) = layout.levels().get(index) else { return };
        if self.left == 0 || self.path.contains(&table) {
            return;
        }
        self.left -= 1;
        self.path.push(table);
        let width = layout.entry_bytes() as usize;
        let mut bytes = vec![0; width << level.bits];
        let got = self.tables.memory.read_upto(Phys(table), &mut bytes);
        for (slot, raw) in bytes.get(..got).unwrap_or_default().chunks_exact(width).enumerate() {
            let raw = Endian::Little.uint(raw);
            let at = base | (slot as u64) << level.shift;
            let last = index + 1 == layout.levels().len();
            let page = match layout.entry(index, raw) {
                Entry::Table(next) => {
                    self.table(next, index + 1, at, half);
                    false
                }
                Entry::Page(_) => true,
                Entry::Reserved => false,
                Entry::NotPresent => self.tables.kept(raw, last || level.leaf && self.tables.is_large(raw)).is_ok(),
            };
            if page {
                self.push(&layout, at, 1 << level.shift, half);
            }
            if self.extents.len() >= MAX_EXTENTS {
                break;
            }
        }
        self.path.pop();
    }

    fn push(&mut self, layout: &Layout, at: u64, bytes: u64, half: Option<u64>) {
        let start = match half {
            Some(upper) => at | upper,
            None if layout.va_bits() < 64 && layout.va_bits() != 32 => {
                let spare = 64 - layout.va_bits();
                ((at << spare) as i64 >> spare) as u64
            }
            None => at,
        };
        let end = start.saturating_add(bytes);
        match self.extents.last_mut() {
            Some(last) if last.end.0 == start => last.end = Virt(end),
            _ => self.extents.push(Extent { start: Virt(start), end: Virt(end), absent: None }),
        }
    }
}
