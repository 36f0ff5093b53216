//! Interrupts and how often each processor took them, as `/proc/interrupts` shows them.
//!
//! Lines of devices are `irq_desc`s in a tree: a radix tree (`irq_desc_tree`) until 6.4, a maple tree (`sparse_irqs`) since.
//! The processor's own (timer, calls between processors) are counters of the architecture: on x86 a member for each, since
//! 7.2 an array with a table that names them; on arm64 calls between processors are lines, too, which the kernel hides
//! behind names of their own (`IPI0`).
//!
//! *Trap*: after a panic only one processor is on any more. The counts are of all that the machine has.

use crate::linux::Linux;
use crate::linux::walk::tell;
use afterimage_dump::Arch;

/// Interrupts at most (`IRQ_BITMAP_BITS`).
const MOST: usize = 1 << 20;
/// Handlers of one interrupt at most.
const MOST_HANDLERS: usize = 256;

/// One interrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Number, or the name of a processor's own, as `LOC`.
    pub irq: String,
    /// How often each processor took it, in the order of [`Linux::present`]; one number where that is not counted by
    /// processors.
    pub counts: Vec<Option<u64>>,
    /// How often it was taken in all.
    pub total: Result<u64, &'static str>,
    /// What it is reached through, as `IO-APIC`.
    pub chip: Result<String, &'static str>,
    /// Its number there.
    pub hwirq: Result<u64, &'static str>,
    /// How it is handled, as `edge`.
    pub flow: Result<String, &'static str>,
    /// Names of its handlers; of a processor's own what it is for.
    pub handlers: Vec<String>,
    /// Functions of its handlers.
    pub functions: Vec<String>,
    /// Address of its `irq_desc`.
    pub address: Result<u64, &'static str>,
}

/// The processor's own on x86: name, member of `irq_cpustat_t`, meaning (arch/x86/kernel/irq.c).
const OWN: &[(&str, &str, &str)] = &[
    ("NMI", "__nmi_count", "Non-maskable interrupts"),
    ("LOC", "apic_timer_irqs", "Local timer interrupts"),
    ("SPU", "irq_spurious_count", "Spurious interrupts"),
    ("PMI", "apic_perf_irqs", "Performance monitoring interrupts"),
    ("IWI", "apic_irq_work_irqs", "IRQ work interrupts"),
    ("RTR", "icr_read_retry_count", "APIC ICR read retries"),
    ("PLT", "x86_platform_ipis", "Platform interrupts"),
    ("RES", "irq_resched_count", "Rescheduling interrupts"),
    ("CAL", "irq_call_count", "Function call interrupts"),
    ("TLB", "irq_tlb_count", "TLB shootdowns"),
    ("TRM", "irq_thermal_count", "Thermal event interrupts"),
    ("THR", "irq_threshold_count", "Threshold APIC interrupts"),
    ("DFR", "irq_deferred_error_count", "Deferred Error APIC interrupts"),
    ("HYP", "irq_hv_callback_count", "Hypervisor callback interrupts"),
    ("HRE", "irq_hv_reenlightenment_count", "Hyper-V reenlightenment interrupts"),
    ("HVS", "hyperv_stimer0_count", "Hyper-V stimer0 interrupts"),
    ("PIN", "kvm_posted_intr_ipis", "Posted-interrupt notification event"),
    ("NPI", "kvm_posted_intr_nested_ipis", "Nested posted-interrupt event"),
    ("PIW", "kvm_posted_intr_wakeup_ipis", "Posted-interrupt wakeup event"),
    ("PMN", "posted_msi_notification_count", "Posted MSI notification event"),
];

/// The same in per-CPU variables of their own.
const VARIABLES: &[(&str, &str, &str)] =
    &[("MCE", "mce_exception_count", "Machine check exceptions"), ("MCP", "mce_poll_count", "Machine check polls")];

/// Kinds of the processor's own at most.
const MOST_OWN: u64 = 256;

const NOT_A_LINE: &str = "it is the processor's own";
const NOT_HERE: &str = "its irq_desc is not in the dump";

