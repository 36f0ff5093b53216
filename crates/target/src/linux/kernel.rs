//! The kernel itself: found, proved, and ready to be asked by names.

use super::choose;
use super::code::Code;
use super::place::{self, KERNEL_MAP, hex};
use super::rescue;
use afterimage_dump::paging::{Layout, PageTables, Software};
use afterimage_dump::system::vmcoreinfo::{self, value};
use afterimage_dump::{Arch, Cpu, Dump, Endian, Machine, Memory, MemoryExt, Virt};
use afterimage_symbols::kernel::{Btf, Kallsyms, Member};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
    /// Other kernels that lie in the same memory: a crash kernel, one that was there before, one of a virtual machine.
    pub others: Vec<String>,
    /// `phys = virtual - this` for addresses in the kernel's image.
    pub image_offset: u64,
    /// Distance from where the kernel was linked to; `None` where that is not known.
    pub kaslr_offset: Option<u64>,
    memory: Arc<PageTables>,
    layout: Layout,
    machine: Arc<dyn afterimage_dump::PhysMemory>,
    members: Mutex<HashMap<String, Option<Member>>>,
    enumerators: Mutex<HashMap<String, Option<i64>>>,
    pub(crate) arch: Arch,
    pub(super) cpus: Vec<Cpu>,
    pub(super) code: OnceLock<Code>,
    /// Where the array of all pages begins.
    pub(super) vmemmap: OnceLock<Result<u64, String>>,
    /// What may still be read, and whether more was wanted.
    pub(super) purse: super::purse::Purse,
    /// Tasks of all threads by their process's number, where rings break.
    pub(super) groups: OnceLock<HashMap<u32, Vec<u64>>>,
    /// Files that several processes have mapped.
    pub(super) shared: super::cache::Shared,
}

impl Linux {
    /// Finds the kernel.
    ///
    /// # Errors
    /// A sentence on what could not be found.
    pub fn open(dump: &Dump) -> Result<Self, String> {
        let machine = dump.machine.as_deref().ok_or("the dump is of a process")?;
        if !matches!(dump.arch, Arch::X86_64 | Arch::Aarch64 | Arch::Other(_)) {
            return Err(format!("a kernel for {} is not understood, only those for x86-64 and arm64 are", dump.arch));
        }
        choose::choose(machine, dump.arch)
    }

    /// The kernel of these symbols, if page tables prove it; `infos` are the VMCOREINFO that may be its own. Unless the
    /// search is `deep`, only roots that something names are tried.
    pub(super) fn prove(
        machine: &Machine,
        arch: Arch,
        mut symbols: Kallsyms,
        infos: &[&str],
        mut evidence: Vec<String>,
        deep: bool,
    ) -> Result<Self, String> {
        let arch = place::arch_of(arch, &symbols);
        let info = infos.iter().copied().find(|text| place::is_of(text, &symbols, arch));
        let place::Place { tables, layout, offset: image_offset, evidence: way } =
            place::place(machine, arch, &mut symbols, info, deep)?;
        evidence.push(way);
        // What leads elsewhere is of another kernel.
        let info = info.filter(|text| place::told_offset(text, arch).is_none_or(|told| told == image_offset));
        let memory = Arc::new(tables);
        rescue::names(machine, &mut symbols, info, image_offset, &mut evidence);
        if symbols.lost > 0 {
            evidence.push(format!("{} of its symbols are lost: their names are damaged", symbols.lost));
        }
        let types = types(&*memory, &symbols, &mut evidence);
        let types = types.or_else(|why| rescue::types(machine, &symbols, &mut evidence).ok_or(why));
        if let Ok(types) = &types {
            rescue::per_cpu(&mut symbols, types, &mut evidence);
        }
        let types = types.map(Arc::new);
        let info = info.map(str::to_owned).or_else(|| own_info(&memory, &symbols));
        let kaslr_offset = match arch {
            Arch::X86_64 => symbols.address("_text").map(|text| text.wrapping_sub(KERNEL_MAP + (16 << 20))),
            _ => info.as_deref().and_then(|text| hex(value(text, "KERNELOFFSET")?)),
        };
        Ok(Self {
            symbols,
            types,
            vmcoreinfo: info,
            evidence,
            others: Vec::new(),
            image_offset,
            kaslr_offset,
            memory,
            layout,
            machine: machine.memory.clone(),
            members: Mutex::default(),
            enumerators: Mutex::default(),
            arch,
            cpus: machine.cpus.clone(),
            code: OnceLock::new(),
            vmemmap: OnceLock::new(),
            purse: super::purse::Purse::new(machine),
            groups: OnceLock::new(),
            shared: super::cache::Shared::default(),
        })
    }

