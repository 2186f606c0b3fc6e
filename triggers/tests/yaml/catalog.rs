//! What stays in force while files change, break, move and vanish.

use super::*;

fn told(change: &Change) -> String {
    let mut lines = Vec::new();
    lines.extend(change.put.iter().map(|r| format!("put {}", r.key())));
    lines.extend(change.gone.iter().map(|key| format!("gone {key}")));
    lines.extend(change.problems.iter().map(ToString::to_string));
    lines.push(change.counts.to_string());
    lines.join("\n")
}

/// Reloads with the files of each step and tells what changed.
#[track_caller]
fn check(steps: &[&[(&str, &str)]], expect: Expect) {
    let mut catalog = Catalog::default();
    let told: Vec<String> = steps
        .iter()
        .map(|files| {
            let files = files
                .iter()
                .map(|(path, text)| match *text {
                    UNREADABLE => File {
                        path: Arc::from(*path),
                        text: Err(ReadError::NotUtf8 { at: 7 }),
                    },
                    text => file(path, text),
                })
                .collect();
            told(&catalog.reload(files))
        })
        .collect();
    expect.assert_eq(&told.join("\n--\n"));
}

const UNREADABLE: &str = "unreadable";

#[test]
fn only_what_says_something_else_is_put_again() {
    let (a, b) = (trigger("a", ""), trigger("b", ""));
    let both = format!("{a}---\n{b}");
    let moved_down = format!("# later\n{b}---\n{a}");
    let changed = format!(
        "{}---\n{b}",
        trigger("a", "filter: {attributes: {type: x}}")
    );
    check(
        &[
            &[("a", &both)],
            &[("a", &moved_down)],
            &[("a", &changed)],
            &[("a", &a)],
        ],
        expect![[r#"
                put Trigger default/a
                put Trigger default/b
                0 brokers, 2 triggers, 0 nodes from 1 file
                --
                0 brokers, 2 triggers, 0 nodes from 1 file
                --
                put Trigger default/a
                0 brokers, 2 triggers, 0 nodes from 1 file
                --
                put Trigger default/a
                gone Trigger default/b
                0 brokers, 1 trigger, 0 nodes from 1 file"#]],
    );
}

#[test]
fn a_bad_resource_keeps_its_last_good_version_and_harms_no_other() {
    let (a, b) = (trigger("a", ""), trigger("b", ""));
    let both = format!("{a}---\n{b}");
    let bad_value = format!(
        "{}---\n{}",
        trigger("a", "delivery: {retry: x}"),
        trigger("b", "filter: {}")
    );
    let no_yaml = format!("{{{a}---\n{b}");
    check(
        &[
            &[("a", &both)],
            &[("a", &bad_value)],
            &[("a", &no_yaml)],
            &[("a", UNREADABLE)],
            &[("a", &both)],
        ],
        expect![[r#"
                put Trigger default/a
                put Trigger default/b
                0 brokers, 2 triggers, 0 nodes from 1 file
                --
                put Trigger default/b
                a:8:21  spec.delivery.retry is "x", it must be a whole number
                0 brokers, 2 triggers, 0 nodes from 1 file
                --
                put Trigger default/b
                a:1:1  not valid YAML: unclosed bracket '{', close each bracket and brace once, and quote a text that has them
                0 brokers, 2 triggers, 0 nodes from 1 file
                --
                a  is not UTF-8 at byte 7, what was known from it stays in force
                0 brokers, 2 triggers, 0 nodes from 1 file
                --
                0 brokers, 2 triggers, 0 nodes from 1 file"#]],
    );
}

/// What `weft check` prints.
#[test]
fn a_report_has_a_headline_and_the_problems_in_order() {
    let mut catalog = Catalog::default();
    let good = file("b.yaml", &trigger("b", ""));
    let change = catalog.reload(vec![good]);
    let clean = change.report([]);
    assert!(clean.is_clean());
    let lost = trigger("c", "").replace("broker: default", "broker: lost");
    let bad = trigger("a", "delivery: {retry: x, timeout: y}");
    let change = catalog.reload(vec![file("c.yaml", &lost), file("a.yaml", &bad)]);
    let (_, further) = lower(&catalog.in_force().collect::<Vec<_>>());
    let report = change.report(further);
    assert!(!report.is_clean());
    expect![[r#"
            no problems: 0 brokers, 1 trigger, 0 nodes from 1 file
            3 problems in 2 files; in order: 0 brokers, 1 trigger, 0 nodes from 2 files
              a.yaml:8:21  spec.delivery.retry is "x", it must be a whole number
              a.yaml:8:33  spec.delivery.timeout is "y", write an ISO 8601 duration such as PT30S, PT5M or P7D
              c.yaml:1:1  Trigger default/c names the broker default/lost, which does not exist (BrokerDoesNotExist), declare a Broker lost, or write broker: default"#]].assert_eq(&format!("{clean}\n{report}"));
}

#[test]
fn a_name_being_mistyped_is_not_a_deletion() {
    check(
        &[
            &[("a", &trigger("a", ""))],
            &[("a", &trigger("A!", ""))],
            &[("a", &trigger("b", ""))],
        ],
        expect![[r#"
                put Trigger default/a
                0 brokers, 1 trigger, 0 nodes from 1 file
                --
                a:4:9  metadata.name is "A!", use lower-case letters, digits and dashes, beginning and ending with a letter or digit
                0 brokers, 1 trigger, 0 nodes from 1 file
                --
                put Trigger default/b
                gone Trigger default/a
                0 brokers, 1 trigger, 0 nodes from 1 file"#]],
    );
}

#[test]
fn a_resource_that_moves_is_not_gone() {
    let (a, b) = (trigger("a", ""), trigger("b", ""));
    let bad = trigger("a", "delivery: {retry: x}");
    check(
        &[
            &[("1", &a), ("2", &b)],
            &[("2", &format!("{b}---\n{a}"))],
            // Bad where it is now: to be looked for in 3 from here on.
            &[("2", &b), ("3", &bad)],
            &[("2", UNREADABLE), ("3", UNREADABLE)],
            &[("2", UNREADABLE)],
        ],
        expect![[r#"
                put Trigger default/a
                put Trigger default/b
                0 brokers, 2 triggers, 0 nodes from 2 files
                --
                0 brokers, 2 triggers, 0 nodes from 1 file
                --
                3:8:21  spec.delivery.retry is "x", it must be a whole number
                0 brokers, 2 triggers, 0 nodes from 2 files
                --
                2  is not UTF-8 at byte 7, what was known from it stays in force
                3  is not UTF-8 at byte 7, what was known from it stays in force
                0 brokers, 2 triggers, 0 nodes from 2 files
                --
                gone Trigger default/a
                2  is not UTF-8 at byte 7, what was known from it stays in force
                0 brokers, 1 trigger, 0 nodes from 1 file"#]],
    );
}

#[test]
fn a_file_that_vanishes_takes_its_resources_along() {
    check(
        &[
            &[("1", &trigger("a", "")), ("2", &trigger("b", ""))],
            &[("2", &trigger("b", ""))],
        ],
        expect![[r#"
                put Trigger default/a
                put Trigger default/b
                0 brokers, 2 triggers, 0 nodes from 2 files
                --
                gone Trigger default/a
                0 brokers, 1 trigger, 0 nodes from 1 file"#]],
    );
}

#[test]
fn of_two_with_one_name_the_first_counts() {
    check(
        &[
            &[("1", &trigger("a", "")), ("2", &trigger("a", "filter: {}"))],
            &[("2", &trigger("a", "filter: {}"))],
        ],
        expect![[r#"
                put Trigger default/a
                2:1:1  Trigger default/a is here a second time, the one at 1:1:1 counts: rename or remove one
                0 brokers, 1 trigger, 0 nodes from 2 files
                --
                put Trigger default/a
                0 brokers, 1 trigger, 0 nodes from 1 file"#]],
    );
}

#[test]
fn a_start_with_broken_files_keeps_what_the_log_knows() {
    let mut before = Catalog::default();
    let files = || vec![file("1", &trigger("a", "")), file("2", &trigger("b", ""))];
    before.reload(files());
    let logged: Vec<_> = before
        .in_force()
        .map(|resource| triggers::Resource::from_canonical(&resource.canonical()).unwrap())
        .map(std::sync::Arc::new)
        .collect();

    let mut catalog = Catalog::restore(logged.clone());
    let broken = catalog.reload(vec![file("1", "{"), file("2", &trigger("c", ""))]);
    let mended = catalog.reload(files());
    let mut whole = Catalog::restore(logged);
    let without = whole.reload(vec![file("1", &trigger("a", ""))]);
    let all = [broken, mended, without].map(|change| told(&change));
    expect![[r#"
            put Trigger default/c
            1:1:1  not valid YAML: unclosed bracket '{', close each bracket and brace once, and quote a text that has them
            0 brokers, 3 triggers, 0 nodes from 2 files
            --
            gone Trigger default/c
            0 brokers, 2 triggers, 0 nodes from 2 files
            --
            gone Trigger default/b
            0 brokers, 1 trigger, 0 nodes from 1 file"#]].assert_eq(&all.join("\n--\n"));
}
