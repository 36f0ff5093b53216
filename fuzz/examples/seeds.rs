//! Writes the committed corpus anew: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.
//!
//! Synthetic dumps come from the test kit's builders; real ones from tiny programs that are compiled, killed and dumped
//! here, by the kernel and by our own capture. It needs gcc, gcc for aarch64, objcopy, dwp and xz.
//!
//! Trap: real cores hold this machine's addresses and environment. The programs get an empty environment, and their
//! stack is limited to 16 KiB, so that a seed stays small.

use afterimage_capture::{DumpType, RunOptions};
use afterimage_dump::write::seekable;
use afterimage_testkit::build_core::{self, CoreBuilder, Machine, Segment, SigInfo, sample_core, sample_core_builder};
use afterimage_testkit::build_minidump::{
    Context, Cpu, Exception, Handle, LinuxFile, MemoryRegion, MinidumpBuilder, MiscInfo, Module, SystemInfo,
    SystemMemoryInfo, Thread, ThreadInfo, UnloadedModule, VmCounters,
};
use afterimage_testkit::hostile;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

type Seeds = Vec<(String, Vec<u8>)>;

fn main() {
    let work = tempfile::tempdir().expect("temporary folder");
    // The current folder stands in dumps too.
    std::env::set_current_dir("/").expect("current folder changed");
    let cores = cores(work.path());
    let minidumps = minidumps();
    let modules = modules(work.path());
    let packed = packed();
    let explain = [&cores[..], &minidumps[..], &packed[..1]].concat();
    let (dwarf, elf): (Seeds, Seeds) = modules.into_iter().partition(|(name, _)| name.starts_with("dwarf"));
    write("windows_kernel", &stops());
    write("linux_kernel", &changes());
    write("elf_core", &cores);
    write("minidump", &minidumps);
    write("compressed", &packed);
    write("elf_symbols", &elf);
    write("dwarf", &dwarf);
    write("breakpad", &breakpad());
    let images = images();
    write("convert", &[&cores[..], &minidumps[..], &converted(&cores), &images].concat());
    write("system_images", &images);
    write("explain", &explain);
    // The reports among the corpus of `apple` are written by hand.
    write("apple", &mach_cores());
}

/// Mach-O cores of both processors.
fn mach_cores() -> Seeds {
    use afterimage_testkit::build_macho::{Core, image, words};
    let uuid = *b"0123456789abcdef";
    let mut registers: Vec<u64> = (0..21).collect();
    registers[16] = 0x1_0000_0100;
    registers[7] = 0x7fff_0100;
    let program = image(2, 0x1_0000_0000, 0x1000, uuid, None);
    let intel = Core::x86_64()
        .thread(&[(4, words(&registers)), (6, vec![14, 6, 0x10, 0])])
        .segment(0x1_0000_0000, 5, program, 0x1000)
        .segment(0x7fff_0000, 3, vec![0; 0x200], 0x1000)
        .listed(0x1_0000_0000, uuid, "/a/App")
        .note("process metadata", b"{\"threads\":[{\"thread_id\":501}]}".to_vec());
    let arm = Core::arm64()
        .thread(&[(6, words(&(100..134).collect::<Vec<u64>>())), (7, vec![0x18, 0, 0x9200_0046, 0])])
        .segment(0x1000, 1, vec![1; 64], 64);
    vec![("core-x86_64".to_owned(), intel.bytes()), ("core-arm64".to_owned(), arm.bytes())]
}

