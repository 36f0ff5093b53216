//! Groups and tags, of which everything in a saved state is made.
//!
//! Folklore (crash's vmware_vmss.h; volatility3's vmware.py): the header is a magic number, a version and the number of
//! groups, then groups of 80 bytes {name 64, place 8, bytes 8}. A tag is two bytes {bits 0-5 size, 6-7 number of indices,
//! 8-15 length of the name}, the name, the indices (4 each), and the value. Sizes 62 (packed) and 63 are blocks:
//! {bytes, bytes in memory, padding (2)}, padding, content. The numbers are of 4 bytes where the lowest digit of the magic
//! number is 0, else of 8. Two zero bytes end a group.

use crate::Endian;
use crate::Error;
use crate::bytes::Fields;
use crate::source::Source;
use crate::system::opening::{Opening, field_text};

/// Checkpoints of all times: old, with 32-bit blocks; ordinary; partial; restored; not to be restored.
const MAGIC: [u32; 7] = [0xbed0_bed0, 0xbed2_bed0, 0xbed1_bed1, 0xbed2_bed2, 0xbed3_bed3, 0xbad1_bad1, 0xbad2_bad2];
const GROUP: usize = 80;
const MOST_GROUPS: u32 = 4096;
/// Tags of one group that are looked at.
const MOST_TAGS: usize = 1 << 20;
/// Bytes of a small block that are handed out.
pub(super) const SMALL: u64 = 4096;

/// Bytes of a block's numbers, if this is a saved state.
pub(super) fn word_size(head: &[u8]) -> Option<usize> {
    let fields = Fields::new(head, Endian::Little);
    let magic = fields.u32(0).filter(|magic| MAGIC.contains(magic))?;
    let groups = fields.u32(8)?;
    (1..=MOST_GROUPS).contains(&groups).then_some(if magic & 15 == 0 { 4 } else { 8 })
}

/// A group: its name, where its tags begin, and their bytes.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) at: u64,
    pub(super) size: u64,
}

/// All groups, and what is wrong with the list.
pub(super) fn groups(opening: &Opening<'_>) -> Result<(Vec<Group>, Option<String>), Error> {
    let head = opening.exactly("the header", 0, 12)?;
    let count = Fields::new(&head, Endian::Little).u32(8).unwrap_or(0);
    if word_size(&head).is_none() {
        return Err(opening.broken(format!("{count} groups")));
    }
    opening.book("groups", u64::from(count) * 256)?;
    let bytes = opening.upto(12, GROUP * count as usize)?;
    let group = |bytes: &[u8]| {
        let fields = Fields::new(bytes, Endian::Little);
        Some(Group { name: field_text(fields.slice(0, 64)?), at: fields.u64(64)?, size: fields.u64(72)? })
    };
    let groups: Vec<Group> = bytes.chunks_exact(GROUP).filter_map(group).collect();
    let problem = (groups.len() < count as usize).then(|| "the list of groups is cut off".to_owned());
    Ok((groups, problem))
}

/// A tag without its value.
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) indices: Vec<u32>,
}

/// A tag's value.
pub(super) enum Content {
    /// A number of up to 8 bytes.
    Value(u64),
    /// A value of another size.
    Bytes,
    /// A block: where it is, bytes in the file and in memory.
    Block { at: u64, bytes: u64, in_memory: u64, packed: bool },
}

/// Hands each tag of a group to `with`; gives what stopped it before the group's end.
pub(super) fn walk(
    opening: &Opening<'_>,
    group: &Group,
    with: &mut dyn FnMut(&Tag, &Content),
) -> Result<Option<String>, Error> {
    let word = opening.upto(0, 12).map(|head| word_size(&head).unwrap_or(8))?;
    let mut at = group.at;
    for _ in 0..MOST_TAGS {
        // The longest tag: 2 + 255 + 3 × 4 + 2 × 8 + 2.
        let bytes = opening.upto(at, 300)?;
        let fields = Fields::new(&bytes, Endian::Little);
        let cut_off = || Ok(Some(format!("the group {:?} is cut off at {at:#x}", group.name)));
        let Some(tag) = fields.u16(0) else { return cut_off() };
        if tag == 0 {
            return Ok(None);
        }
        let (size, indices, name) = (usize::from(tag & 63), usize::from(tag >> 6 & 3), usize::from(tag >> 8));
        let Some(text) = fields.slice(2, name) else { return cut_off() };
        let index_at = 2 + name;
        let indices: Vec<u32> = (0..indices).filter_map(|i| fields.u32(index_at + 4 * i)).collect();
        let value_at = index_at + 4 * usize::from(tag >> 6 & 3);
        let own = Tag { name: String::from_utf8_lossy(text).into_owned(), indices };
        let next = if size >= 62 {
            let (Some(stored), Some(in_memory), Some(padding)) =
                (fields.uint(value_at, word), fields.uint(value_at + word, word), fields.u16(value_at + 2 * word))
            else {
                return cut_off();
            };
            let start = at + (value_at + 2 * word + 2) as u64 + u64::from(padding);
            with(&own, &Content::Block { at: start, bytes: stored, in_memory, packed: size == 62 });
            let Some(end) = start.checked_add(stored) else { return cut_off() };
            end
        } else {
            if fields.slice(value_at, size).is_none() {
                return cut_off();
            }
            let content = match size {
                1..=8 => fields.uint(value_at, size).map_or(Content::Bytes, Content::Value),
                _ => Content::Bytes,
            };
            with(&own, &content);
            at.saturating_add((value_at + size) as u64)
        };
        if next > opening.source.len() {
            return Ok(Some(format!("the group {:?} is cut off in {:?}", group.name, own.name)));
        }
        at = next;
    }
    Ok(Some(format!("the group {:?} has more than {MOST_TAGS} tags", group.name)))
}

/// The content of a small block, unpacked if it is packed with zlib.
pub(super) fn small_block(source: &dyn Source, at: u64, bytes: u64, in_memory: u64, packed: bool) -> Option<Vec<u8>> {
    if bytes > SMALL || in_memory > SMALL {
        return None;
    }
    let stored = crate::source::read_vec(source, at, bytes as usize).ok().filter(|got| got.len() as u64 == bytes)?;
    if !packed {
        return Some(stored);
    }
    let mut whole = vec![0; in_memory as usize];
    std::io::Read::read_exact(&mut flate2::read::ZlibDecoder::new(&*stored), &mut whole).ok()?;
    Some(whole)
}
