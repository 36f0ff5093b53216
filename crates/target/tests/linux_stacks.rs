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
use afterimage_target::linux::{KernelFrame, KernelStack, Linux, Process, ProcessTarget, RegisterSource};
use afterimage_target::{Options, StackEnd, Target, Trust};
use common::{Guest, WHOLE, guests, have, hex, sh, vmcores};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
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
fn compare(guest: &Guest, filtered: bool) -> (usize, usize) {
    let name = guest.name.as_str();
    let (linux, truth) = guest.open();
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
    println!("{name}: {agreed} stacks agree ({exact} to the byte), {} differ, {missing} missing", differing.len());
    for (tid, comm, own, theirs, end) in &differing {
        println!("  {tid} {comm}\n    ours   {own} ({end})\n    theirs {theirs}");
    }
    // Some slept elsewhere when the dump was made: then drgn, which had the kernel's debug information, is asked.
    let folder = guest.folder.file_name().unwrap().to_str().unwrap();
    let peer = guest.folder.join(format!("../PEERS/{folder}.drgn-0.3.0.txt"));
    let peer = std::fs::read_to_string(peer).unwrap_or_default();
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
    assert!(wrong.iter().all(|thread| thread.1.starts_with("kworker")), "{name}: {wrong:#?}");
    (agreed, missing)
}

#[test]
fn sleeping_threads_have_the_stacks_that_the_kernel_showed() {
    for guest in guests(&WHOLE) {
        let (agreed, _) = compare(&guest, false);
        let truth = guest.truth();
        let processes = truth["processes"].as_array().unwrap().iter();
        let threads: usize = processes.map(|process| process["threads"].as_array().unwrap().len()).sum();
        // All but the two that ran, and workers that had come to do something else.
        assert!(agreed + 14 > threads, "{}: only {agreed} of {threads}", guest.name);
    }
}

