//! Memory of Linux machines that is not as it should be: several kernels in it, cut off, of several moments, with links that
//! lead astray, none at all. Every table ends, and an empty one says why.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod damage;

use afterimage_dump::{Budget, open};
use afterimage_tables::{Params, Rows, TABLES};
use afterimage_target::linux::Linux;
use afterimage_testkit::build_linux::{Age, Machine};
use damage::{AGES, Damaged, Dice, Harm, dump_of, every_table, machine_of, place_of, reals, target, target_of};

/// Another place for a second machine: below, and above the first one's.
const BELOW: u64 = 0x0200_0000;
const ABOVE: u64 = 0x0900_0000;

fn linux_of(bytes: Vec<u8>) -> Linux {
    Linux::open(&dump_of(bytes)).unwrap_or_else(|why| panic!("{why}"))
}

fn text(linux: &Linux) -> u64 {
    linux.symbols.address("_text").unwrap()
}

/// Two kernels that are both whole: the container's words decide, wherever they lie.
#[test]
fn the_containers_words_choose_between_kernels() {
    for age in AGES {
        for base in [BELOW, ABOVE] {
            let (first, second) = (Machine::new(age, 3), Machine::at(age, 9, base));
            let beside: &[(u64, &[u8])] = &[(second.base, &second.bytes)];
            for (vmcoreinfo, registers) in [(true, true), (true, false), (false, true)] {
                let linux = linux_of(first.elf_beside(vmcoreinfo, registers, beside));
                assert_eq!(
                    text(&linux),
                    first.text,
                    "{age:?} {base:#x} {vmcoreinfo} {registers}: {:?}",
                    linux.evidence
                );
                assert_eq!(linux.vmcoreinfo.as_deref(), Some(&*first.vmcoreinfo), "its own");
                // What the VMCOREINFO leads to is taken without a look at the rest.
                assert!(linux.others.is_empty() || !vmcoreinfo, "{:?}", linux.others);
            }
        }
    }
}

/// Nothing says which: the one that has more of the memory, then the one with more processes.
#[test]
fn without_words_the_kernel_with_more_is_taken() {
    for age in AGES {
        for base in [BELOW, ABOVE] {
            let first = Machine::new(age, 3);
            let mut second = Machine::at(age, 9, base);
            second.set_symbol("_totalram_pages", 10);
            let linux = linux_of(first.elf_beside(false, false, &[(second.base, &second.bytes)]));
            assert_eq!(text(&linux), first.text, "{age:?} {base:#x}: {:?}", linux.evidence);
            assert_eq!(linux.vmcoreinfo.as_deref(), Some(&*first.vmcoreinfo), "its own");
            // Behind a kernel that has most of the memory nobody looks for others.
            if base == BELOW || !linux.others.is_empty() {
                assert_eq!(linux.others, [format!("Linux 6.66.0-built at {base:#x}")]);
                let said = linux.evidence.last().unwrap();
                assert!(said.starts_with("1 other kernel lies") && said.contains("more of the memory"), "{said}");
            }

            // Dead, but for its words: its ring of processes leads nowhere.
            let mut first = first.clone();
            for place in first.places("task_struct.tasks") {
                first.poke(place, 0);
            }
            let linux = linux_of(first.elf_beside(false, false, &[(second.base, &second.bytes)]));
            assert_eq!(text(&linux), second.text, "{age:?} {base:#x}: {:?}", linux.evidence);
            assert!(linux.evidence.last().unwrap().contains("its ring of processes is whole"), "{:?}", linux.evidence);
        }
    }
}

/// The processors' page tables are another kernel's than the VMCOREINFO: a crash kernel ran when the dump was taken.
#[test]
fn a_stranger_on_the_processors_is_told() {
    let (first, second) = (Machine::new(Age::Middle, 3), Machine::at(Age::Middle, 9, ABOVE));
    let mut mixed = second.clone();
    mixed.vmcoreinfo.clone_from(&first.vmcoreinfo);
    let target = target_of(mixed.elf_beside(true, true, &[(first.base, &first.bytes)]));
    let linux = target.linux().unwrap();
    assert_eq!(text(linux), first.text);
    assert!(linux.evidence.iter().any(|text| text.contains("another kernel")), "{:?}", linux.evidence);
    let said: Vec<&str> = target.diagnosis().statements.iter().map(|one| one.text.as_str()).collect();
    assert!(said.iter().any(|text| text.contains("not the only kernel")), "{said:?}");
}

/// A virtual machine's kernel: its page tables lead to addresses that are not this memory's.
#[test]
fn a_guests_kernel_is_not_taken() {
    for age in AGES {
        for place in [BELOW, ABOVE] {
            for seed in [3, 9] {
                let (host, guest) = (Machine::new(age, 3), Machine::at(age, seed, 0x1000_0000));
                let linux = linux_of(host.elf_beside(false, false, &[(place, &guest.bytes)]));
                let shown = format!("{age:?} {place:#x} {seed}: {:?}", linux.evidence);
                assert_eq!((text(&linux), linux.image_offset), (host.text, host.text - host.base), "{shown}");
                assert_eq!(linux.vmcoreinfo.as_deref(), Some(&*host.vmcoreinfo), "{shown}");
                assert!(linux.others.len() <= 1, "{shown}");
            }
        }
        // A VMCOREINFO alone, whose kernel is gone.
        let host = Machine::new(age, 3);
        let note = Machine::at(age, 9, BELOW).note_page();
        let linux = linux_of(host.elf_beside(false, false, &[(BELOW, &note)]));
        assert_eq!(linux.vmcoreinfo.as_deref(), Some(&*host.vmcoreinfo));
    }
}

