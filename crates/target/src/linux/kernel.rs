//! The kernel itself: found, proved, and ready to be asked by names.

use super::code::Code;
use super::find::{self, Physical};
use afterimage_dump::paging::{Layout, PageTables, Software};
use afterimage_dump::system::vmcoreinfo::value;
use afterimage_dump::{Arch, Cpu, Dump, Endian, Machine, Memory, MemoryExt, Virt};
use afterimage_symbols::kernel::{Btf, DIGITS, Kallsyms, PhysBytes};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// `__START_KERNEL_map` (arch/x86/include/asm/page_64_types.h).
const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// Longest BTF that is read.
const MAX_BTF: u64 = 64 << 20;

/// A Linux kernel in a dump.
pub struct Linux {
    /// Its symbols.
    pub symbols: Kallsyms,
    /// Its types, or why they are missing.
    pub types: Result<Arc<Btf>, String>,
    /// Its VMCOREINFO, if there is one.
    pub vmcoreinfo: Option<String>,
    /// What each thing was found by, in words.
    pub evidence: Vec<String>,
    /// `phys = virtual - this` for addresses in the kernel's image.
    pub image_offset: u64,
    /// Distance from where the kernel was linked to; `None` where that is not known.
    pub kaslr_offset: Option<u64>,
    memory: Arc<PageTables>,
    layout: Layout,
    machine: Arc<dyn afterimage_dump::PhysMemory>,
    offsets: Mutex<HashMap<String, Option<u64>>>,
    pub(super) arch: Arch,
    pub(super) cpus: Vec<Cpu>,
    pub(super) code: OnceLock<Code>,
    /// Tasks of all threads by their process's number, where rings break.
    pub(super) groups: OnceLock<HashMap<u32, Vec<u64>>>,
}

impl Linux {
    /// Finds the kernel.
    ///
    /// # Errors
    /// A sentence on what could not be found.
    pub fn open(dump: &Dump) -> Result<Self, String> {
        let machine = dump.machine.as_deref().ok_or("the dump is of a process")?;
        let mut evidence = Vec::new();
        let mut info = machine.vmcoreinfo.clone();
        let mut digits = Vec::new();
        if let Some(at) = info.as_deref().and_then(|text| tokens_place(text, dump.arch)) {
            digits = near(machine, at);
            evidence.push("VMCOREINFO of the dump leads to kallsyms".to_owned());
        }
        if digits.is_empty() {
            let places = find::scan(machine);
            info = info.or(places.vmcoreinfo);
            if let Some(at) = info.as_deref().and_then(|text| tokens_place(text, dump.arch)) {
                digits = near(machine, at);
                evidence.push("a VMCOREINFO that lies in memory leads to kallsyms".to_owned());
            }
            if digits.is_empty() {
                digits = places.digits;
                evidence.push("kallsyms was found by the digits among its tokens".to_owned());
            }
        }
        if digits.is_empty() {
            return Err(
                "no kallsyms lies in memory: neither a VMCOREINFO that leads to it nor its table of tokens".into()
            );
        }
        let mut last = String::new();
        for at in digits {
            match Kallsyms::read(&Physical(machine), at) {
                Ok(symbols) => match Self::with(machine, dump.arch, symbols, info.clone(), evidence.clone()) {
                    Ok(linux) => return Ok(linux),
                    Err(why) => last = why,
                },
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!("what looked like a kernel's symbols is none: {last}"))
    }

    fn with(
        machine: &Machine,
        arch: Arch,
        mut symbols: Kallsyms,
        info: Option<String>,
        mut evidence: Vec<String>,
    ) -> Result<Self, String> {
        let physical = machine.memory.clone();
        if symbols.physical {
            // Distances from their own places: the kernel's text is at a known virtual place, if page tables are.
            let base = info.as_deref().and_then(|text| hex(value(text, "SYMBOL(_stext)")?));
            let own = symbols.address("_stext").ok_or("kallsyms has no _stext")?;
            let base = base.ok_or("addresses are physical, and nothing says where the kernel was mapped")?;
            symbols.shift(base.wrapping_sub(own));
        }
        // kallsyms leaves its own tables out, so its place says nothing; the banner's does.
        let told = info.as_deref().and_then(|text| told_offset(text, arch));
        let offsets: Vec<u64> = told.into_iter().chain(banner_offsets(machine, &symbols)).collect();
        let text = symbols.address("_text").or_else(|| symbols.address("_stext")).ok_or("kallsyms has no _text")?;
        let root =
            ["init_top_pgt", "swapper_pg_dir", "init_level4_pgt"].into_iter().find_map(|name| symbols.address(name));
        let root = root.ok_or("kallsyms names no page tables")?;
        let layouts: Vec<Layout> = match arch {
            Arch::Aarch64 => {
                let bits = [(12, 48), (12, 39), (16, 48), (14, 47), (14, 48), (12, 52), (16, 52), (16, 42)];
                bits.into_iter().filter_map(|(page, va)| Layout::arm64(page, va)).collect()
            }
            _ => vec![Layout::x86_64(false), Layout::x86_64(true)],
        };
        let ways = offsets.iter().flat_map(|offset| layouts.iter().map(move |layout| (*offset, layout.clone())));
        let tables = ways.into_iter().find_map(|(offset, layout)| {
            let software = Software::Linux { prot_none: 8 };
            let root = root.wrapping_sub(offset);
            let tables = match arch {
                Arch::Aarch64 => PageTables::with_halves(physical.clone(), layout.clone(), None, Some(root)),
                _ => PageTables::new(physical.clone(), layout.clone(), root).with_software(software),
            };
            let right = tables.translate(Virt(text)).is_ok_and(|found| found.physical.0 == text.wrapping_sub(offset));
            right.then_some((tables, layout, offset))
        });
        let (tables, layout, image_offset) =
            tables.ok_or("no page tables lead from the kernel's text to where it lies")?;
        evidence.push(format!("{} page tables lead from _text to where it lies", layout.name()));
        let memory = Arc::new(tables);
        let types = types(&*memory, &symbols).map(Arc::new);
        let kaslr_offset = match arch {
            Arch::X86_64 => Some(text.wrapping_sub(KERNEL_MAP + (16 << 20))),
            _ => info.as_deref().and_then(|text| hex(value(text, "KERNELOFFSET")?)),
        };
        Ok(Self {
            symbols,
            types,
            vmcoreinfo: info,
            evidence,
            image_offset,
            kaslr_offset,
            memory,
            layout,
            machine: physical,
            offsets: Mutex::default(),
            arch,
            cpus: machine.cpus.clone(),
            code: OnceLock::new(),
            groups: OnceLock::new(),
        })
    }

    /// The kernel's memory.
    #[must_use]
    pub fn memory(&self) -> &PageTables {
        &self.memory
    }

    /// The memory of a process, by the virtual address of its root table.
    pub(super) fn process_memory(&self, pgd: u64) -> Option<PageTables> {
        let root = self.memory.translate(Virt(pgd)).ok()?.physical.0;
        let software = Software::Linux { prot_none: 8 };
        let tables = PageTables::with_halves(self.machine.clone(), self.layout.clone(), Some(root), None);
        Some(tables.with_software(software))
    }

    /// The address of a symbol.
    pub(super) fn symbol(&self, name: &str) -> Result<u64, String> {
        self.symbols.address(name).ok_or_else(|| format!("kallsyms has no symbol {name}"))
    }

    /// The distance of a member, from the kernel's own types.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Result<u64, String> {
        let types = self.types.as_ref().map_err(Clone::clone)?;
        let key = format!("{structure}.{path}");
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let found = *offsets.entry(key).or_insert_with(|| types.offset_of(structure, path));
        found.ok_or_else(|| format!("this kernel's struct {structure} has no member {path}"))
    }

