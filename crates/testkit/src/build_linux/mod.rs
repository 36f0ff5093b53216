//! Builder of a whole Linux machine in half a megabyte: a kernel that tells of itself what real ones tell (kallsyms, BTF,
//! ORC, VMCOREINFO), a handful of processes, and page tables over it.
//!
//! *What it is*: proof that readers take every offset from the kernel's own types. Order and gaps of the members of every
//! structure follow from a seed, and no real kernel ever had them. It shares no layout code with the readers.
//!
//! *What it is not*: a kernel that could run. Its code is all the same byte.
//!
//! ```
//! use afterimage_testkit::build_linux::{Age, Machine};
//! let dump = Machine::new(Age::Middle, 1).elf(true);
//! assert!(dump.starts_with(b"\x7fELF"));
//! ```
//!
//! *Trap*: a table of symbols is taken for one from 4096 names on, so most of its names only fill it.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "places in buffers of its own making: a wrong one must stop the test"
)]

mod code;
mod files;
mod kallsyms;
mod memory;
mod output;
mod plan;
mod structures;
mod tasks;
mod types;

pub use plan::{
    BANNER, CLOCK, COMMAND_LINE, HOST, IDLE_STACK, LOG, MODULES, MOUNTS, PROCESSES, Plan, SOCKETS, WORKER_STACK,
};

use code::{END, FILL, FILLERS, FUNCTIONS, Leave};
use files::Files;
use memory::Memory;
use tasks::{Task, shared, task};
use types::Types;

/// Pages that the kernel says it has, more than what is built of it.
const PAGES: u64 = 512;
/// One of these maps all of the machine's memory.
const LARGE_PAGE: u64 = 2 << 20;
/// Where a machine's memory begins as a rule.
const BASE: u64 = 0x0460_0000;

/// Which way a kernel keeps what changed over the years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// As 6.1: addresses of symbols before their names, mounts in a list, modules in two parts.
    Old,
    /// As 6.12: addresses behind the names, mounts in a tree, modules in seven parts.
    Middle,
    /// As 7.0: addresses of symbols count from their own places.
    New,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Physical address of its memory.
    pub base: u64,
    /// Its memory.
    pub bytes: Vec<u8>,
    /// The text of its VMCOREINFO.
    pub vmcoreinfo: String,
    /// Root of its page tables.
    pub root: u64,
    /// Physical places where something was written, and how many bytes.
    pub written: Vec<(u64, u64)>,
    /// Virtual addresses at which something begins.
    pub objects: Vec<u64>,
    /// Members of structures, as `task_struct.tasks`, and their physical places: one for each time that it was set.
    pub members: Vec<(String, u64)>,
    /// Variables in the kernel's image, and their virtual addresses.
    pub symbols: Vec<(String, u64)>,
    /// Virtual address of `_text`.
    pub text: u64,
    /// Program counter and stack pointer of processor 0.
    cpu: (u64, u64),
}

/// A kernel in the making.
pub(crate) struct Kernel {
    age: Age,
    memory: Memory,
    symbols: Vec<kallsyms::Symbol>,
    text: u64,
    /// Functions of modules.
    more: Vec<(&'static str, u64, Leave)>,
}

impl Kernel {
    /// Where a place in the kernel's image is mapped as such.
    fn image(&self, at: u64) -> u64 {
        self.memory.physical(at) - self.memory.base + self.text
    }

    fn symbol(&mut self, name: &str, kind: char, address: u64) {
        self.symbols.push((address, kind, name.to_owned()));
    }

    /// A variable of this many bytes in the kernel's image.
    fn variable(&mut self, name: &str, bytes: u64) -> u64 {
        let at = self.memory.room(bytes, 64);
        let at = self.image(at);
        self.symbol(name, 'D', at);
        at
    }

    fn structure(&mut self, name: &str, structure: &str) -> u64 {
        self.variable(name, self.memory.types.size(structure))
    }

    fn function(&self, name: &str) -> (u64, Leave) {
        if let Some((_, at, leave)) = self.more.iter().find(|(own, ..)| *own == name) {
            return (*at, *leave);
        }
        let (at, leave) = code::function(name);
        (self.text + at, leave)
    }

