//! A data folder in which there is something of everything: records of each kind, segments that
//! were reclaimed, repacked and torn, kept with letters, sidecars, a view.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::WallTime;
use broker::letter_query::{From, Query, StateIs};
use broker::records::rejected::Rejected;
use broker::redrive::{Asked, What, Which};
use broker::replay::{self, Point};
use bytes::Bytes;
use event::Event;
use journal::model_disk::CrashRule;
use journal::{Group, Offset, Options};
use tests::data::{Files, files_of};
use tests::format::{self, Record};
use tests::sinks::Sinks;
use tests::world::Builder;
use tests::{Terms, World, always, replies, terms, ty};
use triggers::TriggerName;

const SECOND: Duration = Duration::from_secs(1);

/// How long history is kept while the folder is made.
pub(crate) const RETENTION: Duration = Duration::from_secs(600);

/// Small segments, so that a few events take several.
fn small(options: &mut Options) {
    options.segment_bytes = 64 << 10;
    options.group_bytes_max = 16 << 10;
    options.queue_bytes_max = 64 << 10;
    options.note_bytes_max = 64 << 10;
    options.tail_bytes = 16 << 10;
    options.reserve_bytes = 128 << 10;
    options.bytes_max = 8 << 20;
}

/// What the folder's triggers want. `paused`: one of them is.
pub(crate) fn shop(paused: bool) -> Builder {
    let rarely = || {
        let delays = terms().backoff("linear", "PT10M").backoff_max("PT10M");
        delays.no_jitter()
    };
    let policy = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: blocking}
spec: {ordering: {by: partitionkey, blockedKey: deadLetter}}
";
    let sink = "apiVersion: weft.dev/v1alpha1
kind: Sink
metadata: {name: spare}
spec: {uri: \"http://spare/\"}
";
    let pausing: fn(Terms) -> Terms = if paused { Terms::paused } else { |terms| terms };
    World::new()
        .journal(small)
        .retention(if paused {
            RETENTION
        } else {
            RETENTION * 10_000
        })
        .file("policy.yaml", policy)
        .file("sink.yaml", sink)
        .broker("default", terms().dedup_window("PT1M"))
        .trigger("billing", ty("order.placed"), terms())
        .trigger("ledger", ty("order.billed"), terms())
        .trigger("down", ty("order.placed"), rarely())
        .trigger("waits", ty("order.placed"), pausing(terms()))
        .trigger(
            "refuses",
            ty("order.placed"),
            rarely().dead_letter("graveyard"),
        )
        .trigger("ordered", ty("step"), terms().policy("blocking").retry(0))
        .trigger("fragile", ty("poison"), terms())
        .trigger("audit", ty("history"), terms())
}

pub(crate) fn functions(down: u16) -> Sinks {
    let sinks = Sinks::new();
    for (name, script) in [
        ("billing", replies("order.billed")),
        ("ledger", always(200)),
        ("down", always(down).body("out of paper")),
        ("waits", always(200)),
        ("refuses", always(422).body("no such customer")),
        ("graveyard", always(down)),
        ("ordered", always(200)),
        ("fragile", always(200)),
        ("audit", always(200)),
        ("mended", always(200)),
    ] {
        sinks.put(name, script);
    }
    for id in ["step-a-0", "step-c0-0", "step-c10-0", "step-c20-0"] {
        sinks.put_for("ordered", id, always(503));
    }
    sinks
}

fn history(n: usize) -> Event {
    let event = Event::build(&format!("h-{n}"), "/shop", "history");
    let event = event.data(vec![b'x'; 8 << 10]).finish();
    event.expect("a test's event is valid")
}

pub(crate) fn step(key: &str, n: usize) -> Event {
    let event = Event::build(&format!("step-{key}-{n}"), "/shop", "step");
    let event = event.attribute("partitionkey", key);
    event.finish().expect("a test's event is valid")
}

/// Large, so that what is kept of them takes more than one segment.
pub(crate) fn order(n: usize) -> Event {
    let event = Event::build(&format!("o-{n}"), "/shop", "order.placed");
    let event = event.data(vec![b'o'; 9 << 10]).finish();
    event.expect("a test's event is valid")
}

async fn reject(world: &World, n: usize) {
    let rejected = Rejected {
        broker_number: 1,
        namespace: "default".into(),
        name: "kafka".into(),
        broker: "default/default".into(),
        at: WallTime(tests::clock::BEGINNING.0 + world.time().as_millis() as u64),
        why: "it has no specversion".into(),
        origin: format!("orders/0/{n}"),
        headers: vec![("content-type".to_owned(), Bytes::from_static(b"text/plain"))],
        key: Bytes::from_static(b"k-1"),
        left_out: 0,
        value: Bytes::from_static(b"not an event"),
    };
    let journal = world.engine().journal().clone();
    let stored = world.run(journal.append(Group::one(rejected.record())));
    stored.await.expect("there is room");
}

pub(crate) async fn roll(world: &World, events: std::ops::Range<usize>) {
    for n in events {
        world.publish(history(n)).await;
        world.advance(Duration::from_millis(100)).await;
    }
}

/// The letters of a trigger that wait for somebody, the oldest first.
pub(crate) fn letters_of(world: &World, trigger: &str) -> Vec<Offset> {
    let query = Query {
        trigger: Some(TriggerName::new("default", trigger)),
        state: Some(StateIs::Kept),
        ..Query::default()
    };
    let letters = world.engine().dead_letters();
    let rows = letters.rows(&query, From::Oldest(Offset(0)), 1000);
    rows.iter().map(|row| row.id).collect()
}

fn redriven(letter: Offset, to: Option<&str>) -> Asked {
    Asked {
        which: Which::Ids(vec![letter]),
        what: What::Redrive {
            to: to.map(str::to_owned),
            rate: None,
        },
        dry_run: false,
    }
}

