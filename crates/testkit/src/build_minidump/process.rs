//! What hangs on the process: threads, modules, memory regions, handles.
//!
//! ```
//! use afterimage_testkit::build_minidump::{Context, Module, Thread};
//! let thread = Thread::new(0x1234).context(&Context::amd64().set("rip", 0x1_4000_1000)).stack(0x1000, vec![0; 64]);
//! let module = Module::new(0x1_4000_0000, 0x5000, r"C:\app\victim.exe")
//!     .rsds("00112233445566778899aabbccddeeff", 1, r"C:\build\victim.pdb")
//!     .version([1, 2, 3, 4]);
//! # let _ = (thread, module);
//! ```
//!
//! *Trap*: a 32-bit process still has 64-bit addresses in all of these records.

use super::context::Context;
use super::text::guid;
use crate::build_core::pen::Pen;

/// A thread: a row of ThreadList, and what ThreadNames and ThreadInfoList say of it.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    pub(super) id: u32,
    pub(super) suspend_count: u32,
    pub(super) priority: (u32, u32),
    pub(super) teb: u64,
    pub(super) context: Vec<u8>,
    pub(super) stack: Option<(u64, u32, Option<Vec<u8>>)>,
    pub(super) name: Option<String>,
    pub(super) info: Option<ThreadInfo>,
}

/// A row of ThreadInfoList (MINIDUMP_THREAD_INFO). Times in units of 100 ns; the two dates since 1601.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "names and meaning as in minidumpapiset.h")]
pub struct ThreadInfo {
    pub dump_flags: u32,
    pub dump_error: u32,
    pub exit_status: u32,
    pub create_time: u64,
    pub exit_time: u64,
    pub kernel_time: u64,
    pub user_time: u64,
    pub start_address: u64,
    pub affinity: u64,
}

impl Thread {
    /// A thread without context and stack.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { id, ..Self::default() }
    }

    /// Its registers.
    #[must_use]
    pub fn context(mut self, context: &Context) -> Self {
        self.context = context.bytes();
        self
    }

    /// Its registers as any bytes: contexts of a wrong size.
    #[must_use]
    pub fn raw_context(mut self, bytes: Vec<u8>) -> Self {
        self.context = bytes;
        self
    }

    /// Its stack, which MemoryList will name too, with the same bytes.
    #[must_use]
    pub fn stack(mut self, address: u64, bytes: Vec<u8>) -> Self {
        self.stack = Some((address, bytes.len() as u32, Some(bytes)));
        self
    }

    /// Says where the stack is without bytes of its own: in a full dump they are in Memory64List.
    #[must_use]
    pub fn stack_elsewhere(mut self, address: u64, size: u32) -> Self {
        self.stack = Some((address, size, None));
        self
    }

    /// Address of the thread's environment block.
    #[must_use]
    pub fn teb(mut self, address: u64) -> Self {
        self.teb = address;
        self
    }

    /// How often it was suspended; priority class and priority.
    #[must_use]
    pub fn scheduling(mut self, suspend_count: u32, class: u32, priority: u32) -> Self {
        self.suspend_count = suspend_count;
        self.priority = (class, priority);
        self
    }

    /// Its name, in ThreadNames.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Its row in ThreadInfoList.
    #[must_use]
    pub fn info(mut self, info: ThreadInfo) -> Self {
        self.info = Some(info);
        self
    }
}

/// A loaded module: a row of ModuleList.
#[derive(Clone, Debug)]
pub struct Module {
    pub(super) base: u64,
    pub(super) size: u32,
    pub(super) checksum: u32,
    pub(super) timestamp: u32,
    pub(super) name: String,
    pub(super) debug: Vec<u8>,
    pub(super) version: Option<([u16; 4], [u16; 4])>,
}

impl Module {
    /// A module without debug record and version.
    #[must_use]
    pub fn new(base: u64, size: u32, name: &str) -> Self {
        Self { base, size, checksum: 0, timestamp: 0, name: name.to_owned(), debug: Vec::new(), version: None }
    }

    /// Checksum and link time from the image's header.
    #[must_use]
    pub fn image(mut self, checksum: u32, timestamp: u32) -> Self {
        (self.checksum, self.timestamp) = (checksum, timestamp);
        self
    }

    /// CodeView record `RSDS`: GUID as 32 hexadecimal digits, age, name of the PDB.
    #[must_use]
    pub fn rsds(mut self, digits: &str, age: u32, pdb: &str) -> Self {
        let mut pen = Pen::little();
        pen.bytes(b"RSDS").bytes(&guid(digits)).u32(age).bytes(pdb.as_bytes()).u8(0);
        self.debug = pen.into_bytes();
        self
    }

