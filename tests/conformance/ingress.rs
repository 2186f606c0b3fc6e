//! What the door takes and refuses.

use crate::case::{BROKER_DATA_PLANE, Case, How, REKT_DATA_PLANE, REKT_INGRESS, SPECIFICATION};
use crate::ce::{Ce, Request};
use crate::stage::Place;
use crate::yaml::one_sink;

/// Knative's own body of an event that is none.
const NONSENSE: &[u8] = b";la}{kjsdf;oai2095{}{}8234092349807asdfashdf";

pub(crate) fn cases() -> Vec<Case> {
    let case = |suite, upstream, test, run| Case {
        area: "Ingress",
        suite,
        upstream,
        test,
        how: How::Run {
            yaml: one_sink,
            run,
        },
    };
    vec![
        case(
            BROKER_DATA_PLANE,
            "Ingress Supports CE0.3",
            "ingress::supports_ce_0_3",
            |at| delivered(at, &event().with("specversion", "0.3"), false),
        ),
        case(
            BROKER_DATA_PLANE,
            "Ingress Supports CE1.0",
            "ingress::supports_ce_1_0",
            |at| delivered(at, &event(), false),
        ),
        case(
            BROKER_DATA_PLANE,
            "Ingress Supports Structured Mode",
            "ingress::supports_structured_mode",
            |at| delivered(at, &event(), true),
        ),
        case(
            BROKER_DATA_PLANE,
            "Ingress Supports Binary Mode",
            "ingress::supports_binary_mode",
            |at| delivered(at, &event(), false),
        ),
        case(
            BROKER_DATA_PLANE,
            "Respond with 2XX on good CE",
            "ingress::responds_202_on_a_good_event",
            |at| assert_eq!(at.post(&event()), 202),
        ),
        case(
            BROKER_DATA_PLANE,
            "Respond with 400 on bad CE",
            "ingress::responds_400_on_a_bad_event",
            |at| assert_eq!(at.call("POST", "", &bad()).status(), 400),
        ),
        case(
            REKT_INGRESS,
            "BrokerIngress0.3binary",
            "ingress::takes_0_3_in_binary_mode",
            |at| delivered(at, &full("0.3"), false),
        ),
        case(
            REKT_INGRESS,
            "BrokerIngress0.3structured",
            "ingress::takes_0_3_in_structured_mode",
            |at| delivered(at, &full("0.3"), true),
        ),
        case(
            REKT_INGRESS,
            "BrokerIngress1.0binary",
            "ingress::takes_1_0_in_binary_mode",
            |at| delivered(at, &full("1.0"), false),
        ),
        case(
            REKT_INGRESS,
            "BrokerIngress1.0structured",
            "ingress::takes_1_0_in_structured_mode",
            |at| delivered(at, &full("1.0"), true),
        ),
        case(
            REKT_INGRESS,
            "BrokerIngressConformanceBadEvent",
            "ingress::does_not_propagate_a_bad_event",
            |at| {
                assert_eq!(at.call("POST", "", &bad()).status(), 400);
                at.publish(&event());
                at.settle();
                assert_eq!(at.function("sink").accepted(), ["1"]);
            },
        ),
        case(
            REKT_DATA_PLANE,
            "The ingress endpoint(s) MUST conform to at least one of the following versions of the specification: 0.3, 1.0",
            "ingress::accepts_both_versions",
            |at| {
                for version in ["0.3", "1.0"] {
                    assert_eq!(
                        at.post(&event().with("specversion", version)),
                        202,
                        "{version}"
                    );
                }
            },
        ),
        case(
            REKT_DATA_PLANE,
            "Other versions MAY be rejected.",
            "ingress::rejects_unknown_versions",
            |at| {
                for version in ["19.0", "9000.1", "0.2", "1", ""] {
                    assert_eq!(
                        at.post(&event().with("specversion", version)),
                        400,
                        "{version}"
                    );
                }
            },
        ),
        case(
            REKT_DATA_PLANE,
            "The Broker SHOULD NOT perform an upgrade of the produced event's CloudEvents version.",
            "ingress::does_not_upgrade",
            |at| {
                at.publish(&event().with("specversion", "0.3"));
                assert_eq!(at.function("sink").until_event().get("specversion"), "0.3");
            },
        ),
        case(
            REKT_DATA_PLANE,
            "It SHOULD support Binary Content Mode of the HTTP Protocol Binding for CloudEvents.",
            "ingress::takes_any_content_type_in_binary_mode",
            |at| {
                let types = [
                    "application/vnd.apache.thrift.binary",
                    "application/xml",
                    "application/json",
                    "image/x-of-somebody; level=3",
                ];
                for ty in types {
                    at.publish(&event().with("id", ty).data(ty, "{}"));
                }
                at.function("sink").until_got(types.len());
                let mut came: Vec<String> = at
                    .function("sink")
                    .events()
                    .iter()
                    .map(|event| event.get("datacontenttype").to_owned())
                    .collect();
                came.sort();
                assert_eq!(came, ["application/json", types[0], types[1], types[3]]);
            },
        ),
        case(
            REKT_DATA_PLANE,
            "It SHOULD support Structured Content Mode of the HTTP Protocol Binding for CloudEvents.",
            "ingress::takes_structured_mode",
            |at| at.publish_as(&event().with("time", "2020-07-06T09:23:12Z").structured()),
        ),
        case(
            REKT_DATA_PLANE,
            "Brokers MUST reject all HTTP produce requests with a method other than POST responding with HTTP status code `405 Method Not Supported`.",
            "ingress::rejects_other_methods",
            |at| {
                for method in ["GET", "PUT", "DELETE", "PATCH"] {
                    let answer = at.call(method, "", &event().binary());
                    assert_eq!(answer.status(), 405, "{method}");
                    assert!(answer.header("allow").contains("POST"), "{method}");
                }
            },
        ),
        case(
            REKT_DATA_PLANE,
            "The Broker MUST respond with a 200-level HTTP status code if a produce request is accepted.",
            "ingress::accepts_with_202",
            |at| assert_eq!(at.post(&event()), 202),
        ),
        case(
            REKT_DATA_PLANE,
            "If a Broker receives a produce request and is unable to parse a valid CloudEvent, then it MUST reject the request with HTTP status code `400 Bad Request`.",
            "ingress::rejects_what_misses_a_required_attribute",
            |at| {
                for name in ["specversion", "id", "type", "source"] {
                    let incomplete = event().without(name);
                    for request in [incomplete.binary(), incomplete.structured()] {
                        let answer = at.call("POST", "", &request);
                        assert_eq!(answer.status(), 400, "without {name}: {}", answer.text());
                    }
                }
            },
        ),
        case(
            SPECIFICATION,
            "OPTIONS answers 200 or 405",
            "ingress::answers_options",
            |at| {
                let answer = at.call("OPTIONS", "", &(Vec::new(), Vec::new()));
                assert!(
                    [200, 204, 405].contains(&answer.status()),
                    "{}",
                    answer.start
                );
            },
        ),
    ]
}

