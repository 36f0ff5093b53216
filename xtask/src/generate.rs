//! Being built.

/// Being built.
pub fn generate(_arguments: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("being built")
}
