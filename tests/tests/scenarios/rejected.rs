//! What a source could make no event of has its place in the dead letters: it is listed, shown, kept when its
//! segment goes, refused by a redrive, discarded, and expires (issue 4; GUARANTEES 15). No source writes such
//! records yet, so they are put into the log here as one would.

use std::time::Duration;

use broker::dead_letters::{Content, Reason, State};
use broker::letter_query::{From, Query, StateIs};
use broker::records::Cause;
use broker::records::rejected::Rejected;
use broker::redrive::{Asked, What, Which};
use broker::view::VIEW_FILE;
use bytes::Bytes;
use expect_test::expect;
use journal::model_disk::CrashRule;
use journal::{Disk, Group, Offset, WallTime};
use tests::world::Builder;
use tests::{World, always, order_placed, terms, ty};

const MS: Duration = Duration::from_millis(1);

/// A log of 1 MiB in segments of 64 KiB, and as much for what is kept of it.
fn small(options: &mut journal::Options) {
    options.segment_bytes = 64 << 10;
    options.group_bytes_max = 16 << 10;
    options.queue_bytes_max = 64 << 10;
    options.note_bytes_max = 64 << 10;
    options.reserve_bytes = 128 << 10;
    options.bytes_max = 1 << 20;
}

/// Rejects as a source will.
async fn reject(world: &World, origin: &str, why: &str, value: &[u8]) {
    let header = |name: &str, value: &str| (name.to_owned(), Bytes::from(value.to_owned()));
    let rejected = Rejected {
        broker_number: 1,
        namespace: "default".into(),
        name: "kafka".into(),
        broker: "default/default".into(),
        at: WallTime(tests::clock::BEGINNING.0 + world.time().as_millis() as u64),
        why: why.into(),
        origin: origin.into(),
        headers: vec![header("content-type", "application/json")],
        key: Bytes::from_static(b"k-1"),
        left_out: 0,
        value: value.to_vec().into(),
    };
    let journal = world.engine().journal().clone();
    // Where there is no room it waits, as any source must.
    for _ in 0..10 {
        let stored = journal.append(Group::one(rejected.record()));
        if world.run(stored).await.is_ok() {
            return;
        }
        world.advance(Duration::from_secs(1)).await;
    }
    panic!("{origin}: there is no room");
}

async fn two_rejected_and_one_dead() -> World {
    two_and_one(World::new().journal(small)).await
}

async fn two_and_one(builder: Builder) -> World {
    let world = builder
        .retention_dead_letters(Duration::from_secs(3600))
        .trigger("billing", ty("order.placed"), terms())
        .trigger("audit", ty("history"), terms())
        .sink("billing", always(400).body("no"))
        .sink("audit", always(200))
        .start()
        .await;
    reject(&world, "orders/0/17", "it has no specversion", b"{\"n\":1}").await;
    reject(&world, "orders/0/18", "it is cut short", &[0, 0xff, 7]).await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world
}

/// Writes so much history that the log is turned over so often.
async fn roll(world: &World, times: usize) {
    let (publisher, events) = (world.publisher(), times * 128);
    let publish = async {
        for n in 0..events {
            let event = event::Event::build(&format!("h-{n}"), "/shop", "history");
            let event = event
                .data(vec![b'x'; 8 << 10])
                .finish()
                .expect("it is valid");
            let taken = publisher.publish("default", vec![event]).await;
            taken.expect("history makes room for history");
            tokio::time::sleep(16 * MS).await;
        }
    };
    world.run(publish).await;
}

