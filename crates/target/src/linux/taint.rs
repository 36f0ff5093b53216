//! What taints a kernel or a module: letters and words, a bit each.
//!
//! Source: Documentation/admin-guide/tainted-kernels.rst; the order is the bits' own.

/// Letter and meaning of each bit.
const BITS: [(char, &str); 20] = [
    ('P', "a proprietary module"),
    ('F', "a module was loaded by force"),
    ('S', "the processor or system is out of its specification"),
    ('R', "a module was unloaded by force"),
    ('M', "a machine check was reported"),
    ('B', "a page was in a bad state"),
    ('U', "a program asked for the mark"),
    ('D', "the kernel had an oops or BUG before"),
    ('A', "an ACPI table was overridden"),
    ('W', "the kernel warned before"),
    ('C', "a module of the staging tree"),
    ('I', "a bug of the firmware is worked around"),
    ('O', "a module from outside of the kernel's tree"),
    ('E', "a module without a valid signature"),
    ('L', "a soft lockup happened before"),
    ('K', "the kernel was patched while it ran"),
    ('X', "a mark of the distribution's own"),
    ('T', "structures were laid out at random"),
    ('N', "a test was run inside the kernel"),
    ('J', "a device was changed through fwctl"),
];

/// The bits' letters, as `OE`; bits without a letter are left out.
#[must_use]
pub fn taint_letters(bits: u64) -> String {
    taints(bits).map(|(letter, _)| letter).collect()
}

/// What each bit means.
#[must_use]
pub fn taint_words(bits: u64) -> Vec<&'static str> {
    taints(bits).map(|(_, words)| words).collect()
}

fn taints(bits: u64) -> impl Iterator<Item = (char, &'static str)> {
    BITS.into_iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1).map(|(_, one)| one)
}
