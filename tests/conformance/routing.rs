//! Which trigger gets which event.

use crate::case::{Case, How, REKT_CONTROL_PLANE, REKT_FEATURE, REKT_SOURCE_TO_SINK};
use crate::ce::Ce;
use crate::ingress::full;
use crate::stage::Place;
use crate::yaml::{Yaml, one_sink};

const MINE: &str = "filter: {attributes: {type: com.example.FullEvent}}";
const ANOTHER: &str = "filter: {attributes: {type: notmytype}}";
const REPLY: &str = "filter: {attributes: {type: com.example.ReplyEvent}}";

pub(crate) fn cases() -> Vec<Case> {
    let case = |suite, upstream, test, yaml, run| Case {
        area: "Routing",
        suite,
        upstream,
        test,
        how: How::Run { yaml, run },
    };
    let routing = |upstream, test, yaml, run| case(REKT_CONTROL_PLANE, upstream, test, yaml, run);
    vec![
        routing(
            "routing-test-0: One trigger, no filter, gets event",
            "routing::one_without_a_filter",
            |yaml| two(yaml, &[""]),
            |at| routed(at, &[1]),
        ),
        routing(
            "routing-test-1: One trigger, with filter, does not get event",
            "routing::one_that_does_not_match",
            |yaml| two(yaml, &[ANOTHER]),
            |at| routed(at, &[0]),
        ),
        routing(
            "routing-test-2: One trigger, with filter, gets the event",
            "routing::one_that_matches",
            |yaml| two(yaml, &[MINE]),
            |at| routed(at, &[1]),
        ),
        routing(
            "routing-test-3: Two triggers, with filter, both get the event",
            "routing::two_that_match",
            |yaml| two(yaml, &[MINE, MINE]),
            |at| routed(at, &[1, 1]),
        ),
        routing(
            "routing-test-4: Two triggers, with filter, only matching one gets the event",
            "routing::two_of_which_one_matches",
            |yaml| two(yaml, &[ANOTHER, MINE]),
            |at| routed(at, &[0, 1]),
        ),
        routing(
            "routing-test-5: Two triggers, with filter, first one matches incoming event, creates reply, which matches the second one",
            "routing::a_reply_matches_the_second",
            |yaml| two(yaml, &[MINE, REPLY]),
            |at| {
                at.function("t1")
                    .replies(full("1.0").with("type", "com.example.ReplyEvent"));
                routed(at, &[1, 1]);
                assert_eq!(at.function("t2").until_event().data, full("1.0").data);
            },
        ),
        routing(
            "routing-test-6: Two triggers, with no filters, both get the event",
            "routing::two_without_a_filter",
            |yaml| two(yaml, &["", ""]),
            |at| routed(at, &[1, 1]),
        ),
        case(
            REKT_FEATURE,
            "broker With Many Triggers: test default broker with many attribute triggers",
            "routing::many_triggers_by_attributes",
            |yaml| many(yaml, &ATTRIBUTES),
            |at| matrix(at, &ATTRIBUTES, &EVENTS_PLAIN),
        ),
        case(
            REKT_FEATURE,
            "broker With Many Triggers: test default broker with many attribute and extension triggers",
            "routing::many_triggers_by_extensions",
            |yaml| many(yaml, &EXTENSIONS),
            |at| matrix(at, &EXTENSIONS, &EVENTS_EXTENDED),
        ),
        case(
            REKT_FEATURE,
            "Broker event transformation for trigger",
            "routing::a_transformed_event_reaches_the_second_only",
            |yaml| {
                yaml.broker("");
                yaml.trigger("t1", ORIGINAL, "");
                yaml.trigger("t2", TRANSFORMED, "");
            },
            |at| {
                transform(at);
                let came = at.function("t2").until_event();
                assert_eq!(came.data, br#"{"msg":"transformed body"}"#);
                at.settle();
                assert_eq!(at.function("t2").accepted(), ["transformed"]);
            },
        ),
        case(
            REKT_FEATURE,
            "Broker topology of transformation",
            "routing::a_logger_gets_the_original_and_the_transformed",
            // Where Knative puts a channel, a function stands here: Weft has no channels.
            |yaml| {
                yaml.broker("");
                yaml.trigger("t1", ORIGINAL, "");
                yaml.trigger("t2", "filter: {attributes: {type: \"\"}}", "");
                yaml.trigger("t3", TRANSFORMED, "");
            },
            |at| {
                transform(at);
                at.function("t3").until_got(1);
                at.settle();
                assert_eq!(at.function("t1").accepted(), ["original"]);
                assert_eq!(at.function("t2").accepted(), ["original", "transformed"]);
                assert_eq!(at.function("t3").accepted(), ["transformed"]);
            },
        ),
        case(
            REKT_SOURCE_TO_SINK,
            "broker as middleware: deliver an event",
            "routing::a_broker_is_in_the_middle",
            one_sink,
            |at| {
                at.publish(&full("1.0"));
                at.settle();
                assert_eq!(at.function("sink").accepted(), ["full-event"]);
            },
        ),
    ]
}

const ORIGINAL: &str = "filter: {attributes: {type: type1, source: \"http://source1.com\"}}";
const TRANSFORMED: &str = "filter: {attributes: {type: type2, source: \"http://source2.com\"}}";

/// `t1` answers each original with the transformed one; then an original is sent.
fn transform(at: &Place) {
    let reply = Ce::new("transformed", "type2", "http://source2.com")
        .data("application/json", r#"{"msg":"transformed body"}"#);
    at.function("t1").replies(reply);
    at.publish(
        &Ce::new("original", "type1", "http://source1.com")
            .data("application/json", r#"{"msg":"e2e-brokerchannel-body"}"#),
    );
}

/// Triggers `t1`, `t2` with these filters.
fn two(yaml: &mut Yaml, filters: &[&str]) {
    yaml.broker("");
    for (n, filter) in filters.iter().enumerate() {
        yaml.trigger(&format!("t{}", n + 1), filter, "");
    }
}

/// Sends one event; each trigger gets so many, replies included.
fn routed(at: &Place, expected: &[usize]) {
    at.publish(&full("1.0"));
    at.settle();
    for (n, expected) in expected.iter().enumerate() {
        let name = format!("t{}", n + 1);
        assert_eq!(at.function(&name).got().len(), *expected, "{name}");
    }
}

/// Type, source and extensions that a trigger wants; "" is anything, as Knative's any filter.
type Wants = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const S1: &str = "http://source1.com";
const S2: &str = "http://source2.com";

const ATTRIBUTES: [Wants; 4] = [
    ("", "", &[]),
    ("type1", "", &[]),
    ("", S1, &[]),
    ("type1", S1, &[]),
];

const EXTENSIONS: [Wants; 8] = [
    ("", "", &[("extname1", "extval1")]),
    (
        "",
        "",
        &[("extname1", "extval1"), ("extname2", "extvalue2")],
    ),
    ("", "", &[("extname2", "extvalue2")]),
    ("type1", "", &[("extname1", "extval1")]),
    ("", "", &[("extname1", "")]),
    ("", S1, &[("extname1", "extval1")]),
    (
        "",
        S1,
        &[("extname1", "extval1"), ("extname2", "extvalue2")],
    ),
    ("", S2, &[("extname1", "extval1"), ("extname2", "extval1")]),
];

const EVENTS_PLAIN: [Wants; 4] = [
    ("type1", S1, &[]),
    ("type1", S2, &[]),
    ("type2", S1, &[]),
    ("type2", S2, &[]),
];

const EVENTS_EXTENDED: [Wants; 8] = [
    ("type1", S1, &[("extname1", "extval1")]),
    (
        "type1",
        S1,
        &[("extname1", "extval1"), ("extname2", "extvalue2")],
    ),
    ("type1", S1, &[("extname2", "extvalue2")]),
    ("type1", S2, &[("extname1", "extval1")]),
    ("type2", S1, &[("extname1", "nonmatchingextval")]),
    ("type2", S2, &[("nonmatchingextname", "extval1")]),
    (
        "type2",
        S2,
        &[("extname1", "extval1"), ("extname2", "extvalue2")],
    ),
    (
        "type2",
        S2,
        &[("extname1", "extval1"), ("nonmatchingextname", "extvalue2")],
    ),
];

fn many(yaml: &mut Yaml, triggers: &[Wants]) {
    yaml.broker("");
    for (n, (ty, source, extensions)) in triggers.iter().enumerate() {
        let mut attributes = format!("type: \"{ty}\", source: \"{source}\"");
        for (name, value) in *extensions {
            attributes += &format!(", {name}: \"{value}\"");
        }
        yaml.trigger(
            &format!("dumper-{n}"),
            &format!("filter: {{attributes: {{{attributes}}}}}"),
            "",
        );
    }
}

/// Sends all events; each trigger gets those that have what it wants, and no others.
fn matrix(at: &Place, triggers: &[Wants], events: &[Wants]) {
    for (n, (ty, source, extensions)) in events.iter().enumerate() {
        let mut event = Ce::new(&format!("e-{n}"), ty, source);
        for (name, value) in *extensions {
            event = event.with(name, value);
        }
        at.publish(&event);
    }
    at.settle();
    for (n, (ty, source, extensions)) in triggers.iter().enumerate() {
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let matching = events.iter().enumerate().filter(|(_, event)| {
            let has = |(name, value): &(&str, &str)| {
                let found = event.2.iter().find(|(known, _)| known == name);
                found.is_some_and(|(_, found)| is(value, found))
            };
            is(ty, event.0) && is(source, event.1) && extensions.iter().all(has)
        });
        let expected: Vec<String> = matching.map(|(n, _)| format!("e-{n}")).collect();
        assert_eq!(
            at.function(&format!("dumper-{n}")).accepted(),
            expected,
            "dumper-{n}"
        );
    }
}