    /// The shape of its page tables.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The kernel's memory.
    #[must_use]
    pub fn memory(&self) -> &PageTables {
        &self.memory
    }

    /// A sentence if the walk through its structures was ended because there were too many.
    pub(crate) fn spent(&self) -> Option<String> {
        self.purse.spent()
    }

    /// Lets the next question read as much as this one might.
    pub(crate) fn refill(&self) {
        self.purse.refill();
    }

    /// The machine's physical memory.
    pub(super) fn machine(&self) -> &dyn afterimage_dump::PhysMemory {
        &*self.machine
    }

    /// The memory of a process, by the virtual address of its root table.
    pub(super) fn process_memory(&self, pgd: u64) -> Option<PageTables> {
        let root = self.memory.translate(Virt(pgd)).ok()?.physical;
        // Which bit marks a page without any access has changed on arm64.
        let recent = || self.version().is_some_and(|version| version >= (6, 12));
        let prot_none = match self.arch {
            Arch::Aarch64 if recent() => 11,
            Arch::Aarch64 => 58,
            _ => 8,
        };
        let tables = PageTables::with_roots(self.machine.clone(), self.layout.clone(), Some(root), None);
        Some(tables.with_software(Software::Linux { prot_none }))
    }

    /// Where its types begin, and their bytes.
    pub(super) fn btf_place(&self) -> Option<(u64, u64)> {
        types_place(&self.symbols)
    }

    /// The address of a symbol.
    pub(super) fn symbol(&self, name: &str) -> Result<u64, String> {
        self.symbols.address(name).ok_or_else(|| format!("kallsyms has no symbol {name}"))
    }

