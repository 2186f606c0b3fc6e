//! Every layout survives its round trip, and no bytes make reading panic.

use bytes::Bytes;
use event::Event;
use journal::{Offset, Record, Stored, WallTime};
use proptest::prelude::*;

use super::attempt::{Attempt, Verdict};
use super::dead::Dead;
use super::envelope::{Context, Envelope};
use super::held::Held;
use super::intent::Intent;
use super::parked::Parked;
use super::paused;
use super::redriven::{Action, Redriven};
use super::rejected::{self, Rejected};
use super::replayed::{Replayed, Spec};
use super::routed::{self, Routed};
use super::settled::{self, Settled, Settlement};
use super::started::{Before, Started};
use super::trigger_set::{self, Kind, Op};
use super::{Cause, Outcome, Why, envelope};
use crate::pauses::{Span, Standing, What};
use crate::trace::TraceParent;

/// As the journal would give a record back.
fn stored(record: &Record) -> Stored {
    let Record {
        kind,
        version,
        tag,
        body,
    } = record.clone();
    Stored {
        offset: Offset(77),
        kind,
        version,
        tag,
        body,
    }
}

fn event() -> Event {
    Event::build("o-1", "/shop", "com.example.order.placed")
        .subject("ä")
        .data(b"{\"n\":1e400}".to_vec())
        .finish()
        .unwrap()
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let verdict = prop::sample::select(vec![
        Verdict::Said,
        Verdict::Garbled,
        Verdict::NotAnEvent,
        Verdict::TimedOut,
        Verdict::Unreachable,
        Verdict::Took,
    ]);
    let body = prop::sample::select(vec![&b""[..], b"no", b"no", b"later"]);
    let attempt = (
        any::<u64>(),
        any::<u32>(),
        verdict,
        1u16..,
        "\\PC{0,9}",
        body,
        prop::sample::select(vec![0, 0, 1, 127, 128, u32::MAX]),
    )
        .prop_map(
            |(started, latency_ms, verdict, status, text, body, left_out)| Attempt {
                started: WallTime(started),
                latency_ms,
                verdict,
                status: (status % 2 == 0).then_some(status),
                text: text.into(),
                body: Bytes::from_static(body),
                left_out,
            },
        );
    prop::collection::vec(attempt, 0..6)
}

