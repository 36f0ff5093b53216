//! A sum over the pages of an image that does not depend on their order: what is written is read again, and must have it.
//!
//! *What it is not*: no protection against somebody who wants two images to look the same; only against mistakes and
//! broken disks.

use twox_hash::XxHash3_128;

/// The part of one page, or of less than one: of its place and its bytes.
fn page(at: u64, bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot_with_seed(at, bytes)
}

/// The part of a range: of each page of 4 KiB in it, as ranges are cut differently in different images.
pub(super) fn range(at: u64, bytes: &[u8], size: u64) -> u128 {
    let first = ((size - at % size) as usize).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let mut sum = if head.is_empty() { 0 } else { page(at, head) };
    let mut next = at + first as u64;
    for chunk in rest.chunks(size as usize) {
        sum = sum.wrapping_add(page(next, chunk));
        next += chunk.len() as u64;
    }
    sum
}
