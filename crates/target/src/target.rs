//! The front door: one object that answers every question about a dumped process.

use crate::crash::{self, Diagnosis};
use crate::files::Finder;
use crate::memory::{TargetMemory, module_index};
use crate::modules::{self, Module, ModuleKind};
use crate::options::Options;
use crate::stack::{self, Stack};
use afterimage_dump::{Budget, CodeAddr, Dump, Issue, Virt};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// One function at a code address: the place in the source, if debug information tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Function's name, demangled.
    pub function: Option<String>,
    /// Bytes from the start of the function's symbol (only for the outermost, not inlined, location).
    pub offset: Option<u64>,
    /// Source file as the debug information names it.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<u32>,
    /// Column in it, from 1.
    pub column: Option<u32>,
    /// Whether this function was inlined into the next location's.
    pub inlined: bool,
    /// Which table the outermost function's name comes from, as `symtab`, `pdb`, `export`; one that begins with `nearest`
    /// is only the last label before the address.
    pub source: Option<&'static str>,
}

/// A dump understood.
pub struct Target {
    finder: Arc<Finder>,
    modules: Arc<[Module]>,
    memory: TargetMemory,
    stacks: Vec<OnceLock<Stack>>,
    purse: stack::Purse,
    locations: Mutex<HashMap<CodeAddr, Arc<[Location]>>>,
    diagnosis: OnceLock<Diagnosis>,
    reported: OnceLock<stack::reported::Reported>,
    linux: OnceLock<Result<Arc<crate::linux::Linux>, String>>,
    pub(crate) kernel_lines: OnceLock<Result<crate::linux::KernelLines, String>>,
}

impl Target {
    /// Lists the modules of a dump and gets ready to answer; reads no symbols yet.
    #[must_use]
    pub fn new(dump: Dump, options: Options, budget: Budget) -> Self {
        Self::with_finder(Finder::new(Arc::new(dump), options, budget))
    }

    pub(crate) fn with_finder(finder: Finder) -> Self {
        let finder = Arc::new(finder);
        let modules: Arc<[Module]> = modules::list(&finder).into();
        let kernel = finder.dump.machine.as_ref().and_then(|machine| machine.virtual_memory.clone());
        let memory = TargetMemory::new(finder.dump.memory.clone(), modules.clone()).with_kernel(kernel);
        let stacks = finder.dump.threads.iter().map(|_| OnceLock::new()).collect();
        Self {
            finder,
            modules,
            memory,
            stacks,
            purse: stack::Purse::default(),
            locations: Mutex::default(),
            diagnosis: OnceLock::new(),
            reported: OnceLock::new(),
            linux: OnceLock::new(),
            kernel_lines: OnceLock::new(),
        }
    }

    /// The dump itself.
    #[must_use]
    pub fn dump(&self) -> &Dump {
        &self.finder.dump
    }

    /// The Linux kernel in the dump of a machine, or why there is none; looked for when it is first asked for.
    ///
    /// # Errors
    /// A sentence on what could not be found.
    pub fn linux(&self) -> Result<&crate::linux::Linux, &str> {
        self.shared_linux().map(|linux| &**linux)
    }

    pub(crate) fn shared_linux(&self) -> Result<&Arc<crate::linux::Linux>, &str> {
        let open = || crate::linux::Linux::open(self.dump()).map(Arc::new);
        self.linux.get_or_init(open).as_ref().map_err(String::as_str)
    }

    /// A sentence if the walk through the kernel's structures was ended because there were too many.
    #[must_use]
    pub fn linux_spent(&self) -> Option<String> {
        self.linux.get()?.as_ref().ok()?.spent()
    }

    /// Lets the next question read as much of the kernel's structures as any: what one may read in all is bounded, and a
    /// program that asks for days must not run out.
    pub fn refill_linux(&self) {
        if let Some(Ok(linux)) = self.linux.get() {
            linux.refill();
        }
    }

    /// Numbers of the machine's processors: those that the dump has registers of, else those that its kernel knows.
    #[must_use]
    pub fn processors(&self) -> Vec<u32> {
        let cpus = self.dump().machine.as_ref().map_or(&[][..], |machine| &machine.cpus);
        if cpus.is_empty() {
            return self.linux().map(crate::linux::Linux::present_cpus).unwrap_or_default();
        }
        cpus.iter().map(|cpu| cpu.index).collect()
    }