    /// A blob between two symbols.
    fn section(&mut self, name: &str, bytes: &[u8]) -> u64 {
        let at = self.memory.room(bytes.len() as u64, 8);
        self.memory.put(at, bytes);
        self.symbol(&format!("__start_{name}"), 'R', self.image(at));
        self.symbol(&format!("__stop_{name}"), 'R', self.image(at) + bytes.len() as u64);
        at
    }
}

impl Machine {
    /// Builds the machine; another seed has another layout of every structure, and another place of the kernel.
    #[must_use]
    pub fn new(age: Age, seed: u64) -> Self {
        Self::at(age, seed, BASE)
    }

    /// The same with its memory elsewhere: at a multiple of 2 MiB.
    #[must_use]
    pub fn at(age: Age, seed: u64, base: u64) -> Self {
        let types = Types::invent(&structures::structures(age), seed);
        let text = 0xffff_ffff_8100_0000 + (seed % 32) * 0x20_0000;
        let mut kernel =
            Kernel { age, memory: Memory::new(types, text, base), symbols: Vec::new(), text, more: Vec::new() };
        let code = kernel.memory.room(END, 4096);
        kernel.memory.put(code, &vec![0xcc; END as usize]);
        let image_offset = text - base;
        sections(&mut kernel);
        kernel.code();
        let root_page = kernel.memory.page();
        kernel.symbol("init_top_pgt", 'D', kernel.image(root_page));
        kernel.memory.map(root_page, text, base, true, false);
        kernel.memory.map(root_page, memory::DIRECT + base, base, true, false);
        kernel.modules(root_page);
        kernel.facts();
        let cpu = kernel.processes();
        kernel.log();
        // What follows, the table of symbols, is part of the image too.
        kernel.symbol("_end", 'B', text + LARGE_PAGE);
        let at = kernel.memory.room(0, 4096);
        let packed = kallsyms::pack(&mut kernel.symbols, age, kernel.memory.physical(at), image_offset);
        assert_eq!(kernel.memory.room(packed.bytes.len() as u64, 4096), at);
        kernel.memory.put(at, &packed.bytes);
        let tokens = kernel.image(at) + packed.tokens;
        let vmcoreinfo = [
            "OSRELEASE=6.66.0-built".to_owned(),
            "PAGESIZE=4096".to_owned(),
            format!("SYMBOL(swapper_pg_dir)={:x}", kernel.image(root_page)),
            format!("SYMBOL(_stext)={text:x}"),
            format!("NUMBER(phys_base)={}", 0xffff_ffff_8000_0000u64.wrapping_sub(image_offset) as i64),
            format!("SYMBOL(kallsyms_token_table)={tokens:x}"),
            format!("KERNELOFFSET={:x}", text - 0xffff_ffff_8100_0000),
            String::new(),
        ]
        .join("\n");
        let note = kernel.memory.page();
        kernel.memory.put(note, &output::note(&vmcoreinfo));
        let root = kernel.memory.physical(root_page);
        let variables =
            kernel.symbols.iter().filter(|(address, kind, _)| matches!(kind, 'D' | 'R') && *address >= text);
        let symbols = variables.map(|(address, _, name)| (name.clone(), *address)).collect();
        let Memory { mut bytes, written, objects, members, .. } = kernel.memory;
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        assert!(bytes.len() as u64 <= LARGE_PAGE, "one large page maps all of it");
        Self { base, bytes, vmcoreinfo, root, written, objects, members: members.into_inner(), symbols, text, cpu }
    }
}

fn sections(kernel: &mut Kernel) {
    let types = kernel.memory.types.btf(&structures::ENUMERATORS);
    kernel.section("BTF", &types);
    let mut code: Vec<(u64, Option<Leave>)> =
        FUNCTIONS.iter().map(|(name, leave)| (kernel.function(name).0, Some(*leave))).collect();
    code.push((kernel.text + FILL, None));
    let at = (kernel.memory.bytes.len() as u64).next_multiple_of(8) + kernel.text;
    let (distances, entries) = code::tables(at, &code);
    let place = kernel.section("orc_unwind_ip", &distances);
    assert_eq!(kernel.image(place), at);
    kernel.section("orc_unwind", &entries);
    let header = [&[0xfe, 0x5d, 0x32, 0xbf][..], &[0; 16]].concat();
    kernel.section("orc_header", &header);
    let banner = kernel.variable("linux_banner", BANNER.len() as u64 + 1);
    kernel.memory.put(banner, BANNER.as_bytes());
}

impl Kernel {
    /// Names of code.
    fn code(&mut self) {
        let text = self.text;
        for (name, at) in [("_text", 0), ("_stext", 0), ("_etext", END)] {
            self.symbol(name, 'T', text + at);
        }
        for (name, _) in FUNCTIONS {
            self.symbol(name, 'T', text + code::function(name).0);
        }
        for number in 0..FILLERS {
            self.symbol(&format!("fill_{number:04}"), 't', text + FILL + 4 * number);
        }
    }

