//! Every symbol of the kernel, of its modules and of its BPF programs, with address and letter, as /proc/kallsyms had it.

use super::asker::Asker;
use super::report::Report;
use super::truth::{Symbol, Truth, symbol};
use std::collections::{BTreeMap, BTreeSet};

/// Address, letter, name, module, and which one of those that are the same: kallsyms has some symbols twice.
type Key = (u64, String, String, Option<String>, usize);

/// The topic.
pub fn symbols(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let map = machine.extract(&["--system-map", "--running"])?;
    let mut ours = Vec::new();
    for line in map.lines() {
        match symbol(line) {
            Some(symbol) => ours.push(symbol),
            None => report.wrong(format!("not a line of kallsyms: {line}")),
        }
    }
    report.sets(&keys(&ours), &keys(&truth.symbols), |_, _| None);
    Ok(())
}

fn keys(symbols: &[Symbol]) -> BTreeSet<Key> {
    let mut seen: BTreeMap<(u64, String, String, Option<String>), usize> = BTreeMap::new();
    let key = |symbol: &Symbol| {
        let (address, kind) = (symbol.address, symbol.kind.clone());
        let (name, module) = (symbol.name.clone(), symbol.module.clone());
        let nth = seen.entry((address, kind.clone(), name.clone(), module.clone())).or_default();
        *nth += 1;
        (address, kind, name, module, *nth)
    };
    symbols.iter().map(key).collect()
}
