//! From a module's bytes to names, source lines, variables and unwind rules: ELF and Mach-O symbol tables, DWARF 2 to 5, call-frame
//! information, Breakpad symbol files, PE images with their unwind data, PDB files.
//!
//! What it is not: it does no I/O (a driver hands it bytes as [`Blob`] and answers [`Files`]), and it knows nothing of
//! dumps, threads or processes ([`Machine`] is all that it sees of them).
//!
//! ```
//! use afterimage_symbols::{ModuleSymbols, demangle};
//! assert_eq!(demangle("_ZN3foo3barEi"), "foo::bar(int)");
//! assert!(ModuleSymbols::none().function(0x1000).is_none());
//! ```
//!
//! Trap: every address here is the module's own (as its file says it), not where the module was loaded.

mod breakpad;
mod cfi;
mod demangle;
mod dwarf;
mod elf;
mod error;
mod files;
pub mod kernel;
mod machine;
mod macho;
mod module;
mod msvc;
mod pdb;
mod pe;
mod variable;

pub use demangle::{demangle, short_name};
pub use elf::{ElfObject, ElfSegment, build_id_of_image};
pub use error::Error;
pub use files::{Blob, Files, NoFiles};
pub use machine::{CfiMiss, CfiSource, Machine, Step};
pub use macho::MachObject;
pub use module::{Function, FunctionKind, ModuleSymbols, SourceFrame};
pub use msvc::type_name as msvc_type_name;
pub use pdb::Pdb;
pub use pe::{CodeView, ImageBytes, PeImage};
pub use variable::{
    Activation, Callee, Content, Member, Missing, NoVariables, Pieces, Pointee, Shape, Type, Variable, VariableKind,
    Variants,
};
