//! What to try after a stop, by what mostly stands behind it.

/// A driver is the likeliest.
pub(super) const DRIVER: &[&str] = &[
    "Update the driver that is named as the probable culprit, or go back to the version before it if the stops began with an update; remove it if its device or program is not needed.",
    "If no driver is named, or a different one each time, switch on Driver Verifier for drivers that are not Microsoft's (`verifier /standard`) and wait for the next stop; it names the one that breaks the rules.",
    "If it goes on without a pattern, test the memory.",
];
/// Damaged kernel memory.
pub(super) const POOL: &[&str] = &[
    "The driver that damaged the memory is often not the one that ran when it was found: switch on Driver Verifier with special pool (`verifier /flags 0x1`) for drivers that are not Microsoft's, and wait for the next stop.",
    "Look at drivers that were installed or updated shortly before the first of these stops.",
    "Test the memory.",
];
/// Memory modules.
pub(super) const MEMORY: &[&str] = &[
    "Test the memory for several hours, and with one module at a time; take back overclocking and memory profiles (XMP, EXPO).",
    "Check the file system and the system's files (`chkdsk /f`, `sfc /scannow`).",
    "If memory is sound, switch on Driver Verifier for drivers that are not Microsoft's.",
];
/// Disks and file systems.
pub(super) const DISK: &[&str] = &[
    "Save what matters, then look at the disk's own health report (SMART) and at errors of `disk`, `storahci`, `stornvme` or `Ntfs` in the system's event log.",
    "Check the volume (`chkdsk /f`), the cable and the disk's firmware.",
    "Leave out filter drivers (anti-virus, backup, encryption) for a trial.",
];
/// Hardware.
pub(super) const HARDWARE: &[&str] = &[
    "Take back all overclocking and undervolting; check temperatures, fans and the power supply.",
    "Update the firmware and the processor's microcode.",
    "Read the error record in the system's event log (WHEA-Logger): it names processor, memory or device.",
    "Test the memory, and try with as few cards and devices as possible.",
];
/// Graphics.
pub(super) const GRAPHICS: &[&str] = &[
    "Install the graphics driver anew from its maker, or go back to an older one.",
    "Take back overclocking of the graphics processor; check its temperature and power connectors.",
    "If it comes in one program only, look at that program's settings and overlays.",
];
/// Power states.
pub(super) const POWER: &[&str] = &[
    "Update the driver of the device that did not follow (the culprit below), and the firmware.",
    "Try without fast startup, and without letting the machine switch that device off to save power.",
    "A complete or kernel dump shows the blocked power requests of all drivers; a small one only the one that gave up.",
];
/// Firmware.
pub(super) const FIRMWARE: &[&str] = &[
    "Update the machine's firmware, or go back to the version before it.",
    "Set the firmware's settings back to their defaults; update programs that use virtualisation.",
];
/// Starting up.
pub(super) const BOOT: &[&str] = &[
    "Undo the last change: driver, update, controller mode (AHCI, RAID) in the firmware.",
    "Start the recovery environment and check the system volume (`chkdsk /f`) and system files (`sfc /scannow /offbootdir=…`).",
    "Check disk and cable.",
];
/// Processes that must not end.
pub(super) const CRITICAL: &[&str] = &[
    "Check the system's files (`sfc /scannow`, `DISM /Online /Cleanup-Image /RestoreHealth`) and the system disk's health.",
    "Undo the last update, and remove programs that put themselves into others (anti-cheat, anti-virus, overlays).",
    "A complete dump holds the process that ended; a small one only its name.",
];
/// Verifier.
pub(super) const VERIFIER: &[&str] = &[
    "The driver that is named broke the rule: update or remove it, and tell its maker with this dump.",
    "Switch Driver Verifier off again (`verifier /reset`) when you have found it; it makes the machine slower.",
];
/// Asked for.
pub(super) const MANUAL: &[&str] =
    &["If the machine had hung, look at what the processors and threads were waiting for."];
/// Nothing happened.
pub(super) const LIVE: &[&str] = &[];
