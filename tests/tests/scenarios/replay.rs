//! Replay: a range of the log again, by filter, at a rate, to another destination, dry
//! (GUARANTEES 16).

use std::num::NonZeroU32;
use std::time::Duration;

use broker::jobs::State;
use broker::replay::{Asked, Point, ReplayError, To};
use expect_test::expect;
use journal::model_disk::CrashRule;
use journal::{Offset, WallTime};
use tests::{Seed, World, after, always, event, everything, order_placed, terms, times, ty};
use triggers::{BrokerName, TriggerName};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn billing(from: Point) -> Asked {
    Asked {
        to: To::Trigger(TriggerName::new("default", "billing")),
        from,
        until: None,
        filters: Vec::new(),
        rate: None,
        dry_run: false,
    }
}

fn orders(from: usize, count: usize) -> impl Iterator<Item = event::Event> {
    (from..from + count).map(|n| order_placed(&format!("o-{n}")))
}

/// How often each event of `sink` was called with `weftreplay`, and how often without.
fn counts(world: &World, sink: &str) -> (usize, usize) {
    let calls = world.calls();
    let calls = calls.iter().filter(|call| call.sink == sink);
    let (again, first): (Vec<_>, Vec<_>) =
        calls.partition(|call| call.added("weftreplay").is_some());
    (again.len(), first.len())
}

