//! Differences that are known and accepted, each with its reason: the only way to be worse and pass.
//!
//! It is data, looked at by hand. For example of `linux_inline.dmp` the peer's scan shows frames which its own symbols
//! refute.
//!
//! Trap: an entry stands for all threads of a dump and one peer. Take it out when it is no longer needed; the command
//! says so.

/// Dump (a crashing program's name stands for both its dumps), peer, reason.
pub const KNOWN: &[(&str, &str, &str)] = &[];

/// The reason for a difference, if it is accepted.
pub fn reason(dump: &str, peer: &str) -> Option<&'static str> {
    let program = dump.strip_suffix("/kernel").or_else(|| dump.strip_suffix("/run")).unwrap_or(dump);
    KNOWN
        .iter()
        .find(|(name, tool, _)| (*name == dump || *name == program) && *tool == peer)
        .map(|(_, _, reason)| *reason)
}
