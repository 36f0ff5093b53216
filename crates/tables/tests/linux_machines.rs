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
    let environment = ask(&target, "environment", &[("pid", "183")]);
    assert!(environment.iter().any(|row| row[..] == ["183", "TERM", "linux"]));
}
