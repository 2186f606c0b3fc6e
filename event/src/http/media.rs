//! What the content type of a message says about how the event lies in it.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Media type of one event in the JSON format.
pub const JSON: &str = "application/cloudevents+json";

/// Media type of a batch of events in the JSON format.
pub const BATCH_JSON: &str = "application/cloudevents-batch+json";

/// Every content type of an event format begins so (CloudEvents HTTP binding 1.0.2, §3).
const EVENT_FORMATS: &str = "application/cloudevents";

/// How a message carries its event or events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentMode {
    /// Attributes as headers, data as body. Any content type that names no event format.
    Binary,
    Structured,
    Batched,
    /// The content type, which names an event format or a charset that we don't speak.
    UnsupportedFormat(String),
}

/// Says how a message with these headers carries its event.
///
/// Media types compare case-insensitively and parameters are tolerated, but a charset must be
/// UTF-8: JSON has no other. A content type that isn't text is no event format, hence binary.
pub fn content_mode(headers: &HeaderMap) -> ContentMode {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return ContentMode::Binary;
    };
    let bytes = content_type.as_bytes();
    // Most messages are binary ones, and end here.
    if !names_event_format(bytes) {
        return ContentMode::Binary;
    }
    let text = String::from_utf8_lossy(bytes);
    if !is_utf8(&text) {
        return ContentMode::UnsupportedFormat(text.into_owned());
    }
    let essence = essence(&text);
    if essence.eq_ignore_ascii_case(JSON) {
        ContentMode::Structured
    } else if essence.eq_ignore_ascii_case(BATCH_JSON) {
        ContentMode::Batched
    } else {
        ContentMode::UnsupportedFormat(text.into_owned())
    }
}

/// Says whether a message of this content type is an event format's, be it one that we speak or not.
pub(crate) fn names_event_format(content_type: &[u8]) -> bool {
    let start = content_type.get(..EVENT_FORMATS.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_FORMATS.as_bytes()))
}

/// Says whether data of this media type is JSON: subtype `json` or suffix `+json`.
pub(crate) fn is_json(media_type: &str) -> bool {
    let Some((_, subtype)) = essence(media_type).split_once('/') else {
        return false;
    };
    let ends = subtype
        .len()
        .checked_sub("+json".len())
        .and_then(|at| subtype.get(at..));
    subtype.eq_ignore_ascii_case("json")
        || ends.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

/// Says whether text of this media type may be read as UTF-8: it names no other charset.
pub(crate) fn is_utf8(media_type: &str) -> bool {
    media_type.split(';').skip(1).all(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else {
            return true;
        };
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || value.eq_ignore_ascii_case("utf-8")
            || value.eq_ignore_ascii_case("utf8")
    })
}

/// The media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(content_types: &[&str], expect: Expect) {
        let modes: Vec<String> = content_types
            .iter()
            .map(|text| {
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, text.parse().unwrap());
                format!("{text} -> {:?}", content_mode(&headers))
            })
            .collect();
        expect.assert_eq(&modes.join("\n"));
    }

    #[test]
    fn the_content_type_tells_the_mode() {
        assert_eq!(content_mode(&HeaderMap::new()), ContentMode::Binary);
        check(
            &[
                "",
                "application/json",
                "Application/CloudEvents+JSON",
                "application/cloudevents+json ; charset=UTF-8; x=y",
                "application/cloudevents+json;charset=\"utf-8\"",
                "application/cloudevents+json; charset=latin1",
                "application/cloudevents-batch+json; charset=utf-8",
                "application/cloudevents+xml",
                "application/cloudevents",
                "application/cloudevents+protobuf",
                "application/cloudevent",
            ],
            expect![[r#"
                 -> Binary
                application/json -> Binary
                Application/CloudEvents+JSON -> Structured
                application/cloudevents+json ; charset=UTF-8; x=y -> Structured
                application/cloudevents+json;charset="utf-8" -> Structured
                application/cloudevents+json; charset=latin1 -> UnsupportedFormat("application/cloudevents+json; charset=latin1")
                application/cloudevents-batch+json; charset=utf-8 -> Batched
                application/cloudevents+xml -> UnsupportedFormat("application/cloudevents+xml")
                application/cloudevents -> UnsupportedFormat("application/cloudevents")
                application/cloudevents+protobuf -> UnsupportedFormat("application/cloudevents+protobuf")
                application/cloudevent -> Binary"#]],
        );
    }

    #[test]
    fn json_is_told_by_its_subtype() {
        for json in [
            "application/json",
            "TEXT/JSON; charset=utf-8",
            "application/a.b+JSON",
            "x/json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in [
            "",
            "json",
            "text/plain",
            "application/json5",
            "application/jsonx+xml",
            "a/é",
        ] {
            assert!(!is_json(other), "{other}");
        }
    }
}
