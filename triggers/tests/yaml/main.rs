//! What a person writes, and what they are told: mistakes with their messages, good YAML with
//! what it becomes, and what stays in force while files change.

mod catalog;
mod good;
mod mistakes;
mod page;
mod policies;
mod sinks;

use std::sync::Arc;

use expect_test::{Expect, expect};
use triggers::files::{File, ReadError};
use triggers::{Catalog, Change, lower};

fn file(path: &str, text: &str) -> File {
    File {
        path: Arc::from(path),
        text: Ok(text.to_owned()),
    }
}

/// What `weft check` would say about one file.
fn problems(text: &str) -> String {
    let mut catalog = Catalog::default();
    let change = catalog.reload(vec![file("a.yaml", text)]);
    let in_force: Vec<_> = catalog.in_force().collect();
    let (_, further) = lower(&in_force);
    let lines: Vec<String> = change
        .report(further)
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    lines.join("\n")
}

#[track_caller]
fn check(text: &str, expect: Expect) {
    expect.assert_eq(&problems(text));
}

/// Checks a good trigger whose `spec` has `lines` added. They begin on line 8.
#[track_caller]
fn check_spec(lines: &str, expect: Expect) {
    check(&trigger("billing", lines), expect);
}

fn trigger(name: &str, lines: &str) -> String {
    let mut text = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: {name}\nspec:\n  broker: default\n  subscriber: {{uri: http://127.0.0.1:8081/}}\n"
    );
    for line in lines.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// Checks a Node with this `spec`, whose lines begin on line 5.
#[track_caller]
fn check_node(lines: &str, expect: Expect) {
    let mut text =
        "apiVersion: weft.dev/v1alpha1\nkind: Node\nmetadata: {name: node}\nspec:\n".to_owned();
    for line in lines.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    check(&text, expect);
}
