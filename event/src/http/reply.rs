//! What a subscriber's answer claims to be (CONTRACT §2).

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::decode::{Limits, decode};
use super::media::{ContentMode, content_mode};
use crate::error::DecodeError;
use crate::event::Event;

/// Headers that an answer must all have to claim that it is an event in binary mode.
const CLAIMING: [&str; 4] = ["ce-specversion", "ce-id", "ce-source", "ce-type"];

/// What an answer says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It doesn't claim to be an event: `OK`, `{"ok":true}`, nothing.
    NotAnEvent,
    /// It is one, a reply.
    Event(Event),
    /// It claims to be one and isn't: the delivery failed.
    Invalid(DecodeError),
}

/// Judges an answer.
///
/// Only a success other than 202 has a reply; a 202 never has, even if its body parses as an
/// event. An event is claimed by a content type that begins with `application/cloudevents` on a
/// body that isn't empty, or by all four required attributes among the headers.
pub fn reply(status: StatusCode, headers: &HeaderMap, body: Bytes, limits: &Limits) -> Claim {
    if !status.is_success() || status == StatusCode::ACCEPTED {
        return Claim::NotAnEvent;
    }
    let claims = match content_mode(headers) {
        ContentMode::Binary => CLAIMING.iter().all(|name| headers.contains_key(*name)),
        ContentMode::Structured | ContentMode::UnsupportedFormat(_) => !body.is_empty(),
        ContentMode::Batched if body.is_empty() => false,
        ContentMode::Batched => return Claim::Invalid(DecodeError::UnaskedBatch),
    };
    if !claims {
        return Claim::NotAnEvent;
    }
    match decode(headers, body, limits).map(|batch| batch.events.into_iter().next()) {
        Ok(Some(event)) => Claim::Event(event),
        Ok(None) => Claim::NotAnEvent,
        Err(error) => Claim::Invalid(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const ALL: &[(&str, &str)] = &[
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];
    const STRUCTURED: &[(&str, &str)] = &[("content-type", "application/cloudevents+json")];

    #[track_caller]
    fn check(status: u16, headers: &[(&str, &str)], body: &str, expect: Expect) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        let status = StatusCode::from_u16(status).unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let shown = match reply(status, &map, body, &Limits::default()) {
            Claim::NotAnEvent => "not an event".to_owned(),
            Claim::Event(event) => format!("event {}", event.as_ref().id()),
            Claim::Invalid(error) => format!("invalid: {error}"),
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn an_answer_that_claims_nothing_is_no_event() {
        check(200, &[], "OK", expect!["not an event"]);
        check(
            200,
            &[("content-type", "application/json")],
            "{\"ok\":true}",
            expect!["not an event"],
        );
        check(200, &ALL[..3], "", expect!["not an event"]);
        check(200, STRUCTURED, "", expect!["not an event"]);
        check(202, ALL, "", expect!["not an event"]);
        check(500, ALL, "", expect!["not an event"]);
    }

    #[test]
    fn an_answer_that_claims_to_be_an_event_is_held_to_it() {
        let document = r#"{"specversion":"1.0","id":"2","source":"/s","type":"t"}"#;
        check(200, ALL, "", expect!["event 1"]);
        check(201, STRUCTURED, document, expect!["event 2"]);
        check(
            200,
            STRUCTURED,
            "OK",
            expect![
                "invalid: the JSON is malformed at byte 0: an event is a JSON object, which begins with {"
            ],
        );
        check(
            200,
            &[("content-type", "application/cloudevents+avro")],
            "x",
            expect![[
                r#"invalid: content type "application/cloudevents+avro" is an event format that this broker does not speak, send application/cloudevents+json, application/cloudevents-batch+json or binary mode"#
            ]],
        );
        check(
            200,
            &[("content-type", "application/cloudevents-batch+json")],
            "[]",
            expect![
                "invalid: the answer is a batch, which nobody asked for, answer with one event"
            ],
        );
        let mut empty_id = ALL.to_vec();
        empty_id[1] = ("ce-id", "");
        check(
            200,
            &empty_id,
            "",
            expect!["invalid: header ce-id is empty, send ce-id: A234-1234-1234"],
        );
    }
}
