//! `weft describe`: one trigger in full.

use crate::admin::views::{DestinationView, TermsView, TriggerDetail, TriggerView};
use crate::cli::{DescribeArgs, Kind};
use crate::commands::api::ask;
use crate::commands::get::{books, fields, state};
use crate::exit::Failure;
use crate::table::{count, many, span};

/// Shows what was asked for.
pub(crate) fn run(args: &DescribeArgs) -> Result<(), Failure> {
    let Kind::Trigger = args.kind;
    let (namespace, name) = match args.name.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => (args.namespace.as_str(), args.name.as_str()),
    };
    let path = format!("/api/v1/triggers/{}/{}", encoded(namespace), encoded(name));
    ask::<TriggerDetail>(&args.admin, &path)?.print(args.admin.output, trigger)
}

/// A path's segment: everything but what names are made of is percent-encoded.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                out.push(char::from(byte))
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Where the trigger says that it begins.
fn start(resource: &serde_json::Value) -> Option<String> {
    let start = resource.pointer("/metadata/annotations/weft.dev~1start")?;
    Some(format!(
        "{}; it counted when the trigger was made, `weft replay` fetches more",
        start.as_str()?
    ))
}

/// What an ordered trigger holds back, if anything.
fn keys(blocked: u64, held: u64) -> Option<String> {
    if blocked == 0 && held == 0 {
        return None;
    }
    let keys = if blocked == 1 { "key" } else { "keys" };
    let events = if held == 1 { "event" } else { "events" };
    let (blocked, held) = (count(blocked), count(held));
    Some(format!(
        "{blocked} {keys} blocked, {held} {events} held behind another of their key"
    ))
}

/// What holds its deliveries back at its destination, if anything does.
fn health(destination: &DestinationView) -> Option<String> {
    let mut said = match (&*destination.breaker, &destination.open_since) {
        ("open" | "half-open", Some(since)) => {
            let next = match &destination.next_probe {
                Some(at) => format!("next probe at {at}"),
                None => "a probe is in the air".into(),
            };
            format!("breaker open since {since}, {next}")
        }
        _ => match &destination.pushed_back_until {
            Some(until) => format!("asked by Retry-After to be left alone until {until}"),
            None if destination.share < 1.0 => {
                format!(
                    "warming up, at {:.0} % of full speed",
                    destination.share * 100.0
                )
            }
            None => return None,
        },
    };
    if let Some(error) = &destination.last_error {
        said.push_str(&format!("; last error: {error}"));
    }
    Some(said)
}

/// The state, and what it waits for if it isn't ready.
fn state_in_full(view: &TriggerView) -> String {
    match &view.message {
        Some(message) => format!("{}: {message}", state(view)),
        None => state(view),
    }
}

fn trigger(detail: &TriggerDetail) -> String {
    let view = &detail.view;
    let mut rows = vec![
        ("Trigger", format!("{}/{}", view.namespace, view.name)),
        ("UID", view.uid.clone()),
        ("State", state_in_full(view)),
        ("Broker", view.broker.clone()),
        ("Subscriber", view.subscriber.clone()),
    ];
    if let Some(sink) = &view.dead_letter_sink {
        rows.push(("Dead letters go to", sink.clone()));
    }
    if let Some(start) = start(&detail.resource) {
        rows.push(("Start", start));
    }
    if let Some(since) = &view.detached {
        rows.push((
            "File gone since",
            format!("{since}; what is owed waits 10 minutes for it"),
        ));
    }
    // One that isn't ready is held back like one that is paused: its state says why.
    if let (Some(paused), None) = (&view.paused, &view.reason) {
        rows.push((
            "Paused since",
            crate::commands::pause::standing(view, paused),
        ));
    }
    rows.push(("Books", books(&view.books)));
    for (cause, dead) in &view.books.dead {
        rows.push(("", format!("  {} dead: {cause}", count(*dead))));
    }
    if let Some(forwards) = &view.forward_books {
        rows.push(("Forwarded", books(forwards)));
    }
    let mut now = format!(
        "{} waiting, {} in flight, {} parked",
        count(view.waiting),
        count(u64::from(view.in_flight)),
        count(u64::from(view.parked))
    );
    if let Some(oldest) = view.oldest_owed_seconds {
        now.push_str(&format!(", the oldest {} old", span(oldest)));
    }
    rows.push(("Now", now));
    if let Some(health) = detail.destination.as_ref().and_then(health) {
        rows.push(("Destination", health));
    }
    if let Some(keys) = keys(view.keys_blocked, view.held) {
        rows.push(("Keys", keys));
    }
    rows.push((
        "Since start",
        format!(
            "{} attempts, {} failed; {} replies, {} ignored",
            count(view.attempts),
            count(view.attempts_failed),
            count(view.replies),
            count(view.replies_ignored)
        ),
    ));
    if view.suspects > 0 {
        let goes = many(view.suspects, "suspect goes", "suspects go");
        let why = "each may have ended the process before";
        rows.push(("Careful", format!("{goes} one at a time: {why}")));
    }
    if view.dead_letters > 0 {
        let name = format!("{}/{}", view.namespace, view.name);
        rows.push((
            "Dead letters",
            format!(
                "{}, see `weft dead-letters list --trigger {name}`",
                count(view.dead_letters)
            ),
        ));
    }
    let mut text = fields(&rows, "");
    text.push_str("\nTerms\n");
    text.push_str(&fields(&terms(&detail.terms), "  "));
    let mut written = |title: &str, resource| {
        text.push_str(&format!("\n{title}\n"));
        for line in serde_saphyr::to_string(resource)
            .unwrap_or_default()
            .lines()
        {
            text.push_str(&format!("  {line}\n"));
        }
    };
    written("As written", &detail.resource);
    for named in &detail.names {
        written("It names", named);
    }
    text
}

