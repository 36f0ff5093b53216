//! Variables of a crashed program, held against what the program itself printed before it died.

use crate::common::{have, sh};
use crate::open_target;
use afterimage_target::{Target, VariableKind};
use afterimage_testkit::crashers::kernel_core_of;
use std::collections::BTreeMap;

/// Each `tell` line is a function, a variable, and its value as it must be shown.
const PROGRAM: &str = r#"
#include <stdbool.h>
#include <stdio.h>
#define tell(function, name, ...) (printf("%s %s ", #function, #name), printf(__VA_ARGS__), printf("\n"), fflush(stdout))
enum colour { RED, GREEN = 5, BLUE };
struct inner { short x, y; };
struct record { int id; struct inner at; char tag[8]; unsigned flag : 3; int rest : 5; union { int i; unsigned u; }; };
typedef int (*callback)(int);
volatile int sink;
__attribute__((noinline)) int twice(int given) { return given * 2 + sink; }
static inline __attribute__((always_inline)) int inlined(int seed, const char *why) {
    int doubled = seed * 2 + sink;
    tell(inlined, seed, "%d", seed);
    tell(inlined, doubled, "%d", doubled);
    tell(inlined, why, "%p -> \"%s\"", (void *)why, why);
    if (seed > 5) __builtin_trap();
    return doubled + seed + why[0];
}
__attribute__((noinline)) int deepest(int level, const struct record *record, double ratio, callback how, char **words) {
    static int calls = 41;
    calls += 1;
    long long big = -5000000000LL - sink;
    enum colour colour = sink ? RED : GREEN;
    bool yes = !sink;
    char text[16] = "hi\tthere";
    int table[20] = {1, 2, 3, 3, 3, 3, 3, 3};
    struct record copy = *record;
    copy.id = level + how(1);
    tell(deepest, level, "%d", level);
    tell(deepest, record, "%p", (void *)record);
    tell(deepest, ratio, "%g", ratio);
    tell(deepest, how, "%p <twice>", (void *)how);
    tell(deepest, words, "%p", (void *)words);
    tell(deepest, calls, "%d", calls);
    tell(deepest, big, "%lld", big);
    tell(deepest, colour, "%s", colour == GREEN ? "GREEN" : "RED");
    tell(deepest, yes, "%s", yes ? "true" : "false");
    tell(deepest, text, "\"hi\\tthere\"");
    tell(deepest, table, "{1, 2, 3 <6 times>, 0 <12 times>}");
    tell(deepest, copy, "{id = %d, at = {x = %d, y = %d}, tag = \"%s\", flag = %u, rest = %d, {i = %d, u = %u}}", copy.id,
         copy.at.x, copy.at.y, copy.tag, copy.flag, copy.rest, copy.i, copy.u);
    sink = text[0] + table[1];
    sink = 0;
    int got = inlined(level + 4, words[0]);
    return got + (int)big + colour + yes + text[0] + table[2] + copy.id + record->id + (int)ratio;
}
__attribute__((noinline)) int middle(int depth, char **words) {
    struct record here = { .id = depth, .at = {7, -8}, .tag = "mid", .flag = 5, .rest = -3, .i = 9 };
    int kept = depth * 3 + 1 + sink;
    tell(middle, depth, "%d", depth);
    tell(middle, kept, "%d", kept);
    tell(middle, words, "%p", (void *)words);
    tell(middle, here, "{id = %d, at = {x = 7, y = -8}, tag = \"mid\", flag = 5, rest = -3, {i = 9, u = 9}}", depth);
    int got = depth > 0 ? middle(depth - 1, words) : deepest(depth + 3, &here, 2.5, twice, words);
    printf("%d %d %s\n", kept, got, words[0]);
    return got + kept + here.at.x;
}
int main(int argc, char **argv) {
    int local = argc + 10;
    tell(main, argc, "%d", argc);
    tell(main, argv, "%p", (void *)argv);
    tell(main, local, "%d", local);
    return middle(2, argv) + local + argv[0][0];
}
"#;

/// Compiler, flags, and how many of the program's 30 values must be there; of the others it must be said why not.
const BUILDS: &[(&str, &str, usize)] = &[
    ("gcc", "-O0 -gdwarf-5", 30),
    ("gcc", "-O0 -gdwarf-4", 30),
    ("clang", "-O0 -gdwarf-5", 30),
    ("gcc", "-O0 -gdwarf-5 -gsplit-dwarf", 30),
    ("gcc", "-O0 -gdwarf-4 -gsplit-dwarf", 30),
    ("gcc", "-O0 -g3 -gz -no-pie", 30),
    ("gcc", "-O2 -gdwarf-5", 20),
    ("gcc", "-O2 -gdwarf-4", 20),
    ("gcc", "-O2 -gdwarf-5 -gsplit-dwarf", 20),
    ("clang", "-O2 -gdwarf-5", 14),
    ("gcc", "-Os -gdwarf-5 -fno-omit-frame-pointer", 18),
];

