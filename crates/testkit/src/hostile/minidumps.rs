//! Minidumps whose header, directory or single records lie.

use super::{Hostile, cut};
use crate::build_core::pen::Pen;
use crate::build_minidump::{
    Context, Cpu, DirectoryEntry, Exception, Handle, Header, MinidumpBuilder, Module, SystemInfo, Thread, stream_type,
};

const MAX: u64 = u64::MAX;
const STACK: u64 = 0x9000;

pub(super) fn inputs() -> Vec<Hostile> {
    let mut inputs = frames();
    inputs.extend(records());
    inputs.extend(contexts());
    inputs
}

/// A small dump that is well.
pub(super) fn sound() -> MinidumpBuilder {
    let context = Context::amd64().set("rip", 0x1_4000_1000).set("rsp", STACK).set("rbp", STACK);
    MinidumpBuilder::new()
        .system(&SystemInfo::windows(Cpu::Amd64, 10, 0, 19045))
        .thread(Thread::new(1).context(&context).stack(STACK, vec![0; 512]).name("main"))
        .module(Module::new(0x1_4000_0000, 0x5000, r"C:\victim.exe").rsds(
            "00112233445566778899aabbccddeeff",
            1,
            "v.pdb",
        ))
        .exception(&Exception::new(1, 0xc000_0005, 0x1_4000_1000, &context).parameters(&[0, 0]))
}

/// The sound dump with something more.
pub(super) fn with(name: &str, add: impl Fn(MinidumpBuilder) -> MinidumpBuilder + 'static) -> Hostile {
    Hostile::new(format!("minidump/{name}"), move || add(sound()).build())
}

/// The sound dump with something instead: the first stream of this type, which the dump had already, is dropped.
pub(super) fn instead(name: &str, kind: u32, add: impl Fn(MinidumpBuilder) -> MinidumpBuilder + 'static) -> Hostile {
    with(name, move |dump| {
        add(dump).edit_directory(move |rows| {
            let first = rows.iter().position(|row| row.stream_type == kind);
            if let Some(row) = first.and_then(|first| rows.get_mut(first)) {
                row.stream_type = stream_type::UNUSED;
            }
        })
    })
}

fn header(name: &str, edit: impl Fn(&mut Header) + Clone + 'static) -> Hostile {
    with(name, move |dump| dump.edit_header(edit.clone()))
}

/// Changes the directory's row of every stream.
fn rows(name: &str, edit: impl Fn(&mut DirectoryEntry) + Clone + 'static) -> Hostile {
    with(name, move |dump| {
        let edit = edit.clone();
        dump.edit_directory(move |rows| rows.iter_mut().for_each(&edit))
    })
}

fn frames() -> Vec<Hostile> {
    let mut inputs = vec![
        header("stream-count-max", |header| header.stream_count = u32::MAX),
        header("stream-count-wraps", |header| header.stream_count = 0x1555_5556),
        header("stream-count-zero", |header| header.stream_count = 0),
        header("directory-past-end", |header| header.directory_rva = 0x7fff_ffff),
        header("directory-max", |header| header.directory_rva = u32::MAX),
        header("directory-on-header", |header| header.directory_rva = 0),
        header("version-unknown", |header| header.version = 0x1234),
        header("flags-max", |header| (header.flags, header.time, header.checksum) = (MAX, u32::MAX, u32::MAX)),
        rows("stream-sizes-max", |row| row.size = u32::MAX),
        rows("stream-sizes-zero", |row| row.size = 0),
        rows("stream-sizes-one", |row| row.size = 1),
        rows("stream-sizes-one-less", |row| row.size = row.size.saturating_sub(1)),
        rows("stream-sizes-one-more", |row| row.size = row.size.saturating_add(1)),
        rows("stream-rvas-max", |row| row.rva = u32::MAX),
        rows("stream-rvas-on-header", |row| row.rva = 0),
        rows("stream-rvas-on-directory", |row| row.rva = 32),
        rows("stream-rvas-all-alike", |row| row.rva = 0x100),
        rows("stream-types-all-unknown", |row| row.stream_type = 0xdead_beef),
        rows("stream-types-all-threads", |row| row.stream_type = stream_type::THREAD_LIST),
        Hostile::new("minidump/same-stream-50000-times", || {
            // The rows are a stream of their own, and the directory is said to be there.
            let row = Pen::little().u32(stream_type::THREAD_LIST).u32(4 + 48).u32(44).clone().into_bytes();
            MinidumpBuilder::new()
                .stream(stream_type::UNUSED, &row.repeat(50_000))
                .edit_header(|header| (header.stream_count, header.directory_rva) = (50_000, 48))
                .build()
        }),
        Hostile::new("minidump/header-only", || MinidumpBuilder::new().build()),
        Hostile::new("minidump/header-cut", || cut(&sound().build(), 20)),
        Hostile::new("minidump/directory-cut", || cut(&sound().build(), 40)),
    ];
    let length = sound().build().len();
    for place in (64..length).step_by(97) {
        inputs.push(Hostile::new(format!("minidump/cut-at-{place:05}"), move || cut(&sound().build(), place)));
    }
    inputs
}

