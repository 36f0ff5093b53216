//! Cores whose headers lie: counts, offsets and sizes of up to 2⁶⁴ − 1, wraps, overlaps, a million segments; and cores
//! that were cut.

use super::{Hostile, cut};
use crate::build_core::pen::ByteOrder;
use crate::build_core::{Class, CoreBuilder, FileHeader, Machine, Segment, Thread, sample_core, sample_core_builder};

const MAX: u64 = u64::MAX;
const PAGE: u64 = 4096;

pub(super) fn inputs() -> Vec<Hostile> {
    let mut inputs = headers();
    inputs.extend(segments());
    inputs.extend(cuts());
    inputs
}

fn lie(name: &str, edit: impl Fn(&mut FileHeader) + Clone + 'static) -> Hostile {
    Hostile::new(format!("core/{name}"), move || sample_core_builder().edit_header(edit.clone()).build())
}

/// PN_XNUM with an edit.
fn lie_about_count(name: &str, edit: impl Fn(&mut FileHeader) + Clone + 'static) -> Hostile {
    Hostile::new(format!("core/{name}"), move || {
        sample_core_builder().count_in_section_header().edit_header(edit.clone()).build()
    })
}

fn headers() -> Vec<Hostile> {
    vec![
        lie("phoff-max", |header| header.e_phoff = MAX),
        lie("phoff-at-end", |header| header.e_phoff = 0x1_0000_0000),
        lie("phoff-on-header", |header| header.e_phoff = 0),
        lie("phoff-wraps-with-count", |header| (header.e_phoff, header.e_phnum) = (MAX - 55, 2)),
        lie("phnum-more-than-file", |header| header.e_phnum = 0xfffe),
        lie("phnum-zero", |header| header.e_phnum = 0),
        lie("phentsize-zero", |header| header.e_phentsize = 0),
        lie("phentsize-one", |header| header.e_phentsize = 1),
        lie("phentsize-max", |header| header.e_phentsize = 0xffff),
        lie("ehsize-max", |header| header.e_ehsize = 0xffff),
        lie("xnum-without-section", |header| header.e_phnum = 0xffff),
        lie_about_count("xnum-count-max", |header| header.sh_info = 0xffff_ffff),
        lie_about_count("xnum-count-zero", |header| header.sh_info = 0),
        lie_about_count("xnum-shoff-max", |header| header.e_shoff = MAX),
        lie_about_count("xnum-shoff-on-header", |header| header.e_shoff = 0x10),
        lie_about_count("xnum-shentsize-zero", |header| header.e_shentsize = 0),
        lie_about_count("xnum-shnum-zero", |header| header.e_shnum = 0),
        lie("class-unknown", |header| header.ei_class = 3),
        lie("class-32-says-64-bit-file", |header| header.ei_class = 1),
        lie("order-unknown", |header| header.ei_data = 0),
        lie("order-big-says-little-file", |header| header.ei_data = 2),
        lie("machine-unknown", |header| header.e_machine = 0xfeed),
        lie("version-unknown", |header| (header.ei_version, header.e_version) = (0xff, 0xffff_ffff)),
    ]
}

/// The sample with one more segment.
fn with_segment(name: &str, segment: Segment) -> Hostile {
    Hostile::new(format!("core/{name}"), move || sample_core_builder().segment(segment.clone()).build())
}

