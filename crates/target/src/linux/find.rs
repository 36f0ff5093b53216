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
    pub(super) vmcoreinfo: Option<String>,
    /// Physical addresses of the digits, lowest first.
    pub(super) digits: Vec<u64>,
}

/// Looks through all memory that is there, on all processors.
pub(super) fn scan(machine: &Machine) -> Places {
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
    let enough = AtomicBool::new(false);
    let found: Vec<Places> = blocks
        .par_iter()
        .map(
            |&(from, to)| {
                if enough.load(Ordering::Relaxed) { Places::default() } else { look(machine, from, to, &enough) }
            },
        )
        .collect();
    let mut places = Places::default();
    for one in found {
        places.vmcoreinfo = places.vmcoreinfo.or(one.vmcoreinfo);
        places.digits.extend(one.digits);
    }
    places.digits.truncate(MOST);
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
    let skip = from.next_multiple_of(PAGE as u64) - from;
    for page in bytes.get(skip as usize..).unwrap_or_default().chunks(PAGE) {
        if let Some(text) = vmcoreinfo::in_page(page) {
            if text.contains("SYMBOL(kallsyms_token_table)") {
                enough.store(true, Ordering::Relaxed);
            }
            places.vmcoreinfo.get_or_insert(text);
        }
    }
    places
}
