//! Programs and debug information from debuginfod servers, for the modules of a stack only, within a fixed time.
//!
//! *What it is not*: it is never asked in the middle of a look-up. The program calls [`Target::fetch_debug_info`] once,
//! before it prints; without servers that costs nothing.
//!
//! *Trap*: a socket's own time limits do not bound a server that sends a byte a second, nor a name server that hangs.
//! The work runs on threads of its own, the caller waits on a channel until the deadline, and stragglers are left
//! behind: they can no longer change anything.

mod cache;
mod fetch;

use crate::files::verify::hex;
use crate::files::{ElfFile, debug};
use crate::modules::{Module, ModuleKind};
use crate::target::Target;
use afterimage_dump::Issue;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Debug information, separate or not.
    DebugInfo,
    /// The program or library itself.
    Executable,
}

impl Kind {
    /// The word in the URL, and the file's name in the cache.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::DebugInfo => "debuginfo",
            Self::Executable => "executable",
        }
    }
}

/// A build-id and what is wanted of it.
pub(crate) type Key = (Vec<u8>, Kind);

/// What this run has fetched, and whom it need not ask again.
#[derive(Default)]
pub(crate) struct Downloads {
    files: Mutex<HashMap<Key, Arc<ElfFile>>>,
    asked: Mutex<HashSet<Key>>,
    dead: Arc<Mutex<HashSet<String>>>,
    spent: Mutex<Duration>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Downloads {
    /// A file that was fetched in this run.
    pub(crate) fn get(&self, id: &[u8], kind: Kind) -> Option<Arc<ElfFile>> {
        lock(&self.files).get(&(id.to_vec(), kind)).cloned()
    }
}

/// What [`Target::fetch_debug_info`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Files that were asked for.
    pub asked: usize,
    /// Files that came and agreed.
    pub received: usize,
    /// Time spent waiting for servers.
    pub waited: Duration,
}

/// Rounds of unwinding and asking: a library that arrives lets the stack be followed into the next one.
const MAX_ROUNDS: usize = 4;

impl Target {
    /// Asks the debuginfod servers of [`crate::Options::debuginfod_urls`] for the modules on these threads' stacks that
    /// lack a program file or debug information, all at once. It returns after
    /// [`crate::Options::debuginfod_timeout`] at the latest (counted over all calls), whatever the servers do.
    ///
    /// Call it before anything else asks for these stacks: a [`Target::stack`] that was handed out stays as it was.
    pub fn fetch_debug_info(&self, threads: &[usize]) -> Fetched {
        let mut report = Fetched::default();
        let finder = self.finder();
        if finder.options.debuginfod_urls.is_empty() {
            return report;
        }
        for _ in 0..MAX_ROUNDS {
            let stacks: Vec<_> = threads.iter().map(|&thread| (thread, self.unwind_afresh(thread))).collect();
            let frames = stacks.iter().flat_map(|(_, stack)| &stack.frames);
            let on_stack: BTreeSet<usize> =
                frames.filter_map(|frame| self.module_index(frame.address.lookup())).collect();
            let modules: Vec<&Module> = on_stack.iter().filter_map(|&i| self.modules().get(i)).collect();
            let wanted: Vec<(&Module, Key)> = modules
                .iter()
                .flat_map(|module| wants(module).into_iter().map(move |key| (*module, key)))
                .filter(|(_, key)| lock(&finder.downloads.asked).insert(key.clone()))
                .collect();
            if wanted.is_empty() {
                self.keep_stacks(stacks);
                break;
            }
            let keys = wanted.iter().map(|(_, key)| key.clone()).collect();
            let came = self.ask(keys, &mut report);
            let mut further: Vec<Key> = came.values().filter_map(|file| supplement(self, file)).collect();
            further.retain(|key| lock(&finder.downloads.asked).insert(key.clone()));
            if !further.is_empty() {
                self.ask(further, &mut report);
            }
            let new_program = came.keys().any(|(_, kind)| *kind == Kind::Executable);
            for module in modules {
                if let Some(id) = module.identity() {
                    let parts = [Kind::DebugInfo, Kind::Executable].map(|kind| came.get(&(id.clone(), kind)));
                    if let [_, Some(program)] = parts {
                        let _ = module.fetched.set(program.clone());
                    }
                    if parts.iter().any(Option::is_some) {
                        module.reload();
                    }
                }
            }
            if !came.is_empty() {
                self.forget_locations();
            } else {
                self.keep_stacks(stacks);
                break;
            }
            if !new_program {
                break;
            }
        }
        report
    }

    /// Asks for files until the time is over, and keeps what came.
    fn ask(&self, keys: Vec<Key>, report: &mut Fetched) -> HashMap<Key, Arc<ElfFile>> {
        let finder = self.finder();
        let left = finder.options.debuginfod_timeout.saturating_sub(*lock(&finder.downloads.spent));
        if left.is_zero() {
            return HashMap::new();
        }
        let start = Instant::now();
        report.asked += keys.len();
        let round = fetch::Round {
            urls: &finder.options.debuginfod_urls,
            cache: finder.options.debuginfod_cache.as_deref(),
            dead: finder.downloads.dead.clone(),
            deadline: start + left,
        };
        let (came, complaints) = round.run(keys);
        report.received += came.len();
        report.waited += start.elapsed();
        *lock(&finder.downloads.spent) += start.elapsed();
        for complaint in complaints {
            finder.remark(Issue::remark(complaint));
        }
        for (key, file) in &came {
            finder.forget(&file.path);
            lock(&finder.downloads.files).insert(key.clone(), file.clone());
        }
        came
    }
}

/// What a module on a stack lacks.
fn wants(module: &Module) -> Vec<Key> {
    if !module.is_elf || module.kind == ModuleKind::Vdso {
        return Vec::new();
    }
    let Some(id) = module.identity().filter(|id| (4..=64).contains(&id.len())) else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    if !module.has_debug_info() {
        keys.push((id.clone(), Kind::DebugInfo));
        if module.elf_file().is_none() {
            keys.push((id, Kind::Executable));
        }
    }
    keys
}

/// The supplementary file that fetched debug information refers to, if it is not here.
fn supplement(target: &Target, file: &ElfFile) -> Option<Key> {
    let (name, id) = file.object.alt_debuglink()?;
    let here = debug::find_supplementary(target.finder(), &name, &id, std::slice::from_ref(&file.path));
    (here.is_none() && (4..=64).contains(&id.len())).then_some((id, Kind::DebugInfo))
}

/// The address of a file on a server.
fn url(server: &str, key: &Key) -> String {
    format!("{}/buildid/{}/{}", server.trim_end_matches('/'), hex(&key.0), key.1.word())
}
