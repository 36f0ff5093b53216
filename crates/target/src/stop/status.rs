//! Numbers in the parameters of bug checks, in words: NTSTATUS codes, levels of interrupts, kinds of access.

/// An NTSTATUS or exception code: name and words.
#[must_use]
pub fn status(code: u32) -> Option<(&'static str, &'static str)> {
    Some(match code {
        0x0000_0000 => ("STATUS_SUCCESS", "no error"),
        0x0000_0102 => ("STATUS_TIMEOUT", "the time was over"),
        0x0000_0103 => ("STATUS_PENDING", "the operation was still going on"),
        0x8000_0001 => ("STATUS_GUARD_PAGE_VIOLATION", "a guard page was touched"),
        0x8000_0002 => ("STATUS_DATATYPE_MISALIGNMENT", "a misaligned access"),
        0x8000_0003 => ("STATUS_BREAKPOINT", "a breakpoint with no debugger there"),
        0x8000_0004 => ("STATUS_SINGLE_STEP", "a single step with no debugger there"),
        0xc000_0001 => ("STATUS_UNSUCCESSFUL", "the operation failed"),
        0xc000_0005 => ("STATUS_ACCESS_VIOLATION", "an invalid memory access"),
        0xc000_0006 => ("STATUS_IN_PAGE_ERROR", "a page could not be read back"),
        0xc000_0008 => ("STATUS_INVALID_HANDLE", "an invalid handle"),
        0xc000_000d => ("STATUS_INVALID_PARAMETER", "an invalid parameter"),
        0xc000_000e => ("STATUS_NO_SUCH_DEVICE", "the device is gone"),
        0xc000_000f => ("STATUS_NO_SUCH_FILE", "a file is missing"),
        0xc000_0010 => ("STATUS_INVALID_DEVICE_REQUEST", "the device does not know this request"),
        0xc000_0011 => ("STATUS_END_OF_FILE", "the end of a file"),
        0xc000_0017 => ("STATUS_NO_MEMORY", "no memory was left"),
        0xc000_001d => ("STATUS_ILLEGAL_INSTRUCTION", "an illegal instruction"),
        0xc000_0022 => ("STATUS_ACCESS_DENIED", "access was denied"),
        0xc000_0023 => ("STATUS_BUFFER_TOO_SMALL", "a buffer is too small"),
        0xc000_0025 => ("STATUS_NONCONTINUABLE_EXCEPTION", "an exception that cannot be continued"),
        0xc000_0026 => ("STATUS_INVALID_DISPOSITION", "an exception handler gave a wrong answer"),
        0xc000_0028 => ("STATUS_BAD_STACK", "a broken stack was met while unwinding"),
        0xc000_0032 => ("STATUS_DISK_CORRUPT_ERROR", "the file system on the disk is damaged"),
        0xc000_0034 => ("STATUS_OBJECT_NAME_NOT_FOUND", "a file or object was not found"),
        0xc000_003a => ("STATUS_OBJECT_PATH_NOT_FOUND", "a folder was not found"),
        0xc000_003e => ("STATUS_DATA_ERROR", "the data on the device is damaged"),
        0xc000_003f => ("STATUS_CRC_ERROR", "a checksum did not match"),
        0xc000_0043 => ("STATUS_SHARING_VIOLATION", "the file is in use by someone else"),
        0xc000_0056 => ("STATUS_DELETE_PENDING", "the file is being deleted"),
        0xc000_007b => ("STATUS_INVALID_IMAGE_FORMAT", "a program file is not valid"),
        0xc000_008c => ("STATUS_ARRAY_BOUNDS_EXCEEDED", "an array index was out of bounds"),
        0xc000_0094 => ("STATUS_INTEGER_DIVIDE_BY_ZERO", "a division by zero"),
        0xc000_0095 => ("STATUS_INTEGER_OVERFLOW", "an integer overflow"),
        0xc000_0096 => ("STATUS_PRIVILEGED_INSTRUCTION", "an instruction that is not allowed here"),
        0xc000_0098 => ("STATUS_FILE_INVALID", "the file behind a mapping was changed"),
        0xc000_009a => ("STATUS_INSUFFICIENT_RESOURCES", "the system had no resources left"),
        0xc000_009c => ("STATUS_DEVICE_DATA_ERROR", "the device could not read its medium (a bad block)"),
        0xc000_009d => ("STATUS_DEVICE_NOT_CONNECTED", "the device is not connected (cable, power)"),
        0xc000_00a1 => ("STATUS_WORKING_SET_QUOTA", "a memory quota was used up"),
        0xc000_00a3 => ("STATUS_DEVICE_NOT_READY", "the device was not ready"),
        0xc000_00b5 => ("STATUS_IO_TIMEOUT", "an operation on a device took too long"),
        0xc000_00bb => ("STATUS_NOT_SUPPORTED", "the operation is not supported"),
        0xc000_00c0 => ("STATUS_DEVICE_DOES_NOT_EXIST", "the device does not exist"),
        0xc000_00e9 => ("STATUS_UNEXPECTED_IO_ERROR", "an unexpected I/O error"),
        0xc000_00fd => ("STATUS_STACK_OVERFLOW", "the stack was full"),
        0xc000_0102 => ("STATUS_FILE_CORRUPT_ERROR", "a file or folder is damaged"),
        0xc000_0120 => ("STATUS_CANCELLED", "the operation was cancelled"),
        0xc000_012d => ("STATUS_COMMITMENT_LIMIT", "memory and page files were used up"),
        0xc000_0135 => ("STATUS_DLL_NOT_FOUND", "a library was not found"),
        0xc000_0142 => ("STATUS_DLL_INIT_FAILED", "a library failed to start"),
        0xc000_014f => ("STATUS_UNRECOGNIZED_VOLUME", "the volume has no file system that is known"),
        0xc000_0185 => ("STATUS_IO_DEVICE_ERROR", "the device reports an I/O error (disk, cable, controller)"),
        0xc000_0194 => ("STATUS_POSSIBLE_DEADLOCK", "a lock was not given for too long"),
        0xc000_0218 => ("STATUS_CANNOT_LOAD_REGISTRY_FILE", "a registry file cannot be loaded"),
        0xc000_021a => ("STATUS_SYSTEM_PROCESS_TERMINATED", "a process that Windows needs ended"),
        0xc000_0221 => ("STATUS_IMAGE_CHECKSUM_MISMATCH", "a program file is damaged"),
        0xc000_022c => ("STATUS_UNHANDLED_EXCEPTION", "an unhandled exception"),
        0xc000_02b4 => ("STATUS_FLOAT_MULTIPLE_FAULTS", "several floating-point faults"),
        0xc000_0374 => ("STATUS_HEAP_CORRUPTION", "the heap is corrupted"),
        0xc000_0409 => ("STATUS_STACK_BUFFER_OVERRUN", "a stack cookie was overwritten, or a fail-fast"),
        0xc000_0420 => ("STATUS_ASSERTION_FAILURE", "an assertion failed"),
        0xc000_0428 => ("STATUS_INVALID_IMAGE_HASH", "a file's signature is not valid"),
        0xc000_0602 => ("STATUS_FAIL_FAST_EXCEPTION", "a fail-fast"),
        0xe06d_7363 => ("a C++ exception", "a C++ exception that nobody caught"),
        _ => return None,
    })
}

/// A level of interrupts of 64-bit processors, in words.
#[must_use]
pub fn irql(level: u64, x64: bool) -> String {
    let words = match (level, x64) {
        (0, _) => "passive: ordinary code, which may touch paged memory",
        (1, _) => "APC",
        (2, _) => "dispatch: no page fault may be resolved at this level",
        (3..=11, true) => "a device's interrupt",
        (12, true) => "synchronisation",
        (13, true) => "the clock's interrupt",
        (14, true) => "an interrupt between processors",
        (15, true) => "the highest level",
        (0xff, _) => "interrupts were switched off",
        (3.., _) => "a device's interrupt or above",
    };
    format!("{level} ({words})")
}

/// A number as `STATUS_X (words)`, or as it stands.
#[must_use]
pub fn status_text(value: u64) -> String {
    // A status is a signed number of 32 bits; parameters hold it sign-extended.
    let code = value as u32;
    let is_status = value >> 32 == 0 || value >> 32 == 0xffff_ffff;
    match status(code).filter(|_| is_status) {
        Some((name, words)) => format!("{name}: {words}"),
        None => format!("status {code:#010x}"),
    }
}
