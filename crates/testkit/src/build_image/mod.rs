//! Builders of synthetic memory images of machines, one file for each container.
//!
//! *What it is not*: it knows no more of a machine than its pages. Each page's content follows from its number
//! ([`page`]), so that a page in the wrong place is seen.
//!
//! ```
//! use afterimage_testkit::build_image::page;
//! assert_ne!(page(1), page(2));
//! assert_eq!(page(7).len(), 4096);
//! ```
//!
//! *Trap*: these builders write what the containers' own programs are documented to write, not what our readers like.

pub mod lkcd;
pub mod macos_kernel;
pub mod microvm;
pub mod qemu;
pub mod vmware;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// The content of a page of physical memory: its number everywhere, mixed with the place in the page.
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
