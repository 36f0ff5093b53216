//! The code of a kernel: its own and its modules', with names and the way to callers.
//!
//! *Trap*: names of modules are in no kallsyms of the kernel. Each module has a table of its own, whose strings lie
//! elsewhere; a filtered dump may have one without the other.

use super::kernel::Linux;
use afterimage_dump::{MemoryExt, Virt};
use afterimage_symbols::kernel::{KernelBytes, OrcEntry, OrcTable, OrcType, OrcVersion};
use std::sync::OnceLock;

/// Bytes of one part of an ORC table at most: some five times what kernels have.
const MAX_ORC: u64 = 16 << 20;
/// Symbols of a module at most.
const MAX_SYMBOLS: u64 = 1 << 20;
/// Bytes of an `Elf64_Sym`.
const SYMBOL: usize = 24;

/// What is known of all code, read when it is first asked for.
pub(super) struct Code {
    /// The kernel's own ORC; `None` where it was built without.
    pub(super) orc: Option<OrcTable>,
    modules: Vec<ModuleCode>,
}

struct ModuleCode {
    name: String,
    /// Address of its `struct module`.
    at: u64,
    ranges: Vec<(u64, u64)>,
    orc: OnceLock<Option<OrcTable>>,
    symbols: OnceLock<Symbols>,
}

/// Addresses and where their names stand, by address.
struct Symbols {
    entries: Vec<(u64, u32)>,
    strings: u64,
}

/// The name of a place in code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) function: Option<String>,
    /// Distance from the start of the function.
    pub(super) offset: u64,
    pub(super) module: Option<String>,
}

/// Kernel memory for the unwinder.
pub(super) struct Bytes<'l>(pub(super) &'l Linux);

impl KernelBytes for Bytes<'_> {
    fn read(&self, at: u64, buf: &mut [u8]) -> usize {
        self.0.memory().read_upto(Virt(at), buf)
    }
}

impl Linux {
    pub(super) fn code(&self) -> &Code {
        self.code.get_or_init(|| {
            let modules = self.modules().map(|(modules, _)| modules).unwrap_or_default();
            let modules = modules.into_iter().map(|module| ModuleCode {
                ranges: self.module_code(module.at),
                name: module.name,
                at: module.at,
                orc: OnceLock::new(),
                symbols: OnceLock::new(),
            });
            Code { orc: self.kernel_orc(), modules: modules.collect() }
        })
    }

    fn kernel_orc(&self) -> Option<OrcTable> {
        let part = |name: &str| {
            let start = self.symbols.address(&format!("__start_{name}"))?;
            let len = self.symbols.address(&format!("__stop_{name}"))?.checked_sub(start)?;
            (len <= MAX_ORC).then(|| (start, self.bytes(start, len as usize)))
        };
        let (at, addresses) = part("orc_unwind_ip")?;
        let version = part("orc_header").and_then(|(_, header)| OrcVersion::by_header(&header));
        OrcTable::new(at, addresses, part("orc_unwind")?.1, version)
    }

    /// Where a module's code lies.
    fn module_code(&self, module: u64) -> Vec<(u64, u64)> {
        // The kinds of memory since 6.4 that hold code: MOD_TEXT and MOD_INIT_TEXT.
        const TEXT: [u64; 2] = [0, 4];
        self.module_ranges(module, &TEXT, "text_size")
    }

    /// Where all of a module lies.
    fn module_parts(&self, module: u64) -> Vec<(u64, u64)> {
        let count = self.elements("module", "mem").unwrap_or(0);
        let all: Vec<u64> = (0..count.min(64)).collect();
        self.module_ranges(module, &all, "size")
    }

    /// Parts of a module: since 6.4 by their kinds, before by a member of its two layouts.
    fn module_ranges(&self, module: u64, kinds: &[u64], size: &str) -> Vec<(u64, u64)> {
        let range = |base: Option<u64>, size: Option<u64>| {
            let (base, size) = (base?, size?);
            (size > 0).then(|| (base, base.saturating_add(size)))
        };
        if let (Ok(parts), Ok(each)) = (self.offset("module", "mem"), self.size("module_memory")) {
            let part = |part: &u64| {
                let at = module.wrapping_add(part.wrapping_mul(each).wrapping_add(parts));
                range(self.pointer(at, "module_memory", "base"), self.int(at, "module_memory", "size"))
            };
            return kinds.iter().filter_map(part).collect();
        }
        let parts = ["core_layout", "init_layout"].into_iter();
        let part = |part: &str| {
            let base = self.pointer(module, "module", &format!("{part}.base"));
            range(base, self.int(module, "module", &format!("{part}.{size}")))
        };
        parts.filter_map(part).collect()
    }

    fn module_orc(&self, module: &ModuleCode) -> Option<OrcTable> {
        let count = self.int(module.at, "module", "arch.num_orcs").filter(|count| count * 6 <= MAX_ORC)?;
        let addresses = self.pointer(module.at, "module", "arch.orc_unwind_ip")?;
        let entries = self.pointer(module.at, "module", "arch.orc_unwind")?;
        let addresses = (addresses, self.bytes(addresses, count as usize * 4));
        // A module that does not fit its kernel's version is not loaded.
        let version = self.code().orc.as_ref().map(OrcTable::version);
        OrcTable::new(addresses.0, addresses.1, self.bytes(entries, count as usize * 6), version)
    }

