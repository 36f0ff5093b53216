//! Variables of frames: the parameters and locals that debug information tells of, with their values out of the dump.
//!
//! *What it is*: for a frame of a process ([`Target::variables`](crate::Target::variables)) or of a Linux kernel's stack
//! ([`Target::kernel_variables`](crate::Target::kernel_variables)) the registers that are known in it, its address, and behind it the frames that called it,
//! as `symbols` needs them to work expressions out; and values as one line of text.
//!
//! *What it is not*: a debugger. Nothing is followed but strings, and what is large is cut.
//!
//! *Trap*: a register of a frame is known only if every function called from it saved it or left it alone. A value in a
//! register that is lost is absent, not zero.

mod kernel;
mod process;
mod scalars;
#[cfg(test)]
mod tests;
mod text;
mod view;

pub use kernel::KernelVariables;

pub use afterimage_symbols::VariableKind;

/// A variable with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableValue {
    /// Its name.
    pub name: String,
    /// Parameter or local.
    pub kind: VariableKind,
    /// Which of the functions at the frame's address it belongs to, as an index into [`Target::locate`](crate::Target::locate).
    pub level: usize,
    /// Its type, as its language writes it.
    pub type_name: String,
    /// Its value as one line, or why there is none.
    pub value: Result<String, String>,
}

/// Variables of one frame, innermost function first; or why nothing is known of them.
pub type FrameVariables = Result<Vec<VariableValue>, String>;

/// Variables as text, in a frame.
fn shown(found: Vec<afterimage_symbols::Variable>, texts: &text::Texts<'_>) -> Vec<VariableValue> {
    let values = found.into_iter().map(|variable| {
        let value = texts.value(&variable.declared, &variable.content);
        VariableValue {
            name: variable.name,
            kind: variable.kind,
            level: variable.level,
            type_name: variable.declared.name,
            value,
        }
    });
    values.collect()
}
