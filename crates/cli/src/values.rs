//! Values on the command line: times, sizes, percentages.
//!
//! *Example*: `20ms 5s 2m 1h` are times, `64K 50M 2G` sizes in steps of 1024.
//!
//! *Trap*: `2m` is two minutes, `2M` two mebibytes; and a time without a unit is refused, since seconds and milliseconds
//! are both what somebody would have meant.

use std::time::Duration;

/// A time, as `20ms`, `5s`, `1.5s`, `2m` or `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let nanos: u64 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        "" if number == "0" => return Ok(Duration::ZERO),
        "" => return Err(format!("`{text}` has no unit: write {number}s or {number}ms")),
        _ => return Err(format!("`{text}` is no time: write it as 20ms, 5s, 2m or 1h")),
    };
    scaled(number, nanos)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("`{text}` is no time: write it as 20ms, 5s, 2m or 1h"))
}

/// A number of bytes, as `4096`, `64K`, `50M`, `1.5G` or `2T`; units are powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let unit = unit.to_ascii_uppercase();
    let unit = unit.strip_suffix("IB").or(unit.strip_suffix('B')).unwrap_or(&unit);
    let shift = match unit {
        "" => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        "T" => Some(40),
        _ => None,
    };
    shift
        .and_then(|shift| scaled(number, 1 << shift))
        .ok_or_else(|| format!("`{text}` is no size: write it as 64K, 50M or 2G"))
}

/// A percentage, as `80`, `80%` or `2.5`.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    number.parse().ok().filter(|_| plain).ok_or_else(|| format!("`{text}` is no percentage: write it as 80"))
}

/// The number and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    (number, unit.trim_start())
}

/// A decimal number times a unit, exact for whole numbers.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    let (whole, part) = number.split_once('.')?;
    if part.is_empty() || part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(unit) / 10u128.pow(part.len() as u32);
    whole.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "5", "s", "-5s", "5x", "5 s s", "1.s", "1..2s", "99999999999h", "1e3s", "5S"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(duration("5").unwrap_err().contains("5s or 5ms"));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("50m"), Ok(50 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("1.5GiB"), Ok(3 << 29));
        assert_eq!(size("2TB"), Ok(2 << 40));
        for wrong in ["", "K", "-1", "1X", "1.5.5G", "99999999999T", "0x10", "1e9"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(percent("80"), Ok(80.0));
        assert_eq!(percent("2.5%"), Ok(2.5));
        for wrong in ["", "%", "x", "-1", "inf", "nan", "1e2"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
