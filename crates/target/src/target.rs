//! The front door: one object that answers every question about a dumped process.

use crate::crash::{self, Diagnosis};
use crate::memory::TargetMemory;
use crate::modules::{self, Module};
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
}

/// A dump understood.
pub struct Target {
    dump: Dump,
    options: Options,
    budget: Budget,
    modules: Vec<Module>,
    memory: TargetMemory,
    issues: Mutex<Vec<Issue>>,
    stacks: Vec<OnceLock<Stack>>,
    locations: Mutex<HashMap<CodeAddr, Arc<[Location]>>>,
    diagnosis: OnceLock<Diagnosis>,
}

impl Target {
    /// Lists the modules of a dump and gets ready to answer; reads no symbols yet.
    #[must_use]
    pub fn new(dump: Dump, options: Options, budget: Budget) -> Self {
        let mut issues = Vec::new();
        let modules = modules::list(&dump, &options, &budget, &mut issues);
        let memory = TargetMemory::new(dump.memory.clone(), &modules);
        let stacks = dump.threads.iter().map(|_| OnceLock::new()).collect();
        Self {
            dump,
            options,
            budget,
            modules,
            memory,
            issues: Mutex::new(issues),
            stacks,
            locations: Mutex::default(),
            diagnosis: OnceLock::new(),
        }
    }

    /// The dump itself.
    #[must_use]
    pub fn dump(&self) -> &Dump {
        &self.dump
    }

    /// Where files are looked for.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What may be spent.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The dump's memory, and behind it the content of mapped files that match by build-id.
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
        let next = self.modules.partition_point(|module| module.base <= at);
        self.modules.get(next.checked_sub(1)?).filter(|module| at < module.end)
    }

    /// Remarks on files and symbols: what was not found, what did not match.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        self.issues.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a remark, once.
    pub(crate) fn remark(&self, issue: Issue) {
        let mut issues = self.issues.lock().unwrap_or_else(PoisonError::into_inner);
        if !issues.contains(&issue) {
            issues.push(issue);
        }
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
        (0..self.stacks.len()).into_par_iter().for_each(|thread| {
            self.stack(thread);
        });
    }

    /// The functions at a code address, innermost (inlined) first; empty where nothing is known.
    pub fn locate(&self, address: CodeAddr) -> Arc<[Location]> {
        if let Some(known) = self.locations.lock().unwrap_or_else(PoisonError::into_inner).get(&address) {
            return known.clone();
        }
        let found: Arc<[Location]> = match self.module_at(address.lookup()) {
            Some(module) => modules::locate(self, module, address).into(),
            None => Arc::from([]),
        };
        self.locations.lock().unwrap_or_else(PoisonError::into_inner).insert(address, found.clone());
        found
    }

    /// What happened and why; worked out at the first call.
    pub fn diagnosis(&self) -> &Diagnosis {
        self.diagnosis.get_or_init(|| crash::diagnose(self))
    }

    /// Index of the crashed thread in [`Dump::threads`]; `None` if nothing crashed.
    #[must_use]
    pub fn crashed_thread(&self) -> Option<usize> {
        let tid = self.dump.exception.as_ref()?.tid?;
        self.dump.threads.iter().position(|thread| thread.tid == tid)
    }
}
