//! Values of flags: times, sizes and percentages as people write them.
//!
//! *Example*: `duration("20ms")` and `size("64K")`.
//!
//! *Trap*: sizes count in 1024s, as in `ulimit` and `ls -h`.

use std::time::Duration;

/// A time: a number and `us`, `ms`, `s`, `m`, `h` or `d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = parts(text);
    let nanos = match unit {
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3_600e9,
        "d" => 86_400e9,
        _ => return Err("a time is a number with its unit, as 20ms, 5s, 2m or 1h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number} is no number"))?;
    Duration::try_from_secs_f64(number * nanos / 1e9).map_err(|_| "too long a time".to_owned())
}

/// A size in bytes: a number and nothing, `K`, `M`, `G` or `T`.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = parts(text);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err("a size is a number of bytes, or with K, M, G or T, as 64K or 2G".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number} is no number"))?;
    let bytes = number * (1u64 << shift) as f64;
    if bytes.is_finite() && (0.0..1.8e19).contains(&bytes) { Ok(bytes as u64) } else { Err("too large a size".into()) }
}

/// A percentage: a number, with or without `%`.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    // Not what Rust would take as a number besides: inf, nan, 1e9, -1.
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    number.parse().ok().filter(|_| plain).ok_or_else(|| "a percentage is a number, as 80 or 2.5".to_owned())
}

fn parts(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("5").is_err() && duration("ms").is_err() && duration("-1s").is_err());
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert_eq!(size("1000"), Ok(1000));
        assert_eq!((percent("80"), percent("2.5%")), (Ok(80.0), Ok(2.5)));
        for wrong in ["", "%", "x", "-1", "inf", "nan", "1e2", "1..2"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
        assert!(size("x").is_err() && size("1Q").is_err() && size("1e300T").is_err() && size("").is_err());
    }
}
