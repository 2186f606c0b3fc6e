//! Redrive and discard: dead letters' events are delivered again, each once (GUARANTEES 15, 16).

use std::num::NonZeroU32;
use std::time::Duration;

use broker::dead_letters::State;
use broker::jobs;
use broker::letter_query::{From, Query, StateIs};
use broker::redrive::{Asked, What, Which};
use expect_test::expect;
use journal::Offset;
use journal::model_disk::CrashRule;
use tests::{World, after, always, everything, order_placed, terms, times};

const MS: Duration = Duration::from_millis(1);

fn orders(count: usize) -> impl Iterator<Item = event::Event> {
    (1..=count).map(|n| order_placed(&format!("o-{n}")))
}

fn all() -> Which {
    Which::All(Box::default())
}

fn redrive(which: Which) -> Asked {
    Asked {
        which,
        what: What::Redrive {
            to: None,
            rate: None,
        },
        dry_run: false,
    }
}

fn elsewhere(which: Which, uri: &str) -> Asked {
    let what = What::Redrive {
        to: Some(uri.to_owned()),
        rate: None,
    };
    Asked {
        what,
        ..redrive(which)
    }
}

fn discard(which: Which) -> Asked {
    Asked {
        what: What::Discard,
        ..redrive(which)
    }
}

fn dry(asked: Asked) -> Asked {
    Asked {
        dry_run: true,
        ..asked
    }
}

/// Ids and states of all letters, oldest first.
fn letters(world: &World) -> Vec<(Offset, State)> {
    let letters = world.engine().dead_letters();
    let rows = letters.rows(&Query::default(), From::Oldest(Offset(0)), usize::MAX);
    rows.iter().map(|row| (row.id, row.state)).collect()
}

fn count(world: &World, state: StateIs) -> usize {
    let query = Query {
        state: Some(state),
        ..Query::default()
    };
    let letters = world.engine().dead_letters();
    letters
        .rows(&query, From::Oldest(Offset(0)), usize::MAX)
        .len()
}

fn summary(progress: &jobs::Progress) -> String {
    let mut text = format!(
        "{:?}: looked at {}, did {}, refused {}",
        progress.state, progress.looked_at, progress.done, progress.refused
    );
    for refusal in &progress.refusals {
        text += &format!("\n  {}", refusal.why);
    }
    text
}

/// A function that refused three orders, and is mended.
async fn three_refused() -> World {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(400))
        .start()
        .await;
    world.publish_all(orders(3)).await;
    world.until_settled().await;
    world.sink("billing", times(1, 503).then(200));
    world
}

