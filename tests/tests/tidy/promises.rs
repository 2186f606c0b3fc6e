//! Each guarantee has a test, and each test that `tests/README.md` names is one.
//!
//! A name is `file::test` in backticks; the file is one of the scenarios or of those that run the
//! real program, with its folder there if it has one, and declares an async or a plain function of that name.

use crate::assert_none;
use crate::files::{self, Text};

const PAGE: &str = "tests/README.md";

/// The rows that must be there.
const ROWS: &[&str] = &[
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "18",
    "19", "21", "22", "49", "50", "51",
];

/// What is wrong with the page.
fn problems(page: &str, files: &[Text]) -> Vec<String> {
    let mut problems = Vec::new();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for row in ROWS {
        let tests = rows.iter().find(|cells| cells[0] == *row);
        let named = tests.and_then(|cells| cells.get(2));
        if named.is_none_or(|tests| !tests.contains("::")) {
            problems.push(format!("row {row} names no test"));
        }
    }
    let names = page.split('`').skip(1).step_by(2);
    for name in names {
        let Some((module, test)) = name
            .split_once("::")
            .filter(|(module, _)| !module.is_empty())
        else {
            continue;
        };
        let declares = |file: &Text| {
            let holds = ["scenarios", "process"].iter().any(|kind| {
                let path = format!("tests/tests/{kind}/{module}");
                file.path == format!("{path}.rs") || file.path == format!("{path}/mod.rs")
            });
            holds && file.text.contains(&format!("fn {test}()"))
        };
        if name != "file::test" && !files.iter().any(declares) {
            problems.push(format!("there is no test {name}"));
        }
    }
    problems
}

#[test]
fn each_guarantee_has_tests_that_exist() {
    let files = files::all();
    let page = files.iter().find(|file| file.path == PAGE);
    let page = page.expect("the page of guarantees is there");
    assert_none(&problems(&page.text, &files));
}

#[test]
fn a_test_that_is_gone_and_a_row_without_one_are_found() {
    let files = [Text {
        path: "tests/tests/scenarios/nack.rs".to_owned(),
        text: "async fn one() {}".to_owned(),
    }];
    let rows = ROWS
        .iter()
        .map(|row| format!("| {row} | x | `nack::one` |\n"));
    let page: String = rows.collect();
    assert_none(&problems(&page, &files));
    let gone = page.replacen("nack::one", "nack::two", 1);
    assert_eq!(problems(&gone, &files), ["there is no test nack::two"]);
    let without = page.replacen("| 49 | x | `nack::one` |", "| 49 | x | |", 1);
    assert_eq!(problems(&without, &files), ["row 49 names no test"]);
}
