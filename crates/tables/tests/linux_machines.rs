//! The tables of a Linux machine from a real dump, as scripts rely on them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::{Budget, open};
use afterimage_tables::{Params, Rows, Value, find};
use afterimage_target::{Options, Target};
use std::path::Path;

fn ask(target: &Target, name: &str, keys: &[(&str, &str)]) -> Vec<Vec<String>> {
    let params = Params(keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
    let mut rows = Rows::default();
    find(name).unwrap().run(target, &params, &mut rows).unwrap();
    assert!(rows.notes.is_empty(), "{name}: {:?}", rows.notes);
    let shown = |cell: &Result<Value, _>| cell.as_ref().map_or_else(|_| "-".to_owned(), ToString::to_string);
    rows.rows.iter().map(|row| row.iter().map(shown).collect()).collect()
}

#[test]
fn a_machine_answers_what_it_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vmcores/k6.12-live");
    if !folder.is_dir() {
        eprintln!("no real machines here: not tested");
        return;
    }
    let dump = open(&folder.join("kdump-zlib.flat.zst"), &Budget::default()).unwrap();
    let target = Target::new(dump, Options::default(), Budget::default());
    let files = ask(&target, "open_files", &[]);
    assert!(files.iter().any(|row| row[..5] == ["183", "3", "/tmp/lab/deleted.txt", "file", "true"]));
    let sockets = ask(&target, "sockets", &[("pid", "182")]);
    assert!(sockets.iter().all(|row| row[0] == "182"));
    assert!(sockets.iter().any(|row| row[1..7] == ["3", "IPv4", "TCP", "127.0.0.1:4444", "0.0.0.0:0", "LISTEN"]));
    assert!(sockets.iter().any(|row| row[1..7] == ["7", "IPv6", "TCP", "[::1]:9090", "[::1]:40006", "ESTABLISHED"]));
    let regions = ask(&target, "process_regions", &[("pid", "183")]);
    assert_eq!(regions.len(), 13);
    assert_eq!(regions[1], ["183", "0x401000", "0x4a8000", "r-xp", "/lab/bin/labfiles"]);
    let mounts = ask(&target, "mounts", &[]);
    assert!(mounts.iter().any(|row| row[..] == ["/dev/vda", "/data", "ext4", "rw,relatime"]));
    let all = ask(&target, "sockets", &[]);
    assert_eq!(all.iter().filter(|row| row[0] == "-" && row[4] == "127.0.0.1:8080").count(), 1, "not accepted");
    let interfaces = ask(&target, "network_interfaces", &[]);
    assert!(interfaces.iter().any(|row| row[2..5] == ["dummy0", "ether", "dummy"] && row[12] == "10.77.0.1/24"));
    let routes = ask(&target, "routes", &[]);
    assert!(routes.iter().any(|row| row[1..6] == ["IPv4", "254", "10.99.0.0/16", "10.77.0.254", "dummy0"]));
    let neighbours = ask(&target, "neighbours", &[]);
    let known = ["IPv4", "10.77.0.200", "02:11:22:33:44:55", "dummy0", "PERMANENT"];
    assert!(neighbours.iter().any(|row| row[1..] == known));
    let tree = ask(&target, "process_tree", &[]);
    assert_eq!(tree[0][..4], ["1", "0", "0", "labinit"]);
    assert!(tree.iter().any(|row| row[2] == "1" && row[3] == "  labnet" && row[4] == "labnet"));
    let processes = ask(&target, "processes", &[]);
    let columns = find("processes").unwrap().columns;
    let place = |name: &str| columns.iter().position(|column| column.name == name).unwrap();
    let secret = processes.iter().find(|row| row[place("comm")] == "labsecret").unwrap();
    assert_eq!(secret[place("cgroup")], "/lab/one");
    assert_eq!(
        (secret[place("ns_net")].as_str(), secret[place("cap_eff")].as_str()),
        ("4026531840", "000001ffffffffff")
    );
    let modules = ask(&target, "kernel_modules", &[]);
    assert!(modules.iter().any(|row| row[0] == "zsmalloc" && row[4..8] == ["", "Live", "1", "zram"]));
    let sections = ask(&target, "kernel_module_sections", &[]);
    assert!(sections.iter().any(|row| row[..] == ["af_alg", ".text", "0xffffffffc03e3000"]));
    let environment = ask(&target, "environment", &[("pid", "183")]);
    assert!(environment.iter().any(|row| row[..] == ["183", "TERM", "linux"]));
    // Registers of a processor, and of a process's threads in user mode: the same as other tables have.
    let cpus = ask(&target, "cpus", &[]);
    let registers = ask(&target, "registers", &[("cpu", "0")]);
    assert!(registers.iter().any(|row| row[..] == ["0", "rip", &cpus[0][3]]), "{:?}", cpus[0]);
    let threads = ask(&target, "process_threads", &[("pid", "183")]);
    let pc = find("process_threads").unwrap().columns.iter().position(|column| column.name == "pc").unwrap();
    let registers = ask(&target, "registers", &[("pid", "183")]);
    assert!(registers.iter().any(|row| row[..] == ["183", "rip", &threads[0][pc]]), "{:?}", threads[0]);
    assert!(registers.iter().any(|row| row[1] == "fs_base" && row[2] != "0x0"));
    // What scripts that know dumps of processes ask first says the same as the kernel's own table.
    let functions = |name: &str, keys: &[(&str, &str)], column: usize| -> Vec<String> {
        let params = Params(keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        let mut rows = Rows::default();
        find(name).unwrap().run(&target, &params, &mut rows).unwrap();
        rows.rows.iter().map(|row| row[column].as_ref().unwrap().to_string()).collect()
    };
    let own = functions("kernel_frames", &[("cpu", "0")], 6);
    assert_eq!(functions("frames", &[("tid", "0")], 3), own);
    assert!(own.len() > 3, "{own:?}");
}