proptest! {
    #[test]
    fn routed(start in 0u64..1 << 40, steps: Vec<(u16, Vec<u16>)>) {
        let mut routed = Routed::default();
        let mut expected = Vec::new();
        let mut offset = start;
        for (step, numbers) in steps {
            offset += u64::from(step);
            let mut numbers: Vec<u32> = numbers.into_iter().map(u32::from).collect();
            numbers.sort_unstable();
            routed.push(Offset(start), Offset(offset), &numbers);
            expected.push((Offset(offset), numbers));
        }
        let end = Offset(offset + 1);
        let mut read = Vec::new();
        let record = stored(&routed.record(Offset(start), end));
        let range = routed::read(&record, |offset, numbers| read.push((offset, numbers.to_vec())));
        prop_assert_eq!(range, Ok(Offset(start)..end));
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn settled(entries: Vec<(u32, u64, u32, u16, u64)>) {
        let outcomes = [
            Outcome::Delivered,
            Outcome::Dead(Cause::Quota),
            Outcome::Cancelled(Why::Deleted),
        ];
        let settlements: Vec<Settlement> = entries
            .into_iter()
            .map(|(number, offset, latency_ms, status, at)| Settlement {
                number,
                offset: Offset(offset),
                outcome: outcomes[offset as usize % outcomes.len()],
                attempt: latency_ms,
                status,
                latency_ms,
                at: WallTime(at),
            })
            .collect();
        let mut settled = Settled::default();
        settlements.iter().for_each(|settlement| settled.push(*settlement));
        let record = settled.take();
        prop_assert_eq!(record.is_some(), !settlements.is_empty());
        prop_assert!(settled.take().is_none(), "taken once");
        let mut read = Vec::new();
        if let Some(record) = record {
            let whole = settled::read(&stored(&record), |settlement| read.push(settlement));
            prop_assert_eq!(whole, Ok(()));
        }
        prop_assert_eq!(read, settlements);
    }

    #[test]
    fn held(number: u32, key: Vec<u8>, by: Option<u64>) {
        let held = Held { number, key: key.into(), by: by.map(Offset) };
        prop_assert_eq!(Held::read(&stored(&held.record())), Ok(held));
    }

    #[test]
    fn parked(number: u32, offset: u64, attempt: u32, due: u64, failed in attempts()) {
        let Some(failed) = failed.into_iter().next() else { return Ok(()) };
        let parked = Parked { number, offset: Offset(offset), attempt, due: WallTime(due), failed };
        prop_assert_eq!(Parked::read(&stored(&parked.record())), Ok(parked));
    }

    #[test]
    fn intent(number: u32, offset: u64, attempt: u32) {
        let intent = Intent { number, offset: Offset(offset), attempt };
        prop_assert_eq!(Intent::read(&stored(&intent.record())), Ok(intent));
    }

    #[test]
    fn started(
        at: u64,
        before in prop::sample::select(vec![Before::Nothing, Before::InOrder, Before::NotInOrder]),
        ends: u32,
        (from, length) in (0u64..1 << 62, 0u64..1 << 62),
        accused: Vec<((u32, u64), u32)>,
        suspects in prop::collection::btree_set(any::<(u32, u64)>(), 0..50),
    ) {
        let started = Started {
            at: WallTime(at),
            before,
            ends,
            unrouted: Offset(from)..Offset(from + length),
            accused: accused.into_iter().map(|((n, at), times)| ((n, Offset(at)), times)).collect(),
            suspects: suspects.into_iter().map(|(n, at)| (n, Offset(at))).collect(),
        };
        prop_assert_eq!(Started::read(&stored(&started.record())), Ok(started));
    }

    #[test]
    fn dead(number: u32, offset: u64, forwarded: bool, attempts in attempts(), reply: bool) {
        let dead = Dead {
            number,
            uid: [7; 16],
            offset: Offset(offset),
            cause: Cause::Loop,
            forwarded,
            at: WallTime(5),
            namespace: "shop".into(),
            name: "billing".into(),
            broker: "shop/default".into(),
            destination: "http://127.0.0.1:1/ä".into(),
            attempts,
            reply: reply.then(|| event().stored().clone()),
        };
        prop_assert_eq!(Dead::read(&stored(&dead.record())), Ok(dead));
    }

    #[test]
    fn replayed(
        id: u64,
        number: u32,
        cursor: u64,
        ended: bool,
        spec in prop::option::of((any::<bool>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), "\\PC{0,9}")),
        gaps: Vec<u32>,
    ) {
        let spec = spec.map(|(start, from, to, broker, rate, filters)| {
            Spec { start, from, to: Offset(to), broker, rate, filters }
        });
        let mut last = 0;
        let offsets = gaps.iter().map(|gap| {
            last += u64::from(*gap);
            Offset(last)
        });
        let offsets = offsets.collect();
        let at = WallTime(3);
        let replayed = Replayed { id, number, at, cursor: Offset(cursor), ended, spec, offsets };
        prop_assert_eq!(Replayed::read(&stored(&replayed.record())), Ok(replayed));
    }

    #[test]
    fn paused(
        number: Option<u32>,
        since: Option<u32>,
        command: bool,
        annotation: bool,
        gaps in prop::collection::vec((1u32.., 1u32..), 0..9),
    ) {
        let mut now = 0;
        let past = gaps.iter().map(|(wait, length)| {
            let from = now + u64::from(*wait);
            now = from + u64::from(*length);
            Span { from, to: now }
        });
        let past = past.collect();
        let since = since.map(|since| WallTime(u64::from(since) + 1));
        let what = match number {
            Some(number) => What::Trigger(number),
            None => What::Destination("sink:shop/billing".into()),
        };
        let standing = Standing { since, command, annotation, past };
        let record = paused::record(&what, &standing);
        prop_assert_eq!(paused::read(&stored(&record)), Ok((what, standing)));
    }

    #[test]
    fn envelope(
        arrival: u64,
        hops: u8,
        principal: Option<String>,
        tracestate: Option<String>,
        forwarded: Vec<(String, Vec<u8>)>,
        traced: bool,
    ) {
        let traceparent =
            traced.then_some(TraceParent { trace_id: [1; 16], span_id: [2; 8], flags: 1 });
        let context = Context { traceparent, tracestate, principal, hops, forwarded };
        let record = envelope::record(9, WallTime(arrival), &context, &event());
        let read = Envelope::read(&stored(&record)).unwrap();
        prop_assert_eq!(read.broker, 9);
        prop_assert_eq!(read.arrival, WallTime(arrival));
        let event = event();
        prop_assert_eq!(read.event.stored(), event.stored());
        prop_assert_eq!(read.context(), Ok(context));
    }

    #[test]
    fn redriven(letter: u64, at: u64, number: u32, offset: u64, which in 0usize..3) {
        let offset = Offset(offset);
        let actions = [Action::Again { number, offset }, Action::Discarded, Action::PayloadDiscarded, Action::LetGo];
        let redriven = Redriven { letter: Offset(letter), at: WallTime(at), action: actions[which] };
        prop_assert_eq!(Redriven::read(&stored(&redriven.record())), Ok(redriven));
    }

    #[test]
    fn rejected(
        broker_number: u32,
        at: u64,
        why in "\\PC{0,9}",
        origin in "\\PC{0,9}",
        headers: Vec<(String, Vec<u8>)>,
        key: Vec<u8>,
        left_out: u64,
        value: Vec<u8>,
    ) {
        let headers = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        let rejected = Rejected {
            broker_number,
            namespace: "shop".into(),
            name: "orders".into(),
            broker: "shop/default".into(),
            at: WallTime(at),
            why,
            origin,
            headers,
            key: key.into(),
            left_out,
            value: value.into(),
        };
        prop_assert_eq!(Rejected::read(&stored(&rejected.record())), Ok(rejected));
    }

    #[test]
    fn arbitrary_bodies_are_malformed_and_nothing_worse(kind in 1u8..15, body: Vec<u8>) {
        let record =
            Stored { offset: Offset(1), kind, version: 1, tag: 0, body: Bytes::from(body) };
        drop(Envelope::read(&record).and_then(|envelope| envelope.context()));
        drop(routed::read(&record, |_, _| ()));
        drop(settled::read(&record, |_| ()));
        drop(Parked::read(&record));
        drop(Held::read(&record));
        drop(Dead::read(&record));
        drop(Redriven::read(&record));
        drop(Rejected::read(&record));
        drop(trigger_set::read(&record));
        drop(paused::read(&record));
        drop(Replayed::read(&record));
        drop(Intent::read(&record));
        drop(Started::read(&record));
    }
}