    /// Variables that say something of the machine.
    fn facts(&mut self) {
        let uts = self.structure("init_uts_ns", "uts_namespace");
        let values = [
            ("sysname", "Linux"),
            ("nodename", HOST),
            ("release", "6.66.0-built"),
            ("version", "#1 SMP"),
            ("machine", "x86_64"),
        ];
        for (member, text) in values {
            self.memory.set_text(uts, "uts_namespace", &format!("name.{member}"), text);
        }
        let line = self.memory.text(COMMAND_LINE);
        let saved = self.variable("saved_command_line", 8);
        self.memory.put_word(saved, line);
        let taint = self.variable("tainted_mask", 8);
        self.memory.put_word(taint, 1 << 12);
        let total = self.variable("_totalram_pages", 8);
        self.memory.put_word(total, PAGES);
        let panic = self.variable("panic_cpu", 8);
        self.memory.put_word(panic, u64::from(u32::MAX));
        let size = self.memory.types.size("timekeeper") + 64;
        let core = self.variable("tk_core", size);
        let keeper = core + if self.age == Age::New { self.memory.types.place("tk_data", "timekeeper").0 } else { 8 };
        let (start, up) = CLOCK;
        let boot = 5_000_000_000;
        for (member, value) in [
            ("offs_boot", boot),
            ("offs_real", start * 1_000_000_000 + boot),
            ("xtime_sec", start + up),
            ("ktime_sec", up),
        ] {
            self.memory.set(keeper, "timekeeper", member, value);
        }
        for name in ["__cpu_possible_mask", "__cpu_online_mask"] {
            let mask = self.variable(name, 8);
            self.memory.put_word(mask, 3);
        }
    }

    /// Two modules; the first has code on a stack.
    fn modules(&mut self, root: u64) {
        let head = self.variable("modules", 16);
        let mut links = vec![head];
        for (name, base, size, taints) in MODULES {
            let module = self.memory.make("module");
            let page = self.memory.page();
            let place = self.memory.physical(page);
            self.memory.map(root, base, place, false, false);
            self.memory.set_text(module, "module", "name", name);
            self.memory.set(module, "module", "taints", taints);
            if self.age == Age::Old {
                for (member, value) in [("base", base), ("size", size), ("text_size", 0x1000)] {
                    self.memory.set(module, "module", &format!("core_layout.{member}"), value);
                }
            } else {
                let data = size - 0x1000;
                for (path, value) in [("mem.0.base", base), ("mem.0.size", 0x1000), ("mem.1.size", data)] {
                    self.memory.set(module, "module", path, value);
                }
            }
            let leave = Leave::Words(4);
            let tables = page + 0x800;
            let (distances, entries) = code::tables(base + 0x800, &[(base, Some(leave))]);
            self.memory.put(tables, &distances);
            self.memory.put(tables + 8, &entries);
            let arch = [("num_orcs", 1), ("orc_unwind_ip", base + 0x800), ("orc_unwind", base + 0x808)];
            for (member, value) in arch {
                self.memory.set(module, "module", &format!("arch.{member}"), value);
            }
            self.names(module, page, base);
            if name == "testmod" {
                self.more.push(("test_wait", base + 0x20, leave));
            }
            links.push(self.memory.at(module, "module", "list"));
        }
        self.memory.ring(&links);
    }

