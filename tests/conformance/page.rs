//! `docs/conformance.md`, written from the list of cases.
//!
//! What it says passed has passed: a case that fails fails the run that this check is part of.
//! `UPDATE_EXPECT=1` writes the page anew.

use std::collections::BTreeSet;
use std::path::Path;

use crate::case::{Case, How};

const PAGE: &str = "../docs/conformance.md";

/// Fails when the page isn't what the cases say.
#[track_caller]
pub(crate) fn is_current(cases: &[Case]) {
    let names: BTreeSet<&str> = cases.iter().map(|case| case.test).collect();
    assert_eq!(names.len(), cases.len(), "each case has a name of its own");
    let namespaces: BTreeSet<String> = names.iter().map(|name| Case::namespace(name)).collect();
    assert_eq!(namespaces.len(), cases.len(), "and a namespace of its own");
    let later = cases.iter().filter(|case| case.is_later()).count();
    eprintln!(
        "conformance: {} cases, {} to pass, {later} later",
        cases.len(),
        cases.len() - later
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    expect_test::expect_file![path].assert_eq(&page(cases));
}

fn page(cases: &[Case]) -> String {
    let waiting = cases.iter().filter(|case| case.is_later()).count();
    let mut page = format!(
        "# Conformance

Knative certifies no broker; these are the cases that its own suites run, by their own names, and some
that they don't. `make test` plays each over real HTTP against the program, with YAML for set-up and no
cluster: **{} cases, {} pass, {} come later**. This page is written by `tests/conformance`, from the list that
it runs; a test fails when it isn't current.

{RUNNING}
",
        cases.len(),
        cases.len() - waiting,
        waiting,
    );
    let mut area = "";
    for case in cases {
        if case.area != area {
            area = case.area;
            page += &format!(
                "\n## {area}\n\n| upstream case | suite | our test | result |\n|---|---|---|---|\n"
            );
        }
        let result = match &case.how {
            How::Run { .. } => "pass".to_owned(),
            How::Ours { .. } => "pass ¹".to_owned(),
            How::Later(why) => format!("later: {why}"),
        };
        page += &format!(
            "| {} | {} | `{}` | {result} |\n",
            cell(case.upstream),
            case.suite,
            case.test
        );
    }
    page += "\n¹ Asks what only Weft can be asked, so it isn't played against another broker.\n";
    page
}

/// As a cell of a table.
fn cell(text: &str) -> String {
    let safe = |c: char| match c {
        '|' | '\\' | '*' | '_' | '<' | '[' => format!("\\{c}"),
        c => c.to_string(),
    };
    // What is code stays as it is.
    match text.matches('`').count() % 2 {
        0 => text.replace('|', "\\|"),
        _ => text.replace('`', "'").chars().map(safe).collect(),
    }
}

const RUNNING: &str = "## Against another broker

1. Write the YAML of all cases into a folder. Functions answer in the process that runs the cases; say where
   the broker reaches them. `WEFT_CONFORMANCE_CLASS` sets the class of the Brokers.

   ```
   WEFT_CONFORMANCE_WRITE=/tmp/cases WEFT_CONFORMANCE_FUNCTIONS=http://10.0.0.5:18099 \\
       cargo test -p tests --test conformance
   ```

2. Apply the folder to that broker, and wait until all is ready. Each case is in a namespace of its own, named
   as its file.
3. Play the cases, all or those whose names contain a word. The address is that below which
   `/<namespace>/<broker>` takes events.

   ```
   WEFT_CONFORMANCE_URL=http://10.0.0.7:8080 WEFT_CONFORMANCE_FUNCTIONS=http://10.0.0.5:18099 \\
       cargo test -p tests --test conformance -- delivery::
   ```

What must not come is waited for: Weft says when all is delivered, another broker is given three seconds.";
