//! Variables of a function at one address of a frame: what they are called, what type they have, where their value is.
//!
//! Not here: reading debug information (`dwarf`), and how a value looks as text (whoever has the memory does that).
//!
//! ```
//! use afterimage_symbols::Missing;
//! assert_eq!(Missing::OptimizedOut.to_string(), "optimized out");
//! ```
//!
//! Trap: a value is in memory only where the compiler did not find a better place. Registers, constants and parts of all of
//! them come as bytes, and some of those may be lost.

use crate::Machine;

/// One frame of one thread as its variables see it.
pub trait Activation: Machine {
    /// The canonical frame address: the caller's stack pointer.
    fn cfa(&self) -> Option<u64>;
    /// The value that a register had when the function was entered, if its caller tells.
    fn entry_value(&self, register: u16, callee: &Callee) -> Option<u64>;
}

/// The function that was called, for the check that a place of call is that of this very function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callee {
    /// Its name as its unit says it.
    pub name: Option<String>,
    /// Where it begins (run-time).
    pub start: u64,
}

/// What a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableKind {
    /// A parameter of its function.
    Parameter,
    /// A variable of its function or of a block in it.
    Local,
}

/// One variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Parameter or local.
    pub kind: VariableKind,
    /// Which of the functions at the address it belongs to: 0 is the innermost inlined one, as in
    /// [`crate::ModuleSymbols::locate`].
    pub level: usize,
    /// Its type.
    pub declared: Type,
    /// Its value, or why there is none.
    pub content: Result<Content, Missing>,
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// In memory, at this run-time address.
    Memory(u64),
    /// Here: out of registers, constants and pieces of memory.
    Bytes(Pieces),
    /// A pointer to something that itself is in no memory any more.
    ImplicitPointer {
        /// Its name, if it has one.
        name: Option<String>,
        /// Its bytes from where the pointer leads, if they are all known.
        bytes: Option<Vec<u8>>,
    },
}

/// Bytes of a value, some of which may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    /// The bytes; zero where they are missing.
    pub bytes: Vec<u8>,
    /// Start and end of what is missing, with the reason.
    pub gaps: Vec<(usize, usize, Missing)>,
}

/// Why a value cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// The compiler kept it nowhere at this address.
    #[error("optimized out")]
    OptimizedOut,
    /// It is in a register that a function called from here may have changed, and that nobody saved.
    #[error("its register was not saved")]
    NotSaved {
        /// DWARF number of the register.
        register: u16,
    },
    /// It is in memory that is not in the dump.
    #[error("not in the dump")]
    NotInDump {
        /// Run-time address.
        address: u64,
    },
    /// The frame's address is not known, and it counts from that.
    #[error("the frame's address is not known")]
    NoFrameAddress,
    /// It is one copy a thread, and where this thread's lies is not looked up.
    #[error("thread-local")]
    ThreadLocal,
    /// The rule for its place asks for what is not understood here.
    #[error("where it is cannot be worked out: {0}")]
    Unsupported(String),
    /// The debug information is broken.
    #[error("its debug information is broken: {0}")]
    Malformed(String),
}

/// Why there are no variables at an address at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoVariables {
    /// The module has no DWARF at hand.
    #[error("the module has no DWARF debug information")]
    NoDebugInfo,
    /// No unit or function of the DWARF covers the address.
    #[error("no debug information covers the address")]
    NotCovered,
}

/// A type, as far as values of it are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// As its language writes it: `const char *`, `struct list_head [4]`.
    pub name: String,
    /// Bytes of a value.
    pub size: Option<u64>,
    /// What is in it.
    pub shape: Shape,
}

/// What a value consists of. Typedefs and qualifiers are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A whole number.
    Integer {
        /// Whether it has a sign.
        signed: bool,
    },
    /// True or false.
    Boolean,
    /// A character of one byte, or of several (`char32_t`).
    Character {
        /// Whether it has a sign.
        signed: bool,
    },
    /// A floating-point number.
    Float,
    /// A pointer or reference.
    Pointer(Pointee),
    /// An enumeration: its names with their numbers.
    Enumeration {
        /// Whether its numbers have a sign.
        signed: bool,
        /// The names.
        names: Vec<(String, i64)>,
    },
    /// A structure, class or union.
    Structure {
        /// Its members.
        members: Vec<Member>,
        /// There are more.
        cut: bool,
        /// Of Rust's enums and variant records: what else is in it, by a number.
        variants: Option<Variants>,
    },
    /// An array of one dimension.
    Array {
        /// Type of one element.
        element: Box<Type>,
        /// How many; `None` where the declaration does not say.
        count: Option<u64>,
    },
    /// Nothing that has a value (`void`, a function, a structure that is only declared).
    None,
    /// Not looked at: too deep inside others, or of a kind that is not understood.
    Opaque,
}

/// The alternatives of a structure, of which a value has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variants {
    /// The member whose value says which; `None` where there is only one.
    pub discriminant: Option<Box<Member>>,
    /// Each alternative with its number, `None` for all other numbers; as a member whose name is its own.
    pub arms: Vec<(Option<u64>, Member)>,
}

/// What a pointer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointee {
    /// Characters.
    Text,
    /// A function.
    Code,
    /// Anything else.
    Data,
}

/// A member of a structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name; `None` for structures and unions without one.
    pub name: Option<String>,
    /// Bytes from the start of the structure; `None` where that depends on the object (virtual base classes).
    pub offset: Option<u64>,
    /// Of a bit field: its lowest bit counted from the start of the structure in the order of the target's bits, and its
    /// width.
    pub bits: Option<(u64, u64)>,
    /// Whether it is a base class.
    pub base: bool,
    /// Its type.
    pub declared: Type,
}
