//! Pages whose content follows from a number, for containers whose pages stand in any order and come several times.
//!
//! ```
//! use afterimage_testkit::build_image::numbered::page;
//! assert_ne!(page(1), page(2));
//! assert_eq!(page(7).len(), 4096);
//! ```
//!
//! *Trap*: the number need not be the page's own: a page that is written again has another content.

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// The content with this number: the number everywhere, mixed with the place in the page.
#[must_use]
pub fn page(number: u64) -> Vec<u8> {
    let word =
        |i: u64| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i.wrapping_mul(0xff51_afd7_ed55_8ccd)).rotate_left(17);
    (0..PAGE as u64 / 8).flat_map(|i| word(i).to_le_bytes()).collect()
}

/// Pages one behind the other.
#[must_use]
pub fn pages(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    numbers.into_iter().flat_map(page).collect()
}
