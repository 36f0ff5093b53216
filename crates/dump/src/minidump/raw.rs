//! Numbers and layouts of a minidump, named as their specifications name them. Nothing is read here.
//!
//! Sources: Microsoft's `minidumpapiset.h`, `winnt.h` and `verrsrc.h` documentation; Breakpad's `minidump_format.h`
//! and its `minidump_cpu_*.h`; Crashpad's `minidump_extensions.h`; the constants that Mozilla's tools and LLVM add.
//!
//! *Trap*: structures are packed to 4 bytes. A 64-bit field often stands on an address that divides only by 4
//! (`MINIDUMP_THREAD_NAME` is 12 bytes, not 16).

/// `MDMP`, as the first four bytes of a little-endian file.
pub(super) const MINIDUMP_SIGNATURE: &[u8; 4] = b"MDMP";
/// The same in a big-endian file.
pub(super) const MINIDUMP_SIGNATURE_SWAPPED: &[u8; 4] = b"PMDM";
/// Low half of `MINIDUMP_HEADER::Version`; the high half is the writer's own.
pub(super) const MINIDUMP_VERSION: u16 = 0xa793;
/// Bytes of `MINIDUMP_HEADER`.
pub(super) const HEADER_SIZE: u64 = 32;
/// Bytes of `MINIDUMP_DIRECTORY`.
pub(super) const DIRECTORY_SIZE: usize = 12;

// MINIDUMP_TYPE
pub(super) const MINI_DUMP_WITH_FULL_MEMORY: u64 = 0x2;
pub(super) const MINI_DUMP_WITH_PRIVATE_READ_WRITE_MEMORY: u64 = 0x200;

// MINIDUMP_SYSTEM_INFO::ProcessorArchitecture
pub(super) const PROCESSOR_ARCHITECTURE_INTEL: u16 = 0;
pub(super) const PROCESSOR_ARCHITECTURE_MIPS: u16 = 1;
pub(super) const PROCESSOR_ARCHITECTURE_ALPHA: u16 = 2;
pub(super) const PROCESSOR_ARCHITECTURE_PPC: u16 = 3;
pub(super) const PROCESSOR_ARCHITECTURE_ARM: u16 = 5;
pub(super) const PROCESSOR_ARCHITECTURE_ALPHA64: u16 = 7;
pub(super) const PROCESSOR_ARCHITECTURE_AMD64: u16 = 9;
pub(super) const PROCESSOR_ARCHITECTURE_IA32_ON_WIN64: u16 = 10;
pub(super) const PROCESSOR_ARCHITECTURE_ARM64: u16 = 12;
pub(super) const PROCESSOR_ARCHITECTURE_ARM32_ON_WIN64: u16 = 13;
pub(super) const PROCESSOR_ARCHITECTURE_IA32_ON_ARM64: u16 = 14;
pub(super) const MD_CPU_ARCHITECTURE_SPARC: u16 = 0x8001;
pub(super) const MD_CPU_ARCHITECTURE_PPC64: u16 = 0x8002;
pub(super) const MD_CPU_ARCHITECTURE_ARM64_OLD: u16 = 0x8003;
pub(super) const MD_CPU_ARCHITECTURE_MIPS64: u16 = 0x8004;
pub(super) const MD_CPU_ARCHITECTURE_RISCV64: u16 = 0x8006;

// MINIDUMP_SYSTEM_INFO::PlatformId
pub(super) const VER_PLATFORM_WIN32_CE: u32 = 3;
pub(super) const MD_OS_MAC_OS_X: u32 = 0x8101;
pub(super) const MD_OS_IOS: u32 = 0x8102;
pub(super) const MD_OS_LINUX: u32 = 0x8201;
pub(super) const MD_OS_ANDROID: u32 = 0x8203;
/// What the platforms that [`crate::Os`] has no name for are called.
pub(super) const OTHER_PLATFORMS: &[(u32, &str)] =
    &[(0x8000, "unix"), (0x8202, "solaris"), (0x8204, "playstation 3"), (0x8205, "native client"), (0x8206, "fuchsia")];

