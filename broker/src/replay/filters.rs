//! Filters on the command line: the dialects of a Trigger, in one line of YAML each.

use std::sync::Arc;

use triggers::files::File;
use triggers::{Catalog, Filter, Resource, Start, TriggerName, lower};

/// Several filters as the list that a Trigger would have.
pub(super) fn list(filters: &[String]) -> String {
    match filters {
        [] => String::new(),
        some => format!("[{}]", some.join(", ")),
    }
}

/// Compiles such a list; an empty text wants everything.
///
/// # Errors
///
/// What is wrong with it, and what to write instead.
pub(super) fn compile(list: &str) -> Result<Filter, String> {
    if list.is_empty() {
        return Ok(Filter::Everything);
    }
    if list.contains('\n') {
        return Err("a filter has several lines, write it on one".into());
    }
    let yaml = format!(
        "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: replay}}
spec:
  broker: default
  subscriber: {{uri: \"http://replay/\"}}
  filters: {list}
"
    );
    let file = File {
        path: Arc::from("--filter"),
        text: Ok(yaml),
    };
    let mut catalog = Catalog::default();
    let change = catalog.reload(vec![file]);
    let resources: Vec<&Resource> = catalog.in_force().collect();
    let (mut lowered, further) = lower(&resources);
    if let Some(problem) = change.problems.iter().chain(&further).next() {
        let message = problem.message.replace("spec.filters", "filter");
        let cure = &problem.cure;
        return Err(match cure.is_empty() {
            true => message,
            false => format!("{message}: {cure}"),
        });
    }
    lowered
        .triggers
        .remove(&TriggerName::new("default", "replay"))
        .map(|trigger| trigger.filter)
        .ok_or_else(|| format!("{list} is no list of filters, write {{exact: {{type: com.x}}}}"))
}

/// Where a trigger says that it begins; `None` for other resources.
pub(super) fn start_of(resource: &Resource) -> Option<Start> {
    let text = resource.metadata.annotations.get("weft.dev/start")?;
    match text.as_str() {
        "latest" => Some(Start::Latest),
        "earliest" => Some(Start::Earliest),
        time => triggers::moment::parse(time).ok().map(Start::At),
    }
}

#[cfg(test)]
mod tests {
    use event::Event;
    use expect_test::expect;

    use super::*;

    fn check(filters: &[&str]) -> String {
        let filters: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        let event = Event::build("1", "/shop", "com.example.placed").finish();
        let event = event.expect("the event is valid");
        match compile(&list(&filters)) {
            Ok(filter) => filter.matches(&event.as_ref()).to_string(),
            Err(wrong) => wrong,
        }
    }

    #[test]
    fn every_dialect_of_a_trigger_is_read_and_mistakes_are_told() {
        let lines: Vec<String> = [
            &[][..],
            &["{exact: {type: com.example.placed}}"],
            &["{prefix: {type: com.}}", "{suffix: {source: nowhere}}"],
            &["{not: {prefix: {type: com.}}}"],
            &["{any: [{exact: {type: x}}, {prefix: {source: /sh}}]}"],
            &["{prefx: {type: com.}}"],
            &["{exact: {Type: x}}"],
            &["type=x"],
            &["{exact: {type: x"],
            &["{}\n  delivery: {}"],
        ]
        .iter()
        .map(|filters| format!("{filters:?} -> {}", check(filters)))
        .collect();
        expect![[r#"
            [] -> true
            ["{exact: {type: com.example.placed}}"] -> true
            ["{prefix: {type: com.}}", "{suffix: {source: nowhere}}"] -> false
            ["{not: {prefix: {type: com.}}}"] -> false
            ["{any: [{exact: {type: x}}, {prefix: {source: /sh}}]}"] -> true
            ["{prefx: {type: com.}}"] -> filter[0].prefx is not a known field: did you mean prefix?
            ["{exact: {Type: x}}"] -> filter[0].exact.Type does not name an attribute: an attribute's name is lower-case letters and digits and begins with a letter
            ["type=x"] -> filter[0] is "type=x": it must be a map of fields
            ["{exact: {type: x"] -> not valid YAML: mismatched bracket '{' closed by ']': close each bracket and brace once, and quote a text that has them
            ["{}\n  delivery: {}"] -> a filter has several lines, write it on one"#]].assert_eq(&lines.join("\n"));
    }
}
