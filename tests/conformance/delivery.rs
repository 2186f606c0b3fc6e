//! Retries, and whose dead letters go where.

use crate::case::{Case, How, REKT_CONTROL_PLANE, REKT_FEATURE, REKT_SOURCE_TO_SINK, REKT_TRIGGER};
use crate::ce::Ce;
use crate::stage::Place;
use crate::yaml::Yaml;

pub(crate) fn cases() -> Vec<Case> {
    let case = |suite, upstream, test, yaml, run| Case {
        area: "Delivery",
        suite,
        upstream,
        test,
        how: How::Run { yaml, run },
    };
    vec![
        case(
            REKT_CONTROL_PLANE,
            "dlq-test-0: When `BrokerSpec.Delivery` and `TriggerSpec.Delivery` are both not configured, no delivery spec SHOULD be used.",
            "delivery::dlq_test_0",
            |yaml| {
                yaml.broker("");
                yaml.trigger("t1", "", "");
                yaml.trigger("t2", "", "");
            },
            |at| failing(at, [0, 0], [&["t1"], &["t2"]]),
        ),
        case(
            REKT_CONTROL_PLANE,
            "dlq-test-1: When `BrokerSpec.Delivery` is configured, but not the specific `TriggerSpec.Delivery`, then the `BrokerSpec.Delivery` SHOULD be used. (Retry)",
            "delivery::dlq_test_1",
            |yaml| {
                yaml.broker(&format!("retry: 3, {}", yaml.dead_letters_to("broker-dls")));
                yaml.trigger("t1", "", "");
                yaml.trigger("t2", "", "");
            },
            |at| failing(at, [3, 4], [&["t1"], &["broker-dls"]]),
        ),
        case(
            REKT_CONTROL_PLANE,
            "dlq-test-2: When `TriggerSpec.Delivery` is configured, then `TriggerSpec.Delivery` SHOULD be used. (Retry)",
            "delivery::dlq_test_2",
            |yaml| {
                yaml.broker("retry: 0");
                yaml.trigger(
                    "t1",
                    "",
                    &format!("retry: 3, {}", yaml.dead_letters_to("t1-dls")),
                );
                yaml.trigger("t2", "", "retry: 1");
            },
            |at| failing(at, [3, 2], [&["t1"], &[]]),
        ),
        case(
            REKT_CONTROL_PLANE,
            "dlq-test-3: When both `BrokerSpec.Delivery` and `TriggerSpec.Delivery` is configured, then `TriggerSpec.Delivery` SHOULD be used. (Retry)",
            "delivery::dlq_test_3",
            |yaml| {
                yaml.broker(&format!("retry: 1, {}", yaml.dead_letters_to("broker-dls")));
                yaml.trigger(
                    "t1",
                    "",
                    &format!("retry: 3, {}", yaml.dead_letters_to("t1-dls")),
                );
                yaml.trigger("t2", "", "");
            },
            |at| failing(at, [3, 2], [&["t1"], &["broker-dls"]]),
        ),
        case(
            REKT_CONTROL_PLANE,
            "dlq-test-4: When both `BrokerSpec.Delivery` and `TriggerSpec.Delivery` is configured, then `TriggerSpec.Delivery` SHOULD be used. (Retry+DLQ)",
            "delivery::dlq_test_4",
            |yaml| {
                yaml.broker(&format!("retry: 1, {}", yaml.dead_letters_to("broker-dls")));
                yaml.trigger(
                    "t1",
                    "",
                    &format!("retry: 3, {}", yaml.dead_letters_to("t1-dls")),
                );
                yaml.trigger("t2", "", "");
            },
            |at| failing(at, [4, 2], [&["t1-dls"], &["broker-dls"]]),
        ),
        case(
            REKT_SOURCE_TO_SINK,
            "broker with DLS: deliver event to DLQ",
            "delivery::a_bad_address_goes_to_the_brokers_sink",
            |yaml| {
                yaml.broker(&format!("{QUICKLY}, {}", yaml.dead_letters_to("dls")));
                yaml.trigger_to("t1", Yaml::nobody(), "", "");
            },
            |at| {
                at.publish(&event("1"));
                at.settle();
                assert_eq!(at.function("dls").accepted(), ["1"]);
            },
        ),
        case(
            REKT_SOURCE_TO_SINK,
            "broker with DQL: deliver event flaky sent to DLQ",
            "delivery::a_flaky_subscriber_sends_some_to_the_sink",
            |yaml| {
                yaml.broker(&format!("retry: 0, {}", yaml.dead_letters_to("dlq")));
                yaml.trigger("flake", "", "");
            },
            |at| {
                at.function("flake").fails(2);
                for id in ["1", "2", "3"] {
                    at.publish(&event(id));
                    at.settle();
                }
                assert_eq!(at.function("dlq").accepted(), ["1", "2"]);
                assert_eq!(at.function("flake").accepted(), ["3"]);
            },
        ),
        case(
            REKT_TRIGGER,
            "Trigger with DLS: deliver event to DLS",
            "delivery::a_bad_address_goes_to_the_triggers_sink",
            |yaml| {
                yaml.broker("");
                yaml.trigger_to(
                    "t1",
                    Yaml::nobody(),
                    "",
                    &format!("{QUICKLY}, {}", yaml.dead_letters_to("dls")),
                );
            },
            |at| three(at, &["dls"], &[]),
        ),
        case(
            REKT_TRIGGER,
            "When Trigger DLS is defined, Broker DLS is ignored",
            "delivery::the_triggers_sink_hides_the_brokers",
            |yaml| {
                yaml.broker(&yaml.dead_letters_to("broker-dls"));
                yaml.trigger_to(
                    "t1",
                    Yaml::nobody(),
                    "",
                    &format!("{QUICKLY}, {}", yaml.dead_letters_to("dls")),
                );
            },
            |at| three(at, &["dls"], &["broker-dls"]),
        ),
        case(
            REKT_TRIGGER,
            "Bad Trigger does not affect good Trigger",
            "delivery::a_bad_trigger_does_not_affect_a_good_one",
            |yaml| {
                yaml.broker(&format!("{QUICKLY}, {}", yaml.dead_letters_to("dlq")));
                yaml.trigger_to("bad", Yaml::nobody(), "", "");
                yaml.trigger("good", "", "");
            },
            |at| three(at, &["dlq", "good"], &[]),
        ),
        case(
            REKT_FEATURE,
            "Broker reply with a bad status code following the fibonacci sequence",
            "delivery::redelivers_after_a_fibonacci_pattern",
            redelivering,
            |at| {
                // The 1st, 2nd, 3rd, 5th, 8th and so on are dropped.
                at.function("sink").answers(|_, before| {
                    let (mut a, mut b) = (1, 2);
                    while a < before + 1 {
                        (a, b) = (b, a + b);
                    }
                    (if a == before + 1 { 409 } else { 200 }).into()
                });
                redelivered(at, 4);
            },
        ),
        case(
            REKT_FEATURE,
            "Broker reply with a bad status code to the first n events",
            "delivery::redelivers_after_the_first_n",
            redelivering,
            |at| {
                at.function("sink").fails(5);
                redelivered(at, 6);
            },
        ),
    ]
}

