//! How much a proof of durability does, and where it says what it found: `make test` runs a short form of
//! each, `make proof` the full one and prints their figures as a table.

use std::io::Write;

/// `full`: as much as a proof is to do; anything else, or nothing: its short form.
const SIZE: &str = "WEFT_PROOF";

/// The file that figures are added to, a line a row.
const REPORT: &str = "WEFT_PROOF_REPORT";

/// Whether the full form is asked for.
pub fn is_full() -> bool {
    std::env::var(SIZE).is_ok_and(|size| size == "full")
}

/// This many in the full form, else that many.
pub fn size(full: u64, short: u64) -> u64 {
    match is_full() {
        true => full,
        false => short,
    }
}

/// Says what a proof found: a row of the table, with its figures by name. One of them is what was lost.
///
/// # Panics
///
/// If the table's file can't be written.
pub fn report(row: &str, figures: &[(&str, u64)]) {
    let figures: Vec<String> = figures
        .iter()
        .map(|(name, figure)| format!("{figure} {name}"))
        .collect();
    let figures = figures.join(", ");
    eprintln!("{row}: {figures}");
    write(row, &figures);
}

/// Says that nothing of this row was checked, and why: the table has it as skipped, and so does the end of
/// `make test`, which shows nothing of what a test prints that passes.
///
/// # Panics
///
/// If the table's file can't be written.
pub fn skipped(row: &str, why: &str) {
    let why = why.replace(['\n', '\t', '|'], " ");
    eprintln!("SKIPPED, 0 checks made: {row}: {why}");
    write(row, &format!("SKIPPED: {why}"));
}

fn write(row: &str, found: &str) {
    let Some(path) = std::env::var_os(REPORT) else {
        return;
    };
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    let mut file = file.expect("the proof's table can be written");
    let line = format!("{row}\t{found}\n");
    file.write_all(line.as_bytes())
        .expect("the proof's table can be written");
}
