//! Where a kernel lies in physical memory: its VMCOREINFO, the digits of its kallsyms.
//!
//! *Trap*: a machine's memory may hold copies (a compressed image that was unpacked twice, a crash kernel). All places are
//! offered; the proofs tell.

use afterimage_dump::system::vmcoreinfo;
use afterimage_dump::{Extent, Machine, MemoryExt, Phys};
use afterimage_symbols::kernel::{DIGITS, PhysBytes};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that one thread looks at in one go.
const BLOCK: u64 = 4 << 20;
/// Places of digits that are tried.
const MOST: usize = 64;
/// Texts of VMCOREINFO that are kept.
const MOST_INFOS: usize = 16;

/// A machine's memory for the symbol readers.
pub(super) struct Physical<'m>(pub(super) &'m Machine);

impl PhysBytes for Physical<'_> {
    fn read(&self, at: u64, buf: &mut [u8]) -> usize {
        self.0.memory.read_upto(Phys(at), buf)
    }
}

/// What lies in memory.
#[derive(Default)]
pub(super) struct Places {
    /// Texts of VMCOREINFO, lowest first.
    pub(super) infos: Vec<String>,
    /// Physical addresses of the digits, lowest first.
    pub(super) digits: Vec<u64>,
    /// Blocks that were not looked at.
    pub(super) left: Vec<(u64, u64)>,
}

impl Places {
    /// Adds what another look has found.
    pub(super) fn add(&mut self, more: Self) {
        for info in more.infos {
            if self.infos.len() < MOST_INFOS && !self.infos.contains(&info) {
                self.infos.push(info);
            }
        }
        self.digits.extend(more.digits);
        self.digits.sort_unstable();
        self.digits.dedup();
        self.digits.truncate(MOST);
        self.left = more.left;
    }
}

/// All memory that is there, in pieces of one block at most.
pub(super) fn blocks(machine: &Machine) -> Vec<(u64, u64)> {
    let mut blocks = Vec::new();
    let mut at = Phys(0);
    while let Some(Extent { start, end, absent }) = machine.memory.next(at).filter(|extent| extent.end > at) {
        let mut from = start.max(at).0;
        at = end;
        while absent.is_none() && from < end.0 {
            let to = (from / BLOCK + 1).saturating_mul(BLOCK).min(end.0);
            blocks.push((from, to));
            from = to;
        }
    }
    blocks
}

/// Looks through these blocks, on all processors; with `soon`, only until a VMCOREINFO is met that names kallsyms.
pub(super) fn scan(machine: &Machine, blocks: &[(u64, u64)], soon: bool) -> Places {
    let enough = AtomicBool::new(false);
    let found: Vec<Places> = blocks
        .par_iter()
        .map(|&(from, to)| {
            if soon && enough.load(Ordering::Relaxed) {
                return Places { left: vec![(from, to)], ..Places::default() };
            }
            look(machine, from, to, &enough)
        })
        .collect();
    let mut places = Places::default();
    let mut left = Vec::new();
    for mut one in found {
        left.append(&mut one.left);
        places.add(one);
    }
    places.left = left;
    places
}

fn look(machine: &Machine, from: u64, to: u64, enough: &AtomicBool) -> Places {
    const PAGE: usize = 4096;
    let mut places = Places::default();
    // Digits may lie across the border of two blocks.
    let mut bytes = vec![0; (to - from) as usize + DIGITS.len()];
    let got = machine.memory.read_upto(Phys(from), &mut bytes);
    let bytes = bytes.get(..got).unwrap_or_default();
    for at in memchr::memmem::find_iter(bytes, DIGITS) {
        // Tables of character classes go on with a colon.
        if bytes.get(at + DIGITS.len()) != Some(&b':') && places.digits.len() < MOST {
            places.digits.push(from + at as u64);
        }
    }
    let skip = from.checked_next_multiple_of(PAGE as u64).map_or(0, |page| page - from);
    for page in bytes.get(skip as usize..).unwrap_or_default().chunks(PAGE) {
        if let Some(text) = vmcoreinfo::in_page(page)
            && places.infos.len() < MOST_INFOS
        {
            if text.contains("SYMBOL(kallsyms_token_table)") {
                enough.store(true, Ordering::Relaxed);
            }
            places.infos.push(text);
        }
    }
    places
}

/// The digits in the table of tokens at this place.
pub(super) fn near(machine: &Machine, at: u64) -> Option<u64> {
    let mut bytes = vec![0; 4096];
    let got = Physical(machine).read(at, &mut bytes);
    memchr::memmem::find(bytes.get(..got)?, DIGITS).map(|offset| at.wrapping_add(offset as u64))
}