fn write(target: &str, seeds: &[(String, Vec<u8>)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("folder made");
    for (name, bytes) in seeds {
        println!("{:7} {target}/{name}", bytes.len());
        assert!(bytes.len() <= 96 << 10, "{name} is longer than xtask lets an input be");
        fs::write(folder.join(name), bytes).expect("seed written");
    }
}

/// Changes of built Linux machines: none, one of each kind, many.
fn changes() -> Seeds {
    let mut seeds: Seeds = Vec::new();
    for choice in 0..6u8 {
        let hints = if choice % 2 == 0 { 0 } else { 0x80 };
        seeds.push((format!("whole-{choice}"), vec![hints | choice]));
    }
    let mut number = 1u64;
    let mut next = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number >> 16
    };
    for (name, count) in [("one", 1), ("few", 4), ("many", 40)] {
        for how in 0..7u8 {
            let mut seed = vec![how];
            for _ in 0..count {
                seed.extend([how, (next() & 0xff) as u8]);
                seed.extend((next() as u16).to_le_bytes());
                seed.extend(next().to_le_bytes());
            }
            seeds.push((format!("{name}-{how}"), seed));
        }
    }
    seeds
}

/// Crash dumps of Windows machines, cut behind the pages that lead somewhere.
fn stops() -> Seeds {
    use afterimage_testkit::build_windows_dump::{Machine, Triage};
    let cut = |name: &str, mut bytes: Vec<u8>, len: usize| {
        bytes.truncate(len);
        (name.to_owned(), bytes)
    };
    vec![
        cut("header", Machine::x64().header_only(), 0x2000),
        cut("complete", Machine::x64().complete(), 0x9000),
        cut("bitmap", Machine::x64().bitmap(6, b"SDMP", 0x403), 0xa000),
        cut("ranges", Machine::x64().ranges(10), 0xa000),
        cut("narrow", Machine::x86(true).complete(), 0x6000),
        cut("narrow-bitmap", Machine::x86(false).old_bitmap(0x200), 0x7000),
        cut("small-arm64", Triage::arm64().build(), usize::MAX),
    ]
}

/// Images of a small machine in the containers that are written, too.
fn images() -> Seeds {
    use afterimage_dump::write::image::{Codec, Image, ImageFormat, Options};
    use afterimage_dump::{Budget, open_source, write::layout::Pipe};
    use afterimage_testkit::build_image::{Hole, Layout, avml, kdump, lime, vmcore};
    let mut layout = Layout::new();
    layout.present(0x1000..0x3000);
    layout.hole(0x3000..0x5000, Hole::LeftOut);
    layout.zeros(0x5000..0x6000);
    layout.present(0x9000..0xb000);
    let core = vmcore::build(&layout);
    let mut seeds = vec![
        ("lime".to_owned(), lime::build(&layout)),
        ("avml".to_owned(), avml::build(&layout)),
        ("kdump-6".to_owned(), kdump::build(&layout, 6, true, false)),
        ("kdump-3-narrow".to_owned(), kdump::build(&layout, 3, false, false)),
        ("kdump-5-big".to_owned(), kdump::build(&layout, 5, true, true)),
    ];
    let dump = open_source(Path::new("core"), std::sync::Arc::new(core.clone()), &Budget::default()).expect("it opens");
    for (name, codec) in [("zlib", Codec::Zlib), ("lzo", Codec::Lzo), ("snappy", Codec::Snappy), ("zstd", Codec::Zstd)]
    {
        let options = Options { threads: 1, ..Options::default() };
        let image = Image::plan(&dump, ImageFormat::Kdump(codec), &options).expect("it is planned");
        let mut out = Pipe(Vec::new());
        image.write_stream(&mut out, &options).expect("it is written");
        seeds.push((format!("flat-{name}"), out.0));
    }
    seeds.push(("vmcore".to_owned(), core));
    seeds
}

/// Minidumps with afterimage's own streams: what `convert` makes of cores.
fn converted(cores: &Seeds) -> Seeds {
    use afterimage_dump::{Budget, Format, convert, open_source, write::layout::Pipe};
    let mut seeds = Vec::new();
    for (name, core) in cores {
        let dump = open_source(Path::new(name), std::sync::Arc::new(core.clone()), &Budget::default());
        let Ok(dump) = dump else { continue };
        let request = convert::Request { format: Some(Format::Minidump), dump_type: None };
        let Ok(conversion) = convert::plan(&dump, &request) else { continue };
        let mut out = Pipe(Vec::new());
        // The room for soft errors makes up half of a small file, and says nothing to a reader.
        if conversion.write(&mut out, None).is_ok() && out.0.len() <= 96 << 10 {
            seeds.push((format!("own-{name}"), out.0));
        }
    }
    seeds
}

