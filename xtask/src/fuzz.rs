//! Being built.

/// Being built.
pub fn fuzz(_arguments: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("being built")
}
