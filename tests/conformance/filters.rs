//! Each dialect, how they combine, and which names there are.

use crate::case::{Case, How, REKT_CONTROL_PLANE, REKT_FILTERS, SPECIFICATION};
use crate::ce::Ce;
use crate::stage::Place;
use crate::yaml::Yaml;

/// Why the cases with CESQL wait.
const CESQL: &str = "CESQL isn't there yet";

/// Names that upstream wants refused, and what it says of each.
const INVALID: [(&str, &str, &str); 10] = [
    (
        "SOURCE",
        "not lower case letters, all",
        "filters::refuses_all_capitals",
    ),
    (
        "Source",
        "not lower case letters, first",
        "filters::refuses_a_capital_first",
    ),
    (
        "souRce",
        "not lower case letters, not first",
        "filters::refuses_a_capital_inside",
    ),
    ("s pace s", "no spaces", "filters::refuses_spaces"),
    ("s_pace_s", "no underscores", "filters::refuses_underscores"),
    ("s-pace-s", "no dashes", "filters::refuses_dashes"),
    ("123", "just numbers", "filters::refuses_just_numbers"),
    ("😊", "unicode not supported", "filters::refuses_unicode"),
    (
        "!@#$%^&*()-_=_`~+\\",
        "other non-(a-z,0-9) type chars, top row",
        "filters::refuses_the_top_row",
    ),
    (
        "{}[];':\"<>,./?",
        "other non-(a-z,0-9) type chars, brackets",
        "filters::refuses_brackets",
    ),
];

/// Names that it wants taken, with a value that an event can have.
const VALID: [(&str, &str); 11] = [
    ("source", "/a/source"),
    ("id", "an id"),
    ("specversion", "1.0"),
    ("type", "the type"),
    ("subject", "a subject"),
    ("time", "2020-03-21T12:34:56.78Z"),
    ("datacontenttype", "application/json"),
    ("dataschema", "http://example.com/schema"),
    ("aaa", "bbb"),
    ("c1d2e3", "123"),
    ("abcdefghijklmnopqrst", "max length"),
];