/// Runs a tool in the folder; a tool that fails ends everything.
fn tool(folder: &Path, line: &str) {
    let status = Command::new("sh").args(["-ec", line]).current_dir(folder).status().expect("sh starts");
    assert!(status.success(), "{line}: {status}");
}

fn file(path: PathBuf) -> Vec<u8> {
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// ---- cores ----

const VICTIM: &str = r#"
static volatile long data[64] = {1, 2, 3};
__attribute__((noinline)) static void inner(long *at) { *at = data[1]; }
__attribute__((noinline)) static void outer(long n) { long local[4] = {n, 0x7f454c46, n, n}; inner((long *)local[2]); }
void _start(void) {
    __asm__ volatile("and $-16, %rsp");
    outer(0x18);
    for (;;) {}
}
"#;

fn cores(work: &Path) -> Seeds {
    let mut seeds = vec![("sample".to_owned(), sample_core())];
    let arm = Segment::new(0x40_0000, [0x1f, 0x20, 0x03, 0xd5].repeat(64));
    let thread = |pc: &str| build_core::Thread::new(7).signal(11).register(pc, 0x40_0004).register("sp", 0x9000);
    let stack = || Segment::words(0x9000, &[0x40_0004; 64]);
    seeds.push((
        "aarch64".to_owned(),
        CoreBuilder::new(Machine::Aarch64)
            .thread(thread("pc"))
            .siginfo(&SigInfo::fault(11, 1, 0x18))
            .segment(arm)
            .segment(stack())
            .build(),
    ));
    let thread = build_core::Thread::new(7).signal(8).register("eip", 0x40_0004).register("esp", 0x9000);
    seeds.push((
        "i386".to_owned(),
        CoreBuilder::new(Machine::I386)
            .thread(thread)
            .auxv(&[(6, 4096)])
            .segment(Segment::new(0x40_0000, vec![0x90; 64]))
            .segment(stack())
            .build(),
    ));
    seeds.push(("notes-at-end".to_owned(), sample_core_builder().notes_after_memory().build()));

    fs::write(work.join("victim.c"), VICTIM).expect("source written");
    tool(work, "gcc -g -O1 -nostdlib -static -fno-stack-protector -Wl,-z,noseparate-code -o victim victim.c");
    tool(work, "ulimit -s 16; ulimit -c unlimited; env -i ./victim || true; test -f core || mv core.* core");
    seeds.push(("kernel".to_owned(), nameless(file(work.join("core")))));
    let options = RunOptions {
        command: vec!["sh".into(), "-c".into(), "ulimit -s 16; exec env -i \"$0\"".into(), work.join("victim").into()],
        output_dir: work.join("dumps"),
        dump_type: DumpType::Small,
    };
    let mut dump = None;
    afterimage_capture::run(&options, &mut |death| {
        dump = death.dump.as_ref().ok().map(|dump| dump.path.clone());
    })
    .expect("the victim runs");
    seeds.push(("capture".to_owned(), nameless(file(dump.expect("a dump")))));
    seeds
}

/// Overwrites the names of places outside the work folder (control groups, the build folder of the kernel's vDSO).
fn nameless(mut bytes: Vec<u8>) -> Vec<u8> {
    let keep: [&[u8]; 6] = [b"/tmp/", b"/dev/", b"/src", b"/victim", b"/lib", b"/\n"];
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_graphic()).count();
        if rest[0] == b'/' && length > 6 && !keep.iter().any(|word| rest.starts_with(word)) {
            bytes[at + 1..at + length].fill(b'x');
        }
        at += length.max(1);
        if length > 0 {
            // A path may stand behind other letters of its word, as in "memory:/name".
            if let Some(inside) = bytes[at - length + 1..at].iter().position(|byte| *byte == b'/') {
                at = at - length + 1 + inside;
            }
        }
    }
    bytes
}

