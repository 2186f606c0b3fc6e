//! The table, one line a row, medians over the rounds.

use crate::gates::{Round, Verdict, median};
use crate::recipe::Recipe;
use crate::trial::{Latency, Row};

const HEAD: [&str; 12] = [
    "row",
    "events/s",
    "busy p50/p99/p99.9 µs",
    "open answer µs",
    "open arrival µs",
    "CPU µs/ev",
    "core %",
    "others %",
    "idle % before/after",
    "RSS/peak MB",
    "durability",
    "what",
];

/// The lines of the table for `recipes`; rows that no round has are left out.
pub(crate) fn lines(recipes: &[Recipe], rounds: &[Round]) -> Vec<String> {
    let mut cells = vec![HEAD.map(String::from)];
    for recipe in recipes {
        let rows: Vec<&Row> = rounds
            .iter()
            .filter_map(|round| round.get(recipe.name))
            .collect();
        if !rows.is_empty() {
            cells.push(line(recipe, &rows));
        }
    }
    let width = |column: usize| {
        cells
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    let pad = |line: &[String; HEAD.len()]| {
        let padded = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(pad).collect()
}

fn line(recipe: &Recipe, rows: &[&Row]) -> [String; HEAD.len()] {
    let of = |value: fn(&Row) -> Option<f64>, digits: usize| number(median_of(rows, value), digits);
    [
        recipe.name.into(),
        of(|row| row.rate, 0),
        latency(rows, |row| row.busy),
        latency(rows, |row| row.answer),
        latency(rows, |row| row.arrival),
        of(|row| row.cpu_micros, 2),
        of(|row| row.core_percent, 0),
        of(|row| row.others_percent, 0),
        format!(
            "{} / {}",
            of(|row| Some(row.idle_before_percent), 1),
            of(|row| Some(row.idle_after_percent), 1)
        ),
        format!(
            "{} / {}",
            of(|row| Some(row.resident_mb), 0),
            of(|row| Some(row.resident_peak_mb), 0)
        ),
        rows.first()
            .map(|row| row.class.clone())
            .unwrap_or_default(),
        recipe.about.into(),
    ]
}

fn median_of(rows: &[&Row], value: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
    median(&rows.iter().filter_map(|row| value(row)).collect::<Vec<_>>())
}

fn latency(rows: &[&Row], of: fn(&Row) -> Option<Latency>) -> String {
    let middle = |part: fn(&Latency) -> f64| median_of(rows, |row| of(row).as_ref().map(part));
    let parts = [middle(|l| l.p50), middle(|l| l.p99), middle(|l| l.p999)];
    if parts.iter().all(Option::is_none) {
        return "-".into();
    }
    parts.map(|part| number(part, 0)).join(" / ")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
}

/// The lines of the gates.
pub(crate) fn gates(verdicts: &[Verdict]) -> Vec<String> {
    let width = verdicts
        .iter()
        .map(|verdict| verdict.what.chars().count())
        .max()
        .unwrap_or(0);
    let line = |verdict: &Verdict| {
        let mark = match verdict.passed {
            Some(true) => "PASS",
            Some(false) => "FAIL",
            None => "----",
        };
        format!("{mark}  {:width$}  {}", verdict.what, verdict.text)
    };
    verdicts.iter().map(line).collect()
}
