//! Being built.

/// Being built.
pub fn ci(_arguments: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("being built")
}
