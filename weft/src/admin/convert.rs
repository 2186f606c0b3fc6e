//! The engine's values in the API's words.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::WallTime;
use broker::books::{Book, by_cause};
use broker::dead_letters::Letter;
use broker::destination::Deferral;
use broker::histogram::{BOUNDS_SECONDS, Histogram};
use broker::records::attempt::{self, Attempt};
use broker::records::envelope::Envelope;
use broker::records::rejected::Rejected;
use broker::report::{BreakerState, DestinationReport, PausedReport, TriggerReport};
use event::{EventRef, Mode};
use triggers::{BackoffPolicy, BlockedKey, Format, OnQuota, Replies, Terms};

use crate::admin::views::{
    AttemptView, BookView, DestinationView, EventHead, EventView, HeaderView, LetterView,
    PausedState, Payload, RejectedView, StoredEvent, TermsView, TriggerView,
};
use broker::time::rfc3339;

pub(super) fn book(book: &Book) -> BookView {
    BookView {
        matched: book.matched,
        delivered: book.delivered,
        dead: dead(&book.dead)
            .map(|(cause, count)| (cause.to_owned(), count))
            .collect(),
        cancelled: book.cancelled,
        owed: book.owed,
        balanced: book.balances(),
    }
}

/// The dead by the word of their cause; causes without any are left out.
pub(crate) fn dead(counts: &[u64; 9]) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    by_cause(counts)
        .map(|(cause, count)| (cause.word(), count))
        .filter(|(_, count)| *count > 0)
}

/// What spares a trigger's destination now, or stops what is new, if anything does.
fn spared(report: &TriggerReport, destinations: &[DestinationReport]) -> Option<String> {
    let found = destinations.binary_search_by(|there| there.key.cmp(&report.destination));
    let destination = &destinations[found.ok()?];
    match destination.breaker.state {
        BreakerState::Open | BreakerState::Probing => Some("breaker open".into()),
        _ => destination
            .pushed_back_until
            .map(|_| "pushed back".to_owned())
            .or_else(|| report.lane.keys_full.then(|| "keys full".to_owned())),
    }
}

/// A trigger among destinations that are [`merged`].
pub(super) fn trigger_view(
    report: &TriggerReport,
    destinations: &[DestinationReport],
    now: WallTime,
) -> TriggerView {
    let lane = &report.lane;
    TriggerView {
        namespace: report.name.namespace().into(),
        name: report.name.name().into(),
        uid: uid(&report.uid),
        broker: report.broker.to_string(),
        ready: report.not_ready.is_none(),
        reason: report.not_ready.map(|why| why.reason().into()),
        message: report
            .not_ready
            .map(|why| format!("nothing is sent until {}", why.waits_for())),
        spared: spared(report, destinations),
        detached: report.detached.map(rfc3339),
        subscriber: report.subscriber.clone(),
        dead_letter_sink: report.dead_letter_sink.clone(),
        books: book(&report.book),
        forward_books: report.forward.as_ref().map(book),
        waiting: lane.waiting,
        in_flight: lane.in_flight,
        parked: lane.parked,
        held: lane.held,
        keys_blocked: lane.keys_blocked,
        oldest_owed_seconds: lane.oldest.map(|oldest| now.since(oldest).as_secs_f64()),
        attempts: lane.tally.attempts,
        attempts_failed: lane.tally.failed,
        replies: lane.tally.replies,
        replies_ignored: lane.tally.replies_ignored,
        dead_letters: report.dead_letters,
        paused: report.paused.as_ref().map(paused),
        suspects: report.suspects,
    }
}

fn paused(paused: &PausedReport) -> PausedState {
    PausedState {
        since: rfc3339(paused.since),
        by: if paused.annotation { "YAML" } else { "command" }.into(),
        destination: paused.destination.as_deref().map(str::to_owned),
    }
}