#[test]
fn what_is_rejected_is_cut_where_it_is_too_long() {
    let header = |name: &str, length| (name.to_owned(), Bytes::from(vec![b'h'; length]));
    let rejected = Rejected {
        broker_number: 1,
        namespace: "shop".into(),
        name: "orders".into(),
        broker: "shop/default".into(),
        at: WallTime(5),
        why: "ä".repeat(rejected::TEXT_BYTES_MAX),
        origin: "orders/0/17".into(),
        headers: vec![
            header("Content-Type", 9),
            header("large", rejected::HEADER_BYTES_MAX),
            header("small", 1),
        ],
        key: vec![b'k'; rejected::KEY_BYTES_MAX + 1].into(),
        left_out: 0,
        value: vec![b'v'; rejected::VALUE_BYTES_MAX + 7].into(),
    };
    let read = Rejected::read(&stored(&rejected.record())).unwrap();
    assert_eq!(read.why, "ä".repeat(rejected::TEXT_BYTES_MAX / 2));
    assert_eq!(read.headers, [header("Content-Type", 9)]);
    assert_eq!(read.content_type(), Some("hhhhhhhhh"));
    assert_eq!(read.key.len(), rejected::KEY_BYTES_MAX);
    assert_eq!(read.value.len(), rejected::VALUE_BYTES_MAX);
    assert_eq!(read.left_out, 7);
}

#[test]
fn a_large_change_is_written_in_parts_and_the_last_says_so() {
    let put = |number| Op::Put {
        number,
        uid: [3; 16],
        kind: Kind::Trigger,
        detached: Some(WallTime(8)),
        resource: "x".repeat(300_000),
    };
    let mut ops: Vec<Op> = (1..=9).map(put).collect();
    ops.push(Op::Detach {
        number: 1,
        since: WallTime(4),
    });
    ops.push(Op::Attach { number: 2 });
    ops.push(Op::Delete { number: 3 });
    let records = trigger_set::records(6, true, 40, &ops);
    assert_eq!(records.len(), 3);
    let mut read = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let part = trigger_set::read(&stored(record)).unwrap();
        assert_eq!(part.last, index == 2);
        assert_eq!((part.first, part.snapshot), (index == 0, index == 0));
        assert_eq!((part.revision, part.next_number), (6, 40));
        read.extend(part.ops);
    }
    assert_eq!(read, ops);
}

#[test]
fn every_outcome_has_a_code_of_its_own() {
    let dead = super::CAUSES.iter().map(|(cause, _)| Outcome::Dead(*cause));
    let others = [
        Outcome::Delivered,
        Outcome::Cancelled(Why::Deleted),
        Outcome::Cancelled(Why::Dropped),
    ];
    let mut codes: Vec<u8> = Vec::new();
    for outcome in dead.chain(others) {
        assert_eq!(Outcome::from_code(outcome.code()), Some(outcome));
        codes.push(outcome.code());
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), super::CAUSES.len() + 3);
    assert_eq!(Outcome::from_code(200), None);
}
