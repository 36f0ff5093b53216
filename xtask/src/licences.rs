//! Being built.

/// Being built.
pub fn licences(_arguments: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("being built")
}