fn records() -> Vec<Hostile> {
    let mut inputs = exceptions();
    inputs.extend(handles_and_systems());
    inputs.extend(extras());
    inputs
}

fn exceptions() -> Vec<Hostile> {
    let exception = |thread, parameters: &[u64]| {
        let context = Context::amd64().set("rip", MAX).set("rsp", MAX);
        Exception::new(thread, 0xc000_0005, MAX, &context).parameters(parameters)
    };
    let alone = |exception: Exception| {
        MinidumpBuilder::new().system(&SystemInfo::linux(Cpu::Amd64, "")).exception(&exception).build()
    };
    vec![
        instead("exception-of-no-thread", stream_type::EXCEPTION, move |dump| {
            dump.exception(&exception(0xdead, &[0, 0]))
        }),
        Hostile::new("minidump/exception-without-threads", move || alone(exception(1, &[8, MAX]))),
        Hostile::new("minidump/exception-with-1000-parameters", move || alone(exception(1, &[MAX; 1000]))),
        Hostile::new("minidump/exception-without-context", move || {
            alone(Exception { context: Vec::new(), ..exception(1, &[]) })
        }),
        Hostile::new("minidump/exception-cut", || {
            MinidumpBuilder::new().stream(stream_type::EXCEPTION, &[0xff; 20]).build()
        }),
        Hostile::new("minidump/exception-context-max", || {
            MinidumpBuilder::new().stream(stream_type::EXCEPTION, &[0xff; 168]).build()
        }),
    ]
}

fn handles_and_systems() -> Vec<Hostile> {
    let handle = || Handle {
        handle: MAX,
        type_name: Some("Mutant".into()),
        objects: vec![(1, vec![0; 8]), (2, vec![0; 8])],
        objects_loop: true,
        ..Handle::default()
    };
    vec![
        with("handle-objects-loop", move |dump| dump.handle(handle())),
        with("handle-objects-loop-in-20000-handles", move |dump| {
            (0..20_000).fold(dump, |dump, _| dump.handle(handle()))
        }),
        instead("system-of-an-unknown-machine", stream_type::SYSTEM_INFO, |dump| {
            dump.system(&SystemInfo { architecture: 0xfffe, platform: 0xffff_ffff, ..SystemInfo::linux(Cpu::X86, "") })
        }),
        Hostile::new("minidump/no-system", || {
            MinidumpBuilder::new().thread(Thread::new(1).context(&Context::arm64())).build()
        }),
        Hostile::new("minidump/system-is-another-machine", || {
            let system = SystemInfo::windows(Cpu::Arm64, 10, 0, 1);
            MinidumpBuilder::new().system(&system).thread(Thread::new(1).context(&Context::x86())).build()
        }),
        instead("service-pack-rva-max", stream_type::SYSTEM_INFO, |dump| {
            let mut pen = Pen::little();
            pen.u16(9).up_to(24).u32(u32::MAX).up_to(56);
            dump.stream(stream_type::SYSTEM_INFO, &pen.into_bytes())
        }),
        with("misc-size-max", |dump| dump.stream(stream_type::MISC_INFO, &[0xff; 24])),
        with("misc-flags-max-but-short", |dump| {
            dump.stream(stream_type::MISC_INFO, &[24, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0])
        }),
    ]
}

