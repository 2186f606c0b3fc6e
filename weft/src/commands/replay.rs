//! `weft replay`: first how many events there are, then the question, then the job at the node.

use crate::admin::letters::JobView;
use crate::admin::replays::ReplayAsked;
use crate::cli::ReplayArgs;
use crate::commands::api::{Said, tell};
use crate::commands::confirm::confirm;
use crate::commands::dead_letters::job::follow;
use crate::exit::{Exit, Failure};
use crate::out;
use crate::table::{count, many};

/// How many of those that were skipped are printed; the rest is counted.
const SKIPPED_SHOWN_MAX: usize = 10;

/// Replays.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let mut asked = ReplayAsked {
        trigger: args.trigger.clone(),
        to_uri: args.to_uri.clone(),
        broker: args.broker.clone(),
        from: args.from.clone(),
        to: args.to.clone(),
        filters: args.filters.iter().map(|text| filter(text)).collect(),
        rate: args.rate,
        dry_run: args.dry_run || !args.yes,
    };
    let mut total = 0;
    // What is replayed unasked need not be counted first: that reads the same range of the log.
    if asked.dry_run {
        let would = job(args, &asked, false, 0)?;
        total = would.value.done;
        if args.dry_run || total == 0 || would.value.error.is_some() {
            return end(args, &would);
        }
        let to = args.trigger.as_ref().or(args.to_uri.as_ref());
        let events = many(total, "event", "events");
        let to = to.map_or("", String::as_str);
        confirm(&format!("{events} would be replayed to {to}"), false)?;
        asked.dry_run = false;
    }
    end(args, &job(args, &asked, args.wait, total)?)
}

fn job(
    args: &ReplayArgs,
    asked: &ReplayAsked,
    wait: bool,
    total: u64,
) -> Result<Said<JobView>, Failure> {
    let id = tell::<JobView>(&args.admin, "/api/v1/replays", asked)?
        .value
        .id;
    if !asked.dry_run {
        out::note(format_args!(
            "job {id} at the node; it goes on without this command, `weft jobs stop {id}` stops it"
        ));
    }
    follow(&args.admin, id, total, wait)
}

fn end(args: &ReplayArgs, job: &Said<JobView>) -> Result<(), Failure> {
    job.print(args.admin.output, summary)?;
    match job.value.error {
        Some(_) => Err(Failure::said(Exit::Fault)),
        None => Ok(()),
    }
}

/// A filter in YAML; `NAME=VALUE` is short for `{exact: {NAME: VALUE}}`.
fn filter(text: &str) -> String {
    let named = text.split_once('=').filter(|(name, _)| {
        let known = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
        !name.is_empty() && name.chars().all(known)
    });
    match named {
        Some((name, value)) => {
            format!("{{exact: {{{name}: {}}}}}", serde_json::Value::from(value))
        }
        None => text.to_owned(),
    }
}

/// What a replay, or a trigger's start, came to.
pub(crate) fn summary(job: &JobView) -> String {
    let would = if job.dry_run { " would be" } else { "" };
    let mut text = format!(
        "{}{would} replayed, of {} looked at",
        many(job.done, "event", "events"),
        count(job.looked_at)
    );
    if !job.dry_run && job.done > 0 {
        text.push_str(&format!(
            ": {} delivered, {} dead, {} on their way",
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
        let more = match job.done > first.len() as u64 {
            true => ", ...",
            false => "",
        };
        text.push_str(&format!("  {}{more}\n", first.join(", ")));
    }
    if job.refused > 0 {
        let skipped = many(job.refused, "was", "were");
        text.push_str(&format!("{skipped} skipped:\n"));
        for refusal in job.refusals.iter().take(SKIPPED_SHOWN_MAX) {
            text.push_str(&format!("  {}  {}\n", refusal.id, refusal.why));
        }
        let shown = job.refusals.len().min(SKIPPED_SHOWN_MAX) as u64;
        if job.refused > shown {
            text.push_str(&format!("  ... and {} more\n", count(job.refused - shown)));
        }
    }
    match (job.state.as_str(), &job.error) {
        ("stopped", _) => text.push_str("Stopped; what it began goes on.\n"),
        (_, Some(why)) => text.push_str(&format!("It could not go on: {why}.\n")),
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::admin::letters::RefusalView;

    fn job() -> JobView {
        JobView {
            id: 3,
            kind: "replay".into(),
            state: "done".into(),
            error: None,
            dry_run: false,
            began: String::new(),
            ended: None,
            looked_at: 40_000,
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
    fn a_summary_says_what_became_of_the_events() {
        let skipped = JobView {
            state: "stopped".into(),
            refused: 12,
            refusals: (1..=12)
                .map(|id| RefusalView {
                    id,
                    why: "it is still owed".into(),
                })
                .take(1)
                .collect(),
            ..job()
        };
        let dry = JobView {
            dry_run: true,
            done: 2,
            first: vec![7, 9],
            ..job()
        };
        let failed = JobView {
            done: 0,
            state: "failed".into(),
            error: Some("its trigger was deleted".into()),
            ..job()
        };
        let all: Vec<String> = [job(), skipped, dry, failed].iter().map(summary).collect();
        expect![[r#"
            12,000 events replayed, of 40,000 looked at: 11,000 delivered, 2 dead, 998 on their way

            12,000 events replayed, of 40,000 looked at: 11,000 delivered, 2 dead, 998 on their way
            12 were skipped:
              1  it is still owed
              ... and 11 more
            Stopped; what it began goes on.

            2 events would be replayed, of 40,000 looked at
              7, 9

            0 events replayed, of 40,000 looked at
            It could not go on: its trigger was deleted.
        "#]]
        .assert_eq(&all.join("\n"));
    }

    #[test]
    fn name_and_value_are_short_for_exact() {
        assert_eq!(filter("type=com.x"), r#"{exact: {type: "com.x"}}"#);
        assert_eq!(
            filter(r#"subject=a"b=c"#),
            r#"{exact: {subject: "a\"b=c"}}"#
        );
        let yaml = "{prefix: {type: a=b}}";
        assert_eq!(filter(yaml), yaml);
        assert_eq!(filter("Type=x"), "Type=x");
    }
}
