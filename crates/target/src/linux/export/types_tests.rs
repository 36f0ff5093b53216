//! Types of a small BTF made by hand, hostile ones too, as ISF has them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

use super::json::Json;
use super::types::Types;
use afterimage_symbols::kernel::Btf;
use serde_json::{Value, json};
use std::sync::Arc;

/// BTF in the making: types as words after their names.
struct Maker {
    types: Vec<u8>,
    strings: Vec<u8>,
    before: u32,
}

impl Maker {
    /// On top of one whose strings take so many bytes; the first of all has none.
    fn new(before: u32) -> Self {
        Self { types: Vec::new(), strings: if before == 0 { vec![0] } else { Vec::new() }, before }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.before + self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn add(&mut self, name: &str, kind: u32, flag: bool, size: u32, members: &[(&str, &[u32])]) {
        let name = self.name(name);
        let info = u32::from(flag) << 31 | kind << 24 | if matches!(kind, 4..=6) { members.len() as u32 } else { 0 };
        let mut words = vec![name, info, size];
        for (name, rest) in members {
            if matches!(kind, 4..=6) {
                let name = self.name(name);
                words.push(name);
            }
            words.extend_from_slice(rest);
        }
        self.types.extend(words.into_iter().flat_map(u32::to_le_bytes));
    }

    fn bytes(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let head = [0x0001_eb9f, 24, 0, types, types, strings];
        let mut bytes: Vec<u8> = head.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }
}

fn kernel() -> Maker {
    let mut btf = Maker::new(0);
    btf.add("unsigned int", 1, false, 4, &[("", &[32])]); // 1
    btf.add("int", 1, false, 4, &[("", &[1 << 24 | 32])]); // 2
    // Without a name, known by its typedef.
    btf.add("", 4, false, 4, &[("val", &[1, 0])]); // 3
    btf.add("kernel_cap_t", 8, false, 3, &[]); // 4
    // Bits 0 to 2 and 3 to 31 of one number, then a pointer and an anonymous union.
    btf.add(
        "cred",
        4,
        true,
        24,
        &[("low", &[1, 3 << 24]), ("high", &[1, 29 << 24 | 3]), ("up", &[6, 64]), ("", &[7, 128])],
    ); // 5
    btf.add("", 2, false, 5, &[]); // 6
    btf.add("", 5, false, 8, &[("cap", &[4, 0]), ("number", &[1, 0])]); // 7
    // Another with the name.
    btf.add("cred", 4, false, 4, &[("other", &[9, 0])]); // 8
    // A pointer that leads to itself.
    btf.add("", 2, false, 9, &[]); // 9
    btf.add("only_named", 7, true, 0, &[]); // 10
    btf.add("", 2, false, 10, &[]); // 11
    btf.add("state", 6, true, 4, &[("DEAD", &[u32::MAX]), ("ALIVE", &[1])]); // 12
    btf.add("flags", 6, false, 4, &[("ALL", &[u32::MAX])]); // 13
    btf.add("Elf64_Cred", 8, false, 5, &[]); // 14
    btf
}

fn written(types: &Types) -> Value {
    let mut out = Vec::new();
    let mut json = Json::new(&mut out);
    json.open().unwrap();
    json.object("base_types").unwrap();
    types.write_base(&mut json).unwrap();
    json.close().unwrap();
    json.object("user_types").unwrap();
    types.write_structures(&mut json).unwrap();
    json.close().unwrap();
    json.object("enums").unwrap();
    types.write_enums(&mut json).unwrap();
    json.close().unwrap();
    json.close().unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn types_as_isf_has_them() {
    let bytes = kernel().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.to_bytes(), bytes);
    let isf = written(&Types::new(&btf, &[]));
    let of = |name: &str| isf["user_types"][name].clone();
    assert_eq!(of("kernel_cap_t")["fields"]["val"]["type"], json!({"kind": "base", "name": "unsigned int"}));
    let cred = of("cred");
    assert_eq!((&cred["size"], &cred["kind"]), (&json!(24), &json!("struct")));
    let bits = |name: &str| cred["fields"][name]["type"].clone();
    assert_eq!((&bits("low")["bit_position"], &bits("low")["bit_length"]), (&json!(0), &json!(3)));
    assert_eq!((&bits("high")["bit_position"], &bits("high")["bit_length"]), (&json!(3), &json!(29)));
    assert_eq!(cred["fields"]["up"]["type"]["subtype"], json!({"kind": "struct", "name": "cred"}));
    assert_eq!(cred["fields"]["unnamed_field_3"]["anonymous"], true);
    assert_eq!(cred["fields"]["unnamed_field_3"]["type"]["kind"], "union");
    let union = of(cred["fields"]["unnamed_field_3"]["type"]["name"].as_str().unwrap());
    assert_eq!(union["fields"]["cap"]["type"]["name"], "kernel_cap_t");
    assert_eq!(of("Elf64_Cred"), cred);
    assert_eq!(of("only_named"), json!({"size": 0, "fields": {}, "kind": "union"}));
    assert_eq!(isf["enums"]["state"]["constants"], json!({"DEAD": -1, "ALIVE": 1}));
    assert_eq!(isf["enums"]["flags"]["constants"], json!({"ALL": u32::MAX}));
    assert!(isf["base_types"]["unsigned int"]["signed"] == false && isf["base_types"]["int"]["signed"] == true);
    // The second of the name, whose member runs in a circle: it ends somewhere.
    let second = of("cred___2");
    let mut deep = &second["fields"]["other"]["type"];
    let mut pointers = 0;
    while deep["kind"] == "pointer" {
        deep = &deep["subtype"];
        pointers += 1;
    }
    assert!(pointers > 4 && deep["name"] == "void");
}

#[test]
fn types_of_modules_go_on_where_the_kernels_end() {
    let kernel = kernel();
    let strings = kernel.strings.len() as u32;
    let kernel = Arc::new(Btf::parse(&kernel.bytes()).unwrap());
    let mut module = Maker::new(strings);
    module.add("tun_struct", 4, false, 16, &[("cap", &[4, 0]), ("own", &[16, 32])]); // 15
    module.add("cred", 4, false, 4, &[("val", &[1, 0])]); // 16
    let module = Btf::parse_split(&module.bytes(), Arc::clone(&kernel)).unwrap();
    let isf = written(&Types::new(&kernel, &[("tun".to_owned(), module)]));
    let fields = &isf["user_types"]["tun_struct"]["fields"];
    assert_eq!(fields["cap"]["type"]["name"], "kernel_cap_t");
    assert_eq!(fields["own"]["type"]["name"], "cred___tun");
    assert_eq!(isf["user_types"]["cred___tun"]["fields"]["val"]["offset"], 0);
}
