//! `weft dead-letters`: deliveries that failed for good, and what can be done about them.

mod export;
pub(crate) mod job;
mod list;
mod redrive;
mod show;

use crate::admin::letters::Filter;
use crate::cli::DeadLettersArgs;
use crate::cli::letters::{DeadLetters, FilterArgs, LetterState};
use crate::commands::describe::encoded;
use crate::exit::Failure;

/// Does one of them.
pub(crate) fn run(args: &DeadLettersArgs) -> Result<(), Failure> {
    match &args.command {
        DeadLetters::List(args) => list::run(args),
        DeadLetters::Show(args) => show::run(args),
        DeadLetters::Redrive(args) => redrive::redrive(args),
        DeadLetters::Discard(args) => redrive::discard(args),
        DeadLetters::Export(args) => export::run(args),
        DeadLetters::Stop(args) => job::stop(args),
    }
}

/// The filter in the API's words.
fn filter(args: &FilterArgs) -> Filter {
    let millis = |span: crate::span::Span| format!("{}ms", span.0.as_millis());
    Filter {
        trigger: args.trigger.clone(),
        reason: args.reason.clone(),
        state: None,
        status: args.status,
        ty: args.ty.clone(),
        older_than: args.older_than.map(millis),
        newer_than: args.newer_than.map(millis),
        contains: args.contains.clone(),
    }
}

/// The same as a query string, ending in `&` unless it is empty.
fn query(args: &FilterArgs, state: LetterState) -> String {
    let state = match state {
        LetterState::Kept => None,
        LetterState::Redriven => Some("redriven".to_owned()),
        LetterState::Discarded => Some("discarded".to_owned()),
        LetterState::All => Some("all".to_owned()),
    };
    let Filter {
        trigger,
        reason,
        status,
        ty,
        older_than,
        newer_than,
        contains,
        ..
    } = filter(args);
    let pairs = [
        ("trigger", trigger),
        ("reason", reason),
        ("state", state),
        ("status", status.map(|status| status.to_string())),
        ("type", ty),
        ("olderThan", older_than),
        ("newerThan", newer_than),
        ("contains", contains),
    ];
    let given = pairs.into_iter();
    given
        .filter_map(|(name, value)| Some(format!("{name}={}&", encoded(&value?))))
        .collect()
}
