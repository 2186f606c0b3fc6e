//! Following a job at the node until it has ended, with a bar that moves.

use std::time::Duration;

use http::Method;
use indicatif::{ProgressBar, ProgressStyle};

use crate::admin::letters::JobView;
use crate::cli::letters::StopArgs;
use crate::cli::{AdminArgs, Output};
use crate::commands::api::{Said, ask, call};
use crate::exit::Failure;
use crate::out;
use crate::table::{count, many};

/// How often the node is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How many refusals are printed; the rest is counted.
const REFUSALS_SHOWN_MAX: usize = 10;

/// Follows a job until it has ended, and where `wait`, until all that it began has.
pub(crate) fn follow(
    admin: &AdminArgs,
    id: u64,
    total: u64,
    wait: bool,
) -> Result<Said<JobView>, Failure> {
    let bar = bar(total);
    loop {
        let said = ask::<JobView>(admin, &format!("/api/v1/jobs/{id}"))?;
        let job = &said.value;
        bar.set_position(job.done);
        bar.set_message(format!(
            "{} delivered, {} dead again",
            count(job.delivered),
            count(job.dead)
        ));
        if job.state != "running" && !(wait && job.outstanding > 0) {
            bar.finish_and_clear();
            return Ok(said);
        }
        std::thread::sleep(ASK_EVERY);
    }
}

fn bar(total: u64) -> ProgressBar {
    if total < 2 || !out::stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("  {bar:30} {human_pos}/{human_len}  {msg}");
    match style {
        Ok(style) => ProgressBar::new(total).with_style(style),
        Err(_) => ProgressBar::new(total),
    }
}

/// What a job came to, in words. `verb` is what it did: `redriven`.
pub(super) fn summary(job: &JobView, verb: &str) -> String {
    let would = if job.dry_run { " would be" } else { "" };
    let letters = many(job.done, "dead letter", "dead letters");
    let mut text = format!("{letters}{would} {verb}");
    if !job.dry_run && job.kind == "redrive" && job.done > 0 {
        text.push_str(&format!(
            ": {} delivered, {} dead again, {} on their way",
            count(job.delivered),
            count(job.dead),
            count(job.outstanding)
        ));
        if job.cancelled > 0 {
            text.push_str(&format!(", {} cancelled", count(job.cancelled)));
        }
    }
    text.push('\n');
    if job.dry_run && !job.first.is_empty() {
        let first: Vec<String> = job.first.iter().map(u64::to_string).collect();
        let more = if job.done > first.len() as u64 {
            ", ..."
        } else {
            ""
        };
        text.push_str(&format!("  {}{more}\n", first.join(", ")));
    }
    if job.refused > 0 {
        text.push_str(&format!(
            "{} could not be:\n",
            many(job.refused, "letter", "letters")
        ));
        for refusal in job.refusals.iter().take(REFUSALS_SHOWN_MAX) {
            text.push_str(&format!("  {}  {}\n", refusal.id, refusal.why));
        }
        let shown = job.refusals.len().min(REFUSALS_SHOWN_MAX) as u64;
        if job.refused > shown {
            text.push_str(&format!("  ... and {} more\n", count(job.refused - shown)));
        }
    }
    match (job.state.as_str(), &job.error) {
        ("stopped", _) => text.push_str("Stopped; the same command goes on with those left.\n"),
        (_, Some(why)) => text.push_str(&format!(
            "It could not go on: {why}. The same command goes on with those left.\n"
        )),
        _ => {}
    }
    text
}

/// Stops one.
pub(super) fn stop(args: &StopArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/jobs/{}", args.job);
    let said = call::<JobView>(&args.admin, Method::DELETE, &path, bytes::Bytes::new())?;
    if args.admin.output != Output::Table {
        return said.print(args.admin.output, |_| String::new());
    }
    let ended = follow(&args.admin, args.job, 0, false)?;
    let verb = match ended.value.kind.as_str() {
        "discard" => "discarded",
        _ => "redriven",
    };
    out::text(summary(&ended.value, verb));
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::admin::letters::RefusalView;

    fn job() -> JobView {
        JobView {
            id: 3,
            kind: "redrive".into(),
            state: "done".into(),
            error: None,
            dry_run: false,
            began: String::new(),
            ended: None,
            looked_at: 12_001,
            done: 12_000,
            first: (1..=10).collect(),
            refused: 0,
            refusals: Vec::new(),
            delivered: 11_000,
            dead: 2,
            cancelled: 0,
            outstanding: 998,
        }
    }

    #[test]
    fn a_summary_says_what_became_of_each() {
        expect![[r#"
            12,000 dead letters redriven: 11,000 delivered, 2 dead again, 998 on their way
        "#]]
        .assert_eq(&summary(&job(), "redriven"));
        let refused = JobView {
            dry_run: true,
            done: 1,
            first: vec![7],
            refused: 12,
            refusals: (1..=12)
                .map(|id| RefusalView {
                    id,
                    why: "its trigger shop/billing was deleted".into(),
                })
                .collect(),
            ..job()
        };
        let text = summary(&refused, "redriven");
        assert!(
            text.starts_with("1 dead letter would be redriven\n  7\n12 letters could not be:\n"),
            "{text}"
        );
        assert!(text.ends_with("  ... and 2 more\n"), "{text}");
    }

    #[test]
    fn what_was_stopped_says_how_to_go_on() {
        let stopped = JobView {
            kind: "discard".into(),
            state: "stopped".into(),
            done: 5,
            ..job()
        };
        expect![[r#"
            5 dead letters discarded
            Stopped; the same command goes on with those left.
        "#]]
        .assert_eq(&summary(&stopped, "discarded"));
    }
}
