//! Times as tables show them, in seconds.

/// Seconds since 1970 of `2026-11-22T17:53:50Z`.
pub fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let date: Vec<i64> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let time: Vec<i64> = time.split(':').map(|part| part.split('.').next()?.parse().ok()).collect::<Option<_>>()?;
    let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), time.as_slice()) else { return None };
    // Years begin in March: the day that leaps is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_date_has_it() {
        // date -u -d 2026-11-22T17:53:50Z +%s, and so on.
        for (text, seconds) in [
            ("2026-11-22T17:53:50Z", 1_795_370_030),
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
        ] {
            assert_eq!(super::seconds(text), Some(seconds));
        }
        assert_eq!(super::seconds("yesterday"), None);
    }
}