impl Linux {
    /// The interrupts that have a handler or were taken, and those of the processors themselves; and what was wrong on the
    /// way. The counts stand in the order of the processors that the machine has.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn interrupts(&self) -> Result<(Vec<Interrupt>, Vec<String>), String> {
        for member in ["action", "kstat_irqs", "irq_data"] {
            self.offset("irq_desc", member)?;
        }
        let mut remarks = Vec::new();
        let cpus = self.present_cpus();
        let mut found = Vec::new();
        for (number, desc) in self.irq_descs(&mut remarks)? {
            let own = self.int(desc, "irq_desc", "irq_data.irq");
            if own != Some(number) {
                tell(&mut remarks, || format!("interrupt {number}: {NOT_HERE}"));
                continue;
            }
            // One that only leads to others (a controller behind it) is none of its own.
            let action = self.pointer(desc, "irq_desc", "action");
            if action.is_some() && action == self.symbols.address("chained_action") {
                continue;
            }
            let mut interrupt = self.interrupt(number, desc, &cpus, &mut remarks);
            self.name_call(number, &mut interrupt);
            // One that was never asked for and never came is a place in the table.
            if !interrupt.handlers.is_empty() || interrupt.total != Ok(0) {
                found.push(interrupt);
            }
        }
        self.own_interrupts(&cpus, &mut found, &mut remarks);
        Ok((found, remarks))
    }

    /// Numbers of the processors that the machine has, in the order of an interrupt's counts.
    #[must_use]
    pub fn present(&self) -> Vec<u32> {
        self.present_cpus()
    }

    /// Numbers and addresses of the `irq_desc`s.
    fn irq_descs(&self, remarks: &mut Vec<String>) -> Result<Vec<(u64, u64)>, String> {
        let mut descs = if let Some(tree) = self.symbols.address("sparse_irqs") {
            let mut broken = Vec::new();
            let root = tree.wrapping_add(self.offset("maple_tree", "ma_root")?);
            let entries = self.maple(root, &mut |how| broken.push(how));
            if let Some(how) = broken.first() {
                remarks.push(format!("the tree of interrupts is not whole ({how:?})"));
            }
            entries.into_iter().map(|(first, _, desc)| (first, desc)).collect()
        } else if let Some(tree) = self.symbols.address("irq_desc_tree") {
            // A radix tree's root is an xarray since 4.20.
            let head = self.word(tree.wrapping_add(self.offset("xarray", "xa_head")?));
            self.xarray(head.ok_or("the tree of interrupts is not in the dump")?)?
        } else {
            // Without CONFIG_SPARSE_IRQ they are an array.
            let (table, each) = (self.symbol("irq_desc")?, self.size("irq_desc")?);
            let count = self.number(self.symbol("nr_irqs")?, 4).ok_or("the number of interrupts is not in the dump")?;
            (0..count.min(MOST as u64)).map(|irq| (irq, table.wrapping_add(irq.wrapping_mul(each)))).collect()
        };
        descs.truncate(MOST);
        Ok(descs)
    }

    fn interrupt(&self, number: u64, desc: u64, cpus: &[u32], remarks: &mut Vec<String>) -> Interrupt {
        let place = self.pointer(desc, "irq_desc", "kstat_irqs");
        // A structure around the number since 6.10.
        let inside = self.offset("irqstat", "cnt").unwrap_or(0);
        let count = |cpu: &u32| match place {
            Some(0) => Some(0),
            Some(place) => self.number(self.per_cpu(*cpu, place)?.wrapping_add(inside), 4),
            None => None,
        };
        let counts: Vec<Option<u64>> = cpus.iter().map(count).collect();
        let total = counts.iter().copied().sum::<Option<u64>>().ok_or("a processor's count is not in the dump");
        let chip = self.pointer(desc, "irq_desc", "irq_data.chip").ok_or(NOT_HERE);
        let chip = chip.and_then(|chip| match chip {
            0 => Err("it has no chip"),
            chip => {
                let name = self.pointer(chip, "irq_chip", "name").filter(|name| *name != 0);
                let name = name.and_then(|name| self.text(name, 64));
                name.or_else(|| self.generic_controller(chip, desc)).ok_or("its chip has no name in the dump")
            }
        });
        let domain = self.pointer(desc, "irq_desc", "irq_data.domain").ok_or(NOT_HERE);
        let hwirq = domain.and_then(|domain| match domain {
            0 => Err("it belongs to no domain"),
            _ => self.pointer(desc, "irq_desc", "irq_data.hwirq").ok_or(NOT_HERE),
        });
        let flow = self.pointer(desc, "irq_desc", "name").ok_or(NOT_HERE);
        let flow = flow.and_then(|name| match name {
            // arm64 tells the kind of signal instead (CONFIG_GENERIC_IRQ_SHOW_LEVEL).
            0 => self.signal(desc).map(str::to_owned).ok_or("it has no name for how it is handled"),
            name => self.text(name, 64).ok_or("that name is not in the dump"),
        });
        let (mut handlers, mut functions) = (Vec::new(), Vec::new());
        let mut action = self.pointer(desc, "irq_desc", "action").unwrap_or(0);
        while action != 0 {
            let name = self.pointer(action, "irqaction", "name").filter(|name| *name != 0);
            let handler = self.pointer(action, "irqaction", "handler");
            let (Some(handler), true) = (handler, handlers.len() < MOST_HANDLERS) else {
                tell(remarks, || format!("interrupt {number}: its chain of handlers breaks at {action:#x}"));
                break;
            };
            handlers.push(name.and_then(|name| self.text(name, 128)).unwrap_or_else(|| "?".to_owned()));
            functions.push(self.named_place(handler));
            // What runs in a thread of its own is what a reader wants to see.
            if let Some(thread) = self.pointer(action, "irqaction", "thread_fn").filter(|thread| *thread != 0) {
                functions.push(self.named_place(thread));
            }
            action = self.pointer(action, "irqaction", "next").unwrap_or(0);
        }
        Interrupt { irq: number.to_string(), counts, total, chip, hwirq, flow, handlers, functions, address: Ok(desc) }
    }

    /// Gives an interrupt by which arm64 processors call each other the name that the kernel shows it by.
    fn name_call(&self, number: u64, interrupt: &mut Interrupt) {
        let first = self.symbols.address("ipi_irq_base").and_then(|at| self.number(at, 4)).filter(|first| *first != 0);
        let count = self.symbols.address("nr_ipi").and_then(|at| self.number(at, 4)).unwrap_or(0).min(64);
        let Some(call) = first.and_then(|first| number.checked_sub(first)).filter(|call| *call < count) else { return };
        interrupt.irq = format!("IPI{call}");
        let names = self.symbols.address("ipi_types");
        let name = names.and_then(|names| self.word(names.wrapping_add(8 * call))).filter(|name| *name != 0);
        if let Some(name) = name.and_then(|name| self.text(name, 64)) {
            interrupt.handlers = vec![name];
        }
    }

    /// The name of arm's generic interrupt controller (GICv2), which it makes up when it is shown.
    fn generic_controller(&self, chip: u64, desc: u64) -> Option<String> {
        let shown = self.pointer(chip, "irq_chip", "irq_print_chip").filter(|at| *at != 0)?;
        if self.function_at(shown)?.0 != "gic_irq_print_chip" {
            return None;
        }
        // They are an array; machines with more than one are rare.
        let own = self.pointer(desc, "irq_desc", "irq_data.chip_data")?;
        let first = self.symbols.find(own).is_some_and(|(symbol, distance)| symbol.name == "gic_data" && distance == 0);
        Some(if first { "GIC-0" } else { "GIC" }.to_owned())
    }

    /// Whether arm64's line tells by its level or by its edge.
    fn signal(&self, desc: u64) -> Option<&'static str> {
        const LEVEL: u64 = 1 << 13;
        if self.arch != Arch::Aarch64 {
            return None;
        }
        let common = self.pointer(desc, "irq_desc", "irq_data.common").filter(|common| *common != 0)?;
        let state = self.int(common, "irq_common_data", "state_use_accessors")?;
        let level = self.enumerator("IRQD_LEVEL").map_or(LEVEL, |level| level as u64);
        Some(if state & level != 0 { "Level" } else { "Edge" })
    }

    /// A function's name, or its address where there is none.
    pub(super) fn named_place(&self, address: u64) -> String {
        match self.function_at(address) {
            Some((name, 0)) => name,
            Some((name, offset)) => format!("{name}+{offset:#x}"),
            None => format!("{address:#x}"),
        }
    }

    fn own_interrupts(&self, cpus: &[u32], found: &mut Vec<Interrupt>, remarks: &mut Vec<String>) {
        let before = found.len();
        let mut add = |name: &str, meaning: &str, counts: Vec<Option<u64>>| {
            let total = counts.iter().copied().sum::<Option<u64>>();
            found.push(Interrupt {
                irq: name.to_owned(),
                total: total.ok_or("a processor's count is not in the dump"),
                counts,
                chip: Err(NOT_A_LINE),
                hwirq: Err(NOT_A_LINE),
                flow: Err(NOT_A_LINE),
                handlers: vec![meaning.to_owned()],
                functions: Vec::new(),
                address: Err(NOT_A_LINE),
            });
        };
        let each = |place: u64| -> Vec<Option<u64>> {
            cpus.iter().map(|cpu| self.number(self.per_cpu(*cpu, place)?, 4)).collect()
        };
        let mut unnamed = 0;
        if let Some(own) = self.symbols.address("irq_stat") {
            for (name, member, meaning) in OWN {
                let Ok(offset) = self.offset("irq_cpustat_t", member) else { continue };
                add(name, meaning, each(own.wrapping_add(offset)));
            }
            for index in 0..self.elements("irq_cpustat_t", "counts").unwrap_or(0).min(MOST_OWN) {
                let Ok(offset) = self.offset("irq_cpustat_t", "counts") else { break };
                let counts = each(own.wrapping_add(offset + 4 * index));
                match self.own_name(index) {
                    // What this machine does not have is hidden until it comes.
                    Some((_, _, true)) if counts.iter().all(|count| *count == Some(0)) => {}
                    Some((name, meaning, _)) => add(&name, &meaning, counts),
                    None => unnamed += 1,
                }
            }
        }
        for (name, variable, meaning) in VARIABLES {
            if let Some(place) = self.symbols.address(variable) {
                add(name, meaning, each(place));
            }
        }
        let spurious = if self.arch == Arch::Aarch64 { "Err" } else { "ERR" };
        for (name, variable, meaning) in
            [(spurious, "irq_err_count", "Spurious interrupts"), ("MIS", "irq_mis_count", "Missed by the IO-APIC")]
        {
            if let Some(at) = self.symbols.address(variable) {
                add(name, meaning, vec![self.number(at, 4)]);
            }
        }
        if unnamed > 0 {
            remarks.push(format!("the names of {unnamed} kinds of the processors' own interrupts are not in the dump"));
        } else if self.arch == Arch::X86_64 && !found.iter().skip(before).any(|own| own.irq == "LOC") {
            let why = "this kernel counts them in a way that is not known";
            remarks.push(format!("the processors' own interrupts (LOC, RES, CAL …) are missing: {why}"));
        }
    }

    /// Name and meaning of a processor's own interrupt by its number, and whether the kernel hides it.
    fn own_name(&self, index: u64) -> Option<(String, String, bool)> {
        let each = self.size("irq_stat_info").ok()?;
        let at = self.symbols.address("irq_stat_info")?.wrapping_add(index.wrapping_mul(each));
        let text = |member: &str| {
            let text = self.pointer(at, "irq_stat_info", member).filter(|text| *text != 0)?;
            Some(self.text(text, 128)?.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let vector = self.value(at, "irq_stat_info", "skip_vector")?;
        let name = text("symbol")?;
        let hidden = match vector {
            // As before there was a table of them, one is told only where something may cause it.
            0 => {
                name == "PLT"
                    && self.symbols.address("x86_platform_ipi_callback").and_then(|at| self.word(at)) == Some(0)
            }
            // Told where the machine has a handler for it; above all vectors stands what is told once it has happened.
            vector => !self.is_system_vector(vector),
        };
        Some((name, text("text")?, hidden))
    }

    fn is_system_vector(&self, vector: u64) -> bool {
        const VECTORS: u64 = 256;
        let bits = self.symbols.address("system_vectors").filter(|_| vector < VECTORS);
        bits.and_then(|bits| self.number(bits.wrapping_add(vector / 8), 1))
            .is_some_and(|bits| bits >> (vector % 8) & 1 == 1)
    }
}
