//! `weft pause` and `weft resume`: hold back what is owed, and let it go on.

use crate::admin::operate::{Pause, PausedView, Resume, ResumedView};
use crate::admin::views::{PausedState, TriggerView};
use crate::cli::{AdminArgs, Pausable, PauseArgs, ResumeArgs};
use crate::commands::api::{Said, tell};
use crate::commands::confirm::confirm;
use crate::commands::describe::encoded;
use crate::exit::Failure;
use crate::table::{count, span};

/// Pauses.
pub(crate) fn pause(args: &PauseArgs) -> Result<(), Failure> {
    let (path, destination) = path(args.kind, &args.name, "pause");
    let said = tell::<PausedView>(&args.admin, &path, &Pause { destination })?;
    let what = what(args.kind, &args.name);
    said.print(args.admin.output, |view| match view.already {
        true => format!("{what} is paused since {}\n", view.since),
        false => format!(
            "{what} is paused: events go on being owed; `weft resume {} {}` lets them go\n",
            word(args.kind),
            args.name
        ),
    })
}

/// Resumes.
pub(crate) fn resume(args: &ResumeArgs) -> Result<(), Failure> {
    let ask = |dry_run: bool| resumed(&args.admin, args, dry_run);
    if args.from != "backlog" && !args.yes {
        let dropped = ask(true)?.value.dropped;
        if dropped > 0 {
            let question = format!(
                "{} owed to {} would be cancelled and never delivered",
                count(dropped),
                what(args.kind, &args.name)
            );
            confirm(&question, args.yes)?;
        }
    }
    let what = what(args.kind, &args.name);
    ask(false)?.print(args.admin.output, |view| {
        let after = span(view.paused_seconds);
        match view.dropped {
            0 => format!("{what} goes on after {after}\n"),
            dropped => format!(
                "{what} goes on after {after}; {} owed were cancelled\n",
                count(dropped)
            ),
        }
    })
}

fn resumed(
    admin: &AdminArgs,
    args: &ResumeArgs,
    dry_run: bool,
) -> Result<Said<ResumedView>, Failure> {
    let (path, destination) = path(args.kind, &args.name, "resume");
    let resume = Resume {
        destination,
        from: Some(args.from.clone()),
        dry_run,
    };
    tell(admin, &path, &resume)
}

fn path(kind: Pausable, name: &str, verb: &str) -> (String, Option<String>) {
    match kind {
        Pausable::Destination => (
            format!("/api/v1/destinations/{verb}"),
            Some(name.to_owned()),
        ),
        Pausable::Trigger => {
            let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
            let (namespace, name) = (encoded(namespace), encoded(name));
            (format!("/api/v1/triggers/{namespace}/{name}/{verb}"), None)
        }
    }
}

fn word(kind: Pausable) -> &'static str {
    match kind {
        Pausable::Trigger => "trigger",
        Pausable::Destination => "destination",
    }
}

fn what(kind: Pausable, name: &str) -> String {
    format!("{} {name}", word(kind))
}

/// Since when a trigger is paused, by what, and what lets it go on.
pub(crate) fn standing(trigger: &TriggerView, paused: &PausedState) -> String {
    let since = &paused.since;
    let name = format!("{}/{}", trigger.namespace, trigger.name);
    match (&paused.destination, paused.by.as_str()) {
        (None, "command") => format!("{since}, by command; `weft resume trigger {name}`"),
        (None, _) => format!("{since}, by its annotation weft.dev/paused"),
        (Some(destination), "command") => {
            let name = destination.strip_prefix("sink:").unwrap_or(destination);
            format!("{since}, with its destination; `weft resume destination {name}`")
        }
        (Some(destination), _) => {
            format!("{since}, with its destination {destination}, by the Sink's spec.paused")
        }
    }
}
