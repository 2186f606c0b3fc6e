//! What a data folder seldom has, and the document gives bytes for: every form of event, every verdict,
//! keys that were let go, triggers that were detached and came back, what the quota took, and a segment
//! that a crash tore.

use std::time::Duration;

use broker::WallTime;
use broker::records::Number;
use broker::records::attempt::{Attempt, Verdict};
use broker::records::intent::Intent;
use broker::records::parked::Parked;
use broker::records::redriven::{Action, Redriven};
use broker::replay::{self, Point};
use event::{Event, SpecVersion};
use journal::{Group, Offset, Record};
use tests::data::{Files, disk_of, files_of};
use tests::format::segment;
use tests::world::Builder;
use tests::{World, always, garbles, hangs, replies, terms, ty};

use triggers::TriggerName;

use crate::damage::folder::{RETENTION, functions, letters_of, order, roll, shop, step};

const SECOND: Duration = Duration::from_secs(1);

/// The shop, with triggers for what goes wrong. When it is opened again none of them is owed anything.
fn odd_shop(paused: bool) -> Builder {
    shop(paused)
        .trigger("garbler", ty("odd"), terms().retry(0))
        .trigger("plain", ty("odd"), terms().retry(0).strict())
        .trigger("sleeper", ty("odd"), terms().retry(0).timeout("PT1S"))
        .trigger("echo", ty("echo"), terms())
        .trigger("comes-and-goes", ty("nothing"), terms())
}

fn json(document: &str) -> Event {
    let mut headers = http::HeaderMap::new();
    let json = http::HeaderValue::from_static("application/cloudevents+json");
    headers.insert(http::header::CONTENT_TYPE, json);
    let body = document.as_bytes().to_vec().into();
    let batch = event::http::decode(&headers, body, &event::http::Limits::default());
    let mut events = batch.expect("a test's event is valid").events;
    events.pop().expect("there is one")
}

/// Of each form that an event may have.
fn forms() -> Vec<Event> {
    let old = Event::build("f-0", "/shop", "form").spec_version(SpecVersion::V03);
    let bytes = Event::build("f-1", "/shop", "form")
        .subject("a subject")
        .time("2026-01-02T03:04:05Z")
        .attribute("own", "its own")
        .data(vec![0, 159, 146, 150]);
    vec![
        old.finish().expect("a test's event is valid"),
        bytes.finish().expect("a test's event is valid"),
        json(r#"{"specversion":"1.0","id":"f-2","source":"/shop","type":"form","data":{"n":1}}"#),
        json(
            r#"{"specversion":"1.0","id":"f-3","source":"/shop","type":"form","subject":null,
                "count":3,"yes":true,"data_base64":"AJ+S\u006Cg=="}"#,
        ),
        json(r#"{"specversion":"1.0","id":"f-4","source":"/shop","type":"f\u006frm"}"#),
        json(
            r#"{"specversion":"0.3","id":"f-5","source":"/shop","type":"form",
                "datacontentencoding":"base64","schemaurl":"/schema","data":"AJ+Slg=="}"#,
        ),
    ]
}

/// Nobody wants it; four of them are a group of several blocks.
fn bulk(n: usize) -> Event {
    let event = Event::build(&format!("bulk-{n}"), "/shop", "bulk").data(vec![b'b'; 3 << 10]);
    event.finish().expect("a test's event is valid")
}

async fn append(world: &World, record: Record) {
    let journal = world.engine().journal().clone();
    let stored = world.run(journal.append(Group::one(record))).await;
    stored.expect("there is room");
}

fn now(world: &World) -> WallTime {
    WallTime(tests::clock::BEGINNING.0 + world.time().as_millis() as u64)
}

async fn number_of(world: &World, trigger: &str) -> Number {
    let triggers = world.report().await.triggers;
    let found = triggers.iter().find(|one| one.name.name() == trigger);
    found.expect("it is in force").number
}

/// As if the quota asked for it.
async fn gave_way(world: &World, letter: Offset, action: Action) {
    let at = now(world);
    append(world, Redriven { letter, at, action }.record()).await;
}