fn uid(uid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

pub(super) fn terms(terms: &Terms) -> TermsView {
    TermsView {
        retry: terms.retry,
        backoff_policy: match terms.backoff.policy {
            BackoffPolicy::Linear => "linear".into(),
            BackoffPolicy::Exponential => "exponential".into(),
        },
        backoff_delay_seconds: terms.backoff.delay.as_secs_f64(),
        backoff_max_seconds: terms.backoff.max.as_secs_f64(),
        jitter: terms.backoff.jitter,
        timeout_seconds: terms.timeout.as_secs_f64(),
        retry_after_max_seconds: terms.retry_after_max.as_secs_f64(),
        max_event_age_seconds: terms.event_age_max.map(|age| age.as_secs_f64()),
        patience_seconds: terms.patience().map(|patience| patience.as_secs_f64()),
        max_in_flight: terms.max_in_flight,
        retry_on: terms.classify.retry_on.to_vec(),
        retry_never: terms.classify.retry_never.to_vec(),
        ordered_by: terms
            .ordering
            .as_ref()
            .map(|ordering| ordering.by.to_string()),
        blocked_key: terms
            .ordering
            .as_ref()
            .map(|ordering| match ordering.blocked_key {
                BlockedKey::Retry => "retry".into(),
                BlockedKey::DeadLetter => "deadLetter".into(),
            }),
        on_quota: match terms.on_quota {
            OnQuota::DiscardOldest => "discardOldest".into(),
            OnQuota::Refuse => "refuse".into(),
        },
        paused: terms.paused,
        replies: match terms.replies {
            Replies::Lenient => "lenient".into(),
            Replies::Strict => "strict".into(),
            Replies::Dapr => "dapr".into(),
        },
        format: match terms.format {
            Format::AsItCame => "as it came".into(),
            Format::Json => "json".into(),
            Format::Binary => "binary".into(),
        },
    }
}

/// A destination's reports of all workers as one.
pub(crate) fn merged(reports: &[DestinationReport]) -> Vec<DestinationReport> {
    let mut merged: BTreeMap<&str, DestinationReport> = BTreeMap::new();
    for report in reports {
        match merged.get_mut(&*report.key) {
            None => {
                merged.insert(&report.key, report.clone());
            }
            Some(all) => {
                all.in_flight += report.in_flight;
                all.lanes += report.lanes;
                all.attempt_seconds.add(&report.attempt_seconds);
                all.end_to_end_seconds.add(&report.end_to_end_seconds);
                for (mine, theirs) in all.answers.iter_mut().zip(report.answers) {
                    *mine += theirs;
                }
                for (mine, theirs) in all.deferred.iter_mut().zip(report.deferred) {
                    *mine += theirs;
                }
                all.waiting += report.waiting;
                all.pushback += report.pushback;
                // A destination moves between workers as a whole: only one of them is at work.
                if all.breaker.state < report.breaker.state {
                    all.breaker = report.breaker.clone();
                }
            }
        }
    }
    merged.into_values().collect()
}

pub(super) fn destination(report: &DestinationReport, now: WallTime) -> DestinationView {
    let answers = broker::destination::ANSWER_CLASSES
        .iter()
        .zip(report.answers);
    DestinationView {
        address: report.key.to_string(),
        triggers: report.lanes,
        in_flight: report.in_flight,
        attempts: report.attempt_seconds.count(),
        answers: answers
            .filter(|(_, count)| *count > 0)
            .map(|(class, count)| ((*class).to_owned(), count))
            .collect(),
        p50_seconds: quantile(&report.attempt_seconds, 0.5),
        p99_seconds: quantile(&report.attempt_seconds, 0.99),
        breaker: report.breaker.state.word().into(),
        open_since: report.breaker.since.map(rfc3339),
        open_seconds: report
            .breaker
            .since
            .map(|since| now.since(since).as_secs_f64()),
        next_probe: report.breaker.next_probe.map(rfc3339),
        pushed_back_until: report.pushed_back_until.map(rfc3339),
        waiting: report.waiting,
        max_in_flight: report.cap,
        share: report.share,
        retry_budget: report.retry_budget,
        deferred: Deferral::ALL
            .iter()
            .zip(report.deferred)
            .filter(|(_, count)| *count > 0)
            .map(|(why, count)| (why.word().to_owned(), count))
            .collect(),
        last_error: report
            .last_error
            .as_ref()
            .map(|(_, error)| error.to_string()),
        last_error_at: report.last_error.as_ref().map(|(at, _)| rfc3339(*at)),
        last_error_seconds: report
            .last_error
            .as_ref()
            .map(|(at, _)| now.since(*at).as_secs_f64()),
        paused: report.paused.as_ref().map(paused),
    }
}

/// The upper bound of the bucket that holds the quantile.
fn quantile(histogram: &Histogram, share: f64) -> Option<f64> {
    let wanted = (histogram.count() as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (index, count) in histogram.buckets.iter().enumerate() {
        seen += count;
        if wanted > 0 && seen >= wanted {
            return BOUNDS_SECONDS.get(index).or(BOUNDS_SECONDS.last()).copied();
        }
    }
    None
}

pub(super) fn letter(letter: &Letter, now: WallTime) -> LetterView {
    let row = &letter.row;
    let last = letter.attempts().last();
    let last_error = last.map(|last| last.text.to_string());
    let last_error = last_error.or_else(|| Some(letter.rejected()?.why.clone()));
    LetterView {
        id: row.id.0,
        trigger: row.trigger.to_string(),
        broker: broker_of(letter).into(),
        destination: destination_of(letter).into(),
        cause: row.reason.word().into(),
        at: rfc3339(row.at),
        attempts: attempt::count(letter.attempts()),
        last_status: last.and_then(|attempt| attempt.status),
        last_error: last_error.filter(|text| !text.is_empty()),
        forwarded: row.forwarded,
        state: row.state.word().into(),
        state_since: row.state.since().map(rfc3339),
        age_seconds: now.since(row.at).as_secs_f64(),
        event: letter.event.as_ref().ok().map(|envelope| {
            let event = envelope.event.as_ref();
            EventHead {
                id: event.id().into(),
                source: event.source().into(),
                ty: event.ty().into(),
            }
        }),
    }
}

/// The broker of a letter; empty where it isn't known any more.
pub(super) fn broker_of(letter: &Letter) -> &str {
    let rejected = letter.rejected().map(|rejected| &*rejected.broker);
    let dead = letter.dead().map(|dead| &*dead.broker);
    dead.or(rejected).unwrap_or_default()
}

/// Where a letter was to go; empty of what was rejected.
pub(super) fn destination_of(letter: &Letter) -> &str {
    letter.dead().map_or("", |dead| &dead.destination)
}

/// What a source rejected.
pub(super) fn rejected(rejected: &Rejected) -> RejectedView {
    let headers = rejected.headers.iter();
    let headers = headers.map(|(name, value)| HeaderView {
        name: name.clone(),
        value: payload(value),
    });
    RejectedView {
        why: rejected.why.clone(),
        origin: rejected.origin.clone(),
        content_type: rejected.content_type().map(str::to_owned),
        headers: headers.collect(),
        key: payload(&rejected.key),
        value: payload(&rejected.value),
        left_out: rejected.left_out,
    }
}

pub(super) fn stored(envelope: &Envelope) -> StoredEvent {
    StoredEvent {
        position: envelope.offset.0,
        arrived: rfc3339(envelope.arrival),
        hops: envelope.hops,
        event: event_view(&envelope.event.as_ref()),
    }
}

pub(crate) fn event_view(event: &EventRef<'_>) -> EventView {
    EventView {
        mode: match event.mode() {
            Mode::Binary => "binary".into(),
            Mode::Structured => "structured".into(),
        },
        attributes: event
            .attributes()
            .map(|(name, value)| (name.to_owned(), value.to_string()))
            .collect(),
        data: payload(&event.data_bytes()),
    }
}

pub(crate) fn payload(bytes: &[u8]) -> Payload {
    if bytes.is_empty() {
        return Payload::default();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Payload {
            text: Some(text.into()),
            base64: None,
        },
        Err(_) => Payload {
            text: None,
            base64: Some(STANDARD.encode(bytes)),
        },
    }
}

pub(super) fn attempt((number, attempt): (u32, &Attempt)) -> AttemptView {
    AttemptView {
        number,
        started: rfc3339(attempt.started),
        latency_ms: attempt.latency_ms,
        verdict: attempt.verdict.word().into(),
        status: attempt.status,
        reason: attempt.text.to_string(),
        body: payload(&attempt.body),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_quantile_is_its_buckets_bound() {
        let mut histogram = Histogram::default();
        assert_eq!(quantile(&histogram, 0.5), None);
        (0..99).for_each(|_| histogram.record(Duration::from_micros(900)));
        histogram.record(Duration::from_secs(4));
        assert_eq!(quantile(&histogram, 0.5), Some(0.001));
        assert_eq!(quantile(&histogram, 0.99), Some(0.001));
        assert_eq!(quantile(&histogram, 1.0), Some(5.0));
    }

    #[test]
    fn bytes_are_text_when_they_are() {
        assert_eq!(payload(b"hi").text.as_deref(), Some("hi"));
        assert_eq!(payload(&[0xff]).base64.as_deref(), Some("/w=="));
        assert_eq!(uid(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }

    #[test]
    fn workers_reports_of_a_destination_are_one() {
        let report = |in_flight| {
            let mut seconds = Histogram::default();
            seconds.record(Duration::from_millis(1));
            DestinationReport {
                key: "http://127.0.0.1:8081/".into(),
                in_flight,
                lanes: 1,
                attempt_seconds: seconds.clone(),
                end_to_end_seconds: seconds,
                answers: [1, 0, 0, 2, 0, 0],
                ..DestinationReport::default()
            }
        };
        let merged = merged(&[report(1), report(2)]);
        assert_eq!(merged.len(), 1);
        let view = destination(&merged[0], WallTime(0));
        assert_eq!(
            (view.in_flight, view.attempts, view.answers["5xx"]),
            (3, 2, 4)
        );
    }
}
