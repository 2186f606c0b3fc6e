//! `weft dead-letters`: deliveries that failed for good.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::admin::views::{AttemptView, EventView, LetterDetail, LetterView, List, Payload};
use crate::cli::{DeadLetters, DeadLettersArgs, Output};
use crate::commands::api::ask;
use crate::commands::describe::encoded;
use crate::commands::get::{fields, or};
use crate::exit::{Exit, Failure};
use crate::table::Align::{Left, Right};
use crate::table::{Table, count};
use crate::{json, out};

/// How many lines of data or of an answer are printed.
const LINES_MAX: usize = 200;

/// Lists, or shows one.
pub(crate) fn run(args: &DeadLettersArgs) -> Result<(), Failure> {
    match &args.command {
        DeadLetters::List {
            trigger,
            limit,
            before,
            admin,
        } => {
            let mut path = format!("/api/v1/dead-letters?limit={limit}");
            if let Some(trigger) = trigger {
                path.push_str(&format!("&trigger={}", encoded(trigger)));
            }
            if let Some(before) = before {
                path.push_str(&format!("&before={before}"));
            }
            let list = ask::<List<LetterView>>(admin, &path)?;
            list.print(admin.output, |list| letters(&list.items))?;
            if admin.output == Output::Table
                && list.value.items.len() == *limit as usize
                && let Some(last) = list.value.items.last()
            {
                out::note(format_args!("there may be more: --before {}", last.id));
            }
            Ok(())
        }
        DeadLetters::Show { id, data, admin } => {
            let letter = ask::<LetterDetail>(admin, &format!("/api/v1/dead-letters/{id}"))?;
            if *data {
                return payload(&letter.value);
            }
            letter.print(admin.output, show)
        }
    }
}

/// Prints the event's data alone.
fn payload(letter: &LetterDetail) -> Result<(), Failure> {
    let Some(stored) = &letter.stored else {
        let why = letter.event_lost.as_deref().unwrap_or("it is gone");
        return Err(Failure::new(
            Exit::NotFound,
            format!("the event can't be shown: {why}"),
        ));
    };
    out::bytes(&bytes(&stored.event.data)?);
    Ok(())
}

fn bytes(payload: &Payload) -> Result<Vec<u8>, Failure> {
    match (&payload.text, &payload.base64) {
        (Some(text), _) => Ok(text.clone().into_bytes()),
        (None, Some(text)) => STANDARD.decode(text).map_err(Failure::fault),
        (None, None) => Ok(Vec::new()),
    }
}

fn letters(letters: &[LetterView]) -> String {
    let mut table = Table::new(&[
        ("ID", Right),
        ("DIED", Left),
        ("TRIGGER", Left),
        ("CAUSE", Left),
        ("ATTEMPTS", Right),
        ("LAST", Left),
        ("TYPE", Left),
        ("EVENT", Left),
    ]);
    for letter in letters {
        let (ty, id) = match &letter.event {
            Some(event) => (event.ty.clone(), event.id.clone()),
            None => ("?".into(), "unreadable".into()),
        };
        let last = match (letter.last_status, &letter.last_error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => error.clone(),
            (None, None) => "-".into(),
        };
        table.row([
            letter.id.to_string(),
            letter.at.clone(),
            letter.trigger.clone(),
            letter.cause.clone(),
            count(letter.attempts as u64),
            last,
            ty,
            id,
        ]);
    }
    or(&table, "no dead letters")
}

fn show(detail: &LetterDetail) -> String {
    let letter = &detail.letter;
    let mut rows = vec![
        ("Dead letter", letter.id.to_string()),
        ("Cause", cause(&letter.cause)),
        ("Died", letter.at.clone()),
        ("Trigger", letter.trigger.clone()),
        ("Broker", letter.broker.clone()),
        ("Destination", letter.destination.clone()),
    ];
    if letter.forwarded {
        rows.push(("Forwarded", "to the trigger's dead letter sink too".into()));
    }
    let mut text = fields(&rows, "");
    match (&detail.stored, &detail.event_lost) {
        (Some(stored), _) => {
            text.push_str(&format!(
                "\nEvent, stored {} at {}, {}\n",
                stored.arrived, stored.position, stored.event.mode
            ));
            text.push_str(&event(&stored.event));
        }
        (None, Some(why)) => text.push_str(&format!("\nEvent can't be shown: {why}\n")),
        (None, None) => {}
    }
    text.push_str("\nAttempts\n");
    for attempt in &detail.history {
        text.push_str(&line(attempt));
    }
    if detail.history.is_empty() {
        text.push_str("  none reached the network\n");
    }
    if let Some(reply) = &detail.reply {
        text.push_str("\nReply that could not be stored\n");
        text.push_str(&event(reply));
    }
    text
}

