//! What a subscriber gets.

use crate::case::{BROKER_DATA_PLANE, Case, How, REKT_DATA_PLANE};
use crate::ce::Ce;
use crate::ingress::full;
use crate::yaml::Yaml;

/// Everything goes to `logger`, what is from one source to `second`, and another's is answered.
fn resources(yaml: &mut Yaml) {
    yaml.broker("");
    yaml.trigger("logger", "", "");
    yaml.trigger(
        "second",
        "filter: {attributes: {source: filtered-event}}",
        "",
    );
    yaml.trigger(
        "transformer",
        "filter: {attributes: {source: origin-for-reply}}",
        "",
    );
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |suite, upstream, test, run| Case {
        area: "Consumer",
        suite,
        upstream,
        test,
        how: How::Run {
            yaml: resources,
            run,
        },
    };
    vec![
        case(
            BROKER_DATA_PLANE,
            "No upgrade of version",
            "consumer::no_upgrade_of_version",
            |at| {
                at.publish_as(&event("no-upgrade").with("specversion", "0.3").structured());
                assert_eq!(
                    at.function("logger").until_event().get("specversion"),
                    "0.3"
                );
            },
        ),
        case(
            BROKER_DATA_PLANE,
            "Attributes received should be the same as produced (attributes may be added)",
            "consumer::attributes_are_those_produced",
            |at| {
                let sent = event("same").with("subject", "grüße 100% \"ab\"");
                at.publish(&sent);
                let came = at.function("logger").until_event();
                for (name, value) in &sent.attributes {
                    assert_eq!(came.get(name), value, "{name}");
                }
            },
        ),
        case(
            BROKER_DATA_PLANE,
            "Events are filtered",
            "consumer::events_are_filtered",
            |at| {
                at.publish(&event("1"));
                at.publish(&event("2").with("source", "filtered-event"));
                at.settle();
                assert_eq!(at.function("second").accepted(), ["2"]);
                assert_eq!(at.function("logger").accepted(), ["1", "2"]);
            },
        ),
        case(
            BROKER_DATA_PLANE,
            "Events are delivered to multiple subscribers",
            "consumer::events_reach_several_subscribers",
            |at| {
                at.publish(&event("1").with("source", "filtered-event"));
                at.function("logger").until_got(1);
                at.function("second").until_got(1);
            },
        ),
        case(
            BROKER_DATA_PLANE,
            "Deliveries succeed at least once",
            "consumer::deliveries_succeed_at_least_once",
            |at| {
                at.function("logger").fails(1);
                at.publish(&event("1"));
                at.settle();
                assert_eq!(at.function("logger").accepted(), ["1"]);
            },
        ),
        case(
            BROKER_DATA_PLANE,
            "Replies are accepted and delivered",
            "consumer::replies_are_accepted_and_delivered",
            |at| {
                let reply = Ce::new("reply", "reply-check-type", "reply-check-source")
                    .data("application/json", r#"{"msg":"Transformed!"}"#);
                at.function("transformer").replies(reply.clone());
                at.publish(&event("1").with("source", "origin-for-reply"));
                at.function("logger").until_got(2);
                let mut came = at.function("logger").events();
                came.retain(|event| event.get("type") == "reply-check-type");
                assert_eq!(came[0].data, reply.data);
                assert_eq!(came[0].get("source"), "reply-check-source");
            },
        ),
        case(
            REKT_DATA_PLANE,
            "Delivered events MUST conform to the CloudEvents specification.",
            "consumer::what_is_delivered_is_an_event",
            |at| {
                at.publish(&full("1.0"));
                at.publish_as(&full("1.0").with("id", "other").structured());
                at.function("logger").until_got(2);
                assert_eq!(at.function("logger").events().len(), 2);
            },
        ),
        case(
            REKT_DATA_PLANE,
            "All CloudEvent attributes set by the producer, including the data and specversion attributes, SHOULD be received at the subscriber identical to how they were received by the Broker.",
            "consumer::what_is_delivered_is_identical",
            |at| {
                // Big integers, the order of keys, spaces: nothing of the data is touched.
                let data = "{\"b\": 12345678901234567890123, \"a\":1.10 ,\"b\":\"\\u00e9\"}";
                let sent = full("1.0").data("application/json", data);
                at.publish(&sent);
                at.publish_as(&sent.structured());
                at.function("logger").until_got(2);
                for mut came in at.function("logger").events() {
                    came.attributes.remove("knativearrivaltime");
                    assert_eq!(came, sent);
                }
            },
        ),
        case(
            REKT_DATA_PLANE,
            "The Broker SHOULD support delivering events via Binary Content Mode or Structured Content Mode of the HTTP Protocol Binding for CloudEvents.",
            "consumer::events_leave_in_the_mode_they_came_in",
            |at| {
                at.publish(&event("binary"));
                at.publish_as(&event("structured").structured());
                for request in at.function("logger").until_got(2) {
                    let id = Ce::read(&request)
                        .expect("it is an event")
                        .get("id")
                        .to_owned();
                    let structured = if at.is_ours() {
                        id == "structured"
                    } else {
                        Ce::is_structured(&request)
                    };
                    assert_eq!(Ce::is_structured(&request), structured, "{id}");
                }
            },
        ),
        case(
            REKT_DATA_PLANE,
            "Events accepted by the Broker SHOULD be delivered at least once to all subscribers of all Triggers.",
            "consumer::all_subscribers_get_all_that_match",
            |at| {
                let ids: Vec<String> = (10..40).map(|n| format!("e-{n}")).collect();
                for id in &ids {
                    at.publish(&event(id).with("source", "filtered-event"));
                }
                at.settle();
                assert_eq!(at.function("logger").accepted(), ids);
                assert_eq!(at.function("second").accepted(), ids);
            },
        ),
        case(
            REKT_DATA_PLANE,
            "Events contained in delivery responses that are malformed SHOULD be treated as if the event delivery had failed.",
            "consumer::a_malformed_reply_is_a_failed_delivery",
            |at| {
                let good = Ce::new("reply", "reply-type", "reply-source");
                at.function("transformer").answers(move |_, before| {
                    let reply = match before {
                        0 => good.clone().without("type"),
                        1 => good.clone().with("specversion", "7"),
                        _ => good.clone(),
                    };
                    let (mut headers, body) = reply.binary();
                    // It claims to be an event all the same.
                    if before == 0 {
                        headers.push(("ce-type".to_owned(), String::new()));
                    }
                    tests::http::Answer {
                        status: 200,
                        headers,
                        body,
                    }
                });
                at.publish(&event("1").with("source", "origin-for-reply"));
                at.settle();
                assert_eq!(at.function("transformer").got().len(), 3);
                assert_eq!(at.function("logger").accepted(), ["1", "reply"]);
            },
        ),
    ]
}

fn event(id: &str) -> Ce {
    Ce::new(id, "dev.knative.test.event", "consumer-test-sender")
}
