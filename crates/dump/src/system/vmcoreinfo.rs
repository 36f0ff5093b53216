//! VMCOREINFO: the lines in which a Linux kernel tells dump tools where its things are.
//!
//! *Example*: `OSRELEASE=6.1.0-56-amd64`, `SYMBOL(swapper_pg_dir)=ffffffff8240c000`, `NUMBER(phys_base)=-1073741824`.
//!
//! *Trap*: numbers in `NUMBER()` are decimal and signed; symbols are hexadecimal without `0x`.

use crate::machine::PhysMemory;
use crate::{MemoryExt, Phys};

/// Longest text; real ones have some 3 500 bytes, and a kernel gives them one page or two.
const MAX_TEXT: usize = 64 << 10;

/// The text of a note, without the zeros behind it.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let bytes = bytes.get(..end.min(MAX_TEXT)).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// The value of `KEY=value`.
#[must_use]
pub fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// A VMCOREINFO that lies in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where the text begins.
    pub at: Phys,
    /// The text.
    pub text: String,
}

/// Looks for the note that Linux fills at its start (since 4.12 at the beginning of a page), in memory that is present.
/// `tell` is told how far it has come, and ends the search by `false`.
///
/// *Trap*: a kdump kernel's memory holds the note of the crashed kernel, too, and a page cache may have old ones; the
/// first one whose text is whole is taken.
pub fn find(memory: &dyn PhysMemory, page: u64, tell: &mut dyn FnMut(Phys) -> bool) -> Option<Found> {
    const PAGES: usize = 256;
    let page_bytes = usize::try_from(page).ok().filter(|page| (512..=1 << 20).contains(page))?;
    let mut buffer = vec![0; page_bytes * PAGES];
    let mut at = Phys(0);
    while let Some(extent) = memory.next(at) {
        if extent.end <= at {
            return None;
        }
        let mut here = extent.start.max(at);
        at = extent.end;
        if extent.absent.is_some() {
            continue;
        }
        let Some(first) = here.0.checked_next_multiple_of(page) else { continue };
        here.0 = first;
        while here < extent.end {
            if !tell(here) {
                return None;
            }
            let want = (extent.end.0 - here.0).min(buffer.len() as u64) as usize;
            let block = buffer.get_mut(..want)?;
            let got = memory.read_upto(here, block);
            let block = block.get(..got)?;
            for (index, start) in block.chunks(page_bytes).enumerate() {
                if let Some(len) = note(start) {
                    let place = Phys(here.0 + (index * page_bytes) as u64 + NOTE_TEXT as u64);
                    let mut bytes = vec![0; len];
                    let got = memory.read_upto(place, &mut bytes);
                    bytes.truncate(got);
                    let text = text(&bytes);
                    if got == len && text.starts_with("OSRELEASE=") && value(&text, "PAGESIZE").is_some() {
                        return Some(Found { at: place, text });
                    }
                }
            }
            // What cannot be read is passed over page by page.
            let Some(next) = here.0.checked_add((got as u64).next_multiple_of(page).max(page)) else { break };
            here.0 = next;
        }
    }
    None
}

/// Bytes of the note's head and owner.
const NOTE_TEXT: usize = 24;

/// The length of the text if a VMCOREINFO note begins here, in either byte order.
fn note(page: &[u8]) -> Option<usize> {
    let head = page.get(..NOTE_TEXT + 10)?;
    if head.get(12..22)? != b"VMCOREINFO" || head.get(NOTE_TEXT..)? != b"OSRELEASE=" {
        return None;
    }
    let size = head.get(4..8)?.first_chunk::<4>().copied()?;
    let len = u32::from_le_bytes(size).min(u32::from_be_bytes(size)) as usize;
    (16..=MAX_TEXT).contains(&len).then_some(len)
}

/// The text of a VMCOREINFO note that begins with this page, as far as the page has it.
#[must_use]
pub fn in_page(page: &[u8]) -> Option<String> {
    let len = note(page)?;
    let text = text(page.get(NOTE_TEXT..(NOTE_TEXT + len).min(page.len()))?);
    (text.starts_with("OSRELEASE=") && value(&text, "PAGESIZE").is_some()).then_some(text)
}