/// The variables of the crashed thread by function and name, in the order of the stack; `Err` where one has no value.
fn ours(target: &Target) -> BTreeMap<(String, String), Vec<Result<String, String>>> {
    let thread = target.crashed_thread().unwrap();
    let mut out: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (index, frame) in target.stack(thread).frames.iter().enumerate() {
        let places = target.locate(frame.address);
        let Ok(found) = target.variables(thread, index) else { continue };
        for variable in found {
            let function = places[variable.level].function.clone().unwrap();
            let parameters = ["seed", "why", "level", "record", "ratio", "how", "words", "depth", "argc", "argv"];
            let kind =
                if parameters.contains(&&*variable.name) { VariableKind::Parameter } else { VariableKind::Local };
            if ["inlined", "deepest", "middle", "main"].contains(&&*function) {
                assert_eq!(variable.kind, kind, "{function} {}", variable.name);
            }
            out.entry((function, variable.name)).or_default().push(variable.value);
        }
    }
    out
}

#[test]
fn variables_are_what_the_program_said() {
    if !have(&["gcc", "clang"]) || !cfg!(target_arch = "x86_64") {
        return;
    }
    for (compiler, flags, least) in BUILDS {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("told.c"), PROGRAM).unwrap();
        sh(folder.path(), &format!("{compiler} {flags} -c told.c -o told.o && {compiler} {flags} told.o -o told"));
        let program = folder.path().join("told");
        let death = kernel_core_of("told", &program, &[], folder.path()).unwrap();
        let target = open_target(&death.core, vec![folder.path().to_owned()], true);
        let ours = ours(&target);
        let mut truth: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for line in death.stdout.lines() {
            let [function, name, value] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            // The program tells its outermost frame first.
            truth.entry((function.into(), name.into())).or_default().insert(0, value.into());
        }
        let told: usize = truth.values().map(Vec::len).sum();
        assert_eq!(told, 30, "{compiler} {flags}");
        let (mut good, mut wrong) = (0, Vec::new());
        for (key, values) in &truth {
            let Some(own) = ours.get(key).filter(|own| own.len() == values.len()) else {
                wrong.push(format!("{key:?}: {:?}", ours.get(key)));
                continue;
            };
            for (value, own) in values.iter().zip(own) {
                match own {
                    Ok(own) if own == value => good += 1,
                    Err(why) if why == "optimized out" => {}
                    // What is left of a structure or an array: its parts have been looked at one by one.
                    Ok(own) if own.contains("<optimized out>") => {}
                    own => wrong.push(format!("{key:?}: {own:?}, and it is {value}")),
                }
            }
        }
        println!("{compiler} {flags}: {good} of {told}");
        assert!(wrong.is_empty(), "{compiler} {flags}:\n{}", wrong.join("\n"));
        assert!(good >= *least, "{compiler} {flags}: only {good} values of {told}");
    }
}

/// Where there is no stack, each value says so.
#[test]
fn variables_without_memory_say_so() {
    if !have(&["gcc"]) || !cfg!(target_arch = "x86_64") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("told.c"), PROGRAM).unwrap();
    sh(folder.path(), "gcc -O0 -g told.c -o told");
    let program = folder.path().join("told");
    let death = kernel_core_of("told", &program, &[], folder.path()).unwrap();
    let mut dump = afterimage_dump::open(&death.core, &afterimage_dump::Budget::default()).unwrap();
    dump.memory = std::sync::Arc::new(afterimage_dump::SegmentMemory::new(std::sync::Arc::new(Vec::new()), Vec::new()));
    let options = afterimage_target::Options {
        debug_paths: vec![folder.path().to_owned()],
        ..afterimage_target::Options::default()
    };
    let target = Target::new(dump, options, afterimage_dump::Budget::default());
    let found = target.variables(target.crashed_thread().unwrap(), 0).unwrap();
    let level = found.iter().find(|variable| variable.name == "level").unwrap();
    // Without the return address nothing says that the frame is one.
    assert_eq!(level.value.as_ref().unwrap_err(), "the frame's address is not known");
    assert_eq!(target.variables(0, 1_000_000).unwrap_err(), "there is no such frame");
}
