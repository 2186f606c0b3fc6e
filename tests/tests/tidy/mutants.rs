//! The list of mutants is the code's: each that `scripts/mutants.txt` names is asked for somewhere, each
//! that is asked for is named there, with tests that exist; and only `make mutants` builds with them.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::files::{self, Text};

const LIST: &str = "scripts/mutants.txt";
const SCRIPT: &str = "scripts/mutants.sh";

/// Where the code asks for a mutant by name.
const ASKS: &str = "mutant::is(\"";

/// As many as there must be.
const MUTANTS_MIN: usize = 12;

/// What is wrong with the list, or with the code that it is of.
fn problems(files: &[Text]) -> Vec<String> {
    let mut problems = Vec::new();
    let list = files.iter().find(|file| file.path == LIST);
    let list = list.map_or("", |file| file.text.as_str());
    let mut names = BTreeSet::new();
    for line in list.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (name, what, tests, also) = match cells[..] {
            [name, what, tests] => (name, what, tests, ""),
            [name, what, tests, also] => (name, what, tests, also),
            _ => {
                problems.push(format!("not three columns, nor four: {line}"));
                continue;
            }
        };
        if !names.insert(name) || what.is_empty() || tests.is_empty() {
            problems.push(format!("{name} twice, or without what it breaks or a test"));
        }
        let is_gone = |test: &&str| !files.iter().any(|file| declares(file, test));
        let tests = tests.split_whitespace().chain(also.split_whitespace());
        let gone = tests.filter(is_gone);
        problems.extend(gone.map(|test| format!("{name}: there is no test {test}")));
    }
    if names.len() < MUTANTS_MIN {
        problems.push(format!("{} mutants, at least {MUTANTS_MIN}", names.len()));
    }
    let asked: BTreeSet<&str> = files.iter().flat_map(asked_for).collect();
    let unknown = asked.difference(&names);
    problems.extend(unknown.map(|name| format!("{name} is asked for and not listed")));
    let unasked = names.difference(&asked);
    problems.extend(unasked.map(|name| format!("{name} is listed and never asked for")));
    problems.extend(files.iter().flat_map(builds_with_mutants));
    problems
}

/// The names that a file of ours asks for.
fn asked_for(file: &Text) -> Vec<&str> {
    let ours = file.path.ends_with(".rs") && file.path.contains("/src/");
    let parts = file.text.split(ASKS).skip(1).filter(|_| ours);
    parts
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| name)
        .collect()
}

/// Whether the file declares the test `binary/module::name`.
fn declares(file: &Text, test: &str) -> bool {
    let (binary, path) = test.split_once('/').unwrap_or_default();
    let (module, name) = path.rsplit_once("::").unwrap_or_default();
    let package = match binary {
        "model" => "journal",
        _ => "tests",
    };
    let module = module.replace("::", "/");
    let path = format!("{package}/tests/{binary}/{module}");
    let is_it = [format!("{path}.rs"), format!("{path}/mod.rs")].contains(&file.path);
    is_it && file.text.contains(&format!("fn {name}()"))
}

/// Lines by which another build than that of `make mutants` would have them.
fn builds_with_mutants(file: &Text) -> Vec<String> {
    let is_suspect = |line: &str| match file.path.rsplit('.').next() {
        Some("toml") => {
            let asks = line.contains("mutants") && !line.starts_with("mutants = ");
            asks && !line.trim_start().starts_with('#')
        }
        _ if file.path == SCRIPT => false,
        Some("sh") => line.contains("--features") && line.contains("mutants"),
        _ => line.contains("--all-features") && !file.path.ends_with(".rs"),
    };
    let lines = (1..).zip(file.text.lines());
    lines
        .filter(|(_, line)| is_suspect(line))
        .map(|(number, _)| format!("{}:{number} builds with the mutants", file.path))
        .collect()
}

#[test]
fn the_mutants_are_those_of_the_list_and_their_tests_exist() {
    assert_none(&problems(&files::all()));
}

mod planted {
    use super::*;

    fn text(path: &str, text: impl Into<String>) -> Text {
        Text {
            path: path.to_owned(),
            text: text.into(),
        }
    }

    /// A list of so many mutants, the code that asks for them, and the test that kills them.
    fn whole() -> [Text; 3] {
        let names = (0..MUTANTS_MIN).map(|n| format!("m{n}"));
        let rows = names
            .clone()
            .map(|name| format!("{name} | x | model/crash::one\n"));
        let code = names.map(|name| format!("if {ASKS}{name}\") {{}}\n"));
        [
            text(LIST, rows.collect::<String>()),
            text("journal/src/a.rs", code.collect::<String>()),
            text("journal/tests/model/crash.rs", "fn one() {}"),
        ]
    }

    #[test]
    fn a_list_that_is_not_the_codes_is_found() {
        assert_none(&problems(&whole()));
        let [list, code, test] = whole();
        let without = text(LIST, list.text.replacen("m3 |", "m99 |", 1));
        let expected = [
            "m3 is asked for and not listed",
            "m99 is listed and never asked for",
        ];
        assert_eq!(problems(&[without, code, test]), expected);
        let [list, code, _] = whole();
        assert_eq!(problems(&[list, code]).len(), MUTANTS_MIN, "no test");
        let [list, code, test] = whole();
        let also = list
            .text
            .replacen("::one\n", "::one | model/crash::two\n", 1);
        let gone = problems(&[text(LIST, also), code, test]);
        assert_eq!(gone, ["m0: there is no test model/crash::two"]);
        assert_eq!(problems(&[]), ["0 mutants, at least 12"]);
    }

    #[test]
    fn another_build_with_mutants_is_found() {
        let mut files = Vec::from(whole());
        files.push(text("weft/Cargo.toml", "default = [\"broker/mutants\"]\n"));
        assert_eq!(
            problems(&files),
            ["weft/Cargo.toml:1 builds with the mutants"]
        );
        files.pop();
        files.push(text("scripts/test.sh", "cargo test --features x,mutants\n"));
        assert_eq!(
            problems(&files),
            ["scripts/test.sh:1 builds with the mutants"]
        );
    }
}