fn segments() -> Vec<Hostile> {
    let page = |address| Segment::new(address, vec![0x41; PAGE as usize]);
    let mut inputs = vec![
        with_segment("offset-max", page(0x5000_0000).claim_offset(MAX)),
        with_segment("offset-wraps-with-size", page(0x5000_0000).claim_offset(MAX - 100)),
        with_segment("offset-past-end", page(0x5000_0000).claim_offset(1 << 40)),
        with_segment("filesz-max", page(0x5000_0000).claim_file_size(MAX)),
        with_segment("filesz-more-than-memsz", page(0x5000_0000).memory_size(16)),
        with_segment("filesz-zero-memsz-zero", Segment::new(0x5000_0000, Vec::new())),
        with_segment("memsz-max", page(0x5000_0000).memory_size(MAX)),
        with_segment("memsz-whole-space", page(0).memory_size(MAX)),
        with_segment("vaddr-max", page(MAX)),
        with_segment("vaddr-wraps", page(MAX - 0xfff).memory_size(0x2000)),
        with_segment("vaddr-wraps-with-bytes", page(MAX - 0x7ff)),
        with_segment("align-max", page(0x5000_0000).align(MAX)),
        with_segment("align-zero", page(0x5000_0000).align(0)),
        with_segment(
            "load-of-the-header-itself",
            Segment::new(0x5000_0000, Vec::new()).claim_offset(0).claim_file_size(64),
        ),
        with_segment("note-filesz-max", Segment::new(0, Vec::new()).kind(4).claim_file_size(MAX).claim_offset(64)),
        with_segment("note-offset-max", Segment::new(0, Vec::new()).kind(4).claim_file_size(64).claim_offset(MAX - 32)),
        with_segment(
            "note-is-the-whole-file",
            Segment::new(0, Vec::new()).kind(4).claim_file_size(1 << 15).claim_offset(0),
        ),
        with_segment("segment-type-unknown", page(0x5000_0000).kind(0xffff_ffff)),
    ];
    let sizes_32 = || {
        let page = Segment::new(MAX, vec![0; PAGE as usize]);
        CoreBuilder::new(Machine::I386)
            .thread(Thread::new(1).register("eip", MAX).register("esp", MAX))
            .segment(page.claim_offset(MAX).claim_file_size(MAX).memory_size(MAX))
            .edit_header(|header| header.e_phoff = 52)
            .build()
    };
    inputs.push(Hostile::new("core/class-32-everything-max", sizes_32));
    inputs.push(Hostile::new("core/big-endian-with-32-bit-class", || {
        let machine = Machine::Other { class: Class::Elf32, order: ByteOrder::Big, number: 20 };
        CoreBuilder::new(machine).thread(Thread::new(1).raw_registers(vec![0xff; 7])).build()
    }));
    inputs.push(Hostile::new("core/overlap-same-range-1000-times", || {
        let copies = (0..1000_u64).map(|index| Segment::new(0x5000_0000, vec![index as u8; 64]).align(1));
        sample_core_builder().segments(copies).build()
    }));
    inputs.push(Hostile::new("core/overlap-nested", || {
        let nested = (0..2000_u64)
            .map(|index| Segment::new(0x5000_0000 + index * 16, Vec::new()).memory_size(0x1_0000_0000 - index * 32));
        sample_core_builder().segments(nested).build()
    }));
    inputs.push(Hostile::new("core/overlap-staircase", || {
        let steps = (0..100_000_u64).map(|index| {
            Segment::new(0x5000_0000 + index * PAGE, Vec::new())
                .claim_offset(0)
                .claim_file_size(8192)
                .memory_size(1 << 30)
        });
        sample_core_builder().segments(steps).build()
    }));
    inputs.push(Hostile::new("core/segments-in-falling-order", || {
        let falling = (0..50_000_u64).rev().map(|index| Segment::new(index << 13, Vec::new()).memory_size(PAGE));
        sample_core_builder().segments(falling).build()
    }));
    inputs.push(Hostile::new("core/every-segment-is-the-whole-file", || {
        let whole =
            (0..50_000_u64).map(|index| Segment::new(index << 20, Vec::new()).claim_offset(0).claim_file_size(1 << 20));
        sample_core_builder().segments(whole).build()
    }));
    inputs.push(Hostile::large("core/million-segments", || {
        let many = (0..1_000_000_u64).map(|index| Segment::new(index << 13, Vec::new()).memory_size(PAGE));
        sample_core_builder().segments(many).build()
    }));
    inputs.push(Hostile::large("core/million-note-segments", || {
        let note = Segment::new(0, Vec::new()).kind(4).claim_offset(64 + 56).claim_file_size(4096);
        sample_core_builder().segments((0..1_000_000).map(|_| note.clone())).build()
    }));
    inputs
}

/// The sample cut at every 4 KiB, and at every odd place of its headers.
fn cuts() -> Vec<Hostile> {
    let length = sample_core().len();
    let places =
        (0..length).step_by(PAGE as usize).chain([1, 15, 16, 63, 64, 65, 119, 120, 345, 400, 1000, length - 1]);
    let mut inputs: Vec<_> = places
        .map(|place| Hostile::new(format!("core/cut-at-{place:06}"), move || cut(&sample_core(), place)))
        .collect();
    let notes_last = || sample_core_builder().notes_after_memory().build();
    let length = notes_last().len();
    inputs.push(Hostile::new("core/cut-before-notes-at-end", move || cut(&notes_last(), length - 4200)));
    inputs.push(Hostile::new("core/cut-in-notes-at-end", move || cut(&notes_last(), length - 1000)));
    inputs
}
