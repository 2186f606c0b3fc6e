//! A wall time as people and attributes write it, `2026-11-21T09:00:00.000Z`; by hand, because
//! every attempt writes two.

use journal::WallTime;

const MS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// 9999-12-31T23:59:59.999Z; what is later is written so.
const MS_MAX: u64 = 253_402_300_799_999;

/// `time` in UTC with milliseconds (RFC 3339, §5.6). What is after the year 9999 is written as its
/// last millisecond.
pub fn rfc3339(time: WallTime) -> String {
    rfc3339_bytes(time)
        .iter()
        .map(|byte| char::from(*byte))
        .collect()
}

/// The same as ASCII bytes, without an allocation.
pub fn rfc3339_bytes(time: WallTime) -> [u8; 24] {
    let ms = time.0.min(MS_MAX);
    let (year, month, day) = date(ms / MS_PER_DAY);
    let in_day = ms % MS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], in_day / 3_600_000);
    put(&mut text[14..16], in_day / 60_000 % 60);
    put(&mut text[17..19], in_day / 1000 % 60);
    put(&mut text[20..23], in_day % 1000);
    text
}

/// Reads an RFC 3339 `date-time` to the millisecond, with any offset; what is finer is cut off.
/// `None` for anything else, and for what is before 1970 or after 9999.
pub fn parse_rfc3339(text: &str) -> Option<WallTime> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_at_checked(19)?;
    let marks = [
        date[4],
        date[7],
        date[10].to_ascii_uppercase(),
        date[13],
        date[16],
    ];
    if &marks != b"--T::" {
        return None;
    }
    let (year, month, day) = (
        digits(&date[..4])?,
        digits(&date[5..7])?,
        digits(&date[8..10])?,
    );
    let (hour, minute) = (digits(&date[11..13])?, digits(&date[14..16])?);
    // A leap second is the last one of its minute, as clocks that don't have one see it.
    let second = digits(&date[17..19])
        .filter(|second| *second <= 60)?
        .min(59);
    let days = days_since_1970(year, month, day)?;
    if hour > 23 || minute > 59 {
        return None;
    }
    let (ms, offset) = match rest.strip_prefix(b".") {
        None => (0, rest),
        Some(rest) => {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if length == 0 {
                return None;
            }
            let mut ms = [b'0'; 3];
            let kept = length.min(3);
            ms[..kept].copy_from_slice(&rest[..kept]);
            (digits(&ms)?, &rest[length..])
        }
    };
    let ahead = match offset {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), hours @ .., b':', tens, ones] if hours.len() == 2 => {
            let (hours, minutes) = (digits(hours)?, digits(&[*tens, *ones])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ahead = i64::try_from(hours * 3600 + minutes * 60).ok()? * 1000;
            if *sign == b'+' { ahead } else { -ahead }
        }
        _ => return None,
    };
    let in_day = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    let local = i64::try_from(days * MS_PER_DAY + in_day).ok()?;
    let ms = u64::try_from(local - ahead).ok()?;
    (ms <= MS_MAX).then_some(WallTime(ms))
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number * 10 + digit)
    })
}

/// Days to a date of the calendar, `None` for one that doesn't exist or is before 1970.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // The years begin in March, as in [`date`].
    let (from_march, year_of_march) = match month {
        1 | 2 => (month + 9, year.checked_sub(1)?),
        _ => (month - 3, year),
    };
    let (era, year_of_era) = (year_of_march / 400, year_of_march % 400);
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (date(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of a day counted from 1970-01-01, by the 400 years of 146,097 days in
/// which the calendar repeats; years begin in March, so that the leap day is the last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + days / 146_097 * 400 + u64::from(month <= 2);
    (year, month, day)
}

fn put(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Every day of 8,000 years as another implementation has it, at differing times of the day.
    #[test]
    fn it_agrees_with_another_implementation() {
        for day in 0..(MS_MAX / MS_PER_DAY) {
            let ms = day * MS_PER_DAY + (day * 7_919_317) % MS_PER_DAY;
            let other = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms));
            let ours = rfc3339_bytes(WallTime(ms));
            let ours = std::str::from_utf8(&ours).unwrap();
            // Sun, 06 Nov 1994 08:49:37 GMT
            assert_eq!(ours[0..4], other[12..16], "{ms}");
            assert_eq!(ours[8..10], other[5..7], "{ms}");
            assert_eq!(ours[11..19], other[17..25], "{ms}");
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month: usize = ours[5..7].parse().unwrap();
            assert_eq!(months[3 * month - 3..3 * month], other[8..11], "{ms}");
            assert_eq!(ours[20..23].parse::<u64>().unwrap(), ms % 1000);
        }
        assert_eq!(
            &rfc3339_bytes(WallTime(u64::MAX)),
            b"9999-12-31T23:59:59.999Z"
        );
    }
}
