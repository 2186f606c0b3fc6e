//! The table of `make proof` can't be green with less in it: each row that `scripts/proof.txt` asks for is
//! written by something, and what is missing, too small, skipped or lost there changes how the script ends.

use std::fmt::Write;
use std::process::Command;

use crate::assert_none;
use crate::files::{self, Text};

const LIST: &str = "scripts/proof.txt";
const TABLE: &str = "scripts/proof-table.sh";

/// What it ends with.
const OK: i32 = 0;
const WRONG: i32 = 1;
const SKIPPED: i32 = 3;

/// The rows that are asked for: each with what of it is, and what must be none.
fn rows(list: &str) -> Vec<[&str; 3]> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let cells = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    cells.filter_map(|cells| cells.try_into().ok()).collect()
}

/// Rows that nothing writes, and lines that are none.
fn problems(list: &str, files: &[Text]) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = list.lines().filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with('#')).count();
    let rows = rows(list);
    if rows.len() != lines || rows.is_empty() {
        problems.push(format!("{} rows in {lines} lines", rows.len()));
    }
    let writes = |file: &&Text| {
        file.path.starts_with("tests/tests/")
            || ["scripts/proof.sh", "scripts/mutants.sh"].contains(&file.path.as_str())
    };
    for [row, least, _] in rows {
        let named = [format!("\"{row}\""), format!("'{row}\\t")];
        let is_written = |file: &Text| named.iter().any(|name| file.text.contains(name));
        if !files.iter().filter(writes).any(is_written) {
            problems.push(format!("nothing writes a row {row}"));
        }
        if least.is_empty() {
            problems.push(format!("nothing is asked of {row}"));
        }
    }
    problems
}

#[test]
fn each_row_that_is_asked_for_is_written_by_something() {
    let files = files::all();
    let list = files.iter().find(|file| file.path == LIST);
    let list = list.expect("the list of rows is there");
    assert_none(&problems(&list.text, &files));
}

#[test]
fn a_row_that_nothing_writes_is_found() {
    let files = [Text {
        path: "tests/tests/scenarios/a.rs".to_owned(),
        text: "report(\"seeds\")".to_owned(),
    }];
    assert_none(&problems("# x\n\nseeds | 3 seeds | lost\n", &files));
    let gone = problems("seeds | 3 seeds | lost\nflips | 3 flips | lost\n", &files);
    assert_eq!(gone, ["nothing writes a row flips"]);
    let nothing = problems("seeds | | lost\n", &files);
    assert_eq!(nothing, ["nothing is asked of seeds"]);
    assert_eq!(problems("seeds\n", &files), ["0 rows in 1 lines"]);
}

/// A table in which each row has exactly as much as it must.
fn least(list: &str) -> String {
    let mut table = String::new();
    for [row, least, none] in rows(list) {
        let none = none.split(',').map(str::trim);
        let none: String = none.map(|none| format!(", 0 {none}")).collect();
        writeln!(table, "{row}\t{least}{none}").expect("memory takes it");
    }
    table
}

/// How the script ends with this table, and what it prints.
fn ends(table: &str) -> (i32, String) {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let path = folder.path().join("table");
    std::fs::write(&path, table).expect("there is room for a file");
    let mut script = Command::new(crate::root().join(TABLE));
    let output = script.arg(&path).output().expect("bash is here");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "");
    let code = output.status.code().expect("it ends by itself");
    (code, String::from_utf8_lossy(&output.stdout).into_owned())
}

#[track_caller]
fn check(table: &str, code: i32, says: &str) {
    let (ended, said) = ends(table);
    assert_eq!(ended, code, "{said}");
    assert!(said.contains(says), "{said}");
}

#[test]
fn a_table_is_green_only_with_all_of_its_rows_whole() {
    let list = std::fs::read_to_string(crate::root().join(LIST)).expect("it is there");
    let table = least(&list);
    let count = table.lines().count();
    check(&table, OK, &format!("{count} rows ok, 0 wrong, 0 skipped"));
    check("", WRONG, &format!("0 rows ok, {count} wrong, 0 skipped"));
    for line in table.lines() {
        let (row, figures) = line.split_once('\t').expect("a row has figures");
        let with = |figures: &str| table.replace(line, &format!("{row}\t{figures}"));
        check(&table.replace(line, ""), WRONG, "MISSING");
        let less = format!(
            "0{}",
            figures.trim_start_matches(|c: char| c.is_ascii_digit())
        );
        check(&with(&less), WRONG, "TOO LITTLE: 0 ");
        let (whole, none) = figures.rsplit_once(", 0 ").expect("a figure must be 0");
        check(&with(&format!("{whole}, 1 {none}")), WRONG, "LOST: 1 ");
        check(&with(whole), WRONG, "NOT SAID: ");
        let skipped = with("SKIPPED: there is no such device");
        let others = count - 1;
        let says = format!("{others} rows ok, 0 wrong, 1 skipped");
        check(&skipped, SKIPPED, &says);
        let beside = format!("{table}{row}\tSKIPPED: the second time\n");
        check(&beside, SKIPPED, "SKIPPED");
    }
    check(&format!("{table}new\t3 cases, 0 lost\n"), OK, "| new |");
    check(&format!("{table}new\t3 cases, 2 lost\n"), WRONG, "LOST: 2");
}