    /// The distance of a member, from the kernel's own types.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Result<u64, String> {
        self.types.as_ref().map_err(Clone::clone)?;
        let found = self.member(structure, path).map(Member::offset);
        found.ok_or_else(|| format!("this kernel's struct {structure} has no member {path}"))
    }

    /// A member of a structure, from the kernel's own types; each is looked for once.
    pub(super) fn member(&self, structure: &str, path: &str) -> Option<Member> {
        let types = self.types.as_ref().ok()?;
        let key = format!("{structure}.{path}");
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        *members.entry(key).or_insert_with(|| types.member(types.structure(structure)?, path))
    }

    /// Bytes of a structure.
    pub(super) fn size(&self, structure: &str) -> Result<u64, String> {
        let types = self.types.as_ref().map_err(Clone::clone)?;
        types.size_of(structure).ok_or_else(|| format!("this kernel has no struct {structure}"))
    }

    /// How many of a structure the memory has room for; no list of them is longer.
    pub(super) fn room(&self, structure: &str) -> usize {
        self.purse.room(self.size(structure).unwrap_or(1))
    }

    /// The value of an enumerator, from the kernel's own types.
    pub(super) fn enumerator(&self, name: &str) -> Option<i64> {
        let types = self.types.as_ref().ok()?;
        let mut known = self.enumerators.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(name.to_owned()).or_insert_with(|| types.enumerator(name))
    }

    /// Whether an address lies in the kernel's image, as far as that is known: some kernels do not name its end.
    pub(super) fn in_image(&self, address: u64) -> bool {
        const LONGEST: u64 = 256 << 20;
        let start = self.symbols.address("_text").or_else(|| self.symbols.address("_stext"));
        let end = self.symbols.address("_end");
        start.is_some_and(|start| (start..end.unwrap_or(start.saturating_add(LONGEST))).contains(&address))
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_bytes(&self) -> u64 {
        self.layout.page_bytes()
    }

    pub(super) fn number(&self, at: u64, size: usize) -> Option<u64> {
        self.purse.spend(1).then_some(())?;
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
        self.purse.spend(1).then_some(())?;
        let bytes = self.memory.read_cstr(Virt(at), most).ok()?;
        self.purse.spend_bytes(bytes.len()).then_some(())?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        if !self.purse.spend_bytes(len) {
            return Vec::new();
        }
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

    /// The first two numbers of its version, for the few things that no type tells.
    pub(super) fn version(&self) -> Option<(u32, u32)> {
        let banner = self.banner()?;
        let mut numbers = banner.strip_prefix("Linux version ")?.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor: String = numbers.next()?.chars().take_while(char::is_ascii_digit).collect();
        Some((major, minor.parse().ok()?))
    }

    /// The machine's name, as `uname -n` shows it; `None` where it was never given one.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        self.uts("nodename").filter(|name| name != "(none)")
    }

    /// The kernel's release, as `uname -r` shows it.
    #[must_use]
    pub fn release(&self) -> Option<String> {
        self.uts("release")
    }

    /// The kernel's build, as `uname -v` shows it.
    #[must_use]
    pub fn build(&self) -> Option<String> {
        self.uts("version").or_else(|| {
            // The banner has it behind the compiler.
            let banner = self.banner()?;
            banner.find(" #").map(|at| banner.get(at + 1..).unwrap_or_default().to_owned())
        })
    }

    fn uts(&self, member: &str) -> Option<String> {
        const LONGEST: usize = 65;
        let at = self.symbols.address("init_uts_ns")?.wrapping_add(self.offset("uts_namespace", "name").ok()?);
        let text = self.text(at.wrapping_add(self.offset("new_utsname", member).ok()?), LONGEST)?;
        Some(text).filter(|text| !text.is_empty())
    }

    /// The command line that the kernel was started with.
    #[must_use]
    pub fn command_line(&self) -> Option<String> {
        let kept = || self.text(self.word(self.symbols.address("saved_command_line")?)?, 4096);
        // A kernel without names of its data has told it in its log.
        let logged = || {
            let log = self.log().ok()?;
            log.iter().find_map(|line| line.text.strip_prefix("Kernel command line: ").map(str::to_owned))
        };
        kept().filter(|text| !text.is_empty()).or_else(logged)
    }

    /// What taints the kernel, a bit each.
    #[must_use]
    pub fn taint(&self) -> Option<u64> {
        self.word(self.symbols.address("tainted_mask")?)
    }

    /// Pages that the kernel had to give away; 64 bits since 5.0, and before.
    pub(super) fn pages(&self) -> Option<u64> {
        let at = self.symbols.address("_totalram_pages").or_else(|| self.symbols.address("totalram_pages"))?;
        self.word(at)
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
        self.timekeepers().find_map(|(_, clock)| clock).or_else(|| self.clock_of_timers())
    }

    /// The same without a name that leads to the timekeeper: the timers of high resolution have its distances too, and the
    /// scheduler counts from the start on.
    fn clock_of_timers(&self) -> Option<(i64, u64)> {
        let cpu = self.online_cpus().into_iter().next()?;
        let bases = self.per_cpu(cpu, self.symbols.address("hrtimer_bases")?)?;
        let first = bases.wrapping_add(self.offset("hrtimer_cpu_base", "clock_base").ok()?);
        let (each, member) = (self.size("hrtimer_clock_base").ok()?, self.offset("hrtimer_clock_base", "offset").ok()?);
        let distance = |name| {
            let index = u64::try_from(self.enumerator(name)?).ok()?;
            self.word(first.wrapping_add(index.wrapping_mul(each)).wrapping_add(member)).map(|value| value as i64)
        };
        let start = distance("HRTIMER_BASE_REALTIME")?.checked_sub(distance("HRTIMER_BASE_BOOTTIME")?)?;
        let uptime = self.scheduler_clock()? / 1_000_000_000;
        let sane = (1_000_000_000..8_000_000_000).contains(&(start / 1_000_000_000));
        sane.then_some((start, uptime))
    }

    /// Address of the `timekeeper`.
    pub(super) fn timekeeper(&self) -> Option<u64> {
        self.timekeepers().find_map(|(at, clock)| clock.map(|_| at))
    }

    /// Places where a timekeeper may stand, with what each says if it makes sense.
    fn timekeepers(&self) -> impl Iterator<Item = (u64, Option<(i64, u64)>)> {
        // Since 6.17 the first of several.
        let core = self.symbols.address("tk_core").or_else(|| self.symbols.address("timekeeper_data"));
        // A structure with a name since 6.13; before, {seqcount, timekeeper}, and the latter is aligned to 8.
        let named = self.offset("tk_data", "timekeeper").ok();
        let skips = named.into_iter().chain([8u64, 0, 16]);
        let places = core.into_iter().flat_map(move |core| skips.clone().map(move |skip| core.wrapping_add(skip)));
        places.map(|at| (at, self.clock_at(at)))
    }

    fn clock_at(&self, at: u64) -> Option<(i64, u64)> {
        let word = |member| self.pointer(at, "timekeeper", member).map(|value| value as i64);
        let (real, boot, now) = (word("offs_real")?, word("offs_boot")?, word("xtime_sec")?);
        let start = real.checked_sub(boot)?;
        let uptime = now.checked_sub(start / 1_000_000_000)?;
        // A machine without a clock of its own begins in 1970. Then the time since its start, which stands there once
        // more, has to agree.
        let agrees = || {
            let since = word("ktime_sec").and_then(|since| since.checked_sub(uptime));
            now > 0 && since.is_some_and(|apart| (-1..=1).contains(&apart))
        };
        let sane = (1_000_000_000..8_000_000_000).contains(&now) || (0..1_000_000_000).contains(&now) && agrees();
        (sane && (0..1 << 31).contains(&uptime)).then_some((start, uptime as u64))
    }
}

