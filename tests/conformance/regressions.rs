//! What some broker got wrong, and no suite asks.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tests::http::Answer;

use crate::case::{Case, How, REGRESSION};
use crate::ce::Ce;
use crate::stage::Place;
use crate::yaml::{Yaml, one_sink};

pub(crate) fn cases() -> Vec<Case> {
    let case = |upstream, test, how| Case {
        area: "Regressions",
        suite: REGRESSION,
        upstream,
        test,
        how,
    };
    let run = |yaml, run| How::Run { yaml, run };
    let ours = |yaml, run| How::Ours { yaml, run };
    vec![
        case(
            "An error body of 769 bytes is dead-lettered",
            "regressions::an_error_body_of_769_bytes",
            run(refusing, |at| error_body(at, 769)),
        ),
        case(
            "An error body of 10 MB is dead-lettered",
            "regressions::an_error_body_of_10_mb",
            run(refusing, |at| error_body(at, 10_000_000)),
        ),
        case(
            "A dead letter sink that was down gets its letters (for an hour: `dead_letters::a_dead_letter_sink_that_was_down_for_an_hour_gets_its_letters`)",
            "regressions::a_dead_letter_sink_that_was_down",
            ours(refusing, |at| {
                at.function("sink").answers(|_, _| 422.into());
                // Far more often than the retries of the delivery that died.
                at.function("dls")
                    .answers(|_, before| if before < 6 { 503.into() } else { 200.into() });
                at.publish(&event());
                at.settle();
                assert_eq!(at.function("dls").accepted(), ["1"]);
                assert_eq!(at.causes_of_death(), ["refused"], "and the letter is kept");
            }),
        ),
        case(
            "A reply that ingress refuses for good is dead-lettered, and the function isn't called again",
            "regressions::a_reply_that_can_not_be_stored",
            ours(one_sink, |at| {
                let large = Ce::new("reply", "t", "/s").data("text/plain", "x".repeat(1_100_000));
                at.function("sink").replies(large);
                at.publish(&event());
                at.settle();
                assert_eq!(at.function("sink").got().len(), 1);
                assert_eq!(at.causes_of_death(), ["reply"]);
            }),
        ),
        case(
            "The same id from two sources is two events",
            "regressions::the_same_id_from_two_sources",
            run(one_sink, |at| {
                at.publish(&event());
                at.publish(&event().with("source", "/another"));
                at.settle();
                assert_eq!(at.function("sink").accepted(), ["1", "1"]);
            }),
        ),
        case(
            "Several EventPolicies are OR-ed",
            "regressions::policies_are_or_ed",
            How::Later("EventPolicy isn't acted on yet"),
        ),
        case(
            "A query string and a trailing slash in the path are fine",
            "regressions::a_query_string_in_the_path",
            run(one_sink, |at| {
                for (n, end) in ["?a=b", "/", "/?a=b&c=%20"].iter().enumerate() {
                    let event = event().with("id", &n.to_string());
                    assert_eq!(at.call("POST", end, &event.binary()).status(), 202, "{end}");
                }
                at.settle();
                assert_eq!(at.function("sink").accepted(), ["0", "1", "2"]);
            }),
        ),
        case(
            "An integer extension matches a filter's string",
            "regressions::an_integer_extension_matches_a_string",
            run(
                |yaml| {
                    yaml.broker("");
                    yaml.trigger("attributes", "filter: {attributes: {exint: \"42\"}}", "");
                    yaml.trigger("exact", "filters: [{exact: {exint: \"42\"}}]", "");
                    yaml.trigger("bool", "filters: [{exact: {exbool: \"true\"}}]", "");
                    yaml.trigger("other", "filters: [{exact: {exint: \"43\"}}]", "");
                },
                |at| {
                    let body = br#"{"specversion":"1.0","id":"1","type":"t","source":"/s","exint":42,"exbool":true}"#;
                    let headers = event().structured().0;
                    at.publish_as(&(headers, body.to_vec()));
                    at.settle();
                    for (name, count) in
                        [("attributes", 1), ("exact", 1), ("bool", 1), ("other", 0)]
                    {
                        assert_eq!(at.function(name).got().len(), count, "{name}");
                    }
                },
            ),
        ),
        case(
            "A 4xx is dead-lettered at once, without a retry",
            "regressions::a_4xx_is_dead_lettered",
            run(
                |yaml| {
                    yaml.broker(&format!("retry: 5, {}", yaml.dead_letters_to("dls")));
                    for status in FINAL {
                        yaml.trigger(&format!("s{status}"), "", "");
                    }
                },
                |at| {
                    for status in FINAL {
                        at.function(&format!("s{status}"))
                            .answers(move |_, _| status.into());
                    }
                    at.publish(&event());
                    at.settle();
                    for status in FINAL {
                        assert_eq!(
                            at.function(&format!("s{status}")).got().len(),
                            1,
                            "{status}"
                        );
                    }
                    let mut codes: Vec<String> = at
                        .function("dls")
                        .events()
                        .iter()
                        .map(|letter| letter.get("knativeerrorcode").to_owned())
                        .collect();
                    codes.sort();
                    assert_eq!(codes, FINAL.map(|status| status.to_string()));
                },
            ),
        ),
        case(
            "`retry` without `backoffPolicy` waits between attempts",
            "regressions::retry_without_a_backoff_policy",
            run(
                |yaml| {
                    yaml.broker("");
                    yaml.trigger("sink", "", "retry: 2");
                },
                |at| {
                    at.function("sink").fails(2);
                    at.publish(&event());
                    at.settle();
                    let got = at.function("sink").got();
                    assert_eq!(got.len(), 3);
                    for pair in got.windows(2) {
                        let waited = pair[1].at - pair[0].at;
                        assert!(waited >= Duration::from_millis(100), "{waited:?}");
                    }
                },
            ),
        ),
        case(
            "A function that answers each event with itself is stopped",
            "regressions::a_self_reply_loop_is_stopped",
            ours(one_sink, |at| {
                at.function("sink").replies(event());
                at.publish(&event());
                // Each reply is owed before its cause is settled, so this waits for the whole chain.
                at.settle();
                assert_eq!(
                    at.function("sink").got().len(),
                    33,
                    "the first, and 32 hops"
                );
                assert_eq!(at.causes_of_death(), ["loop"]);
            }),
        ),
    ]
}

/// Statuses that no retry mends, in order.
const FINAL: [u16; 7] = [400, 401, 403, 405, 413, 415, 422];

fn event() -> Ce {
    Ce::new("1", "type1", "source1")
}

fn refusing(yaml: &mut Yaml) {
    yaml.broker("");
    let delivery = format!(
        "retry: 1, backoffDelay: PT0.1S, {}",
        yaml.dead_letters_to("dls")
    );
    yaml.trigger("sink", "", &delivery);
}

/// The function fails with a body of this length; what the letter has of it is its start.
fn error_body(at: &Place, length: usize) {
    let body = "e".repeat(length);
    at.function("sink")
        .answers(move |_, _| Answer::from((422, body.clone())));
    at.publish(&event());
    let letter = at.function("dls").until_event();
    let data = letter.get("knativeerrordata");
    assert!(
        !data.is_empty() && data.len() <= 1024,
        "{} characters",
        data.len()
    );
    let start = STANDARD.decode(data).expect("it is base64 as a whole");
    assert!(start.iter().all(|byte| *byte == b'e'));
    at.settle();
    assert_eq!(at.function("dls").got().len(), 1);
}
