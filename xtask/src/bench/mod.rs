//! Being built.

/// Being built.
pub fn bench(_arguments: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("being built")
}