    /// Bytes of a structure.
    pub(super) fn size(&self, structure: &str) -> Result<u64, String> {
        let types = self.types.as_ref().map_err(Clone::clone)?;
        types.size_of(structure).ok_or_else(|| format!("this kernel has no struct {structure}"))
    }

    pub(super) fn number(&self, at: u64, size: usize) -> Option<u64> {
        self.memory.read_uint(Virt(at), size, Endian::Little).ok()
    }

    pub(super) fn word(&self, at: u64) -> Option<u64> {
        self.number(at, 8)
    }

    /// A pointer member.
    pub(super) fn pointer(&self, at: u64, structure: &str, path: &str) -> Option<u64> {
        self.word(at.wrapping_add(self.offset(structure, path).ok()?))
    }

    pub(super) fn int(&self, at: u64, structure: &str, path: &str) -> Option<u64> {
        self.number(at.wrapping_add(self.offset(structure, path).ok()?), 4)
    }

    pub(super) fn text(&self, at: u64, most: usize) -> Option<String> {
        let bytes = self.memory.read_cstr(Virt(at), most).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let got = self.memory.read_upto(Virt(at), &mut bytes);
        bytes.truncate(got);
        bytes
    }

    /// The banner, as `/proc/version` shows it.
    #[must_use]
    pub fn banner(&self) -> Option<String> {
        let text = self.text(self.symbols.address("linux_banner")?, 512)?;
        text.starts_with("Linux version ").then(|| text.trim_end().to_owned())
    }

    /// The command line that the kernel was started with.
    #[must_use]
    pub fn command_line(&self) -> Option<String> {
        let at = self.word(self.symbols.address("saved_command_line")?)?;
        self.text(at, 4096).filter(|text| !text.is_empty())
    }

    /// What taints the kernel, a bit each.
    #[must_use]
    pub fn taint(&self) -> Option<u64> {
        self.word(self.symbols.address("tainted_mask")?)
    }

