//! The local time zone, which only the C library knows.

use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime};

/// The next moment after `now` at which clocks here show this time.
///
/// *Trap*: a day may have 23 or 25 hours. A time that is skipped comes an hour later; one that comes twice is taken
/// once.
pub(crate) fn next_local(now: SystemTime, (hour, minute, second): (u32, u32, u32)) -> Option<SystemTime> {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs() as libc::time_t;
    let mut broken = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r reads one time_t and fills one tm; zeros are a valid tm, too.
    let mut broken = unsafe {
        if libc::localtime_r(&raw const seconds, broken.as_mut_ptr()).is_null() {
            return None;
        }
        broken.assume_init()
    };
    let day = broken.tm_mday;
    for later in 0..3 {
        broken.tm_mday = day + later;
        broken.tm_hour = hour as i32;
        broken.tm_min = minute as i32;
        broken.tm_sec = second as i32;
        // Let the library find out whether summer time holds then.
        broken.tm_isdst = -1;
        let mut normal = broken;
        // SAFETY: mktime reads and normalises one tm.
        let then = unsafe { libc::mktime(&raw mut normal) };
        if then > seconds {
            return Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(then).ok()?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_is_within_a_day_and_reads_as_asked() {
        let now = SystemTime::now();
        for (hour, minute, second) in [(0, 0, 0), (12, 34, 56), (23, 59, 59)] {
            let then = next_local(now, (hour, minute, second)).unwrap();
            let wait = then.duration_since(now).unwrap();
            assert!(wait <= Duration::from_secs(25 * 3600), "{wait:?}");
            // The next after it is a day later, give or take the hour of summer time.
            let again = next_local(then, (hour, minute, second)).unwrap().duration_since(then).unwrap();
            assert!((22 * 3600..=26 * 3600).contains(&again.as_secs()), "{again:?}");
        }
    }
}
