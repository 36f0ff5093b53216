//! Stacks of real Linux kernels, by what the machines carry in themselves, against what each said of itself while it ran
//! (`/proc/PID/task/TID/stack`), and against crash 8.0.6 for a processor that panicked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod common;

use afterimage_dump::{Budget, open};
use afterimage_target::linux::{KernelFrame, KernelStack, Linux};
use common::{truth, vmcores};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

fn linux(folder: &Path, file: &str) -> Linux {
    let dump = open(&folder.join(file), &Budget::default()).unwrap();
    Linux::open(&dump).unwrap()
}

/// As the kernel's file shows frames, without the function's length. It leaves out those of the scheduler
/// (`in_sched_functions`: between two symbols), wherever they are.
fn shown(linux: &Linux, stack: &KernelStack) -> Vec<String> {
    let start = linux.symbols.address("__sched_text_start").unwrap();
    let end = linux.symbols.address("__sched_text_end").unwrap();
    let frames = stack.frames.iter().filter(|frame| !(start..end).contains(&frame.pc));
    frames.map(|frame| format!("{}+{:#x}", frame.function.as_deref().unwrap(), frame.offset)).collect()
}

/// Stacks of all threads that the guest listed. Those of the kernel's workers change with their work, and those of
/// running tasks with time.
fn compare(name: &str, file: &str, filtered: bool) -> (usize, usize) {
    let folder = vmcores().unwrap().join(name);
    let (linux, truth) = (linux(&folder, file), truth(&folder));
    let (processes, _) = linux.processes().unwrap();
    let mut ours = HashMap::new();
    for process in &processes {
        let (threads, remark) = linux.threads(process);
        assert!(remark.is_none() || filtered, "{name}: {remark:?}");
        for thread in threads {
            assert!(ours.insert(thread.tid, (process.pid, thread)).is_none(), "{name}: a thread stands twice");
        }
    }
    let (mut agreed, mut differing, mut exact, mut missing) = (0, Vec::new(), 0, 0);
    for process in truth["processes"].as_array().unwrap() {
        for thread in process["threads"].as_array().unwrap() {
            let tid = thread["tid"].as_u64().unwrap() as u32;
            let Some((pid, own)) = ours.get(&tid) else {
                if filtered {
                    missing += 1;
                    continue;
                }
                panic!("{name}: thread {tid} of {} is missing", process["pid"]);
            };
            assert_eq!(u64::from(*pid), process["pid"].as_u64().unwrap(), "{name}: {tid}");
            let comm = thread["comm"].as_str().unwrap();
            let theirs: Vec<&str> = thread["stack"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let theirs: Vec<&str> = theirs.iter().map(|frame| frame.split('/').next().unwrap()).collect();
            let stack = linux.stack(own.task);
            if own.comm.is_none() && filtered {
                missing += 1;
                continue;
            }
            if thread["state"] == "R" {
                continue;
            }
            let frames = shown(&linux, &stack);
            let names = |frames: &[&str]| -> Vec<String> {
                frames.iter().map(|frame| frame.split('+').next().unwrap().to_owned()).collect()
            };
            let own: Vec<&str> = frames.iter().map(String::as_str).collect();
            if names(&own) == names(&theirs) && (stack.complete || theirs.is_empty()) {
                agreed += 1;
                exact += usize::from(own == theirs);
            } else {
                differing.push((tid, comm.to_owned(), own.join(" "), theirs.join(" "), stack.end));
            }
        }
    }
    println!(
        "{name}/{file}: {agreed} stacks agree ({exact} to the byte), {} differ, {missing} missing",
        differing.len()
    );
    for (tid, comm, own, theirs, end) in &differing {
        println!("  {tid} {comm}\n    ours   {own} ({end})\n    theirs {theirs}");
    }
    // Some slept elsewhere when the dump was made: then drgn, which had the kernel's debug information, is asked.
    let peer = std::fs::read_to_string(folder.join(format!("../PEERS/{name}.drgn-0.3.0.txt"))).unwrap();
    let drgn = |tid: u32, own: &str| {
        let start = format!("\nTRACE {tid} ");
        let trace = peer.split(&start).nth(1).and_then(|rest| rest.split("\nTRACE ").next()).unwrap_or_default();
        let mut names = trace
            .lines()
            .filter_map(|line| line.split([' ', '+']).find(|word| !word.is_empty() && !word.starts_with('#')));
        own.split(' ').all(|frame| names.any(|name| Some(name) == frame.split('+').next()))
    };
    let wrong: Vec<_> = differing.iter().filter(|thread| !drgn(thread.0, &thread.2)).collect();
    println!("  of those that differ, drgn shows {} as we do", differing.len() - wrong.len());
    assert!(wrong.iter().all(|thread| thread.1.starts_with("kworker")), "{name}/{file}: {wrong:#?}");
    (agreed, missing)
}

#[test]
fn sleeping_threads_have_the_stacks_that_the_kernel_showed() {
    let Some(_) = vmcores() else { return };
    for (name, file, most) in [
        ("k6.1-live", "dump.elf.zst", 98),
        ("k6.12-live", "kdump-zlib.flat.zst", 107),
        ("k6.12-panic", "dump.elf.zst", 106),
    ] {
        let (agreed, _) = compare(name, file, false);
        // All but the two that ran, and workers that had come to do something else.
        assert!(agreed + 12 > most, "{name}: only {agreed}");
    }
}

#[test]
fn a_filtered_dump_keeps_its_stacks() {
    let Some(_) = vmcores() else { return };
    for file in ["d31-lzo.kdump.zst", "d31.elf.zst"] {
        let (agreed, _) = compare("k6.12-kdump", file, true);
        assert!(agreed > 50, "{file}: only {agreed}");
    }
}

/// The processor that panicked has an address in its note that ORC knows nothing of; the one below it has crash's frames.
#[test]
fn a_kdump_tells_where_it_panicked() {
    let Some(folder) = vmcores() else { return };
    for file in ["d31-lzo.kdump.zst", "d31.elf.zst"] {
        let linux = linux(&folder.join("k6.12-kdump"), file);
        let stack = linux.stack_of_cpu(linux.panicked_cpu()).unwrap();
        let chain = "__crash_kexec panic sysrq_handle_crash __handle_sysrq write_sysrq_trigger proc_reg_write vfs_write \
                     ksys_write do_syscall_64 entry_SYSCALL_64_after_hwframe";
        assert_eq!(functions(&stack.frames).join(" "), chain, "{file}: {}", stack.end);
        assert!(stack.complete && stack.end.contains("0x443f60"), "{}", stack.end);
        // crash 8.0.6: panic at ffffffffab6c50a6
        assert_eq!(stack.frames[1].pc, 0xffff_ffff_ab6c_50a6);
    }
}

/// crash 8.0.6 had the kernel's debug information. Its frames of every task, those of the scheduler and of the idle tasks
/// too, by name and address.
#[test]
fn all_stacks_are_those_that_crash_shows() {
    let Some(folder) = vmcores() else { return };
    let linux = linux(&folder.join("k6.12-live"), "kdump-zlib.flat.zst");
    let text = std::fs::read_to_string(folder.join("PEERS/k6.12-live.crash-8.0.6.foreach-bt.txt")).unwrap();
    // Of several names for one place, crash shows another one than the kernel does; and not the compiler's suffix.
    let mut aliases: HashMap<u64, Vec<&str>> = HashMap::new();
    for symbol in linux.symbols.iter() {
        aliases.entry(symbol.address).or_default().push(symbol.name);
    }
    let (mut same, mut differing) = (0, Vec::new());
    for block in text.split("\nPID: ").skip(1) {
        let task = block.split("TASK: ").nth(1).unwrap().split_whitespace().next().unwrap();
        let task = u64::from_str_radix(task, 16).unwrap();
        let lines = block.lines().filter(|line| line.trim_start().starts_with('#'));
        let theirs: Vec<(String, u64)> = lines
            .map(|line| {
                let words: Vec<&str> = line.split(']').nth(1).unwrap().split_whitespace().collect();
                (words[0].to_owned(), u64::from_str_radix(words[2], 16).unwrap())
            })
            .collect();
        // Where a processor was, crash shows with its registers and not as a frame.
        let skip = usize::from(block.contains("[exception RIP:"));
        let stack = linux.stack(task);
        let own: Vec<&KernelFrame> = stack.frames.iter().skip(skip).collect();
        let alike = |own: &KernelFrame, theirs: &(String, u64)| {
            own.pc == theirs.1
                && aliases[&(own.pc - own.offset)].iter().any(|name| name.trim_end_matches(".isra.0") == theirs.0)
        };
        if own.len() == theirs.len() && own.iter().zip(&theirs).all(|(own, theirs)| alike(own, theirs)) {
            same += 1;
        } else {
            let own: Vec<String> = own.iter().map(|frame| format!("{frame} {:#x}", frame.pc)).collect();
            differing.push((block.lines().next().unwrap(), own, theirs));
        }
    }
    println!("crash: {same} stacks are the same, {} differ", differing.len());
    for (who, own, theirs) in &differing {
        println!("  {who}\n    ours   {own:x?}\n    theirs {theirs:x?}");
    }
    assert!(same > 100 && differing.is_empty());
}

/// No thread here slept in a module. So every function of every module: its name, as `/proc/kallsyms` had it, and whether
/// its ORC says how to leave it.
#[test]
fn functions_of_modules_have_names_and_callers() {
    let Some(folder) = vmcores() else { return };
    for (name, file) in
        [("k6.1-live", "dump.elf.zst"), ("k6.12-live", "kdump-zlib.flat.zst"), ("k6.12-kdump", "d31-lzo.kdump.zst")]
    {
        let linux = linux(&folder.join(name), file);
        let text = Command::new("zcat").arg(folder.join(name).join("TRUTH/kallsyms.gz")).output().unwrap().stdout;
        let text = String::from_utf8(text).unwrap();
        let mut theirs: HashMap<u64, Vec<&str>> = HashMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            // What belongs to BPF is in no module.
            if words.len() == 4 && words[3] != "[bpf]" && matches!(words[1], "t" | "T") {
                theirs.entry(u64::from_str_radix(words[0], 16).unwrap()).or_default().push(words[2]);
            }
        }
        let (mut wrong, mut without) = (Vec::new(), 0);
        for (address, names) in &theirs {
            let found = linux.function_at(address + 1);
            if !found.as_ref().is_some_and(|(own, offset)| names.contains(&own.as_str()) && *offset == 1) {
                wrong.push((address, names, found));
            }
            without += usize::from(!linux.tells_caller(*address) && !names[0].starts_with("__pfx_"));
        }
        println!("{name}: {} functions of modules, {} wrong, {without} without ORC", theirs.len(), wrong.len());
        println!("{:x?}", wrong.iter().take(6).collect::<Vec<_>>());
        assert!(theirs.len() > 300 && wrong.is_empty(), "{name}");
        assert!(without * 50 < theirs.len(), "{name}: {without}");
    }
}