// ---- minidumps ----

fn minidumps() -> Seeds {
    vec![
        ("windows".to_owned(), windows()),
        ("linux".to_owned(), linux(Cpu::Amd64, Context::amd64().set("rip", 0x40_1000).set("rsp", 0xa000))),
        ("linux-arm64".to_owned(), linux(Cpu::Arm64, Context::arm64().set("pc", 0x40_1000).set("sp", 0xa000))),
        ("linux-arm64-old".to_owned(), linux(Cpu::Arm64, Context::arm64_breakpad().set("pc", 0x40_1000))),
        ("mac".to_owned(), mac()),
        ("full-memory".to_owned(), full_memory()),
    ]
}

fn windows() -> Vec<u8> {
    let at_fault = Context::amd64().set("rip", 0x1_4000_1000).set("rsp", 0x9000).set("rbp", 0x9080).set("rax", 0xabc);
    let waiting = Context::amd64().set("rip", 0x7ff8_0000_2000).set("rsp", 0xa000);
    let info = ThreadInfo { start_address: 0x1_4000_1000, user_time: 156_250, affinity: 0xf, ..ThreadInfo::default() };
    MinidumpBuilder::new()
        .header(0x6543_2100, 0x1806)
        .system(&SystemInfo::windows(Cpu::Amd64, 10, 0, 19045))
        .misc(&MiscInfo {
            process_id: Some(4711),
            times: Some((0x6543_2000, 3, 1)),
            time_zone: Some((-60, "Somewhere".into())),
            build_string: Some("19041.1.amd64fre".into()),
            ..MiscInfo::default()
        })
        .exception(&Exception::new(0x1234, 0xc000_0005, 0x1_4000_1000, &at_fault).parameters(&[1, 0x10]))
        .system_memory(&SystemMemoryInfo {
            page_size: 4096,
            physical_pages: 0x40_0000,
            processors: 4,
            available_pages: 1000,
            committed_pages: 2000,
            commit_limit: 3000,
            peak_commitment: 4000,
        })
        .vm_counters(&VmCounters { page_faults: 7, working_set: 0x10_0000, ..VmCounters::default() })
        .comment_a("a comment")
        .comment_w("another one")
        .thread(
            Thread::new(0x1234)
                .context(&at_fault)
                .stack(0x9000, (0..=255).collect())
                .teb(0x7000)
                .name("main")
                .info(info),
        )
        .thread(
            Thread::new(0x1235).context(&waiting).stack(0xa000, vec![0x22; 128]).name("worker").scheduling(1, 32, 8),
        )
        .module(
            Module::new(0x1_4000_0000, 0x5000, r"C:\app\victim.exe")
                .image(0x11, 0x5f00_0000)
                .rsds("00112233445566778899aabbccddeeff", 1, r"C:\build\victim.pdb")
                .version([1, 2, 3, 4]),
        )
        .unloaded_module(UnloadedModule {
            base: 0x5000_0000,
            size: 0x1000,
            checksum: 0,
            timestamp: 1,
            name: r"C:\old.dll".into(),
        })
        .memory(0x1_4000_1000, vec![0x90; 64])
        .region(MemoryRegion::private(0x9000, 0x1000, 4))
        .region(MemoryRegion { protect: 0x104, ..MemoryRegion::private(0x8000, 0x1000, 4) })
        .handle(Handle {
            handle: 0x44,
            type_name: Some("Event".into()),
            object_name: Some(r"\BaseNamedObjects\ready".into()),
            granted_access: 0x1f_0003,
            objects: vec![(5, vec![1, 2, 3, 4])],
            ..Handle::default()
        })
        .unused_slot()
        .build()
}

