//! What a kernel's image is turned into for other tools, against what the machine itself said.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_dump::system::vmcoreinfo;
use afterimage_dump::{Budget, open};
use afterimage_target::linux::{Linux, MapForm};
use common::{DUMPS, truth, vmcores};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn machines_are_exported() {
    let Some(folder) = vmcores() else { return };
    for (name, file) in DUMPS {
        let dump = open(&folder.join(name).join(file), &Budget::default()).unwrap();
        let linux = Linux::open(&dump).unwrap_or_else(|why| panic!("{name}: {why}"));
        let shown = format!("{name}/{file}");
        let machine = folder.join(name);
        let offset = truth(&machine)["kaslr"]["offset"].as_str().unwrap().to_owned();
        let offset = u64::from_str_radix(offset.trim_start_matches("0x"), 16).unwrap();
        let theirs = kallsyms(&machine);
        running(&shown, &linux, &theirs);
        linked(&shown, &linux, &theirs, offset);
        btf(&shown, &linux, &truth(&machine));
        isf(&shown, &linux, &truth(&machine), &theirs, offset);
    }
}

/// `/proc/kallsyms` as the machine gave it.
fn kallsyms(machine: &Path) -> String {
    let text = Command::new("zcat").arg(machine.join("TRUTH/kallsyms.gz")).output().unwrap().stdout;
    String::from_utf8(text).unwrap()
}

/// The same lines in the same order, modules and BPF programs too.
fn running(shown: &str, linux: &Linux, theirs: &str) {
    let mut ours = Vec::new();
    let summary = linux.write_system_map(MapForm::Running, &mut ours).unwrap();
    let ours = String::from_utf8(ours).unwrap();
    assert!(summary.remarks.is_empty() || shown.contains("d31"), "{shown}: {:?}", summary.remarks);
    assert_eq!(summary.symbols as usize, theirs.lines().count(), "{shown}");
    let wrong: Vec<_> = ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs).take(5).collect();
    assert!(wrong.is_empty(), "{shown}: {wrong:#?}");
    assert_eq!(ours.len(), theirs.len(), "{shown}");
    println!("{shown}: {} lines of /proc/kallsyms are the same", summary.symbols);
}

/// The kernel's own symbols, moved back by what the machine said.
fn linked(shown: &str, linux: &Linux, theirs: &str, offset: u64) {
    let mut ours = Vec::new();
    linux.write_system_map(MapForm::Linked, &mut ours).unwrap();
    let ours = String::from_utf8(ours).unwrap();
    let mut wanted: Vec<String> = theirs
        .lines()
        .filter(|line| !line.contains('['))
        .map(|line| {
            let (address, rest) = line.split_once(' ').unwrap();
            let address = u64::from_str_radix(address, 16).unwrap();
            let linked = if address >> 63 == 1 { address - offset } else { address };
            format!("{linked:016x} {rest}")
        })
        .collect();
    // `nm -n` sorts by address.
    assert!(ours.lines().map(|line| &line[..16]).is_sorted(), "{shown}");
    let mut ours: Vec<&str> = ours.lines().collect();
    ours.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(ours, wanted, "{shown}");
}

fn sha256(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// What `/sys/kernel/btf/vmlinux` gave.
fn btf(shown: &str, linux: &Linux, truth: &Value) {
    let bytes = linux.btf_bytes().unwrap();
    assert_eq!(Some(bytes.len() as u64), truth["btf"]["size"].as_u64(), "{shown}");
    assert_eq!(sha256(&bytes), truth["btf"]["sha256"].as_str().unwrap(), "{shown}");
    let (modules, remarks) = linux.module_btfs().unwrap();
    println!("{shown}: {} bytes of BTF, {} modules' {remarks:?}", bytes.len(), modules.len());
    assert_eq!(linux.types.as_ref().unwrap().to_bytes(), bytes, "{shown}");
    if shown.contains("d31") && !remarks.is_empty() {
        // makedumpfile left their pages out of one of the two.
        return;
    }
    assert!(remarks.is_empty(), "{shown}: {remarks:?}");
    // All modules of these kernels were built with types.
    let mut ours: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
    let mut theirs: Vec<&str> =
        truth["modules"].as_array().unwrap().iter().map(|module| module["name"].as_str().unwrap()).collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs, "{shown}");
}

