//! Symbol paths and symbol servers of Windows: `srv*CACHE*URL`, `cache*DIR`, folders; PDBs by identity, programs by link
//! time and size.
//!
//! *What it is not*: it is never asked in the middle of a look-up. The program calls [`Target::fetch_symbols`] once, before
//! it prints; without a server in the path that costs nothing.
//!
//! *Example*: `srv*/var/symbols*https://symbols.example.org;/build/out`.
//!
//! *Trap*: the names in a URL come out of the dump. They are checked and escaped, and what a server sends is used only if
//! its identity is the one that was asked for.

mod fetch;
mod path;

pub(crate) use path::SymbolPath;

use crate::debuginfod::Fetched;
use crate::files::{Finder, pe};
use crate::modules::Module;
use crate::target::Target;
use afterimage_dump::Issue;
use fetch::{Came, Job, Round, What};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What this run has asked for, whom it need not ask again, and how long it has waited.
#[derive(Default)]
pub(crate) struct Servers {
    asked: Mutex<HashSet<(String, String)>>,
    dead: Arc<Mutex<HashSet<String>>>,
    spent: Mutex<Duration>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rounds of unwinding and asking: a library that arrives lets the stack be followed into the next one.
const MAX_ROUNDS: usize = 8;

impl Target {
    /// Asks the symbol servers of [`crate::Options::symbol_path`] for the programs, libraries and PDBs of the modules on
    /// these threads' stacks. It returns after [`crate::Options::symbol_timeout`] at the latest (counted over all calls).
    ///
    /// Call it before anything else asks for these stacks: a [`Target::stack`] that was handed out stays as it was.
    pub fn fetch_symbols(&self, threads: &[usize]) -> Fetched {
        let mut report = Fetched::default();
        let finder = self.finder();
        if finder.symbol_path.servers().next().is_none() {
            return report;
        }
        for _ in 0..MAX_ROUNDS {
            let stacks: Vec<_> = threads.iter().map(|&thread| (thread, self.unwind_afresh(thread))).collect();
            let frames = stacks.iter().flat_map(|(_, stack)| &stack.frames);
            let on_stack: BTreeSet<usize> =
                frames.filter_map(|frame| self.module_index(frame.address.lookup())).collect();
            let mut jobs: Vec<Job> = Vec::new();
            for (index, module) in on_stack.iter().filter_map(|&index| Some((index, self.modules().get(index)?))) {
                jobs.extend(
                    wants(index, module)
                        .into_iter()
                        .filter(|job| lock(&finder.symbol_servers.asked).insert((job.name.clone(), job.id.clone()))),
                );
            }
            let left = finder.options.symbol_timeout.saturating_sub(*lock(&finder.symbol_servers.spent));
            if jobs.is_empty() || left.is_zero() {
                self.keep_stacks(stacks);
                break;
            }
            let start = Instant::now();
            report.asked += jobs.len();
            let deadline = start + left;
            let round = Round { finder, dead: finder.symbol_servers.dead.clone(), deadline };
            let (came, complaints) = round.run(jobs);
            report.received += came.len();
            report.waited += start.elapsed();
            *lock(&finder.symbol_servers.spent) += start.elapsed();
            for complaint in complaints {
                finder.remark(Issue::remark(complaint));
            }
            if came.is_empty() {
                self.keep_stacks(stacks);
                break;
            }
            self.take(came);
        }
        report
    }

    /// Gives modules what came for them, and puts their symbols together anew.
    fn take(&self, came: Vec<Came>) {
        let indices: BTreeSet<usize> = came.iter().map(|came| came.module).collect();
        for index in indices {
            let Some(module) = self.modules().get(index) else { continue };
            let mut fetched = crate::modules::pe::Fetched::default();
            for came in came.iter().filter(|came| came.module == index) {
                match &came.what {
                    What::Image(image) => fetched.image = Some((came.path.clone(), image.clone())),
                    What::Pdb(pdb) => fetched.pdb = Some((came.path.clone(), pdb.clone())),
                }
            }
            let _ = module.pe.fetched.set(fetched);
            module.reload();
        }
        self.forget_locations();
    }
}

/// What a module on a stack lacks.
fn wants(index: usize, module: &Module) -> Vec<Job> {
    if !module.is_pe() {
        return Vec::new();
    }
    let mut jobs = Vec::new();
    let name = module.name();
    if module.pe_file().is_none()
        && pe::safe(name)
        && let Some(id) = pe::code_id(module)
    {
        jobs.push(Job { module: index, name: name.to_owned(), id, pdb: false });
    }
    if let Some(wanted) = module.debug_identity()
        && module.pdb().is_none()
    {
        let name = pe::last(&wanted.debug_file);
        if pe::safe(name) && wanted.debug_id.len() > 32 && wanted.debug_id.bytes().all(|b| b.is_ascii_hexdigit()) {
            jobs.push(Job { module: index, name: name.to_owned(), id: wanted.debug_id.clone(), pdb: true });
        }
    }
    jobs
}

/// Says that a store has a file only in its packed form (`app.pd_`, a cabinet), which is not unpacked here.
pub(crate) fn remark_packed(finder: &Finder, folder: &Path, name: &str, id: &str) {
    let Some(packed) = packed_name(name) else { return };
    let path = folder.join(name).join(id).join(packed);
    if path.is_file() {
        finder.remark(Issue::remark(format!("{}: {PACKED}", path.display())));
    }
}

const PACKED: &str = "a cabinet, which is not unpacked here (cabextract does, or `expand` on Windows)";

/// The name of the packed form: an underscore in place of the last letter.
fn packed_name(name: &str) -> Option<String> {
    let (at, _) = name.char_indices().next_back()?;
    Some(format!("{}_", name.get(..at)?))
}