fn linux(cpu: Cpu, context: Context) -> Vec<u8> {
    MinidumpBuilder::new()
        .system(&SystemInfo::linux(cpu, "Linux 6.1.0 #1 SMP"))
        .thread(Thread::new(11).context(&context).stack(0xa000, [0x10, 0x10, 0x40, 0, 0, 0, 0, 0].repeat(32)))
        .module(Module::new(0x40_0000, 0x4000, "/bin/victim").elf_build_id(&[0xab; 20]))
        .memory(0x40_1000, vec![0x90; 64])
        .exception(&Exception::new(11, 11, 0x18, &context).flags(1))
        .breakpad_info(Some(12), Some(11))
        .assertion("size > 0", "grow", "vector.c", 42, 1)
        .linux_file(LinuxFile::CpuInfo, "processor\t: 0\n")
        .linux_file(LinuxFile::Status, "Name:\tvictim\nPid:\t11\n")
        .linux_file(LinuxFile::LsbRelease, "DISTRIB_ID=Debian\n")
        .linux_file(LinuxFile::CmdLine, "victim\0--now\0")
        .linux_file(LinuxFile::Environ, "LANG=C\0")
        .linux_auxv(&[(6, 4096), (9, 0x40_1000)])
        .linux_file(LinuxFile::Maps, "00400000-00404000 r-xp 00000000 08:01 42 /bin/victim\n")
        .linux_dso_debug(
            0x7f00_1000,
            0x7f00_0000,
            0x40_0e28,
            &[(0, 0x40_0e28, ""), (0x7f10_0000, 0x7f10_1000, "/lib/c")],
        )
        .linux_limits("Limit                     Soft Limit           Hard Limit           Units\n")
        .crashpad(&[("product", "victim")], &[(0, &[("note", 1, b"hello")])])
        .build()
}