pub(crate) fn cases() -> Vec<Case> {
    let case = |suite, upstream, test, how| Case {
        area: "Filters",
        suite,
        upstream,
        test,
        how,
    };
    let run = |yaml, run| How::Run { yaml, run };
    let mut cases = vec![
        case(
            REKT_FILTERS,
            "Exact filter",
            "filters::exact",
            run(
                |yaml| {
                    one(
                        yaml,
                        "filters: [{exact: {type: com.example.FullEvent, source: \"http://example.com/source\"}}]",
                    )
                },
                one_of_two,
            ),
        ),
        case(
            REKT_FILTERS,
            "Prefix filter",
            "filters::prefix",
            run(
                |yaml| one(yaml, "filters: [{prefix: {type: com., source: http}}]"),
                one_of_two,
            ),
        ),
        case(
            REKT_FILTERS,
            "Suffix filter",
            "filters::suffix",
            run(
                |yaml| {
                    one(
                        yaml,
                        "filters: [{suffix: {type: xample.FullEvent, source: //example.com/source}}]",
                    )
                },
                one_of_two,
            ),
        ),
        case(
            REKT_FILTERS,
            "CloudEvents SQL filter",
            "filters::cesql",
            How::Later(CESQL),
        ),
        case(
            REKT_FILTERS,
            "Any filter feature",
            "filters::any",
            How::Later(CESQL),
        ),
        case(
            REKT_FILTERS,
            "All filter feature",
            "filters::all",
            How::Later(CESQL),
        ),
        case(
            REKT_FILTERS,
            "Multiple triggers and sinks feature",
            "filters::several_triggers_and_sinks",
            run(
                |yaml| {
                    yaml.broker("");
                    for (name, ty) in [("first", "type1"), ("second", "type2")] {
                        let filter = format!(
                            "filters: [{{any: [{{exact: {{type: {ty}}}}}, {{prefix: {{type: both}}}}]}}]"
                        );
                        yaml.trigger(name, &filter, "");
                    }
                },
                |at| {
                    let types = ["type1", "both.should.match", "type2", "type3"];
                    send(at, &types);
                    assert_eq!(
                        at.function("first").accepted(),
                        ["both.should.match", "type1"]
                    );
                    assert_eq!(
                        at.function("second").accepted(),
                        ["both.should.match", "type2"]
                    );
                },
            ),
        ),
        case(
            SPECIFICATION,
            "A filter on an attribute that an event doesn't have does not match",
            "filters::missing_attributes_do_not_match",
            run(
                |yaml| {
                    yaml.broker("");
                    yaml.trigger("exact", "filters: [{exact: {subject: a}}]", "");
                    yaml.trigger("prefix", "filters: [{prefix: {subject: a}}]", "");
                    yaml.trigger("suffix", "filters: [{suffix: {subject: a}}]", "");
                    yaml.trigger("attributes", "filter: {attributes: {subject: \"\"}}", "");
                    yaml.trigger("not", "filters: [{not: {exact: {subject: a}}}]", "");
                },
                |at| {
                    at.publish(&Ce::new("without", "t", "/s"));
                    at.publish(&Ce::new("with", "t", "/s").with("subject", "a"));
                    at.settle();
                    for name in ["exact", "prefix", "suffix", "attributes"] {
                        assert_eq!(at.function(name).accepted(), ["with"], "{name}");
                    }
                    assert_eq!(at.function("not").accepted(), ["without"]);
                },
            ),
        ),
        case(
            SPECIFICATION,
            "Empty `filters` falls back to `filter`",
            "filters::empty_filters_fall_back",
            run(
                |yaml| {
                    one(
                        yaml,
                        "filters: []\n  filter: {attributes: {type: com.example.FullEvent}}",
                    )
                },
                one_of_two,
            ),
        ),
        case(
            SPECIFICATION,
            "`filters` replaces `filter` when both are given",
            "filters::filters_replace_filter",
            run(
                |yaml| {
                    one(
                        yaml,
                        "filters: [{exact: {type: com.example.FullEvent}}]\n  filter: {attributes: {type: org.wrong.type}}",
                    )
                },
                one_of_two,
            ),
        ),
        case(
            REKT_CONTROL_PLANE,
            "The attributes filter specifying a list of key-value pairs MUST be supported by Trigger.",
            "filters::eleven_valid_names",
            run(
                |yaml| {
                    yaml.broker("");
                    for (name, value) in VALID {
                        yaml.trigger(
                            name,
                            &format!("filter: {{attributes: {{{name}: \"{value}\"}}}}"),
                            "",
                        );
                    }
                    let all: Vec<String> = VALID
                        .iter()
                        .map(|(name, value)| format!("{name}: \"{value}\""))
                        .collect();
                    yaml.trigger(
                        "all",
                        &format!("filter: {{attributes: {{{}}}}}", all.join(", ")),
                        "",
                    );
                },
                |at| {
                    let mut event = Ce::new("an id", "the type", "/a/source");
                    for (name, value) in VALID {
                        event = event.with(name, value);
                    }
                    at.publish(&event);
                    at.settle();
                    for name in VALID.iter().map(|(name, _)| *name).chain(["all"]) {
                        assert_eq!(at.function(name).accepted(), ["an id"], "{name}");
                    }
                },
            ),
        ),
    ];
    cases.extend(INVALID.iter().enumerate().map(|(n, (name, why, test))| {
        let upstream = format!("Reject invalid filter - {name} - {why}");
        case(
            REKT_CONTROL_PLANE,
            upstream.leak(),
            test,
            How::Ours {
                yaml: |_| (),
                run: REFUSED[n],
            },
        )
    }));
    cases
}

/// One for each of [`INVALID`]: a case's function has nothing but its place.
const REFUSED: [fn(&Place); 10] = [
    |at| refused(at, 0),
    |at| refused(at, 1),
    |at| refused(at, 2),
    |at| refused(at, 3),
    |at| refused(at, 4),
    |at| refused(at, 5),
    |at| refused(at, 6),
    |at| refused(at, 7),
    |at| refused(at, 8),
    |at| refused(at, 9),
];

/// A Trigger with this name in its filter is refused, with the name; with a good one it isn't.
fn refused(at: &Place, n: usize) {
    let (bad, why, _) = INVALID[n];
    let check = |name: &str| {
        let mut yaml = Yaml::new(at.namespace(), "http://127.0.0.1:9");
        yaml.broker("");
        yaml.trigger(
            "t",
            &format!("filter: {{attributes: {{{}: \"x\"}}}}", quoted(name)),
            "",
        );
        at.check(yaml.text())
    };
    let (code, said) = check(bad);
    assert_ne!(code, 0, "{why}: {said}");
    assert!(said.contains("spec.filter.attributes"), "{why}: {said}");
    let (code, said) = check("good");
    assert_eq!(code, 0, "{said}");
}

/// As YAML's double-quoted text.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn one(yaml: &mut Yaml, filter: &str) {
    yaml.broker("");
    yaml.trigger("sink", filter, "");
}

/// Knative's two events, of which the filter takes the first.
fn one_of_two(at: &Place) {
    at.publish(&Ce::new(
        "matched",
        "com.example.FullEvent",
        "http://example.com/source",
    ));
    at.publish(&Ce::new("unmatched", "org.wrong.type", "org.wrong.source"));
    at.settle();
    assert_eq!(at.function("sink").accepted(), ["matched"]);
}

/// An event of each type, with the type as its id.
fn send(at: &Place, types: &[&str]) {
    for ty in types {
        at.publish(&Ce::new(ty, ty, "/source"));
    }
    at.settle();
}