/// 10,000 replayed exactly: each event once, in order, marked, and the books balance.
#[tokio::test(start_paused = true)]
async fn ten_thousand_are_replayed_exactly_once() {
    let world = World::new()
        .workers(2)
        .trigger("billing", everything(), terms())
        .trigger("audit", everything(), terms())
        .sink("billing", always(200))
        .sink("audit", always(200))
        .start()
        .await;
    for batch in 0..10 {
        world.publish_all(orders(batch * 1000, 1000)).await;
    }
    world.until_settled().await;
    let progress = world.replay(billing(Point::Earliest)).await;
    assert_eq!(
        (progress.state, progress.done, progress.refused),
        (State::Done, 10_000, 0)
    );
    world.until_settled().await;
    assert_eq!(counts(&world, "billing"), (10_000, 10_000));
    assert_eq!(counts(&world, "audit"), (0, 10_000));
    let mut ids: Vec<String> = world
        .calls()
        .into_iter()
        .filter(|call| call.added("weftreplay").is_some())
        .map(|call| call.key.1)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10_000, "each of them once");
    let books = world.report().await.books;
    assert_eq!((books.matched, books.delivered), (30_000, 30_000));
    world.check_grouped(expect![[r#"
        audit    200  delivered  ×10000
        billing  200 200  delivered  ×10000
    "#]]);
}

/// Range, filters and the trigger's own: what is replayed is what all of them want. A dry run counts
/// the same and changes nothing.
#[tokio::test(start_paused = true)]
async fn a_range_and_filters_say_what_is_replayed() {
    let world = World::new()
        .trigger("billing", "[{prefix: {type: order.}}]", terms())
        .sink("billing", always(200))
        .start()
        .await;
    let mut at = Vec::new();
    for (n, ty) in [
        "order.placed",
        "order.paid",
        "other",
        "order.placed",
        "order.paid",
    ]
    .into_iter()
    .enumerate()
    {
        at.push(world.publish(event(&format!("e-{n}"), ty)).await);
        world.advance(HOUR).await;
    }
    world.until_settled().await;
    let began = WallTime(
        world.report().await.triggers[0]
            .lane
            .oldest
            .map_or(0, |old| old.0),
    );
    assert_eq!(began, WallTime(0), "nothing is owed");
    let asked = Asked {
        until: Some(Point::Offset(at[4])),
        filters: vec!["{suffix: {type: placed}}".into()],
        ..billing(Point::Offset(Offset(at[0].0 + 1)))
    };
    let dry = world
        .replay(Asked {
            dry_run: true,
            ..asked.clone()
        })
        .await;
    assert_eq!((dry.done, dry.first), (1, vec![at[3].0]));
    assert_eq!(world.calls().len(), 4);
    assert_eq!(world.replay(asked).await.done, 1);
    let arrival = |offset: Offset| {
        let stored = world
            .engine()
            .journal()
            .reader()
            .get(offset)
            .unwrap()
            .unwrap();
        broker::records::envelope::Envelope::read(&stored)
            .unwrap()
            .arrival
    };
    let by_time = Asked {
        until: Some(Point::Time(arrival(at[4]))),
        ..billing(Point::Time(arrival(at[1])))
    };
    assert_eq!(world.replay(by_time).await.done, 2);
    world.until_settled().await;
    world.check(expect![[r#"
        billing  e-0  200  delivered
        billing  e-1  200 200  delivered
        billing  e-3  200 200 200  delivered
        billing  e-4  200  delivered
    "#]]);
}

/// What is still owed isn't owed twice, whether it waits, is parked, in the air, or replayed already.
#[tokio::test(start_paused = true)]
async fn what_is_still_owed_is_skipped_and_counted() {
    let world = World::new()
        .trigger(
            "billing",
            everything(),
            terms().max_in_flight(2).no_jitter(),
        )
        .sink("billing", always(200))
        .start()
        .await;
    world.publish_all(orders(0, 3)).await;
    world.until_settled().await;
    world.sink("billing", times(1, 503).then(after(10 * HOUR)));
    world.publish_all(orders(3, 5)).await;
    world.advance(100 * MS).await;
    let progress = world.replay(billing(Point::Earliest)).await;
    assert_eq!((progress.done, progress.refused), (3, 5));
    let progress = world.replay(billing(Point::Earliest)).await;
    assert_eq!((progress.done, progress.refused), (0, 8));
    world.sink("billing", always(200));
    world.until_settled().await;
    let books = world.report().await.books;
    assert_eq!((books.matched, books.owed), (11, 0));
}

/// To another address: in a lane of its own, which goes when it is done; an old event is fresh, and
/// each attempt carries the mark.
#[tokio::test(start_paused = true)]
async fn a_replay_goes_to_another_address_with_a_fresh_age() {
    let mut world = World::new()
        .trigger("billing", ty("other"), terms())
        .sink("billing", always(200))
        .sink("fixed", times(2, 503).then(200))
        .start()
        .await;
    world.publish_all(orders(0, 5)).await;
    world.advance(30 * HOUR).await;
    let asked = Asked {
        to: To::Uri {
            broker: BrokerName::new("default", "default"),
            uri: "http://fixed/?replay-3".into(),
        },
        ..billing(Point::Earliest)
    };
    assert_eq!(world.replay(asked).await.done, 5);
    world.advance(150 * MS).await;
    world.crash(CrashRule::Nothing, 1).await;
    world.until_settled().await;
    let (again, first) = counts(&world, "fixed");
    assert!(again >= 15 && first == 0, "{again} {first}");
    world.advance(HOUR).await;
    let report = world.report().await;
    assert_eq!((report.books.delivered, report.books.owed), (5, 0));
    assert_eq!(report.triggers.len(), 1);
    world.settle().await;
}

/// A crash at any moment: the replay goes on by itself where it was, and each event arrives; what
/// was owed again before the crash isn't owed a second time.
#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_after_a_crash() {
    for mut seed in Seed::all(0..8) {
        let mut world = World::new()
            .seed(seed.number)
            .trigger("billing", everything(), terms().max_in_flight(10))
            .sink("billing", always(200))
            .start()
            .await;
        world.publish_all(orders(0, 600)).await;
        world.until_settled().await;
        world.sink("billing", after(3 * MS));
        let asked = Asked {
            rate: NonZeroU32::new(2000),
            ..billing(Point::Earliest)
        };
        let job = world.run(world.engine().replay(asked)).await.unwrap();
        world
            .advance(Duration::from_millis(seed.within(1..250)))
            .await;
        drop(job);
        world
            .crash(seed.of_these(&CrashRule::ALL), seed.number)
            .await;
        let jobs = world.engine().jobs().clone();
        world
            .until("replayed", |_| {
                let all = jobs.all();
                all.iter().all(|job| job.progress().state == State::Done)
            })
            .await;
        world.until_settled().await;
        let books = world.report().await.books;
        assert_eq!(
            (books.matched, books.delivered),
            (1200, 1200),
            "seed {}",
            seed.number
        );
        // What a crash repeats: the 10 in the air, and what was answered in the last 50 ms.
        let (again, _) = counts(&world, "billing");
        assert!(
            (600..=600 + 10 + 100).contains(&again),
            "{again}, seed {}",
            seed.number
        );
        world.restart().await;
        world.advance(HOUR).await;
        assert_eq!(world.report().await.books.matched, 1200, "it has ended");
        world.settle().await;
    }
}

/// A replay keeps to its rate, and gives way to live events: while they wait, at most every eighth
/// delivery is one of the past.
#[tokio::test(start_paused = true)]
async fn a_replay_keeps_its_rate_and_gives_way_to_live_events() {
    let world = World::new()
        .trigger("billing", everything(), terms().max_in_flight(1))
        .sink("billing", always(200))
        .start()
        .await;
    world.publish_all(orders(0, 800)).await;
    world.until_settled().await;
    let before = world.time();
    let asked = Asked {
        rate: NonZeroU32::new(100),
        ..billing(Point::Earliest)
    };
    assert_eq!(world.replay(asked).await.done, 800);
    let took = world.time() - before;
    assert!((7500 * MS..9000 * MS).contains(&took), "{took:?} at 100/s");
    world.until_settled().await;

    world.sink("billing", after(10 * MS));
    let calls_before = world.calls().len();
    let job = world
        .run(world.engine().replay(billing(Point::Earliest)))
        .await;
    world.advance(50 * MS).await;
    world.publish_all(orders(1000, 400)).await;
    world
        .until("live ones delivered", |report| report.books.matched >= 2000)
        .await;
    world.advance(4800 * MS).await;
    let calls: Vec<bool> = world.calls()[calls_before..]
        .iter()
        .skip(10)
        .map(|call| call.added("weftreplay").is_some())
        .collect();
    let live = calls.iter().take(400).filter(|again| !**again).count();
    assert!(live >= 345, "{live} of the next 400 were live");
    job.unwrap().stop();
    world.until_settled().await;
    world.check_times(
        &[1, 10, 60],
        expect![[r#"
        0-1 s           billing  200 ×893
        1-10 s          billing  200 ×839
        10-60 s         billing  200 ×1068
    "#]],
    );
}

/// A replay that is stopped ends, over restarts too; what it began is delivered.
#[tokio::test(start_paused = true)]
async fn a_replay_that_is_stopped_stays_so() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(200))
        .start()
        .await;
    world.publish_all(orders(0, 500)).await;
    world.until_settled().await;
    let asked = Asked {
        rate: NonZeroU32::new(10),
        ..billing(Point::Earliest)
    };
    let job = world.run(world.engine().replay(asked)).await.unwrap();
    world.advance(Duration::from_secs(5)).await;
    job.stop();
    world
        .until("stopped", |_| job.progress().state == State::Stopped)
        .await;
    let done = job.progress().done;
    assert!((40..=60).contains(&done), "{done}");
    world.until_settled().await;
    world.restart().await;
    world.advance(HOUR).await;
    assert_eq!(world.report().await.books.delivered, 500 + done);
    world.settle().await;
}

/// What retention took is told, not passed over in silence.
#[tokio::test(start_paused = true)]
async fn mistakes_are_named() {
    let mut world = World::new()
        .retention(HOUR)
        .trigger("billing", everything(), terms())
        .sink("billing", always(200))
        .start()
        .await;
    world.publish_all(orders(0, 3)).await;
    world.until_settled().await;
    world.advance(2 * HOUR).await;
    world.crash(CrashRule::Nothing, 1).await;
    world.publish_all(orders(3, 3)).await;
    world.until_settled().await;
    world.advance(HOUR).await;
    assert!(world.engine().journal().start() > Offset(0));
    let mut said = Vec::new();
    let nobody = To::Trigger(TriggerName::new("default", "nobody"));
    let uri = |uri: &str| To::Uri {
        broker: BrokerName::new("default", "default"),
        uri: uri.into(),
    };
    let earliest = billing(Point::Earliest);
    for asked in [
        billing(Point::Offset(Offset(0))),
        billing(Point::Time(WallTime(1000))),
        billing(Point::Offset(Offset(1 << 40))),
        Asked {
            to: nobody,
            ..earliest.clone()
        },
        Asked {
            to: uri("ftp://x/"),
            ..earliest.clone()
        },
        Asked {
            filters: vec!["{prefx: {type: x}}".into()],
            ..earliest.clone()
        },
    ] {
        let refused = world.run(world.engine().replay(asked)).await.unwrap_err();
        let ended = matches!(refused, ReplayError::Ended(_));
        assert!(!ended);
        said.push(refused.to_string());
    }
    expect![[r#"
        the log reaches back to 2026-01-01T02:00:00.077Z (offset 8), not further: what was before was let go of; begin there, or with `earliest`
        the log reaches back to 2026-01-01T02:00:00.077Z (offset 8), not further: what was before was let go of; begin there, or with `earliest`
        nothing is stored there: it would begin at offset 1099511627776 and end before offset 15
        there is no trigger default/nobody; `weft get triggers` lists those there are
        the address is "ftp://x/", ftp:// is not supported: write an http:// address
        filter[0].prefx is not a known field: did you mean prefix?"#]].assert_eq(&said.join("\n"));
    assert_eq!(world.replay(earliest).await.done, 3, "what is left");
    world.until_settled().await;
}
