//! `weft check`: the YAML, without starting.

use serde::Serialize;
use triggers::Report;

use crate::cli::{CheckArgs, Output};
use crate::exit::{Exit, Failure};
use crate::format::print;
use crate::node::files::load;
use crate::out;

/// The result for programs.
#[derive(Serialize)]
struct Checked<'a> {
    files: usize,
    brokers: usize,
    triggers: usize,
    nodes: usize,
    problems: Vec<Mistake<'a>>,
}

/// One problem for programs.
#[derive(Serialize)]
struct Mistake<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    message: &'a str,
    cure: &'a str,
}

/// Checks and says what is wrong.
pub(crate) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let report = load(&args.dirs)?.report;
    match args.output {
        Output::Table => out::line(&report),
        format => print(format, &checked(&report))?,
    }
    if report.is_clean() {
        Ok(())
    } else {
        Err(Failure::said(Exit::Config))
    }
}

fn checked(report: &Report) -> Checked<'_> {
    let counts = report.counts;
    Checked {
        files: counts.files,
        brokers: counts.brokers,
        triggers: counts.triggers,
        nodes: counts.nodes,
        problems: report.problems.iter().map(mistake).collect(),
    }
}

fn mistake(problem: &triggers::Problem) -> Mistake<'_> {
    let triggers::Problem {
        file,
        line,
        column,
        message,
        cure,
    } = problem;
    Mistake {
        file,
        line: *line,
        column: *column,
        message,
        cure,
    }
}
