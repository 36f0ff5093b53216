//! Variables: of a program that is sound, and of debug information that means harm.

use crate::common::*;
use afterimage_symbols::{Activation, Callee, Content, Machine, Missing, Shape, Variable, VariableKind};
use std::process::Command;
use std::time::{Duration, Instant};

/// A frame in which every register and every byte of memory is known.
pub struct Any;

impl Machine for Any {
    fn register(&self, dwarf: u16) -> Option<u64> {
        Some(u64::from(dwarf) << 60 | 0x1000)
    }
    fn read(&self, address: u64, _size: usize) -> Option<u64> {
        Some(address)
    }
    fn bias(&self) -> u64 {
        u64::MAX - 5
    }
}

impl Activation for Any {
    fn cfa(&self) -> Option<u64> {
        Some(0x7000)
    }
    fn entry_value(&self, register: u16, _callee: &Callee) -> Option<u64> {
        self.register(register)
    }
}

/// A frame of which nothing is known.
struct Nothing;

impl Machine for Nothing {
    fn register(&self, _dwarf: u16) -> Option<u64> {
        None
    }
    fn read(&self, _address: u64, _size: usize) -> Option<u64> {
        None
    }
    fn bias(&self) -> u64 {
        0
    }
}

impl Activation for Nothing {
    fn cfa(&self) -> Option<u64> {
        None
    }
    fn entry_value(&self, _register: u16, _callee: &Callee) -> Option<u64> {
        None
    }
}

fn parts(shape: &Shape) -> usize {
    match shape {
        Shape::Structure { members, .. } => members.iter().map(|member| 1 + parts(&member.declared.shape)).sum(),
        Shape::Array { element, .. } => 1 + parts(&element.shape),
        _ => 0,
    }
}

#[test]
fn types_and_expressions_that_mean_harm_have_an_end() {
    if !have("gcc") || !cfg!(target_arch = "x86_64") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", "hostile.s", &["-shared", "-nostdlib"]);
    let module = module(&program);
    let at = module.symbol_by_name("trap").unwrap() + 1;
    let started = Instant::now();
    let found = module.variables(at, &Any).unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let of = |name: &str| found.iter().find(|own| own.name == name).unwrap_or_else(|| panic!("no variable {name}"));
    let sound = of("sound");
    assert_eq!((sound.kind, sound.level, &*sound.declared.name), (VariableKind::Local, 0, "int"));
    assert!(matches!(&sound.content, Ok(Content::Bytes(pieces)) if pieces.bytes == [0, 0x10, 0, 0]));
    for name in ["runs", "grows", "unknown"] {
        assert!(matches!(of(name).content, Err(Missing::Malformed(_))), "{name}: {:?}", of(name).content);
    }
    assert_eq!(of("base").content, Err(Missing::NoFrameAddress));
    assert_eq!(of("entry").content, Err(Missing::OptimizedOut));
    for variable in &found {
        let length = variable.declared.name.len();
        assert!(length <= 1024 && parts(&variable.declared.shape) < 10_000, "{}: {length}", variable.name);
        if let Ok(Content::Bytes(pieces)) = &variable.content {
            assert!(pieces.bytes.len() <= 8192, "{}", variable.name);
        }
    }
    let nothing = module.variables(at, &Nothing).unwrap();
    let of = |name: &str| nothing.iter().find(|own| own.name == name).unwrap();
    assert_eq!(of("sound").content, Err(Missing::NotSaved { register: 3 }));
    assert_eq!(of("self").content, Err(Missing::NoFrameAddress));
}

fn named<'v>(found: &'v [Variable], level: usize, name: &str) -> Vec<&'v Variable> {
    found.iter().filter(|own| own.level == level && own.name == name).collect()
}

/// Blocks, inlined calls, and the names of types.
#[test]
fn what_is_in_scope_is_listed_innermost_first() {
    let source = "
        struct pair { int left; const char *right; };
        typedef int (*compare)(const void *, char **);
        volatile int sink;
        static inline __attribute__((always_inline)) int inner(int given) {
            int doubled = given * 2;
            sink = doubled;
            __asm__ volatile(\"marked: nop\" : : \"r\"(doubled));
            return doubled;
        }
        int outer(int argument, struct pair *pair, compare how, const char *const *names) {
            int shadow = 1, table[3][4];
            sink = table[0][0];
            { int shadow = 2; sink = shadow; { long gone = 3; sink = gone; } sink = inner(argument); }
            return sink + pair->left + how(0, 0) + names[0][0] + shadow;
        }";
    for (compiler, flags) in [
        ("gcc", "-O0 -gdwarf-5"),
        ("gcc", "-O0 -gdwarf-4"),
        ("clang", "-O0 -gdwarf-5"),
        ("clang", "-O0 -gdwarf-4"),
        ("gcc", "-O0 -gdwarf-5 -gsplit-dwarf"),
    ] {
        if !have(compiler) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("scopes.c"), source).unwrap();
        let out = folder.path().join("scopes.so");
        let mut command = Command::new(compiler);
        command.current_dir(folder.path()).args(flags.split(' ')).args(["-shared", "-fPIC", "scopes.c", "-o"]);
        run(command.arg(&out));
        let module = module(&out);
        let at = module.symbol_by_name("marked").unwrap();
        let found = module.variables(at, &Any).unwrap();
        let what = format!("{compiler} {flags}: {found:?}");
        let [given] = named(&found, 0, "given")[..] else { panic!("{what}") };
        assert_eq!((given.kind, &*given.declared.name), (VariableKind::Parameter, "int"), "{what}");
        assert_eq!(named(&found, 0, "doubled").len(), 1, "{what}");
        assert_eq!(named(&found, 1, "shadow").len(), 2, "{what}");
        assert!(found.iter().all(|own| own.name != "gone"), "{what}");
        let names: Vec<&str> = ["argument", "pair", "how", "names", "table"]
            .iter()
            .map(|name| &*named(&found, 1, name).first().unwrap_or_else(|| panic!("{what}")).declared.name)
            .collect();
        assert_eq!(names, ["int", "struct pair *", "compare", "const char *const *", "int [3][4]"], "{what}");
        let table = &named(&found, 1, "table")[0].declared;
        assert_eq!(table.size, Some(48), "{what}");
        assert!(found.iter().all(|own| own.content.is_ok()), "{what}");
    }
}