    fn module_symbols(&self, module: &ModuleCode) -> Symbols {
        let none = Symbols { entries: Vec::new(), strings: 0 };
        let read = || {
            let table = self.pointer(module.at, "module", "kallsyms")?;
            let symbols = self.pointer(table, "mod_kallsyms", "symtab")?;
            let count = self.int(table, "mod_kallsyms", "num_symtab").filter(|count| *count <= MAX_SYMBOLS)?;
            let strings = self.pointer(table, "mod_kallsyms", "strtab")?;
            let bytes = self.bytes(symbols, count as usize * SYMBOL);
            let entry = |bytes: &[u8]| {
                let name = u32::from_le_bytes(*bytes.first_chunk()?);
                let section = u16::from_le_bytes(*bytes.get(6..)?.first_chunk()?);
                let value = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
                (name != 0 && section != 0).then_some((value, name))
            };
            let mut entries: Vec<(u64, u32)> = bytes.chunks_exact(SYMBOL).filter_map(entry).collect();
            entries.sort_by_key(|(value, _)| *value);
            Some(Symbols { entries, strings })
        };
        read().unwrap_or(none)
    }

    /// The entry that tells how to leave the code at an address.
    pub(super) fn orc(&self, address: u64) -> Option<OrcEntry> {
        let code = self.code();
        if let Some(module) = code.module(address) {
            return module.orc.get_or_init(|| self.module_orc(module)).as_ref()?.find(address);
        }
        if !self.own_code(address) {
            return None;
        }
        code.orc.as_ref()?.find(address)
    }

    /// Whether an address lies in the code of the kernel's image.
    pub(super) fn own_code(&self, address: u64) -> bool {
        let within = |from: &str, to: &str| {
            let (from, to) = (self.symbols.address(from), self.symbols.address(to));
            from.zip(to).is_some_and(|(from, to)| (from..to).contains(&address))
        };
        within("_stext", "_etext") || within("_sinittext", "_einittext")
    }

    /// Whether an address lies in code that is known.
    pub(super) fn is_code(&self, address: u64) -> bool {
        self.own_code(address) || self.code().module(address).is_some()
    }

    /// Whether the kernel tells how to leave the code at an address.
    #[must_use]
    pub fn tells_caller(&self, address: u64) -> bool {
        self.orc(address).is_some_and(|entry| entry.kind != OrcType::Undefined)
    }

    /// The function that holds an address, in the kernel or a module, with the distance from its start.
    #[must_use]
    pub fn function_at(&self, address: u64) -> Option<(String, u64)> {
        let named = self.name_of(address, address);
        Some((named.function?, named.offset))
    }

    /// The variable that holds an address, as `rtnl_mutex`, `trouble_a [trouble]` or `init_net+0x80`; `None` on the heap.
    pub(crate) fn variable_at(&self, address: u64) -> Option<String> {
        // A larger distance says more about what is missing among the symbols than about the variable.
        const FARTHEST: u64 = 1 << 20;
        let shown = |name: &str, distance: u64| match distance {
            0 => name.to_owned(),
            _ => format!("{name}+{distance:#x}"),
        };
        let (start, end) = (self.symbols.address("_stext")?, self.symbols.address("_end")?);
        if (start..end).contains(&address) {
            let (symbol, distance) = self.symbols.find(address)?;
            return (distance < FARTHEST).then(|| shown(symbol.name, distance));
        }
        let module = self.code().modules.iter().find(|module| {
            let parts = self.module_parts(module.at);
            parts.iter().any(|(start, end)| (*start..*end).contains(&address))
        })?;
        let symbols = module.symbols.get_or_init(|| self.module_symbols(module));
        let (name, value) = self.module_name(symbols, address)?;
        let distance = address.wrapping_sub(value);
        (distance < FARTHEST).then(|| format!("{} [{}]", shown(&name, distance), module.name))
    }

    /// The last name at or before an address in a module's table. Sections and the compiler's own marks have no names or
    /// begin with a point.
    fn module_name(&self, symbols: &Symbols, address: u64) -> Option<(String, u64)> {
        let next = symbols.entries.partition_point(|(value, _)| *value <= address);
        symbols.entries.iter().take(next).rev().take(8).find_map(|(value, name)| {
            let name = self.text(symbols.strings.wrapping_add(u64::from(*name)), 512)?;
            // The borders of the kernel's tables of variables begin where the first one does.
            let border = name.starts_with("__start_") || name.starts_with("__stop_");
            (!name.is_empty() && !name.starts_with(['.', '$']) && !border).then_some((name, *value))
        })
    }

    /// The function that holds `lookup`, and the distance of `pc` from its start.
    pub(super) fn name_of(&self, lookup: u64, pc: u64) -> Named {
        if let Some(module) = self.code().module(lookup) {
            let symbols = module.symbols.get_or_init(|| self.module_symbols(module));
            let named = self.module_name(symbols, lookup);
            let named = named.filter(|(_, value)| module.ranges.iter().any(|range| (range.0..range.1).contains(value)));
            let start = named.as_ref().map(|(_, value)| *value);
            let start = start.or_else(|| module.ranges.first().map(|range| range.0)).unwrap_or(pc);
            let function = named.map(|(name, _)| name);
            return Named { function, offset: pc.wrapping_sub(start), module: Some(module.name.clone()) };
        }
        if !self.own_code(lookup) {
            return Named::default();
        }
        self.symbols.find(lookup).map_or_else(Named::default, |(symbol, _)| Named {
            function: Some(symbol.name.to_owned()),
            offset: pc.wrapping_sub(symbol.address),
            module: None,
        })
    }
}

impl Code {
    fn module(&self, address: u64) -> Option<&ModuleCode> {
        self.modules.iter().find(|module| module.ranges.iter().any(|range| (range.0..range.1).contains(&address)))
    }
}
