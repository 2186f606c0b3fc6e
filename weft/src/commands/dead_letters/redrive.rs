//! `weft dead-letters redrive` and `discard`: first how many there are, then the question, then the
//! job at the node.

use crate::admin::letters::{Filter, JobAsked, JobView};
use crate::cli::letters::{DiscardArgs, FilterArgs, RedriveArgs};
use crate::cli::{AdminArgs, Output};
use crate::commands::api::{Said, tell};
use crate::commands::confirm::confirm;
use crate::exit::{Exit, Failure};
use crate::out;
use crate::table::many;

use super::job::{follow, summary};

/// What is to be done, and how it is spoken of.
struct Deed<'a> {
    path: &'static str,
    /// `redriven`
    verb: &'static str,
    asked: JobAsked,
    admin: &'a AdminArgs,
    dry_run: bool,
    wait: bool,
    yes: bool,
}

/// Redrives.
pub(super) fn redrive(args: &RedriveArgs) -> Result<(), Failure> {
    let asked = JobAsked {
        to_uri: args.to_uri.clone(),
        rate: args.rate,
        ..which(&args.ids, &args.filter)?
    };
    go(Deed {
        path: "/api/v1/dead-letters/redrive",
        verb: "redriven",
        asked,
        admin: &args.admin,
        dry_run: args.dry_run,
        wait: args.wait,
        yes: args.yes,
    })
}

/// Discards.
pub(super) fn discard(args: &DiscardArgs) -> Result<(), Failure> {
    go(Deed {
        path: "/api/v1/dead-letters/discard",
        verb: "discarded",
        asked: which(&args.ids, &args.filter)?,
        admin: &args.admin,
        dry_run: args.dry_run,
        wait: false,
        yes: args.yes,
    })
}

fn which(ids: &[u64], filter: &FilterArgs) -> Result<JobAsked, Failure> {
    if !ids.is_empty() && !filter.is_empty() {
        let failure = Failure::new(Exit::Usage, "ids and filters exclude each other");
        return Err(failure.cure("name ids, or filter, not both"));
    }
    let filter = match ids.is_empty() {
        true => super::filter(filter),
        false => Filter::default(),
    };
    Ok(JobAsked {
        ids: ids.to_vec(),
        filter,
        ..JobAsked::default()
    })
}

fn go(mut deed: Deed<'_>) -> Result<(), Failure> {
    let Deed {
        path, verb, admin, ..
    } = deed;
    deed.asked.dry_run = true;
    let begun = tell::<JobView>(admin, path, &deed.asked)?;
    let would = follow(admin, begun.value.id, 0, false)?;
    if deed.dry_run || would.value.done == 0 {
        return end(&would, admin.output, verb, false);
    }
    let letters = many(would.value.done, "dead letter", "dead letters");
    let to = match &deed.asked.to_uri {
        Some(uri) => format!(" to {uri}"),
        None => String::new(),
    };
    let wish = would.value.refused;
    let but = match wish {
        0 => String::new(),
        _ => format!(" ({} can't be)", many(wish, "other", "others")),
    };
    confirm(&format!("{letters} would be {verb}{to}{but}"), deed.yes)?;
    deed.asked.dry_run = false;
    let begun = tell::<JobView>(admin, path, &deed.asked)?;
    let id = begun.value.id;
    out::note(format_args!(
        "job {id} at the node; it goes on without this command, `weft dead-letters stop {id}` stops it"
    ));
    let ended = follow(admin, id, would.value.done, deed.wait)?;
    end(&ended, admin.output, verb, deed.wait)
}

/// Prints what came of it; letters that were refused show in the exit code, and where it was waited
/// for, those that are dead again.
fn end(job: &Said<JobView>, output: Output, verb: &str, waited: bool) -> Result<(), Failure> {
    job.print(output, |job| summary(job, verb))?;
    match exit(&job.value, waited) {
        Exit::Ok => Ok(()),
        exit => Err(Failure::said(exit)),
    }
}

fn exit(job: &JobView, waited: bool) -> Exit {
    match (&job.error, job.refused, job.dead) {
        (Some(_), ..) => Exit::Fault,
        (None, 1.., _) => Exit::Refused,
        (None, 0, 1..) if waited => Exit::DeadAgain,
        (None, 0, _) => Exit::Ok,
    }
}
