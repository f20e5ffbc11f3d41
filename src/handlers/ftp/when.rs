//! The times of MDTM, MFMT and MLSx: UTC, `YYYYMMDDHHMMSS`, perhaps with a fraction (RFC 3659, 2.3).

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// To the second. What is beyond the year 9999 is the epoch.
pub(super) fn format_time(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = TimeZone::UTC.to_datetime(time);
    let (year, month, day) = (time.year().max(0), time.month(), time.day());
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", time.hour(), time.minute(), time.second())
}

/// None is a 501: no such day, or not fourteen digits. Of a fraction nanoseconds count.
pub(super) fn parse_time(text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to)?.parse::<i8>().ok();
    let year: i16 = whole.get(..4)?.parse().ok()?;
    let nanoseconds: i32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let (month, day, hour) = (part(4, 6)?, part(6, 8)?, part(8, 10)?);
    let time = DateTime::new(year, month, day, hour, part(10, 12)?, part(12, 14)?, nanoseconds).ok()?;
    Some(TimeZone::UTC.to_timestamp(time).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_utc_and_come_back() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_399);
        assert_eq!(format_time(time), "20000228235959");
        assert_eq!(parse_time(b"20000228235959"), Some(time));
        assert_eq!(parse_time(b"20000228235959.5"), Some(time + Duration::from_millis(500)));
        assert_eq!(parse_time(b"20000229000000"), Some(time + Duration::from_secs(1)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            &b""[..],
            b"2000022823595",
            b"20010229000000",
            b"20000228240000",
            b"+0000228235959",
            b"20000228235959.",
            b"20000228235959.x",
            b"\xff",
        ] {
            assert_eq!(parse_time(wrong), None, "{wrong:?}");
        }
    }
}
