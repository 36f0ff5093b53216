//! What the commonest bug checks mean: one entry a code.
//!
//! *What it is not*: a verdict on a dump; `culprit` looks for who did it.
//!
//! *Trap*: the meaning of a parameter can depend on another one; `variants` has those.

use super::advice::{BOOT, DISK, DRIVER, FIRMWARE, HARDWARE, MEMORY, POOL, POWER};
use super::describe::How::{Access, AccessBits, Address, Code, Irql, Kind, Number, Reserved, Status};
use super::describe::{Knowledge, Parameter};

const NONE: Parameter = ("", Reserved);

const fn entry(
    code: u32,
    meaning: &'static str,
    causes: &'static str,
    advice: &'static [&'static str],
    parameters: [Parameter; 4],
) -> Knowledge {
    Knowledge { code, meaning, causes, advice, parameters }
}

/// The entries.
pub(super) static ALL: &[Knowledge] = &[
    entry(
        0x01,
        "A system call came back with a different number of disabled asynchronous calls than it began with.",
        "A driver that enters a critical region and does not leave it, or leaves it twice.",
        DRIVER,
        [
            ("system call, or routine of a worker", Code),
            ("index of the processor's state of such calls", Number),
            ("count of disabled calls before and after", Number),
            ("kind of call", Number),
        ],
    ),
    entry(
        0x0a,
        "The kernel touched memory that was not there, at a level of interrupts at which pages cannot be fetched.",
        "A driver that handed the kernel a bad pointer or freed memory too early; less often broken memory.",
        DRIVER,
        [
            ("address that was touched", Address),
            ("level of interrupts at that time", Irql),
            ("kind of access", Access),
            ("instruction that touched it", Code),
        ],
    ),
    entry(
        0x18,
        "The reference count of a kernel object went below what its owners hold.",
        "A driver that gives back an object once too often.",
        DRIVER,
        [("type of the object", Address), ("the object", Address), ("what was found", Number), ("reserved", Number)],
    ),
    entry(
        0x19,
        "The header in front of a block of kernel memory is damaged: somebody wrote past the end of the block before it, or into freed memory.",
        "A driver with an overrun, or broken memory.",
        POOL,
        [
            ("what is wrong with it", Kind),
            ("the block", Address),
            ("depends on the kind", Number),
            ("depends on the kind", Number),
        ],
    ),
    entry(
        0x1a,
        "The memory manager found its own lists or page tables in a state that cannot be.",
        "Broken memory modules first of all, then drivers that write where they must not, and damaged page files.",
        MEMORY,
        [
            ("what was found", Kind),
            ("depends on the kind", Number),
            ("depends on the kind", Number),
            ("depends on the kind", Number),
        ],
    ),
    entry(
        0x1e,
        "Code in the kernel raised an exception, and no handler wanted it.",
        "A driver with a bug: mostly a bad pointer.",
        DRIVER,
        [
            ("exception", Status),
            ("instruction that raised it", Code),
            ("first parameter of the exception", Number),
            ("second parameter of the exception; for an invalid access the address", Address),
        ],
    ),
    entry(
        0x23,
        "The file system driver for FAT found something that it cannot go on with.",
        "A damaged volume, a failing disk, or a filter driver between.",
        DISK,
        [
            ("place in the driver's source", Number),
            ("depends on the place", Number),
            ("depends on the place", Number),
            ("depends on the place", Number),
        ],
    ),
    entry(
        0x24,
        "The file system driver for NTFS found something that it cannot go on with.",
        "A damaged volume, a failing disk or cable, or a filter driver (anti-virus, backup, encryption) between.",
        DISK,
        [
            ("place in the driver's source", Number),
            ("exception record, if not null", Address),
            ("context record, if not null", Address),
            ("instruction, if not null", Code),
        ],
    ),
    entry(
        0x27,
        "The driver for files on other machines (SMB redirector) found something that it cannot go on with.",
        "A filter driver or network driver between, or damaged kernel memory.",
        DRIVER,
        [
            ("place in the driver's source", Number),
            ("exception record", Address),
            ("context record", Address),
            ("instruction, if not null", Code),
        ],
    ),
    entry(
        0x2e,
        "The hardware reported a parity error in memory.",
        "A broken memory module, cache or board; rarely a driver that touched an address where nothing is.",
        HARDWARE,
        [
            ("virtual address", Address),
            ("physical address", Address),
            ("processor status", Number),
            ("fault status", Number),
        ],
    ),
    entry(
        0x34,
        "The cache manager of the file system stopped.",
        "Mostly kernel memory that ran out.",
        DRIVER,
        [("place in the source", Number), NONE, NONE, NONE],
    ),
    entry(
        0x35,
        "A driver passed a request on to the next one, and the request had no room left for one more.",
        "Too many or wrong filter drivers on top of each other.",
        DRIVER,
        [("the request (IRP)", Address), NONE, NONE, NONE],
    ),
    entry(
        0x3b,
        "An exception was raised on the way from a program into the kernel and was not handled.",
        "A driver that a system call went through: graphics, anti-virus and other filters most often.",
        DRIVER,
        [("exception", Status), ("instruction that raised it", Code), ("context record", Address), NONE],
    ),
    entry(
        0x3d,
        "An interrupt's handler raised an exception that nobody handled.",
        "A driver of a device.",
        DRIVER,
        [("exception record", Address), ("context record", Address), NONE, NONE],
    ),
    entry(
        0x3f,
        "There was no room left to map memory into the kernel.",
        "A driver that maps memory and never gives it back, or very many large requests.",
        DRIVER,
        [
            ("what was asked for", Kind),
            ("pages asked for", Number),
            ("free pages of that kind", Number),
            ("all pages of that kind", Number),
        ],
    ),
    entry(
        0x44,
        "A driver completed a request that had been completed already.",
        "Two drivers that both believe a request is theirs.",
        DRIVER,
        [("the request (IRP)", Address), NONE, NONE, NONE],
    ),
    entry(
        0x4e,
        "The list of physical pages is damaged.",
        "A driver that gives wrong lists of pages, or broken memory.",
        MEMORY,
        [
            ("what was found", Kind),
            ("depends on the kind", Number),
            ("depends on the kind", Number),
            ("depends on the kind", Number),
        ],
    ),
    entry(
        0x50,
        "Memory was touched that does not exist at all: not a page that had been moved away, but nothing.",
        "A driver that follows a bad pointer; also broken memory and a damaged file system.",
        DRIVER,
        [
            ("address that was touched", Address),
            ("kind of access", AccessBits),
            ("instruction that touched it", Code),
            ("kind of page fault", Number),
        ],
    ),
    entry(
        0x51,
        "The registry is damaged, or an error of the disk made it look so.",
        "A failing disk, or a machine that lost power while it wrote.",
        DISK,
        [("reserved", Number), ("reserved", Number), ("hive, if known", Address), ("reserved", Number)],
    ),
    entry(
        0x74,
        "The system hive of the registry is broken or lacks what Windows needs to start.",
        "Damage to the disk or an interrupted update.",
        DISK,
        [("reserved", Number), ("reserved", Number), ("reserved", Number), ("status, if any", Status)],
    ),
    entry(
        0x76,
        "A driver locked memory of a process for a device and did not unlock it before the process ended.",
        "A driver that forgets locked pages when it cancels a request.",
        DRIVER,
        [
            ("reserved", Number),
            ("process", Address),
            ("locked pages", Number),
            ("private list of the driver, if tracking is on", Address),
        ],
    ),
    entry(
        0x77,
        "A page of a kernel stack could not be read back from the page file.",
        "A failing disk, cable or controller, or broken memory.",
        DISK,
        [
            ("status, or what stood on the stack", Status),
            ("I/O status", Status),
            ("page file", Number),
            ("offset in the page file", Number),
        ],
    ),
    entry(
        0x7a,
        "A page of the kernel could not be read back from the page file or its program file.",
        "A failing disk, cable or controller; a disk that disappeared; sometimes broken memory.",
        DISK,
        [
            ("kind of lock, or address of the page table entry", Number),
            ("I/O status", Status),
            ("current process, or the page table entry", Number),
            ("address whose page could not be read", Address),
        ],
    ),
    entry(
        0x7b,
        "Windows lost the disk or volume that it was starting from.",
        "A storage driver that is missing or changed, a mode of the controller that was switched in the firmware, or a failing disk.",
        BOOT,
        [
            ("device object, or name of the device", Address),
            ("status, if the first parameter is a name", Status),
            NONE,
            NONE,
        ],
    ),
    entry(
        0x7e,
        "A thread of the system raised an exception, and no handler wanted it.",
        "A driver with a bug. The exception says which kind; parameter 2 says where.",
        DRIVER,
        [
            ("exception", Status),
            ("instruction that raised it", Code),
            ("exception record", Address),
            ("context record", Address),
        ],
    ),
    entry(
        0x7f,
        "The processor itself raised a trap that the kernel cannot handle.",
        "For a double fault mostly a kernel stack that overflowed; otherwise a driver, or hardware that is broken or overclocked.",
        HARDWARE,
        [
            ("trap", Kind),
            ("depends on the trap", Number),
            ("depends on the trap", Number),
            ("depends on the trap", Number),
        ],
    ),
    entry(
        0x80,
        "The hardware raised an interrupt that cannot be masked: it says that it is broken.",
        "Memory, bus or board; on servers also a button or a command that asks for it.",
        HARDWARE,
        [("reserved", Number), NONE, NONE, NONE],
    ),
    entry(
        0x8e,
        "A program in the kernel raised an exception, and no handler wanted it.",
        "A driver with a bug, or broken memory.",
        DRIVER,
        [("exception", Status), ("instruction that raised it", Code), ("trap frame", Address), NONE],
    ),
    entry(
        0x9c,
        "The processor reported a machine check, before Windows had a driver to understand it.",
        "Broken, overheated or overclocked hardware.",
        HARDWARE,
        [
            ("bank of the report", Number),
            ("record", Address),
            ("upper half of the bank's status", Number),
            ("lower half of the bank's status", Number),
        ],
    ),
    entry(
        0x9f,
        "A driver did not bring its device into another power state, or not in time.",
        "A driver that keeps a power request, often of a network, USB or graphics device, when the machine sleeps or wakes.",
        POWER,
        [
            ("what happened", Kind),
            ("physical device object, or object of the device", Address),
            ("depends on the kind", Address),
            ("the request (IRP), or depends on the kind", Address),
        ],
    ),
    entry(
        0xa0,
        "The power manager met a state that cannot be.",
        "A driver or firmware that breaks the rules of power management.",
        POWER,
        [
            ("what happened", Kind),
            ("depends on the kind", Number),
            ("depends on the kind", Number),
            ("depends on the kind", Number),
        ],
    ),
    entry(
        0xa5,
        "The firmware's ACPI tables do not keep to the standard.",
        "The firmware.",
        FIRMWARE,
        [
            ("what was found", Number),
            ("depends on the kind", Number),
            ("depends on the kind", Number),
            ("depends on the kind", Number),
        ],
    ),
];