    /// Where files are looked for.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.finder.options
    }

    /// What may be spent.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.finder.budget
    }

    pub(crate) fn purse(&self) -> &stack::Purse {
        &self.purse
    }

    pub(crate) fn finder(&self) -> &Finder {
        &self.finder
    }

    pub(crate) fn shared_finder(&self) -> &Arc<Finder> {
        &self.finder
    }

    /// The dump's memory, and behind it the content of mapped files that agree.
    #[must_use]
    pub fn memory(&self) -> &TargetMemory {
        &self.memory
    }

    /// All modules by base address.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The module whose address range holds `at`.
    #[must_use]
    pub fn module_at(&self, at: Virt) -> Option<&Module> {
        self.module_index(at).and_then(|index| self.modules.get(index))
    }

    /// The index in [`Target::modules`] of the module whose address range holds `at`.
    #[must_use]
    pub fn module_index(&self, at: Virt) -> Option<usize> {
        module_index(&self.modules, at)
    }

    /// Remarks on files and symbols: what was not found, what did not match.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        self.finder.issues()
    }

    /// Adds a remark, once.
    #[allow(dead_code, reason = "for the layers beside this one")]
    pub(crate) fn remark(&self, issue: Issue) {
        self.finder.remark(issue);
    }

    /// Unwinds a thread without keeping the stack.
    pub(crate) fn unwind_afresh(&self, thread: usize) -> Stack {
        stack::unwind(self, thread)
    }

    /// Keeps stacks that were unwound already.
    pub(crate) fn keep_stacks(&self, stacks: Vec<(usize, Stack)>) {
        for (thread, stack) in stacks {
            if let Some(cell) = self.stacks.get(thread) {
                let _ = cell.set(stack);
            }
        }
    }

    /// Forgets all locations: there are more symbols now, and stacks will be walked anew.
    pub(crate) fn forget_locations(&self) {
        self.purse.refill();
        self.locations.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The run-time address of a global symbol (by its linker name) in the first of the modules whose name starts with
    /// `module`, as `libc.so`; only these modules' symbols are read.
    pub fn symbol_in(&self, module: &str, name: &str) -> Option<Virt> {
        let named = self.modules.iter().filter(|m| m.name().starts_with(module));
        named.filter_map(|m| symbol_of(m, name)).next()
    }

    /// The run-time address of a global symbol of the C library or, in a static program, of the program: as
    /// `__abort_msg`. No other modules are looked at.
    pub fn symbol(&self, name: &str) -> Option<Virt> {
        let libc = |m: &&Module| m.name().starts_with("libc.so") || m.name().starts_with("libc-2.");
        let musl = |m: &&Module| m.name().starts_with("ld-musl") || m.name().starts_with("libc.musl");
        let program = |m: &&Module| m.kind == ModuleKind::Program;
        let modules = self.modules.iter();
        let order = modules.clone().filter(libc).chain(modules.clone().filter(musl)).chain(modules.filter(program));
        order.filter_map(|m| symbol_of(m, name)).next()
    }

    /// The stack of the thread with this index in [`Dump::threads`]; worked out at the first call. An index that does
    /// not exist gives an empty stack.
    pub fn stack(&self, thread: usize) -> &Stack {
        static EMPTY: OnceLock<Stack> = OnceLock::new();
        match self.stacks.get(thread) {
            Some(cell) => cell.get_or_init(|| stack::unwind(self, thread)),
            None => EMPTY.get_or_init(Stack::default),
        }
    }

    /// Works out the stacks of all threads, on all cores.
    pub fn prepare_stacks(&self) {
        // First of all, for it is the one that must not go short.
        if let Some(crashed) = self.crashed_thread() {
            self.stack(crashed);
        }
        (0..self.stacks.len()).into_par_iter().for_each(|thread| {
            self.stack(thread);
        });
    }

    /// The functions at a code address, innermost (inlined) first; empty where nothing is known.
    pub fn locate(&self, address: CodeAddr) -> Arc<[Location]> {
        if let Some(known) = self.locations.lock().unwrap_or_else(PoisonError::into_inner).get(&address) {
            return known.clone();
        }
        let found = match self.module_at(address.lookup()) {
            Some(module) => modules::locate(module, address),
            None => Vec::new(),
        };
        let found: Arc<[Location]> = self.or_reported(address, found).into();
        self.locations.lock().unwrap_or_else(PoisonError::into_inner).insert(address, found.clone());
        found
    }

    /// What debug information tells of a place, or what the report states where that is more.
    fn or_reported(&self, address: CodeAddr, found: Vec<Location>) -> Vec<Location> {
        let Some(report) = &self.dump().report else { return found };
        if found.iter().any(|place| place.line.is_some()) {
            return found;
        }
        let reported = self.reported.get_or_init(|| stack::reported::places(report));
        match reported.get(&address.address().0).map(|said| &said.locations) {
            Some(places) if found.is_empty() || places.iter().any(|place| place.line.is_some()) => places.clone(),
            _ => found,
        }
    }

    /// The image that a report names for a code address, where the dump is a report; its list of images may be shorter.
    #[must_use]
    pub fn reported_image(&self, address: CodeAddr) -> Option<&str> {
        let report = self.dump().report.as_ref()?;
        let reported = self.reported.get_or_init(|| stack::reported::places(report));
        reported.get(&address.address().0)?.image.as_deref()
    }

    /// The name of the function at a code address, demangled, by the symbol tables if they know it: it costs a
    /// hundredth of [`Target::locate`], which unpacks and reads debug information.
    #[must_use]
    pub fn function_name(&self, address: CodeAddr) -> Option<String> {
        let module = self.module_at(address.lookup())?;
        Some(module.symbols().function(module.symbol_address(address.lookup()))?.name)
    }

    /// What happened and why; worked out at the first call.
    pub fn diagnosis(&self) -> &Diagnosis {
        self.diagnosis.get_or_init(|| {
            self.refill_linux();
            crash::diagnose(self)
        })
    }

    /// Index of the crashed thread in [`Dump::threads`]; `None` if nothing crashed.
    #[must_use]
    pub fn crashed_thread(&self) -> Option<usize> {
        let tid = self.dump().exception.as_ref()?.tid?;
        self.dump().threads.iter().position(|thread| thread.tid == tid)
    }
}

fn symbol_of(module: &Module, name: &str) -> Option<Virt> {
    let own = module.symbols().symbol_by_name(name)?;
    Some(Virt(own.wrapping_add(module.symbol_bias())))
}