/// Gives up soon.
const QUICKLY: &str = "retry: 1, backoffDelay: PT0.1S";

fn event(id: &str) -> Ce {
    Ce::new(id, "com.example.FullEvent", "http://example.com/source")
}

/// The triggers' functions fail so often; these functions then accepted the event, and no others did.
fn failing(at: &Place, failures: [usize; 2], accepted: [&[&str]; 2]) {
    at.function("t1").fails(failures[0]);
    at.function("t2").fails(failures[1]);
    at.publish(&event("1"));
    at.settle();
    let expected = accepted.concat();
    for name in ["t1", "t2", "t1-dls", "broker-dls"] {
        let count = usize::from(expected.contains(&name));
        assert_eq!(at.function(name).accepted().len(), count, "{name}");
    }
}

/// Three events, of which these functions get all and those none.
fn three(at: &Place, all: &[&str], none: &[&str]) {
    for id in ["1", "2", "3"] {
        at.publish(&event(id));
    }
    at.settle();
    for name in all {
        assert_eq!(at.function(name).accepted(), ["1", "2", "3"], "{name}");
    }
    for name in none {
        assert!(at.function(name).got().is_empty(), "{name}");
    }
}

fn redelivering(yaml: &mut Yaml) {
    yaml.broker("retry: 5, backoffPolicy: linear, backoffDelay: PT0.5S");
    yaml.trigger("sink", "", "");
}

fn redelivered(at: &Place, attempts: usize) {
    at.publish(&event("1"));
    at.settle();
    assert_eq!(at.function("sink").accepted(), ["1"]);
    assert_eq!(at.function("sink").got().len(), attempts);
}
