//! All symbols, a line each: address, type letter, name, and the module in brackets.
//!
//! *Trap*: `/proc/kallsyms` shows letters of modules' symbols by another rule than the kernel's: capital if it is exported,
//! whatever the linker said (kernel/kallsyms.c, `s_show`).

use super::ExportError;
use crate::linux::Linux;
use std::collections::HashSet;
use std::io::Write;

/// Symbols of a module at most.
const MOST_SYMBOLS: u64 = 1 << 20;
/// Bytes of an `Elf64_Sym`.
const SYMBOL: u64 = 24;
/// `KSYM_NAME_LEN` since 6.1.
const LONGEST: usize = 512;
/// `MODULE_STATE_UNFORMED` (include/linux/module.h): not shown.
const UNFORMED: u64 = 3;

/// Which addresses, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapForm {
    /// The kernel's own symbols by address as linked: a System.map. Good for any image of this kernel.
    Linked,
    /// All symbols where they ran, as root sees them in `/proc/kallsyms`: those of modules, BPF programs and patched code
    /// too, in the kernel's order.
    Running,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapSummary {
    /// Lines.
    pub symbols: u64,
    /// What was wrong on the way.
    pub remarks: Vec<String>,
}

struct Row<'r> {
    address: u64,
    kind: char,
    name: &'r str,
    module: &'r str,
}

struct Map<'o> {
    out: &'o mut dyn Write,
    summary: MapSummary,
}

impl Map<'_> {
    fn row(&mut self, row: &Row) -> std::io::Result<()> {
        self.summary.symbols += 1;
        let Row { address, kind, name, module } = row;
        if module.is_empty() {
            return writeln!(self.out, "{address:016x} {kind} {name}");
        }
        writeln!(self.out, "{address:016x} {kind} {name}\t[{module}]")
    }
}

impl Linux {
    /// Writes all symbols as System.map or `/proc/kallsyms` has them.
    ///
    /// # Errors
    /// If the distance from the linked addresses is not known, or the output fails.
    pub fn write_system_map(&self, form: MapForm, out: &mut dyn Write) -> Result<MapSummary, ExportError> {
        let mut map = Map { out, summary: MapSummary::default() };
        if form == MapForm::Linked {
            for symbol in self.symbols.iter() {
                let address = self.link_address(symbol.address)?;
                map.row(&Row { address, kind: symbol.kind, name: symbol.name, module: "" })?;
            }
            return Ok(map.summary);
        }
        for symbol in self.symbols.in_table_order() {
            map.row(&Row { address: symbol.address, kind: symbol.kind, name: symbol.name, module: "" })?;
        }
        self.modules_rows(&mut map)?;
        self.traced_rows(&mut map)?;
        self.bpf_rows(&mut map)?;
        self.probe_rows(&mut map)?;
        Ok(map.summary)
    }

    /// An address as linked. Numbers below the kernel's half are no places and do not move: per-CPU symbols of x86 up to
    /// 6.14.
    pub(super) fn link_address(&self, address: u64) -> Result<u64, String> {
        let moved = self.kaslr_offset.ok_or("it is not known how far the kernel was moved from where it was linked")?;
        Ok(if address >> 63 == 1 { address.wrapping_sub(moved) } else { address })
    }

