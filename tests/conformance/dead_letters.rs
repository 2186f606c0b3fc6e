//! What a dead letter says of the failure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tests::http::Answer;

use crate::case::{Case, How, REKT_FEATURE};
use crate::ce::Ce;
use crate::yaml::Yaml;

pub(crate) fn cases() -> Vec<Case> {
    let case = |upstream, test, yaml, run| Case {
        area: "Dead letter sink extensions",
        suite: REKT_FEATURE,
        upstream,
        test,
        how: How::Run { yaml, run },
    };
    vec![
        case(
            "Broker Subscriber Unreachable",
            "dead_letters::of_an_unreachable_subscriber",
            |yaml| {
                yaml.broker("");
                let delivery = format!(
                    "retry: 1, backoffDelay: PT0.1S, {}",
                    yaml.dead_letters_to("dls")
                );
                yaml.trigger_to("failer", Yaml::nobody(), "", &delivery);
            },
            |at| {
                at.publish(&event());
                let letter = at.function("dls").until_event();
                assert_eq!(letter.get("knativeerrordest"), Yaml::nobody());
                assert_eq!(letter.get("knativeerrorcode"), "500");
            },
        ),
        case(
            "Broker Subscriber Error Nodata",
            "dead_letters::of_an_error_without_a_body",
            failing,
            |at| {
                at.function("failer").answers(|_, _| 422.into());
                at.publish(&event());
                at.settle();
                let letters = at.function("dls").events();
                assert_eq!(letters.len(), 1);
                assert_eq!(letters[0].get("knativeerrorcode"), "422");
                assert_eq!(
                    letters[0].get("knativeerrordest"),
                    at.function("failer").uri()
                );
                assert!(!letters[0].attributes.contains_key("knativeerrordata"));
            },
        ),
        case(
            "Broker Subscriber Error With data encoded",
            "dead_letters::of_an_error_with_a_body",
            failing,
            |at| {
                const BODY: &str = r#"{ "message": "catastrophic failure" }"#;
                at.function("failer")
                    .answers(|_, _| Answer::from((422, BODY.to_owned())));
                at.publish(&event());
                at.settle();
                let mut letters = at.function("dls").events();
                assert_eq!(letters.len(), 1);
                let mut letter = letters.remove(0);
                assert_eq!(letter.get("knativeerrorcode"), "422");
                assert_eq!(letter.get("knativeerrordata"), STANDARD.encode(BODY));
                // And apart from that it is the event.
                letter
                    .attributes
                    .retain(|name, _| !name.starts_with("knative"));
                assert_eq!(letter, event());
            },
        ),
    ]
}

fn failing(yaml: &mut Yaml) {
    yaml.broker("");
    yaml.trigger("failer", "", &yaml.dead_letters_to("dls"));
}

fn event() -> Ce {
    Ce::new("1", "type1", "source1").data("application/json", r#"{"msg":"test msg"}"#)
}