fn terms(terms: &TermsView) -> Vec<(&'static str, String)> {
    let seconds = |seconds: f64| format!("{seconds} s");
    let jitter = if terms.jitter {
        ", up to half as much again"
    } else {
        ""
    };
    let mut rows = vec![
        (
            "retry",
            match (terms.retry, terms.max_event_age_seconds) {
                (Some(retry), None) => format!("{retry} times after the first attempt"),
                (Some(retry), Some(age)) => format!(
                    "{retry} times after the first attempt, at most until the event is {} old",
                    span(age)
                ),
                (None, Some(age)) => format!("until the event is {} old", span(age)),
                (None, None) => "for ever".into(),
            },
        ),
        (
            "backoff",
            format!(
                "{}, from {} up to {}{jitter}",
                terms.backoff_policy,
                seconds(terms.backoff_delay_seconds),
                seconds(terms.backoff_max_seconds)
            ),
        ),
        ("timeout", seconds(terms.timeout_seconds)),
        (
            "retry-after",
            format!("heeded up to {}", seconds(terms.retry_after_max_seconds)),
        ),
        ("in flight", format!("at most {}", terms.max_in_flight)),
        ("replies", terms.replies.clone()),
        ("format", terms.format.clone()),
    ];
    if let Some(patience) = terms.patience_seconds {
        rows.insert(1, ("patience", format!("{} of failing", span(patience))));
    }
    let statuses = |statuses: &[u16]| {
        let texts: Vec<String> = statuses.iter().map(u16::to_string).collect();
        texts.join(", ")
    };
    if !terms.retry_on.is_empty() {
        rows.push(("retried too", statuses(&terms.retry_on)));
    }
    if !terms.retry_never.is_empty() {
        rows.push(("never retried", statuses(&terms.retry_never)));
    }
    if let Some(by) = &terms.ordered_by {
        let later = match terms.blocked_key.as_deref() {
            Some("deadLetter") => "later events of a key end with one that is dead",
            _ => "later events of a key wait for one that fails",
        };
        rows.push(("ordered by", format!("{by}; {later}")));
    }
    rows.push((
        "quota",
        match terms.on_quota.as_str() {
            "refuse" => "its broker refuses events when space is short".into(),
            _ => "its oldest give way when space is short".into(),
        },
    ));
    if terms.paused {
        rows.push(("paused", "nothing is sent".into()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn blocked_keys_are_shown_with_what_they_hold() {
        assert_eq!(keys(0, 0), None);
        let shown = [keys(1, 12_000), keys(2, 1)].map(Option::unwrap);
        expect![[r#"
            1 key blocked, 12,000 events held behind another of their key
            2 keys blocked, 1 event held behind another of their key"#]]
        .assert_eq(&shown.join("\n"));
    }

    #[test]
    fn a_trigger_is_shown_with_books_terms_and_yaml() {
        let detail = TriggerDetail {
            view: crate::commands::get::tests::trigger("billing"),
            terms: TermsView {
                retry: None,
                backoff_policy: "exponential".into(),
                backoff_delay_seconds: 0.2,
                backoff_max_seconds: 300.0,
                jitter: true,
                timeout_seconds: 30.0,
                retry_after_max_seconds: 300.0,
                max_event_age_seconds: Some(86_400.0),
                patience_seconds: None,
                max_in_flight: 100,
                replies: "lenient".into(),
                format: "as it came".into(),
                retry_on: vec![422],
                retry_never: vec![500, 501],
                ordered_by: Some("partitionkey".into()),
                blocked_key: Some("retry".into()),
                on_quota: "discardOldest".into(),
                paused: true,
            },
            destination: None,
            resource: serde_json::json!({"kind": "Trigger", "spec": {"broker": "default"}}),
            names: vec![serde_json::json!({"kind": "Sink", "spec": {"breaker": "off"}})],
        };
        expect![[r#"
            Trigger       shop/billing
            UID           1c0ffee0-0000-4000-8000-000000000000
            State         ready
            Broker        shop/default
            Subscriber    http://127.0.0.1:8081/
            Books         1,203 matched = 1,190 delivered + 3 dead + 0 cancelled + 10 owed
                            2 dead: exhausted
                            1 dead: refused
            Now           9 waiting, 1 in flight, 0 parked, the oldest 1m 15s old
            Since start   1,200 attempts, 7 failed; 0 replies, 3 ignored
            Dead letters  3, see `weft dead-letters list --trigger shop/billing`

            Terms
              retry          until the event is 1d old
              backoff        exponential, from 0.2 s up to 300 s, up to half as much again
              timeout        30 s
              retry-after    heeded up to 300 s
              in flight      at most 100
              replies        lenient
              format         as it came
              retried too    422
              never retried  500, 501
              ordered by     partitionkey; later events of a key wait for one that fails
              quota          its oldest give way when space is short
              paused         nothing is sent

            As written
              kind: Trigger
              spec:
                broker: default

            It names
              kind: Sink
              spec:
                breaker: "off"
        "#]]
        .assert_eq(&trigger(&detail));
    }

    #[test]
    fn a_start_is_told_with_when_it_counts() {
        let annotated =
            serde_json::json!({"metadata": {"annotations": {"weft.dev/start": "earliest"}}});
        expect!["earliest; it counted when the trigger was made, `weft replay` fetches more"]
            .assert_eq(&start(&annotated).unwrap());
        assert_eq!(start(&serde_json::json!({"metadata": {}})), None);
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(encoded("a/../b?c"), "a%2F..%2Fb%3Fc");
        assert_eq!(encoded("billing-2"), "billing-2");
    }
}