/// Letters as `weft dead-letters` lists and shows them, the oldest first.
fn shown(world: &World, query: &Query) -> String {
    let letters = world.engine().dead_letters();
    let page = letters.page(query, From::Oldest(Offset(0)), 100);
    let mut text = String::new();
    for letter in page.letters {
        let row = &letter.row;
        let attempts = letter.attempts().len();
        text += &format!(
            "{} {} {} {attempts} attempts",
            row.trigger,
            row.reason.word(),
            row.state.word()
        );
        text += &match (letter.rejected(), &letter.event, &letter.content) {
            (Some(came), Err(why), _) => format!(
                ": {} {:?}, {}, {:?} {:?}; {why}\n",
                came.origin,
                came.content_type().unwrap_or_default(),
                came.why,
                came.key,
                came.value
            ),
            (None, Ok(event), _) => format!(": {}\n", event.event.as_ref().id()),
            (_, _, gone) => format!(": {gone:?}\n"),
        };
    }
    text
}

fn all(what: What, reason: Option<Reason>) -> Asked {
    Asked {
        which: Which::All(Box::new(Query {
            reason,
            ..Query::default()
        })),
        what,
        dry_run: false,
    }
}

const REDRIVE: What = What::Redrive {
    to: None,
    rate: None,
};

#[tokio::test(start_paused = true)]
async fn what_was_rejected_is_listed_shown_and_found() {
    let mut world = two_rejected_and_one_dead().await;
    let all = shown(&world, &Query::default());
    expect![[r#"
        default/kafka rejected kept 0 attempts: orders/0/17 "application/json", it has no specversion, b"k-1" b"{\"n\":1}"; its source could make no event of it
        default/kafka rejected kept 0 attempts: orders/0/18 "application/json", it is cut short, b"k-1" b"\0\xff\x07"; its source could make no event of it
        default/billing refused kept 1 attempts: o-1
    "#]]
    .assert_eq(&all);
    let only = |change: fn(&mut Query)| {
        let mut query = Query::default();
        change(&mut query);
        shown(&world, &query).lines().count()
    };
    assert_eq!(only(|query| query.reason = Some(Reason::Rejected)), 2);
    assert_eq!(
        only(|query| query.reason = Some(Reason::Dead(Cause::Refused))),
        1
    );
    assert_eq!(
        only(|query| query.contains = Some("specversion".into())),
        1,
        "why"
    );
    assert_eq!(
        only(|query| query.contains = Some("\"n\":1".into())),
        1,
        "the value"
    );
    let report = world.report().await;
    assert_eq!(report.books.dead(), 1, "no trigger's books have it");
    assert_eq!(report.triggers[1].dead_letters, 1);
    assert_eq!(report.space.letters.kept_total(), 3, "the metric does");
    let used = report.space.share;

    // A restart with the view, a roll of ten logs, a crash, and a start without the view.
    world.restart().await;
    assert!(!world.view_anew);
    assert_eq!(shown(&world, &Query::default()), all, "after a restart");
    roll(&world, 10).await;
    assert!(world.engine().journal().start() > Offset(1000));
    assert_eq!(shown(&world, &Query::default()), all, "from kept");
    let report = world.report().await;
    assert_eq!(report.space.share, used, "they make nobody's share smaller");
    world.crash(CrashRule::Reordered, 1).await;
    assert_eq!(shown(&world, &Query::default()), all, "after a crash");
    world.lose_power(CrashRule::Everything, 1);
    world.disk().remove(VIEW_FILE).expect("there is a view");
    world.start_again().await;
    assert!(world.view_anew);
    assert_eq!(shown(&world, &Query::default()), all, "without the view");
    world.settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_rejected_cannot_be_redriven_and_can_be_discarded() {
    let mut world = two_rejected_and_one_dead().await;
    world.sink("billing", always(200));
    let ids: Vec<Offset> = world
        .engine()
        .dead_letters()
        .rows(&Query::default(), From::Oldest(Offset(0)), 2)
        .iter()
        .map(|row| row.id)
        .collect();
    let asked = Asked {
        which: Which::Ids(ids.clone()),
        what: What::Redrive {
            to: Some("http://elsewhere/".into()),
            rate: None,
        },
        dry_run: false,
    };
    let progress = world.redrive(asked).await;
    assert_eq!((progress.done, progress.refused), (0, 2));
    let refusal = &progress.refusals[0];
    expect![[
        "its source could make no event of it, so there is none to deliver: export it to see to it elsewhere, or discard it"
    ]]
    .assert_eq(&refusal.why);
    let progress = world.redrive(all(REDRIVE, None)).await;
    assert_eq!((progress.done, progress.refused), (1, 2), "the dead one is");

    // Where its segment is gone, and where the mark that discards it is still in the log.
    roll(&world, 2).await;
    let progress = world
        .redrive(all(What::Discard, Some(Reason::Rejected)))
        .await;
    assert_eq!((progress.done, progress.refused), (2, 0));
    world.until_settled().await;
    for _ in 0..2 {
        let letters = world.engine().dead_letters();
        assert_eq!(letters.count(), 0);
        let row = letters.row(ids[0]).expect("it is listed for a while");
        assert!(matches!(row.state, State::Discarded(_)));
        let query = Query {
            state: Some(StateIs::Discarded),
            ..Query::default()
        };
        assert_eq!(shown(&world, &query).lines().count(), 2);
        world.restart().await;
        // Room is made ahead of who publishes, before which there is little.
        world.advance(Duration::from_secs(1)).await;
        roll(&world, 2).await;
    }
    let gone = world.engine().dead_letters().show(ids[0]).expect("so long");
    assert!(gone.rejected().is_none());
    assert_eq!(world.report().await.space.letters.discarded, 2);
    world.lose_power(CrashRule::Everything, 1);
    world.disk().remove(VIEW_FILE).expect("there is a view");
    world.start_again().await;
    assert_eq!(world.engine().dead_letters().count_by_state(), [0, 1, 2]);

    // Their retention counts from when they came.
    world.advance(Duration::from_secs(2 * 3600)).await;
    assert_eq!(world.engine().dead_letters().count_by_state(), [0, 0, 0]);
    world.settle().await;
}

/// More was rejected than there is room for: the oldest give way, and say so; events are taken and delivered.
#[tokio::test(start_paused = true)]
async fn what_was_rejected_gives_way_to_the_quota() {
    let larger = |options: &mut journal::Options| {
        options.segment_bytes = 256 << 10;
        options.group_bytes_max = 64 << 10;
        options.queue_bytes_max = 256 << 10;
        options.note_bytes_max = 256 << 10;
        options.reserve_bytes = 512 << 10;
        options.bytes_max = 12 << 20;
    };
    let builder = World::new().journal(larger).storage(12 << 20);
    let mut world = two_and_one(builder).await;
    // Twice what there is.
    for n in 0..1500 {
        let origin = format!("orders/0/{n}");
        reject(&world, &origin, "no", &[b'x'; 16 << 10]).await;
        world.advance(120 * MS).await;
    }
    world.until_settled().await;
    let check = |world: &World| {
        let letters = world.engine().dead_letters();
        let query = Query {
            reason: Some(Reason::Rejected),
            ..Query::default()
        };
        let rows = letters.rows(&query, From::Oldest(Offset(0)), 2000);
        assert_eq!(rows.len(), 1502, "every letter is there");
        let gone = rows.iter().take_while(|row| row.payload_discarded).count();
        assert!((700..1450).contains(&gone), "{gone}");
        let oldest = letters.show(rows[0].id).expect("it is listed");
        let Content::Rejected(Err(why)) = oldest.content else {
            panic!("its payload is gone");
        };
        assert_eq!(why, "its payload gave way to the storage quota");
        let newest = letters.show(rows[1501].id).expect("it is listed");
        assert!(newest.rejected().is_some(), "the newest are kept");
    };
    check(&world);
    world.restart().await;
    check(&world);
    world.lose_power(CrashRule::Everything, 1);
    world.disk().remove(VIEW_FILE).expect("there is a view");
    world.start_again().await;
    check(&world);
    world.settle().await;
}
