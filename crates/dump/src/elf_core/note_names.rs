//! Names of note types. Sources: Linux `include/uapi/linux/elf.h`, FreeBSD `sys/elf_common.h`, NetBSD `sys/exec_elf.h`,
//! OpenBSD `sys/core.h`, and the writers named below.
//!
//! *Trap*: a type number means nothing without its owner: type 1 is a thread's status for `CORE` and the whole process
//! for `NetBSD-CORE`.

type Names = &'static [(u32, &'static str)];

const CORE: Names = &[
    (1, "NT_PRSTATUS"),
    (2, "NT_PRFPREG"),
    (3, "NT_PRPSINFO"),
    (4, "NT_TASKSTRUCT"),
    (5, "NT_PLATFORM"),
    (6, "NT_AUXV"),
    (7, "NT_GWINDOWS"),
    (8, "NT_ASRS"),
    (10, "NT_PSTATUS"),
    (13, "NT_PSINFO"),
    (14, "NT_PRCRED"),
    (15, "NT_UTSNAME"),
    (16, "NT_LWPSTATUS"),
    (17, "NT_LWPSINFO"),
    (20, "NT_PRFPXREG"),
    (0x4649_4c45, "NT_FILE"),
    (0x46e6_2b7f, "NT_PRXFPREG"),
    (0x5349_4749, "NT_SIGINFO"),
];

const LINUX: Names = &[
    (0x100, "NT_PPC_VMX"),
    (0x101, "NT_PPC_SPE"),
    (0x102, "NT_PPC_VSX"),
    (0x103, "NT_PPC_TAR"),
    (0x104, "NT_PPC_PPR"),
    (0x105, "NT_PPC_DSCR"),
    (0x106, "NT_PPC_EBB"),
    (0x107, "NT_PPC_PMU"),
    (0x108, "NT_PPC_TM_CGPR"),
    (0x109, "NT_PPC_TM_CFPR"),
    (0x10a, "NT_PPC_TM_CVMX"),
    (0x10b, "NT_PPC_TM_CVSX"),
    (0x10c, "NT_PPC_TM_SPR"),
    (0x10d, "NT_PPC_TM_CTAR"),
    (0x10e, "NT_PPC_TM_CPPR"),
    (0x10f, "NT_PPC_TM_CDSCR"),
    (0x110, "NT_PPC_PKEY"),
    (0x111, "NT_PPC_DEXCR"),
    (0x112, "NT_PPC_HASHKEYR"),
    (0x200, "NT_386_TLS"),
    (0x201, "NT_386_IOPERM"),
    (0x202, "NT_X86_XSTATE"),
    (0x204, "NT_X86_SHSTK"),
    (0x205, "NT_X86_XSAVE_LAYOUT"),
    (0x300, "NT_S390_HIGH_GPRS"),
    (0x301, "NT_S390_TIMER"),
    (0x302, "NT_S390_TODCMP"),
    (0x303, "NT_S390_TODPREG"),
    (0x304, "NT_S390_CTRS"),
    (0x305, "NT_S390_PREFIX"),
    (0x306, "NT_S390_LAST_BREAK"),
    (0x307, "NT_S390_SYSTEM_CALL"),
    (0x308, "NT_S390_TDB"),
    (0x309, "NT_S390_VXRS_LOW"),
    (0x30a, "NT_S390_VXRS_HIGH"),
    (0x30b, "NT_S390_GS_CB"),
    (0x30c, "NT_S390_GS_BC"),
    (0x30d, "NT_S390_RI_CB"),
    (0x30e, "NT_S390_PV_CPU_DATA"),
    (0x400, "NT_ARM_VFP"),
    (0x401, "NT_ARM_TLS"),
    (0x402, "NT_ARM_HW_BREAK"),
    (0x403, "NT_ARM_HW_WATCH"),
    (0x404, "NT_ARM_SYSTEM_CALL"),
    (0x405, "NT_ARM_SVE"),
    (0x406, "NT_ARM_PAC_MASK"),
    (0x407, "NT_ARM_PACA_KEYS"),
    (0x408, "NT_ARM_PACG_KEYS"),
    (0x409, "NT_ARM_TAGGED_ADDR_CTRL"),
    (0x40a, "NT_ARM_PAC_ENABLED_KEYS"),
    (0x40b, "NT_ARM_SSVE"),
    (0x40c, "NT_ARM_ZA"),
    (0x40d, "NT_ARM_ZT"),
    (0x40e, "NT_ARM_FPMR"),
    (0x40f, "NT_ARM_POE"),
    (0x410, "NT_ARM_GCS"),
    (0x600, "NT_ARC_V2"),
    (0x700, "NT_VMCOREDD"),
    (0x800, "NT_MIPS_DSP"),
    (0x801, "NT_MIPS_FP_MODE"),
    (0x802, "NT_MIPS_MSA"),
    (0x900, "NT_RISCV_CSR"),
    (0x901, "NT_RISCV_VECTOR"),
    (0x902, "NT_RISCV_TAGGED_ADDR_CTRL"),
    (0xa00, "NT_LOONGARCH_CPUCFG"),
    (0xa01, "NT_LOONGARCH_CSR"),
    (0xa02, "NT_LOONGARCH_LSX"),
    (0xa03, "NT_LOONGARCH_LASX"),
    (0xa04, "NT_LOONGARCH_LBT"),
    (0xa05, "NT_LOONGARCH_HW_BREAK"),
    (0xa06, "NT_LOONGARCH_HW_WATCH"),
    (0x46e6_2b7f, "NT_PRXFPREG"),
];

