//! Large messages, formats, headers and time.

use std::time::Duration;

use tests::http::Answer;

use crate::case::{Case, How, REKT_FEATURE, SPECIFICATION};
use crate::ce::Ce;
use crate::yaml::{Yaml, one_sink};

/// How long Knative's own long message is.
const LONG: usize = 36_864;

pub(crate) fn cases() -> Vec<Case> {
    let case = |suite, upstream, test, yaml, run| Case {
        area: "Others",
        suite,
        upstream,
        test,
        how: How::Run { yaml, run },
    };
    vec![
        case(
            REKT_FEATURE,
            "Broker Subscriber with long data message",
            "others::a_long_message",
            one_sink,
            |at| {
                let body = "X".repeat(LONG);
                at.publish(&event().data("text/plain", body.as_str()));
                at.settle();
                let came = at.function("sink").events();
                assert_eq!(came.len(), 1, "exactly once");
                assert_eq!(came[0].data, body.as_bytes());
            },
        ),
        case(
            REKT_FEATURE,
            "Broker, chain of Triggers, long response message from first subscriber",
            "others::a_long_reply",
            |yaml| {
                yaml.broker("");
                yaml.trigger(
                    "t1",
                    "filter: {attributes: {type: type1, source: source1}}",
                    "",
                );
                yaml.trigger(
                    "t2",
                    "filter: {attributes: {type: type2, source: source2}}",
                    "",
                );
            },
            |at| {
                let body = format!("{{\"msg\":\"{}\"}}", "X".repeat(36_000));
                let reply =
                    Ce::new("2", "type2", "source2").data("application/json", body.as_str());
                at.function("t1").replies(reply);
                at.publish(&event());
                at.settle();
                assert_eq!(at.function("t1").accepted(), ["1"]);
                let came = at.function("t2").events();
                assert_eq!(came.len(), 1, "exactly once");
                assert_eq!(came[0].data, body.as_bytes());
            },
        ),
        case(
            REKT_FEATURE,
            "Broker PreferHeader Check",
            "others::prefer_reply_is_there",
            one_sink,
            |at| {
                at.publish(&event());
                let got = at.function("sink").until_got(1);
                assert_eq!(got[0].header("prefer"), "reply");
            },
        ),
        case(
            SPECIFICATION,
            "`Kn-Namespace` names the Trigger's namespace",
            "others::kn_namespace_is_there",
            one_sink,
            |at| {
                at.publish(&event());
                let got = at.function("sink").until_got(1);
                assert_eq!(got[0].header("kn-namespace"), at.namespace());
            },
        ),
        case(
            SPECIFICATION,
            "`delivery.format: json`",
            "others::format_json",
            |yaml| formatted(yaml, "json"),
            |at| {
                at.publish(&event());
                let got = at.function("sink").until_got(1);
                assert!(Ce::is_structured(&got[0]), "{:?}", got[0].headers);
                assert_eq!(
                    Ce::read(&got[0]).expect("it is an event").data,
                    event().data
                );
            },
        ),
        case(
            SPECIFICATION,
            "`delivery.format: binary`",
            "others::format_binary",
            |yaml| formatted(yaml, "binary"),
            |at| {
                at.publish_as(&event().structured());
                let got = at.function("sink").until_got(1);
                assert_eq!(got[0].header("ce-id"), "1");
                assert_eq!(got[0].body, event().data);
            },
        ),
        case(
            SPECIFICATION,
            "`delivery.timeout`: an attempt that takes longer failed",
            "others::timeout",
            |yaml| {
                yaml.broker("");
                yaml.trigger("sink", "", "timeout: PT2S, retry: 3");
            },
            |at| {
                at.function("sink").answers(|_, before| {
                    if before == 0 {
                        std::thread::sleep(Duration::from_secs(5));
                    }
                    200.into()
                });
                at.publish(&event());
                at.settle();
                let got = at.function("sink").got();
                assert_eq!(got.len(), 2);
                assert!(got[1].at - got[0].at >= Duration::from_secs(2));
            },
        ),
        case(
            SPECIFICATION,
            "`Retry-After` on 429 and 503 is waited for (`delivery.retryAfterMax`)",
            "others::retry_after",
            one_sink,
            |at| {
                at.function("sink").answers(|_, before| match before {
                    0 => Answer {
                        headers: vec![("retry-after".to_owned(), "2".to_owned())],
                        ..503.into()
                    },
                    _ => 200.into(),
                });
                at.publish(&event());
                at.settle();
                let got = at.function("sink").got();
                assert_eq!(got.len(), 2);
                assert!(got[1].at - got[0].at >= Duration::from_secs(2));
            },
        ),
        case(
            SPECIFICATION,
            "Metadata is propagated: `x-request-id`, `knative-*`, and a `traceparent` of the same trace",
            "others::metadata_is_propagated",
            one_sink,
            |at| {
                const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
                let (mut headers, body) = event().binary();
                let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
                let sent = [
                    ("x-request-id", "r-1"),
                    ("knative-custom", "kept"),
                    ("traceparent", traceparent.as_str()),
                    ("authorization", "Bearer secret"),
                    ("x-custom", "not ours to forward"),
                ];
                headers.extend(sent.map(|(name, value)| (name.to_owned(), value.to_owned())));
                at.publish_as(&(headers, body));
                let got = at.function("sink").until_got(1).remove(0);
                assert_eq!(got.header("x-request-id"), "r-1");
                assert_eq!(got.header("knative-custom"), "kept");
                assert!(
                    got.header("traceparent").contains(TRACE),
                    "{:?}",
                    got.headers
                );
                // A sender's credentials are nobody else's.
                assert_eq!(got.header("authorization"), "");
            },
        ),
    ]
}

fn formatted(yaml: &mut Yaml, format: &str) {
    yaml.broker("");
    yaml.trigger("sink", "", &format!("format: {format}"));
}

fn event() -> Ce {
    Ce::new("1", "type1", "source1")
}
