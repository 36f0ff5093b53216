//! What happened, where, and why: sentences, each with the evidence that carries it.

use crate::target::Target;

/// A fact of the dump that a sentence stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What kind of fact: `signal`, `register`, `instruction`, `memory`, `region`, `symbol`, `frame`, `message`, `auxv`.
    pub kind: &'static str,
    /// The fact in words, as `rax = 0x0` or `region 0x7f…-0x7f… r-- libc.so.6`.
    pub text: String,
    /// The address it is about.
    pub address: Option<u64>,
}

/// One sentence and what it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// A full sentence.
    pub text: String,
    /// The facts behind it; never empty.
    pub evidence: Vec<Evidence>,
}

/// The verdict on a dump.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// The verdict's name, as `null_read` or `stack_overflow`; `none` for a healthy process.
    pub kind: &'static str,
    /// One sentence: what died, of what, where.
    pub headline: String,
    /// How it came about, in order.
    pub statements: Vec<Statement>,
    /// What to look at or try next.
    pub advice: Vec<String>,
    /// The program's own last words: an abort, assert or panic message.
    pub message: Option<String>,
    /// The faulting instruction as text, if it could be decoded.
    pub instruction: Option<String>,
    /// The address whose access failed.
    pub fault_address: Option<u64>,
    /// Index into the crashed thread's frames of the first frame that is the program's own to blame (not libc's abort
    /// machinery or a panic runtime).
    pub blame_frame: Option<usize>,
    /// The signal's (or exception's) name and meaning, as `SIGSEGV (invalid memory access)`.
    pub signal: Option<String>,
}

/// Works out the verdict.
pub(crate) fn diagnose(_target: &Target) -> Diagnosis {
    Diagnosis { kind: "none", ..Diagnosis::default() }
}