    /// Record `BpEL` in the CodeView place: an ELF build-id of any length.
    #[must_use]
    pub fn elf_build_id(mut self, id: &[u8]) -> Self {
        // 0x4270454c stored little-endian: the letters stand backwards in the file.
        self.debug = Pen::little().bytes(b"LEpB").bytes(id).clone().into_bytes();
        self
    }

    /// Any bytes in the CodeView place.
    #[must_use]
    pub fn raw_debug_record(mut self, bytes: &[u8]) -> Self {
        self.debug = bytes.to_vec();
        self
    }

    /// File version, and product version of the same value.
    #[must_use]
    pub fn version(mut self, version: [u16; 4]) -> Self {
        self.version = Some((version, version));
        self
    }

    pub(super) fn encode_version(&self, pen: &mut Pen) {
        let Some((file, product)) = self.version else {
            pen.zeros(52);
            return;
        };
        pen.u32(0xfeef_04bd).u32(0x1_0000);
        for [major, minor, build, private] in [file, product] {
            // Each pair is one number, the first part in its high half.
            pen.u16(minor).u16(major).u16(private).u16(build);
        }
        // flags mask, flags, VOS_NT_WINDOWS32, VFT_APP, subtype, date
        pen.u32(0x3f).u32(0).u32(0x4_0004).u32(1).u32(0).u64(0);
    }
}

/// A module that was loaded once: a row of UnloadedModuleList.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "names and meaning as in minidumpapiset.h")]
pub struct UnloadedModule {
    pub base: u64,
    pub size: u32,
    pub checksum: u32,
    pub timestamp: u32,
    pub name: String,
}

/// A region of the address space: a row of MemoryInfoList (MINIDUMP_MEMORY_INFO).
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "names and meaning as in minidumpapiset.h")]
pub struct MemoryRegion {
    pub base: u64,
    pub allocation_base: u64,
    pub allocation_protect: u32,
    pub size: u64,
    /// MEM_COMMIT 0x1000, MEM_RESERVE 0x2000, MEM_FREE 0x10000.
    pub state: u32,
    /// PAGE_NOACCESS 1, _READONLY 2, _READWRITE 4, _EXECUTE_READ 0x20; PAGE_GUARD 0x100 is added to it.
    pub protect: u32,
    /// MEM_PRIVATE 0x20000, MEM_MAPPED 0x40000, MEM_IMAGE 0x1000000.
    pub kind: u32,
}

impl MemoryRegion {
    /// Committed private memory that was allocated with the protection that it has now.
    #[must_use]
    pub fn private(base: u64, size: u64, protect: u32) -> Self {
        Self { base, allocation_base: base, allocation_protect: protect, size, state: 0x1000, protect, kind: 0x2_0000 }
    }
}

/// An open handle: a row of HandleData.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "names and meaning as in minidumpapiset.h")]
pub struct Handle {
    pub handle: u64,
    pub type_name: Option<String>,
    pub object_name: Option<String>,
    pub attributes: u32,
    pub granted_access: u32,
    pub handle_count: u32,
    pub pointer_count: u32,
    /// Chain of object information (type, bytes); only descriptor version 2 can carry it.
    pub objects: Vec<(u32, Vec<u8>)>,
    /// The last piece of object information names the first as its next: a loop.
    pub objects_loop: bool,
}

/// Why the dump was taken: the Exception stream.
#[derive(Clone, Debug, Default)]
pub struct Exception {
    /// The thread.
    pub thread_id: u32,
    /// Exception code; on Linux the signal number.
    pub code: u32,
    /// Exception flags; on Linux `si_code`.
    pub flags: u32,
    /// Address of the instruction (Windows) or of the access (Linux).
    pub address: u64,
    /// Up to 15 parameters: for an access violation 0 read, 1 write, 8 execute; then the address.
    pub parameters: Vec<u64>,
    /// The registers at the fault.
    pub context: Vec<u8>,
}

impl Exception {
    /// An exception of a thread, with the registers at the fault.
    #[must_use]
    pub fn new(thread_id: u32, code: u32, address: u64, context: &Context) -> Self {
        Self { thread_id, code, address, context: context.bytes(), ..Self::default() }
    }

    /// Exception flags; on Linux `si_code`.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(mut self, parameters: &[u64]) -> Self {
        self.parameters = parameters.to_vec();
        self
    }
}