/// The dump's own VMCOREINFO leads astray: the kernel is found all the same, and the wrong text is not its own.
#[test]
fn a_wrong_vmcoreinfo_does_not_hide_the_kernel() {
    for age in AGES {
        let mut first = Machine::new(age, 3);
        let right = first.vmcoreinfo.clone();
        first.vmcoreinfo = Machine::at(age, 9, BELOW).vmcoreinfo;
        let linux = linux_of(first.elf_beside(true, false, &[]));
        assert_eq!(text(&linux), first.text, "{:?}", linux.evidence);
        assert_eq!(linux.vmcoreinfo.as_deref(), Some(&*right), "the one in memory is its own");
    }
}

/// No kernel at all.
#[test]
fn no_kernel_has_a_reason_in_every_table() {
    let text = b"0 1 2 3 4 SYMBOL(kallsyms_token_table) Linux version 6.1 ".repeat(20_000);
    let mut number = 1u64;
    let random = (0..1 << 20).map(|_| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 56) as u8
    });
    for bytes in [vec![0; 1 << 20], text, random.collect(), afterimage_symbols_digits().repeat(50_000)] {
        let target = target_of(machine_of(bytes));
        assert!(target.linux().err().is_some_and(|why| why.len() > 20), "{:?}", target.linux().err());
        every_table("no kernel", &target);
    }
}

/// What a table of tokens is known by, and nothing behind it.
fn afterimage_symbols_digits() -> Vec<u8> {
    (b'0'..=b'9').flat_map(|digit| [digit, 0]).collect()
}

/// Parts of a whole, in percent.
const CUTS: [u64; 6] = [10, 25, 50, 75, 90, 99];
/// Pages of another moment, in thousandths.
const SMEARS: [u64; 3] = [1, 10, 100];

/// A file that ends early.
#[test]
fn cut_machines_answer() {
    for age in AGES {
        for hints in [true, false] {
            let whole = Machine::new(age, 4).elf(hints);
            for percent in CUTS {
                let part = whole[..whole.len() * percent as usize / 100].to_vec();
                every_table(&format!("{age:?} {hints} cut at {percent} %"), &target_of(part));
            }
        }
    }
}

/// Pages of another moment: zeros, or of another machine.
#[test]
fn smeared_machines_answer() {
    for age in AGES {
        let other = Machine::new(age, 11);
        for (seed, part) in SMEARS.into_iter().chain([100, 300]).enumerate() {
            for zeros in [true, false] {
                let mut machine = Machine::new(age, 4);
                let mut dice = Dice(seed as u64 + 1);
                for page in 0..machine.bytes.len() / 4096 {
                    if dice.below(1000) < part {
                        let range = page * 4096..(page + 1) * 4096;
                        match other.bytes.get(range.clone()).filter(|_| !zeros) {
                            Some(bytes) => machine.bytes[range].copy_from_slice(bytes),
                            None => machine.bytes[range].fill(0),
                        }
                    }
                }
                every_table(&format!("{age:?} smeared {part} {zeros}"), &target_of(machine.elf(true)));
            }
        }
    }
}

/// Links of every kind lead nowhere, to themselves, to each other, into the wild.
#[test]
fn wild_links_are_survived() {
    const KINDS: [(&str, &[&str]); 8] = [
        ("processes", &["task_struct.tasks", "xa_node.slots.0", "xa_node.slots.1", "pid.tasks.1.first"]),
        ("process_threads", &["signal_struct.thread_head", "task_struct.thread_node"]),
        ("kernel_modules", &["module.list"]),
        ("mounts", &["mount.mnt_list", "mount.mnt_node", "mnt_namespace.list", "mnt_namespace.mounts.rb_node"]),
        ("open_files", &["task_struct.files", "files_struct.fdt", "fdtable.fd", "fdtable.max_fds"]),
        (
            "process_regions",
            &["mm_struct.mm_mt.ma_root", "maple_arange_64.slot.0", "maple_range_64.slot.1", "maple_range_64.pivot.0"],
        ),
        ("kernel_log", &["prb_desc.text_blk_lpos.begin", "printk_ringbuffer.desc_ring.tail_id.counter"]),
        ("page_cache_files", &["super_block.s_list"]),
    ];
    let mut harmed = 0;
    for age in AGES {
        let whole = Machine::new(age, 4);
        let healthy = every_table("whole", &target_of(whole.elf(true)));
        for (table, members) in KINDS {
            let links: Vec<u64> = members.iter().flat_map(|member| whole.places(member)).collect();
            assert!(!links.is_empty(), "{age:?}: {table} has no such links");
            for (number, link) in links.iter().enumerate() {
                let other = links[(number + 1) % links.len()];
                let own = whole.direct(*link);
                for value in [0, 1, own, whole.direct(other), own | 2, u64::MAX, 0xffff_8000_dead_0000] {
                    let mut machine = whole.clone();
                    machine.poke(*link, value);
                    let target = target_of(machine.elf(true));
                    let counts = every_table(&format!("{age:?}: {table}: {link:#x} = {value:#x}"), &target);
                    harmed += usize::from(counts != healthy);
                }
            }
        }
    }
    assert!(harmed > 300, "only {harmed} of these did any harm");
}

