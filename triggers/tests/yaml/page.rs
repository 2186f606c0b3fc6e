//! docs/resources.md names every field and annotation that is read.

use triggers::run::annotations::ANNOTATIONS;

use super::*;

/// The fields of the map at `path`, as the message about an unknown one lists them.
fn fields(api_version: &str, kind: &str, path: &[&str]) -> Vec<String> {
    let mut text = format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\nspec:");
    for name in path {
        text.push_str(&format!(" {{{name}:"));
    }
    text.push_str(" {qqqqqqqq: 1}");
    text.push_str(&"}".repeat(path.len()));
    let told = problems(&format!("{text}\n"));
    let list = told
        .split_once("the fields here are ")
        .and_then(|(_, rest)| rest.lines().next())
        .or_else(|| {
            told.split_once("the only field here is ")
                .and_then(|(_, rest)| rest.lines().next())
        });
    let list = list.unwrap_or_else(|| panic!("{path:?}: {told}"));
    list.split(", ")
        .flat_map(|part| part.split(" and "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_names_every_field_and_annotation() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/resources.md"));
    let page = page.unwrap();
    let eventing = "eventing.knative.dev/v1";
    let weft = "weft.dev/v1alpha1";
    let maps: &[(&str, &str, &[&str])] = &[
        (eventing, "Broker", &[]),
        (eventing, "Broker", &["delivery"]),
        (eventing, "Trigger", &[]),
        (eventing, "Trigger", &["subscriber", "ref"]),
        (weft, "DeliveryPolicy", &[]),
        (weft, "DeliveryPolicy", &["ordering"]),
        (weft, "DeliveryPolicy", &["retry"]),
        (weft, "DeliveryPolicy", &["dedup"]),
        (weft, "Sink", &[]),
        (weft, "Sink", &["breaker"]),
        (weft, "Sink", &["breaker", "successRate"]),
        (weft, "Sink", &["retryBudget"]),
        (weft, "Sink", &["concurrency"]),
        (weft, "Sink", &["warmup"]),
        (weft, "Node", &["listeners"]),
        (weft, "Node", &["storage"]),
        (weft, "Node", &["storage", "retention"]),
        (weft, "Node", &["telemetry"]),
        (weft, "Node", &["limits"]),
        (weft, "Node", &[]),
    ];
    let mut missing = Vec::new();
    for (api_version, kind, path) in maps {
        let section = page.split(&format!("\n## {kind} ")).nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        for field in fields(api_version, kind, path) {
            let nested = format!("{}.{field}", path.join("."));
            let here = [
                format!("`{field}`"),
                format!("`{nested}`"),
                format!("`{nested}."),
            ];
            let begins = format!("`{field}.");
            let whole = if path == &["delivery"] {
                &page
            } else {
                section
            };
            if !here
                .iter()
                .chain([&begins])
                .any(|name| whole.contains(&**name))
            {
                missing.push(format!("{kind} {nested}"));
            }
        }
    }
    for (name, kinds) in ANNOTATIONS {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let row = format!("| `{name}` | {} |", names.join(", "));
        if !page.contains(&row) {
            missing.push(row);
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}
