//! Minidumps whose lists lie: counts, row sizes, names, ranges.

use super::Hostile;
use super::minidumps::{sound, with};
use crate::build_core::pen::Pen;
use crate::build_minidump::{Context, MemoryRegion, MinidumpBuilder, Module, Thread, stream_type};

const MAX: u64 = u64::MAX;

pub(super) fn inputs() -> Vec<Hostile> {
    let mut inputs = counts();
    inputs.extend(masses());
    inputs.extend(names());
    inputs.extend(ranges());
    inputs
}

/// A list of the sound dump that is replaced, or one that it does not have.
fn stream(name: &str, kind: u32, write: impl Fn(&mut Pen) + Clone + 'static) -> Hostile {
    // Raw streams stand before the builder's own lists: all but the first of this type are dropped.
    with(name, move |dump| {
        let write = write.clone();
        dump.stream_with(kind, move |pen| {
            let start = pen.position();
            write(pen);
            pen.position() - start
        })
        .edit_directory(move |rows| {
            let mut seen = false;
            for row in rows.iter_mut().filter(|row| row.stream_type == kind) {
                if std::mem::replace(&mut seen, true) {
                    row.stream_type = stream_type::UNUSED;
                }
            }
        })
    })
}

fn counts() -> Vec<Hostile> {
    use stream_type as kind;
    let plain = [
        ("thread-list", kind::THREAD_LIST),
        ("module-list", kind::MODULE_LIST),
        ("memory-list", kind::MEMORY_LIST),
        ("thread-names", kind::THREAD_NAMES),
    ];
    let mut inputs = Vec::new();
    for (name, kind) in plain {
        for (how, count) in [("max", u32::MAX), ("half", 0x8000_0000), ("one-but-no-row", 1), ("million", 1_000_000)] {
            inputs.push(stream(&format!("{name}-count-{how}"), kind, move |pen| {
                pen.u32(count);
            }));
        }
        inputs.push(stream(&format!("{name}-count-max-with-rows"), kind, |pen| {
            pen.u32(u32::MAX).bytes(&[0xff; 500]);
        }));
    }
    // Lists with a header: size of header, size of row, count.
    let headed = [
        ("thread-info", kind::THREAD_INFO_LIST, 12, 64),
        ("unloaded-modules", kind::UNLOADED_MODULE_LIST, 12, 24),
        ("memory-info", kind::MEMORY_INFO_LIST, 16, 48),
        ("handles", kind::HANDLE_DATA, 16, 40),
    ];
    for (name, kind, header, row) in headed {
        for (how, header, row, count) in [
            ("count-max", header, row, u32::MAX),
            ("row-zero", header, 0, u32::MAX),
            ("row-one", header, 1, 100),
            ("row-max", header, u32::MAX, u32::MAX),
            ("header-zero", 0, row, 4),
            ("header-max", u32::MAX, row, 4),
        ] {
            inputs.push(stream(&format!("{name}-{how}"), kind, move |pen| {
                pen.u32(header).u32(row).u32(count).u32(if kind == kind::MEMORY_INFO_LIST { count } else { 0 });
                pen.bytes(&[0x11; 256]);
            }));
        }
    }
    inputs.push(stream("memory64-count-max", kind::MEMORY64_LIST, |pen| {
        pen.u64(MAX).u64(64).bytes(&[0x11; 256]);
    }));
    inputs.push(stream("memory64-base-max", kind::MEMORY64_LIST, |pen| {
        pen.u64(1).u64(MAX).u64(0x1000).u64(0x1000);
    }));
    inputs
}

fn masses() -> Vec<Hostile> {
    const MILLION: u32 = 1_000_000;
    vec![
        Hostile::large("minidump/million-threads", || {
            let context = Context::amd64().set("rip", 0x1_4000_1000).set("rsp", 0x9000).bytes();
            let write = move |pen: &mut Pen| {
                // All share one context.
                pen.u32(MILLION);
                let place = pen.rva() + 48 * MILLION;
                for id in 0..MILLION {
                    pen.u32(id).zeros(12).u64(0).u64(0x9000).u64(0).u32(context.len() as u32).u32(place);
                }
                pen.bytes(&context);
                4 + 48 * u64::from(MILLION)
            };
            MinidumpBuilder::new().stream_with(stream_type::THREAD_LIST, write).build()
        }),
        Hostile::new("minidump/threads-10000", || {
            let thread = |id| Thread::new(id).context(&Context::amd64().set("rip", 0x1_4000_1000));
            (2..10_000).fold(sound(), |dump, id| dump.thread(thread(id))).build()
        }),
        with("modules-20000-at-one-place", |dump| {
            let module = Module::new(0x5000_0000, u32::MAX, "a");
            (0..20_000).fold(dump, |dump, _| dump.module(module.clone()))
        }),
        with("memory64-of-100000-empty-ranges", |dump| {
            (0..100_000_u64).fold(dump, |dump, index| dump.memory64(index << 12, Vec::new()))
        }),
        with("regions-same-20000-times", |dump| {
            (0..20_000).fold(dump, |dump, _| dump.region(MemoryRegion::private(0x9000, 0x1000, 4)))
        }),
    ]
}