/// Links that lead into a long false chain through free memory: it ends where the memory has no room for more of what it
/// would be a chain of, in far less time than it would take to ask each of its places for all members.
#[test]
fn endless_chains_are_cut() {
    /// What is mapped of such a machine.
    const MAPPED: usize = 2 << 20;
    const HEADS: [&str; 6] = [
        "task_struct.tasks",
        "signal_struct.thread_head",
        "module.list",
        "mount.mnt_list",
        "mnt_namespace.list",
        "super_block.s_list",
    ];
    let mut cut = 0;
    // Each place leads to the next but one, or the one after that: structures that lie over each other.
    for (age, stride) in AGES.into_iter().zip([16u64, 24, 16]) {
        let mut machine = Machine::new(age, 4);
        let first = machine.base + machine.bytes.len().next_multiple_of(48) as u64;
        machine.bytes.resize(MAPPED, 0);
        let end = machine.base + MAPPED as u64;
        for at in (first..end).step_by(8) {
            let next = if at + stride < end { at + stride } else { first };
            machine.poke(at, machine.direct(next));
        }
        let heads: Vec<u64> = HEADS.into_iter().flat_map(|head| machine.places(head)).collect();
        for head in heads {
            machine.poke(head, machine.direct(first));
        }
        let target = target_of(machine.elf(true));
        let counts = every_table(&format!("{age:?} {stride}: a long chain"), &target);
        // There are more than 60 000 such places; each structure is far larger.
        let most = 8192;
        assert!(counts.iter().all(|(_, rows)| *rows < most), "{age:?} {stride}: {counts:?}");
        let mut rows = Rows::default();
        let table = TABLES.iter().find(|table| table.name == "kernel_modules").unwrap();
        table.run(&target, &Params::default(), &mut rows).unwrap();
        cut += usize::from(rows.notes.iter().any(|note| note.contains("the memory has no room")));
    }
    assert!(cut > 0, "no chain was cut");
}

/// The end of the kernel's types is lost: those before are used, and it is said.
#[test]
fn types_are_used_up_to_their_damage() {
    for age in AGES {
        let mut machine = Machine::new(age, 4);
        let (start, stop) = (machine.place_of("__start_BTF"), machine.place_of("__stop_BTF"));
        let healthy = linux_of(machine.elf(true)).types.unwrap().len();
        let word = |at: u64| u32::from_le_bytes(machine.bytes[(at - machine.base) as usize..][..4].try_into().unwrap());
        let (types, strings) = (u64::from(word(start + 12)), u64::from(word(start + 20)));
        assert_eq!(start + 24 + types + strings, stop);
        for at in (start + 24 + types * 3 / 4..start + 24 + types - 8).step_by(8) {
            machine.poke(at, 0);
        }
        let target = target_of(machine.elf(true));
        let linux = target.linux().unwrap();
        let left = linux.types.as_ref().map(|types| types.len()).unwrap();
        assert!(left < healthy && left > healthy / 2, "{left} of {healthy}");
        assert!(linux.evidence.iter().any(|text| text.contains("before that are used")), "{:?}", linux.evidence);
        every_table("types without an end", &target);
    }
}

/// Real machines, in the same ways.
#[test]
fn real_machines_answer_when_damaged() {
    for (file, parts) in reals() {
        let dump = || open(&file, &Budget::default()).unwrap();
        let whole = dump().machine.unwrap().memory;
        let (at, end) = (|percent| place_of(&*whole, percent), place_of(&*whole, 100));
        let mut harms: Vec<(String, Harm)> =
            CUTS.iter().map(|part| (format!("cut at {part} %"), Harm::Cut(at(*part)))).collect();
        for part in SMEARS {
            harms.push((format!("{part} pages of 1000 are zeros"), Harm::Zeros(part)));
            harms.push((format!("{part} pages of 1000 are others"), Harm::Others(part)));
        }
        for (shown, harm) in harms.into_iter().step_by(parts) {
            let mut dump = dump();
            let machine = dump.machine.as_mut().unwrap();
            machine.memory = std::sync::Arc::new(Damaged { inner: whole.clone(), end, harm });
            let target = target(dump);
            let counts = every_table(&format!("{}: {shown}", file.display()), &target);
            println!("{shown}: {:?} {counts:?}", target.linux().err());
        }
    }
}
