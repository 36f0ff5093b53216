//! Cores whose notes lie: sizes of the notes, and what is in them.

use super::Hostile;
use crate::build_core::pen::Pen;
use crate::build_core::{CoreBuilder, FileMap, Machine, Segment, Thread, note_type, sample_core_builder};

const MAX: u64 = u64::MAX;

pub(super) fn inputs() -> Vec<Hostile> {
    let mut inputs = sizes();
    inputs.extend(contents());
    inputs.extend(masses());
    inputs
}

/// A thread with a stack, then this.
fn with(name: &str, add: impl Fn(CoreBuilder) -> CoreBuilder + 'static) -> Hostile {
    Hostile::new(format!("core/{name}"), move || {
        let thread = Thread::new(4711).signal(11).register("rip", 0x40_1004).register("rsp", 0x7ffd_0000_0000);
        let stack = Segment::new(0x7ffd_0000_0000, vec![0; 4096]);
        add(CoreBuilder::new(Machine::X86_64).thread(thread).segment(stack)).build()
    })
}

/// A core that has nothing but this.
fn only(name: &str, add: impl Fn(CoreBuilder) -> CoreBuilder + 'static) -> Hostile {
    Hostile::new(format!("core/{name}"), move || add(CoreBuilder::new(Machine::X86_64)).build())
}

fn raw_note(name_size: u32, description_size: u32, kind: u32, rest: &[u8]) -> Vec<u8> {
    let mut pen = Pen::little();
    pen.u32(name_size).u32(description_size).u32(kind).bytes(rest).align(4);
    pen.into_bytes()
}

fn sizes() -> Vec<Hostile> {
    vec![
        with("note-namesz-max", |core| core.raw_notes(&raw_note(u32::MAX, 0, 1, b"CORE\0"))),
        with("note-descsz-max", |core| core.raw_notes(&raw_note(5, u32::MAX, 1, b"CORE\0"))),
        with("note-both-sizes-max", |core| core.raw_notes(&raw_note(u32::MAX, u32::MAX, 1, b"CORE\0"))),
        with("note-sizes-wrap-to-zero", |core| core.raw_notes(&raw_note(0xffff_fffd, 0xffff_fffd, 1, b"CORE\0"))),
        with("note-header-cut", |core| core.raw_notes(&[5, 0, 0, 0, 1])),
        with("note-owner-without-end", |core| core.raw_notes(&raw_note(4, 4, 1, b"COREabcd"))),
        with("note-owner-not-text", |core| core.raw_notes(&raw_note(4, 0, 1, b"\xff\xfe\xfd\xfc"))),
        only("note-first-namesz-max", |core| core.raw_notes(&raw_note(u32::MAX, 0, 1, b"CORE\0"))),
    ]
}