/// One module row; the name's RVA is worked out from the row's own place.
fn named(name: &str, name_rva: impl Fn(u32) -> u32 + Clone + 'static, after: &'static [u8]) -> Hostile {
    stream(&format!("module-name-{name}"), stream_type::MODULE_LIST, move |pen| {
        pen.u32(1);
        let row = pen.rva();
        pen.u64(0x1_4000_0000).u32(0x1000).u32(0).u32(0).u32(name_rva(row)).zeros(84).bytes(after);
    })
}

fn names() -> Vec<Hostile> {
    let debug = |name: &str, size: u32, rva: u32| {
        stream(&format!("module-debug-record-{name}"), stream_type::MODULE_LIST, move |pen| {
            pen.u32(1).u64(0x1_4000_0000).u32(0x1000).u64(0).u32(32).zeros(52).u32(size).u32(rva).zeros(24);
        })
    };
    vec![
        named("rva-max", |_| u32::MAX, b""),
        named("rva-of-itself", |row| row + 20, b""),
        named("rva-of-header", |_| 0, b""),
        named("length-max", |row| row + 108, b"\xff\xff\xff\xff"),
        named("length-max-even", |row| row + 108, b"\xfe\xff\xff\xffa\0b\0"),
        named("length-odd", |row| row + 108, b"\x03\0\0\0abc"),
        named("length-zero", |row| row + 108, b"\0\0\0\0"),
        named("half-surrogate", |row| row + 108, b"\x02\0\0\0\x00\xd8"),
        named("escapes", |row| row + 108, b"\x08\0\0\0\x1b\0[\x002\0J\0"),
        debug("size-max", u32::MAX, 32),
        debug("rva-max", 24, u32::MAX),
        debug("is-the-header", 24, 0),
        debug("of-one-byte", 1, 32),
        with("module-debug-record-name-without-end", |dump| {
            dump.module(Module::new(0x5000_0000, 0x1000, "a").raw_debug_record(&b"RSDS".repeat(64)))
        }),
        with("module-at-max", |dump| dump.module(Module::new(MAX, u32::MAX, "a"))),
        stream("thread-names-rva-64-bits", stream_type::THREAD_NAMES, |pen| {
            pen.u32(2).u32(1).u64(MAX).u32(2).u64(MAX - 3);
        }),
    ]
}

fn ranges() -> Vec<Hostile> {
    let bytes = || vec![0x42_u8; 256];
    vec![
        with("memory-overlaps", move |dump| (0..2000).fold(dump, |dump, index| dump.memory(0x5000 + index, bytes()))),
        with("memory-same-range-2000-times", move |dump| (0..2000).fold(dump, |dump, _| dump.memory(0x5000, bytes()))),
        with("memory-wraps", move |dump| dump.memory(MAX - 100, bytes())),
        with("memory-at-max", move |dump| dump.memory(MAX, bytes())),
        stream("memory-sizes-max", stream_type::MEMORY_LIST, |pen| {
            pen.u32(2).u64(0x1000).u32(u32::MAX).u32(32).u64(0x2000).u32(16).u32(u32::MAX);
        }),
        with("memory64-sizes-max", move |dump| {
            let lies = dump.memory64_claiming(0x5000, MAX, bytes()).memory64_claiming(0x6000, MAX, bytes());
            lies.memory64(0x7000, bytes())
        }),
        with("memory64-sum-wraps", move |dump| {
            let lies = dump.memory64_claiming(0x5000, MAX - 255, bytes()).memory64_claiming(0x6000, 256, bytes());
            lies.memory64(0x7000, bytes())
        }),
        with("memory64-wraps", move |dump| dump.memory64(MAX - 100, bytes())),
        with("memory64-overlaps", move |dump| {
            (0..2000).fold(dump, |dump, index| dump.memory64(0x5000 + index, bytes()))
        }),
        with("memory64-and-memory-disagree", |dump| dump.memory(0x5000, vec![1; 256]).memory64(0x5000, vec![2; 256])),
        with("regions-wrap", |dump| {
            dump.region(MemoryRegion::private(MAX - 10, MAX, 4)).region(MemoryRegion::private(0, MAX, 4))
        }),
        with("stack-size-max", |dump| {
            dump.thread(Thread::new(2).context(&Context::amd64()).stack_elsewhere(MAX, u32::MAX))
        }),
    ]
}
