//! LiME, version 1: a head of 32 bytes before each range.

use super::Layout;

/// Builds a file.
#[must_use]
pub fn build(layout: &Layout) -> Vec<u8> {
    let mut file = Vec::new();
    for (range, bytes) in layout.pieces() {
        file.extend_from_slice(b"EMiL");
        file.extend_from_slice(&[1, 0, 0, 0]);
        file.extend_from_slice(&range.start.to_le_bytes());
        file.extend_from_slice(&(range.end - 1).to_le_bytes());
        file.extend_from_slice(&[0; 8]);
        file.extend_from_slice(&bytes);
    }
    file
}
