//! What a mistyped name of a table was meant to be.

use afterimage_tables::TABLES;

/// What other tools call their answers (crash, volatility, ps and its like), and the table that has it here.
const CALLED: &[(&str, &str)] = &[
    ("backtrace", "frames"),
    ("bash", "shell_history"),
    ("bash_history", "shell_history"),
    ("bt", "kernel_frames"),
    ("dmesg", "kernel_log"),
    ("env", "environment"),
    ("envars", "environment"),
    ("fds", "open_files"),
    ("files", "open_files"),
    ("free", "memory_usage"),
    ("history", "shell_history"),
    ("ifconfig", "network_interfaces"),
    ("irq", "interrupts"),
    ("kmem", "slab_caches"),
    ("kmsg", "kernel_log"),
    ("locals", "variables"),
    ("log", "kernel_log"),
    ("lsmod", "kernel_modules"),
    ("lsof", "open_files"),
    ("malfind", "process_regions"),
    ("maps", "process_regions"),
    ("meminfo", "memory_usage"),
    ("mod", "kernel_modules"),
    ("mountinfo", "mounts"),
    ("net", "sockets"),
    ("netstat", "sockets"),
    ("ps", "processes"),
    ("psaux", "processes"),
    ("pslist", "processes"),
    ("pstree", "process_tree"),
    ("slabinfo", "slab_caches"),
    ("sockstat", "sockets"),
    ("ss", "sockets"),
    ("stacks", "kernel_frames"),
    ("sys", "kernel"),
    ("vm", "process_regions"),
];

/// Why there is no such table, for the person who asked for it.
pub fn advice(name: &str) -> String {
    let known = name.to_lowercase();
    if let Some((_, table)) = CALLED.iter().find(|(called, _)| *called == known) {
        return format!("here it is {table}; `afterimage tables` lists all");
    }
    let names = TABLES.iter().flat_map(|table| [Some(table.name), table.alias]).flatten();
    match nearest(name, names) {
        Some(meant) => format!("did you mean {meant}? `afterimage tables` lists all"),
        None => "`afterimage tables` lists all".to_owned(),
    }
}

/// The name that takes the fewest changes, if it takes few.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Longest name that is compared: this comes from a command line.
    const LONGEST: usize = 64;
    let length = name.chars().count();
    if length > LONGEST {
        return None;
    }
    let plain = name.to_lowercase().replace('-', "_");
    let most = (length / 3).max(1);
    let near = names.map(|other| (changes(&plain, other), other)).filter(|(changes, _)| *changes <= most);
    near.min_by_key(|(changes, _)| *changes).map(|(_, other)| other)
}

/// Letters that must be put in, left out or replaced to make one text the other.
fn changes(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut left = index + 1;
        let mut next = vec![left];
        for ((own, up), up_left) in other.chars().zip(row.iter().skip(1)).zip(&row) {
            left = (left + 1).min(up + 1).min(up_left + usize::from(own != letter));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_understood() {
        assert_eq!((changes("", "abc"), changes("abc", ""), changes("kitten", "sitting")), (3, 3, 3));
        let near = |name| nearest(name, ["processes", "process_tree", "sockets", "cpus"].into_iter());
        assert_eq!(near("procceses"), Some("processes"));
        assert_eq!(near("Process-Tree"), Some("process_tree"));
        assert_eq!((near("socket"), near("cpu")), (Some("sockets"), Some("cpus")));
        assert_eq!((near("registers"), near("")), (None, None));
        assert!(advice("procceses").starts_with("did you mean processes? "));
        assert_eq!(advice("zzzzzz"), "`afterimage tables` lists all");
        assert!(advice("pslist").starts_with("here it is processes; "));
        for (called, table) in CALLED {
            assert!(afterimage_tables::find(table).is_some() && afterimage_tables::find(called).is_none(), "{called}");
        }
    }
}