#[test]
fn a_filtered_dump_keeps_its_stacks() {
    if std::env::var_os("AFTERIMAGE_MACHINES").is_some() {
        return;
    }
    for guest in guests(&[("k6.12-kdump", "d31-lzo.kdump.zst"), ("k6.12-kdump", "d31.elf.zst")]) {
        let (agreed, _) = compare(&guest, true);
        assert!(agreed > 50, "{}: only {agreed}", guest.name);
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
    let own =
        [("k6.1-live", "dump.elf.zst"), ("k6.12-live", "kdump-zlib.flat.zst"), ("k6.12-kdump", "d31-lzo.kdump.zst")];
    for guest in guests(&own) {
        let (linux, truth) = guest.open();
        let name = guest.name.as_str();
        if truth["modules"].as_array().unwrap().is_empty() {
            continue;
        }
        let text = Command::new("zcat").arg(guest.folder.join("TRUTH/kallsyms.gz")).output().unwrap().stdout;
        let text = String::from_utf8(text).unwrap();
        let mut theirs: HashMap<u64, Vec<&str>> = HashMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            // What belongs to BPF is in no module.
            // Nor is the mark of the assembler, where code begins, a name.
            if words.len() == 4 && words[3] != "[bpf]" && matches!(words[1], "t" | "T") && !words[2].starts_with('$') {
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
        // Kernels of arm64 have frame records and no ORC.
        let records = linux.symbols.address("__start_orc_unwind_ip").is_none();
        assert!(records || without * 50 < theirs.len(), "{name}: {without}");
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

    // Without registers, as a raw image has it: the same from what never returned on.
    let mut dump = open(&folder.join("k6.12-panic/dump.elf.zst"), &Budget::default()).unwrap();
    dump.machine.as_mut().unwrap().cpus.clear();
    let bare = Linux::open(&dump).unwrap();
    for (cpu, first, known) in [(0, "panic", &stack), (1, "stop_this_cpu", &other)] {
        let found = bare.stack_of_cpu(cpu).unwrap();
        println!("{}: {}", functions(&found.frames).join(" <- "), found.end);
        let from = known.frames.iter().position(|frame| frame.function.as_deref() == Some(first)).unwrap();
        let places = |frames: &[KernelFrame]| frames.iter().map(|frame| (frame.pc, frame.sp)).collect::<Vec<_>>();
        // Where the function itself stands is told by what it called last, which has come back since.
        assert_eq!(found.frames[0].function, known.frames[from].function);
        assert_eq!(places(&found.frames[1..]), places(&known.frames[from + 1..]));
        assert_eq!((&found.end, found.complete), (&known.end, known.complete));
        assert_eq!(bare.stack(bare.current(cpu).unwrap()), found);
    }
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

/// A machine as a target that looks at no file of this system.
fn alone(guest: &Guest) -> Target {
    let options = Options { use_system_files: false, debug_dirs: Vec::new(), ..Options::default() };
    Target::new(open(&guest.dump, &Budget::default()).unwrap(), options, Budget::default())
}

/// The call, the stack pointer and the program counter of every thread that was in a system call, as
/// `/proc/PID/task/TID/syscall` had them.
#[test]
fn threads_have_the_registers_that_the_kernel_showed() {
    for guest in guests(&WHOLE) {
        let (linux, truth) = guest.open();
        let (processes, _) = linux.processes().unwrap();
        let (mut agreed, mut running) = (0, 0);
        let mut names = HashMap::new();
        for process in &processes {
            let theirs = truth["processes"].as_array().unwrap().iter();
            let theirs = theirs.filter(|own| own["pid"] == process.pid && own["kernel_thread"] != true);
            let theirs: Vec<&Value> = theirs.flat_map(|own| own["threads"].as_array().unwrap()).collect();
            for thread in linux.threads(process).0 {
                let Some(shown) = theirs.iter().find(|own| own["tid"] == thread.tid) else { continue };
                let shown = shown["syscall"].as_str().unwrap_or_default();
                let words: Vec<&str> = shown.split(' ').collect();
                if let Ok(own) = linux.user_registers(thread.task)
                    && own.source != RegisterSource::Kernel
                {
                    assert_eq!(own.call, None, "{}: thread {}", guest.name, thread.tid);
                    running += 1;
                }
                let [number, .., sp, pc] = words[..] else { continue };
                let place = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
                // Of a thread that has ended all is zero.
                if (place(sp), place(pc)) == (0, 0) {
                    continue;
                }
                let what = format!("{}: thread {} ({:?})", guest.name, thread.tid, thread.comm);
                let own = linux.user_registers(thread.task).unwrap_or_else(|why| panic!("{what}: {why}"));
                // labinit, busy with the listing itself, went on.
                if process.pid == 1 {
                    continue;
                }
                assert_eq!(own.source, RegisterSource::Kernel, "{what}");
                assert_eq!(own.call, number.parse().ok(), "{what}");
                assert_eq!(own.registers.sp().map(|sp| sp.0), Some(place(sp)), "{what}");
                assert_eq!(own.registers.pc().map(|pc| pc.0), Some(place(pc)), "{what}");
                // -1 where it was stopped on its way out of one.
                if let Ok(call) = number.parse() {
                    names.insert(number.to_owned(), linux.call_name(call, own.registers.arch()));
                }
                agreed += 1;
            }
        }
        println!("{}: {agreed} threads have the registers that the kernel showed, {running} ran", guest.name);
        assert!(agreed >= 35, "{}: {agreed}", guest.name);
        if guest.name.ends_with(".zst") {
            // arch/x86/entry/syscalls/syscall_64.tbl
            for (number, name) in [("34", "pause"), ("61", "wait4"), ("202", "futex"), ("230", "clock_nanosleep")] {
                assert_eq!(names[number].as_deref(), Some(name), "{}", guest.name);
            }
        }
    }
}

/// The names of a thread's frames, innermost first.
fn names(of: &ProcessTarget, thread: usize) -> Vec<String> {
    let frames = of.target.stack(thread).frames.iter();
    frames.map(|frame| of.target.function_name(frame.address).unwrap_or_else(|| "?".to_owned())).collect()
}

fn named<'p>(processes: &'p [Process], comm: &str) -> &'p Process {
    let of_name = processes.iter().find(|process| process.comm.as_deref() == Some(comm));
    of_name.unwrap_or_else(|| panic!("no process {comm}"))
}

/// A pool of threads, each of which blocks in its own way in one function that all run; a static program, so the C library
/// is in it, and no file of this system is looked at.
#[test]
fn user_stacks_lead_to_the_start_of_their_threads() {
    let pool = ["futex", "nanosl", "poll", "epoll", "pipe", "sigwait", "accept", "pause"];
    for guest in guests(&WHOLE) {
        let target = alone(&guest);
        let (processes, _) = target.linux().unwrap().processes().unwrap();
        let of = target.process(named(&processes, "labthreads")).unwrap();
        assert!(of.without.is_empty() && of.remarks.is_empty(), "{}: {:?}", guest.name, of.remarks);
        let threads = &of.target.dump().threads;
        assert_eq!(threads.len(), 1 + pool.len(), "{}", guest.name);
        for (index, thread) in threads.iter().enumerate() {
            let name = thread.name.as_deref().unwrap();
            let stack = of.target.stack(index);
            let names = names(&of, index);
            let what = format!("{}: {name}: {names:?} {:?}", guest.name, stack.end);
            assert_eq!(stack.end, StackEnd::Outermost, "{what}");
            let sure = stack.frames.iter().all(|frame| matches!(frame.trust, Trust::Context | Trust::Cfi));
            assert!(sure, "{what}");
            let last = names.last().map(String::as_str);
            if index == 0 {
                assert!(names.iter().any(|name| name == "main") && last == Some("_start"), "{what}");
                continue;
            }
            let at = names.iter().position(|name| name == "worker");
            let at = at.unwrap_or_else(|| panic!("{what}"));
            // Behind the pool's own function stands the C library's, and nothing but the thread's beginning.
            assert!(names.len() >= at + 2 && names.len() <= at + 3, "{what}");
            let way = name.rsplit('-').next().unwrap();
            let calls =
                [("futex", "pthread_cond_wait"), ("nanosl", "nanosleep"), ("pipe", "read"), ("epoll", "epoll_")];
            let call = calls.iter().find(|(own, _)| *own == way).map_or(way, |(_, call)| call);
            assert!(names[..at].iter().any(|name| name.trim_start_matches('_').contains(call)), "{what}");
        }
        println!("{}: {} stacks of labthreads are whole", guest.name, threads.len());
    }
}

/// A dynamically linked program: its library out of the page cache, by the very file that it has mapped.
#[test]
fn a_library_out_of_the_page_cache_has_names() {
    for guest in guests(&WHOLE) {
        let target = alone(&guest);
        let (processes, _) = target.linux().unwrap().processes().unwrap();
        let Some(process) = processes.iter().find(|process| process.comm.as_deref() == Some("labdyn")) else {
            continue;
        };
        let of = target.process(process).unwrap();
        let names = names(&of, 0);
        let modules: Vec<_> = of.target.modules().iter().map(|module| (module.name(), module.file())).collect();
        println!("{}: {names:?} {modules:?}", guest.name);
        let main = names.iter().position(|name| name == "main").unwrap_or_else(|| panic!("{}: {names:?}", guest.name));
        assert!(names[..main].iter().any(|name| name.contains("pause")), "{}: {names:?}", guest.name);
        assert_eq!(of.target.stack(0).end, StackEnd::Outermost, "{}", guest.name);
        // All of them out of the image: nothing was looked for elsewhere.
        let elsewhere = modules.iter().find(|(_, file)| file.path().is_some());
        assert!(modules.len() >= 4 && elsewhere.is_none(), "{}: {modules:?}", guest.name);
        assert!(modules.iter().any(|(name, _)| *name == "[vdso]"), "{}: {modules:?}", guest.name);
    }
}

/// Where memory of processes was filtered away, a stack begins and says why it does not go on.
#[test]
fn filtered_user_stacks_say_what_is_missing() {
    let Some(folder) = vmcores() else { return };
    let folder = folder.join("k6.12-kdump");
    let guest = Guest { name: "k6.12-kdump".into(), dump: folder.join("d31.elf.zst"), folder };
    let target = alone(&guest);
    let (processes, _) = target.linux().unwrap().processes().unwrap();
    let of = target.process(named(&processes, "labthreads")).unwrap();
    assert_eq!(of.target.dump().threads.len(), 9);
    for index in 0..9 {
        let stack = of.target.stack(index);
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
        let StackEnd::Lost(why) = &stack.end else { panic!("{stack:?}") };
        assert!(why.contains("not in this dump"), "{why}");
    }
}

/// A machine with these files beside it.
fn with(guest: &Guest, debug_paths: Vec<PathBuf>) -> Target {
    let options = Options { debug_paths, debug_dirs: Vec::new(), ..Options::default() };
    Target::new(open(&guest.dump, &Budget::default()).unwrap(), options, Budget::default())
}

/// A file that claims to be a kernel's debug information is used by its build-id alone, and its lines stand where the kernel
/// was moved to.
#[test]
fn a_vmlinux_is_used_by_its_build_id() {
    if !have(&["gcc"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = "__asm__(\".globl _text\\n_text: .skip 64\");
        int first(int n) {
            return n + 1;
        }
        void _start(void) { first(2); }";
    std::fs::write(folder.path().join("first.c"), program).unwrap();
    let build = |name: &str, id: &str| {
        let flags = "-g -O0 -nostdlib -static -ffreestanding -fno-pie -no-pie -mcmodel=kernel";
        let link = format!("-Wl,-Ttext=0xffffffff81000000 -Wl,--build-id=0x{id}");
        sh(folder.path(), &format!("gcc {flags} {link} -o {name} first.c"));
        folder.path().join(name)
    };
    for guest in guests(&WHOLE) {
        let (linux, _) = guest.open();
        // Of other processors the program would not be.
        if linux.symbols.address("entry_SYSCALL_64").is_none() {
            continue;
        }
        let id = hex(&linux.build_id().unwrap_or_else(|| panic!("{}: no build-id", guest.name)));
        let told = linux.vmcoreinfo.as_deref().and_then(|text| text.split("BUILD-ID=").nth(1)?.lines().next());
        println!("{}: build-id {id}, VMCOREINFO has {told:?}", guest.name);
        let (good, other) = (build("vmlinux", &id), build("other", "0102030405060708"));
        let target = with(&guest, vec![other.clone(), good]);
        let lines = target.kernel_lines().unwrap_or_else(|why| panic!("{}: {why}", guest.name));
        let first = linux.symbols.address("_text").unwrap() + 64;
        let found = lines.at(first);
        assert_eq!(found.len(), 1, "{}: {found:?}", guest.name);
        assert_eq!((found[0].function.as_deref(), found[0].line), (Some("first"), Some(2)), "{found:?}");
        assert!(found[0].file.as_deref().unwrap().ends_with("first.c"), "{found:?}");
        assert!(lines.at(first - 65).is_empty());
        // As a folder, whatever the file is called there.
        let target = with(&guest, vec![folder.path().to_owned()]);
        assert!(target.kernel_lines().is_ok_and(|lines| lines.path.ends_with("vmlinux")));
        // In a subfolder of one that is named.
        let above = tempfile::tempdir().unwrap();
        let below = above.path().join("6.x/files");
        std::fs::create_dir_all(&below).unwrap();
        let target = with(&guest, vec![above.path().to_owned()]);
        assert!(target.kernel_lines().is_err_and(|why| why.contains(&id) && why.contains("folders given")));
        std::fs::copy(folder.path().join("vmlinux"), below.join("kernel.debug")).unwrap();
        let target = with(&guest, vec![above.path().to_owned()]);
        assert!(target.kernel_lines().is_ok_and(|lines| lines.path.ends_with("6.x/files/kernel.debug")));
        // Another build is refused, once and in words.
        let target = with(&guest, vec![other]);
        let why = target.kernel_lines().err().unwrap().to_owned();
        assert!(why.contains("its build-id is 0102030405060708") && why.contains(&id), "{why}");
        assert_eq!(target.kernel_lines().err(), Some(why.as_str()));
        assert_eq!(target.issues().iter().filter(|issue| issue.text == why).count(), 1);
        let target = with(&guest, vec![folder.path().join("first.c")]);
        assert_eq!(target.kernel_lines().err(), Some("no vmlinux was given"));
    }
}

/// Distributions' debug kernels, where they were fetched: the stack of a panic with the lines and inlined functions that
/// drgn 0.3.0 shows.
#[test]
fn a_panic_has_lines() {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/debug");
    let folder = std::env::var_os("AFTERIMAGE_VMLINUX").map_or(fetched, PathBuf::from);
    let Some(machine) = vmcores().map(|folder| folder.join("k6.12-panic")) else { return };
    let Ok(folders) = std::fs::read_dir(folder) else {
        eprintln!("no debug kernels here: not tested");
        return;
    };
    let folders: Vec<PathBuf> = folders.flatten().map(|entry| entry.path()).collect();
    let guest = Guest { name: "k6.12-panic".into(), dump: machine.join("dump.elf.zst"), folder: machine };
    let target = with(&guest, folders);
    let lines = target.kernel_lines().unwrap();
    let stack = target.linux().unwrap().stack_of_cpu(0).unwrap();
    let at = |frame: &KernelFrame| lines.at(if frame.exact { frame.pc } else { frame.pc - 1 });
    let places: Vec<String> = stack
        .frames
        .iter()
        .flat_map(at)
        .map(|place| {
            let inlined = if place.inlined { " inlined" } else { "" };
            format!("{} {}:{}{inlined}", place.function.unwrap_or_default(), place.file.unwrap(), place.line.unwrap())
        })
        .collect();
    let expected = [
        "rep_nop arch/x86/include/asm/vdso/processor.h:13 inlined",
        "delay_tsc arch/x86/lib/delay.c:78",
        "panic kernel/panic.c:530",
        "sysrq_handle_crash drivers/tty/sysrq.c:154",
        "__handle_sysrq drivers/tty/sysrq.c:613",
        "write_sysrq_trigger drivers/tty/sysrq.c:1182",
        "pde_write fs/proc/inode.c:330 inlined",
        "proc_reg_write fs/proc/inode.c:342",
        "vfs_write fs/read_write.c:681",
        "ksys_write fs/read_write.c:736",
        "do_syscall_x64 arch/x86/entry/common.c:47 inlined",
        "do_syscall_64 arch/x86/entry/common.c:78",
    ];
    assert_eq!(places[..expected.len()], expected);
}
