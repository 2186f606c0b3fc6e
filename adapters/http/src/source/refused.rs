//! Why a request was not answered with 202, and what that is in HTTP.
//!
//! The broker's refusals, the event crate's and our own meet in one enum; the status of each is
//! decided in [`Refused::status`] and nowhere else. Bodies are problem+json (RFC 9457).

use std::fmt::Write;
use std::time::Duration;

use broker::Refusal;
use broker::ingress::RETRY_AFTER_NO_SPACE;
use bytes::Bytes;
use event::{DecodeError, Kind};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode, Version};
use http_body_util::Full;

use super::connection::HEADERS_MAX;
use super::scan::Violation;

/// What [`ALLOW`] says wherever events go in.
pub(super) const ALLOWED: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// How long a sender is asked to wait when too many bodies are in the air: they are stored, or
/// not, within moments.
const RETRY_AFTER_BUSY: Duration = Duration::from_secs(1);

/// Where a problem's `type` lies; the reason's label follows.
const PROBLEMS: &str = "https://weft.dev/problems/";

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Broker(#[from] Refusal),
    #[error(transparent)]
    Event(#[from] DecodeError),
    #[error("nothing is at this path, events go to /<namespace>/<broker>")]
    NoSuchPath,
    #[error("{0} is not for events, send them by POST")]
    Method(Method),
    #[error("content encoding {0:?} is not supported, send the body as it is")]
    Encoding(String),
    #[error("{}, this broker takes at most {limit}", body_size(*.got))]
    TooLarge { got: Option<u64>, limit: usize },
    #[error("the body comes too slowly")]
    Slow,
    #[error("the body ended early, or its chunks are malformed")]
    BrokenBody,
    #[error("too many events are being stored right now")]
    Busy,
    #[error("the request has {got} headers, at most {HEADERS_MAX} are taken")]
    TooManyHeaders { got: usize },
    #[error("header host is missing")]
    NoHost,
    #[error("header host is given twice, send it once")]
    TwoHosts,
    #[error("{}", violated(*.0))]
    Head(Violation),
}

fn body_size(got: Option<u64>) -> String {
    match got {
        Some(got) => format!("the body is {got} bytes"),
        None => "the body is too large".to_owned(),
    }
}

fn violated(violation: Violation) -> &'static str {
    match violation {
        Violation::BareLf => "a line of the head ends in LF alone, end it in CR LF",
        Violation::TwoLengths => {
            "both content-length and transfer-encoding are given, send one of them"
        }
    }
}

/// The reasons in a few words: a metric's label, and the end of a problem's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// 404: nobody declared the broker.
    NoSuchBroker,
    /// 404: not a path of ours.
    NoSuchPath,
    /// 405.
    Method,
    /// 400: the event is not valid.
    InvalidEvent,
    /// 400, 431: the HTTP is not what we take.
    BadRequest,
    /// 408.
    Slow,
    /// 413.
    TooLarge,
    /// 415.
    Unsupported,
    /// 503: too many bytes in the air.
    Busy,
    /// 503: the storage is full.
    NoSpace,
    /// 503: a trigger is over its share of the storage.
    Quota,
    /// 503: the log has stopped.
    Stopped,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::NoSuchBroker,
        Self::NoSuchPath,
        Self::Method,
        Self::InvalidEvent,
        Self::BadRequest,
        Self::Slow,
        Self::TooLarge,
        Self::Unsupported,
        Self::Busy,
        Self::NoSpace,
        Self::Quota,
        Self::Stopped,
    ];

    /// The reason as a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoSuchBroker => "no-such-broker",
            Self::NoSuchPath => "no-such-path",
            Self::Method => "method",
            Self::InvalidEvent => "invalid-event",
            Self::BadRequest => "bad-request",
            Self::Slow => "slow",
            Self::TooLarge => "too-large",
            Self::Unsupported => "unsupported",
            Self::Busy => "busy",
            Self::NoSpace => "no-space",
            Self::Quota => "quota",
            Self::Stopped => "stopped",
        }
    }
}