fn functions(frames: &[KernelFrame]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame.function.as_deref()).collect()
}

#[test]
fn a_panic_is_told_from_the_registers() {
    let Some(folder) = vmcores() else { return };
    let linux = linux(&folder.join("k6.12-panic"), "dump.elf.zst");
    assert_eq!(linux.panicked_cpu(), 0);
    let stack = linux.stack_of_cpu(0).unwrap();
    println!("{}: {}", functions(&stack.frames).join(" <- "), stack.end);
    // As crash 8.0.6 shows it, with its addresses and (below each return address) stack pointers.
    let theirs = std::fs::read_to_string(folder.join("PEERS/k6.12-panic.crash-8.0.6.txt")).unwrap();
    let bt = |pid: &str| -> Vec<(String, u64)> {
        let start = theirs.lines().position(|line| line.starts_with(&format!("PID: {pid} "))).unwrap();
        let lines = theirs.lines().skip(start + 1).take_while(|line| !line.is_empty());
        let lines = lines.filter(|line| line.trim_start().starts_with('#'));
        let frame = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[2].to_owned(), u64::from_str_radix(words[4], 16).unwrap())
        };
        lines.map(frame).collect()
    };
    let check = |stack: &KernelStack, pid: &str, first: &str| {
        let from = stack.frames.iter().position(|frame| frame.function.as_deref() == Some(first)).unwrap();
        let own: Vec<(String, u64)> =
            stack.frames[from..].iter().map(|frame| (frame.function.clone().unwrap(), frame.pc)).collect();
        assert_eq!(own, bt(pid));
        assert!(stack.complete);
    };
    check(&stack, "1", "panic");
    let chain = "panic sysrq_handle_crash __handle_sysrq write_sysrq_trigger proc_reg_write vfs_write ksys_write \
                 do_syscall_64 entry_SYSCALL_64_after_hwframe";
    assert!(functions(&stack.frames).join(" ").ends_with(chain));
    // The other one was in its program when it was told to stop: through an interrupt, from the program's registers.
    let other = linux.stack_of_cpu(1).unwrap();
    println!("{}: {}", functions(&other.frames).join(" <- "), other.end);
    check(&other, "306", "__sysvec_reboot");
    assert!(other.end.contains("0x403c50"), "{}", other.end);
    assert_eq!(linux.stack(linux.current(0).unwrap()), stack);
}

#[test]
fn processors_in_programs_and_idle_ones() {
    let Some(folder) = vmcores() else { return };
    for (name, file) in [("k6.1-live", "dump.elf.zst"), ("k6.12-live", "kdump-zlib.flat.zst")] {
        let linux = linux(&folder.join(name), file);
        let stack = linux.stack_of_cpu(1).unwrap();
        println!("{name}: {}: {}", functions(&stack.frames).join(" <- "), stack.end);
        if name == "k6.1-live" {
            assert!(stack.frames.is_empty() && stack.end.starts_with("running in user mode"), "{name}: {}", stack.end);
        } else {
            // The program's time had just run out. crash 8.0.6 shows the same.
            let chain = "lapic_next_event clockevents_program_event hrtimer_interrupt __sysvec_apic_timer_interrupt \
                         sysvec_apic_timer_interrupt asm_sysvec_apic_timer_interrupt";
            assert_eq!(functions(&stack.frames).join(" "), chain);
        }
        let idle = linux.stack_of_cpu(0).unwrap();
        println!("{name}: {}: {}", functions(&idle.frames).join(" <- "), idle.end);
        assert!(idle.complete, "{name}: {}", idle.end);
    }
}