// MINIDUMP_MISC_INFO::Flags1
pub(super) const MINIDUMP_MISC1_PROCESS_ID: u32 = 0x1;
pub(super) const MINIDUMP_MISC1_PROCESS_TIMES: u32 = 0x2;
pub(super) const MINIDUMP_MISC1_PROCESSOR_POWER_INFO: u32 = 0x4;
pub(super) const MINIDUMP_MISC3_PROCESS_INTEGRITY: u32 = 0x10;
pub(super) const MINIDUMP_MISC3_PROCESS_EXECUTE_FLAGS: u32 = 0x20;
pub(super) const MINIDUMP_MISC3_TIMEZONE: u32 = 0x40;
pub(super) const MINIDUMP_MISC3_PROTECTED_PROCESS: u32 = 0x80;
pub(super) const MINIDUMP_MISC4_BUILDSTRING: u32 = 0x100;
pub(super) const MINIDUMP_MISC5_PROCESS_COOKIE: u32 = 0x200;

// MINIDUMP_THREAD_INFO::DumpFlags, with the words that `Thread::state` gets
pub(super) const THREAD_INFO_FLAGS: &[(u32, &str)] = &[
    (0x01, "could not be read"),
    (0x02, "wrote the dump"),
    (0x04, "exited"),
    (0x08, "information invalid"),
    (0x10, "context invalid"),
    (0x20, "teb invalid"),
];

// MINIDUMP_MEMORY_INFO
pub(super) const MEM_COMMIT: u32 = 0x1000;
pub(super) const MEM_FREE: u32 = 0x10000;
pub(super) const PAGE_GUARD: u32 = 0x100;

// VS_FIXEDFILEINFO
pub(super) const VS_FFI_SIGNATURE: u32 = 0xfeef_04bd;

// CodeView records
pub(super) const CV_SIGNATURE_RSDS: &[u8; 4] = b"RSDS";
pub(super) const CV_SIGNATURE_NB10: &[u8; 4] = b"NB10";
/// `MD_CVINFOELF_SIGNATURE`, read as a little-endian number `0x4270454c`.
pub(super) const CV_SIGNATURE_ELF: u32 = 0x4270_454c;

// Exception codes that mean "somebody asked for this dump"
/// Breakpad's `MD_EXCEPTION_CODE_LIN_DUMP_REQUESTED`; also Crashpad's `Signals::kSimulatedSigno` (-1).
pub(super) const MD_EXCEPTION_CODE_LIN_DUMP_REQUESTED: u32 = 0xffff_ffff;
/// Crashpad's `CrashpadClient::kTriggeredExceptionCode` and `kSimulatedExceptionCode`, on Windows.
pub(super) const CRASHPAD_SIMULATED_EXCEPTION_CODE: u32 = 0x0517_a7ed;
/// Crashpad's `kMachExceptionSimulated` (`CPsx`), on macOS and iOS.
pub(super) const CRASHPAD_MACH_EXCEPTION_SIMULATED: u32 = 0x4350_7378;
/// `EXCEPTION_ACCESS_VIOLATION`.
pub(super) const EXCEPTION_ACCESS_VIOLATION: u32 = 0xc000_0005;
/// `EXCEPTION_IN_PAGE_ERROR`.
pub(super) const EXCEPTION_IN_PAGE_ERROR: u32 = 0xc000_0006;
/// `EXCEPTION_GUARD_PAGE`.
pub(super) const EXCEPTION_GUARD_PAGE: u32 = 0x8000_0001;
/// `EXCEPTION_STACK_OVERFLOW`.
pub(super) const EXCEPTION_STACK_OVERFLOW: u32 = 0xc000_00fd;
/// `EXC_CRASH` of Mach.
pub(super) const EXC_CRASH: u32 = 10;
/// `EXCEPTION_MAXIMUM_PARAMETERS`.
pub(super) const EXCEPTION_MAXIMUM_PARAMETERS: usize = 15;

// Stream types that code asks for by number
pub(super) const UNUSED_STREAM: u32 = 0;
pub(super) const MEMORY64_LIST_STREAM: u32 = 9;
pub(super) const EXCEPTION_STREAM: u32 = 6;
pub(super) const MD_BREAKPAD_INFO_STREAM: u32 = 0x4767_0001;
pub(super) const MD_CRASHPAD_INFO_STREAM: u32 = 0x4350_0001;
/// Wine's dbghelp lists its own host libraries under this number, which Microsoft reserves.
pub(super) const WINE_HOST_MODULES_STREAM: u32 = 0xfff0;
/// lldb marks the files that it wrote.
pub(super) const LLDB_GENERATED_STREAM: u32 = 0x4c4c_4442;