fn event() -> Ce {
    Ce::new("1", "sometype", "200.request.sender.test.knative.dev")
}

/// As Knative's `FullEvent`, with all optional attributes and an extension of each kind.
pub(crate) fn full(version: &str) -> Ce {
    let event = Ce::new(
        "full-event",
        "com.example.FullEvent",
        "http://example.com/source",
    )
    .with("specversion", version)
    .with("subject", "topic")
    .with("time", "2020-03-21T12:34:56.78Z")
    .with("exbool", "true")
    .with("exint", "42")
    .with("exstring", "exstring")
    .with("exbinary", "AAECAw==")
    .with("exurl", "http://example.com/source")
    .with("extime", "2020-03-21T12:34:56.78Z")
    .data("text/json", r#""hello""#);
    // Version 0.3 calls it `schemaurl`.
    let schema = if version == "0.3" {
        "schemaurl"
    } else {
        "dataschema"
    };
    event.with(schema, "http://example.com/schema")
}

fn bad() -> Request {
    let nine_thousand = event()
        .with("specversion", "9000.1")
        .with("id", "four-hundred");
    (nine_thousand.binary().0, NONSENSE.to_vec())
}

/// Is taken with 202 and reaches the function as it was: same attributes, same data.
fn delivered(at: &Place, event: &Ce, structured: bool) {
    let request = if structured {
        event.structured()
    } else {
        event.binary()
    };
    at.publish_as(&request);
    let mut came = at.function("sink").until_event();
    let arrived = came.attributes.remove("knativearrivaltime");
    assert!(
        arrived.is_some() || !at.is_ours(),
        "it was stored at some time"
    );
    assert_eq!(&came, event);
}
