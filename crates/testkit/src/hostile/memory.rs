//! Lies in the memory of the process: the module list, the program headers and notes of the images in it.

use super::{Hostile, set_bytes};
use crate::build_core::{CoreBuilder, ElfImage, LinkMap, Machine, Segment, Thread, call_frame};

const MAX: u64 = u64::MAX;
const PROGRAM: u64 = 0x40_0000;
const LIST: u64 = 0x7f20_0000_0000;
const NAMES: u64 = 0x7f30_0000_0000;

pub(super) fn inputs() -> Vec<Hostile> {
    let mut inputs = module_lists();
    inputs.extend(images());
    inputs
}

/// A process whose dynamic section leads to a module list.
fn process(list: LinkMap) -> CoreBuilder {
    let program = ElfImage::new(PROGRAM).build_id(&[1; 20]).dynamic(&[(21, list.r_debug())]).code(vec![0x90; 4096]);
    image_process(&program, program.segment()).segment(list.segment())
}

fn image_process(program: &ElfImage, segment: Segment) -> CoreBuilder {
    CoreBuilder::new(Machine::X86_64)
        .thread(Thread::new(1).signal(11).register("rip", PROGRAM + 0x1000).register("rsp", 0x7ffd_0000_0000))
        .auxv(&[(3, program.program_headers_address()), (4, 56), (5, program.program_headers_count()), (6, 4096)])
        .segment(segment)
        .segment(Segment::new(0x7ffd_0000_0000, vec![0; 4096]))
}

fn list(name: &str, make: impl Fn(LinkMap) -> LinkMap + 'static) -> Hostile {
    Hostile::new(format!("core/link-map-{name}"), move || process(make(LinkMap::new(LIST))).build())
}

fn module_lists() -> Vec<Hostile> {
    let library = |map: LinkMap| map.module(0x7f10_0000_0000, 0x7f10_0000_1000, "/lib/liba.so");
    vec![
        list("empty", |map| map),
        list("loop-to-itself", move |map| library(map).loop_to(0)),
        list("loop-to-first", move |map| library(library(library(map))).loop_to(0)),
        list("loop-to-middle", move |map| (0..100).fold(map, |map, _| library(map)).loop_to(50)),
        list("next-unmapped", move |map| library(map).continue_at(0xdead_0000)),
        list("next-max", move |map| library(map).continue_at(MAX)),
        list("next-is-r-debug", move |map| library(map).continue_at(LIST)),
        list("next-creeps-by-one-byte", move |map| library(map).continue_at(LIST + 41)),
        list("name-unmapped", |map| map.module_named_at(0, 0, 0xdead_0000)),
        list("name-max", |map| map.module_named_at(MAX, MAX, MAX)),
        list("bias-max", |map| map.module(MAX, MAX, "/lib/liba.so")),
        list("100000-modules", |map| (0..100_000_u64).fold(map, |map, index| map.module(index << 12, 0, "/a"))),
        list("same-base-20000-times", move |map| (0..20_000).fold(map, |map, _| library(map))),
        Hostile::new("core/link-map-names-without-end", || {
            // Each of 2 000 names is the same 8 MiB of letters: 16 GiB if every one is copied.
            let map = (0..2000_u64).fold(LinkMap::new(LIST), |map, index| map.module_named_at(index << 20, 0, NAMES));
            process(map).segment(Segment::new(NAMES, vec![b'a'; 8 << 20])).build()
        }),
        Hostile::large("core/link-map-million-modules", || {
            let map =
                (0..1_000_000_u64).fold(LinkMap::new(LIST), |map, index| map.module(index << 12, index, "/lib/x"));
            process(map).build()
        }),
    ]
}

/// An image with a dynamic section, a build-id and an unwind table.
pub(super) fn sound_image() -> ElfImage {
    ElfImage::new(PROGRAM).build_id(&[1; 20]).dynamic(&[(21, LIST), (5, 0x1000)]).code(vec![0x90; 4096]).function(
        0,
        4096,
        &call_frame::return_address_on_top(),
    )
}

/// Offsets in the sound image: the program headers begin at 64, 56 bytes each: load, dynamic, note, unwind table. The
/// parts follow them: the dynamic section (3 entries), the build-id note, the unwind table.
pub(super) const DYNAMIC: usize = 64 + 4 * 56;
pub(super) const NOTE: usize = DYNAMIC + 3 * 16;
pub(super) const UNWIND: usize = NOTE + 36 + 4;

/// The sound image with some bytes changed.
fn image(name: &str, offset: usize, bytes: &'static [u8]) -> Hostile {
    Hostile::new(format!("core/image-{name}"), move || {
        let program = sound_image();
        let mut memory = program.bytes();
        set_bytes(&mut memory, offset, bytes);
        image_process(&program, Segment::new(PROGRAM, memory).access("r-x")).build()
    })
}

fn images() -> Vec<Hostile> {
    const ONES: &[u8] = &[0xff; 64];
    let eight = |length: usize| ONES.get(..length).unwrap_or(ONES);
    let header = |number: usize, field: usize| 64 + 56 * number + field;
    vec![
        image("phnum-max", 56, eight(2)),
        image("phoff-max", 32, eight(8)),
        image("phentsize-zero", 54, &[0, 0]),
        image("load-vaddr-max", header(0, 16), eight(8)),
        image("load-memsz-max", header(0, 40), eight(8)),
        image("load-everything-max", header(0, 8), eight(48)),
        image("dynamic-vaddr-max", header(1, 16), eight(8)),
        image("dynamic-size-max", header(1, 32), eight(16)),
        image("dynamic-without-end", DYNAMIC, ONES),
        image("note-vaddr-max", header(2, 16), eight(8)),
        image("note-size-max", header(2, 32), eight(16)),
        image("note-namesz-max", NOTE, eight(4)),
        image("note-descsz-max", NOTE + 4, eight(4)),
        image("unwind-table-vaddr-max", header(3, 16), eight(8)),
        image("unwind-table-count-max", UNWIND + 8, eight(4)),
        image("unwind-table-frame-pointer-max", UNWIND + 4, eight(4)),
        image("unwind-table-encodings-unknown", UNWIND + 1, eight(3)),
        image("unwind-frame-garbage", UNWIND + 24, ONES),
        image("header-gone", 0, &[0; 64]),
    ]
}
