//! Numbers and layouts of a minidump, named as their specifications name them. Nothing is read here.
//!
//! Sources: Microsoft's `minidumpapiset.h`, `winnt.h` and `verrsrc.h` documentation; Breakpad's `minidump_format.h`
//! and its `minidump_cpu_*.h`; Crashpad's `minidump_extensions.h`; the constants that Mozilla's tools and LLVM add.
//!
//! *Trap*: structures are packed to 4 bytes. A 64-bit field often stands on an address that divides only by 4
//! (`MINIDUMP_THREAD_NAME` is 12 bytes, not 16).

/// `MDMP`, as the first four bytes of a little-endian file.
pub(crate) const MINIDUMP_SIGNATURE: &[u8; 4] = b"MDMP";
/// The same in a big-endian file.
pub(crate) const MINIDUMP_SIGNATURE_SWAPPED: &[u8; 4] = b"PMDM";
/// Low half of `MINIDUMP_HEADER::Version`; the high half is the writer's own.
pub(crate) const MINIDUMP_VERSION: u16 = 0xa793;
/// Bytes of `MINIDUMP_HEADER`.
pub(crate) const HEADER_SIZE: u64 = 32;
/// Bytes of `MINIDUMP_DIRECTORY`.
pub(crate) const DIRECTORY_SIZE: usize = 12;

// MINIDUMP_TYPE
pub(crate) const MINI_DUMP_WITH_FULL_MEMORY: u64 = 0x2;
pub(crate) const MINI_DUMP_WITH_PRIVATE_READ_WRITE_MEMORY: u64 = 0x200;

// MINIDUMP_SYSTEM_INFO::ProcessorArchitecture
pub(crate) const PROCESSOR_ARCHITECTURE_INTEL: u16 = 0;
pub(crate) const PROCESSOR_ARCHITECTURE_MIPS: u16 = 1;
pub(crate) const PROCESSOR_ARCHITECTURE_ALPHA: u16 = 2;
pub(crate) const PROCESSOR_ARCHITECTURE_PPC: u16 = 3;
pub(crate) const PROCESSOR_ARCHITECTURE_ARM: u16 = 5;
pub(crate) const PROCESSOR_ARCHITECTURE_ALPHA64: u16 = 7;
pub(crate) const PROCESSOR_ARCHITECTURE_AMD64: u16 = 9;
pub(crate) const PROCESSOR_ARCHITECTURE_IA32_ON_WIN64: u16 = 10;
pub(crate) const PROCESSOR_ARCHITECTURE_ARM64: u16 = 12;
pub(crate) const PROCESSOR_ARCHITECTURE_ARM32_ON_WIN64: u16 = 13;
pub(crate) const PROCESSOR_ARCHITECTURE_IA32_ON_ARM64: u16 = 14;
pub(crate) const MD_CPU_ARCHITECTURE_SPARC: u16 = 0x8001;
pub(crate) const MD_CPU_ARCHITECTURE_PPC64: u16 = 0x8002;
pub(crate) const MD_CPU_ARCHITECTURE_ARM64_OLD: u16 = 0x8003;
pub(crate) const MD_CPU_ARCHITECTURE_MIPS64: u16 = 0x8004;
pub(crate) const MD_CPU_ARCHITECTURE_RISCV64: u16 = 0x8006;

// MINIDUMP_SYSTEM_INFO::PlatformId
pub(crate) const VER_PLATFORM_WIN32_CE: u32 = 3;
pub(crate) const MD_OS_MAC_OS_X: u32 = 0x8101;
pub(crate) const MD_OS_IOS: u32 = 0x8102;
pub(crate) const MD_OS_LINUX: u32 = 0x8201;
pub(crate) const MD_OS_ANDROID: u32 = 0x8203;
/// What the platforms that [`crate::Os`] has no name for are called.
pub(crate) const OTHER_PLATFORMS: &[(u32, &str)] =
    &[(0x8000, "unix"), (0x8202, "solaris"), (0x8204, "playstation 3"), (0x8205, "native client"), (0x8206, "fuchsia")];

// MINIDUMP_MISC_INFO::Flags1
pub(crate) const MINIDUMP_MISC1_PROCESS_ID: u32 = 0x1;
pub(crate) const MINIDUMP_MISC1_PROCESS_TIMES: u32 = 0x2;
pub(crate) const MINIDUMP_MISC1_PROCESSOR_POWER_INFO: u32 = 0x4;
pub(crate) const MINIDUMP_MISC3_PROCESS_INTEGRITY: u32 = 0x10;
pub(crate) const MINIDUMP_MISC3_PROCESS_EXECUTE_FLAGS: u32 = 0x20;
pub(crate) const MINIDUMP_MISC3_TIMEZONE: u32 = 0x40;
pub(crate) const MINIDUMP_MISC3_PROTECTED_PROCESS: u32 = 0x80;
pub(crate) const MINIDUMP_MISC4_BUILDSTRING: u32 = 0x100;
pub(crate) const MINIDUMP_MISC5_PROCESS_COOKIE: u32 = 0x200;

// MINIDUMP_THREAD_INFO::DumpFlags, with the words that `Thread::state` gets
pub(crate) const THREAD_INFO_FLAGS: &[(u32, &str)] = &[
    (0x01, "could not be read"),
    (0x02, "wrote the dump"),
    (0x04, "exited"),
    (0x08, "information invalid"),
    (0x10, "context invalid"),
    (0x20, "teb invalid"),
];

// MINIDUMP_MEMORY_INFO
pub(crate) const MEM_COMMIT: u32 = 0x1000;
pub(crate) const MEM_FREE: u32 = 0x10000;
pub(crate) const PAGE_GUARD: u32 = 0x100;