fn contents() -> Vec<Hostile> {
    let mut inputs = Vec::new();
    for size in [0_usize, 1, 12, 32, 112, 335, 4096] {
        inputs.push(only(&format!("prstatus-of-{size}-bytes"), move |core| {
            core.note("CORE", note_type::PRSTATUS, &vec![0xff; size])
        }));
    }
    for (kind, name) in [
        (note_type::PRPSINFO, "prpsinfo"),
        (note_type::SIGINFO, "siginfo"),
        (note_type::AUXV, "auxv"),
        (note_type::FILE, "file"),
        (note_type::FPREGSET, "fpregset"),
        (note_type::X86_XSTATE, "xstate"),
    ] {
        for size in [0_usize, 3, 17] {
            inputs
                .push(with(&format!("{name}-of-{size}-bytes"), move |core| core.note("CORE", kind, &vec![0xff; size])));
        }
    }
    inputs.extend([
        with("file-count-max", |core| core.files(&FileMap::new(4096).claim_count(MAX))),
        with("file-count-wraps", |core| core.files(&FileMap::new(4096).claim_count(0x0aaa_aaaa_aaaa_aaab))),
        with("file-page-size-max", |core| core.files(&FileMap::new(MAX).file(0x1000, 0x2000, MAX, "/a"))),
        with("file-page-size-zero", |core| core.files(&FileMap::new(0).file(0x1000, 0x2000, 1, "/a"))),
        with("file-ends-before-start", |core| core.files(&FileMap::new(4096).file(MAX, 0, 0, "/a"))),
        with("file-whole-space", |core| core.files(&FileMap::new(4096).file(0, MAX, 0, "/a"))),
        with("file-more-names-than-entries", |core| {
            let mut pen = Pen::little();
            pen.u64(1).u64(4096).u64(0x1000).u64(0x2000).u64(0).bytes(b"/a\0/b\0/c\0");
            core.note("CORE", note_type::FILE, &pen.into_bytes())
        }),
        with("file-names-without-end", |core| {
            let mut pen = Pen::little();
            pen.u64(2).u64(4096).zeros(48).bytes(b"/never/ends");
            core.note("CORE", note_type::FILE, &pen.into_bytes())
        }),
        with("file-name-of-a-megabyte", |core| {
            core.files(&FileMap::new(4096).file(0x1000, 0x2000, 0, &"a/".repeat(1 << 19)))
        }),
        with("file-name-with-escapes", |core| {
            core.files(&FileMap::new(4096).file(0x1000, 0x2000, 0, "/tmp/\u{1b}[31mred\u{7}\n../../etc/passwd"))
        }),
        with("auxv-without-end", |core| core.auxv_without_end(&[(6, 4096); 100])),
        with("auxv-of-100000", |core| core.auxv(&[(9, MAX); 100_000])),
        with("auxv-phdr-max", |core| {
            core.auxv(&[(3, MAX), (4, MAX), (5, MAX), (7, MAX), (33, MAX), (31, MAX), (25, MAX)])
        }),
        with("auxv-phdr-on-stack-count-max", |core| core.auxv(&[(3, 0x7ffd_0000_0000), (4, 0), (5, MAX)])),
        with("prpsinfo-without-ends", |core| core.note("CORE", note_type::PRPSINFO, &[0xc3; 136])),
        with("xstate-bits-max", |core| core.note("LINUX", note_type::X86_XSTATE, &[0xff; 2688])),
        with("two-process-notes-that-differ", |core| {
            let twice =
                core.note("CORE", note_type::PRPSINFO, &[b'x'; 136]).note("CORE", note_type::PRPSINFO, &[b'y'; 136]);
            twice.auxv(&[(6, 4096)]).auxv(&[(6, 1)]).files(&FileMap::new(4096)).files(&FileMap::new(1))
        }),
        with("thread-numbers-all-alike", |core| {
            (0..1000).fold(core, |core, _| core.thread(Thread::new(4711).signal(11)))
        }),
        with("description-of-a-build-id-too-long", |core| core.note("GNU", 3, &[1; 100_000])),
    ]);
    inputs
}

fn masses() -> Vec<Hostile> {
    let file_note = |count: u64| {
        let mut pen = Pen::little();
        pen.u64(count).u64(4096);
        for index in 0..count {
            pen.u64(index << 12).u64((index + 1) << 12).u64(0);
        }
        for _ in 0..count {
            pen.bytes(b"/a\0");
        }
        pen.into_bytes()
    };
    vec![
        only("empty-notes-300000", |core| core.raw_notes(&[0; 12 * 300_000])),
        only("threads-10000", |core| threads(core, 10_000)),
        Hostile::large("core/million-threads", || threads(CoreBuilder::new(Machine::X86_64), 1_000_000).build()),
        Hostile::large("core/million-threads-with-memory", || {
            let stack = Segment::new(0x7ffd_0000_0000, vec![0x42; 4096]);
            threads(CoreBuilder::new(Machine::X86_64), 1_000_000).segment(stack).build()
        }),
        Hostile::large("core/million-files", move || {
            sample_core_builder().note("CORE", note_type::FILE, &file_note(1_000_000)).build()
        }),
        Hostile::large("core/ten-million-empty-notes", || {
            CoreBuilder::new(Machine::X86_64).raw_notes(&vec![0; 12 * 10_000_000]).build()
        }),
    ]
}

fn threads(core: CoreBuilder, count: u32) -> CoreBuilder {
    (0..count).fold(core, |core, tid| {
        core.thread(Thread::new(tid).signal(11).register("rip", 0x40_1004).register("rsp", 0x7ffd_0000_0100))
    })
}
