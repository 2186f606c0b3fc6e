//! `weft dead-letters list`: a table that fits 80 columns.

use crate::admin::letters::LettersView;
use crate::admin::views::LetterView;
use crate::cli::Output;
use crate::cli::letters::ListArgs;
use crate::commands::api::ask;
use crate::commands::get::or;
use crate::exit::Failure;
use crate::out;
use crate::table::Align::{Left, Right};
use crate::table::{Table, count, many, span};

/// The reason of what a source could make no event of.
pub(super) const REJECTED: &str = "rejected";
/// How wide a terminal is taken to be.
const COLUMNS: usize = 80;
/// How many characters of a trigger's name are shown.
const TRIGGER_CHARS: usize = 20;
/// What the other columns take with their gaps, but for the id's and the trigger's cells.
const OTHER_CHARS: usize = 2 + 9 + 2 + 11 + 7 + 11;
/// How many characters of the event's type are shown at the least.
const TYPE_CHARS_MIN: usize = 12;

/// Lists.
pub(super) fn run(args: &ListArgs) -> Result<(), Failure> {
    let filter = super::query(&args.filter, args.state);
    let mut path = format!("/api/v1/dead-letters?{filter}limit={}", args.limit);
    if let Some(before) = args.before {
        path.push_str(&format!("&before={before}"));
    }
    let list = ask::<LettersView>(&args.admin, &path)?;
    list.print(args.admin.output, |list| letters(&list.items))?;
    if args.admin.output == Output::Table {
        out::note(totals(&list.value));
    }
    Ok(())
}

fn letters(letters: &[LetterView]) -> String {
    let mut table = Table::new(&[
        ("ID", Right),
        ("DIED", Left),
        ("TRIGGER", Left),
        ("REASON", Left),
        ("TRIES", Right),
        ("LAST", Left),
        ("TYPE", Left),
    ]);
    let width = |cells: fn(&LetterView) -> usize| letters.iter().map(cells).max().unwrap_or(0);
    let ids = width(|letter| letter.id.to_string().len()).max(2);
    let triggers = width(|letter| letter.trigger.chars().count().min(TRIGGER_CHARS)).max(7);
    let rest = COLUMNS.saturating_sub(ids + triggers + OTHER_CHARS);
    for letter in letters {
        let ty = match &letter.event {
            Some(event) => end_of(&event.ty, rest.max(TYPE_CHARS_MIN)),
            None if letter.cause == REJECTED => "no event".into(),
            None => "unreadable".into(),
        };
        table.row([
            letter.id.to_string(),
            format!("{} ago", first_unit(letter.age_seconds)),
            short(&letter.trigger, TRIGGER_CHARS),
            letter.cause.clone(),
            count(u64::from(letter.attempts)),
            last(letter),
            ty,
        ]);
    }
    or(&table, "no dead letters")
}

/// The last attempt in a word.
fn last(letter: &LetterView) -> String {
    match (letter.last_status, &letter.last_error) {
        (Some(status), _) => status.to_string(),
        (None, _) if letter.cause == REJECTED => "-".into(),
        (None, Some(_)) => "no answer".into(),
        (None, None) if letter.attempts > 0 => "timed out".into(),
        (None, None) => "-".into(),
    }
}

/// `2h` of `2h 5m`.
fn first_unit(seconds: f64) -> String {
    let whole = span(seconds.trunc());
    match whole.split_once(' ') {
        Some((first, _)) => first.to_owned(),
        None => whole.replace(".0s", "s"),
    }
}

/// The beginning of a text that is too long.
fn short(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(chars - 1).collect();
    format!("{beginning}…")
}

/// The end of a text that is too long: it tells types apart.
fn end_of(text: &str, chars: usize) -> String {
    let length = text.chars().count();
    if length <= chars {
        return text.to_owned();
    }
    let end: String = text.chars().skip(length + 1 - chars).collect();
    format!("…{end}")
}

/// How many there are, and how to go on.
fn totals(list: &LettersView) -> String {
    let totals = &list.totals;
    let mut text = format!(
        "{} shown; in all {} kept, {} redriven, {} discarded",
        many(list.items.len() as u64, "letter", "letters"),
        count(totals.kept),
        count(totals.redriven),
        count(totals.discarded)
    );
    if let Some(next) = list.next {
        text.push_str(&format!(
            "\n{} looked at; there may be more: --before {next}",
            count(list.read as u64)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::admin::letters::Totals;
    use crate::admin::views::EventHead;

    fn letter() -> LetterView {
        LetterView {
            id: 1_042_123,
            trigger: "shop/billing".into(),
            broker: "shop/default".into(),
            destination: "http://127.0.0.1:8081/".into(),
            cause: "exhausted".into(),
            at: "2026-01-01T00:00:09.000Z".into(),
            attempts: 11,
            last_status: None,
            last_error: Some("connection refused by 127.0.0.1:8081".into()),
            forwarded: true,
            state: "kept".into(),
            state_since: None,
            age_seconds: 4_320.0,
            event: Some(EventHead {
                id: "o-1".into(),
                source: "/shop".into(),
                ty: "com.example.order.placed".into(),
            }),
        }
    }

    #[test]
    fn dead_letters_are_a_table_of_80_columns() {
        let mut lost = letter();
        (lost.event, lost.last_status, lost.age_seconds) = (None, Some(503), 4.2);
        let mut long = letter();
        long.trigger = "warehouse/a-trigger-with-a-long-name".into();
        let table = letters(&[letter(), lost]);
        expect![[r#"
                 ID  DIED    TRIGGER       REASON     TRIES  LAST       TYPE
            1042123  1h ago  shop/billing  exhausted     11  no answer  …ample.order.placed
            1042123  4s ago  shop/billing  exhausted     11  503        unreadable
        "#]]
        .assert_eq(&table);
        assert!(
            table.lines().all(|line| line.chars().count() <= 80),
            "{table}"
        );
        assert!(letters(&[long]).contains("warehouse/a-trigger…"));
        assert_eq!(letters(&[]), "no dead letters\n");
    }

    #[test]
    fn the_totals_say_how_to_go_on() {
        let list = LettersView {
            items: vec![letter()],
            next: Some(1_042_124),
            read: 2000,
            totals: Totals {
                kept: 12_000,
                redriven: 3,
                discarded: 1,
            },
        };
        expect![[r#"
            1 letter shown; in all 12,000 kept, 3 redriven, 1 discarded
            2,000 looked at; there may be more: --before 1042124"#]]
        .assert_eq(&totals(&list));
    }
}
