//! Wall time as people and attributes write it.

use journal::WallTime;

/// RFC 3339 in UTC, with milliseconds: `2026-11-21T09:30:00.123Z`.
pub fn rfc3339(at: WallTime) -> String {
    let at = i64::try_from(at.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", at.unwrap_or(jiff::Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(WallTime(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            rfc3339(WallTime(1_763_718_600_123)),
            "2025-11-21T09:50:00.123Z"
        );
    }
}
