//! Being built.

/// Being built.
pub fn compare(_arguments: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("being built")
}