/// What a cause means.
fn cause(word: &str) -> String {
    let meaning = match word {
        "exhausted" => "all attempts that its terms allow have failed",
        "refused" => "the destination refused it for good",
        "expired" => "it grew older than its terms allow",
        "loop" => "its replies went round more often than the hop limit allows",
        "reply" => "its reply was refused by the broker for good",
        "poison" => "the process ended twice while handling it",
        "blocked" => "an earlier event of its key is in the dead letters",
        "transform" => "a transform failed on it",
        "quota" => "its payload gave way to the storage quota",
        _ => return word.to_owned(),
    };
    format!("{word}: {meaning}")
}

fn event(event: &EventView) -> String {
    let rows: Vec<(&str, String)> = event
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let mut text = fields(&rows, "  ");
    if let Ok(data) = bytes(&event.data)
        && !data.is_empty()
    {
        text.push_str(&format!("  data, {} bytes\n", data.len()));
        text.push_str(&json::readable(&data, "    ", LINES_MAX));
        text.push('\n');
    }
    text
}

fn line(attempt: &AttemptView) -> String {
    let status = attempt
        .status
        .map_or(attempt.verdict.clone(), |status| status.to_string());
    let mut text = format!(
        "  {:>3}  {}  {:>6} ms  {status}",
        attempt.number, attempt.started, attempt.latency_ms
    );
    if !attempt.reason.is_empty() {
        text.push_str(&format!("  {}", attempt.reason));
    }
    text.push('\n');
    if let Ok(body) = bytes(&attempt.body)
        && !body.is_empty()
    {
        text.push_str(&json::readable(&body, "         ", LINES_MAX));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;

    use super::*;
    use crate::admin::views::{EventHead, StoredEvent};

    fn letter() -> LetterView {
        LetterView {
            id: 1042,
            trigger: "shop/billing".into(),
            broker: "shop/default".into(),
            destination: "http://127.0.0.1:8081/".into(),
            cause: "exhausted".into(),
            at: "2026-01-01T00:00:09.000Z".into(),
            attempts: 2,
            last_status: None,
            last_error: Some("connection refused by 127.0.0.1:8081".into()),
            forwarded: true,
            event: Some(EventHead {
                id: "o-1".into(),
                source: "/shop".into(),
                ty: "order.placed".into(),
            }),
        }
    }

    #[test]
    fn dead_letters_are_a_table() {
        let mut lost = letter();
        (lost.event, lost.last_status) = (None, Some(503));
        expect![[r#"
              ID  DIED                      TRIGGER       CAUSE      ATTEMPTS  LAST                                  TYPE          EVENT
            1042  2026-01-01T00:00:09.000Z  shop/billing  exhausted         2  connection refused by 127.0.0.1:8081  order.placed  o-1
            1042  2026-01-01T00:00:09.000Z  shop/billing  exhausted         2  503                                   ?             unreadable
        "#]].assert_eq(&letters(&[letter(), lost]));
    }

    #[test]
    fn a_dead_letter_shows_payload_and_every_attempt() {
        let attempt = |number, status, reason: &str, body: &str| AttemptView {
            number,
            started: "2026-01-01T00:00:01.000Z".into(),
            latency_ms: 12,
            verdict: if status == 0 {
                "unreachable".into()
            } else {
                "answered".into()
            },
            status: (status != 0).then_some(status),
            reason: reason.into(),
            body: Payload {
                text: (!body.is_empty()).then(|| body.into()),
                base64: None,
            },
        };
        let detail = LetterDetail {
            letter: letter(),
            stored: Some(StoredEvent {
                position: 1000,
                arrived: "2026-01-01T00:00:00.000Z".into(),
                hops: 0,
                event: EventView {
                    mode: "binary".into(),
                    attributes: BTreeMap::from([
                        ("id".into(), "o-1".into()),
                        ("type".into(), "order.placed".into()),
                    ]),
                    data: Payload {
                        text: Some(r#"{"amount":1e400}"#.into()),
                        base64: None,
                    },
                },
            }),
            event_lost: None,
            history: vec![
                attempt(1, 503, "", "try later"),
                attempt(2, 0, "connection refused by 127.0.0.1:8081", ""),
            ],
            reply: None,
        };
        expect![[r#"
            Dead letter  1042
            Cause        exhausted: all attempts that its terms allow have failed
            Died         2026-01-01T00:00:09.000Z
            Trigger      shop/billing
            Broker       shop/default
            Destination  http://127.0.0.1:8081/
            Forwarded    to the trigger's dead letter sink too

            Event, stored 2026-01-01T00:00:00.000Z at 1000, binary
              id    o-1
              type  order.placed
              data, 16 bytes
                {
                  "amount": 1e400
                }

            Attempts
                1  2026-01-01T00:00:01.000Z      12 ms  503
                     try later
                2  2026-01-01T00:00:01.000Z      12 ms  unreachable  connection refused by 127.0.0.1:8081
        "#]].assert_eq(&show(&detail));
    }
}
