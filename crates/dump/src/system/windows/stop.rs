//! What a Windows dump says of its stop.

/// A stop ("blue screen"), or a dump that was taken without one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stop {
    /// Bug check code.
    pub code: u32,
    /// Its four parameters.
    pub parameters: [u64; 4],
}
