//! One small core that hangs together (x86-64, about 36 KiB): two threads, a program and a library with build-ids, a
//! module list, a stack with a chain of frame pointers, and a read from address 0x18.
//!
//! ```
//! use afterimage_testkit::build_core::{sample_core, SampleAddresses};
//! let core = sample_core();
//! assert!(core.len() > 16 * 4096 / 2);
//! assert_eq!(SampleAddresses::FAULT, 0x18);
//! ```
//!
//! *Trap*: its machine code is only what the story needs; bytes between the functions are `int3`.

use super::call_frame;
use super::{CoreBuilder, ElfImage, FileMap, LinkMap, Machine, ProcessInfo, Segment, SigInfo, Thread, VectorState};

/// The addresses of the sample, for tests to expect.
#[derive(Clone, Copy, Debug)]
pub struct SampleAddresses;

impl SampleAddresses {
    /// The program's image; its code is one page further.
    pub const PROGRAM: u64 = 0x40_0000;
    /// The library's image.
    pub const LIBRARY: u64 = 0x7f10_0000_0000;
    /// `r_debug` and the module list.
    pub const MODULE_LIST: u64 = 0x7f20_0000_0000;
    /// The lowest address of the stack that is in the dump.
    pub const STACK: u64 = 0x7ffd_0000_0000;
    /// The instruction that failed: `mov rax, [rdi+0x18]` with rdi = 0.
    pub const PC: u64 = Self::PROGRAM + 0x1004;
    /// The address that it read.
    pub const FAULT: u64 = 0x18;
    /// Return addresses of the callers, innermost first.
    pub const CALLERS: [u64; 2] = [Self::PROGRAM + 0x1049, Self::PROGRAM + 0x1089];
    /// Frame pointer of the innermost frame.
    pub const FRAME: u64 = Self::STACK + 0x100;
    /// Build-id of the program.
    pub const PROGRAM_BUILD_ID: [u8; 20] = [0xa1; 20];
    /// Build-id of the library.
    pub const LIBRARY_BUILD_ID: [u8; 20] = [0xb2; 20];
}

/// The description of the sample, to be changed before it is built.
#[must_use]
pub fn sample_core_builder() -> CoreBuilder {
    use SampleAddresses as At;

    let library = ElfImage::new(At::LIBRARY)
        .build_id(&At::LIBRARY_BUILD_ID)
        .dynamic(&[(1, 1)])
        .code(vec![0xcc; 0x1000])
        .function(0, 0x40, &call_frame::return_address_on_top());
    let modules = LinkMap::new(At::MODULE_LIST).module(0, At::PROGRAM + 64 + 3 * 56, "").module(
        0,
        library.dynamic_address(),
        "/usr/lib/libsample.so.1",
    );
    let program = ElfImage::new(At::PROGRAM)
        .build_id(&At::PROGRAM_BUILD_ID)
        .dynamic(&[(21, modules.r_debug())])
        .code(sample_code());
    debug_assert_eq!(program.dynamic_address(), At::PROGRAM + 64 + 3 * 56);

    CoreBuilder::new(Machine::X86_64)
        .thread(
            Thread::new(4711)
                .signal(11)
                .family(1, 4711, 4711)
                .register("rip", At::PC)
                .register("rsp", At::FRAME)
                .register("rbp", At::FRAME)
                .register("rdi", 0)
                .register("cs", 0x33)
                .register("ss", 0x2b)
                .register("eflags", 0x1_0246),
        )
        .process(&ProcessInfo::new(4711, "sample", "./sample --size 3"))
        .siginfo(&SigInfo::fault(11, 1, At::FAULT))
        .auxv(&[
            (3, program.program_headers_address()),
            (4, 56),
            (5, program.program_headers_count()),
            (6, 4096),
            (9, program.code_address()),
        ])
        .files(&FileMap::new(4096).file(At::PROGRAM, At::PROGRAM + 0x2000, 0, "/usr/bin/sample").file(
            At::LIBRARY,
            At::LIBRARY + 0x2000,
            0,
            "/usr/lib/libsample.so.1",
        ))
        .vectors(&VectorState::new().xmm(0, 0x3ff0_0000_0000_0000))
        .thread(
            // Folklore: the kernel gives every thread the signal that killed the process, not only the guilty one.
            Thread::new(4712)
                .signal(11)
                .family(1, 4711, 4711)
                .register("rip", At::LIBRARY + 0x1008)
                .register("rsp", At::STACK + 0x2000)
                .register("cs", 0x33)
                .register("ss", 0x2b),
        )
        .vectors(&VectorState::new())
        .segment(program.segment())
        .segment(library.segment())
        .segment(modules.segment())
        .segment(Segment::new(At::STACK, sample_stack()))
}

/// The sample as a file.
#[must_use]
pub fn sample_core() -> Vec<u8> {
    sample_core_builder().build()
}

/// Three functions, 0x40 bytes apart; each sets up a frame pointer, the outer two call the next inner one.
fn sample_code() -> Vec<u8> {
    let mut code = Vec::new();
    // push rbp; mov rbp, rsp; mov rax, [rdi+0x18]; pop rbp; ret
    code.extend(b"\x55\x48\x89\xe5\x48\x8b\x47\x18\x5d\xc3");
    code.resize(0x40, 0xcc);
    for _ in 0..2 {
        let start = code.len();
        // push rbp; mov rbp, rsp; call the function 0x40 bytes before; leave; ret. The return address is 9 bytes on.
        code.extend(b"\x55\x48\x89\xe5\xe8");
        code.extend((-0x49_i32).to_le_bytes());
        code.extend(b"\xc9\xc3");
        code.resize(start.saturating_add(0x40), 0xcc);
    }
    code.resize(0x1000, 0xcc);
    code
}

/// Frame records (saved frame pointer, return address) from [`SampleAddresses::FRAME`] on; the last one is zero.
fn sample_stack() -> Vec<u8> {
    use SampleAddresses as At;
    let mut words = vec![0_u64; 0x2100 / 8];
    let [inner, outer] = At::CALLERS;
    let frames = [(At::FRAME, At::FRAME + 0x20, inner), (At::FRAME + 0x20, At::FRAME + 0x40, outer)];
    for (place, saved, returns_to) in frames {
        let index = (place - At::STACK) as usize / 8;
        for (offset, value) in [saved, returns_to].into_iter().enumerate() {
            if let Some(word) = words.get_mut(index + offset) {
                *word = value;
            }
        }
    }
    // The second thread waits in the library: its return address lies on top of its stack.
    if let Some(word) = words.get_mut(0x2000 / 8) {
        *word = inner;
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