fn discarded(letter: Offset) -> Asked {
    Asked {
        which: Which::Ids(vec![letter]),
        what: What::Discard,
        dry_run: false,
    }
}

/// Something of everything happens.
async fn happens(world: &mut World, orders: std::ops::Range<usize>) {
    for n in orders.clone() {
        world.publish(order(n)).await;
        // A duplicate, which its broker drops.
        world.publish(order(n)).await;
        world.publish(step("a", n)).await;
        world.publish(step("b", n)).await;
    }
    // Whose dead letter blocks another key.
    let key = format!("c{}", orders.start);
    world.publish(step(&key, 0)).await;
    world.advance(2 * SECOND).await;
    reject(world, orders.start).await;
    let refused = letters_of(world, "refuses");
    world
        .redrive(redriven(refused[0], Some("http://mended/")))
        .await;
    world.redrive(discarded(refused[1])).await;
    world.advance(2 * SECOND).await;
    let again = replay::Asked {
        to: replay::To::Trigger(TriggerName::new("default", "ledger")),
        from: Point::Earliest,
        until: None,
        filters: Vec::new(),
        rate: None,
        dry_run: false,
    };
    world.replay(again).await;
    world.advance(2 * SECOND).await;
}

/// A delivery that ends the process until it is set aside.
async fn poison(world: &mut World, id: &str) {
    world.sinks.deadly("fragile", id, Duration::ZERO);
    let event = tests::event(id, "poison");
    world.publish(event).await;
    let mut strikes = 0;
    while world.until_struck(SECOND, CrashRule::Torn, strikes).await {
        strikes += 1;
    }
}

/// Data folders, and what lay in them before.
pub(crate) struct Made {
    /// After a stop in order.
    pub(crate) stopped: Files,
    /// The power failed just after an event was acknowledged.
    pub(crate) crashed: Files,
    /// As of earlier moments.
    pub(crate) old: Vec<Files>,
}

/// Makes them. The same each time, but for the journals' ids, which are drawn.
pub(crate) async fn make() -> Made {
    let mut world = shop(true).sinks(functions(503)).start().await;
    let mut old = Vec::new();
    happens(&mut world, 0..7).await;
    poison(&mut world, "p-0").await;
    old.push(files_of(world.disk()));
    let begun = *world.engine().journal().durable().borrow();
    world.advance(RETENTION + 10 * SECOND).await;
    roll(&world, 0..12).await;
    world.advance(10 * SECOND).await;
    assert!(
        begun <= world.engine().journal().start(),
        "it was reclaimed"
    );
    old.push(files_of(world.disk()));
    happens(&mut world, 10..13).await;
    roll(&world, 12..20).await;
    world.spawn(world.engine().sidecars().clone().tend());
    world.advance(60 * SECOND).await;
    // One keeps its padding, and so its layout.
    while world
        .engine()
        .journal()
        .segments()
        .iter()
        .filter(|segment| segment.sealed && !segment.repacked)
        .count()
        > 3
        && world
            .engine()
            .journal()
            .repack()
            .expect("it repacks")
            .is_some()
    {}
    old.push(files_of(world.disk()));
    happens(&mut world, 20..22).await;
    poison(&mut world, "p-1").await;
    roll(&world, 20..22).await;
    world.advance(20 * SECOND).await;
    world.publish(order(30)).await;
    let crashed = files_of(world.disk());
    world.settle_books().await;
    world.stop().await;
    let stopped = files_of(world.disk());
    Made {
        stopped,
        crashed,
        old,
    }
}

/// Which journal a record lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum In {
    Log,
    Kept,
}

/// A record of a data folder that isn't damaged.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) path: String,
    pub(crate) journal: In,
    pub(crate) record: Record,
    /// The log's offset that it is about: its own, or that of what it keeps.
    pub(crate) about: Option<u64>,
}

/// All records of a data folder, by the document.
pub(crate) fn records_of(files: &Files) -> Vec<Placed> {
    let mut all = Vec::new();
    for (journal, folder) in [(In::Log, "log/"), (In::Kept, "kept/")] {
        let segments: Vec<(&String, &Vec<u8>)> = files
            .iter()
            .filter(|(path, _)| path.starts_with(folder) && path.ends_with(".seg"))
            .collect();
        for (index, (path, bytes)) in segments.iter().enumerate() {
            let next = segments.get(index + 1);
            let next = next.map(|(_, bytes)| format::segment::header(bytes).expect("a header"));
            let read = format::segment::segment(bytes, next.as_ref());
            let read = read.unwrap_or_else(|wrong| panic!("{path}: {wrong}"));
            all.extend(read.records.into_iter().map(|record| {
                let body = &bytes[record.body.clone()];
                let about = match journal {
                    In::Log => Some(record.offset),
                    In::Kept => format::kept::about(record.kind, body).expect("a body"),
                };
                Placed {
                    path: (*path).clone(),
                    journal,
                    record,
                    about,
                }
            }));
        }
    }
    all
}

/// What the offset of each event is, by its id.
pub(crate) fn offsets_of_events(
    files: &Files,
    records: &[Placed],
) -> BTreeMap<String, BTreeSet<u64>> {
    let mut all: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for placed in records {
        let mut body = &files[&placed.path][placed.record.body.clone()];
        if placed.record.kind != 1 {
            continue;
        }
        if placed.journal == In::Kept {
            match format::kept::copied(body).expect("a copy") {
                (1, event) => body = event,
                _ => continue,
            }
        }
        let event = format::bodies::event(body).expect("an event");
        let offset = placed.about.expect("it has an offset");
        all.entry(event.id).or_default().insert(offset);
    }
    all
}
