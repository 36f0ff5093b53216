//! Small words of reports: numbers, times, UUIDs, systems, processors, exceptions.
//!
//! *What it is not*: a reader of any report; the readers of each kind use it.
//!
//! *Trap*: the same number is hexadecimal with `0x` in one line and decimal in the next (`Code 0x8badf00d`, `Code 11`).

use crate::{Arch, BSD_SIGNALS, Os};

/// A number, hexadecimal if it begins with `0x`.
pub(crate) fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A number at the start of a text, and what follows it.
pub(super) fn leading_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start();
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let digits = if hex { text.get(2..)? } else { text };
    let end = digits.find(|c: char| !(c.is_ascii_digit() || hex && c.is_ascii_hexdigit())).unwrap_or(digits.len());
    let value = u64::from_str_radix(digits.get(..end)?, if hex { 16 } else { 10 }).ok()?;
    Some((value, digits.get(end..)?))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `2022-08-03 20:36:44.3125 +0900` in seconds since 1970 (UTC); without a zone, UTC is assumed.
pub(super) fn time(text: &str) -> Option<i64> {
    let mut parts = text.split_whitespace();
    let mut date = parts.next()?.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let clock = parts.next()?;
    let clock = clock.split('.').next().unwrap_or(clock);
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().flatten().unwrap_or(0));
    let sane = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !sane {
        return None;
    }
    let zone = parts.next().and_then(|zone| {
        let sign = if zone.starts_with('-') { -1 } else { 1 };
        let digits = zone.get(1..)?.replace(':', "");
        if digits.len() != 4 {
            return None;
        }
        let (hours, minutes) = digits.split_at_checked(2)?;
        Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
    });
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone.unwrap_or(0))
}

/// A UUID in any spelling as 16 bytes; all zeros mean that there is none.
pub(crate) fn uuid(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    if digits.len() != 32 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    let bytes: Option<Vec<u8>> = digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    bytes.filter(|bytes| bytes.iter().any(|&byte| byte != 0))
}

/// The system by its words: `macOS 12.4 (21F79)`, `iPhone OS 15.5 (19F77)`, `Mac OS X 10.14`.
pub(super) fn os(text: &str) -> Os {
    let text = text.to_ascii_lowercase();
    if text.contains("mac") || text.contains("bridge") {
        Os::MacOs
    } else if ["iphone", "ios", "ipad", "watch", "tvos", "visionos", "xros", "audioos"].iter().any(|w| text.contains(w))
    {
        Os::Ios
    } else {
        Os::Unknown
    }
}

/// The processor by a word of a report: `X86-64 (Native)`, `ARM-64`, `arm64e`, `x86_64h`.
pub(super) fn arch(text: &str) -> Option<Arch> {
    let text = text.trim().to_ascii_lowercase();
    if text.starts_with("x86-64") || text.starts_with("x86_64") {
        Some(Arch::X86_64)
    } else if text.starts_with("arm-64") || text.starts_with("arm64_32") || text.starts_with("arm64") {
        Some(Arch::Aarch64)
    } else if text.starts_with("arm") {
        Some(Arch::Arm)
    } else if text.starts_with("x86") || text.starts_with("i386") {
        Some(Arch::X86)
    } else {
        None
    }
}

/// Whether a word names a processor, as lines of images have it.
pub(super) fn is_arch(word: &str) -> bool {
    ["arm64", "arm64e", "arm64_32", "armv7", "armv7s", "armv7k", "armv6", "x86_64", "x86_64h", "i386", "ppc", "ppc64"]
        .contains(&word)
}

/// Numbers of `mach/exception_types.h`.
pub(super) fn exception(name: &str) -> Option<u32> {
    const NAMES: [&str; 13] = [
        "EXC_BAD_ACCESS",
        "EXC_BAD_INSTRUCTION",
        "EXC_ARITHMETIC",
        "EXC_EMULATION",
        "EXC_SOFTWARE",
        "EXC_BREAKPOINT",
        "EXC_SYSCALL",
        "EXC_MACH_SYSCALL",
        "EXC_RPC_ALERT",
        "EXC_CRASH",
        "EXC_RESOURCE",
        "EXC_GUARD",
        "EXC_CORPSE_NOTIFY",
    ];
    NAMES.iter().position(|known| *known == name).map(|index| index as u32 + 1)
}

/// Numbers of macOS' `sys/signal.h`.
pub(super) fn signal(name: &str) -> Option<i32> {
    // The one without a name is no signal.
    BSD_SIGNALS.iter().position(|known| *known == name).filter(|number| *number > 0).map(|number| number as i32)
}

/// Codes of EXC_BAD_ACCESS by name: `mach/kern_return.h`, and `mach/{arm,i386}/exception.h`.
pub(super) fn kern_code(name: &str) -> Option<u64> {
    Some(match name {
        "KERN_INVALID_ADDRESS" => 1,
        "KERN_PROTECTION_FAILURE" => 2,
        "KERN_FAILURE" => 5,
        "KERN_MEMORY_FAILURE" => 9,
        "KERN_MEMORY_ERROR" => 10,
        "KERN_CODESIGN_ERROR" => 50,
        "EXC_I386_GPFLT" => 13,
        "EXC_ARM_DA_ALIGN" => 0x101,
        "EXC_ARM_DA_DEBUG" => 0x102,
        _ => return None,
    })
}

/// The register's name as the processor's table has it.
pub(super) fn register(name: &str) -> &str {
    match name {
        "rfl" | "rflags" | "efl" => "eflags",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time("2022-08-03 20:36:44.3125 +0900"), Some(1_659_526_604));
        assert_eq!(time("2019-01-09 17:42:22 +0000"), Some(1_547_055_742));
        assert_eq!(time("2020-02-29 00:00:00 -0130"), Some(1_582_939_800));
        assert_eq!(time("9999999999999999999-01-01 00:00:00"), None);
        assert_eq!(time("2020-13-01 00:00:00"), None);
        assert_eq!(time(""), None);
    }

    #[test]
    fn identities() {
        let id = uuid("01d2a9d5-1f8a-35c8-9228-7c7cca13c5fc").unwrap();
        assert_eq!(uuid("01D2A9D51F8A35C892287C7CCA13C5FC"), Some(id));
        assert_eq!(uuid("00000000-0000-0000-0000-000000000000"), None);
        assert_eq!(uuid("@UUID@"), None);
        assert_eq!(leading_number("0x8badf00d rest"), Some((0x8bad_f00d, " rest")));
        assert_eq!(leading_number("11 Segmentation fault: 11"), Some((11, " Segmentation fault: 11")));
        assert_eq!(exception("EXC_BAD_ACCESS"), Some(1));
        assert_eq!(exception("EXC_GUARD"), Some(12));
        assert_eq!(signal("SIGSEGV"), Some(11));
    }
}