/// What takes a full disk or a thousand attempts, written as the node would.
async fn what_takes_long(world: &World, parked: Offset) {
    let letters = letters_of(world, "refuses");
    gave_way(world, letters[0], Action::PayloadDiscarded).await;
    gave_way(world, letters[1], Action::LetGo).await;
    let number = number_of(world, "down").await;
    let failed = Attempt {
        started: now(world),
        latency_ms: 3,
        verdict: Verdict::Said,
        status: Some(503),
        text: "".into(),
        body: "out of paper".into(),
        left_out: 2000,
    };
    let due = WallTime(now(world).0 + 600_000);
    let offset = parked;
    let parked = Parked {
        number,
        offset,
        attempt: 2002,
        due,
        failed,
    };
    append(world, parked.record()).await;
    // It isn't tried after all.
    append(world, Intent::none(number, offset).record()).await;
}

/// What was taken is sent again, to who takes nothing now.
async fn replay_to_down(world: &World) {
    let asked = replay::Asked {
        to: replay::To::Trigger(TriggerName::new("default", "ledger")),
        from: Point::Earliest,
        until: None,
        filters: Vec::new(),
        rate: None,
        dry_run: false,
    };
    world.sink("ledger", always(503));
    world.replay(asked).await;
    world.advance(2 * SECOND).await;
}

/// Time and events go by until what lay in the log was reclaimed.
async fn reclaimed(world: &World, events: std::ops::Range<usize>) {
    let begun = *world.engine().journal().durable().borrow();
    world.advance(RETENTION + 10 * SECOND).await;
    roll(world, events).await;
    world.advance(10 * SECOND).await;
    let start = world.engine().journal().start();
    assert!(begun <= start, "{begun:?} is still in the log");
}

/// Makes it: a folder that a crash tore, was opened again and stopped in order.
pub(super) async fn make() -> Files {
    let sinks = functions(503);
    sinks.put("garbler", garbles());
    sinks.put("plain", always(200).body("thank you"));
    sinks.put("sleeper", hangs());
    sinks.put("echo", replies("echo"));
    let mut world = odd_shop(true).sinks(sinks.clone()).start().await;
    world.publish_all((0..3).map(order)).await;
    world.publish(tests::event("odd-0", "odd")).await;
    world.advance(5 * SECOND).await;
    replay_to_down(&world).await;
    // Kept says what became of a letter, then that it is no more.
    let gone = letters_of(&world, "garbler")[0];
    gave_way(&world, gone, Action::PayloadDiscarded).await;
    reclaimed(&world, 0..12).await;
    gave_way(&world, gone, Action::LetGo).await;
    reclaimed(&world, 12..24).await;
    for event in forms() {
        world.publish(event).await;
    }
    world.publish(tests::event("odd-1", "odd")).await;
    world.publish(tests::event("echo", "echo")).await;
    let parked = world.publish(order(3)).await;
    world.publish(step("a", 0)).await;
    world.publish(step("a", 1)).await;
    world.advance(5 * SECOND).await;
    what_takes_long(&world, parked).await;
    // Keys are let go with the order.
    world.write_trigger("ordered", ty("step"), terms().retry(0));
    world.remove("comes-and-goes.yaml");
    world.reload().await;
    world.advance(SECOND).await;
    let ordered = terms().policy("blocking").retry(0);
    world.write_trigger("ordered", ty("step"), ordered);
    world.write_trigger("comes-and-goes", ty("nothing"), terms());
    world.reload().await;
    world.advance(6 * SECOND).await;
    let batch = (0..4).map(bulk).collect();
    let taken = world.try_publish("default", batch).await;
    taken.expect("there is room");
    let mut files = files_of(world.disk());
    tear(&mut files);
    world.settle_books().await;
    drop(world);
    let again = odd_shop(false).damaged().disk(disk_of(&files));
    let mut world = again.sinks(sinks).start().await;
    world.publish(order(50)).await;
    world.advance(SECOND).await;
    world.settle_books().await;
    world.stop().await;
    files_of(world.disk())
}

/// Has the power fail while the last group of events is written: of its frame the first two are there.
fn tear(files: &mut Files) {
    let segments = files
        .iter_mut()
        .filter(|(path, _)| path.starts_with("log/") && path.ends_with(".seg"));
    let (_, bytes) = segments.last().expect("a log has a segment");
    let read = segment::segment(bytes, None).expect("it reads");
    let events = read.records.iter().rev().filter(|record| record.kind == 1);
    let group: Vec<_> = events.take(4).collect();
    assert_eq!((group[3].flags & 1, group[0].flags & 2), (1, 2), "a group");
    let torn = group[1].position;
    bytes[torn..].fill(0);
}
