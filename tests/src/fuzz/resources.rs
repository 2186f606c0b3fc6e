//! A YAML file of any content: every mistake has its line and its cure, and what is in force reads back
//! from the form in which the log keeps it.

use std::sync::Arc;

use triggers::files::File;
use triggers::{Catalog, Problem, Resource, lower};

pub(super) const WORDS: &[&str] = &[
    "apiVersion: eventing.knative.dev/v1\n",
    "apiVersion: weft.dev/v1alpha1\n",
    "kind: Trigger\n",
    "kind: Broker\n",
    "kind: Node\n",
    "kind: DeliveryPolicy\n",
    "kind: Sink\n",
    "kind: List\n",
    "metadata: {name: a}\n",
    "metadata:\n  name: a\n  namespace: b\n",
    "  annotations: {weft.dev/start: earliest}\n",
    "spec:\n",
    "  broker: default\n",
    "  subscriber: {uri: http://127.0.0.1:8081/}\n",
    "  subscriber:\n    ref: {apiVersion: weft.dev/v1alpha1, kind: Sink, name: a}\n",
    "  filters:\n    - exact: {type: a}\n",
    "  filter: {attributes: {type: \"\"}}\n",
    "  delivery:\n    retry: 3\n    backoffPolicy: exponential\n    backoffDelay: PT1S\n",
    "    deadLetterSink: {uri: http://127.0.0.1:8082/}\n",
    "    timeout: PT30S\n",
    "---\n",
    "&a",
    "*a",
    "<<: *a",
    "!!str ",
    "|\n",
    ">-\n",
    "? ",
    "- ",
    "\t",
    "\r",
    "{}",
    "[]",
    "null",
    "\u{feff}",
    "\u{85}",
    "P1DT2H",
    "10Gi",
];

pub(super) fn run(bytes: &[u8]) {
    // A file that isn't UTF-8 never comes to be read as YAML.
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let file = || {
        vec![File {
            path: Arc::from("a.yaml"),
            text: Ok(text.to_owned()),
        }]
    };
    let mut catalog = Catalog::default();
    let change = catalog.reload(file());
    let in_force: Vec<&Resource> = catalog.in_force().collect();
    assert_eq!(change.put.len(), in_force.len());
    assert!(change.gone.is_empty());
    let (lowered, further) = lower(&in_force);
    for problem in change.problems.iter().chain(&further) {
        assert_is_helpful(problem, text);
    }
    let from_log: Vec<Resource> = in_force
        .iter()
        .map(|resource| assert_reads_back(resource))
        .collect();
    let from_log: Vec<&Resource> = from_log.iter().collect();
    let (again, problems) = lower(&from_log);
    assert!(again == lowered, "the log says something else");
    assert_eq!(problems.len(), further.len());
    let report = change.report(further).to_string();
    assert!(!report.is_empty());

    let problems = catalog.reload(file());
    assert!(problems.is_empty(), "the same file changed something");
    assert_eq!(problems.problems, change.problems);
}

fn assert_is_helpful(problem: &Problem, text: &str) {
    // A carriage return alone ends a line too.
    let lines = 2 + text.bytes().filter(|b| matches!(b, b'\n' | b'\r')).count();
    let line = problem.line as usize;
    assert!((1..=lines).contains(&line), "{problem}");
    assert!(1 <= problem.column && problem.column as usize <= text.len() + 2);
    assert!(!problem.message.is_empty() && !problem.cure.is_empty());
}

fn assert_reads_back(resource: &Resource) -> Resource {
    let canonical = resource.canonical();
    assert!(!canonical.contains('\n'), "one line: {canonical}");
    let again = Resource::from_canonical(&canonical);
    let again = again.unwrap_or_else(|error| panic!("{error}: {canonical}"));
    assert!(again == *resource, "{canonical}");
    assert_eq!(again.canonical(), canonical);
    again
}
