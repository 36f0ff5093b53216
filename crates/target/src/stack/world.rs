//! What a walk may ask: memory, which addresses are code, unwind tables, and where functions begin.
//!
//! *What it is not*: it decides nothing. The rules ask it, and tests stand in for it.
//!
//! *Trap*: "not code" and "not known" are different answers. A minidump without a memory list knows its modules and
//! nothing else.

use crate::target::Target;
use afterimage_dump::bytes::Fields;
use afterimage_dump::{Arch, Endian, Format, Memory, MemoryExt, Os, Registers, Virt};
use afterimage_symbols::{CfiMiss, FunctionKind, Machine, Step};
use std::cell::RefCell;
use std::collections::HashMap;

use super::window::Window;

/// Whether an address holds code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// It is executable memory.
    Yes,
    /// It is not mapped, or mapped without the right to execute.
    No,
    /// The dump does not say.
    Unknown,
}

/// A function as far as the unwinder cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Name as the linker knows it.
    pub(super) name: String,
    /// First address (run-time).
    pub(super) start: u64,
    /// Whether it is a stub of the procedure linkage table.
    pub(super) plt: bool,
}

/// The surroundings of a stack.
pub(super) trait World {
    /// The processor.
    fn arch(&self) -> Arch;
    /// The operating system.
    fn os(&self) -> Os;
    /// Byte order.
    fn endian(&self) -> Endian;
    /// The bytes.
    fn memory(&self) -> &dyn Memory<Virt>;
    /// Whether `at` is code.
    fn code(&self, at: u64) -> Code;
    /// The mapping that holds `at`: start and end.
    fn region(&self, at: u64) -> Option<(u64, u64)>;
    /// One step by call-frame information at `at`; the text says why there is none.
    fn cfi(&self, at: u64, cpu: &mut Cpu<'_>) -> Result<Step, String>;
    /// The function that holds `at`, by symbol tables alone.
    fn function(&self, at: u64) -> Option<Known>;
    /// Whether dumps of this kind leave code out, so that nothing can be checked against it.
    fn lacks_code(&self) -> bool;
    /// Whether `at` lies in a module.
    fn in_module(&self, at: u64) -> bool;
    /// Where the program or the loader begins to run.
    fn is_entry(&self, at: u64) -> bool;
    /// Whether nothing speaks against `at` being code of its module: a PE file's own headers, where memory has them.
    fn is_executable(&self, _at: u64) -> bool {
        true
    }
}

/// How a reason ends that says that there is a rule, and only a register is missing for it.
pub(super) const NOT_KNOWN: &str = "is not known here";

/// One frame as call-frame information sees it.
pub(super) struct Cpu<'a> {
    /// The frame's registers.
    pub(super) registers: &'a Registers,
    /// Memory.
    pub(super) memory: &'a Window<'a>,
    /// Run-time address minus the module's own address; the world sets it.
    pub(super) bias: u64,
    /// Cleans a code pointer.
    pub(super) strip: &'a dyn Fn(u64) -> u64,
    /// Bytes of arguments that the callee takes off the stack itself.
    pub(super) parameters: u32,
    /// Whether the address is that of the instruction about to run.
    pub(super) innermost: bool,
}

impl Machine for Cpu<'_> {
    fn register(&self, dwarf: u16) -> Option<u64> {
        self.registers.by_dwarf(dwarf)
    }

    fn read(&self, address: u64, size: usize) -> Option<u64> {
        self.memory.uint(address, size).ok()
    }

    fn bias(&self) -> u64 {
        self.bias
    }

    fn strip_pointer(&self, value: u64) -> u64 {
        (self.strip)(value)
    }

    fn callee_parameter_size(&self) -> u64 {
        u64::from(self.parameters)
    }

    fn is_innermost(&self) -> bool {
        self.innermost
    }
}

/// Bytes behind an entry point that are surely still part of it: `_start` of every C library is longer, and its call
/// to `__libc_start_main` lies within them.
const ENTRY_LENGTH: u64 = 48;

/// Executable sections of a PE file by its headers in memory, as offsets from its base; empty where the headers are not
/// all there.
fn pe_sections(memory: &dyn Memory<Virt>, base: u64) -> Vec<(u64, u64)> {
    const EXECUTE: u32 = 0x2000_0000;
    let mut head = [0; 0x800];
    let got = memory.read_upto(Virt(base), &mut head);
    let fields = Fields::new(head.get(..got).unwrap_or_default(), Endian::Little);
    let read = || {
        let pe = fields.u32(0x3c)? as usize;
        (fields.slice(0, 2)? == b"MZ" && fields.slice(pe, 4)? == b"PE\0\0").then_some(())?;
        let count = usize::from(fields.u16(pe + 6)?);
        let first = pe + 24 + usize::from(fields.u16(pe + 20)?);
        let section = |index: usize| {
            let at = first + index * 40;
            let (size, start, flags) = (fields.u32(at + 8)?, fields.u32(at + 12)?, fields.u32(at + 36)?);
            Some((u64::from(start), u64::from(start) + u64::from(size), flags))
        };
        // A list that is cut off would forbid code that is there.
        let all = (0..count).map(section).collect::<Option<Vec<_>>>()?;
        Some(all.into_iter().filter(|(_, _, flags)| flags & EXECUTE != 0).map(|(start, end, _)| (start, end)).collect())
    };
    read().unwrap_or_default()
}