/// An ISF is whole, and its symbols are where the machine had them.
fn isf(shown: &str, linux: &Linux, truth: &Value, theirs: &str, offset: u64) {
    let mut bytes = Vec::new();
    let summary = linux.write_isf(&mut bytes).unwrap();
    println!("{shown}: {summary:?}");
    assert_eq!(summary.bytes, bytes.len() as u64);
    let isf: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(isf["metadata"]["format"], "6.2.0");
    let mut addresses: HashMap<&str, Vec<u64>> = HashMap::new();
    for line in theirs.lines().filter(|line| !line.contains('[')) {
        let mut words = line.split(' ');
        let address = u64::from_str_radix(words.next().unwrap(), 16).unwrap();
        addresses.entry(words.nth(1).unwrap()).or_default().push(address);
    }
    let symbols = isf["symbols"].as_object().unwrap();
    // Kernels before 6.4 leave kallsyms' own tables out of it; an ISF has them all the same, where VMCOREINFO says.
    let own: Vec<&String> = symbols.keys().filter(|name| !addresses.contains_key(name.as_str())).collect();
    assert_eq!(own.len() + addresses.len(), symbols.len(), "{shown}");
    let tables = ["names", "num_syms", "markers", "token_table", "token_index", "offsets", "relative_base"];
    let tables = tables.map(|name| format!("kallsyms_{name}"));
    assert!(tables.iter().all(|name| symbols.contains_key(name)), "{shown}");
    let left_out = tables.iter().filter(|name| !addresses.contains_key(name.as_str())).count();
    assert_eq!(own.len(), left_out, "{shown}: {own:?}");
    for name in own.iter().filter(|name| **name != "kallsyms_markers") {
        let told = vmcoreinfo::value(linux.vmcoreinfo.as_deref().unwrap(), &format!("SYMBOL({name})")).unwrap();
        let told = u64::from_str_radix(told, 16).unwrap();
        assert_eq!(symbols[name.as_str()]["address"].as_u64(), Some(told - offset), "{shown}: {name}");
    }
    for (name, symbol) in symbols.iter().filter(|(name, _)| addresses.contains_key(name.as_str())) {
        let linked = symbol["address"].as_u64().unwrap();
        let there = if linked >> 63 == 1 { linked + offset } else { linked };
        assert!(addresses[name.as_str()].contains(&there), "{shown}: {name}");
        resolves(&isf, &symbol["type"], name);
    }
    for (name, structure) in isf["user_types"].as_object().unwrap() {
        let size = structure["size"].as_u64().unwrap();
        for (member, field) in structure["fields"].as_object().unwrap() {
            assert!(field["offset"].as_u64().unwrap() <= size, "{shown}: {name}.{member}");
            resolves(&isf, &field["type"], name);
        }
    }
    for (name, one) in isf["enums"].as_object().unwrap() {
        assert!(isf["base_types"].get(one["base"].as_str().unwrap()).is_some(), "{shown}: {name}");
    }
    // The banner as the machine said it: /proc/version is made of the same words.
    let banner = symbols["linux_banner"]["constant_data"].as_str().unwrap();
    let mut decode = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    decode.stdin.take().unwrap().write_all(banner.as_bytes()).unwrap();
    let decoded = String::from_utf8(decode.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(decoded.trim_end_matches('\0').trim_end(), truth["version"].as_str().unwrap().trim_end(), "{shown}");
    let kind = |name: &str| symbols[name]["type"]["name"].as_str().unwrap_or_default();
    assert_eq!(
        (kind("init_task"), kind("modules"), kind("socket_file_ops")),
        ("task_struct", "list_head", "file_operations")
    );
    assert_eq!(symbols["prb"]["type"]["subtype"]["name"], "printk_ringbuffer");
    // A reader takes the size of a variable from its type, whether this kernel lists the name itself or not.
    assert_eq!(kind("kallsyms_num_syms"), "unsigned int", "{shown}");
}

/// Every name that a type is made of is there.
fn resolves(isf: &Value, mut of: &Value, shown: &str) {
    loop {
        let kind = of["kind"].as_str().unwrap();
        let place = match kind {
            "pointer" | "array" => {
                of = &of["subtype"];
                continue;
            }
            "bitfield" => {
                of = &of["type"];
                continue;
            }
            "function" => return,
            "struct" | "union" => "user_types",
            "enum" => "enums",
            _ => "base_types",
        };
        let name = of["name"].as_str().unwrap();
        assert!(isf[place].get(name).is_some(), "{shown}: no {kind} {name}");
        return;
    }
}
