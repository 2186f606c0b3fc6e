//! RFC 3339 times, as `weft.dev/start` and attributes write them, to milliseconds since
//! 1970-01-01T00:00:00Z.

use crate::problem::Wrong;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Reads a time such as `2026-11-21T09:00:00Z` or `2026-11-21T10:00:00.5+01:00`, in ms since
/// 1970. What is finer than a millisecond is cut off; a leap second counts as the second after
/// it.
///
/// # Errors
///
/// The text isn't an RFC 3339 date-time, or is before 1970.
pub fn parse(text: &str) -> Result<u64, Wrong> {
    let wrong = || {
        Wrong::new(
            format!("is {text:?}"),
            "write an RFC 3339 time such as 2026-11-21T09:00:00Z",
        )
    };
    let ms = instant(text).ok_or_else(wrong)?;
    u64::try_from(ms).map_err(|_| {
        Wrong::new(
            format!("is {text:?}"),
            "write a time that is not before 1970",
        )
    })
}

fn instant(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (head, rest) = bytes.split_at_checked(19)?;
    let shape = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    if !shape
        .iter()
        .all(|(at, mark)| char::from(head[*at]).to_ascii_uppercase() == *mark)
    {
        return None;
    }
    let year = digits(&head[0..4])?;
    let (month, day) = (digits(&head[5..7])?, digits(&head[8..10])?);
    let (hour, minute, second) = (
        digits(&head[11..13])?,
        digits(&head[14..16])?,
        digits(&head[17..19])?,
    );
    if !(1..=days_of(year, month)).contains(&day) || 23 < hour || 59 < minute || 60 < second {
        return None;
    }
    let (ms, zone) = match rest {
        [b'.', tail @ ..] => {
            let count = tail.iter().take_while(|b| b.is_ascii_digit()).count();
            let mut ms = 0;
            for place in 0..3 {
                let digit = tail.get(place).filter(|_| place < count);
                ms = ms * 10 + digit.map_or(0, |digit| i64::from(digit - b'0'));
            }
            if count == 0 {
                return None;
            }
            (ms, &tail[count..])
        }
        _ => (0, rest),
    };
    let offset = match zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), hours @ .., b':', _, _] if hours.len() == 2 => {
            let (hours, minutes) = (digits(hours)?, digits(&zone[4..6])?);
            if 23 < hours || 59 < minutes {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let days = days_since_1970(year, month, day);
    let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset;
    Some(seconds * 1000 + ms)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + i64::from(byte - b'0'))
    })
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    }
}

/// By years that begin in March, so that the leap day is the last; 400 years have 146,097 days.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond() {
        let lines: Vec<String> = [
            "1970-01-01T00:00:00Z",
            "2026-11-21T09:00:00Z",
            "2026-11-21T10:00:00.5+01:00",
            "2026-11-21t08:30:00.123999-00:30",
            "2000-02-29T23:59:60z",
            "9999-12-31T23:59:59.999Z",
            "1969-12-31T23:59:59Z",
            "2026-02-29T00:00:00Z",
            "2026-11-21 09:00:00Z",
            "2026-11-21T09:00:00",
            "2026-11-21T09:00:00.Z",
            "2026-11-21T09:00:00+1:00",
            "2026-11-21T24:00:00Z",
            "2026-13-01T00:00:00Z",
            "yesterday",
            "2026-11-21T09:00:é0Z",
        ]
        .iter()
        .map(|text| match parse(text) {
            Ok(ms) => format!("{text} -> {ms}"),
            Err(wrong) => format!("{text} -> {wrong}"),
        })
        .collect();
        expect![[r#"
            1970-01-01T00:00:00Z -> 0
            2026-11-21T09:00:00Z -> 1795251600000
            2026-11-21T10:00:00.5+01:00 -> 1795251600500
            2026-11-21t08:30:00.123999-00:30 -> 1795251600123
            2000-02-29T23:59:60z -> 951868800000
            9999-12-31T23:59:59.999Z -> 253402300799999
            1969-12-31T23:59:59Z -> is "1969-12-31T23:59:59Z", write a time that is not before 1970
            2026-02-29T00:00:00Z -> is "2026-02-29T00:00:00Z", write an RFC 3339 time such as 2026-11-21T09:00:00Z
            2026-11-21 09:00:00Z -> is "2026-11-21 09:00:00Z", write an RFC 3339 time such as 2026-11-21T09:00:00Z
            2026-11-21T09:00:00 -> is "2026-11-21T09:00:00", write an RFC 3339 time such as 2026-11-21T09:00:00Z
            2026-11-21T09:00:00.Z -> is "2026-11-21T09:00:00.Z", write an RFC 3339 time such as 2026-11-21T09:00:00Z
            2026-11-21T09:00:00+1:00 -> is "2026-11-21T09:00:00+1:00", write an RFC 3339 time such as 2026-11-21T09:00:00Z
            2026-11-21T24:00:00Z -> is "2026-11-21T24:00:00Z", write an RFC 3339 time such as 2026-11-21T09:00:00Z
            2026-13-01T00:00:00Z -> is "2026-13-01T00:00:00Z", write an RFC 3339 time such as 2026-11-21T09:00:00Z
            yesterday -> is "yesterday", write an RFC 3339 time such as 2026-11-21T09:00:00Z
            2026-11-21T09:00:é0Z -> is "2026-11-21T09:00:é0Z", write an RFC 3339 time such as 2026-11-21T09:00:00Z"#]].assert_eq(&lines.join("\n"));
    }
}