#[tokio::test(start_paused = true)]
async fn a_mended_function_gets_its_letters() {
    let world = three_refused().await;
    let told = world.redrive(redrive(all())).await;
    expect!["Done: looked at 3, did 3, refused 0"].assert_eq(&summary(&told));
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  400 503 200  delivered
        billing  o-2  400 503 200  delivered
        billing  o-3  400 503 200  delivered
    "#]]);
    let attempts: Vec<u32> = world
        .calls_of("billing", "o-1")
        .iter()
        .map(|call| call.attempt)
        .collect();
    assert_eq!(attempts, [1, 1, 2], "a new delivery begins at attempt 1");
    let books = world.report().await.books;
    assert_eq!(
        (books.matched, books.delivered, books.dead()),
        (6, 3, 3),
        "the old outcomes stay"
    );
    assert_eq!(count(&world, StateIs::Redriven), 3);
    // Once more: they are not redriven twice.
    let told = world.redrive(redrive(all())).await;
    expect!["Done: looked at 0, did 0, refused 0"].assert_eq(&summary(&told));
    let (id, _) = letters(&world)[0];
    let told = world.redrive(redrive(Which::Ids(vec![id]))).await;
    expect![[r#"
        Done: looked at 0, did 0, refused 1
          it was redriven at 2026-01-01T00:00:00.077Z"#]]
    .assert_eq(&summary(&told));
    world.settle().await;
}

/// One that fails again is a new letter, and can be redriven again. A restart finds all of it.
#[tokio::test(start_paused = true)]
async fn what_fails_again_is_another_letter() {
    let mut world = three_refused().await;
    world.sink("billing", always(403));
    let told = world.redrive(redrive(all())).await;
    assert_eq!(told.done, 3, "and not for ever");
    world.until_settled().await;
    assert_eq!(
        (
            count(&world, StateIs::Redriven),
            count(&world, StateIs::Kept)
        ),
        (3, 3)
    );
    let before = letters(&world);
    world.restart().await;
    assert_eq!(letters(&world), before);
    world.sink("billing", always(200));
    world.redrive(redrive(all())).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  400 403 200  delivered
        billing  o-2  400 403 200  delivered
        billing  o-3  400 403 200  delivered
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let world = three_refused().await;
    let (before, end) = (letters(&world), world.log().deliveries.len());
    for asked in [
        redrive(all()),
        elsewhere(all(), "http://other/"),
        discard(all()),
    ] {
        let told = world.redrive(dry(asked)).await;
        expect!["Done: looked at 3, did 3, refused 0"].assert_eq(&summary(&told));
        let ids: Vec<u64> = before.iter().map(|(id, _)| id.0).collect();
        assert_eq!(told.first, ids);
    }
    world.advance(Duration::from_secs(60)).await;
    assert_eq!(letters(&world), before);
    assert_eq!(world.log().deliveries.len(), end);
    assert_eq!(world.calls().len(), 3);
    world.until_settled().await;
}

#[tokio::test(start_paused = true)]
async fn discarded_letters_are_let_go_and_their_outcome_stays() {
    let mut world = three_refused().await;
    let (id, _) = letters(&world)[1];
    let told = world
        .redrive(discard(Which::Ids(vec![id, Offset(999_999)])))
        .await;
    expect![[r#"
        Done: looked at 1, did 1, refused 1
          there is no such dead letter"#]]
    .assert_eq(&summary(&told));
    let told = world.redrive(redrive(all())).await;
    assert_eq!(told.done, 2, "what was discarded isn't redriven");
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  400 503 200  delivered
        billing  o-2  400  dead{refused}
        billing  o-3  400 503 200  delivered
    "#]]);
    world.restart().await;
    assert_eq!(count(&world, StateIs::Discarded), 1);
    assert_eq!(world.engine().dead_letters().count(), 0);
    world.settle().await;
}

/// Filters choose; what can't be redriven is told with the reason.
#[tokio::test(start_paused = true)]
async fn filters_choose_and_what_cannot_be_redriven_is_told() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .trigger("audit", everything(), terms().retry(0))
        .sink("billing", always(400).body("no such customer"))
        .sink("audit", always(503))
        .start()
        .await;
    world.publish_all(orders(2)).await;
    world.until_settled().await;
    let mut text = String::new();
    let queries = [
        ("all", Query::default()),
        (
            "status 503",
            Query {
                status: Some(503),
                ..Query::default()
            },
        ),
        (
            "refused",
            Query {
                reason: Some(broker::dead_letters::Reason::Dead(
                    broker::records::Cause::Refused,
                )),
                ..Query::default()
            },
        ),
        (
            "customer",
            Query {
                contains: Some("customer".into()),
                ..Query::default()
            },
        ),
        (
            "order.*",
            Query {
                ty: Some(broker::letter_query::TypeIs::parse("order.*")),
                ..Query::default()
            },
        ),
        (
            "payment.*",
            Query {
                ty: Some(broker::letter_query::TypeIs::parse("payment.*")),
                ..Query::default()
            },
        ),
    ];
    for (name, query) in queries {
        let told = world
            .redrive(dry(redrive(Which::All(Box::new(query)))))
            .await;
        text += &format!("{name}: {}\n", told.done);
    }
    expect![[r#"
        all: 4
        status 503: 2
        refused: 2
        customer: 2
        order.*: 4
        payment.*: 0
    "#]]
    .assert_eq(&text);

    world.remove("audit.yaml");
    world.reload().await;
    world.advance(Duration::from_secs(11 * 60)).await;
    world.sink("billing", always(200));
    let told = world.redrive(redrive(all())).await;
    expect![[r#"
        Done: looked at 4, did 2, refused 2
          its trigger default/audit was deleted; send it elsewhere with --to-uri URL
          its trigger default/audit was deleted; send it elsewhere with --to-uri URL"#]]
    .assert_eq(&summary(&told));
    world.until_settled().await;
}

/// To another destination, in a lane of its own that survives a restart and goes when it is done.
#[tokio::test(start_paused = true)]
async fn letters_go_to_another_destination() {
    let mut world = three_refused().await;
    world.remove("billing.yaml");
    world.reload().await;
    world.advance(Duration::from_secs(11 * 60)).await;
    world.sink("rescue", times(3, 503).then(200));
    // The first number after the broker's and the trigger's.
    let told = world
        .redrive(elsewhere(all(), "http://rescue/?redrive-3"))
        .await;
    expect!["Done: looked at 3, did 3, refused 0"].assert_eq(&summary(&told));
    world.advance(100 * MS).await;
    world.restart().await;
    assert_eq!(world.report().await.books.owed, 3);
    world.until_settled().await;
    world.check(expect![[r#"
        billing    o-1  400  dead{refused}
        billing    o-2  400  dead{refused}
        billing    o-3  400  dead{refused}
        redrive-3  o-1  503 503 503 200  delivered
        redrive-3  o-2  503 503 503 200  delivered
        redrive-3  o-3  503 503 503 200  delivered
    "#]]);
    world.advance(Duration::from_secs(1)).await;
    let report = world.report().await;
    assert!(
        report.destinations.is_empty(),
        "its lane is gone: {:?}",
        report.destinations
    );
    world.restart().await;
    world.settle().await;
}

/// Two triggers' letters of one event go to the same place one after the other.
#[tokio::test(start_paused = true)]
async fn two_letters_of_one_event_are_two_deliveries() {
    let world = World::new()
        .trigger("t1", everything(), terms())
        .trigger("t2", everything(), terms())
        .sink("t1", always(400))
        .sink("t2", always(400))
        .sink("rescue", after(50 * MS))
        .start()
        .await;
    world.publish_all(orders(1)).await;
    world.until_settled().await;
    let told = world
        .redrive(elsewhere(all(), "http://rescue/?redrive-4"))
        .await;
    assert_eq!((told.done, told.refused), (2, 0));
    world.until_settled().await;
    let calls = world.calls_of("redrive-4", "o-1");
    assert_eq!(calls.len(), 2);
    assert!(
        calls[0].ended.unwrap() <= calls[1].began,
        "never twice at a time"
    );
    assert_eq!(world.sinks.in_flight_most("rescue"), 1);
    world.check(expect![[r#"
        redrive-4  o-1  200 200  delivered
        t1         o-1  400  dead{refused}
        t2         o-1  400  dead{refused}
    "#]]);
}

/// GUARANTEES 16: ten thousand, each exactly once, and live events go first: of eight requests that
/// the function gets while both wait, seven are live.
#[tokio::test(start_paused = true)]
async fn ten_thousand_are_redriven_once_each_and_live_events_go_first() {
    const DEAD: usize = 10_000;
    let world = World::new()
        .journal(|options| options.bytes_max = 256 << 20)
        .trigger("billing", everything(), terms().max_in_flight(8))
        .sink("billing", always(400))
        .start()
        .await;
    for batch in 0..10 {
        let ids = (0..DEAD / 10).map(|n| order_placed(&format!("o-{batch}-{n}")));
        world.publish_all(ids).await;
    }
    world.until_settled().await;
    world.sink("billing", after(10 * MS));
    let (job, work) = world.begin_redrive(redrive(all()));
    world.spawn(work);
    world.advance(100 * MS).await;
    let began = world.sinks.count();
    world
        .publish_all((0..700).map(|n| order_placed(&format!("live-{n}"))))
        .await;
    world
        .until("live ones are through", |_| {
            world.calls_of("billing", "live-699").len() == 1
        })
        .await;
    let mut calls = world.calls().split_off(began);
    let is_live = |call: &tests::sinks::Call| call.key.1.starts_with("live-");
    // Those between the first live one and the last.
    calls.truncate(calls.iter().rposition(is_live).unwrap() + 1);
    calls.drain(..calls.iter().position(is_live).unwrap());
    let of_redrive = calls.iter().filter(|call| !is_live(call)).count();
    let share = of_redrive as f64 / calls.len() as f64;
    assert!(share < 0.16, "redriven ones took a share of {share:.3}");
    assert!(share > 0.08, "and are not starved: {share:.3}");
    world.until_settled().await;
    let progress = job.progress();
    expect!["Done: looked at 10000, did 10000, refused 0"].assert_eq(&summary(&progress));
    assert_eq!(
        (
            job.tracker.begun(),
            job.tracker.delivered(),
            job.tracker.outstanding()
        ),
        (10_000, 10_000, 0)
    );
    let mut times = std::collections::BTreeMap::new();
    for call in world.calls() {
        *times.entry(call.key.1).or_insert(0) += 1;
    }
    assert!(
        times
            .iter()
            .all(|(id, count)| *count == if id.starts_with("o-") { 2 } else { 1 })
    );
}

/// A destination that is still dead holds up its own letters and no others.
#[tokio::test(start_paused = true)]
async fn a_job_looks_ahead_by_a_bound_and_can_be_stopped() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .trigger("audit", everything(), terms())
        .sink("billing", always(400))
        .sink("audit", always(400))
        .start()
        .await;
    for batch in 0..3 {
        let ids = (0..500).map(|n| order_placed(&format!("o-{batch}-{n}")));
        world.publish_all(ids).await;
    }
    world.until_settled().await;
    world.sink("billing", always(503));
    world.sink("audit", always(200));
    let (job, work) = world.begin_redrive(redrive(all()));
    world.spawn(work);
    world.advance(Duration::from_secs(30)).await;
    assert_eq!(
        job.progress().done,
        1000 + 1500,
        "1,000 ahead of the dead one"
    );
    assert_eq!(job.tracker.outstanding(), 1000);
    assert_eq!(job.progress().state, jobs::State::Running);
    job.stop();
    world.advance(Duration::from_secs(1)).await;
    assert_eq!(job.progress().state, jobs::State::Stopped);
    assert_eq!(count(&world, StateIs::Kept), 500);
    world.sink("billing", always(200));
    world.until_settled().await;
    assert_eq!(job.tracker.delivered(), 2500, "what it began goes on");
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(400))
        .start()
        .await;
    world.publish_all(orders(200)).await;
    world.until_settled().await;
    world.sink("billing", always(200));
    let before = world.time();
    let began = world.calls().len();
    let what = What::Redrive {
        to: None,
        rate: NonZeroU32::new(20),
    };
    let told = world
        .redrive(Asked {
            what,
            ..redrive(all())
        })
        .await;
    assert_eq!(told.done, 200);
    let took = (world.time() - before).as_secs_f64();
    assert!(
        (9.5..10.5).contains(&took),
        "200 at 20 a second took {took} s"
    );
    world.until_settled().await;
    let calls = world.calls().split_off(began);
    for second in 0..9 {
        let from = before + Duration::from_secs(second);
        let within = calls
            .iter()
            .filter(|call| (from..from + Duration::from_secs(1)).contains(&call.began))
            .count();
        assert!(within <= 22, "{within} within second {second}");
    }
    world.check_times(
        &[1, 10, 60],
        expect![[r#"
        0-1 s           billing  200 ×19 400 ×200
        1-10 s          billing  200 ×180
        10-60 s         billing  200 ×1
    "#]],
    );
}

/// Its age counts from the redrive: an event of yesterday has a whole day again.
#[tokio::test(start_paused = true)]
async fn an_old_letter_is_young_again() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(503))
        .start()
        .await;
    world.publish_all(orders(1)).await;
    world.until_settled().await;
    assert_eq!(world.time().as_secs() / 3600, 24, "it expired");
    world.redrive(redrive(all())).await;
    world.advance(Duration::from_secs(3600)).await;
    world.restart().await;
    world.advance(Duration::from_secs(22 * 3600)).await;
    assert_eq!(world.report().await.books.owed, 1);
    world.sink("billing", always(200));
    world.until_settled().await;
    let books = world.report().await.books;
    assert_eq!((books.dead(), books.delivered), (1, 1));
    world.check(expect![[r#"
        billing  o-1  503 ×474 200  delivered
    "#]]);
}

/// A crash in the middle, at some moment: the same request goes on with those that are left, and
/// each letter begins one new delivery at the most.
#[tokio::test(start_paused = true)]
async fn after_a_crash_the_same_request_goes_on() {
    for seed in 0..12_u64 {
        let mut world = World::new()
            .trigger("billing", everything(), terms().max_in_flight(4))
            .trigger("audit", everything(), terms())
            .sink("billing", always(400))
            .sink("audit", always(400))
            .start()
            .await;
        world.publish_all(orders(300)).await;
        world.until_settled().await;
        world.sink("billing", after(3 * MS));
        world.sink("audit", times(1, 503).then(200));
        let mut crashes = 0;
        loop {
            let (job, work) = world.begin_redrive(redrive(all()));
            world.spawn(work);
            if crashes == 2 {
                world
                    .until("redriven", |_| job.progress().state != jobs::State::Running)
                    .await;
                break;
            }
            world.advance(MS * (20 + 17 * seed as u32)).await;
            crashes += 1;
            world.crash(CrashRule::Torn, seed).await;
        }
        world.until_settled().await;
        let log = world.log();
        let again = log.redriven.len();
        assert_eq!(again, 600, "each letter once, seed {seed}");
        let books = world.report().await.books;
        assert_eq!(
            (books.delivered, books.dead(), books.matched),
            (600, 600, 1200)
        );
    }
}