const FREEBSD: Names = &[
    (1, "NT_PRSTATUS"),
    (2, "NT_FPREGSET"),
    (3, "NT_PRPSINFO"),
    (7, "NT_THRMISC"),
    (8, "NT_PROCSTAT_PROC"),
    (9, "NT_PROCSTAT_FILES"),
    (10, "NT_PROCSTAT_VMMAP"),
    (11, "NT_PROCSTAT_GROUPS"),
    (12, "NT_PROCSTAT_UMASK"),
    (13, "NT_PROCSTAT_RLIMIT"),
    (14, "NT_PROCSTAT_OSREL"),
    (15, "NT_PROCSTAT_PSSTRINGS"),
    (16, "NT_PROCSTAT_AUXV"),
    (17, "NT_PTLWPINFO"),
    (0x100, "NT_PPC_VMX"),
    (0x102, "NT_PPC_VSX"),
    (0x200, "NT_X86_SEGBASES"),
    (0x202, "NT_X86_XSTATE"),
    (0x400, "NT_ARM_VFP"),
    (0x401, "NT_ARM_TLS"),
    (0x406, "NT_ARM_ADDR_MASK"),
];

const NETBSD: Names =
    &[(1, "ELF_NOTE_NETBSD_CORE_PROCINFO"), (2, "ELF_NOTE_NETBSD_CORE_AUXV"), (24, "ELF_NOTE_NETBSD_CORE_LWPSTATUS")];

const OPENBSD: Names = &[
    (10, "NT_OPENBSD_PROCINFO"),
    (11, "NT_OPENBSD_AUXV"),
    (20, "NT_OPENBSD_REGS"),
    (21, "NT_OPENBSD_FPREGS"),
    (22, "NT_OPENBSD_XFPREGS"),
    (23, "NT_OPENBSD_WCOOKIE"),
    (24, "NT_OPENBSD_PACMASK"),
];

const AFTERIMAGE: Names =
    &[(1, "soft errors"), (2, "thread names"), (3, "process facts"), (4, "build ids"), (5, "untouched memory")];

/// The type's name in its specification.
pub(super) fn name(owner: &str, kind: u32) -> Option<&'static str> {
    let names = match owner {
        // gdb writes some of Linux's register sets, and qemu its notes, under either owner.
        "CORE" => return find(CORE, kind).or_else(|| find(LINUX, kind)),
        "LINUX" => return find(LINUX, kind).or_else(|| find(CORE, kind)),
        "FreeBSD" => FREEBSD,
        "NetBSD-CORE" => NETBSD,
        "OpenBSD" => OPENBSD,
        "AFTERIMAGE" => return find(AFTERIMAGE, super::own::small(kind)),
        "GDB" => &[(0xff00_0000, "NT_GDB_TDESC"), (0x900, "NT_RISCV_CSR")],
        "FDO" => &[(0xcafe_1a7e, "FDO_PACKAGING_METADATA"), (0x407c_0c0a, "FDO_DLOPEN_METADATA")],
        "GNU" => &[
            (1, "NT_GNU_ABI_TAG"),
            (2, "NT_GNU_HWCAP"),
            (3, "NT_GNU_BUILD_ID"),
            (4, "NT_GNU_GOLD_VERSION"),
            (5, "NT_GNU_PROPERTY_TYPE_0"),
        ],
        "VMCOREINFO" => &[(0, "VMCOREINFO")],
        "Oxide Computer Company" => &[
            (0x1de0_0001, "OXIDE_NT_HUBRIS_ARCHIVE"),
            (0x1de0_0002, "OXIDE_NT_HUBRIS_REGISTERS"),
            (0x1de0_0003, "OXIDE_NT_HUBRIS_TASK"),
        ],
        _ if owner.starts_with("OpenBSD@") => OPENBSD,
        // The types of NetBSD's threads are ptrace requests, and differ by machine.
        _ => &[],
    };
    find(names, kind)
}

fn find(names: Names, kind: u32) -> Option<&'static str> {
    names.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn the_owner_decides() {
        assert_eq!(name("CORE", 1), Some("NT_PRSTATUS"));
        assert_eq!(name("NetBSD-CORE", 1), Some("ELF_NOTE_NETBSD_CORE_PROCINFO"));
        assert_eq!(name("LINUX", 0x405), Some("NT_ARM_SVE"));
        assert_eq!(name("nobody", 1), None);
    }
}