// VS_FIXEDFILEINFO
pub(crate) const VS_FFI_SIGNATURE: u32 = 0xfeef_04bd;

// CodeView records
pub(crate) const CV_SIGNATURE_RSDS: &[u8; 4] = b"RSDS";
pub(crate) const CV_SIGNATURE_NB10: &[u8; 4] = b"NB10";
/// `MD_CVINFOELF_SIGNATURE`, read as a little-endian number `0x4270454c`.
pub(crate) const CV_SIGNATURE_ELF: u32 = 0x4270_454c;

// Exception codes that mean "somebody asked for this dump"
/// Breakpad's `MD_EXCEPTION_CODE_LIN_DUMP_REQUESTED`; also Crashpad's `Signals::kSimulatedSigno` (-1).
pub(crate) const MD_EXCEPTION_CODE_LIN_DUMP_REQUESTED: u32 = 0xffff_ffff;
/// Crashpad's `CrashpadClient::kTriggeredExceptionCode` and `kSimulatedExceptionCode`, on Windows.
pub(crate) const CRASHPAD_SIMULATED_EXCEPTION_CODE: u32 = 0x0517_a7ed;
/// Crashpad's `kMachExceptionSimulated` (`CPsx`), on macOS and iOS.
pub(crate) const CRASHPAD_MACH_EXCEPTION_SIMULATED: u32 = 0x4350_7378;
/// `EXCEPTION_ACCESS_VIOLATION`.
pub(crate) const EXCEPTION_ACCESS_VIOLATION: u32 = 0xc000_0005;
/// `EXCEPTION_IN_PAGE_ERROR`.
pub(crate) const EXCEPTION_IN_PAGE_ERROR: u32 = 0xc000_0006;
/// `EXCEPTION_GUARD_PAGE`.
pub(crate) const EXCEPTION_GUARD_PAGE: u32 = 0x8000_0001;
/// `EXCEPTION_STACK_OVERFLOW`.
pub(crate) const EXCEPTION_STACK_OVERFLOW: u32 = 0xc000_00fd;
/// `EXC_CRASH` of Mach.
pub(crate) const EXC_CRASH: u32 = 10;
/// `EXCEPTION_MAXIMUM_PARAMETERS`.
pub(crate) const EXCEPTION_MAXIMUM_PARAMETERS: usize = 15;

// Stream types that code asks for by number
pub(crate) const UNUSED_STREAM: u32 = 0;
pub(crate) const MEMORY64_LIST_STREAM: u32 = 9;
pub(crate) const EXCEPTION_STREAM: u32 = 6;
pub(crate) const MD_BREAKPAD_INFO_STREAM: u32 = 0x4767_0001;
pub(crate) const MD_CRASHPAD_INFO_STREAM: u32 = 0x4350_0001;
/// Wine's dbghelp lists its own host libraries under this number, which Microsoft reserves.
pub(crate) const WINE_HOST_MODULES_STREAM: u32 = 0xfff0;
/// lldb marks the files that it wrote.
pub(crate) const LLDB_GENERATED_STREAM: u32 = 0x4c4c_4442;

// Values that only the writer needs
pub(crate) const MINI_DUMP_WITH_HANDLE_DATA: u64 = 0x4;
pub(crate) const MINI_DUMP_WITH_UNLOADED_MODULES: u64 = 0x20;
pub(crate) const MINI_DUMP_WITH_FULL_MEMORY_INFO: u64 = 0x800;
pub(crate) const PROCESSOR_ARCHITECTURE_UNKNOWN: u16 = 0xffff;
pub(crate) const MD_OS_UNIX: u32 = 0x8000;
pub(crate) const MEM_RESERVE: u32 = 0x2000;
pub(crate) const MEM_PRIVATE: u32 = 0x2_0000;
pub(crate) const MEM_MAPPED: u32 = 0x4_0000;
pub(crate) const MEM_IMAGE: u32 = 0x100_0000;
pub(crate) const THREAD_LIST_STREAM: u32 = 3;
pub(crate) const MODULE_LIST_STREAM: u32 = 4;
pub(crate) const MEMORY_LIST_STREAM: u32 = 5;
pub(crate) const SYSTEM_INFO_STREAM: u32 = 7;
pub(crate) const HANDLE_DATA_STREAM: u32 = 12;
pub(crate) const UNLOADED_MODULE_LIST_STREAM: u32 = 14;
pub(crate) const MISC_INFO_STREAM: u32 = 15;
pub(crate) const MEMORY_INFO_LIST_STREAM: u32 = 16;
pub(crate) const THREAD_NAMES_STREAM: u32 = 24;
pub(crate) const MD_LINUX_CPU_INFO: u32 = 0x4767_0003;
pub(crate) const MD_LINUX_PROC_STATUS: u32 = 0x4767_0004;
pub(crate) const MD_LINUX_LSB_RELEASE: u32 = 0x4767_0005;
pub(crate) const MD_LINUX_CMD_LINE: u32 = 0x4767_0006;
pub(crate) const MD_LINUX_ENVIRON: u32 = 0x4767_0007;
pub(crate) const MD_LINUX_AUXV: u32 = 0x4767_0008;
pub(crate) const MD_LINUX_MAPS: u32 = 0x4767_0009;
pub(crate) const MD_LINUX_DSO_DEBUG: u32 = 0x4767_000a;
pub(crate) const MOZ_LINUX_LIMITS: u32 = 0x4d7a_0003;
pub(crate) const MOZ_SOFT_ERRORS: u32 = 0x4d7a_0004;
