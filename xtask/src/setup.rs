//! Being built.

/// Being built.
pub fn setup(_arguments: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("being built")
}