    /// A module's own table of symbols: an empty one, as in every ELF file, and a function.
    fn names(&mut self, module: u64, page: u64, base: u64) {
        let table = self.memory.make("mod_kallsyms");
        let mut symbol = [0; 48];
        // Elf64_Sym: name, info, other, section, value, size.
        symbol[24] = 1;
        symbol[28] = 2;
        symbol[30] = 1;
        symbol[32..40].copy_from_slice(&(base + 0x20).to_le_bytes());
        self.memory.put(page + 0x900, &symbol);
        self.memory.put(page + 0xa00, b"\0test_wait\0");
        for (member, value) in [("symtab", base + 0x900), ("num_symtab", 2), ("strtab", base + 0xa00)] {
            self.memory.set(table, "mod_kallsyms", member, value);
        }
        self.memory.set(module, "module", "kallsyms", table);
    }

    /// All tasks; gives program counter and stack pointer of processor 0, which is idle.
    fn processes(&mut self) -> (u64, u64) {
        let operations = ["ext4_file_operations", "socket_file_ops"].map(|name| self.variable(name, 64));
        let blocks = self.variable("super_blocks", 16);
        let mut files = Files::new(self, operations, blocks);
        let size = self.memory.types.size("nsproxy");
        let proxy = self.variable("init_nsproxy", size);
        let space = self.memory.word(self.memory.at(files.nsproxy, "nsproxy", "mnt_ns"));
        self.memory.set(proxy, "nsproxy", "mnt_ns", space);
        let idle = Plan { pid: 0, comm: "swapper/0", state: 'R', exe: None, ..PROCESSES[1] };
        let own = shared(self, &mut files, &idle);
        let (init, _) = task(self, own, &idle, &Task { tid: 0, comm: idle.comm, stack: &[], state: 'R' });
        let init = self.image(init);
        tasks::ring(&mut self.memory, own, &[init], self.age);
        self.symbol("init_task", 'D', init);
        let (mut leaders, mut numbered) = (vec![(0, init)], Vec::new());
        let mut waits = Vec::new();
        let mut running = 0;
        for plan in PROCESSES {
            let own = shared(self, &mut files, &plan);
            let threads = std::iter::once((plan.pid, plan.comm)).chain(plan.threads.iter().copied());
            let mut ring = Vec::new();
            for (tid, comm) in threads {
                let leader = tid == plan.pid;
                let (stack, state) = if leader { (plan.stack, plan.state) } else { (&WORKER_STACK[..], 'S') };
                let (at, begins) = task(self, own, &plan, &Task { tid, comm, stack, state });
                ring.push(at);
                numbered.push((tid, at, leader));
                if state == 'R' {
                    running = at;
                }
                if state == 'D' {
                    waits.push((at, begins[2]));
                }
            }
            leaders.push((plan.pid, ring[0]));
            tasks::ring(&mut self.memory, own, &ring, self.age);
        }
        for plan in PROCESSES.iter().chain([&idle]) {
            let parent = leaders.iter().find(|(pid, _)| *pid == plan.ppid).map_or(0, |(_, at)| *at);
            let tasks: Vec<u64> = numbered.iter().filter(|(tid, ..)| *tid == plan.pid).map(|(_, at, _)| *at).collect();
            for at in tasks.into_iter().chain((plan.pid == 0).then_some(leaders[0].1)) {
                self.memory.set(at, "task_struct", "real_parent", parent);
            }
        }
        let links: Vec<u64> = leaders.iter().map(|(_, at)| self.memory.at(*at, "task_struct", "tasks")).collect();
        self.memory.ring(&links);
        let space = self.structure("init_pid_ns", "pid_namespace");
        let head = self.memory.at(space, "pid_namespace", "idr.idr_rt.xa_head");
        tasks::numbers(&mut self.memory, head, &numbered);
        for (waiter, frame) in waits {
            self.lock(waiter, frame, running);
        }
        self.per_cpu([init, running])
    }

