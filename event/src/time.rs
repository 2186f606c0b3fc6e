//! Whether a text is an RFC 3339 timestamp, judged by eye.
//!
//! The text itself is what is kept, with its offset and its fraction, so nothing is parsed into
//! an instant here.

/// Says whether `text` is an RFC 3339 `date-time` of the years 0000 to 9999. A leap second (60)
/// is accepted in any minute, since offsets and smearing put it in odd places.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((date, rest)) = bytes.split_at_checked(19) else {
        return false;
    };
    let shape = [
        (4, b"-" as &[u8]),
        (7, b"-"),
        (10, b"Tt"),
        (13, b":"),
        (16, b":"),
    ];
    if !shape.iter().all(|(at, any)| any.contains(&date[*at])) {
        return false;
    }
    let fields = (
        two(date, 0)
            .zip(two(date, 2))
            .map(|(high, low)| high * 100 + low),
        two(date, 5),
        two(date, 8),
        two(date, 11),
        two(date, 14),
        two(date, 17),
    );
    let (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) = fields
    else {
        return false;
    };
    (1..=days_of(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60
        && fraction_and_offset(rest)
}

/// `[.digits](Z|z|+hh:mm|-hh:mm)`.
fn fraction_and_offset(rest: &[u8]) -> bool {
    let offset = match rest {
        [b'.', tail @ ..] => {
            let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &tail[digits..]
        }
        _ => rest,
    };
    match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', _, _, b':', _, _] => {
            two(offset, 1).is_some_and(|hours| hours <= 23)
                && two(offset, 4).is_some_and(|minutes| minutes <= 59)
        }
        _ => false,
    }
}

fn two(bytes: &[u8], at: usize) -> Option<u32> {
    match bytes.get(at..at + 2)? {
        [high @ b'0'..=b'9', low @ b'0'..=b'9'] => {
            Some(u32::from(high - b'0') * 10 + u32::from(low - b'0'))
        }
        _ => None,
    }
}

/// Days of a month, 0 for a month that doesn't exist.
fn days_of(year: u32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400) => 29,
        2 => 28,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_rfc_3339_pass() {
        for good in [
            "2018-04-05T17:31:00Z",
            "2018-04-05t17:31:00z",
            "2018-04-05T17:31:00.123456789012Z",
            "2018-04-05T17:31:00+02:00",
            "2018-04-05T17:31:00-23:59",
            "1990-12-31T23:59:60Z",
            "0000-02-29T00:00:00Z",
            "2000-02-29T00:00:00Z",
            "9999-12-31T23:59:59.9-00:00",
        ] {
            assert!(is_rfc3339(good), "{good}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for bad in [
            "",
            "now",
            "2018-04-05",
            "2018-04-05T17:31:00",
            "2018-04-05 17:31:00Z",
            "2018-04-05T17:31Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00+0200",
            "2018-04-05T17:31:00+24:00",
            "2018-04-05T17:31:00+02:60",
            "2018-04-05T24:00:00Z",
            "2018-04-05T17:60:00Z",
            "2018-04-05T17:31:61Z",
            "2018-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2018-04-31T00:00:00Z",
            "2018-13-01T00:00:00Z",
            "2018-00-01T00:00:00Z",
            "2018-01-00T00:00:00Z",
            "+018-01-01T00:00:00Z",
            "2018-04-05T17:31:00Z ",
            "２018-04-05T17:31:00Z",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }
}