/// The VMCOREINFO that a kernel keeps for the day of its crash.
fn own_info(memory: &PageTables, symbols: &Kallsyms) -> Option<String> {
    let note = memory.read_uint(Virt(symbols.address("vmcoreinfo_note")?), 8, Endian::Little).ok()?;
    let mut page = vec![0; 4096];
    let got = memory.read_upto(Virt(note), &mut page);
    vmcoreinfo::in_page(page.get(..got)?)
}

/// Where a kernel's types begin, and their bytes; before 5.7 the linker named the section by the file that it came from.
fn types_place(symbols: &Kallsyms) -> Option<(u64, u64)> {
    let names = [("__start_BTF", "__stop_BTF"), ("_binary__btf_vmlinux_bin_start", "_binary__btf_vmlinux_bin_end")];
    names.into_iter().find_map(|(start, stop)| {
        let start = symbols.address(start)?;
        Some((start, symbols.address(stop)?.wrapping_sub(start)))
    })
}

fn types(memory: &dyn Memory<Virt>, symbols: &Kallsyms, evidence: &mut Vec<String>) -> Result<Btf, String> {
    const PAGE: u64 = 4096;
    let Some((start, len)) = types_place(symbols) else {
        return Err("this kernel was built without types (CONFIG_DEBUG_INFO_BTF)".into());
    };
    if len > MAX_BTF {
        return Err("the kernel's types are larger than any".into());
    }
    let mut bytes = vec![0; len as usize];
    // Pages that are not there stay zeros, which are no types; strings may be missing.
    let mut at = 0;
    let mut missing = None;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let place = start.wrapping_add(at as u64);
        match memory.read_at(Virt(place), rest) {
            Ok(got) if got > 0 => at += got,
            Ok(_) => break,
            Err(fault) => {
                missing.get_or_insert(fault);
                at += (PAGE - place % PAGE) as usize;
            }
        }
    }
    if let Some(whole) = missing.is_none().then(|| Btf::parse(&bytes)).flatten() {
        return Ok(whole);
    }
    let why = missing.map_or_else(|| "damaged".to_owned(), |fault| format!("not whole: {fault}"));
    let front = Btf::parse_front(&bytes).ok_or_else(|| format!("the kernel's types (BTF) are {why}"))?;
    evidence.push(format!("the kernel's types are {why}; the {} before that are used", front.len()));
    Ok(front)
}