    /// A mutex that `task` waits for and `holder` has.
    fn lock(&mut self, task: u64, frame: u64, holder: u64) {
        const FLAGS: u64 = 1;
        let lock = self.structure("test_mutex", "mutex");
        let waiter = frame + 16;
        self.memory.set(waiter, "mutex_waiter", "task", task);
        self.memory.set(lock, "mutex", "owner.counter", holder | FLAGS);
        let links = [self.memory.at(lock, "mutex", "wait_list"), self.memory.at(waiter, "mutex_waiter", "list")];
        self.memory.ring(&links);
    }

    /// Each processor's own memory: what it runs, and its clock.
    fn per_cpu(&mut self, current: [u64; 2]) -> (u64, u64) {
        let queue = self.memory.types.size("rq");
        // The kernel's own copy, from which those of the processors were made.
        let template = self.variable("__per_cpu_start", 0x100 + queue);
        // Up to 6.14 these symbols count from 0.
        let zero = if self.age == Age::New { template } else { 0 };
        let (hot, inside) = match self.age {
            Age::Middle => ("pcpu_hot", self.memory.types.place("pcpu_hot", "current_task").0),
            _ => ("current_task", 0),
        };
        self.symbol(hot, 'D', zero + 0x40);
        self.symbol("runqueues", 'D', zero + 0x80);
        let offsets = self.variable("__per_cpu_offset", 16);
        for (cpu, task) in current.into_iter().enumerate() {
            let own = self.memory.room(0x100 + queue, 64);
            self.memory.put_word(own + 0x40 + inside, task);
            self.memory.set(own + 0x80, "rq", "clock", 110_000_000_000 + cpu as u64);
            self.memory.put_word(offsets + 8 * cpu as u64, own.wrapping_sub(zero));
        }
        let stack = self.memory.page();
        let frames: Vec<(u64, Leave)> = IDLE_STACK.iter().map(|name| self.function(name)).collect();
        code::fill(&mut self.memory, stack + 0x800, &frames);
        (frames[0].0 + 8, stack + 0x800)
    }

    /// The ring of log records, with the data of eight descriptors.
    fn log(&mut self) {
        const FINAL: u64 = 2 << 62;
        const SIZE: u64 = 512;
        const FIRST: u64 = 0x1001;
        let ring = self.memory.make("printk_ringbuffer");
        let prb = self.variable("prb", 8);
        self.memory.put_word(prb, ring);
        let each = ["prb_desc", "printk_info"].map(|name| self.memory.types.size(name));
        let [descs, infos] = each.map(|size| self.memory.room(8 * size, 64));
        let data = self.memory.room(SIZE, 64);
        let mut at = 3 * SIZE + 200;
        for (number, (time, level, text)) in (FIRST..).zip(LOG) {
            let (desc, info) = (descs + number % 8 * each[0], infos + number % 8 * each[1]);
            let len = (8 + text.len() as u64).next_multiple_of(8);
            let fits = at % SIZE + len <= SIZE;
            let (start, next) =
                if fits { (at, at + len) } else { (at.next_multiple_of(SIZE), at.next_multiple_of(SIZE) + len) };
            self.memory.put_word(data + start % SIZE, number);
            self.memory.put(data + start % SIZE + 8, text.as_bytes());
            let values =
                [("state_var.counter", FINAL | number), ("text_blk_lpos.begin", at), ("text_blk_lpos.next", next)];
            for (path, value) in values {
                self.memory.set(desc, "prb_desc", path, value);
            }
            let values =
                [("seq", number), ("ts_nsec", time), ("text_len", text.len() as u64), ("level", u64::from(level) << 5)];
            for (path, value) in values {
                self.memory.set(info, "printk_info", path, value);
            }
            at = next;
        }
        let values = [
            ("desc_ring.count_bits", 3),
            ("desc_ring.descs", descs),
            ("desc_ring.infos", infos),
            ("desc_ring.tail_id.counter", FIRST),
            ("desc_ring.head_id.counter", FIRST + LOG.len() as u64 - 1),
            ("text_data_ring.size_bits", 9),
            ("text_data_ring.data", data),
        ];
        for (path, value) in values {
            self.memory.set(ring, "printk_ringbuffer", path, value);
        }
    }
}
