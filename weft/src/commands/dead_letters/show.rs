//! `weft dead-letters show`: one letter in full, its event, every attempt.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::admin::views::{AttemptView, EventView, LetterDetail, Payload};
use crate::cli::letters::ShowArgs;
use crate::commands::api::ask;
use crate::commands::get::fields;
use crate::exit::{Exit, Failure};
use crate::{json, out};

use super::list::REJECTED;

/// How many lines of data or of an answer are printed.
const LINES_MAX: usize = 200;
/// How many bytes of data that isn't text are printed.
const HEX_BYTES_MAX: usize = 256;
/// Of those, in one line.
const HEX_BYTES_A_LINE: usize = 16;

/// Shows one.
pub(super) fn run(args: &ShowArgs) -> Result<(), Failure> {
    let letter = ask::<LetterDetail>(&args.admin, &format!("/api/v1/dead-letters/{}", args.id))?;
    if args.data {
        return payload(&letter.value);
    }
    letter.print(args.admin.output, show)
}

/// Prints the event's data alone.
fn payload(letter: &LetterDetail) -> Result<(), Failure> {
    if let Some(rejected) = &letter.rejected {
        out::bytes(&bytes(&rejected.value)?);
        return Ok(());
    }
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

fn show(detail: &LetterDetail) -> String {
    if detail.letter.cause == REJECTED {
        return rejected(detail);
    }
    let letter = &detail.letter;
    let mut rows = vec![
        ("Dead letter", letter.id.to_string()),
        ("Reason", cause(&letter.cause)),
        ("Died", letter.at.clone()),
        ("Trigger", letter.trigger.clone()),
        ("Broker", letter.broker.clone()),
        ("Destination", letter.destination.clone()),
    ];
    if let Some(since) = &letter.state_since {
        rows.push(("State", format!("{} {since}", letter.state)));
    }
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
    let mut next = 1;
    for attempt in &detail.history {
        if attempt.number > next {
            text.push_str(&format!(
                "  {} more, not kept\n",
                crate::table::count(u64::from(attempt.number - next))
            ));
        }
        text.push_str(&line(attempt));
        next = attempt.number + 1;
    }
    if detail.history.is_empty() {
        text.push_str("  none reached the network\n");
    }
    if let Some(reply) = &detail.reply {
        text.push_str("\nReply that could not be stored\n");
        text.push_str(&event(reply));
    }
    if letter.state == "kept" && detail.stored.is_some() {
        text.push_str(&format!(
            "\nOnce what was wrong is mended: weft dead-letters redrive {}\n",
            letter.id
        ));
    }
    text
}

/// What a source could make no event of: no trigger, no attempts, the bytes as they came.
fn rejected(detail: &LetterDetail) -> String {
    let letter = &detail.letter;
    let mut rows = vec![
        ("Dead letter", letter.id.to_string()),
        ("Reason", cause(&letter.cause)),
        ("Came", letter.at.clone()),
        ("Source", letter.trigger.clone()),
    ];
    if let Some(since) = &letter.state_since {
        rows.push(("State", format!("{} {since}", letter.state)));
    }
    let Some(came) = &detail.rejected else {
        let why = detail.event_lost.as_deref().unwrap_or("it is gone");
        return format!("{}\nWhat came can't be shown: {why}\n", fields(&rows, ""));
    };
    rows.push(("Broker", letter.broker.clone()));
    rows.push(("Origin", came.origin.clone()));
    rows.push(("Why", came.why.clone()));
    let mut text = fields(&rows, "");
    text.push_str("\nWhat came\n");
    let mut beside: Vec<(&str, String)> = Vec::new();
    for header in &came.headers {
        beside.push((&header.name, flat(&header.value)));
    }
    let key = flat(&came.key);
    if !key.is_empty() {
        beside.push(("key", key));
    }
    text.push_str(&fields(&beside, "  "));
    match bytes(&came.value) {
        Ok(value) if !value.is_empty() => {
            text.push_str(&format!("  {} bytes\n", value.len()));
            text.push_str(&readable(&value, "    "));
            text.push('\n');
        }
        _ => text.push_str("  no bytes\n"),
    }
    if came.left_out > 0 {
        let left_out = crate::table::count(came.left_out);
        text.push_str(&format!("  {left_out} more bytes, not kept\n"));
    }
    if letter.state == "kept" {
        text.push_str(&format!(
            "\nIt can't be redriven; once seen to: weft dead-letters discard {}\n",
            letter.id
        ));
    }
    text
}

/// A short value on one line.
fn flat(value: &Payload) -> String {
    let bytes = bytes(value).unwrap_or_default();
    readable(&bytes, "").replace('\n', " ")
}

/// What a cause means.
fn cause(word: &str) -> String {
    let meaning = match word {
        "exhausted" => "all attempts that its terms allow have failed",
        "refused" => "the destination refused it for good",
        "expired" => "it grew older than its terms allow",
        "loop" => "its replies went round more often than the hop limit allows",
        "reply" => "its reply was refused by the broker for good",
        "poison" => "it could not be handled, the last attempt says why",
        "blocked" => "an earlier event of its key is in the dead letters",
        "transform" => "a transform failed on it",
        "rejected" => "its source could make no event of it",
        "quota" => "its trigger held more than its share of a full storage",
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
        text.push_str(&readable(&data, "    "));
        text.push('\n');
    }
    text
}

/// JSON indented, text as it is, the first bytes of anything else in hexadecimal.
fn readable(data: &[u8], margin: &str) -> String {
    let is_text = std::str::from_utf8(data).is_ok_and(|text| {
        text.chars()
            .all(|char| !char.is_control() || char.is_whitespace())
    });
    if is_text {
        return json::readable(data, margin, LINES_MAX);
    }
    let mut lines: Vec<String> = data[..data.len().min(HEX_BYTES_MAX)]
        .chunks(HEX_BYTES_A_LINE)
        .map(|chunk| {
            let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{margin}{}", hex.join(" "))
        })
        .collect();
    if data.len() > HEX_BYTES_MAX {
        lines.push(format!(
            "{margin}... {} more bytes",
            data.len() - HEX_BYTES_MAX
        ));
    }
    lines.join("\n")
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
        text.push_str(&readable(&body, "         "));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;

    use super::*;
    use crate::admin::views::{EventHead, HeaderView, LetterView, RejectedView, StoredEvent};

    fn letter() -> LetterView {
        LetterView {
            id: 1042,
            trigger: "shop/billing".into(),
            broker: "shop/default".into(),
            destination: "http://127.0.0.1:8081/".into(),
            cause: "exhausted".into(),
            at: "2026-01-01T00:00:09.000Z".into(),
            attempts: 5_002,
            last_status: None,
            last_error: Some("connection refused by 127.0.0.1:8081".into()),
            forwarded: true,
            state: "kept".into(),
            state_since: None,
            age_seconds: 4_320.0,
            event: Some(EventHead {
                id: "o-1".into(),
                source: "/shop".into(),
                ty: "order.placed".into(),
            }),
        }
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
                attempt(5_002, 0, "connection refused by 127.0.0.1:8081", ""),
            ],
            reply: None,
            rejected: None,
        };
        expect![[r#"
            Dead letter  1042
            Reason       exhausted: all attempts that its terms allow have failed
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
              5,000 more, not kept
              5002  2026-01-01T00:00:01.000Z      12 ms  unreachable  connection refused by 127.0.0.1:8081

            Once what was wrong is mended: weft dead-letters redrive 1042
        "#]].assert_eq(&show(&detail));
    }

    #[test]
    fn what_was_rejected_shows_the_bytes_that_came() {
        let text = |text: &str| Payload {
            text: Some(text.into()),
            base64: None,
        };
        let mut detail = LetterDetail {
            letter: LetterView {
                trigger: "shop/kafka".into(),
                destination: String::new(),
                cause: REJECTED.into(),
                attempts: 0,
                forwarded: false,
                event: None,
                ..letter()
            },
            stored: None,
            event_lost: Some("its source could make no event of it".into()),
            history: Vec::new(),
            reply: None,
            rejected: Some(RejectedView {
                why: "it is cut short".into(),
                origin: "orders/0/18".into(),
                content_type: Some("application/json".into()),
                headers: vec![HeaderView {
                    name: "content-type".into(),
                    value: text("application/json"),
                }],
                key: text("k-1"),
                value: Payload {
                    text: None,
                    base64: Some("AP8H".into()),
                },
                left_out: 1_000,
            }),
        };
        expect![[r#"
            Dead letter  1042
            Reason       rejected: its source could make no event of it
            Came         2026-01-01T00:00:09.000Z
            Source       shop/kafka
            Broker       shop/default
            Origin       orders/0/18
            Why          it is cut short

            What came
              content-type  application/json
              key           k-1
              3 bytes
                00 ff 07
              1,000 more bytes, not kept

            It can't be redriven; once seen to: weft dead-letters discard 1042
        "#]]
        .assert_eq(&show(&detail));
        detail.rejected = None;
        detail.event_lost = Some("its payload gave way to the storage quota".into());
        expect![[r#"
            Dead letter  1042
            Reason       rejected: its source could make no event of it
            Came         2026-01-01T00:00:09.000Z
            Source       shop/kafka

            What came can't be shown: its payload gave way to the storage quota
        "#]]
        .assert_eq(&show(&detail));
    }

    #[test]
    fn what_is_no_text_is_shown_in_hexadecimal() {
        assert_eq!(readable(b"ok", " "), " ok");
        assert_eq!(readable(&[0, 0xff, 7], " "), " 00 ff 07");
        let long = readable(&[1; 300], "");
        assert!(long.ends_with("... 44 more bytes"), "{long}");
    }
}
