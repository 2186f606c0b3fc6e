//! `weft jobs`: what a node does on request, and the end of it.

use bytes::Bytes;
use http::Method;

use crate::admin::letters::JobView;
use crate::admin::views::List;
use crate::cli::{JobsArgs, JobsCommand, Output};
use crate::commands::api::{ask, call};
use crate::commands::dead_letters::job::follow;
use crate::commands::get::or;
use crate::exit::Failure;
use crate::out;
use crate::table::Align::{Left, Right};
use crate::table::{Table, count};

/// Lists or stops.
pub(crate) fn run(args: &JobsArgs) -> Result<(), Failure> {
    match &args.command {
        JobsCommand::List { admin } => {
            let jobs = ask::<List<JobView>>(admin, "/api/v1/jobs")?;
            jobs.print(admin.output, |list| table(&list.items))
        }
        JobsCommand::Stop { job, admin } => {
            let path = format!("/api/v1/jobs/{job}");
            let said = call::<JobView>(admin, Method::DELETE, &path, Bytes::new())?;
            if admin.output != Output::Table {
                return said.print(admin.output, |_| String::new());
            }
            let ended = follow(admin, *job, 0, false)?.value;
            out::text(format!(
                "job {job} is {}; {} done, what it began goes on\n",
                ended.state,
                count(ended.done)
            ));
            Ok(())
        }
    }
}

fn table(jobs: &[JobView]) -> String {
    let mut table = Table::new(&[
        ("ID", Right),
        ("KIND", Left),
        ("STATE", Left),
        ("DONE", Right),
        ("DELIVERED", Right),
        ("DEAD", Right),
        ("ON THEIR WAY", Right),
        ("SKIPPED", Right),
    ]);
    for job in jobs {
        let kind = match job.dry_run {
            true => format!("{} (dry)", job.kind),
            false => job.kind.clone(),
        };
        table.row([
            job.id.to_string(),
            kind,
            job.state.clone(),
            count(job.done),
            count(job.delivered),
            count(job.dead),
            count(job.outstanding),
            count(job.refused),
        ]);
    }
    or(&table, "no jobs")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn jobs_are_a_table() {
        let job = JobView {
            id: 12,
            kind: "replay".into(),
            state: "running".into(),
            error: None,
            dry_run: false,
            began: String::new(),
            ended: None,
            looked_at: 40_000,
            done: 12_000,
            first: Vec::new(),
            refused: 3,
            refusals: Vec::new(),
            delivered: 11_000,
            dead: 2,
            cancelled: 0,
            outstanding: 998,
        };
        let dry = JobView {
            id: 3,
            kind: "redrive".into(),
            state: "done".into(),
            dry_run: true,
            delivered: 0,
            outstanding: 0,
            ..job.clone()
        };
        let table = table(&[job, dry]);
        expect![[r#"
            ID  KIND           STATE      DONE  DELIVERED  DEAD  ON THEIR WAY  SKIPPED
            12  replay         running  12,000     11,000     2           998        3
             3  redrive (dry)  done     12,000          0     2             0        3
        "#]]
        .assert_eq(&table);
        assert!(table.lines().all(|line| line.chars().count() <= 80));
    }
}