    /// When the machine was started, in nanoseconds since 1970 (UTC).
    #[must_use]
    pub fn boot_time_ns(&self) -> Option<i64> {
        self.clock().map(|(start, _)| start)
    }

    /// Seconds since the machine was started, by its clock.
    #[must_use]
    pub fn uptime(&self) -> Option<u64> {
        self.clock().map(|(_, uptime)| uptime)
    }

    /// The start in nanoseconds since 1970, and the seconds since.
    fn clock(&self) -> Option<(i64, u64)> {
        let core = self.symbols.address("tk_core")?;
        let real = self.offset("timekeeper", "offs_real").ok()?;
        let boot = self.offset("timekeeper", "offs_boot").ok()?;
        let seconds = self.offset("timekeeper", "xtime_sec").ok()?;
        // tk_core is {seqcount, timekeeper}, and the latter is aligned to 8.
        [8u64, 0, 16].into_iter().find_map(|skip| {
            let at = core.wrapping_add(skip);
            let (real, boot) = (self.word(at.wrapping_add(real))? as i64, self.word(at.wrapping_add(boot))? as i64);
            let now = self.word(at.wrapping_add(seconds))? as i64;
            let start = real.checked_sub(boot)?;
            let uptime = now.checked_sub(start / 1_000_000_000)?;
            ((1_000_000_000..8_000_000_000).contains(&now) && (0..1 << 31).contains(&uptime))
                .then_some((start, uptime as u64))
        })
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// Distance of the kernel's virtual addresses from physical ones, by a VMCOREINFO.
fn told_offset(text: &str, arch: Arch) -> Option<u64> {
    match arch {
        Arch::Aarch64 => {
            let offset = value(text, "NUMBER(kimage_voffset)")?;
            hex(offset).or_else(|| offset.parse().ok())
        }
        _ => Some(KERNEL_MAP.wrapping_sub(value(text, "NUMBER(phys_base)")?.parse::<i64>().ok()? as u64)),
    }
}

/// The same by the places of the banner, of which there may be copies: the right one is a multiple of 64 KiB away.
fn banner_offsets(machine: &Machine, symbols: &Kallsyms) -> Vec<u64> {
    const AROUND: u64 = 64 << 20;
    const ALIGN: u64 = 64 << 10;
    let Some(banner) = symbols.address("linux_banner") else { return Vec::new() };
    let from = symbols.tokens_at.saturating_sub(AROUND);
    let mut offsets = Vec::new();
    let mut block = vec![0; (1 << 20) + 16];
    let mut at = from;
    while at < symbols.tokens_at + AROUND {
        let got = Physical(machine).read(at, &mut block);
        for hit in memchr::memmem::find_iter(block.get(..got).unwrap_or_default(), b"Linux version ") {
            let offset = banner.wrapping_sub(at + hit as u64);
            if offset.is_multiple_of(ALIGN) && !offsets.contains(&offset) {
                offsets.push(offset);
            }
        }
        at += 1 << 20;
    }
    offsets
}

/// Physical place of the table of tokens by a VMCOREINFO.
fn tokens_place(text: &str, arch: Arch) -> Option<u64> {
    let table = hex(value(text, "SYMBOL(kallsyms_token_table)")?)?;
    let signed = |key| value(text, key)?.parse::<i64>().ok();
    match arch {
        Arch::Aarch64 => {
            let offset = value(text, "NUMBER(kimage_voffset)")?;
            Some(table.wrapping_sub(hex(offset).or_else(|| offset.parse().ok())?))
        }
        _ => Some(table.wrapping_sub(KERNEL_MAP).wrapping_add(signed("NUMBER(phys_base)")? as u64)),
    }
}

/// The digits in the table of tokens at this place.
fn near(machine: &Machine, at: u64) -> Vec<u64> {
    let mut bytes = vec![0; 4096];
    let got = Physical(machine).read(at, &mut bytes);
    let bytes = bytes.get(..got).unwrap_or_default();
    memchr::memmem::find(bytes, DIGITS).map(|offset| at + offset as u64).into_iter().collect()
}

fn types(memory: &dyn Memory<Virt>, symbols: &Kallsyms) -> Result<Btf, String> {
    let (Some(start), Some(stop)) = (symbols.address("__start_BTF"), symbols.address("__stop_BTF")) else {
        return Err("this kernel was built without types (CONFIG_DEBUG_INFO_BTF)".into());
    };
    let len = stop.wrapping_sub(start);
    if len > MAX_BTF {
        return Err("the kernel's types are larger than any".into());
    }
    let mut bytes = vec![0; len as usize];
    memory
        .read_exact(Virt(start), &mut bytes)
        .map_err(|fault| format!("the kernel's types cannot be read: {fault}"))?;
    Btf::parse(&bytes).ok_or_else(|| "the kernel's types (BTF) are damaged".into())
}