/// A target as the surroundings of its stacks.
pub(super) struct TargetWorld<'a> {
    target: &'a Target,
    entry: Option<u64>,
    /// Executable sections by the base of their module.
    sections: RefCell<HashMap<u64, Vec<(u64, u64)>>>,
}

impl<'a> TargetWorld<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        const AT_ENTRY: u64 = 9;
        let entry = target.dump().auxv_value(AT_ENTRY).filter(|&entry| entry != 0);
        Self { target, entry, sections: RefCell::default() }
    }
}

impl World for TargetWorld<'_> {
    fn arch(&self) -> Arch {
        self.target.dump().arch
    }

    fn os(&self) -> Os {
        self.target.dump().os
    }

    fn endian(&self) -> Endian {
        self.target.dump().endian
    }

    fn memory(&self) -> &dyn Memory<Virt> {
        self.target.memory()
    }

    fn code(&self, at: u64) -> Code {
        let dump = self.target.dump();
        if let Some(region) = dump.region(Virt(at)) {
            if let Some(permissions) = region.permissions {
                return if permissions.execute { Code::Yes } else { Code::No };
            }
            // A range without protection: code if it belongs to a module.
            return if self.target.module_at(Virt(at)).is_some() { Code::Yes } else { Code::Unknown };
        }
        if self.target.module_at(Virt(at)).is_some() {
            return Code::Yes;
        }
        // A list of ranges with protections is the whole address space; a list of stacks is not.
        let whole = dump.regions.iter().any(|region| region.permissions.is_some_and(|p| p.execute));
        if whole || at < 4096 { Code::No } else { Code::Unknown }
    }

    fn region(&self, at: u64) -> Option<(u64, u64)> {
        if let Some(region) = self.target.dump().region(Virt(at)) {
            return Some((region.start.0, region.end.0));
        }
        self.target.dump().memory.find(Virt(at)).map(|segment| (segment.start.0, segment.end.0))
    }

    fn cfi(&self, at: u64, cpu: &mut Cpu<'_>) -> Result<Step, String> {
        let Some(module) = self.target.module_at(Virt(at)) else {
            return Err(format!("{at:#x} lies in no module"));
        };
        cpu.bias = module.symbol_bias();
        module.symbols().unwind(module.symbol_address(Virt(at)), cpu).map_err(|miss| {
            let name = module.name();
            match miss {
                CfiMiss::UnknownRegister { dwarf } => match self.arch().info().slot_of_dwarf(dwarf) {
                    Some(slot) => {
                        let register = self.arch().info().registers.get(slot).map_or("?", |info| info.name);
                        format!("{name}: the unwind rule needs {register}, which {NOT_KNOWN}")
                    }
                    None => format!("{name}: {miss}"),
                },
                CfiMiss::NoTables if module.lacks_image() && self.arch().info().pointer_size == 8 => {
                    format!("{name}: the dump does not hold its unwind data, and no file of it was found")
                }
                _ => format!("{name}: {miss}"),
            }
        })
    }

    fn function(&self, at: u64) -> Option<Known> {
        let module = self.target.module_at(Virt(at))?;
        let function = module.symbols().function(module.symbol_address(Virt(at)))?;
        Some(Known {
            start: function.start.wrapping_add(module.symbol_bias()),
            plt: function.kind == FunctionKind::Plt,
            // A label that only stands before the address does not say where a stack ends.
            name: if function.source.starts_with("nearest") { String::new() } else { function.raw },
        })
    }

    fn lacks_code(&self) -> bool {
        matches!(self.target.dump().format, Format::Minidump | Format::Windows)
    }

    fn in_module(&self, at: u64) -> bool {
        self.target.module_at(Virt(at)).is_some()
    }

    fn is_executable(&self, at: u64) -> bool {
        let Some(module) = self.target.module_at(Virt(at)) else { return false };
        let base = module.base.0;
        let mut sections = self.sections.borrow_mut();
        let known = sections.entry(base).or_insert_with(|| pe_sections(self.target.memory(), base));
        known.is_empty() || known.iter().any(|(start, end)| (*start..*end).contains(&(at - base)))
    }

    fn is_entry(&self, at: u64) -> bool {
        self.entry.is_some_and(|entry| at.checked_sub(entry).is_some_and(|past| past < ENTRY_LENGTH))
    }
}
