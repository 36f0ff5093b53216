//! All known stream types: number, name in their specification, and the function that reads them.
//!
//! To add a stream, write its reader and one line in [`STREAMS`]; the lines' order is the order of reading.
//!
//! *Trap*: a reader may rely on what stands above it here (modules need the system, thread names need the threads),
//! never on the order in the file.

use super::draft::Draft;
use super::input::{Input, Place};
use super::raw;
use super::{
    crashpad, dso, exception, handles, linux, mac, memory, misc, modules, mozilla, own, regions, system_info, threads,
};

/// Reads one stream into the draft.
pub(super) type Reader = fn(&Input<'_>, Place, &mut Draft);

/// A stream type.
pub(super) struct StreamType {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) read: Option<Reader>,
}

const fn read(number: u32, name: &'static str, read: Reader) -> StreamType {
    StreamType { number, name, read: Some(read) }
}

const fn name(number: u32, name: &'static str) -> StreamType {
    StreamType { number, name, read: None }
}

/// Every stream type that has a name, those that are read first and in the order of reading.
pub(super) static STREAMS: &[StreamType] = &[
    read(7, "SystemInfoStream", system_info::read),
    read(15, "MiscInfoStream", misc::read_misc_info),
    read(4, "ModuleListStream", modules::read_modules),
    read(14, "UnloadedModuleListStream", modules::read_unloaded),
    read(3, "ThreadListStream", threads::read_threads),
    read(8, "ThreadExListStream", threads::read_threads_ex),
    read(17, "ThreadInfoListStream", threads::read_infos),
    read(24, "ThreadNamesStream", threads::read_names),
    read(raw::MEMORY64_LIST_STREAM, "Memory64ListStream", memory::read_memory64_list),
    read(5, "MemoryListStream", memory::read_memory_list),
    read(16, "MemoryInfoListStream", regions::read_memory_info_list),
    read(12, "HandleDataStream", handles::read),
    read(21, "SystemMemoryInfoStream", misc::read_system_memory_info),
    read(22, "ProcessVmCountersStream", misc::read_vm_counters),
    read(10, "CommentStreamA", misc::read_comment_a),
    read(11, "CommentStreamW", misc::read_comment_w),
    read(raw::MD_BREAKPAD_INFO_STREAM, "MD_BREAKPAD_INFO_STREAM", exception::read_breakpad_info),
    read(0x4767_0002, "MD_ASSERTION_INFO_STREAM", exception::read_assertion),
    read(0x4767_0003, "MD_LINUX_CPU_INFO", linux::read_cpu_info),
    read(0x4767_0004, "MD_LINUX_PROC_STATUS", linux::read_status),
    read(0x4767_0005, "MD_LINUX_LSB_RELEASE", linux::read_lsb_release),
    read(0x4767_0006, "MD_LINUX_CMD_LINE", linux::read_cmdline),
    read(0x4767_0007, "MD_LINUX_ENVIRON", linux::read_environ),
    read(0x4767_0008, "MD_LINUX_AUXV", linux::read_auxv),
    read(0x4767_0009, "MD_LINUX_MAPS", regions::read_maps),
    read(0x4767_000a, "MD_LINUX_DSO_DEBUG", dso::read),
    read(raw::MD_CRASHPAD_INFO_STREAM, "MD_CRASHPAD_INFO_STREAM", crashpad::read),
    read(0x4d7a_0001, "MozMacosCrashInfoStream", mac::read_crash_info),
    read(0x4d7a_0002, "MozMacosBootargsStream", mac::read_boot_args),
    read(0x4d7a_0003, "MozLinuxLimits", mozilla::read_limits),
    read(0x4d7a_0004, "MozSoftErrors", mozilla::read_soft_errors),
    read(own::ELF_HEAD, "AfterimageElfHead", own::read_elf_head),
    read(own::UNTOUCHED, "AfterimageUntouched", own::read_untouched),
    read(own::INFO, "AfterimageInfo", own::read_info),
    read(raw::EXCEPTION_STREAM, "ExceptionStream", exception::read_exception),
    name(raw::UNUSED_STREAM, "UnusedStream"),
    name(1, "ReservedStream0"),
    name(2, "ReservedStream1"),
    name(13, "FunctionTableStream"),
    name(18, "HandleOperationListStream"),
    name(19, "TokenStream"),
    name(20, "JavaScriptDataStream"),
    name(23, "IptTraceStream"),
    name(0x8000, "ceStreamNull"),
    name(0x8001, "ceStreamSystemInfo"),
    name(0x8002, "ceStreamException"),
    name(0x8003, "ceStreamModuleList"),
    name(0x8004, "ceStreamProcessList"),
    name(0x8005, "ceStreamThreadList"),
    name(0x8006, "ceStreamThreadContextList"),
    name(0x8007, "ceStreamThreadCallStackList"),
    name(0x8008, "ceStreamMemoryVirtualList"),
    name(0x8009, "ceStreamMemoryPhysicalList"),
    name(0x800a, "ceStreamBucketParameters"),
    name(0x800b, "ceStreamProcessModuleMap"),
    name(0x800c, "ceStreamDiagnosisList"),
    name(0xffff, "LastReservedStream"),
    name(raw::LLDB_GENERATED_STREAM, "LLDBGenerated"),
    name(0xface_cafa, "FacebookAppCustomData"),
    name(0xface_cafb, "FacebookBuildID"),
    name(0xface_cafc, "FacebookAppVersionName"),
    name(0xface_cafd, "FacebookJavaStack"),
    name(0xface_cafe, "FacebookDalvikInfo"),
    name(0xface_caff, "FacebookUnwindSymbols"),
    name(0xface_cb00, "FacebookDumpErrorLog"),
    name(0xface_cccc, "FacebookAppStateLog"),
    name(0xface_dead, "FacebookAbortReason"),
    name(0xface_e000, "FacebookThreadName"),
];

/// The type with this number.
pub(super) fn find(number: u32) -> Option<&'static StreamType> {
    STREAMS.iter().find(|stream| stream.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_and_name_stands_once() {
        for (i, a) in STREAMS.iter().enumerate() {
            for b in &STREAMS[i + 1..] {
                assert_ne!(a.number, b.number, "{} and {}", a.name, b.name);
                assert_ne!(a.name, b.name);
            }
        }
    }
}
