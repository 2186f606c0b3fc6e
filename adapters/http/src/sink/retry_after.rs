//! `Retry-After`: seconds, or a date (RFC 9110, §10.2.3).

use std::time::{Duration, UNIX_EPOCH};

use broker::WallTime;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

/// How long the destination asks to be left alone, seen from `now`. Only 429 and 503 may ask
/// (contract §2); what can't be read counts as absent, and a date that has passed as none to
/// wait.
pub(super) fn of(status: StatusCode, headers: &HeaderMap, now: WallTime) -> Option<Duration> {
    if !matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        return None;
    }
    asked(headers, now)
}

/// How long an answer asks for, whatever its status: what `Weft-Nack: retry` may do.
pub(super) fn asked(headers: &HeaderMap, now: WallTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large asks for ever; the trigger's terms cap it.
        return Some(Duration::from_secs(
            text.parse().unwrap_or(u64::from(u32::MAX)),
        ));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let at = date.duration_since(UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(Duration::from_millis(now.0)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn seconds_dates_and_nonsense() {
        // 1994-11-06T08:49:37Z
        let now = WallTime(784_111_777_000);
        let asked = |status, text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            of(status, &headers, now)
        };
        let busy = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(asked(busy, "7"), Some(Duration::from_secs(7)));
        assert_eq!(
            asked(StatusCode::TOO_MANY_REQUESTS, "0"),
            Some(Duration::ZERO)
        );
        assert_eq!(
            asked(busy, "Sun, 06 Nov 1994 08:50:00 GMT"),
            Some(Duration::from_secs(23))
        );
        assert_eq!(
            asked(busy, "Sunday, 06-Nov-94 08:50:00 GMT"),
            Some(Duration::from_secs(23))
        );
        assert_eq!(
            asked(busy, "Sun, 06 Nov 1994 08:49:00 GMT"),
            Some(Duration::ZERO)
        );
        assert_eq!(asked(busy, "Sun, 06 Nov 1960 08:49:00 GMT"), None);
        assert!(asked(busy, "99999999999999999999999").unwrap() > Duration::from_secs(1 << 31));
        for nonsense in ["", "soon", "-1", "1.5", "+3"] {
            assert_eq!(asked(busy, nonsense), None, "{nonsense}");
        }
        assert_eq!(asked(StatusCode::INTERNAL_SERVER_ERROR, "7"), None);
        assert_eq!(of(busy, &HeaderMap::new(), now), None);
    }
}