    fn modules_rows(&self, map: &mut Map) -> Result<(), ExportError> {
        let (modules, remarks) = match self.modules() {
            Ok(found) => found,
            Err(why) => {
                map.summary.remarks.push(format!("no symbols of modules: {why}"));
                return Ok(());
            }
        };
        map.summary.remarks.extend(remarks);
        for module in modules {
            if self.int(module.at, "module", "state") == Some(UNFORMED) {
                continue;
            }
            let Some(table) = self.pointer(module.at, "module", "kallsyms") else {
                map.summary.remarks.push(format!("the symbols of module {} cannot be read", module.name));
                continue;
            };
            let exported = self.exported(module.at);
            let symbols = self.pointer(table, "mod_kallsyms", "symtab");
            let strings = self.pointer(table, "mod_kallsyms", "strtab");
            let count = self.int(table, "mod_kallsyms", "num_symtab").filter(|count| *count <= MOST_SYMBOLS);
            let (Some(symbols), Some(strings), Some(count)) = (symbols, strings, count) else {
                map.summary.remarks.push(format!("the symbols of module {} cannot be read", module.name));
                continue;
            };
            let letters = self.pointer(table, "mod_kallsyms", "typetab").map(|at| self.bytes(at, count as usize));
            let bytes = self.bytes(symbols, (count * SYMBOL) as usize);
            let mut missing = count - (bytes.len() as u64 / SYMBOL).min(count);
            for (index, entry) in bytes.chunks_exact(SYMBOL as usize).enumerate() {
                let field = |at: usize| entry.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
                let (Some(name), Some(low), Some(high)) = (field(0), field(8), field(12)) else { continue };
                let address = u64::from(high) << 32 | u64::from(low);
                let Some(name) = self.text(strings.wrapping_add(u64::from(name)), LONGEST) else {
                    missing += 1;
                    continue;
                };
                if name.is_empty() {
                    continue;
                }
                // Before 5.2 the letter stood in the symbol itself (`st_info`).
                let letter = letters.as_ref().map_or(entry.get(4), |letters| letters.get(index));
                let letter = letter.map_or('?', |letter| char::from(*letter));
                let exported = exported.contains(&(address, name.clone()));
                let kind = if exported { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
                map.row(&Row { address, kind, name: &name, module: &module.name })?;
            }
            if missing > 0 {
                map.summary.remarks.push(format!("{missing} symbols of module {} are not in the dump", module.name));
            }
        }
        Ok(())
    }

    /// What a module exports to all: address and name. What it exports to free modules only (EXPORT_SYMBOL_GPL) is no
    /// exported symbol to `/proc/kallsyms`: `is_exported` looks into the first of the two tables.
    fn exported(&self, module: u64) -> HashSet<(u64, String)> {
        let mut found = HashSet::new();
        let Ok(each) = self.size("kernel_symbol") else { return found };
        let Some(start) = self.pointer(module, "module", "syms").filter(|start| *start != 0) else { return found };
        let count = self.int(module, "module", "num_syms").unwrap_or(0).min(MOST_SYMBOLS);
        // Distances from their own places (CONFIG_HAVE_ARCH_PREL32_RELOCATIONS), or pointers.
        let near = self.offset("kernel_symbol", "value_offset").is_ok();
        for index in 0..count {
            let at = start.wrapping_add(index.wrapping_mul(each));
            let place = |relative: &str, pointer: &str| {
                if !near {
                    return self.pointer(at, "kernel_symbol", pointer);
                }
                let at = at.wrapping_add(self.offset("kernel_symbol", relative).ok()?);
                Some(at.wrapping_add(self.number(at, 4)? as u32 as i32 as u64))
            };
            // A table that is not in the dump is not followed further.
            let (Some(value), Some(name)) = (place("value_offset", "value"), place("name_offset", "name")) else {
                break;
            };
            if let Some(name) = self.text(name, LONGEST) {
                found.insert((value, name));
            }
        }
        found
    }

    /// Functions of modules that are gone after start but were traced, and trampolines of ftrace
    /// (kernel/trace/ftrace.c).
    fn traced_rows(&self, map: &mut Map) -> Result<(), ExportError> {
        let mut remarks = Vec::new();
        let mut ring = |head: &str, structure: &str| {
            let found = self.symbol(head);
            found.and_then(|at| self.list(at, structure, "list", head, &mut remarks)).unwrap_or_default()
        };
        let maps = ring("ftrace_mod_maps", "ftrace_mod_map");
        let trampolines = ring("ftrace_ops_trampoline_list", "ftrace_ops");
        for at in maps {
            let Ok(functions) = self.offset("ftrace_mod_map", "funcs") else { continue };
            let module = self.pointer(at, "ftrace_mod_map", "mod");
            let module = module.and_then(|at| self.text(at.wrapping_add(self.offset("module", "name").ok()?), 56));
            let ring = at.wrapping_add(functions);
            let what = "the list of traced functions";
            for function in self.list(ring, "ftrace_mod_func", "list", what, &mut remarks).unwrap_or_default() {
                let name = self.pointer(function, "ftrace_mod_func", "name").and_then(|at| self.text(at, LONGEST));
                let address = self.pointer(function, "ftrace_mod_func", "ip");
                if let (Some(name), Some(address), Some(module)) = (&name, address, &module) {
                    map.row(&Row { address, kind: 't', name, module })?;
                }
            }
        }
        for at in trampolines {
            if let Some(address) = self.pointer(at, "ftrace_ops", "trampoline").filter(|address| *address != 0) {
                map.row(&Row { address, kind: 't', name: "ftrace_trampoline", module: "__builtin__ftrace" })?;
            }
        }
        map.summary.remarks.extend(remarks);
        Ok(())
    }

    /// BPF programs, trampolines and dispatchers (kernel/bpf/core.c); `bpf_ksym` is there since 5.7.
    fn bpf_rows(&self, map: &mut Map) -> Result<(), ExportError> {
        let Ok(head) = self.symbol("bpf_kallsyms") else { return Ok(()) };
        let mut remarks = Vec::new();
        match self.list(head, "bpf_ksym", "lnode", "the list of BPF symbols", &mut remarks) {
            Ok(symbols) => {
                for at in symbols {
                    let name = self.offset("bpf_ksym", "name").ok();
                    let name = name.and_then(|offset| self.text(at.wrapping_add(offset), LONGEST));
                    if let (Some(name), Some(address)) = (&name, self.pointer(at, "bpf_ksym", "start")) {
                        map.row(&Row { address, kind: 't', name, module: "bpf" })?;
                    } else {
                        remarks.push(format!("the BPF symbol at {at:#x} cannot be read"));
                    }
                }
            }
            Err(why) => remarks.push(format!("no symbols of BPF programs: {why}")),
        }
        map.summary.remarks.extend(remarks);
        Ok(())
    }

    /// Pages with copies of instructions that kprobes replaced (kernel/kprobes.c).
    fn probe_rows(&self, map: &mut Map) -> Result<(), ExportError> {
        let mut remarks = Vec::new();
        for cache in ["kprobe_insn_slots", "kprobe_optinsn_slots"] {
            let place = || {
                let at = self.symbol(cache)?;
                Ok::<_, String>((at, at.wrapping_add(self.offset("kprobe_insn_cache", "pages")?)))
            };
            let Ok((at, ring)) = place() else { continue };
            let name = self.pointer(at, "kprobe_insn_cache", "sym").and_then(|name| self.text(name, LONGEST));
            let what = "the list of pages of kprobes";
            let pages = self.list(ring, "kprobe_insn_page", "list", what, &mut remarks).unwrap_or_default();
            for page in pages {
                if let (Some(name), Some(address)) = (&name, self.pointer(page, "kprobe_insn_page", "insns")) {
                    map.row(&Row { address, kind: 't', name, module: "__builtin__kprobes" })?;
                }
            }
        }
        map.summary.remarks.extend(remarks);
        Ok(())
    }
}