fn mac() -> Vec<u8> {
    let context = Context::arm64().set("pc", 0x1_0000_1000).set("sp", 0x9000);
    MinidumpBuilder::new()
        .padded_lists()
        .system(&SystemInfo::mac(Cpu::Arm64, 14, 1, 0, "23B74"))
        .thread(Thread::new(3).context(&context).stack(0x9000, vec![0; 128]))
        .module(Module::new(0x1_0000_0000, 0x4000, "/App/victim").rsds("00112233445566778899aabbccddeeff", 0, "victim"))
        .exception(&Exception::new(3, 1, 0x18, &context).flags(2).parameters(&[1, 0x18]))
        .mac_boot_arguments("-v")
        .mac_crash_info(&[("/usr/lib/libc.dylib", "abort() called")])
        .soft_errors(r#"[{"InitErrors": []}]"#)
        .build()
}

fn full_memory() -> Vec<u8> {
    let context = Context::x86().set("eip", 0x40_1000).set("esp", 0x2000_0000).set("ebp", 0x2000_0010);
    MinidumpBuilder::new()
        .system(&SystemInfo::windows(Cpu::X86, 6, 1, 7601))
        .thread(Thread::new(7).context(&context).stack_elsewhere(0x2000_0000, 64))
        .module(Module::new(0x40_0000, 0x5000, r"C:\victim.exe"))
        .memory64(0x40_1000, vec![0xe8; 64])
        .memory64(0x2000_0000, [5, 0x10, 0x40, 0].repeat(16))
        .exception(&Exception::new(7, 0xc000_0094, 0x40_1000, &context))
        .build()
}

// ---- packed ----

fn packed() -> Seeds {
    let core = CoreBuilder::new(Machine::X86_64)
        .thread(build_core::Thread::new(7).signal(11).register("rip", 0x18).register("rsp", 0x9000))
        .segment(Segment::words(0x9000, &[0x40_0004; 64]))
        .build();
    let mut seeds = Seeds::new();
    for (name, program) in
        [("zst", "zstd -c"), ("lz4", "lz4 -c"), ("xz", "xz -c"), ("gz", "gzip -nc"), ("bz2", "bzip2 -c")]
    {
        let mut child = Command::new("sh")
            .args(["-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        child.stdin.take().expect("piped").write_all(&core).expect("written");
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success(), "{program}");
        if name == "zst" {
            let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &output.stdout].concat();
            seeds.push(("core.zst".to_owned(), output.stdout));
            seeds.push(("skippable-first.zst".to_owned(), skippable));
        } else {
            seeds.push((format!("core.{name}"), output.stdout));
        }
    }
    let options = seekable::Options { frame_size: 300, ..seekable::Options::default() };
    let mut writer = seekable::Writer::new(Vec::new(), options).expect("written into memory");
    writer.write_all(&core).expect("written into memory");
    // One frame is filled up, one is a hole.
    writer.zeros((64 << 20) + 300).expect("written into memory");
    seeds.push(("seekable.zst".to_owned(), writer.finish().expect("written into memory").0));
    for name in ["with-wrong-sums", "frame-shorter-than-said"] {
        let hostile = hostile::all().into_iter().find(|input| input.name() == format!("compressed/seekable-{name}"));
        seeds.push((format!("seekable-{name}.zst"), hostile.expect("it is there").bytes()));
    }
    seeds
}

// ---- modules ----

const LIBRARY: &str = r#"
extern int outside(int);
struct pair { long first; struct pair *next; };
static inline __attribute__((always_inline)) int twice(int n) { return outside(n) * 2; }
static __attribute__((noinline)) int local(int n) { struct pair p = {n, 0}; return twice(n + (int)p.first); }
int one(int n) { return local(n) + 1; }
int two(int n) { return n > 3 ? one(n) : twice(n); }
"#;

/// Names that begin with `dwarf` are for the target of that name.
fn modules(work: &Path) -> Seeds {
    fs::write(work.join("lib.c"), LIBRARY).expect("source written");
    let link = "-shared -nostdlib -fPIC -O1 -Wl,-z,noseparate-code -Wl,--build-id";
    let lines = [
        ("shared", format!("gcc {link} -o OUT lib.c")),
        ("program", "gcc -c -O1 lib.c -o l.o && gcc -nostdlib -static-pie -Wl,--unresolved-symbols=ignore-all -Wl,-e,one -Wl,-z,noseparate-code -o OUT l.o".to_owned()),
        ("object", "gcc -c -O1 lib.c -o OUT".to_owned()),
        ("stripped", format!("gcc {link} -o OUT lib.c && strip OUT")),
        ("no-section-headers", format!("gcc {link} -o OUT lib.c && strip OUT && objcopy --strip-section-headers OUT 2>/dev/null || printf '\\000\\000' | dd of=OUT bs=1 seek=60 conv=notrunc status=none")),
        ("mini-debug", format!("gcc {link} -o OUT lib.c && objcopy --only-keep-debug OUT m.debug && xz -f --check=crc32 m.debug && objcopy --add-section .gnu_debugdata=m.debug.xz OUT && strip OUT")),
        ("aarch64", format!("aarch64-linux-gnu-gcc {link} -o OUT lib.c")),
        ("i386", "gcc -m32 -shared -nostdlib -fPIC -O1 -Wl,-z,noseparate-code -Wl,--build-id -Wl,--unresolved-symbols=ignore-all -o OUT lib.c || cp shared OUT".to_owned()),
        ("debug-frame", format!("gcc {link} -g -fno-asynchronous-unwind-tables -fno-unwind-tables -o OUT lib.c")),
        ("dwarf-2", format!("gcc {link} -gdwarf-2 -gstrict-dwarf -o OUT lib.c")),
        ("dwarf-3", format!("gcc {link} -gdwarf-3 -gstrict-dwarf -o OUT lib.c")),
        ("dwarf-4", format!("gcc {link} -gdwarf-4 -fdebug-types-section -o OUT lib.c")),
        ("dwarf-5", format!("gcc {link} -gdwarf-5 -o OUT lib.c")),
        ("dwarf-64", format!("gcc {link} -gdwarf-5 -gdwarf64 -o OUT lib.c")),
        ("dwarf-compressed", format!("gcc {link} -g -gz -o OUT lib.c")),
        ("dwarf-object", "gcc -c -O1 -g lib.c -o OUT".to_owned()),
        ("dwarf-only-debug", format!("gcc {link} -g -o x lib.c && objcopy --only-keep-debug x OUT")),
        ("dwarf-split-skeleton", "gcc -c -fPIC -g -gsplit-dwarf -O1 lib.c -o split.o && gcc -shared -nostdlib -Wl,-z,noseparate-code split.o -o OUT".to_owned()),
        ("dwarf-split-unit", "cp split.dwo OUT".to_owned()),
        ("dwarf-split-4-skeleton", "gcc -c -fPIC -gdwarf-4 -gsplit-dwarf -O1 lib.c -o split4.o && gcc -shared -nostdlib -Wl,-z,noseparate-code split4.o -o OUT".to_owned()),
        ("dwarf-package", "dwp -o OUT split.dwo".to_owned()),
    ];
    let mut seeds = Seeds::new();
    for (name, line) in lines {
        // Paths in debug information name no folder of this machine.
        let line = line.replace("OUT", name).replace("gcc ", "gcc -fdebug-prefix-map=$PWD=/src ");
        tool(work, &line);
        seeds.push((name.to_owned(), file(work.join(name))));
    }
    // Everything in one file: the skeleton, and the unit that it asks for, which the target answers with the same file.
    tool(
        work,
        "cp dwarf-split-skeleton both; for s in info abbrev str str_offsets line; do objcopy -O binary --only-section=.debug_$s.dwo --set-section-flags .debug_$s.dwo=alloc split.dwo s.$s; test ! -s s.$s || objcopy --add-section .debug_$s.dwo=s.$s both; done",
    );
    seeds.push(("dwarf-split-both".to_owned(), file(work.join("both"))));
    seeds
}

fn breakpad() -> Seeds {
    let linux = "MODULE Linux x86_64 00112233445566778899AABBCCDDEEFF0 victim\nINFO CODE_ID AABB\nFILE 0 /src/a.c\nFILE 1 /src/b.h\n\
        INLINE_ORIGIN 0 twice(int)\nFUNC 1000 30 0 main\nINLINE 0 7 0 0 1008 8\n1000 8 3 0\n1008 8 9 1\n1010 20 4 0\n\
        FUNC m 1030 10 0 folded\n1030 10 8 0\nPUBLIC 1040 0 _start\nPUBLIC m 1060 0 _ZN3foo3barEi\n\
        STACK CFI INIT 1000 30 .cfa: $rsp 8 + .ra: .cfa -8 + ^\nSTACK CFI 1001 .cfa: $rsp 16 + $rbp: .cfa -16 + ^\n\
        STACK CFI 1004 .cfa: $rbp 16 +\n";
    let windows = "MODULE windows x86 00112233445566778899AABBCCDDEEFF1 victim.pdb\nFILE 1 c:\\src\\a.cpp\nFUNC 1000 40 8 victim::run(int)\n\
        1000 10 12 1\n1010 30 14 1\nPUBLIC 2000 4 _entry\n\
        STACK WIN 4 1000 40 5 0 8 0 10 0 1 $T0 .raSearch = $eip $T0 ^ = $esp $T0 4 + = $ebp $ebp =\n\
        STACK WIN 0 2000 20 0 0 4 4 8 0 0 1\n\
        STACK WIN 4 3000 40 5 0 8 0 10 0 1 $T1 $ebp 8 @ = $eip $T1 4 + ^ = $esp $T1 8 + = $L $T1 =\n";
    let arm = "MODULE mac arm64 00112233445566778899AABBCCDDEEFF0 victim\nFUNC 1000 20 0 -[Victim run]\n1000 20 1 0\n\
        STACK CFI INIT 1000 20 .cfa: sp 0 + .ra: x30\nSTACK CFI 1004 .cfa: sp 16 + .ra: .cfa -8 + ^ x29: .cfa -16 + ^\n";
    [("linux", linux), ("windows", windows), ("arm64", arm)]
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .to_vec()
}