fn extras() -> Vec<Hostile> {
    vec![
        with("crashpad-annotations-count-max", |dump| dump.stream(stream_type::CRASHPAD_INFO, &[0xff; 52])),
        with("crashpad-info-of-itself", |dump| {
            dump.stream_with(stream_type::CRASHPAD_INFO, |pen| {
                // Annotations and module list are this very record, which says 1 row, whose parts are this record …
                let here = pen.rva();
                pen.u32(1).zeros(32).u32(0x1000).u32(here).u32(0x1000).u32(here);
                52
            })
        }),
        with("dso-debug-count-max", |dump| {
            dump.stream_with(stream_type::LINUX_DSO_DEBUG, |pen| {
                let here = pen.rva();
                pen.u32(1).u32(here).u32(u32::MAX).u32(0).u64(MAX).u64(MAX).u64(MAX);
                40
            })
        }),
        with("mac-crash-info-count-max", |dump| dump.stream(stream_type::MOZ_MAC_CRASH_INFO, &[0xff; 172])),
        with("mac-boot-arguments-rva-max", |dump| dump.stream(stream_type::MOZ_MAC_BOOT_ARGS, &[0xff; 12])),
        with("soft-errors-deep", |dump| dump.soft_errors(&"[".repeat(1 << 20))),
        with("soft-errors-not-text", |dump| dump.stream(stream_type::MOZ_SOFT_ERRORS, &[0xff; 100])),
        with("comment-odd-length", |dump| dump.stream(stream_type::COMMENT_W, &[0x41; 7])),
        with("comment-half-surrogates", |dump| dump.stream(stream_type::COMMENT_W, &[0xd8; 64])),
        with("assertion-without-ends", |dump| dump.stream(stream_type::ASSERTION_INFO, &[0x41; 776])),
        with("breakpad-streams-empty", |dump| {
            (0x4767_0001..0x4767_000b).fold(dump, |dump, kind| dump.stream(kind, &[]))
        }),
        with("every-stream-empty", |dump| (0..32).fold(dump, |dump, kind| dump.stream(kind, &[]))),
        with("every-stream-ones", |dump| (1..32).fold(dump, |dump, kind| dump.stream(kind, &[0xff; 64]))),
        Hostile::new("minidump/only-streams-of-ones", || {
            let kinds = (1..32).chain(0x4767_0001..0x4767_000b).chain(0x4d7a_0001..0x4d7a_0005).chain([0x4350_0001]);
            kinds.fold(MinidumpBuilder::new(), |dump, kind| dump.stream(kind, &[0xff; 2000])).build()
        }),
    ]
}

fn contexts() -> Vec<Hostile> {
    let mut inputs = Vec::new();
    for size in [0_usize, 1, 0x30, 716, 1231, 1233, 65536] {
        inputs.push(Hostile::new(format!("minidump/context-of-{size}-bytes"), move || {
            let thread = Thread::new(1).raw_context(vec![0xff; size]).stack(STACK, vec![0; 64]);
            MinidumpBuilder::new().system(&SystemInfo::windows(Cpu::Amd64, 10, 0, 1)).thread(thread).build()
        }));
    }
    let call = [0xe8, 0, 0, 0, 0];
    let bomb = move |fp: u64, stack: Vec<u64>| {
        let context = Context::amd64().set("rip", 0x1_4000_0005).set("rsp", STACK).set("rbp", fp);
        let bytes = stack.iter().flat_map(|word| word.to_le_bytes()).collect();
        MinidumpBuilder::new()
            .system(&SystemInfo::windows(Cpu::Amd64, 10, 0, 1))
            .thread(Thread::new(1).context(&context).stack(STACK, bytes))
            .module(Module::new(0x1_4000_0000, 0x1000, r"C:\victim.exe"))
            .memory(0x1_4000_0000, call.repeat(800))
            .build()
    };
    inputs.push(Hostile::new("minidump/stack-full-of-return-addresses", move || bomb(0, vec![0x1_4000_0005; 1 << 20])));
    inputs.push(Hostile::new("minidump/frame-pointer-to-itself", move || bomb(STACK, vec![STACK, 0x1_4000_0005])));
    inputs
}
