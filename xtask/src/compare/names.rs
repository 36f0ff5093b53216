//! Whether two names mean the same function: by their last word, or because both are symbols at one address.
//!
//! The evidence is what `nm` prints of the module's file and of its debug file. For example `raise` and `gsignal` are
//! two symbols with one address, `__clone3` and `clone3` too.
//!
//! Trap: a file that is not there gives no evidence; for foreign samples stands a short list, with its reason.

use super::frame::{Code, Frame};
use crate::tools;
use afterimage_testkit::crashers::base_name;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// Addresses of a file's symbols, by name.
type Symbols = HashMap<String, HashSet<u64>>;

/// Names that are one function's, where the file with the evidence is not at hand.
const SAME: &[(&str, &str)] = &[
    // glibc: one function with a name by POSIX and one by BSD; sysdeps/posix/raise.c.
    ("raise", "gsignal"),
    // The vDSO has both names at one address; it has no file that `nm` could be asked about.
    ("clock_gettime", "__vdso_clock_gettime"),
    // rustc: the function of `#[panic_handler]` has the one name in DWARF and the other for the linker.
    ("panic_handler", "rust_begin_unwind"),
    // glibc: a strong and a weak name of one system call's function.
    ("clone", "__clone"),
];

/// Names that the kernel's signal frame has, in the programs that bring the code for it.
const SIGNAL: &[&str] = &["__restore_rt", "__restore", "__kernel_rt_sigreturn", "__kernel_sigreturn"];

/// Symbols of the files that were asked for.
#[derive(Debug, Default)]
pub struct Names {
    files: Mutex<HashMap<PathBuf, Arc<Symbols>>>,
}

impl Names {
    /// Whether what the peer calls a frame is what we call it, as far as it has a name.
    pub fn agree(&self, ours: &Frame, theirs: &Frame, code: &Code) -> bool {
        if theirs.signal {
            return ours.signal
                || ours.name.as_deref().is_some_and(|name| SIGNAL.contains(&name))
                || ours.pc == theirs.pc;
        }
        match (&ours.name, &theirs.name) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(ours_name), Some(theirs_name)) => {
                let (a, b) = (plain(ours_name), plain(theirs_name));
                a == b
                    || SAME.iter().any(|&(x, y)| (x, y) == (&*a, &*b) || (y, x) == (&*a, &*b))
                    || ours.pc.and_then(|pc| code.file(pc)).is_some_and(|file| self.one_address(file, &a, &b))
            }
        }
    }

    /// Whether a file has both names at one address.
    fn one_address(&self, file: &str, a: &str, b: &str) -> bool {
        let symbols = self.symbols(Path::new(file));
        match (symbols.get(a), symbols.get(b)) {
            (Some(a), Some(b)) => a.intersection(b).next().is_some(),
            _ => false,
        }
    }

    fn symbols(&self, file: &Path) -> Arc<Symbols> {
        let known = |files: &HashMap<PathBuf, Arc<Symbols>>| files.get(file).cloned();
        if let Some(symbols) = known(&self.files.lock().unwrap_or_else(PoisonError::into_inner)) {
            return symbols;
        }
        let mut symbols = Symbols::new();
        let debug = debug_file(file);
        for (path, table) in
            [(Some(file), "--dynamic"), (Some(file), "--debug-syms"), (debug.as_deref(), "--debug-syms")]
        {
            let Some(path) = path.filter(|path| path.is_file()) else { continue };
            let mut command = Command::new("nm");
            let text = tools::stdout_of(command.args(["--demangle", table]).arg(path)).unwrap_or_default();
            for line in String::from_utf8_lossy(&text).lines() {
                // `000000000003c050 W gsignal@@GLIBC_2.2.5`
                let mut words = line.splitn(3, ' ');
                if let (Some(Ok(at)), Some(_), Some(name)) =
                    (words.next().map(|word| u64::from_str_radix(word, 16)), words.next(), words.next())
                {
                    symbols.entry(plain(name)).or_default().insert(at);
                }
            }
        }
        let symbols = Arc::new(symbols);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned(), Arc::clone(&symbols));
        symbols
    }
}

/// Without namespaces, parameters, the version of a symbol, and the number of a closure, which linker names do not have.
fn plain(name: &str) -> String {
    // eu-stack and nm of these versions do not know all ways in which Rust's names are written.
    let demangled = format!("{:#}", rustc_demangle::demangle(name));
    let unescaped = demangled.replace("_$u7b$", "{").replace("$u7b$", "{").replace("$u7d$", "}");
    let name = unescaped.as_str();
    let name = match name.split_once("@@").or_else(|| name.split_once("@GLIBC")) {
        Some((front, _)) => front,
        None => name,
    };
    // A clone of a function that the compiler made: `rare.cold`, `visit.constprop.0`.
    let base = base_name(name);
    let base = match base.find(['.', '$']).filter(|&at| at > 0) {
        Some(at) => base.get(..at).unwrap_or(base),
        None => base,
    };
    if base.starts_with("{closure") || base.starts_with("{{closure") { "closure".to_owned() } else { base.to_owned() }
}

/// The system's debug file, by build-id.
fn debug_file(file: &Path) -> Option<PathBuf> {
    let text = tools::stdout_of(Command::new("readelf").arg("-n").arg(file)).ok()?;
    let text = String::from_utf8_lossy(&text);
    let id = text.lines().find_map(|line| line.trim().strip_prefix("Build ID: ").map(str::to_owned))?;
    let (first, rest) = id.split_at_checked(2)?;
    Some(Path::new("/usr/lib/debug/.build-id").join(first).join(format!("{rest}.debug")))
}