impl Refused {
    /// The status, and the reason that is counted (contract §1).
    pub(super) fn status(&self) -> (StatusCode, Reason) {
        match self {
            Self::Broker(Refusal::NoSuchBroker(_)) => (StatusCode::NOT_FOUND, Reason::NoSuchBroker),
            Self::Broker(Refusal::TooLarge { .. } | Refusal::BatchTooLarge { .. })
            | Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Reason::TooLarge),
            Self::Broker(Refusal::NoSpace) => (StatusCode::SERVICE_UNAVAILABLE, Reason::NoSpace),
            Self::Broker(Refusal::Quota { .. }) => (StatusCode::SERVICE_UNAVAILABLE, Reason::Quota),
            Self::Broker(Refusal::Stopped) => (StatusCode::SERVICE_UNAVAILABLE, Reason::Stopped),
            Self::Event(error) => match error.kind() {
                Kind::Invalid => (StatusCode::BAD_REQUEST, Reason::InvalidEvent),
                Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Reason::TooLarge),
                Kind::Unsupported => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Reason::Unsupported),
            },
            Self::NoSuchPath => (StatusCode::NOT_FOUND, Reason::NoSuchPath),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, Reason::Method),
            Self::Encoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Reason::Unsupported),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, Reason::Slow),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, Reason::Busy),
            Self::TooManyHeaders { .. } => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Reason::BadRequest,
            ),
            Self::BrokenBody | Self::NoHost | Self::TwoHosts | Self::Head(_) => {
                (StatusCode::BAD_REQUEST, Reason::BadRequest)
            }
        }
    }

    /// When a refused sender may try again, where we know.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Broker(Refusal::NoSpace | Refusal::Quota { .. } | Refusal::Stopped) => {
                Some(RETRY_AFTER_NO_SPACE)
            }
            Self::Busy => Some(RETRY_AFTER_BUSY),
            _ => None,
        }
    }

    /// Whether the connection can't go on: its framing is in doubt, or a body is left unread.
    fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Head(_)
                | Self::NoHost
                | Self::TwoHosts
                | Self::TooManyHeaders { .. }
                | Self::TooLarge { .. }
                | Self::Slow
                | Self::BrokenBody
                | Self::Busy
        )
    }

    fn attribute(&self) -> Option<&str> {
        match self {
            Self::Event(error) => error.attribute(),
            _ => None,
        }
    }

    /// The answer.
    pub(super) fn response(&self, version: Version) -> Response<Full<Bytes>> {
        let (status, reason) = self.status();
        let mut response = Response::new(Full::from(self.problem(status, reason)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(after) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        if matches!(self, Self::Method(_)) {
            headers.insert(ALLOW, ALLOWED);
        }
        if self.ends_connection() && version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn problem(&self, status: StatusCode, reason: Reason) -> String {
        let mut json = String::with_capacity(256);
        json.push_str("{\"type\":");
        push_json(&mut json, &format!("{PROBLEMS}{}", reason.label()));
        json.push_str(",\"title\":");
        push_json(&mut json, status.canonical_reason().unwrap_or("Error"));
        json.push_str(",\"status\":");
        json.push_str(status.as_str());
        json.push_str(",\"detail\":");
        push_json(&mut json, &self.to_string());
        if let Some(attribute) = self.attribute() {
            json.push_str(",\"attribute\":");
            push_json(&mut json, attribute);
        }
        json.push_str("}\n");
        json
    }
}

/// Appends `text` as a JSON string (RFC 8259, §7).
fn push_json(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\0'..='\x1f' => {
                write!(json, "\\u{:04x}", character as u32).expect("a string takes all text");
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use triggers::{BrokerName, TriggerName};

    use super::*;

    fn all() -> Vec<Refused> {
        let broker = || BrokerName::new("shop", "orders");
        vec![
            Refusal::NoSuchBroker(broker()).into(),
            Refusal::TooLarge {
                broker: broker(),
                got: 9,
                limit: 8,
            }
            .into(),
            Refusal::BatchTooLarge { got: 9, limit: 8 }.into(),
            Refusal::NoSpace.into(),
            Refusal::Quota {
                broker: broker(),
                trigger: TriggerName::new("shop", "billing"),
            }
            .into(),
            Refusal::Stopped.into(),
            DecodeError::ContentTypeAsAttribute.into(),
            DecodeError::BatchTooMany { limit: 1000 }.into(),
            DecodeError::UnsupportedFormat {
                found: "application/cloudevents+avro".into(),
            }
            .into(),
            Refused::NoSuchPath,
            Refused::Method(Method::GET),
            Refused::Encoding("gzip".into()),
            Refused::TooLarge {
                got: Some(9),
                limit: 8,
            },
            Refused::TooLarge {
                got: None,
                limit: 8,
            },
            Refused::Slow,
            Refused::BrokenBody,
            Refused::Busy,
            Refused::TooManyHeaders { got: 513 },
            Refused::NoHost,
            Refused::TwoHosts,
            Refused::Head(Violation::BareLf),
            Refused::Head(Violation::TwoLengths),
        ]
    }

    #[track_caller]
    fn check(lines: Vec<String>, expect: Expect) {
        expect.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn each_refusal_has_its_status_and_its_words() {
        let all = all();
        let lines = all.iter().map(|refused| {
            let response = refused.response(Version::HTTP_11);
            let header = |name| {
                response
                    .headers()
                    .get(name)
                    .map_or("-", |v: &HeaderValue| v.to_str().unwrap())
            };
            format!(
                "{} retry={} {} | {refused}",
                response.status().as_u16(),
                header(RETRY_AFTER),
                header(CONNECTION),
            )
        });
        check(
            lines.collect(),
            expect![[r#"
                404 retry=- - | there is no broker shop/orders; declare it, or name it `default` and let a trigger use it
                413 retry=- - | event is 9 bytes, broker shop/orders takes at most 8
                413 retry=- - | the batch is 9 bytes as stored, at most 8 can be stored as one
                503 retry=5 - | storage is full of events that are still owed or kept; try again later
                503 retry=5 - | broker shop/orders takes no events while trigger shop/billing is over its share of the storage; try again later
                503 retry=5 - | the broker cannot store events right now
                400 retry=- - | header ce-datacontenttype is not how binary mode gives the type of the data, send it as content-type
                413 retry=- - | batch holds more than 1000 events, send several smaller ones
                415 retry=- - | content type "application/cloudevents+avro" is an event format that this broker does not speak, send application/cloudevents+json, application/cloudevents-batch+json or binary mode
                404 retry=- - | nothing is at this path, events go to /<namespace>/<broker>
                405 retry=- - | GET is not for events, send them by POST
                415 retry=- - | content encoding "gzip" is not supported, send the body as it is
                413 retry=- close | the body is 9 bytes, this broker takes at most 8
                413 retry=- close | the body is too large, this broker takes at most 8
                408 retry=- close | the body comes too slowly
                400 retry=- close | the body ended early, or its chunks are malformed
                503 retry=1 close | too many events are being stored right now
                431 retry=- close | the request has 513 headers, at most 512 are taken
                400 retry=- close | header host is missing
                400 retry=- close | header host is given twice, send it once
                400 retry=- close | a line of the head ends in LF alone, end it in CR LF
                400 retry=- close | both content-length and transfer-encoding are given, send one of them"#]],
        );
    }

    #[test]
    fn a_problem_is_json_whatever_the_sender_wrote() {
        let refused = Refused::Encoding("a\"b\\c\n\u{1}é".to_owned());
        let (status, reason) = refused.status();
        check(
            vec![refused.problem(status, reason)],
            expect![[r#"
            {"type":"https://weft.dev/problems/unsupported","title":"Unsupported Media Type","status":415,"detail":"content encoding \"a\\\"b\\\\c\\n\\u{1}é\" is not supported, send the body as it is"}
        "#]],
        );
        let refused = Refused::Event(DecodeError::ContentTypeAsAttribute);
        let (status, reason) = refused.status();
        check(
            vec![refused.problem(status, reason)],
            expect![[r#"
            {"type":"https://weft.dev/problems/invalid-event","title":"Bad Request","status":400,"detail":"header ce-datacontenttype is not how binary mode gives the type of the data, send it as content-type","attribute":"datacontenttype"}
        "#]],
        );
    }

    #[test]
    fn a_reasons_number_is_its_place() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
        }
    }
}
